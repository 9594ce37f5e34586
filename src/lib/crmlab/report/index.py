"""The index over all studies and runs: the newest answer, the key numbers and how they moved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from .escape import clean
from .formats import MISSING, format_values, number
from .records import metric_text
from .runs import Run, read_runs
from .statements import TONES
from .words import words

__all__ = ["build_index"]


@dataclass
class KeyNumber:
    """A recorded number as the index shows it."""

    label: str
    value: str
    small: str


@dataclass
class History:
    """One line of the table of runs."""

    href: str
    run: str
    started: str
    outcome: str
    error: str
    value: str
    change: str
    data: str
    seconds: str


@dataclass
class Study:
    """One study of the index: its newest finished run and the history of all."""

    name: str
    title: str
    anchor: str
    newest: Run | None
    latest: Run
    key_label: str
    headlines: list[tuple[str, str]] = field(default_factory=list)
    numbers: list[KeyNumber] = field(default_factory=list)
    notebooks: list[dict] = field(default_factory=list)
    history: list[History] = field(default_factory=list)


def build_index(reports_dir: Path, *, language: str = "en") -> str:
    """Return the HTML of the index over `<reports_dir>/<study>/<run>/run.json` and `metrics.json`.

    A folder that cannot be read is listed with the reason; files that `run.json` names are linked only if they lie in
    the run folder. Nothing is written.
    """
    from .exporter import style_sheet, template_environment

    runs, unreadable = read_runs(Path(reports_dir))
    names = list(dict.fromkeys(run.study for run in runs))  # the study that ran last comes first
    studies = [_study(name, [run for run in runs if run.study == name]) for name in names]
    template = template_environment().get_template("runs.html.j2")
    return template.render(word=words(language), studies=studies, unreadable=unreadable, style=style_sheet())


def _study(name: str, runs: list[Run]) -> Study:
    """Gather one study from its runs, newest first."""
    newest = next((run for run in runs if run.outcome == "finished"), None)
    shown = newest or runs[0]
    recorded = [row for row in shown.metrics if row.get("kind", "metric") == "metric" and row.get("headline")]
    key = recorded[0] if recorded else None
    return Study(
        name=clean(name),
        title=shown.title,
        anchor=f"study-{quote(name)}",
        newest=newest,
        latest=runs[0],
        key_label=clean(key.get("label") or key["name"]) if key else "",
        headlines=[_headline(row) for row in shown.metrics if row.get("kind") == "headline"] if newest else [],
        numbers=[_key_number(row) for row in recorded] if newest else [],
        notebooks=_notebooks(shown),
        history=_history(runs, key),
    )


def _headline(row: Mapping) -> tuple[str, str]:
    tone = row.get("unit") if row.get("unit") in TONES else "plain"
    return tone, clean(row.get("label") or "")


def _key_number(row: Mapping) -> KeyNumber:
    text, full = metric_text(row, with_interval=False), metric_text(row)
    n = row.get("n")
    parts = [full.removeprefix(text).strip(" ()"), f"n = {n:,}" if isinstance(n, int) else ""]
    return KeyNumber(clean(row.get("label") or row["name"]), text, " · ".join(filter(None, parts)))


def _notebooks(run: Run) -> list[dict]:
    base = f"{quote(run.study)}/{quote(run.name)}/"
    entries = [notebook for notebook in run.notebooks if notebook.status != "not_for_this_study"]
    return [
        {
            "title": entry.title,
            "html": base + quote(entry.html) if entry.html else "",
            "ipynb": base + quote(entry.ipynb) if entry.ipynb else "",
            "note": "" if entry.status in ("ran", "reused") else _plain(entry.status, entry.reason),
        }
        for entry in entries
    ]


def _plain(status: str, reason: str) -> str:
    return ": ".join(filter(None, [status.replace("_", " "), next(iter(reason.splitlines()), "")]))


def _history(runs: list[Run], key: Mapping | None) -> list[History]:
    """Return a line per run; the change is against the next older run that recorded the same number."""
    rows = [_same_number(run, key) for run in runs]
    known = [i for i, row in enumerate(rows) if row]
    changes = {newer: _change(rows[newer], rows[older]) for newer, older in pairwise(known)}
    return [_line(run, row, changes.get(i, "")) for i, (run, row) in enumerate(zip(runs, rows, strict=True))]


def _same_number(run: Run, key: Mapping | None) -> Mapping | None:
    """Return the key number as `run` recorded it, if it is a number there."""
    for row in run.metrics if key else ():
        same = all(row.get(part) == key.get(part) for part in ("notebook", "name", "unit"))
        is_number = isinstance(row.get("value"), (int, float)) and not isinstance(row.get("value"), bool)
        if same and is_number:
            return row
    return None


def _change(newer: Mapping, older: Mapping) -> str:
    kind = "points" if str(newer.get("unit")).startswith("percent") else "signed"
    return format_values([newer["value"] - older["value"]], kind)[0]


def _line(run: Run, row: Mapping | None, change: str) -> History:
    pages = [notebook.html for notebook in run.notebooks if notebook.html]
    return History(
        href=f"{quote(run.study)}/{quote(run.name)}/{quote(pages[0])}" if pages else "",
        run=clean(run.name),
        started=run.started[:16],
        outcome=run.outcome,
        error=run.error if run.outcome != "finished" else "",
        value=metric_text(row) if row else MISSING,
        change=change or MISSING,
        data=run.data[:8] or MISSING,
        seconds=MISSING if run.seconds is None else number(run.seconds, 0),
    )
