"""What the command line says after a run: the outcome, and where to look."""

import os
from collections import Counter
from pathlib import Path

from .runner import Finished

__all__ = ["summary"]


def summary(finished: Finished, *, here: Path) -> tuple[list[str], list[str]]:
    """Return the lines for standard output, and the errors, one for each failed notebook.

    Parameters
    ----------
    here : paths are shown relative to this folder, as a person would type them.
    """
    return [_outcome(finished), *_places(finished, here)], _errors(finished, here)


def _outcome(finished: Finished) -> str:
    counts = Counter(result.status.replace("_", " ") for result in finished.results.values())
    told = ", ".join(f"{n} {status}" for status, n in counts.items())
    seconds = f"{finished.seconds:.1f} s"
    words = {
        "finished": f"finished in {seconds} ({told})",
        "unchanged": f"nothing changed since run {finished.folder.name} ({seconds})",
        "failed": f"failed after {seconds} ({told})",
        "interrupted": f"interrupted after {seconds} ({told}); run again to resume",
    }
    return f"{finished.study}: {words[finished.outcome]}"


def _places(finished: Finished, here: Path) -> list[str]:
    return [f"Report: {_relative(finished.index, here)}", f"        {finished.index.as_uri()}"]


def _errors(finished: Finished, here: Path) -> list[str]:
    lines = []
    for name, result in finished.results.items():
        if result.status == "failed":
            kept = result.files.get("html") or result.files.get("ipynb")
            mark = "\n  Partial notebook: " if "\n" in result.reason else "; partial notebook: "
            lines.append(f"{name} {result.reason}" + (mark + _relative(finished.folder / kept, here) if kept else ""))
    return lines


def _relative(path: Path, here: Path) -> str:
    return os.path.relpath(path, here)
