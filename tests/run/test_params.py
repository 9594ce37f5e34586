"""Params files: read strictly, checked before anything runs, with messages that say what to write instead."""

import pytest

from crmlab.run.notebooks import Parameter, find_notebooks, read_notebook
from crmlab.run.params import find_study, load_study, override, resolve, sha256_of
from crmlab.run.runner import plan_study
from crmlab.schema import ParameterError, RunError

DECLARED = {
    "as_of": [Parameter("as_of", "str", "2024-06-30", "Last day.")],
    "seed": [Parameter("seed", "int", 0, "Seeds folds.")],
    "test_share": [Parameter("test_share", "float", 0.3, "Newest part.")],
    "quick": [Parameter("quick", "bool", False, "Skip the slow part.")],
    "windows": [Parameter("windows", "list[int]", [7, 30], "Days.")],
}
GOOD = 'entity: lead\nas_of: "2025-01-06"\nseed: 7\ntest_share: 0.3\nquick: false\nwindows: [7, 30]\n'


def values(tmp_path, text: str) -> dict:
    path = tmp_path / "lead.yaml"
    path.write_text(text, encoding="utf-8")
    return resolve(load_study(path), DECLARED)


def test_good_values_pass_typed(tmp_path):
    got = values(tmp_path, GOOD.replace("0.3", "1"))
    assert got == {"as_of": "2025-01-06", "seed": 7, "test_share": 1.0, "quick": False, "windows": [7, 30]}
    assert isinstance(got["test_share"], float)


@pytest.mark.parametrize(
    ("text", "as_text"),
    [
        ("2025-01-06", "2025-01-06"),
        ("2025-01-06 10:30:00", "2025-01-06 10:30:00"),
        ('""', ""),
        ("2024-02-29", "2024-02-29"),
    ],
)
def test_dates_stay_text(tmp_path, text, as_text):
    assert values(tmp_path, GOOD.replace('"2025-01-06"', text))["as_of"] == as_text


@pytest.mark.parametrize(("text", "value"), [("NO", "NO"), ("12:30", "12:30"), ("yes", "yes"), ("on", "on")])
def test_words_and_times_are_text_in_yaml_1_2(tmp_path, text, value):
    path = tmp_path / "lead.yaml"
    path.write_text(f"country: {text}\n")
    assert load_study(path).values == {"country": value}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed: 7", 'seed: "100"', 'line 3: `seed` must be a whole number.\n  Found: the text "100"'),
        ("seed: 7", "seed: 7.0", "`seed` must be a whole number.\n  Found: 7.0"),
        ("seed: 7", "seed: true", "`seed` must be a whole number.\n  Found: true"),
        ("seed: 7", "seed:", "`seed` must be a whole number.\n  Found: an empty value: null"),
        ("test_share: 0.3", "test_share: .nan", "`test_share` must be a number."),
        ("test_share: 0.3", "test_share: false", "`test_share` must be a number.\n  Found: false"),
        ("quick: false", "quick: no", '`quick` must be true or false.\n  Found: the text "no"'),
        ("windows: [7, 30]", "windows: 7", "`windows` must be a list, each a whole number.\n  Found: 7"),
        ("windows: [7, 30]", "windows: [7, x]", "`windows` must be a list, each a whole number."),
        ('"2025-01-06"', "2024-13-45", '`as_of` must be an ISO date.\n  Found: "2024-13-45"'),
        ('"2025-01-06"', '"6.1.2025"', "`as_of` must be an ISO date."),
        ('"2025-01-06"', '"2025-02-30"', "`as_of` must be an ISO date."),
        ('"2025-01-06"', "20250106", "`as_of` must be text.\n  Found: 20250106"),
        ("seed: 7", "sead: 7", "no notebook of this study has a parameter `sead`.\n  To do: did you mean `seed`?"),
        ("seed: 7\n", "", "lacks the parameter `seed`.\n  To do: add the line\n    seed: 0  # Seeds folds."),
        ("windows: [7, 30]\n", "", "add the line\n    windows: [7, 30]  # Days."),
        ('as_of: "2025-01-06"\n', "", 'add the line\n    as_of: "2024-06-30"  # Last day.'),
        ("seed: 7", "seed: 7\nseed: 8", "has the key `seed` twice.\n  Found: line 4"),
        ("seed: 7", "seed: [7", "is not YAML.\n  Found: line "),
        ("seed: 7", "seed: 7\n\tquick: x", "is not YAML.\n  Found: line 4"),
        ("seed: 7", "seed: !!python/object/apply:os.getcwd []", "is not YAML.\n  Found: line 3"),
        ("seed: 7", "7: seed", "the key 7 must be a word"),
        ("entity: lead", "entity: 5", "line 1: `entity` must be text."),
    ],
)
def test_each_mistake_has_its_message(tmp_path, old, new, told):
    assert old in GOOD
    with pytest.raises(ParameterError) as error:
        values(tmp_path, GOOD.replace(old, new))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "an empty file"), ("- seed\n- 7\n", "a list"), ("just words\n", "a str"), ("# only\n", "an empty file")],
)
def test_a_file_that_is_no_mapping(tmp_path, text, found):
    with pytest.raises(ParameterError, match=f"must be a mapping of names to values(.|\n)*{found}"):
        values(tmp_path, text)


def test_a_file_in_another_encoding(tmp_path):
    path = tmp_path / "lead.yaml"
    path.write_bytes("title: Città\n".encode("latin-1"))
    with pytest.raises(ParameterError, match=r"lead\.yaml cannot be read(.|\n)*UTF-8"):
        load_study(path)


def test_a_byte_order_mark_is_fine(tmp_path):
    path = tmp_path / "lead.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 7\n")
    assert load_study(path).values == {"seed": 7}


def test_all_problems_come_at_once(tmp_path):
    with pytest.raises(ParameterError) as error:
        values(tmp_path, GOOD.replace("seed: 7", "sead: 7").replace("quick: false", "quick: 0"))
    assert "has 3 problems" in str(error.value)
    for part in ("`sead`", "lacks the parameter `seed`", "`quick` must be true or false"):
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["password", "crm_token", "client_secret", "api_key", "apikey", "key", "db_pwd"])
def test_a_secret_is_refused_and_its_value_not_shown(tmp_path, name):
    path = tmp_path / "lead.yaml"
    path.write_text(f"{name}: hunter2\n")
    declared = {name: [Parameter(name, "str", "", "")]}
    with pytest.raises(ParameterError, match="name of an environment variable") as error:
        resolve(load_study(path), declared)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("name", ["crm_token_env", "password_variable", "key_accounts", "monkey", "keyword"])
def test_the_name_of_a_variable_is_no_secret(tmp_path, name):
    path = tmp_path / "lead.yaml"
    path.write_text(f"{name}: CRM_TOKEN\n")
    assert resolve(load_study(path), {name: [Parameter(name, "str", "", "")]}) == {name: "CRM_TOKEN"}


def given(tmp_path, *assignments: str) -> dict:
    path = tmp_path / "lead.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return resolve(override(load_study(path), assignments, DECLARED), DECLARED)


def test_overrides_are_read_as_the_declared_type(tmp_path):
    got = given(tmp_path, "seed=8", "as_of=2024-06-30", "quick=true", "windows=[1, 2]", "test_share=0.25")
    assert got == {"seed": 8, "as_of": "2024-06-30", "quick": True, "windows": [1, 2], "test_share": 0.25}


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("seed=eight", '`seed` must be a whole number.\n  Found: the text "eight"'),
        ("sed=8", "this study has no parameter `sed`.\n  To do: did you mean `seed`?"),
        ("seed", "must be name=value"),
        ("as_of=2024-13-45", "`as_of` must be an ISO date"),
        ("windows=[1", "-p windows is not YAML"),
    ],
)
def test_a_wrong_override_has_its_message(tmp_path, assignment, told):
    with pytest.raises(ParameterError) as error:
        given(tmp_path, assignment)
    assert told in str(error.value)
    assert ", line" not in str(error.value).splitlines()[0]


def test_the_same_override_twice_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="each name once"):
        given(tmp_path, "seed=1", "seed=2")


def test_an_unknown_study_is_suggested(lab):
    lab.study(name="lead")
    with pytest.raises(ParameterError, match=r"no study `leed`(.|\n)*did you mean `lead`\?"):
        find_study("leed", folder=lab.root / "params")


def test_a_study_may_be_a_path(lab, tmp_path):
    path = tmp_path / "elsewhere.yaml"
    path.write_text("seed: 7\n")
    assert find_study(str(path), folder=lab.root / "params") == path
    for name in ("examples.yaml", "my study.yaml"):
        (tmp_path / name).write_text("seed: 7\n")
        with pytest.raises(ParameterError, match="cannot be called"):
            find_study(str(tmp_path / name), folder=lab.root / "params")


def test_the_hash_of_values_does_not_depend_on_their_order():
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})
    assert sha256_of({"a": 1}) != sha256_of({"a": 1.0})


def test_nothing_is_written_when_a_parameter_is_wrong(lab):
    lab.notebook("01_one")
    lab.study("entity: lead\nseed: x\n")

    done = lab.crmlab("run", "tiny")

    assert done.returncode == 1
    assert "params/tiny.yaml has 2 problems" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (lab.root / "reports").exists()


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("n: int = 90 * 2  # Days.", "default of the parameter `n` is computed"),
        ("n = 90  # Days.", "line 1 of the parameters cell must be `name: type = literal  # comment`"),
        ("n: int  # Days.", "line 1 of the parameters cell must be"),
        ("import os", "line 1 of the parameters cell must be"),
        ("n: dict = {}  # Days.", "the parameter `n` has the type `dict`"),
        ("n: int = 1  # Days.\nn: int = 2  # Days.", "`n` is declared twice"),
        ("n: int = (", "the parameters cell is not Python"),
    ],
)
def test_a_parameters_cell_that_breaks_the_contract(lab, cell, told):
    path = lab.notebook("01_one", parameters=cell)
    with pytest.raises(RunError) as error:
        read_notebook(path)
    assert told in str(error.value)


def test_parameters_are_read_with_type_default_and_comment(lab):
    cell = (
        'a: str = "x # y"  # Text: with a colon.\nb: list[float] = [\n    0.5,\n    1.0,\n]  # Shares.\nc: bool = True'
    )
    parameters = read_notebook(lab.notebook("01_one", parameters=cell)).parameters
    assert list(parameters.values()) == [
        Parameter("a", "str", "x # y", "Text: with a colon."),
        Parameter("b", "list[float]", [0.5, 1.0], "Shares."),
        Parameter("c", "bool", True, ""),
    ]


def test_a_project_without_notebooks(lab):
    with pytest.raises(RunError, match="no notebooks to run"):
        find_notebooks(lab.root / "notebooks")
    (lab.root / "notebooks" / "01_broken.ipynb").write_text("{")
    with pytest.raises(RunError, match=r"01_broken\.ipynb cannot be read"):
        plan_study("tiny")
