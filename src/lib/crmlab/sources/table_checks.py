"""What the built tables say against each other: impossible orders of dates, orphans, contradictions."""

from datetime import datetime

import numpy as np
import pandas as pd

from crmlab.schema import TABLES

from .build import BuiltTable
from .problems import Problems, mask_text

__all__ = ["check_future", "check_tables"]

_NOT_BEFORE = (
    ("leads", "converted_at", "created_at"),
    ("leads", "disqualified_at", "created_at"),
    ("opportunities", "closed_at", "created_at"),
    ("opportunities", "first_quote_at", "created_at"),
    ("interactions", "known_at", "ts"),
    ("contracts", "ended_at", "started_at"),
    ("contracts", "term_end_at", "started_at"),
    ("invoices", "paid_at", "issued_at"),
    ("invoices", "due_at", "issued_at"),
    ("tickets", "closed_at", "opened_at"),
    ("tickets", "escalated_at", "opened_at"),
    ("reps", "left_at", "hired_at"),
    ("targets", "period_end_at", "period_start_at"),
)
"""(table, later, earlier): the first may not lie before the second."""

_OLDEST = pd.Timestamp("1970-01-02")


def check_tables(tables: dict[str, BuiltTable], problems: Problems) -> None:
    """Check the canonical tables against themselves and each other."""
    for name, later, earlier in _NOT_BEFORE:
        if name in tables:
            _check_order(name, tables[name], later, earlier, problems)
    for name, table in tables.items():
        _check_keys(name, table, problems)
        _check_references(name, table, tables, problems)
        _check_old(name, table, problems)
    if "leads" in tables:
        _check_lead_status(tables["leads"], problems)
    if "opportunities" in tables:
        _check_created(tables["opportunities"], problems)
        _check_outcomes(tables["opportunities"], problems)


def check_future(
    tables: dict[str, BuiltTable], *, today: str | datetime, problems: Problems, what: str = "today"
) -> None:
    """Tell facts dated later than `today` (an ISO date or time), which nobody can know yet.

    A day and 14 hours are allowed for time zones and for dates without a time; planned times may lie ahead.
    """
    limit = pd.Timestamp(today).normalize() + pd.Timedelta(hours=38)
    for name, table in tables.items():
        for column in TABLES[name].columns:
            if column.kind == "time" and not column.planned and column.name in table.frame:
                _tell_future(name, table, column.name, limit, f"{what} ({str(today)[:10]})", problems)


def _tell_future(name: str, table: BuiltTable, column: str, limit: pd.Timestamp, what: str, problems: Problems) -> None:
    times = table.frame[column]
    late = (times > limit).to_numpy()
    if late.any():
        problems.add(
            "error",
            name,
            column,
            f"Dates later than {what}.",
            rows=int(late.sum()),
            of=len(late),
            example=f"{table.where(int(late.argmax()))}; the latest is {times.max():%Y-%m-%d}",
            what_to_do="Correct them: check the order of day and month, the century and the time zone; "
            "or name such texts with `missing:`.",
        )


def _check_order(name: str, table: BuiltTable, later: str, earlier: str, problems: Problems) -> None:
    frame = table.frame
    if later not in frame or earlier not in frame:
        return
    bad = (frame[later] < frame[earlier]).to_numpy()
    if bad.any():
        i = int(bad.argmax())
        problems.add(
            "warning",
            name,
            later,
            f"{later} lies before {earlier}.",
            rows=int(bad.sum()),
            of=int(frame[later].notna().sum()),
            example=f"{table.where(i)}: {frame[later].iloc[i]:%Y-%m-%d} before {frame[earlier].iloc[i]:%Y-%m-%d}",
            what_to_do="Check the formats and time zones of both; otherwise these rows were entered or edited wrongly.",
        )


def _check_keys(name: str, table: BuiltTable, problems: Problems) -> None:
    """Tell keys that repeat across entries of the mapping; within one entry that is told already."""
    key = list(TABLES[name].key)
    if len(table.origins) < 2 or not set(key) <= set(table.frame):
        return
    entry = np.repeat(np.arange(len(table.origins)), [len(kept) for _, kept in table.origins])
    given = table.frame[key].notna().all(axis=1)
    firsts = table.frame[given].assign(_entry=entry[given]).drop_duplicates([*key, "_entry"])
    rows = int(firsts.duplicated(key, keep=False).sum())
    if rows:
        to_do = "Make them differ, such as with `from: [A, B]`."
        text = "Rows of two entries of the mapping share their key."
        problems.add("error", name, " and ".join(key), text, rows=rows, of=len(table.frame), what_to_do=to_do)


def _check_references(name: str, table: BuiltTable, tables: dict[str, BuiltTable], problems: Problems) -> None:
    for column, target in TABLES[name].references.items():
        key = TABLES[target].key[0]
        if column not in table.frame or target not in tables or key not in tables[target].frame:
            continue
        values = table.frame[column]
        orphans = (values.notna() & ~values.isin(tables[target].frame[key])).to_numpy()
        if orphans.any():
            i = int(orphans.argmax())
            problems.add(
                "warning",
                name,
                column,
                f"{column} names rows that the table {target} does not hold.",
                rows=int(orphans.sum()),
                of=int(values.notna().sum()),
                example=f"{table.where(i)}: {mask_text(values.iloc[i])}",
                what_to_do="Export both on the same day without filters (deleted and archived records included).",
            )


def _check_old(name: str, table: BuiltTable, problems: Problems) -> None:
    for column in (c for c in TABLES[name].of_kind("time") if c in table.frame):
        old = (table.frame[column] < _OLDEST).to_numpy()
        if old.any():
            to_do = "Name such texts with `missing:`; they usually stand for “no date”."
            text = "Dates before 1970, such as a spreadsheet's day 0."
            example = table.where(int(old.argmax()))
            problems.add(
                "warning", name, column, text, rows=int(old.sum()), of=len(old), example=example, what_to_do=to_do
            )


def _check_lead_status(table: BuiltTable, problems: Problems) -> None:
    for status, column, word in (
        ("converted", "converted_at", "converted"),
        ("disqualified", "disqualified_at", "given up"),
    ):
        frame = table.frame
        if "status" not in frame:
            return
        is_so = (frame["status"] == status).fillna(False).to_numpy(dtype=bool)
        dated = frame[column].notna().to_numpy() if column in frame else np.zeros(len(frame), dtype=bool)
        undated, contrary = is_so & ~dated, dated & ~is_so
        if undated.any():
            lead = "Some leads that were" if (is_so & dated).any() else "All leads that were"
            _tell_rows(
                table,
                "leads",
                column,
                undated,
                f"{lead} {word} have no date: when it became known cannot be told.",
                "Map a date, by `lookup:` if another file has it; without any, only the final status can be studied."
                if status == "converted"
                else "Map a date if the CRM keeps one; without it such leads count as open until the data end.",
                problems,
            )
        if contrary.any():
            text = f"{column} is given, but the status is not {status}."
            _tell_rows(table, "leads", column, contrary, text, "Check the values of the status.", problems)


def _check_created(table: BuiltTable, problems: Problems) -> None:
    """Deals without dates can be studied as a whole source, never beside others that have one."""
    frame = table.frame
    created = frame["created_at"] if "created_at" in frame else pd.Series(pd.NaT, index=frame.index)
    undated = created.isna().to_numpy()
    if undated.all():
        text = "No deal has a date of creation, so only how deals ended can be studied (`label: final_status`)."
        to_do = "Map one if the CRM keeps it" + (
            "." if "sequence" in frame else "; map a running number to `sequence`."
        )
        _tell_rows(table, "opportunities", "created_at", undated, text, to_do, problems)
    elif undated.any():
        problems.add(
            "error",
            "opportunities",
            "created_at",
            "Some deals have no date of creation, others have one: nobody can say when they could be looked at.",
            rows=int(undated.sum()),
            of=len(undated),
            example=table.where(int(undated.argmax())),
            what_to_do="Fill it, or leave such rows out with `skip_missing`.",
        )


def _check_outcomes(table: BuiltTable, problems: Problems) -> None:
    frame = table.frame
    if "outcome" not in frame or "closed_at" not in frame:
        return
    closed, dated = frame["outcome"].notna().to_numpy(), frame["closed_at"].notna().to_numpy()
    text = "Deals are won or lost without a date of closing."
    _tell_rows(table, "opportunities", "closed_at", closed & ~dated, text, "Map the date of closing.", problems)
    text = "Deals have a date of closing, but neither won nor lost."
    to_do = "Check `outcome`; a date that is only expected belongs to `expected_close_at`."
    _tell_rows(table, "opportunities", "outcome", dated & ~closed, text, to_do, problems)
    if "stage" in frame:
        stage = frame["stage"].where(frame["stage"].isin(["won", "lost"]))
        contrary = (stage.notna() & (stage != frame["outcome"])).to_numpy(dtype=bool)
        text = "The stage says won or lost, the outcome something else."
        _tell_rows(table, "opportunities", "outcome", contrary, text, "Derive both from one column.", problems)


def _tell_rows(
    table: BuiltTable, name: str, column: str, bad: np.ndarray, text: str, to_do: str, problems: Problems
) -> None:
    if bad.any():
        example = table.where(int(bad.argmax()))
        problems.add("warning", name, column, text, rows=int(bad.sum()), of=len(bad), example=example, what_to_do=to_do)
