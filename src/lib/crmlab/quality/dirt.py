"""How much of the dirt that was planted in the demo the quality checks find, and how often they cry wolf."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import TABLES

from .findings import Finding, Rows
from .problems import ENTITY_TABLES, PROBLEMS, find_problems, rows_seen

__all__ = ["dirt_recall_table"]

_COLUMNS = {
    "kind": "str",
    "table": "str",
    "rate_intended": "float64",
    "planted": "int64",
    "found": "int64",
    "recall": "float64",
    "flagged": "int64",
    "precision": "float64",
    "how": "str",
}
_ROW_CHECKS = {
    # kind of dirt: (rule that looks for it, part of the column it names)
    "source_spelling": ("spelling", "source"),
    "outlier_employees": ("outlier", "employees"),
    "duplicate_lead": ("repeated", "same person"),
    "disqualified_before_created": ("wrong_order", "disqualified_at"),
    "hostile_text": ("hostile", ""),
    "interaction_before_lead": ("before_entity", "ts"),
    "call_logged_late": ("late", ""),
    "paid_before_issued": ("wrong_order", "paid_at"),
    "amount_edited_after_close": ("after_closing", "amount of opportunities"),
}
_COLUMN_CHECKS = {
    # kind of dirt: column that is marked as a whole, because no single row can show it
    "crm_score_edited_after_close": "crm_score",
    "next_step_edited_after_close": "x_next_step",
}
_PERSONAL = {"personal_data_in_notes": "notes"}


def dirt_recall_table(crm: Crm, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
    """Return, for the demo, what was planted against what the checks of `problem_table` find among visible rows.

    Returns
    -------
    Frame, one row per kind of dirt and table: kind, table, rate_intended (of eligible rows), planted (rows visible
    at `as_of`), found (of them), recall, flagged (all rows that the same check marks), precision (share of those that
    were planted; natural faults lower it), how. Kinds that no single row can show are found when the whole column is
    marked; flagged and precision say nothing then. Empty for a source whose truth is not known.
    """
    if crm.truth is None:
        return pd.DataFrame(columns=list(_COLUMNS)).astype(_COLUMNS)
    rows = rows_seen(crm, as_of=as_of)
    findings = find_problems(crm, as_of=as_of)
    dirty = crm.truth.dirty_rows.groupby(["kind", "table"])["row_id"]
    planted = {key: set(ids) for key, ids in dirty}
    cells = [
        _recall_row(d.kind, d.table, d.rate_intended, planted.get((d.kind, d.table), set()), rows, findings)
        for d in crm.truth.dirt.itertuples()
    ]
    return pd.DataFrame(cells, columns=list(_COLUMNS)).astype(_COLUMNS)


def _recall_row(
    kind: str, table: str, rate: float, planted: set[str], rows: Rows, findings: Sequence[Finding]
) -> tuple:
    planted = planted & set(rows(table)[TABLES[table].key[0]])
    flagged, how = _check(kind, table, rows, findings)
    if flagged is None:
        found = len(planted) if how else 0
        return (kind, table, rate, len(planted), found, _ratio(found, len(planted)), 0, np.nan, how or "not looked for")
    found = len(planted & flagged)
    precision = _ratio(found, len(flagged))
    return (kind, table, rate, len(planted), found, _ratio(found, len(planted)), len(flagged), precision, how)


def _check(kind: str, table: str, rows: Rows, findings: Sequence[Finding]) -> tuple[set[str] | None, str]:
    """Identifiers that the check for this kind marks, None when it marks a column; and how, empty when it does not."""
    key = TABLES[table].key[0]
    if kind.startswith("missing_"):
        frame, column = rows(table), kind.removeprefix("missing_")
        return set(frame.loc[frame[column].isna(), key]), f"completeness of {column}"
    if kind in _ROW_CHECKS:
        rule, part = _ROW_CHECKS[kind]
        marked = [
            _ids(f, table, rows)
            for f in findings
            if f.kind == rule and part in f.column and f.table in (table, "changes")
        ]
        return set().union(*marked), PROBLEMS[rule][0]
    today = {(f.table, f.column) for f in findings if f.kind == "today_only"}
    if (table, _COLUMN_CHECKS.get(kind, "")) in today:
        return None, f"column: {PROBLEMS['today_only'][0]}"
    if kind in _PERSONAL and TABLES[table][_PERSONAL[kind]].personal:
        return None, "column: declared personal, never shown"
    return None, ""


def _ids(finding: Finding, table: str, rows: Rows) -> set[str]:
    """Identifiers of the rows of `table` that a finding marks, those by a change of one of their columns included."""
    marked = rows(finding.table).loc[finding.where]
    if finding.table != "changes":
        return set(marked[TABLES[table].key[0]])
    return set(marked.loc[marked["entity"].map(ENTITY_TABLES) == table, "entity_id"])


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else np.nan
