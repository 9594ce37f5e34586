"""Build `.venv-models` for `make bench-models`: other tools, pinned in requirements-models.txt. Never touches `.venv`.

Uses uv when it is there and `venv` with pip otherwise; at once when nothing changed. It holds nothing of crmlab.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["commands", "main"]

HERE = Path(__file__).resolve().parent
VENV = HERE.parent / ".venv-models"
NEEDS = HERE / "requirements-models.txt"
PROBE = "import autogluon.tabular, catboost, flaml, lightgbm, xgboost"


def main() -> int:
    """Bring `.venv-models` up to date and return the exit code."""
    stamp = VENV / "crmlab-models.stamp"
    wanted = hashlib.sha256(NEEDS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return 0
    print("Setting up .venv-models (0.9 GB); the first time takes minutes.", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    (VENV / ".gitignore").write_text("*\n", "utf-8")
    for command in commands(shutil.which("uv")):
        if code := subprocess.run(command, cwd=HERE.parent, check=False).returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            print(f"Set-up of .venv-models stopped: {' '.join(command[:4])} … ended with {code}.", file=sys.stderr)
            return code
    stamp.write_text(wanted, "utf-8")
    return 0


def commands(uv: str | None) -> list[list[str]]:
    """Return the commands that make the environment, the last of which loads what was installed."""
    python, pins = str(VENV / "bin" / "python"), ["--requirement", str(NEEDS)]
    if uv:
        make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(VENV)]
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *pins]
    else:
        make = [sys.executable, "-m", "venv", str(VENV)]
        install = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *pins]
    return [make, install, [python, "-c", PROBE]]


if __name__ == "__main__":
    sys.exit(main())
