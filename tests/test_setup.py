"""Set-up: the state of `.venv`, the search for a Python, and the make targets around them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import setup_venv
from setup_venv import SetupError, ensure_venv, only_one

LOCK = """\
numpy==2.4.0 \\
    --hash=sha256:aa
setuptools-scm==9.0.0 \\
    --hash=sha256:dd
setuptools==84.0.0 ; python_full_version >= '3.11' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via crmlab (pyproject.toml)
"""


class Steps:
    """Stand in for the installers: write down each step, and make what later steps look for."""

    def __init__(self, checkout: Path, stop_at: str = "") -> None:
        self.python = checkout / ".venv" / "bin" / "python"
        self.stop_at = stop_at
        self.commands: dict[str, list[str]] = {}

    def __call__(self, name: str, command: list[str]) -> None:
        if name == self.stop_at:
            raise KeyboardInterrupt
        self.commands[name] = command
        if name == "create .venv":
            self.python.parent.mkdir(parents=True, exist_ok=True)
            self.python.symlink_to(sys.executable)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a check out"
    folder.mkdir()
    (folder / "requirements.lock").write_text(LOCK)
    (folder / "pyproject.toml").write_text("[project]\n")
    return folder


def set_up(checkout: Path, *, installer: str | None = "uv", stop_at: str = "", keep_python: bool = True) -> list[str]:
    """Run the set-up and return the names of the steps it took."""
    steps = Steps(checkout, stop_at)
    ensure_venv(checkout, installer=installer, run=steps, keep_python=keep_python)
    return list(steps.commands)


def stamp(checkout: Path) -> dict[str, object]:
    return json.loads((checkout / ".venv" / setup_venv.STAMP).read_text())


def test_second_call_does_nothing(checkout: Path) -> None:
    assert set_up(checkout) == [
        "create .venv",
        "install the build tool",
        "install the packages",
        "install crmlab itself",
        "load the libraries",
    ]
    assert stamp(checkout)["state"] == "ready"
    assert set_up(checkout) == []


@pytest.mark.parametrize(
    "step", ["create .venv", "install the packages", "install crmlab itself", "load the libraries"]
)
def test_interrupted_set_up_starts_again_from_nothing(checkout: Path, step: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        set_up(checkout, stop_at=step)
    assert stamp(checkout)["state"] == "building"
    half = checkout / ".venv" / "lib" / "half-written.py"
    half.parent.mkdir(exist_ok=True)
    half.write_text("half")
    assert set_up(checkout)[0] == "create .venv"
    assert not half.exists()
    assert stamp(checkout)["state"] == "ready"


def test_set_up_that_was_killed_is_repaired(checkout: Path) -> None:
    code = (
        "import sys, time, pathlib, setup_venv\n"
        "def run(name, command):\n"
        "    print(name, flush=True)\n"
        "    time.sleep(60 if name == 'install the packages' else 0)\n"
        "setup_venv.ensure_venv(pathlib.Path(sys.argv[1]), installer='uv', run=run)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(setup_venv.__file__).parent)}
    command = [sys.executable, "-c", code, str(checkout)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        while "install the packages" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert stamp(checkout)["state"] == "building"
    assert "create .venv" in set_up(checkout)


def test_changed_lock_builds_anew_and_leaves_nothing_behind(checkout: Path) -> None:
    set_up(checkout)
    old = checkout / ".venv" / "old-package"
    old.mkdir()
    (checkout / "requirements.lock").write_text(LOCK.replace("2.4.0", "2.4.1"))
    assert "install the packages" in set_up(checkout)
    assert not old.exists()


def test_changed_pyproject_installs_only_the_package_again(checkout: Path) -> None:
    set_up(checkout)
    (checkout / "pyproject.toml").write_text("[project]\nname = 'crmlab'\n")
    with pytest.raises(KeyboardInterrupt):
        set_up(checkout, stop_at="load the libraries")
    assert set_up(checkout) == ["install crmlab itself", "load the libraries"]
    assert set_up(checkout) == []


def test_environment_of_uv_has_no_pip_to_refresh_it_with(checkout: Path) -> None:
    set_up(checkout, installer="uv")
    (checkout / "pyproject.toml").write_text("[project]\nname = 'crmlab'\n")
    assert "create .venv" in set_up(checkout, installer=None)


def test_moved_checkout_builds_anew(checkout: Path) -> None:
    set_up(checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    assert "create .venv" in set_up(moved)


def test_lost_python_builds_anew(checkout: Path) -> None:
    set_up(checkout)
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(checkout / "uninstalled")
    assert "create .venv" in set_up(checkout)


def test_other_python_counts_only_when_it_was_asked_for(checkout: Path) -> None:
    set_up(checkout)
    path = checkout / ".venv" / setup_venv.STAMP
    path.write_text(json.dumps({**stamp(checkout), "python": "3.99"}))
    assert set_up(checkout, keep_python=True) == []
    assert "create .venv" in set_up(checkout, keep_python=False)


def test_somebody_elses_venv_stays(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    mine = checkout / ".venv" / "mine.txt"
    mine.write_text("keep")
    with pytest.raises(SetupError, match="did not make"):
        set_up(checkout)
    assert mine.read_text() == "keep"


def test_failed_step_is_named_and_not_stamped_as_ready(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    steps = Steps(checkout)

    def run(name: str, command: list[str]) -> None:
        fails = [sys.executable, "-c", "import sys; sys.exit('no route to the index')"]
        setup_venv.run_step(name, fails) if name == "install the packages" else steps(name, command)

    with pytest.raises(SetupError, match=r"stopped at: install the packages\.\n  found: exit code 1"):
        ensure_venv(checkout, installer=None, run=run)
    assert "no route to the index" in capfd.readouterr().err
    assert stamp(checkout)["state"] == "building"


def test_full_disk_is_said_before_anything_is_touched(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(checkout)._replace(free=900_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SetupError, match=r"too full[^\0]*0\.9 GB free, 2\.5 GB needed"):
        set_up(checkout)
    assert not (checkout / ".venv").exists()


def test_folder_without_write_access_is_said_before_anything_is_touched(checkout, monkeypatch) -> None:
    def refuse(**kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", kwargs["dir"])

    monkeypatch.setattr(setup_venv.tempfile, "TemporaryFile", refuse)
    with pytest.raises(SetupError, match=r"cannot be written to[^\0]*Permission denied"):
        set_up(checkout)
    assert not (checkout / ".venv").exists()


def test_second_set_up_waits_for_the_first(checkout: Path) -> None:
    entered = threading.Event()

    def second() -> None:
        with only_one(checkout):
            entered.set()

    with only_one(checkout):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.3)
    waiting.join(timeout=10)
    assert entered.is_set()


@pytest.mark.parametrize("installer", ["uv", None])
def test_nothing_is_installed_without_its_hash(checkout: Path, installer: str | None) -> None:
    steps = Steps(checkout)
    ensure_venv(checkout, installer=installer, run=steps)
    installs = {name: command for name, command in steps.commands.items() if "install" in command}
    assert set(installs) == {"install the build tool", "install the packages", "install crmlab itself"}
    for name, command in installs.items():
        assert {"--no-deps", "--no-build-isolation"} <= set(command)
        assert ("--require-hashes" in command) == (name != "install crmlab itself")
        assert str(steps.python) in command
    compiled = (
        "--compile-bytecode" in installs["install the packages"]
        if installer
        else "compile the packages" in steps.commands
    )
    assert compiled


def test_build_tool_comes_from_the_lock_with_all_its_hashes(checkout: Path) -> None:
    set_up(checkout)
    entry = (checkout / ".venv" / "build-tools.lock").read_text()
    assert entry.startswith("setuptools==84.0.0 ;")
    assert [word for word in entry.split() if word.startswith("--hash")] == ["--hash=sha256:bb", "--hash=sha256:cc"]
    assert "setuptools-scm" not in entry


def test_python_without_ensurepip_uses_the_systems_pip(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_venv, "_has", lambda module: module != "ensurepip")
    steps = Steps(checkout)
    ensure_venv(checkout, installer=None, run=steps)
    assert "--without-pip" in steps.commands["create .venv"]
    command = steps.commands["install the packages"]
    assert command[0] == setup_venv.BASE
    assert command[command.index("--python") + 1] == str(steps.python)

    monkeypatch.setattr(setup_venv, "_has", lambda module: False)
    with pytest.raises(SetupError, match="python3-venv"):
        setup_venv.create_command(checkout / ".venv", None)


def test_steps_do_not_see_what_would_lead_them_elsewhere() -> None:
    found = setup_venv.step_environment({"PATH": "/bin", "PYTHONPATH": "x", "PIP_TARGET": "y", "PIP_USER": "1"})
    assert found == {"PATH": "/bin", "PIP_USER": "0"}


# --- the search for a Python -----------------------------------------------------------------------------------------


@pytest.fixture
def find_python(tmp_path: Path, root: Path):
    """Return a function that searches a PATH with only these names: each a version, or None for a dead shim."""

    def find(named: str = "", **versions: str | None) -> subprocess.CompletedProcess[str]:
        for name, version in versions.items():
            supported = version and (3, 11) <= tuple(map(int, version.split(".")[:2])) <= (3, 13)
            lines = f"echo {version}; exit {0 if supported else 1}" if version else "echo not found >&2; exit 127"
            path = tmp_path / name.replace("_", ".")
            path.write_text(f"#!/bin/sh\n{lines}\n")
            path.chmod(0o755)
        return subprocess.run(
            ["/bin/sh", str(root / "tools" / "find_python.sh")],
            env={"PATH": str(tmp_path), "PYTHON": named},
            capture_output=True,
            text=True,
            check=False,
        )

    return find


def test_python3_comes_first(find_python) -> None:
    assert find_python(python3="3.11.7", python3_13="3.13.0").stdout == "python3\n"


def test_other_names_follow_where_python3_does_not_fit(find_python) -> None:
    assert find_python(python3="3.9.2", python3_13=None, python3_12="3.12.1").stdout == "python3.12\n"


def test_named_python_is_the_only_candidate(find_python) -> None:
    done = find_python(named="python3.10", python3="3.11.7", python3_10="3.10.4")
    assert (done.returncode, done.stdout) == (1, "")
    assert "found: python3.10 is 3.10.4\n" in done.stderr


def test_without_a_fitting_python_the_message_says_what_was_found(find_python) -> None:
    done = find_python(python3="3.14.0", python3_12=None)
    assert done.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "found: python3 is 3.14.0, python3.12 does not start\n" in done.stderr


def test_real_interpreter_is_accepted(root: Path) -> None:
    command = ["/bin/sh", str(root / "tools" / "find_python.sh")]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.executable


# --- make and CI -----------------------------------------------------------------------------------------------------


@pytest.fixture
def project_copy(root: Path, checkout: Path) -> Path:
    """Return a folder with a space in its name that holds what `make setup` reads."""
    shutil.copytree(root / "tools", checkout / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", ".ci"):
        source = root / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, checkout / name)
    return checkout


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment |= {"PYTHON": sys.executable}
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_target(project_copy: Path) -> None:
    makefile = (project_copy / "Makefile").read_text()
    targets = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    listed = [line.split()[1] for line in make(project_copy).stdout.splitlines() if line.startswith("  make ")]
    assert sorted(listed) == sorted(targets)
    assert make(project_copy, "--dry-run", *targets).returncode == 0


def test_make_setup_is_silent_where_nothing_changed(project_copy: Path) -> None:
    set_up(project_copy)
    done = make(project_copy, "setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_make_stops_where_set_up_does(project_copy: Path) -> None:
    (project_copy / ".venv").mkdir()
    (project_copy / ".venv" / "mine.txt").touch()
    done = make(project_copy, "test")
    assert done.returncode != 0
    assert "remedy: move it away" in done.stderr


@pytest.fixture
def run_ci(project_copy: Path, tmp_path: Path):
    """Return a function that runs .ci/run with a `make` that writes down its target and fails at one of them."""

    def run(fails_at: str) -> tuple[int, list[str]]:
        fake = tmp_path / "bin" / "make"
        fake.parent.mkdir()
        fake.write_text(f'#!/bin/sh\necho "$1 $CRMLAB_DATASETS"\n[ "$1" != "{fails_at}" ]\n')
        fake.chmod(0o755)
        environment = {"PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}"}
        command = ["bash", str(project_copy / ".ci" / "run")]
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    return run


def test_ci_lints_then_tests_on_the_data_beside_the_checkout(run_ci, tmp_path: Path) -> None:
    data = tmp_path / "shared" / "data"
    data.mkdir(parents=True)
    assert run_ci(fails_at="nothing") == (0, [f"lint {data}", f"test {data}"])


@pytest.mark.parametrize(("target", "reached"), [("lint", ["lint "]), ("test", ["lint ", "test "])])
def test_ci_fails_where_a_step_fails(run_ci, target: str, reached: list[str]) -> None:
    code, targets = run_ci(fails_at=target)
    assert code != 0
    assert targets == reached
