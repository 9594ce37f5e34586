"""Where the project's folders are, from any working directory."""

from pathlib import Path

import pytest

from crmlab.project import data_dir, datasets_dir, root
from crmlab.schema import CrmlabError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CRMLAB_HOME", "CRMLAB_DATA", "CRMLAB_DATASETS"):
        monkeypatch.delenv(name, raising=False)


def make_project(folder: Path) -> Path:
    for name in ("params", "notebooks"):
        (folder / name).mkdir(parents=True)
    return folder


def test_nearest_project_at_or_above_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = make_project(tmp_path / "outer")
    inner = make_project(outer / "a" / "inner")
    deep = inner / "notebooks" / "deep"
    deep.mkdir()
    for folder, expected in ((deep, inner), (inner, inner), (outer / "a", outer)):
        monkeypatch.chdir(folder)
        assert root() == expected


def test_folder_with_only_half_a_project_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = make_project(tmp_path / "outer")
    (outer / "half" / "params").mkdir(parents=True)
    monkeypatch.chdir(outer / "half")
    assert root() == outer


def test_elsewhere_it_is_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crmlab.project._CHECKOUT", make_project(tmp_path / "checkout"))
    assert root() == tmp_path / "checkout"


def test_crmlab_home_wins_and_must_be_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_project(tmp_path / "a home")
    monkeypatch.chdir(make_project(tmp_path / "here"))
    monkeypatch.setenv("CRMLAB_HOME", str(home))
    assert root() == home
    monkeypatch.setenv("CRMLAB_HOME", str(tmp_path / "gone"))
    with pytest.raises(CrmlabError, match=r"not a crmlab project.\n  Found: .*above .*gone\n  To do: .*CRMLAB_HOME"):
        root()


def test_nowhere_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crmlab.project._CHECKOUT", tmp_path / "site-packages")
    with pytest.raises(CrmlabError, match=r"not a crmlab project.\n  Found: .*\n  To do: change into your clone"):
        root()


def test_data_is_inside_the_project_unless_said_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "here"))
    assert data_dir() == tmp_path / "here" / "data"
    assert not data_dir().exists()
    monkeypatch.setenv("CRMLAB_DATA", str(tmp_path / "elsewhere"))
    assert data_dir() == tmp_path / "elsewhere"


def test_public_data_sets_have_a_local_folder_only_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert datasets_dir() is None
    monkeypatch.setenv("CRMLAB_DATASETS", "")
    assert datasets_dir() is None
    monkeypatch.setenv("CRMLAB_DATASETS", "some/where")
    assert datasets_dir() == Path("some/where")
