"""What the tables say about each other over time: events before their entity, gaps that tell, wrong histories."""

import numpy as np
import pandas as pd

from crmlab.schema import LEAD_CLOSED, TABLES

from .build import BuiltTable
from .histories import ENTITIES
from .problems import Problems

__all__ = ["check_cross"]

_EVENT_TIMES = {
    "interactions": "ts",
    "quotes": "sent_at",
    "contracts": "started_at",
    "invoices": "issued_at",
    "usage": "day",
    "tickets": "opened_at",
    "surveys": "answered_at",
}
_LINKS = {
    "leads": ("account_id", "contact_id", "owner_id"),
    "opportunities": ("account_id", "contact_id", "owner_id"),
    "interactions": ("rep_id",),
}
"""References that are expected of most rows. Others, such as the lead of a deal, are often rightly empty."""

_MANY = 20


def check_cross(tables: dict[str, BuiltTable], problems: Problems) -> None:
    """Check events against the creation of what they belong to, links that are empty, and today against the log."""
    for name, table in tables.items():
        if name in _EVENT_TIMES:
            _check_early(name, table, tables, problems)
        if name in _LINKS:
            _check_links(name, table, problems)
    if "changes" in tables:
        for name in (n for n in ENTITIES if n in tables):
            _check_history(name, tables[name], tables["changes"].frame, problems)


def _check_early(name: str, table: BuiltTable, tables: dict[str, BuiltTable], problems: Problems) -> None:
    """Warn about events on a day before their account, lead or deal was created."""
    time = _EVENT_TIMES[name]
    for column, target in TABLES[name].references.items():
        key = TABLES[target].key[0]
        known = tables[target].frame if target in tables else pd.DataFrame()
        if not {column, time} <= set(table.frame) or not {key, "created_at"} <= set(known):
            continue
        created = known.dropna(subset=key).drop_duplicates(key).set_index(key)["created_at"]
        start = created.reindex(table.frame[column]).set_axis(table.frame.index)
        early = (table.frame[time].dt.normalize() < start.dt.normalize()).to_numpy()
        if early.any():
            i = int(early.argmax())
            problems.add(
                "warning",
                name,
                time,
                f"Rows are dated before the {ENTITIES[target]} they belong to was created.",
                rows=int(early.sum()),
                of=int((table.frame[time].notna() & start.notna()).sum()),
                example=f"{table.where(i)}: {table.frame[time].iloc[i]:%Y-%m-%d} before {start.iloc[i]:%Y-%m-%d}",
                what_to_do="Check both dates and their formats; a score made in between sees events of nobody.",
            )


def _check_links(name: str, table: BuiltTable, problems: Problems) -> None:
    for column in (c for c in _LINKS[name] if c in table.frame):
        empty = table.frame[column].isna().to_numpy()
        if not _MANY <= empty.sum() < len(empty):
            continue
        text, severity = f"Rows have no {column}: they are linked to none.", "note"
        to_do = ""
        still_open = _still_open(name, table.frame)
        if still_open is not None and not (empty & ~still_open).any() and (~still_open).sum() >= _MANY:
            text += " All of them are still open, and every closed row has one, so being empty tells the outcome."
            severity = "warning"
            to_do = "Find out when it is filled in: only what is filled in at creation is known from creation on."
        example = table.where(int(empty.argmax()))
        problems.add(
            severity, name, column, text, rows=int(empty.sum()), of=len(empty), example=example, what_to_do=to_do
        )


def _still_open(name: str, frame: pd.DataFrame) -> np.ndarray | None:
    """Return which leads or deals have not ended; None where the table does not say."""
    if name == "leads" and "status" in frame:
        return (~frame["status"].isin(LEAD_CLOSED)).to_numpy()
    if name == "opportunities" and "outcome" in frame:
        return frame["outcome"].isna().to_numpy()
    return None


def _check_history(name: str, table: BuiltTable, changes: pd.DataFrame, problems: Problems) -> None:
    """Warn where a value of today is not the one that the log of its changes ends with."""
    needed = {"entity", "entity_id", "field", "new_value", "changed_at"}
    if not needed <= set(changes):
        return
    own = changes[(changes["entity"] == ENTITIES[name]).fillna(False).to_numpy(dtype=bool)]
    ordered = own.sort_values("changed_at", kind="stable")
    for column in (c for c in ordered["field"].dropna().unique() if c in table.frame):
        log = ordered[(ordered["field"] == column).to_numpy()]
        if not pd.api.types.is_datetime64_any_dtype(table.frame[column].dtype):
            _check_column(name, column, table, log, problems)


def _check_column(name: str, column: str, table: BuiltTable, log: pd.DataFrame, problems: Problems) -> None:
    ids = table.frame[TABLES[name].key[0]]
    today = _plain(table.frame[column])
    newest = log.drop_duplicates("entity_id", keep="last").set_index("entity_id")["new_value"]
    logged = ids.isin(newest.index).to_numpy()
    last = _plain(newest.reindex(ids).set_axis(ids.index))
    for value, rows in _groups(today, table.frame[column]):
        differs = rows & logged & ((today != last) & ~(today.isna() & last.isna())).to_numpy()
        text = f"The newest change logged in `changes` says something else than the value today{value}."
        _tell(name, column, table, differs, rows, text, problems)
        unlogged = rows & ~logged & _only_by_change(today, log)
        text = f"No change is logged in `changes` that would have led to the value today{value}."
        _tell(name, column, table, unlogged, rows, text, problems)


def _plain(values: pd.Series) -> pd.Series:
    if values.dtype == "float64":
        return values.astype("str").str.removesuffix(".0")
    return values.astype("str").str.lower()


def _groups(today: pd.Series, values: pd.Series) -> list[tuple[str, np.ndarray]]:
    """Return the rows to be counted together: by value where the column is true or false, else all that hold one."""
    if not pd.api.types.is_bool_dtype(values.dtype):
        return [("", today.notna().to_numpy())]
    return [(f" ({value})", (today == value).fillna(False).to_numpy(dtype=bool)) for value in ("false", "true")]


def _only_by_change(today: pd.Series, log: pd.DataFrame) -> np.ndarray:
    """Return the rows whose value only a change leads to: where every history begins with one same other value."""
    first = log.drop_duplicates("entity_id", keep="first")
    begins = _plain(first["old_value"]).unique() if "old_value" in first else []
    if len(first) < _MANY or len(begins) != 1 or pd.isna(begins[0]):
        return np.zeros(len(today), dtype=bool)
    return (today.notna() & (today != begins[0])).to_numpy()


def _tell(
    name: str, column: str, table: BuiltTable, bad: np.ndarray, among: np.ndarray, text: str, problems: Problems
) -> None:
    if bad.any():
        example = table.where(int(bad.argmax()))
        to_do = "Find out which of the two is right; a label taken from either is noise until then."
        problems.add(
            "warning",
            name,
            column,
            text,
            rows=int(bad.sum()),
            of=int(among.sum()),
            example=example,
            what_to_do=to_do,
        )
