"""Finished notebooks by content key: what has not changed is not run again, and a broken-off run resumes."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from crmlab import project
from crmlab.report.attachments import kept_of

from .files import publish_folder, write_file

__all__ = ["ENTRIES", "Cache"]

ENTRIES = 200
"""The most recently used results that are kept; older ones are removed after each run."""

_ENTRY = "entry.json"


class Cache:
    """A folder with one subfolder per content key, each complete or absent.

    Parameters
    ----------
    folder : `reports/.cache` of the project.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> dict | None:
        """Return the entry of a key (`notebook`, `seconds`, `run`, `files`, `kept`), or None if absent or damaged.

        An entry whose notebook left something in the data folder (a model, scores) is absent if that is gone.
        """
        try:
            entry = json.loads((self.folder / key / _ENTRY).read_text(encoding="utf-8"))
            intact = all(_sha256(self.folder / key / name) == sha for name, sha in entry["files"].items())
            intact = intact and all((project.data_dir() / path).exists() for path in entry["kept"])
        except (OSError, ValueError, KeyError):
            return None
        return entry if intact else None

    def put(self, key: str, folder: Path, *, notebook: str, seconds: float, run: str) -> None:
        """Take over a folder of finished files under a key, in one step."""
        files = {p.name: _sha256(p) for p in sorted(folder.iterdir())}
        kept = kept_of(json.loads((folder / f"{notebook}.ipynb").read_text(encoding="utf-8")))
        entry = {"notebook": notebook, "seconds": seconds, "run": run, "files": files, "kept": kept}
        write_file(folder / _ENTRY, json.dumps(entry, indent=1))
        publish_folder(folder, self.folder / key)

    def copy(self, key: str, folder: Path) -> None:
        """Copy the notebook and the page of a key into a run folder, and note the use."""
        for name in self.find(key)["files"]:
            if name != "metrics.json":
                shutil.copyfile(self.folder / key / name, folder / name)
        os.utime(self.folder / key)

    def metrics(self, key: str) -> list[dict]:
        """Return the numbers that the notebook of a key recorded."""
        return json.loads((self.folder / key / "metrics.json").read_text(encoding="utf-8"))

    def prune(self, keep: int = ENTRIES) -> None:
        """Remove all but the most recently used entries."""
        if not self.folder.is_dir():
            return
        entries = [p for p in self.folder.iterdir() if p.is_dir()]
        for path in sorted(entries, key=lambda p: p.stat().st_mtime, reverse=True)[keep:]:
            shutil.rmtree(path, ignore_errors=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
