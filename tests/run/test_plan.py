"""Which notebooks a study needs, in which order, and when a result is still right."""

import copy
import json
from pathlib import Path

import pytest

from crmlab.run.cache import Cache
from crmlab.run.folder import find_finished
from crmlab.run.keys import notebook_key
from crmlab.run.notebooks import Notebook, Parameter
from crmlab.run.params import Study
from crmlab.run.plan import declared_parameters, dependencies, select_notebooks
from crmlab.schema import ParameterError, RunError

LEAD = {"entity": ("lead",), "label": ("within_horizon", "final_status")}


def notebook(name: str, *, requires: dict | None = None, after: tuple = (), parameters: dict | None = None) -> Notebook:
    return Notebook(name, Path(f"{name}.ipynb"), {"cells": []}, name, requires or LEAD, after, parameters or {})


def study(**values: object) -> Study:
    return Study("lead", "params/lead.yaml", values)


def names(found: list[Notebook]) -> list[str]:
    return [nb.name for nb in found]


def test_notebooks_are_chosen_by_what_they_require():
    notebooks = [
        notebook("01_a"),
        notebook("02_dated", requires={"entity": ("lead",), "label": ("within_horizon",)}),
        notebook("03_customer", requires={"entity": ("customer",)}),
        notebook("04_any", requires={"entity": ("lead", "customer")}),
    ]
    assert names(select_notebooks(study(entity="lead", label="within_horizon"), notebooks)) == [
        "01_a",
        "02_dated",
        "04_any",
    ]
    assert names(select_notebooks(study(entity="lead", label="final_status"), notebooks)) == ["01_a", "04_any"]
    assert names(select_notebooks(study(entity="customer"), notebooks)) == ["03_customer", "04_any"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"entity": "led", "label": "final_status"},
            "no notebook knows the entity `led`.\n  To do: did you mean `lead`?",
        ),
        ({"entity": "lead", "label": "within_horizn"}, "did you mean `within_horizon`?"),
        ({"entity": "lead"}, "lacks `label`, which decides on the notebooks"),
        ({"label": "final_status"}, "lacks `entity`(.|\n)*add the line `entity: lead`"),
    ],
)
def test_a_wrong_or_missing_membership_value(values, told):
    with pytest.raises(ParameterError) as error:
        select_notebooks(study(**values), [notebook("01_a"), notebook("02_b", requires={"entity": ("customer",)})])
    assert told.split("(.|\n)*")[0] in str(error.value)


def test_values_that_no_notebook_joins():
    apart = [
        notebook("01_a", requires={"entity": ("lead",), "label": ("x",)}),
        notebook("02_b", requires={"label": ("y",)}),
    ]
    with pytest.raises(ParameterError, match=r"No notebook belongs to the study(.|\n)*entity: lead, label: z"):
        select_notebooks(
            study(entity="lead", label="z"), [*apart, notebook("03", requires={"entity": ("c",), "label": ("z",)})]
        )


def test_order_follows_after_and_else_the_numbers():
    notebooks = [
        notebook("01_a", after=("03_c",)),
        notebook("02_b"),
        notebook("03_c"),
        notebook("04_d", after=("01_a",)),
    ]
    waits = dependencies(notebooks, notebooks)
    assert list(waits) == ["02_b", "03_c", "01_a", "04_d"]
    assert waits["04_d"] == ("01_a",)


def test_what_is_not_for_this_study_is_not_waited_for():
    notebooks = [notebook("01_a"), notebook("02_b", after=("01_a",))]
    assert dependencies(notebooks[1:], notebooks) == {"02_b": ()}


def test_an_order_that_cannot_be_kept():
    circle = [notebook("01_a", after=("02_b",)), notebook("02_b", after=("01_a",)), notebook("03_c")]
    with pytest.raises(RunError, match=r"wait for each other(.|\n)*01_a after 02_b, 02_b after 01_a"):
        dependencies(circle, circle)
    unknown = [notebook("01_a"), notebook("02_b", after=("01_aa",))]
    with pytest.raises(RunError, match=r"02_b is to run after `01_aa`(.|\n)*did you mean `01_a`"):
        dependencies(unknown, unknown)


def test_one_parameter_has_one_type():
    whole, half = ({"n": Parameter("n", kind, 1, "")} for kind in ("int", "float"))
    same = [notebook("01_a", parameters=whole), notebook("02_b", parameters=whole)]
    assert [p.type for p in declared_parameters(same)["n"]] == ["int", "int"]
    with pytest.raises(RunError, match=r"`n` has two types(.|\n)*float in 02_b"):
        declared_parameters([same[0], notebook("02_b", parameters=half)])


CONTENT = {
    "metadata": {"crmlab": {"requires": {"entity": ["lead"]}}, "language_info": {"version": "3.11.7"}},
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": "# Title"},
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "source": ["a: int = 1\n", "b: int = 2"],
            "outputs": [],
        },
    ],
}


def key(content: dict = CONTENT, *, params: dict | None = None, upstream: tuple = (), **surroundings: str) -> str:
    around = {"data": "d", "code": "c", "python": "3.11.7", "versions": {"pandas": "3"}} | surroundings
    return notebook_key(
        content, study={"name": "lead", "parameters": params or {}}, surroundings=around, upstream=upstream
    )


def test_the_key_does_not_depend_on_what_does_not_matter():
    same = copy.deepcopy(CONTENT)
    same["metadata"]["language_info"]["version"] = "3.12.0"
    same["cells"][1] |= {"source": "a: int = 1\nb: int = 2", "execution_count": 3, "outputs": [{"text": "x"}]}
    assert key(same) == key()
    assert key(params={"a": 1, "b": 2}) == key(params={"b": 2, "a": 1})


def test_the_key_depends_on_all_that_matters():
    source, tag, metadata = (copy.deepcopy(CONTENT) for _ in range(3))
    source["cells"][0]["source"] = "# Another title"
    tag["cells"][1]["metadata"]["tags"] = []
    metadata["metadata"]["crmlab"]["after"] = ["01_a"]
    keys = [
        key(),
        *(key(content) for content in (source, tag, metadata)),
        key(params={"a": 1}),
        key(params={"a": 1.0}),
        key(upstream=("k",)),
        key(data="other"),
        key(code="other"),
        key(python="3.12.0"),
        key(versions="other"),
    ]
    assert len(set(keys)) == len(keys)


def entry(cache: Cache, name: str, title: str = "") -> None:
    folder = cache.folder.parent / "made"
    folder.mkdir(parents=True)
    (folder / "01_a.ipynb").write_text(json.dumps({"cells": [], "metadata": {"title": title}}))
    (folder / "metrics.json").write_text("[]")
    cache.put(name, folder, notebook="01_a", seconds=1.5, run="r1")


def test_the_cache_gives_back_what_it_took_and_nothing_damaged(tmp_path):
    cache = Cache(tmp_path / "cache")
    assert cache.find("k") is None
    entry(cache, "k", "one")
    assert cache.find("k")["seconds"] == 1.5
    entry(cache, "k", "two")
    (tmp_path / "out").mkdir()
    cache.copy("k", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["01_a.ipynb"]
    assert "two" in (tmp_path / "out" / "01_a.ipynb").read_text()
    (cache.folder / "k" / "01_a.ipynb").write_text("tw")
    assert cache.find("k") is None


def test_the_cache_keeps_the_most_recently_used(tmp_path):
    import os

    cache = Cache(tmp_path / "cache")
    cache.prune()  # nothing there yet
    for number, name in enumerate("abc"):
        entry(cache, name)
        os.utime(cache.folder / name, (number, number))
    (tmp_path / "out").mkdir()
    cache.copy("a", tmp_path / "out")
    cache.prune(keep=2)
    assert sorted(p.name for p in cache.folder.iterdir()) == ["a", "c"]


def test_broken_and_foreign_run_folders_are_passed_over(tmp_path):
    for name, text in (
        ("r3", "{"),
        ("r2", "[]"),
        ("r1", '{"outcome": "finished", "notebooks": [{"notebook": "a", "key": "k"}]}'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    assert find_finished(tmp_path, {"a": "k"}) == tmp_path / "r1"
    assert find_finished(tmp_path, {"a": "other"}) is None
    assert find_finished(tmp_path / "none", {"a": "k"}) is None
