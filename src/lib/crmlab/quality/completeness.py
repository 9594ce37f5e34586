"""How much of each table and column is there, and whether emptiness itself gives the outcome away."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.intervals import difference_interval, share_interval
from crmlab.schema import TABLES, TODAY, Column

from .rows import column_of, is_filled, visible_rows

__all__ = ["completeness_table", "table_overview"]

_SUSPICIOUS = 0.10
_OVERVIEW = {"table": "str", "meaning": "str", "rows": "int64", "first": "datetime64[us]", "last": "datetime64[us]"}
_COMPLETENESS = {
    "table": "str",
    "column": "str",
    "kind": "str",
    "rows": "int64",
    "filled": "float64",
    "distinct": "int64",
    "known": "str",
    "personal": "bool",
    "as_of_safe": "bool",
    "filled_converted": "float64",
    "filled_not_converted": "float64",
    "tells_outcome": "bool",
}


def table_overview(crm: Crm) -> pd.DataFrame:
    """Return the tables that hold rows, in the order of the schema.

    Returns
    -------
    Frame: table, meaning, rows, first and last (when its first and newest row became known; NaT without dates), key
    (its columns) and undated (rows that do not say when they became known, so that no dated study ever sees them).
    """
    rows = [_overview_row(crm, name) for name in TABLES if len(crm[name])]
    return pd.DataFrame(rows, columns=[*_OVERVIEW, "key", "undated"]).astype(
        _OVERVIEW | {"key": "str", "undated": "int64"}
    )


def _overview_row(crm: Crm, name: str) -> tuple:
    known = crm[name][TABLES[name].known_at]
    key = ", ".join(TABLES[name].key)
    return (name, TABLES[name].meaning, len(known), known.min(), known.max(), key, int(known.isna().sum()))


def completeness_table(crm: Crm, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
    """Return how full every column is, among the rows known before `as_of` (all rows when it is empty).

    Returns
    -------
    Frame, one row per table and column in the order of the schema: table, column, kind, rows, filled (share, blanks
    count as empty), distinct (values), known (column that says when the value became known, or "today"), personal,
    as_of_safe, and for leads filled_converted and filled_not_converted: the share filled among leads that had
    converted and that had not. `tells_outcome` marks a column whose two shares differ by more than 10 points beyond
    chance although it is not declared as known only at the outcome: it was probably filled, or emptied, because of it.
    """
    rows = [row for name in TABLES if len(crm[name]) for row in _column_rows(crm, name, as_of)]
    return pd.DataFrame(rows, columns=list(_COMPLETENESS)).astype(_COMPLETENESS)


def _column_rows(crm: Crm, name: str, as_of: str | pd.Timestamp) -> list[tuple]:
    frame = visible_rows(crm, name, as_of=as_of)
    converted = _converted(crm, frame) if name == "leads" else None
    return [_column_row(name, column_of(crm, name, c, frame[c]), frame[c], converted) for c in frame]


def _column_row(name: str, column: Column, values: pd.Series, converted: pd.Series | None) -> tuple:
    filled = is_filled(values)
    yes, no, tells = np.nan, np.nan, False
    if converted is not None and len(values):
        groups = filled[converted], filled[~converted]
        yes, no = (_share(g) for g in groups)
        # A column declared as known at the outcome is empty before it by definition; no surprise there.
        declared_later = column.known not in (TODAY, TABLES[name].known_at, "unknown")
        tells = not declared_later and _differs(*groups)
    safe = column.known not in (TODAY, "unknown")
    distinct = values[filled].nunique()
    known, personal = column.known, column.personal
    return (
        name,
        column.name,
        column.kind,
        len(values),
        _share(filled),
        distinct,
        known,
        personal,
        safe,
        yes,
        no,
        tells,
    )


def _converted(crm: Crm, leads: pd.DataFrame) -> pd.Series:
    """Whether each lead had converted: by its date, or by today's status where the source keeps no such dates."""
    dated = crm["leads"]["converted_at"].notna().any()
    return leads["converted_at"].notna() if dated else leads["status"].eq("converted").fillna(False)


def _share(filled: pd.Series) -> float:
    return float(filled.mean()) if len(filled) else np.nan


def _differs(first: pd.Series, second: pd.Series) -> bool:
    """Whether the Newcombe (1998) 95 % interval of the difference lies beyond ± 10 points."""
    if first.empty or second.empty:
        return False
    shares = [(float(hits.mean()), *share_interval(int(hits.sum()), len(hits))) for hits in (first, second)]
    _, lower, upper = difference_interval(*shares)
    return bool(lower > _SUSPICIOUS or upper < -_SUSPICIOUS)
