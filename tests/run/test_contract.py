"""The contract of source notebooks, one breach at a time, and the examples made from executed ones."""

import json

import pytest

from crmlab.run.contract import check_folder, check_notebook, strip_notebook
from crmlab.run.examples import example_text, write_examples


def change(path, edit) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_a_good_notebook_has_no_problem(lab):
    lab.notebook("01_one", "import crmlab.report\ncrmlab.report.start('why?')")
    assert check_folder(lab.root) == ([], [])


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def f():\n    return 1", "cell 4 defines `f`"),
        ("class Model: pass", "cell 4 defines `Model`"),
        ("from crmlab.features import *", "imports everything"),
        ("try:\n    x = 1\nexcept:\n    pass", "holds a `try`"),
        ("import sys\nsys.path.append('lib')", "touches `sys.path`"),
        ("import warnings\nwarnings.filterwarnings('ignore')", "silences warnings"),
        ("import numpy as np\nnp.random.rand(3)", "draws random numbers"),
        ("import pandas as pd\npd.read_csv('leads.csv')", "reads or writes by `read_csv`"),
        ("open('x')", "reads or writes by `open`"),
        ("frame.to_csv('x')", "reads or writes by `to_csv`"),
        ("import datetime\nx = datetime.date.today()", "reads the clock"),
        ("import pandas as pd\nx = pd.Timestamp.now()", "reads the clock"),
        ("import time\nt = time.time()", "reads the clock"),
        ("path = '/home/ada/leads'", "the path of a machine"),
        ("path = 'C:\\\\data'", "the path of a machine"),
        ("%pip install x", "a magic or shell line"),
        ("!ls", "a magic or shell line"),
        ("x = = 1", "is not Python"),
        ("owner = 'ada.rossi@example.com'", "an e-mail address"),
    ],
)
def test_what_is_kept_out_of_notebooks(lab, code, told):
    lab.notebook("01_one", code)
    problems, _ = check_folder(lab.root)
    assert len(problems) == 1
    assert problems[0].startswith("01_one.ipynb: cell 4 ")
    assert told in problems[0]


@pytest.mark.parametrize("code", ["ratio = '/'", "x = crm.today", "rows = leads.query('a > 1')", "print('a/b')"])
def test_what_only_looks_like_it(lab, code):
    assert check_notebook(lab.notebook("01_one", code)) == []


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda nb: nb["cells"].pop(0), "first cell must be text that begins with a title"),
        (lambda nb: nb["cells"].pop(1), "0 cells tagged `parameters`"),
        (lambda nb: nb["cells"].append(nb["cells"][1] | {"id": "x"}), "2 cells tagged `parameters`"),
        (lambda nb: nb["metadata"].pop("kernelspec"), "kernelspec must be `python3`"),
        (lambda nb: nb["metadata"].pop("crmlab"), "`crmlab.requires` is missing"),
        (lambda nb: nb["metadata"]["crmlab"].update(requires=["lead"]), "`crmlab.requires` must be like"),
        (lambda nb: nb["metadata"]["crmlab"].update(after="01"), "`crmlab.after` must be a list"),
        (lambda nb: nb["metadata"]["crmlab"].update(weight="heavy"), "`crmlab.weight` must be a number above 0"),
        (lambda nb: nb["metadata"]["crmlab"].update(weight=0), "`crmlab.weight` must be a number above 0"),
        (lambda nb: nb["cells"][3].update(id="cell-1"), "two cells have the same id"),
        (lambda nb: nb["cells"][3].update(execution_count=4), "outputs or counters"),
        (
            lambda nb: nb["cells"][3].update(outputs=[{"output_type": "stream", "name": "stdout", "text": "x"}]),
            "outputs",
        ),
        (lambda nb: nb["metadata"].update(papermill={}), "metadata carry traces"),
        (lambda nb: nb["cells"][3]["metadata"].update(papermill={}), "cells carry traces"),
        (lambda nb: nb["cells"][1].update(source="n: int = 90"), "`n` has no comment"),
        (lambda nb: nb["cells"][1].update(source="n: int = 90  # Days (n = 90)."), "a second `=`"),
        (lambda nb: nb.update(nbformat=3), "not a notebook of format 4"),
    ],
)
def test_the_shape_of_a_notebook(lab, edit, told):
    path = lab.notebook("01_one")
    change(path, edit)
    problems, _ = check_folder(lab.root)
    assert len(problems) == 1, problems
    assert told in problems[0]


def test_four_code_cells_in_a_row(lab):
    path = lab.notebook("01_one", "x = 1", "x = 2", "x = 3")
    change(path, lambda nb: nb.update(cells=[c for i, c in enumerate(nb["cells"]) if i in (0, 1, 3, 5)]))
    assert check_notebook(path) == []
    path = lab.notebook("01_one", "x = 1", "x = 2", "x = 3")
    change(path, lambda nb: nb.update(cells=[c for i, c in enumerate(nb["cells"]) if i in (0, 1, 3, 5, 7)]))
    assert check_notebook(path) == ["more than 3 code cells in a row without a word"]


def test_notebooks_that_do_not_fit_together(lab):
    lab.notebook("01_one", parameters="n: int = 1  # N.")
    lab.notebook("02_two", parameters="n: float = 1.0  # N.")
    assert "`n` has two types" in check_folder(lab.root)[0][0]
    lab.notebook("02_two", parameters="n: int = 1  # N.", after=("00_none",))
    assert "`00_none`, which is not there" in check_folder(lab.root)[0][0]


def executed(lab):
    """Return a notebook as papermill leaves it behind, with everything that differs from run to run."""
    path = lab.notebook("01_one")
    content = json.loads(path.read_text())
    for cell in content["cells"]:
        cell["metadata"] |= {"papermill": {"duration": 0.1}, "execution": {"iopub.status.busy": "now"}}
        cell["metadata"].setdefault("tags", [])
    code = content["cells"][3]
    code |= {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout", "text": "7"}]}
    injected = {
        "cell_type": "code",
        "id": "random",
        "metadata": {"tags": ["injected-parameters"]},
        "source": "seed = 7",
    }
    content["cells"].insert(2, injected | {"outputs": [], "execution_count": 2})
    content["metadata"] |= {"papermill": {"input_path": "x"}, "widgets": {}}
    content["metadata"]["language_info"] |= {"version": "3.11.7"}
    return path, content


def test_fix_restores_the_source(lab):
    path, content = executed(lab)
    source = json.loads(path.read_text())
    path.write_text(json.dumps(content))

    failed = lab.crmlab("notebooks", "check")
    assert failed.returncode == 1
    assert "01_one.ipynb: it carries outputs or counters; run `crmlab notebooks check --fix`" in failed.stderr
    fixed = lab.crmlab("notebooks", "check", "--fix")

    assert fixed.returncode == 0, fixed.stderr
    assert "notebooks/01_one.ipynb: outputs and traces of runs removed" in fixed.stdout
    assert json.loads(path.read_text()) == source
    before = path.stat().st_mtime_ns
    assert lab.crmlab("notebooks", "check", "--fix").stdout == "The notebooks keep their contract.\n"
    assert path.stat().st_mtime_ns == before


def test_fix_leaves_what_is_no_notebook_alone(lab):
    path = lab.notebook("01_one")
    path.write_text("{")
    problems, fixed = check_folder(lab.root, fix=True)
    assert (len(problems), fixed, path.read_text()) == (1, [], "{")


def test_stripping_leaves_its_argument_alone(lab):
    _, content = executed(lab)
    before = json.dumps(content)
    strip_notebook(content)
    assert json.dumps(content) == before


def test_an_example_keeps_outputs_and_drops_what_differs(lab):
    _, content = executed(lab)
    text = example_text(json.dumps(content))
    kept = json.loads(text)
    assert kept["cells"][4]["outputs"][0]["text"] == "7"
    assert kept["cells"][2]["id"] == "injected-parameters"
    for volatile in ("papermill", "duration", "busy", "3.11.7", "random", "widgets"):
        assert volatile not in text


def test_examples_are_renewed_to_the_same_bytes(lab):
    lab.study(name="lead_small")
    show = "from crmlab import report\nreport.headline(f'Seed {seed} | wins', tone='good')"
    lab.notebook("01_one", show)
    lab.notebook("02_two", "print(seed)")
    folder = lab.root / "reports" / "examples"

    first = lab.crmlab("examples")
    assert first.returncode == 0, first.stderr
    assert "reports/examples: 01_one.ipynb, 02_two.ipynb, README.md written" in first.stdout
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert "| [01_one](01_one.ipynb) | What is 01_one? | Seed 7 \\| wins |" in before["README.md"].decode()
    assert str(lab.root) not in before["01_one.ipynb"].decode()

    (lab.root / "reports" / "index.html").unlink()
    for run in (lab.root / "reports" / "lead_small").glob("[!.]*"):
        (run / "run.json").unlink()  # another machine: nothing to reuse
    for entry in (lab.root / "reports" / ".cache").iterdir():
        (entry / "entry.json").unlink()
    second = lab.crmlab("examples")

    assert "is current; no byte changed" in second.stdout, second.stderr
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before

    (lab.root / "notebooks" / "02_two.ipynb").unlink()
    assert write_examples() == (folder, ["README.md", "02_two.ipynb"])
    assert not (folder / "02_two.ipynb").exists()


def test_a_notebook_of_a_later_study_is_shown_as_well(lab):
    lab.study(name="lead_small")
    lab.study('title: Deals\nentity: opportunity\nas_of: "2025-01-06"\nseed: 8\n', name="opportunity_small")
    both = {"entity": ["lead", "opportunity"]}
    lab.notebook("01_both", "print(seed)", requires=both)
    lab.notebook("06_deals", "print('deals', seed)", requires={"entity": ["opportunity"]})
    assert lab.crmlab("examples").returncode == 0
    folder = lab.root / "reports" / "examples"
    assert sorted(p.name for p in folder.iterdir()) == ["01_both.ipynb", "06_deals.ipynb", "README.md"]
    assert '"7\\n"' in (folder / "01_both.ipynb").read_text()  # of the first study that has it
    assert '"deals 8\\n"' in (folder / "06_deals.ipynb").read_text()


def test_a_failed_study_leaves_the_examples_alone(lab):
    lab.study(name="lead_small")
    lab.notebook("01_one", "1 / 0")
    done = lab.crmlab("examples")
    assert done.returncode == 1
    assert "The examples were not renewed.\n  Found: 01_one failed in cell 4" in done.stderr
    assert not (lab.root / "reports" / "examples").exists()
