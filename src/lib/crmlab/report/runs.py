"""The run folders as records: what finished, what it found, what cannot be read."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .escape import clean

__all__ = ["Notebook", "Run", "read_runs"]

OUTCOMES = ("finished", "failed", "interrupted")


@dataclass(frozen=True)
class Notebook:
    """One notebook of a run; the files are names in the run folder, empty when they are not there."""

    name: str
    title: str
    status: str
    reason: str
    html: str
    ipynb: str


@dataclass(frozen=True)
class Run:
    """One readable run folder."""

    folder: Path
    study: str
    title: str
    outcome: str
    started: str
    seconds: float | None
    error: str
    data: str
    code: str
    notebooks: list[Notebook] = field(default_factory=list)
    metrics: list[dict] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.folder.name


def read_runs(reports_dir: Path) -> tuple[list[Run], list[tuple[str, str]]]:
    """Return the runs under `reports_dir`, newest first, and what could not be read as (folder, reason).

    Folders whose name begins with a dot are the runner's own business.
    """
    runs, unreadable = [], []
    for manifest in sorted(Path(reports_dir).glob("*/*/run.json")):
        if any(part.startswith(".") for part in manifest.relative_to(reports_dir).parts):
            continue
        try:
            runs.append(_read_run(manifest.parent))
        except (OSError, ValueError, RecursionError) as problem:
            place = manifest.parent.relative_to(reports_dir).as_posix()
            unreadable.append((clean(place), clean(_reason(problem))))
    return sorted(runs, key=lambda run: (run.started, run.name), reverse=True), unreadable


def _read_run(folder: Path) -> Run:
    facts = _read_json(folder / "run.json", dict)
    if facts.get("outcome") not in OUTCOMES:
        raise ValueError("run.json names no known outcome")
    notebooks = facts["notebooks"] if isinstance(facts.get("notebooks"), list) else []
    return Run(
        folder=folder,
        study=folder.parent.name,
        title=_text(facts, "title") or folder.parent.name,
        outcome=facts["outcome"],
        started=_text(facts, "started_at")[:19].replace("T", " "),
        seconds=_finite(facts.get("seconds")),
        error=next(iter(_text(facts, "error").splitlines()), ""),
        data=_text(facts, "data_fingerprint"),
        code=_text(facts, "code_version"),
        notebooks=[_notebook(entry, folder) for entry in notebooks if isinstance(entry, Mapping)],
        metrics=_read_metrics(folder / "metrics.json"),
    )


def _read_metrics(path: Path) -> list[dict]:
    """Return the recorded rows; a run without numbers is still a run."""
    if not path.is_file():
        return []
    rows = _read_json(path, list)
    return [_metric(row) for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]


def _metric(row: Mapping) -> dict:
    """Return a row whose texts are texts and whose numbers are finite, whoever wrote it."""
    value = row.get("value")
    return {
        **{key: _text(row, key) for key in ("notebook", "name", "label", "unit")},
        **{key: _finite(row.get(key)) for key in ("low", "high")},
        "kind": row.get("kind", "metric"),
        "value": value if isinstance(value, (str, bool)) else _finite(value),
        "n": row["n"] if isinstance(row.get("n"), int) else None,
        "headline": row.get("headline") is True,
    }


def _read_json(path: Path, expected: type) -> dict | list:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:  # also text that is not UTF-8
        raise ValueError(f"{path.name} is not JSON") from problem
    if not isinstance(value, expected):
        raise ValueError(f"{path.name} holds a {type(value).__name__}, not a {expected.__name__}")
    return value


def _notebook(entry: Mapping, folder: Path) -> Notebook:
    name = _text(entry, "notebook")
    files = {kind: _file(entry.get(kind), folder) for kind in ("html", "ipynb")}
    title = _text(entry, "title") or name
    return Notebook(name, title, _text(entry, "status"), _text(entry, "reason"), **files)


def _file(name: object, folder: Path) -> str:
    """Return the name if it is a file right inside the run folder: nothing else is ever linked."""
    is_name = isinstance(name, str) and name == Path(name).name and name.endswith((".html", ".ipynb"))
    return name if is_name and (folder / name).is_file() else ""


def _text(facts: Mapping, key: str) -> str:
    value = facts.get(key)
    return clean(value).strip() if isinstance(value, (str, int, float)) else ""


def _finite(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        return float(value) if is_number and math.isfinite(value) else None
    except OverflowError:  # JSON has integers of any size
        return None


def _reason(problem: Exception) -> str:
    return f"{problem.strerror}" if isinstance(problem, OSError) and problem.strerror else str(problem)
