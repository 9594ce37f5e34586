"""Write requirements.lock from pyproject.toml: every platform, Python 3.11 to 3.13, hashes, no address of an index."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["lock_command", "lock_environment", "main"]

ROOT = Path(__file__).resolve().parents[1]
HEADER = """\
# Written from pyproject.toml by `make lock`; do not edit. All platforms, Python 3.11 to 3.13, dependencies and `dev`.
# Complete but for tools/lock-overrides.txt: install it with --no-deps.
"""


def main(arguments: list[str] | None = None) -> int:
    """Lock again, keeping the pins that still fit unless `--upgrade` is given; return the exit code."""
    uv = shutil.which("uv")
    if uv is None:
        print("`make lock` needs uv, which alone resolves for all platforms at once: pip install uv", file=sys.stderr)
        return 1
    draft, lock = ROOT / "requirements.lock.new", ROOT / "requirements.lock"
    if lock.exists():
        shutil.copyfile(lock, draft)  # uv keeps the pins that it finds in its output file
    try:
        command = [*lock_command(uv), "--output-file", draft.name, *(sys.argv[1:] if arguments is None else arguments)]
        done = subprocess.run(command, cwd=ROOT, env=lock_environment(os.environ), check=False)
        if done.returncode == 0:
            draft.write_text(HEADER + draft.read_text("utf-8").removeprefix(HEADER), "utf-8")
            draft.replace(lock)
        return done.returncode
    finally:
        draft.unlink(missing_ok=True)


def lock_command(uv: str) -> list[str]:
    """Return the command that resolves; nothing of this machine's configuration can get into the result."""
    return [
        *(uv, "pip", "compile", "--quiet", "--no-config", "--no-header"),
        *("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"),
        *("--extra", "dev", "--override", "tools/lock-overrides.txt", "pyproject.toml"),
    ]


def lock_environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment without the settings of uv and pip that name indexes, folders or versions."""
    return {name: value for name, value in environment.items() if not name.startswith(("UV_", "PIP_"))}


if __name__ == "__main__":
    sys.exit(main())
