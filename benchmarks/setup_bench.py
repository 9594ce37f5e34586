"""Build `.venv-bench` for the benchmark: crmlab as locked, with what only the benchmark needs. Never touches `.venv`.

Uses uv when it is there and `venv` with pip otherwise; at once when nothing changed.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["constraints", "main"]

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-bench"
INPUTS = ("requirements.lock", "pyproject.toml", "tools/lock-overrides.txt", "benchmarks/setup_bench.py")


def main() -> int:
    """Bring `.venv-bench` up to date and return the exit code."""
    stamp = VENV / "crmlab-bench.stamp"
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in INPUTS)).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return 0
    print("Setting up .venv-bench; the first time takes minutes.", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    pins = VENV / "constraints.txt"
    pins.write_text(constraints((ROOT / "requirements.lock").read_text("utf-8")), "utf-8")
    for command in _commands(pins):
        if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            print(f"Set-up of .venv-bench stopped: {Path(command[0]).name} ended with {code}.", file=sys.stderr)
            return code
    stamp.write_text(wanted, "utf-8")
    return 0


def constraints(lock: str) -> str:
    """Return the pins of a lock without their hashes, as a file of constraints may hold them.

    >>> constraints("# words\\nnumpy==2.4.6 \\\\\\n    --hash=sha256:00\\n    # via crmlab\\n")
    'numpy==2.4.6\\n'
    """
    pins = re.findall(r"^([A-Za-z0-9][^#\n]*?==[^\\\n]*?)\s*\\?$", lock, re.MULTILINE)
    return "".join(f"{pin}\n" for pin in pins)


def _commands(pins: Path) -> list[list[str]]:
    python, what = str(VENV / "bin" / "python"), ["--editable", f"{ROOT}[bench,cluster]"]
    if uv := shutil.which("uv"):
        # uv can leave out what the lock leaves out: hundreds of MB that one CPU never uses.
        few = ["--constraint", str(pins), "--override", str(ROOT / "tools" / "lock-overrides.txt")]
        make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(VENV)]
        return [make, [uv, "pip", "install", "--quiet", "--python", python, *few, *what]]
    install = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--constraint", str(pins)]
    return [[sys.executable, "-m", "venv", str(VENV)], [*install, *what]]


if __name__ == "__main__":
    sys.exit(main())
