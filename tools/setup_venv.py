"""Build `.venv` from requirements.lock: at once when nothing changed, anew when the last call was interrupted.

Uses uv when it is there and `venv` with pip otherwise; both install the same hashes. It needs nothing but Python
itself, because it runs before anything is installed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

__all__ = ["SetupError", "ensure_venv", "main"]

ROOT = Path(__file__).resolve().parents[1]
# Not sys.executable: with .venv activated that is the very file which a rebuild deletes.
BASE = getattr(sys, "_base_executable", None) or sys.executable
NEEDED_GB = 2.5  # .venv is 1.6 GB with compiled bytecode; pip unpacks the downloads beside it
RECIPE = 1  # Raise it when a step below changes what ends up in .venv.
STAMP = "crmlab-setup.json"
PROBE = "import crmlab, duckdb, jupyterlab, lifelines, numba, pandas, papermill, seaborn, sklearn, xgboost"
# Some packages ship files for other Pythons, which do not compile; that is no fault of the set-up.
COMPILE = "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2, workers=0)"
REMEDIES = {
    "load the libraries": "a system library may be missing (XGBoost on macOS: `brew install libomp`); "
    "then run `make setup` again.",
}

Run = Callable[[str, list[str]], None]


class SetupError(Exception):
    """A set-up that cannot go on: what is wrong, what was found, what to do."""

    def __init__(self, problem: str, *, found: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  found: {found}\n  remedy: {remedy}")


def main() -> int:
    """Bring `.venv` up to date and return the exit code."""
    try:
        ensure_venv(ROOT, installer=shutil.which("uv"), run=run_step, keep_python=not os.environ.get("PYTHON"))
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The next `make setup` starts again from a clean .venv.", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"Set-up stopped: {error}. The next `make setup` starts again from a clean .venv.", file=sys.stderr)
        return 1
    return 0


def ensure_venv(root: Path, *, installer: str | None, run: Run, keep_python: bool = True) -> bool:
    """Build or refresh `root/.venv` where its stamp does not match; return whether anything was done.

    Parameters
    ----------
    root : the checkout, with requirements.lock and pyproject.toml.
    installer : path of uv, or None for pip.
    run : called with the name and the command line of each step; raises SetupError when a step fails.
    keep_python : be content with the supported Python that `.venv` was made with, although another one runs now.

    Raises
    ------
    SetupError : no write access, no room, a `.venv` that this script did not make, or a failed step.
    """
    venv = root / ".venv"
    if is_ready(venv, wanted_stamp(root, keep_python=keep_python)):
        return False
    check_writable(root)
    with only_one(root):
        wanted = wanted_stamp(root, keep_python=keep_python)
        if is_ready(venv, wanted):  # another call has just done it
            return False
        started = time.monotonic()
        only_package = is_ready(venv, {**wanted, "package": read_stamp(venv).get("package")})
        if only_package and (installer or (venv / "bin" / "pip").exists()):  # uv puts no pip into .venv
            install_package(venv, wanted, installer=installer, run=run)
        else:
            rebuild(venv, wanted_stamp(root), installer=installer, run=run)
    print(f".venv is ready ({time.monotonic() - started:.0f} s).", flush=True)
    return True


def rebuild(venv: Path, stamp: Mapping[str, object], *, installer: str | None, run: Run) -> None:
    """Make a new `.venv` in place of the old one or of half of one."""
    check_own(venv)
    check_space(venv.parent)
    version, with_what = ".".join(map(str, sys.version_info[:3])), "uv" if installer else "pip"
    print(f"Setting up .venv with Python {version} and {with_what}; the first time takes minutes:", flush=True)
    write_stamp(venv, {**stamp, "state": "building"})
    clear(venv)
    fill(venv, installer=installer, run=run)
    install_package(venv, stamp, installer=installer, run=run)


def install_package(venv: Path, stamp: Mapping[str, object], *, installer: str | None, run: Run) -> None:
    """Install crmlab itself and stamp `.venv` as ready, last: until then the old stamp makes the next call try it."""
    run("install crmlab itself", [*install_command(venv, installer), "--editable", str(venv.parent)])
    run("load the libraries", [str(venv_python(venv)), "-c", PROBE])
    write_stamp(venv, {**stamp, "state": "ready"})


def fill(venv: Path, *, installer: str | None, run: Run) -> None:
    """Create the virtual environment and install everything that the lock pins."""
    lock = venv.parent / "requirements.lock"
    run("create .venv", create_command(venv, installer))
    # One package of the lock has no wheel. Its build tool comes from the lock too, so it must be there before.
    tools = venv / "build-tools.lock"
    tools.write_text(lock_entry(lock.read_text("utf-8"), "setuptools"), "utf-8")
    install = [*install_command(venv, installer), "--require-hashes", "--requirement"]
    run("install the build tool", [*install, str(tools)])
    compiled = ["--compile-bytecode"] if installer else []
    run("install the packages", [*install, str(lock), *compiled])
    if not installer:  # uv compiles in parallel by itself, pip one file after the other
        run("compile the packages", [str(venv_python(venv)), "-c", COMPILE])


def create_command(venv: Path, installer: str | None) -> list[str]:
    """Return the command that makes the virtual environment in a folder that holds the stamp already."""
    if installer:
        return [installer, "venv", "--quiet", "--allow-existing", "--python", BASE, str(venv)]
    if not _has("ensurepip"):
        # Debian and Ubuntu take pip out of `venv`, but the system's own pip can install into one.
        if not _has("pip"):
            raise SetupError(
                "This Python cannot make a virtual environment.",
                found=f"{BASE} without `ensurepip` and without pip",
                remedy="on Debian and Ubuntu `apt-get install python3-venv`; or install uv.",
            )
        return [BASE, "-m", "venv", "--without-pip", str(venv)]
    return [BASE, "-m", "venv", str(venv)]


def install_command(venv: Path, installer: str | None) -> list[str]:
    """Return the beginning of an install command: exactly what is named, without dependencies of its own finding."""
    exact = ["--no-deps", "--no-build-isolation"]
    target = str(venv_python(venv))
    if installer:
        return [installer, "pip", "install", "--quiet", "--python", target, *exact]
    # Twice quiet: errors only, not a warning a package for each folder in a company's pip settings.
    pip = ["-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check", "--no-input"]
    python = [target, *pip] if _has("ensurepip") else [BASE, *pip, "--python", target]
    return [*python, "install", "--no-compile", *exact]


def lock_entry(lock: str, name: str) -> str:
    """Return the lines of one package in a lock, with its hashes."""
    entry = re.search(rf"^{re.escape(name)}==.*(?:\n[ \t].*)*", lock, re.MULTILINE)
    if entry is None:
        raise SetupError(f"The lock has no {name}.", found="a changed requirements.lock", remedy="run `make lock`.")
    return entry.group() + "\n"


def run_step(name: str, command: list[str]) -> None:
    """Run one step with a clean environment; on failure leave its own words on the screen and say which step it was."""
    print(f"  {name} ...", flush=True)
    # The child keeps the hold of `only_one`: where this process is killed, the next call waits for its installer.
    code = subprocess.run(command, env=step_environment(os.environ), close_fds=False, check=False).returncode
    if code:
        raise SetupError(
            f"Set-up stopped at: {name}.",
            found=f"exit code {code} of {Path(command[0]).name}; its message is above",
            remedy=REMEDIES.get(name, "once that is mended, `make setup` starts again from a clean .venv."),
        )


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what would make pip or uv look at, or install into, another place."""
    misleading = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PIP_TARGET", "PIP_PREFIX"}
    misleading |= {"UV_PYTHON", "UV_SYSTEM_PYTHON"}
    return {name: value for name, value in environment.items() if name not in misleading} | {"PIP_USER": "0"}


def wanted_stamp(root: Path, *, keep_python: bool = False) -> dict[str, object]:
    """Return what a ready `.venv` of this checkout is stamped with."""
    running = ".".join(map(str, sys.version_info[:2]))
    return {
        "state": "ready",
        "recipe": RECIPE,
        "folder": str(root / ".venv"),  # scripts in it hold this path, so a moved checkout needs a new one
        "python": read_stamp(root / ".venv").get("python", running) if keep_python else running,
        "lock": digest(root / "requirements.lock"),
        "package": digest(root / "pyproject.toml"),
    }


def is_ready(venv: Path, wanted: Mapping[str, object]) -> bool:
    """Tell whether the virtual environment carries the wanted stamp and its Python is still there."""
    return read_stamp(venv) == wanted and venv_python(venv).exists()


def read_stamp(venv: Path) -> dict[str, object]:
    """Return the stamp, empty where there is none or half of one."""
    try:
        stamp = json.loads((venv / STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv: Path, stamp: Mapping[str, object]) -> None:
    """Write the stamp in one move."""
    venv.mkdir(exist_ok=True)
    draft = venv / f"{STAMP}.new"
    draft.write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")
    draft.replace(venv / STAMP)


def clear(venv: Path) -> None:
    """Empty the folder but for its stamp, so that a call which stops here is still known for what it was."""
    for entry in venv.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != STAMP:
            entry.unlink()


def check_writable(root: Path) -> None:
    """Raise unless a file can be made in the checkout."""
    try:
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise SetupError(
            "The project folder cannot be written to.",
            found=f"{root}: {error.strerror}",
            remedy="move the clone to a folder of yours, or change its owner.",
        ) from error


def check_space(root: Path) -> None:
    """Raise unless the disk has room for `.venv`."""
    free = shutil.disk_usage(root).free / 1e9
    if free < NEEDED_GB:
        raise SetupError(
            "The disk is too full for .venv.",
            found=f"{free:.1f} GB free, {NEEDED_GB} GB needed",
            remedy="free some space, or move the clone to another disk.",
        )


def check_own(venv: Path) -> None:
    """Raise where `.venv` is somebody else's: it is replaced only when this script made it."""
    foreign = venv.exists() and not read_stamp(venv) and (not venv.is_dir() or any(venv.iterdir()))
    if venv.is_symlink() or foreign:
        raise SetupError(
            "There is a .venv that `make setup` did not make.",
            found=str(venv),
            remedy=f"move it away or delete it (rm -r '{venv}'), then run `make setup` again.",
        )


@contextlib.contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold the checkout while `.venv` is built; a second call waits. The hold ends with the processes that have it."""
    handle = os.open(root, os.O_RDONLY)
    os.set_inheritable(handle, True)
    try:
        _hold(handle)
        yield
    finally:
        os.close(handle)


def _hold(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another set-up is at work in this folder; waiting for it ...", flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:  # some network drives cannot lock; then it is one call at a time by habit
        return


def venv_python(venv: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return venv / "bin" / "python"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _has(module: str) -> bool:
    return find_spec(module) is not None


if __name__ == "__main__":
    sys.exit(main())
