"""Whole runs through the command line, in real worker processes and kernels."""

import json
import os

import psutil
import pytest

from crmlab import project
from crmlab.run.runner import run_study


def test_a_run_leaves_notebooks_pages_numbers_and_an_index(lab):
    long = "print('x' * 1_000_000)"  # looking for paths in it must not take long
    lab.notebook("01_one", "import warnings\nwarnings.warn('careful', stacklevel=1)\nprint(seed, as_of)", long)
    lab.notebook("02_two", "print(seed * 2)", after=("01_one",))
    lab.notebook("09_other", requires={"entity": ["customer"]})

    done = lab.crmlab("run", "tiny")

    assert done.returncode == 0, done.stderr
    assert "tiny: finished" in done.stdout
    assert "Report: reports/index.html" in done.stdout
    assert (lab.root / "reports" / "index.html").as_uri() in done.stdout
    record = lab.records()[0]
    assert record["outcome"] == "finished"
    assert record["params"] == {"seed": 7, "as_of": "2025-01-06"}
    assert record["seed"] == 7
    assert record["error"] is None
    assert lab.statuses() == {"01_one": "ran", "02_two": "ran", "09_other": "not_for_this_study"}
    assert {p.name for p in lab.folder().iterdir()} == {
        *("01_one.ipynb", "01_one.html", "02_two.ipynb", "02_two.html", "metrics.json", "run.json")
    }
    assert json.loads((lab.folder() / "metrics.json").read_text()) == []
    assert "Tiny study" in (lab.root / "reports" / "index.html").read_text()
    assert not lab.unfinished()
    _tells_nothing_of_the_machine(lab)

    again = lab.crmlab("run", "tiny")

    assert again.returncode == 0
    assert f"nothing changed since run {record['run']}" in again.stdout
    assert "Report: reports/index.html" in again.stdout
    assert len(lab.records()) == 1


def _tells_nothing_of_the_machine(lab) -> None:
    text = (lab.folder() / "01_one.ipynb").read_text()
    papermill = json.loads(text)["metadata"]["papermill"]
    assert (papermill["input_path"], papermill["output_path"]) == ("notebooks/01_one.ipynb", "01_one.ipynb")
    assert "7 2025-01-06" in text
    assert "<cell>:2: UserWarning: careful" in text
    assert str(lab.root) not in text
    assert "/tmp" not in text


def test_the_heaviest_that_can_start_starts_first(lab, capsys):
    lab.notebook("01_one")
    lab.notebook("02_two", weight=5)
    lab.notebook("03_three", weight=9, after=("01_one",))

    run_study("tiny", jobs=1)

    started = [line.split(":")[0] for line in capsys.readouterr().err.splitlines() if line.endswith(": started")]
    assert started == ["02_two", "01_one", "03_three"]


def test_only_what_changed_and_what_comes_after_it_runs_again(lab):
    lab.notebook("01_one")
    lab.notebook("02_two", "print(2)")
    lab.notebook("03_three", after=("02_two",))
    run_study("tiny")

    lab.notebook("02_two", "print('two')")
    run_study("tiny")

    assert lab.statuses() == {"01_one": "reused", "02_two": "ran", "03_three": "ran"}
    reused = lab.records()[-1]["notebooks"][0]
    assert reused["reason"] == f"unchanged since run {lab.records()[0]['run']}"
    assert (lab.folder() / "01_one.html").is_file()


def test_another_value_is_another_result_and_force_runs_all(lab):
    lab.notebook("01_one")
    lab.notebook("02_no_seed", "print(as_of)", parameters='as_of: str = "2024-06-30"  # Last day.')
    run_study("tiny")

    run_study("tiny", overrides=["seed=8"])
    assert lab.statuses() == {"01_one": "ran", "02_no_seed": "reused"}
    assert lab.records()[-1]["params"]["seed"] == 8

    run_study("tiny", overrides=["seed=8"], force=True)
    assert lab.statuses() == {"01_one": "ran", "02_no_seed": "ran"}


def test_a_damaged_result_is_made_again(lab):
    lab.notebook("01_one")
    lab.notebook("02_two")
    run_study("tiny")
    page = next((lab.root / "reports" / ".cache").glob("*/01_one.html"))
    page.write_text(page.read_text()[:100])
    lab.notebook("02_two", "print(2)")

    run_study("tiny")

    assert lab.statuses() == {"01_one": "ran", "02_two": "ran"}


def test_an_error_in_a_cell_fails_the_run_in_one_line(lab):
    lab.notebook("01_one")
    lab.notebook("02_two", "x = 1", "raise ValueError('the first line\\nthe second')", "print('never')")
    lab.notebook("03_three", after=("02_two",))
    lab.notebook("04_four", after=("03_three",))

    done = lab.crmlab("run", "tiny")

    assert done.returncode == 1
    place = os.path.relpath(lab.folder() / "02_two.failed.html", lab.root)
    assert (
        f"crmlab: 02_two failed in cell 6 (“Section 2”): ValueError: the first line; partial notebook: {place}\n"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert lab.statuses() == {"01_one": "ran", "02_two": "failed", "03_three": "not_run", "04_four": "not_run"}
    record = lab.records()[0]
    assert record["outcome"] == "failed"
    assert record["error"].startswith("02_two failed in cell 6")
    assert [nb["reason"] for nb in record["notebooks"]][2:] == ["it comes after 02_two", "it comes after 03_three"]
    partial = json.loads((lab.folder() / "02_two.failed.ipynb").read_text())
    errors = [o for c in partial["cells"] for o in c.get("outputs", []) if o["output_type"] == "error"]
    assert [e["ename"] for e in errors] == ["ValueError"]
    assert "papermill-error-cell-tag" in partial["cells"][0]["metadata"]["tags"]
    assert not (lab.folder() / "02_two.ipynb").exists()
    assert "failed" in (lab.root / "reports" / "index.html").read_text()

    lab.notebook("02_two", "print('mended')")
    assert run_study("tiny").outcome == "finished"
    assert lab.statuses() == {"01_one": "reused", "02_two": "ran", "03_three": "ran", "04_four": "ran"}


def test_an_error_raised_on_purpose_says_what_to_do(lab):
    words = "'No rows.', found='an empty file', remedy='export again.'"
    lab.notebook("01_one", f"from crmlab.schema import DataError\nraise DataError({words})")

    done = lab.crmlab("run", "tiny")

    assert done.returncode == 1
    told = "crmlab: 01_one failed in cell 4 (“Section 1”): No rows.\n  Found: an empty file\n  To do: export again.\n"
    assert told + "  Partial notebook: reports/tiny/" in done.stderr


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "KernelDied: the kernel was killed (SIGKILL)"),
        ("import os\nos._exit(3)", "KernelDied: the kernel process ended."),
        ("import time\ntime.sleep(60)", "CellTimeout: the cell took longer than 2 s."),
        ("import sys\nsys.exit()", "StoppedEarly: the cell ended the notebook"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_notebook_that_breaks_off_is_never_taken_for_finished(lab, cell, told):
    lab.notebook("01_one", "print('before')", cell, "print('after')")

    finished = run_study("tiny", timeout=2)

    assert finished.outcome == "failed"
    assert f"failed in cell 6 (“Section 2”): {told}" in finished.results["01_one"].reason
    partial = json.loads((lab.folder() / "01_one.failed.ipynb").read_text())
    shown = ["".join(o.get("text", "")) for c in partial["cells"] for o in c.get("outputs", [])]
    assert "before\n" in shown
    assert "after\n" not in shown
    assert told.split(":")[0] in (lab.folder() / "01_one.failed.html").read_text()


def test_a_killed_worker_leaves_a_partial_notebook_and_no_kernel(lab):
    prepare = "import os, signal, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))"
    lab.notebook("01_one", prepare, "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)")
    lab.notebook("02_two", "import time; time.sleep(1)")
    lab.notebook("03_three", after=("02_two",))

    finished = run_study("tiny")

    assert lab.statuses() == {"01_one": "failed", "02_two": "ran", "03_three": "ran"}
    assert (
        "failed in cell 6 (“Section 2”): WorkerDied: the worker process was killed (SIGKILL)."
        in finished.results["01_one"].reason
    )
    assert (lab.folder() / "01_one.failed.html").is_file()
    assert not psutil.pid_exists(int((lab.root / "pid").read_text()))


def test_a_kernel_of_the_user_called_python3_is_passed_over(lab, tmp_path):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "Broken", "language": "python"}')
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("mine = 1\n")
    lab.notebook("01_one", "print('start-up file seen:', 'mine' in globals())")

    done = lab.crmlab("run", "tiny", JUPYTER_PATH=str(tmp_path / "jupyter"), IPYTHONDIR=str(tmp_path / "ipython"))

    assert done.returncode == 0, done.stderr
    assert "start-up file seen: False" in (lab.folder() / "01_one.ipynb").read_text()


def test_kernels_share_the_cores_and_know_the_project(lab, monkeypatch):
    from crmlab.run import pool

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pool, "cores", lambda: 6)
    for name in ("01_one", "02_two"):
        lab.notebook(name, "import os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['CRMLAB_HOME'] == os.getcwd())")

    run_study("tiny", jobs=2)

    cells = json.loads((lab.folder() / "01_one.ipynb").read_text())["cells"]
    assert [o["text"] for c in cells for o in c.get("outputs", [])] == [["3 True\n"]]


def test_memory_of_kernels_counts_together(lab):
    hold = "import time\nheld = bytearray(120_000_000)\ntime.sleep(3)"
    lab.notebook("01_one", hold)
    run_study("tiny")
    alone = lab.records()[-1]["peak_memory_mb"]

    lab.notebook("02_two", hold)
    run_study("tiny", force=True)

    assert alone > 120
    assert lab.records()[-1]["peak_memory_mb"] > alone + 120


ATTACH = """
from crmlab import project, report

folder = project.data_dir() / "made"
folder.mkdir(parents=True, exist_ok=True)
_ = (folder / "scores.csv").write_text("id;p")
_ = (folder / "log.jsonl").write_text("one line")
report.attach(folder / "scores.csv", label="Scores to call from")
report.keep(folder / "log.jsonl")
"""


def test_an_attached_file_stands_beside_the_report_and_is_linked(lab):
    lab.notebook("01_a", ATTACH)
    assert lab.crmlab("run", "tiny").returncode == 0
    assert (lab.folder() / "scores.csv").read_text() == "id;p"
    page = (lab.folder() / "01_a.html").read_text()
    assert '<a href="scores.csv" download>scores.csv</a>' in page
    assert "Scores to call from" in page
    assert "Kept:" not in page


def test_a_notebook_runs_again_when_what_it_left_is_gone(lab):
    lab.notebook("01_a", ATTACH)
    run_study("tiny")
    assert run_study("tiny").outcome == "unchanged"
    log = project.data_dir() / "made" / "log.jsonl"
    log.unlink()
    assert lab.crmlab("run", "tiny").returncode == 0
    assert len(lab.records()) == 2
    assert lab.statuses()["01_a"] == "ran"
    assert log.is_file()


@pytest.mark.parametrize("name", ["metrics.json", "01_a.ipynb", "absent.csv"])
def test_what_cannot_be_attached_is_refused(lab, name):
    code = (
        "from crmlab import project, report\n"
        "folder = project.data_dir()\nfolder.mkdir(exist_ok=True)\n"
        f"_ = (folder / 'metrics.json').write_text('x'), (folder / '01_a.ipynb').write_text('x')\n"
        f"report.attach(folder / '{name}', label='no')"
    )
    lab.notebook("01_a", code)
    done = lab.crmlab("run", "tiny")
    assert done.returncode == 1
    assert "cannot be attached" in done.stderr
