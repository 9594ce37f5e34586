"""Runs that are stopped, killed, doubled or out of space: nothing half written or left behind, and they resume."""

import errno
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from crmlab import cli
from crmlab.run import cache, files, folder, runner
from crmlab.run.runner import run_study
from crmlab.schema import RunError

SLOW = """\
import os, pathlib, time
pathlib.Path(f"{os.getpid()}.pid").touch()
waiting = [time.sleep(0.1) for _ in range(600) if not pathlib.Path("go").exists()]
"""
"""A cell that leaves its kernel's process number, and waits until a file says go."""


def pids(lab) -> list[int]:
    return [int(p.stem) for p in lab.root.glob("*.pid")]


def gone(process_ids) -> bool:
    return not any(psutil.pid_exists(pid) for pid in process_ids)


def family(process: subprocess.Popen) -> list[int]:
    return [p.pid for p in psutil.Process(process.pid).children(recursive=True)]


def scratch_of(process: subprocess.Popen) -> list[Path]:
    """Return where a runner's kernels have their sockets."""
    return list(Path(tempfile.gettempdir()).glob(f"crmlab-run-{process.pid}-*"))


@pytest.fixture
def slow_lab(lab):
    """Return a project whose second notebook waits."""
    lab.notebook("01_one")
    lab.notebook("02_two", SLOW, "print('done')", after=("01_one",))
    lab.notebook("03_three", after=("02_two",))
    return lab


def test_ctrl_c_ends_the_kernels_and_the_next_run_resumes(slow_lab, until):
    lab = slow_lab
    process = lab.start("run", "tiny")
    until(lambda: pids(lab))
    everyone = family(process)
    assert set(pids(lab)) < set(everyone)

    for _ in range(20):  # an impatient person: only the first one counts, the rest must not disturb the tidying up
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "run again to resume" in out
    assert "Traceback" not in err
    assert gone(everyone)
    assert lab.records()[0]["outcome"] == "interrupted"
    assert lab.statuses() == {"01_one": "ran", "02_two": "not_run", "03_three": "not_run"}
    assert not lab.unfinished()
    assert not scratch_of(process)

    (lab.root / "go").touch()
    assert run_study("tiny").outcome == "finished"
    assert lab.statuses() == {"01_one": "reused", "02_two": "ran", "03_three": "ran"}


def test_a_request_to_end_is_like_ctrl_c(lab, until):
    lab.notebook("01_one", SLOW)
    process = lab.start("run", "tiny")
    until(lambda: pids(lab))
    everyone = family(process)

    process.terminate()
    process.communicate(timeout=60)

    assert process.returncode == 143
    assert gone(everyone)
    assert lab.records()[0]["outcome"] == "interrupted"
    assert not lab.unfinished()


def test_a_killed_runner_leaves_no_process_and_the_next_run_tidies_up(slow_lab, until):
    lab = slow_lab
    process = lab.start("run", "tiny")
    until(lambda: pids(lab))
    everyone = family(process)
    assert scratch_of(process)

    process.kill()
    process.communicate()

    until(lambda: gone(everyone), 15)
    assert lab.records() == []
    assert lab.unfinished()
    (lab.root / "go").touch()
    assert run_study("tiny").outcome == "finished"
    assert lab.statuses() == {"01_one": "reused", "02_two": "ran", "03_three": "ran"}
    assert not lab.unfinished()
    assert not scratch_of(process)


def test_a_kernel_killed_from_outside_fails_its_notebook_only(slow_lab, until):
    lab = slow_lab
    lab.notebook("04_four")
    process = lab.start("run", "tiny")
    until(lambda: pids(lab))

    os.kill(pids(lab)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "02_two failed in cell 4 (“Section 1”): KernelDied: the kernel was killed (SIGKILL)" in err
    assert lab.statuses() == {"01_one": "ran", "02_two": "failed", "03_three": "not_run", "04_four": "ran"}


def test_two_runs_of_a_study_at_once_are_refused(slow_lab, until):
    lab = slow_lab
    process = lab.start("run", "tiny")
    until(lambda: pids(lab))

    second = lab.crmlab("run", "tiny")

    assert second.returncode == 1
    assert "The study `tiny` is being run already." in second.stderr
    assert f"process {process.pid}" in second.stderr
    (lab.root / "go").touch()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(lab.records()) == 1


def test_a_full_disk_leaves_nothing_half_written(lab, monkeypatch):
    """The disk fills up at each file that the runner itself writes, one after the other."""
    lab.notebook("01_one")
    run_study("tiny")
    lab.notebook("01_one", "print('new')")
    write = files.write_file

    for fails_at in ("entry.json", "metrics.json", "run.json"):
        before = {p: p.read_bytes() for p in (lab.root / "reports" / "tiny").rglob("*.*") if p.is_file()}

        def full(path: Path, text: str, fails_at: str = fails_at) -> None:
            write(path, text[: len(text) // 2] if path.name == fails_at else text)
            if path.name == fails_at:
                raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            for module in (cache, folder):
                patch.setattr(module, "write_file", full)
            with pytest.raises(RunError, match=r"The disk is full\.(.|\n)*run again"):
                run_study("tiny")

        assert {p: p.read_bytes() for p in before} == before
        assert len(lab.records()) == 1
        assert not lab.unfinished()
    assert run_study("tiny").outcome == "finished"
    assert lab.statuses() == {"01_one": "reused"}


def test_a_really_full_disk_is_one_clear_message(lab):
    """On a file system of 300 KB, in a mount namespace of its own."""
    lab.notebook("01_one", "print('x' * 400_000)")
    (lab.root / "reports").mkdir()
    inside = (
        f"mount -t tmpfs -o size=300k tmpfs '{lab.root}/reports' && cd '{lab.root}' && "
        f"'{sys.executable}' -m crmlab.cli run tiny; code=$?; find reports -name '.tmp-*' -o -name run.json; exit $code"
    )
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system gives no mount namespaces to users")

    done = subprocess.run(["unshare", "-rm", "sh", "-c", inside], capture_output=True, text=True, timeout=120)

    assert done.returncode == 1, done.stderr
    assert "crmlab: The disk is full." in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_reports_that_may_not_be_written(lab, monkeypatch):
    lab.notebook("01_one")
    denied = PermissionError(errno.EACCES, "Permission denied", str(lab.root / "reports" / "tiny" / ".tmp-x"))
    monkeypatch.setattr("crmlab.run.runner.RunFolder", Mock(side_effect=denied))

    with pytest.raises(RunError, match=r"may not be written\.\n  Found: Permission denied: \.tmp-x") as error:
        run_study("tiny")
    assert str(lab.root) not in str(error.value)


def test_a_signal_before_the_first_notebook_leaves_nothing(lab, monkeypatch, capsys):
    lab.notebook("01_one")
    monkeypatch.setattr("crmlab.run.runner.build_tasks", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)

    assert cli.main(["run", "tiny"]) == 143

    assert "interrupted before there was anything to report" in capsys.readouterr().err
    assert not lab.unfinished()
    assert lab.records() == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_closed_terminal_ends_the_run_and_its_kernels(lab, until):
    lab.notebook("01_one", SLOW)
    screen, terminal = pty.openpty()
    process = lab.start("run", "tiny", terminal=terminal)
    os.close(terminal)
    until(lambda: pids(lab))
    everyone = family(process)

    os.close(screen)

    assert process.wait(60) == 129
    until(lambda: gone(everyone), 5)
    assert lab.records()[0]["outcome"] == "interrupted"
    assert not lab.unfinished()


def test_a_signal_that_a_destructor_swallowed_still_ends_the_run(lab, monkeypatch):
    lab.notebook("01_one", "import time\ntime.sleep(60)")
    start = runner.Execution._start

    def swallowed(self, *rest):  # as if the handler had raised inside a destructor, where Python goes on
        start(self, *rest)
        runner._asked_to_stop.append(signal.SIGTERM)

    monkeypatch.setattr(runner.Execution, "_start", swallowed)
    finished = run_study("tiny")
    assert (finished.outcome, finished.signum) == ("interrupted", signal.SIGTERM)
    assert finished.seconds < 30
