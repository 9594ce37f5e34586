"""The command line: quick to start, one message per error, exit codes that scripts can use."""

import subprocess
import sys

import pytest

from crmlab import cli
from crmlab.run.execution import Result
from crmlab.run.progress import Progress
from crmlab.run.runner import Finished
from crmlab.run.summary import summary


def test_help_needs_no_heavy_library():
    code = (
        "import sys\nfrom crmlab.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'pandas', 'numpy', 'papermill', 'duckdb', 'matplotlib', 'nbconvert', 'psutil'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("run", "check", "studies", "notebooks", "override", "examples", "dictionary"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["rnu", "lead"], ["run"], ["run", "x", "--jobs", "0"], ["run", "x", "--timeout", "-1"]]
)
def test_wrong_usage_has_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "usage: crmlab" in capsys.readouterr().err


def test_an_error_is_one_message(lab, capsys):
    lab.notebook("01_one")
    assert cli.main(["run", "tny"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "crmlab: There is no study `tny`.\n  To do: did you mean `tiny`?\n"
    assert captured.out == ""


def test_an_override_needs_a_study_that_gives_scores(lab, capsys):
    lab.notebook("01_one")
    assert cli.main(["override", "tiny", "L1", "0.5", "--by", "R1", "--reason", "budget"]) == 1
    assert "The study `tiny` gives no scores." in capsys.readouterr().err


def test_studies_are_listed(lab, capsys):
    lab.study('title: Deals\nentity: lead\nsource: demo\nas_of: ""\n', name="deals")
    assert cli.main(["studies"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["study", "title", "source", "as", "of"],
        ["deals", "Deals", "demo"],
        ["tiny", "Tiny", "study", "2025-01-06"],
    ]


def test_the_dictionary_is_written_and_checked(lab, capsys):
    columns, features = lab.root / "docs" / "data_dictionary.md", lab.root / "docs" / "features.md"
    assert cli.main(["dictionary", "--check"]) == 1
    assert not columns.exists()
    assert not features.exists()
    assert cli.main(["dictionary"]) == 0
    assert columns.read_text().startswith("# Data dictionary")
    assert features.read_text().startswith("# Features")
    assert cli.main(["dictionary", "--check"]) == 0
    for path in (columns, features):
        current = path.read_text()
        path.write_text("old")
        assert cli.main(["dictionary", "--check"]) == 1
        path.write_text(current)
    assert "run `crmlab dictionary`" in capsys.readouterr().err


SOURCE = """\
title: Own leads
files:
  leads: {path: leads.csv}
tables:
  leads:
    file: leads
    columns:
      lead_id: {from: Id}
      created_at: {from: Created, format: "%Y-%m-%d", timezone: UTC}
"""


def test_check_tells_what_is_wrong_with_a_source(lab, capsys):
    assert cli.main(["check", "lead"]) == 1
    assert "There is no source `lead`" in capsys.readouterr().err


def test_check_reads_a_demo_source(lab, capsys):
    folder = lab.root / "params" / "sources"
    folder.mkdir()
    (folder / "mini.yaml").write_text("title: Mini\nkind: wrong\n")
    assert cli.main(["check", "mini"]) == 1
    assert "ERROR" in capsys.readouterr().out


def finished(tmp_path, outcome: str, results: dict) -> Finished:
    reports = tmp_path / "reports"
    return Finished(outcome, "lead", reports / "lead" / "r1", reports / "index.html", 12.34, results)


def test_the_summary_shows_paths_as_typed_from_here(tmp_path):
    done = finished(tmp_path, "finished", {"01_a": Result("ran"), "02_b": Result("reused"), "03_c": Result("ran")})
    lines, errors = summary(done, here=tmp_path / "notebooks")
    assert lines[0] == "lead: finished in 12.3 s (2 ran, 1 reused)"
    assert lines[1] == "Report: ../reports/index.html"
    assert lines[2].strip() == (tmp_path / "reports" / "index.html").as_uri()
    assert errors == []


def test_the_summary_has_one_line_per_failure(tmp_path):
    failed = Result("failed", 1.0, "failed in cell 3: ValueError: x", {"html": "01_a.failed.html"})
    lines, errors = summary(finished(tmp_path, "failed", {"01_a": failed, "02_b": Result("not_run")}), here=tmp_path)
    assert lines[0] == "lead: failed after 12.3 s (1 failed, 1 not run)"
    assert errors == ["01_a failed in cell 3: ValueError: x; partial notebook: reports/lead/r1/01_a.failed.html"]


class Screen:
    """A terminal that remembers what was written to it."""

    def __init__(self, *, terminal: bool) -> None:
        self.text, self.terminal = "", terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None: ...


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_on_a_terminal_and_in_a_log(terminal):
    screen = Screen(terminal=terminal)
    progress = Progress({"01_a": 4, "02_b": 6}, stream=screen)
    progress.start("01_a")
    progress.cell("01_a", 2, 4)
    if terminal:
        assert "01_a" in screen.text
        assert "2/10" in screen.text
    progress.end("01_a", "finished in 1.0 s")
    progress.close()
    assert "01_a: finished in 1.0 s\n" in screen.text
    if not terminal:
        assert screen.text == "01_a: started\n01_a: finished in 1.0 s\n"


def test_a_reader_that_has_seen_enough_changes_nothing(lab):
    process = lab.start("studies")
    process.stdout.close()
    _, err = process.stderr.read(), process.stderr.close()
    assert process.wait(60) == 0, err
