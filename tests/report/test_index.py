"""The index over all runs: newest answer first, history with its change, nothing that breaks it."""

import json
from pathlib import Path

import pytest

from crmlab import report


@pytest.fixture
def add_run(tmp_path):
    """Return a function that writes a run folder as the runner does."""

    def add(run, *, study="lead", outcome="finished", value=0.25, error=None, metrics=None, unit="number:3", **facts):
        folder = tmp_path / study / run
        folder.mkdir(parents=True)
        for name in ("03_models.html", "03_models.ipynb"):
            (folder / name).write_text("x", encoding="utf-8")
        notebook = {"notebook": "03_models", "title": "Which model?", "status": "ran", "html": "03_models.html"}
        manifest = {
            "study": study, "title": "Demo leads", "run": run, "outcome": outcome, "started_at": f"{run}T06:00:00Z",
            "seconds": 81.4, "error": error, "data_fingerprint": "3f9a1c0e7d52", "code_version": "a1b2",
            "notebooks": [notebook | {"ipynb": "03_models.ipynb"}],
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps(manifest | facts), encoding="utf-8")
        row = {
            "notebook": "03_models",
            "name": "log_loss",
            "label": "Log loss",
            "value": value,
            "low": None,
            "high": None,
        }
        metric = row | {"kind": "metric", "n": 1200, "unit": unit, "headline": True}
        said = row | {"kind": "headline", "label": f"Model a is best on {run}.", "unit": "good", "name": "headline_1"}
        rows = [said, metric] if metrics is None else metrics
        (folder / "metrics.json").write_text(json.dumps(rows), encoding="utf-8")
        return folder

    return add


def test_without_runs_it_says_how_to_start_one(tmp_path, read):
    assert "crmlab run" in read(report.build_index(tmp_path)).text
    assert "crmlab run" in read(report.build_index(tmp_path / "missing")).text


def test_the_newest_finished_run_speaks_and_older_ones_are_history(tmp_path, add_run, read):
    add_run("2026-11-01", value=0.3)
    add_run("2026-11-15", value=0.25)
    add_run("2026-11-08", value=0.275)
    page = read(report.build_index(tmp_path))
    assert "Model a is best on 2026-11-15." in page.text
    assert "Model a is best on 2026-11-08." not in page.text
    places = [page.text.index(f"2026-11-{day} 06:00", page.text.index("All runs")) for day in ("15", "08", "01")]
    assert places == sorted(places)
    assert page.text.count("−0.025") == 2  # 0.300 → 0.275 → 0.250
    assert "0.250" in page.text
    assert "n = 1,200" in page.text
    assert page.find("a", href="lead/2026-11-15/03_models.html")
    assert page.find("a", href="lead/2026-11-15/03_models.ipynb")


def test_shares_change_in_points(tmp_path, add_run, read):
    add_run("2026-11-01", value=0.10, unit="percent")
    add_run("2026-11-02", value=0.125, unit="percent")
    text = read(report.build_index(tmp_path)).text.replace("\u00a0", " ")
    assert "12.5 %" in text
    assert "+2.5 pts" in text


def test_a_failed_run_is_said_and_does_not_hide_the_last_answer(tmp_path, add_run, read):
    add_run("2026-11-01")
    add_run("2026-11-02", outcome="failed", error="03_models, cell 7: too few outcomes\nTraceback", metrics=[])
    text = read(report.build_index(tmp_path)).text
    assert "did not finish (failed)" in text
    assert "03_models, cell 7: too few outcomes" in text
    assert "Traceback" not in text
    assert "Model a is best on 2026-11-01." in text


def test_a_study_that_never_finished_claims_nothing(tmp_path, add_run, read):
    add_run("2026-11-01", outcome="interrupted", error="Stopped by Ctrl-C")
    text = read(report.build_index(tmp_path)).text
    assert "No run of this study has finished yet." in text
    assert "Stopped by Ctrl-C" in text
    assert "Model a is best" not in text


def test_the_change_skips_runs_without_the_number(tmp_path, add_run, read):
    add_run("2026-11-01", value=0.3)
    add_run("2026-11-02", outcome="failed", metrics=[])
    add_run("2026-11-03", value=None)
    add_run("2026-11-04", value=0.2)
    assert read(report.build_index(tmp_path)).text.count("−0.100") == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{not json", "run.json is not JSON"),
        ("[1, 2]", "run.json holds a list, not a dict"),
        ("{}", "run.json names no known outcome"),
        ('{"outcome": ["finished"]}', "run.json names no known outcome"),
        ("[" * 100_000, ""),
        (b"\xff\xfe\x00", "run.json is not JSON"),
    ],
)
def test_a_folder_that_cannot_be_read_is_listed(tmp_path, add_run, read, content, reason):
    add_run("2026-11-01")
    broken = tmp_path / "other" / "run"
    broken.mkdir(parents=True)
    (broken / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    text = read(report.build_index(tmp_path)).text
    assert f"other/run: {reason}" in text
    assert "Model a is best on 2026-11-01." in text


@pytest.mark.parametrize("field", ["notebooks", "seconds", "started_at", "title", "error", "data_fingerprint"])
@pytest.mark.parametrize("value", [None, 3, "x", [], [1, "x", None], {"a": 1}, True, 1e400])
def test_a_field_of_a_wrong_kind_does_not_break_the_index(tmp_path, add_run, read, field, value):
    add_run("2026-11-01", **{field: value})
    assert "log loss" in read(report.build_index(tmp_path)).text.lower()


@pytest.mark.parametrize(
    "rows",
    [
        {},
        [1],
        [{"name": 3}],
        [{"name": "x", "value": [1], "n": "many", "headline": True}],
        [{"name": "x", "value": 10**400, "headline": True, "n": 10**9}],
    ],
)
def test_foreign_metrics_do_not_break_the_index(tmp_path, add_run, read, rows):
    add_run("2026-11-01", metrics=rows)
    assert "2026-11-01" in read(report.build_index(tmp_path)).text


def test_only_files_in_the_run_folder_are_linked(tmp_path, add_run, read):
    (tmp_path / "lead").mkdir()
    (tmp_path / "lead" / "outside.html").write_text("x", encoding="utf-8")
    names = ["../outside.html", "javascript:alert(1).html", "/etc/passwd", "missing.html", 3, None, str(tmp_path)]
    add_run("2026-11-01", notebooks=[{"notebook": "a", "title": "A", "status": "ran", "html": name} for name in names])
    assert not [a for a in read(report.build_index(tmp_path)).find("a") if a["href"].endswith("l")]


def test_the_runners_own_folders_are_left_out(tmp_path, add_run, read):
    add_run("2026-11-01", study=".cache")
    add_run(".tmp-2026-11-02")
    assert "There is no run yet" in read(report.build_index(tmp_path)).text


def test_names_with_spaces_and_signs_are_linked(tmp_path, add_run, read):
    add_run("run 1 & #2", study="leads 50%")
    assert read(report.build_index(tmp_path)).find("a", href="leads%2050%25/run%201%20%26%20%232/03_models.html")


def test_nothing_is_written_and_the_same_folders_give_the_same_page(tmp_path, add_run):
    add_run("2026-11-01")
    before = sorted(Path(tmp_path).rglob("*"))
    assert report.build_index(tmp_path) == report.build_index(tmp_path)
    assert sorted(Path(tmp_path).rglob("*")) == before
