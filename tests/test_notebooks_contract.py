"""Tier "contract": the source notebooks and the params files fit together; nothing runs."""

import json
from pathlib import Path

import pytest

from crmlab.run.contract import check_folder, check_notebook
from crmlab.run.notebooks import find_notebooks, read_notebook, source_of
from crmlab.run.params import load_study, study_files
from crmlab.run.runner import plan_study

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STUDIES = study_files(ROOT / "params")

pytestmark = pytest.mark.contract


@pytest.fixture(autouse=True)
def _this_project(monkeypatch):
    monkeypatch.setenv("CRMLAB_HOME", str(ROOT))


def test_there_are_notebooks_and_studies():
    assert [p.stem[:2] for p in NOTEBOOKS][:4] == ["01", "02", "03", "04"]
    assert {"lead", "lead_small"} <= set(STUDIES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_each_notebook_keeps_the_contract(path):
    assert check_notebook(path) == []


def test_the_notebooks_fit_together():
    assert check_folder(ROOT) == ([], [])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_papermill_reads_the_same_parameters(path):
    """People run notebooks by papermill alone as well; its own reader must understand the cell."""
    import papermill

    seen = papermill.inspect_notebook(str(path))
    ours = read_notebook(path).parameters
    assert {n: (p["inferred_type_name"], p["help"]) for n, p in seen.items()} == {
        n: (p.type, p.comment) for n, p in ours.items()
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_file_is_a_valid_notebook_that_ends_its_last_line(path):
    import nbformat

    text = path.read_text(encoding="utf-8")
    nbformat.validate(json.loads(text))
    assert text.endswith("}\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_code_cells_are_short(path):
    """A cell over 15 lines belongs in the library; the parameters cell is a list and may be longer."""
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    longest = max(len(source_of(c).splitlines()) for c in cells if "parameters" not in c["metadata"].get("tags", []))
    assert longest <= 15


@pytest.mark.parametrize("study", STUDIES)
def test_each_study_states_exactly_what_its_notebooks_declare(study):
    plan = plan_study(study)
    assert plan.chosen


@pytest.mark.parametrize("study", STUDIES)
def test_papermill_alone_reads_the_same_values(study):
    """`papermill -f` reads by YAML 1.1: an unquoted date or a word like NO would become something else there."""
    import yaml

    text = STUDIES[study].read_text(encoding="utf-8")
    assert yaml.safe_load(text) == load_study(STUDIES[study]).values


def test_every_notebook_belongs_to_a_study():
    needed = {name for study in STUDIES for name in plan_study(study).chosen}
    assert needed == {nb.name for nb in find_notebooks(ROOT / "notebooks")}
