"""The folder of one run: assembled out of sight, then named in one step; and the index over all of them."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from crmlab import project, report

from .files import TEMPORARY, holding, publish_folder, write_atomic, write_file

__all__ = ["RunFolder", "find_finished", "index_path", "write_index"]

_FIRST = ("study", "title", "run", "outcome", "error", "started_at", "ended_at", "seconds", "peak_memory_mb", "params")


def index_path(reports: Path) -> Path:
    """Return where the index over all runs is."""
    return reports / "index.html"


class RunFolder:
    """`reports/<study>/<run>`, while it is still being assembled under a temporary name.

    Attributes
    ----------
    name : the run's name, its start in UTC.
    temporary : where files are collected.
    work : where workers write, one folder per notebook.
    final : the name it will have.
    """

    def __init__(self, study: Path, *, started: datetime) -> None:
        self.name = _free_name(study, started)
        self.started = started
        self.final = study / self.name
        self.temporary = study / f"{TEMPORARY}{self.name}"
        self.work = study / f"{TEMPORARY}{self.name}-work"
        self.temporary.mkdir(parents=True)
        self.work.mkdir()

    def job_folder(self, notebook: str) -> Path:
        """Return a new folder for a notebook's results."""
        path = self.work / notebook
        path.mkdir()
        return path

    def publish(self, record: dict, metrics: Sequence[dict], *, ended: datetime) -> dict:
        """Write `metrics.json` and `run.json` and give the folder its name; return what `run.json` holds."""
        record = record | {
            "run": self.name,
            "started_at": _iso(self.started),
            "ended_at": _iso(ended),
            "seconds": round((ended - self.started).total_seconds(), 1),
            "platform": platform.platform(),
        }
        write_file(self.temporary / "metrics.json", _json(list(metrics)))
        ordered = {key: record[key] for key in _FIRST} | record
        write_file(self.temporary / "run.json", _json(ordered))
        publish_folder(self.temporary, self.final)
        return ordered


def write_index(reports: Path) -> None:
    """Build the index over all runs and replace the old one; two runs that end together take turns."""
    with holding(reports / ".index.lock", wait=True):
        write_atomic(index_path(reports), report.build_index(reports))


def find_finished(study: Path, keys: dict[str, str]) -> Path | None:
    """Return the newest finished run of a study whose notebooks had these keys and left nothing that is gone."""
    for path in sorted(study.glob("[!.]*/run.json"), reverse=True):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            had = {nb["notebook"]: nb["key"] for nb in record["notebooks"] if nb.get("key")}
            needed = [path.parent / nb["html"] for nb in record["notebooks"] if nb.get("html")]
            needed += [project.data_dir() / name for nb in record["notebooks"] for name in nb.get("kept", ())]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if record.get("outcome") == "finished" and had == keys and all(p.exists() for p in needed):
            return path.parent
    return None


def _free_name(study: Path, started: datetime) -> str:
    name = started.astimezone(UTC).strftime("%Y-%m-%d_%H%M%S")
    taken = {p.name for p in study.iterdir()} if study.is_dir() else set()
    names = [name, *(f"{name}-{n}" for n in range(2, 1000))]
    return next(n for n in names if n not in taken)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
