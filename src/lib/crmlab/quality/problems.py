"""What is impossible or probably wrong in a CRM, with the rows it touches and what to do about it."""

from collections.abc import Iterator

import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.schema import TABLES, TODAY

from .dates import DATE_RULES
from .findings import Finding, Rows, findings_frame
from .rows import by_distinct, column_of, is_filled, visible_rows
from .spelling import common_spelling
from .values import VALUE_RULES

__all__ = ["ENTITY_TABLES", "PROBLEMS", "find_problems", "problem_table", "rows_seen"]

ENTITY_TABLES = {"lead": "leads", "opportunity": "opportunities", "account": "accounts", "rep": "reps"}
"""Word of `changes.entity` → its table."""

PROBLEMS: dict[str, tuple[str, str]] = {
    "undated": (
        "no date of becoming known",
        "No dated study sees these rows; map the date, or study the final status.",
    ),
    "wrong_order": (
        "a date before the one it must follow",
        "Correct the dates; leads that convert before they exist are left out of cohorts and snapshots.",
    ),
    "before_entity": (
        "happened before its lead or deal was created",
        "Check whether the row belongs to another lead, or the lead was entered late; features count it from its date.",
    ),
    "before_known": (
        "entered before it happened",
        "Probably planned and never updated; it counts from the moment it was due.",
    ),
    "late": (
        "entered more than a day after it happened",
        "Nothing: it counts only from when it was entered. Entering sooner makes scores fresher.",
    ),
    "placeholder": (
        "a date that stands for no date",
        "Replace it by an empty value when loading (`missing:` in the mapping).",
    ),
    "future": (
        "a date after the extraction",
        "Correct it; a fact cannot be known before it happens.",
    ),
    "after_closing": (
        "changed after its lead or deal was closed",
        "Never use today's value of the field as a feature: it was written with the outcome in mind.",
    ),
    "status": (
        "status and dates contradict each other",
        "Find out which of them is right; studies trust the dates.",
    ),
    "repeated": (
        "probably the same as another row",
        "Merge the rows in the CRM; until then they count twice.",
    ),
    "spelling": (
        "spelled differently from a more frequent value",
        "Unite them in the mapping (`values:`); `spelling_table` lists them, cohort tables unite them themselves.",
    ),
    "orphan": (
        "refers to a row that is not there",
        "Load the missing rows, or empty the reference.",
    ),
    "outlier": (
        "far outside the other values",
        "Check unit and typing (thousands, decimal comma); models see the logarithm, which limits the damage.",
    ),
    "hostile": (
        "text that a page or spreadsheet would run as code",
        "Nothing in crmlab runs it; be careful when you export it to a spreadsheet.",
    ),
    "personal": (
        "e-mail address in a column that is not declared personal",
        "Move it, or leave the column out of the mapping.",
    ),
    "today_only": (
        "only today's value is known",
        "Not usable for earlier dates; record its changes in the table `changes`.",
    ),
}
"""Kind of problem → (what it is, what to do)."""


def problem_table(crm: Crm, *, as_of: str | pd.Timestamp, extracted_at: str = "") -> pd.DataFrame:
    """Return the problems among the rows known before `as_of` (all rows when it is empty).

    Status, owner and other columns without history are looked at as they stand today, dates as known at `as_of`.

    Parameters
    ----------
    extracted_at : when the data left the CRM; later dates are impossible. Not checked when empty.

    Returns
    -------
    Frame: problem, table, column (where it shows), rows, share (of the rows that could have it), what_to_do; only
    problems that occur, in a fixed order. Definitions are in docs/methods.md.
    """
    return findings_frame(find_problems(crm, as_of=as_of, extracted_at=extracted_at), PROBLEMS)


def find_problems(crm: Crm, *, as_of: str | pd.Timestamp, extracted_at: str = "") -> list[Finding]:
    """Return every check's finding, those without any row included; see `problem_table`."""
    rows = rows_seen(crm, as_of=as_of)
    findings = [f for rule in (*DATE_RULES, *VALUE_RULES) for f in rule(rows)]
    findings += [*_undated(crm), *_spelling(crm, rows), *_orphans(crm, rows), *_today_only(crm, rows)]
    if extracted_at:
        findings += _future(rows, as_instant(extracted_at))
    return findings


def rows_seen(crm: Crm, *, as_of: str | pd.Timestamp) -> Rows:
    """Return a function that gives the visible rows of each table, cut once."""
    seen = {name: visible_rows(crm, name, as_of=as_of) for name in _loaded(crm)}
    return lambda name: seen[name] if name in seen else crm[name]


def _loaded(crm: Crm) -> list[str]:
    return [name for name in TABLES if len(crm[name])]


def _undated(crm: Crm) -> Iterator[Finding]:
    """Rows without the date from which they count, in tables that keep such a date."""
    for name in _loaded(crm):
        yield Finding.count("undated", name, TABLES[name].known_at, crm[name][TABLES[name].known_at].isna())


def _spelling(crm: Crm, rows: Rows) -> Iterator[Finding]:
    for name in _loaded(crm):
        frame = rows(name)
        for c in frame.columns[frame.dtypes == "str"]:
            column = column_of(crm, name, c, frame[c])
            if column.kind == "category" and not column.personal and not column.values:
                values = frame[c].dropna()
                yield Finding.count("spelling", name, c, values != common_spelling(values))


def _orphans(crm: Crm, rows: Rows) -> Iterator[Finding]:
    """References into a table that was loaded; a table that was not loaded says nothing about its references."""
    for name in _loaded(crm):
        for column, target in TABLES[name].references.items():
            if len(crm[target]):
                yield _orphan(name, column, rows(name)[column], crm[target][TABLES[target].key[0]])
    changes = rows("changes")
    for entity, target in ENTITY_TABLES.items():
        if len(crm[target]):
            ids = changes.loc[changes["entity"] == entity, "entity_id"]
            yield _orphan("changes", f"entity_id ({entity})", ids, crm[target][TABLES[target].key[0]])


def _orphan(name: str, column: str, ids: pd.Series, keys: pd.Series) -> Finding:
    ids, known = ids.dropna(), keys.astype(object)  # as objects: ten times faster than `isin` on Arrow text
    return Finding.count("orphan", name, column, by_distinct(ids, lambda some: ~some.astype(object).isin(known)))


def _today_only(crm: Crm, rows: Rows) -> Iterator[Finding]:
    """Filled columns that hold only today's value and have no history in `changes`."""
    changes = crm["changes"]
    logged = set(zip(changes["entity"].map(ENTITY_TABLES), changes["field"], strict=True))
    for name in _loaded(crm):
        frame = rows(name)
        for c in frame:
            if column_of(crm, name, c, frame[c]).known == TODAY and (name, c) not in logged:
                yield Finding.count("today_only", name, c, is_filled(frame[c]))


def _future(rows: Rows, extracted_at: pd.Timestamp) -> Iterator[Finding]:
    for name, spec in TABLES.items():
        frame = rows(name)
        for c in spec.of_kind("time"):
            if not spec[c].planned:
                yield Finding.count("future", name, c, frame[c].dropna() > extracted_at)
