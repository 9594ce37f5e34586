"""Check the files that git keeps: none too large, none naming this machine's folders or a package index."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["faults", "main", "tracked_files"]

ROOT = Path(__file__).resolve().parents[1]
LIMIT_KB = 1000
# Spelt so that this file passes its own check.
_MACHINE_PATH = re.compile(r"(?<![\w.~$}-])/(?:home|root|tmp|work|Users|var/folders)/[A-Za-z0-9_.-]+")
_PACKAGE_INDEX = re.compile(r"(?:pypi|pythonhosted|npmjs|yarnpkg|anaconda|prefix)\.(?:org|com|dev)\b")


def main(arguments: list[str] | None = None) -> int:
    """Check the named files, or all that git keeps; print what is wrong and return the exit code."""
    names = sys.argv[1:] if arguments is None else arguments
    found = list(faults([Path(name).resolve() for name in names] or tracked_files(ROOT)))
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


def tracked_files(root: Path) -> list[Path]:
    """Return the files of the checkout that git keeps, also those that are about to be added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [root / name for name in sorted(filter(None, listed.split("\0"))) if (root / name).is_file()]


def faults(files: Iterable[Path]) -> Iterator[str]:
    """Yield one line for each thing that must not be committed."""
    for path in files:
        content = path.read_bytes()
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        if len(content) > LIMIT_KB * 1000:
            yield f"{name}: {len(content) // 1000:,} kB, the limit is {LIMIT_KB:,} kB"
        if b"\0" not in content:
            yield from _line_faults(str(name), content.decode("utf-8", errors="replace"))


def _line_faults(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in (("a folder of one machine", _MACHINE_PATH), ("a package index", _PACKAGE_INDEX)):
            match = pattern.search(line)
            if match and not _is_example(name, match.group()):
                yield f"{name}:{number}: names {what}: {match.group()}"


def _is_example(name: str, found: str) -> bool:
    # Tests of what recognises such paths need some: an invented person's home, never this project's places.
    return name.startswith("tests/") and found.startswith(("/ho" + "me/", "/Us" + "ers/"))


if __name__ == "__main__":
    sys.exit(main())
