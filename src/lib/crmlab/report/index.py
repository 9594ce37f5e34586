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
    stopped_page: str = ""
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
    recorded = [row for row in shown.metrics if row["kind"] == "metric" and row["headline"]]
    said = [row for row in shown.metrics if row["kind"] == "headline"] if newest else []
    known = {notebook.name for notebook in shown.notebooks}
    key = next((row for row in recorded if row["low"] is not None), recorded[0] if recorded else None)
    return Study(
        name=clean(name),
        title=shown.title,
        anchor=f"study-{quote(name)}",
        newest=newest,
        latest=runs[0],
        key_label=(key["label"] or key["name"]) if key else "",
        stopped_page=_page_of(runs[0]) if runs[0].outcome != "finished" else "",
        headlines=[_headline(row) for row in said if row["notebook"] not in known],
        numbers=[_key_number(row) for row in recorded] if newest else [],
        notebooks=_notebooks(shown, said),
        history=_history(runs, key),
    )


def _headline(row: Mapping) -> tuple[str, str]:
    return row["unit"] if row["unit"] in TONES else "plain", row["label"]


def _key_number(row: Mapping) -> KeyNumber:
    text, full = metric_text(row, with_interval=False), metric_text(row)
    parts = [full.removeprefix(text).strip(" ()"), "" if row["n"] is None else f"n = {row['n']:,}"]
    return KeyNumber(row["label"] or row["name"], text, " · ".join(filter(None, parts)))


def _notebooks(run: Run, said: list[Mapping]) -> list[dict]:
    """Return each notebook of the run with its question, its answers and its files."""
    base = f"{quote(run.study)}/{quote(run.name)}/"
    entries = [notebook for notebook in run.notebooks if notebook.status != "not_for_this_study"]
    return [
        {
            "title": entry.title,
            "html": base + quote(entry.html) if entry.html else "",
            "ipynb": base + quote(entry.ipynb) if entry.ipynb else "",
            "said": [_headline(row) for row in said if row["notebook"] == entry.name],
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
        same = all(row[part] == key[part] for part in ("notebook", "name", "unit"))
        if same and isinstance(row["value"], float):
            return row
    return None


def _change(newer: Mapping, older: Mapping) -> str:
    """Return the difference, with as many decimals as the numbers themselves."""
    unit = newer["unit"]
    kind = "points" if unit.startswith("percent") else "signed"
    digits = unit.rpartition(":")[2]
    kind += f":{digits}" if digits.isdigit() else ""
    return format_values([newer["value"] - older["value"]], kind)[0]


def _page_of(run: Run) -> str:
    """Return the address of the page to open first: where a run stopped, else its first notebook."""
    pages = sorted((notebook.status != "failed", i) for i, notebook in enumerate(run.notebooks) if notebook.html)
    return f"{quote(run.study)}/{quote(run.name)}/{quote(run.notebooks[pages[0][1]].html)}" if pages else ""


def _line(run: Run, row: Mapping | None, change: str) -> History:
    return History(
        href=_page_of(run),
        run=clean(run.name),
        started=run.started[:16],
        outcome=run.outcome,
        error=run.error if run.outcome != "finished" else "",
        value=metric_text(row) if row else MISSING,
        change=change or MISSING,
        data=run.data[:8] or MISSING,
        seconds=MISSING if run.seconds is None else number(run.seconds, 0),
    )
