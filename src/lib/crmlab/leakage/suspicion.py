"""Which columns look as if they knew the outcome, ranked, and why: what no proof by computing again can see.

A proof shows that the engine used only what the source dates before the row. It cannot show that the source dates its
columns rightly. This probe looks at the values themselves.
"""

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import DataError

from .entities import key_of
from .evidence import (
    DOUBTFUL,
    LEAK,
    Evidence,
    Outcome,
    alone,
    auc_evidence,
    one_class_group,
    telling_name,
    time_after_row,
)
from .later import changed_after_close, is_personal, later_values

__all__ = ["VERDICTS", "suspicion_table"]

VERDICTS = ("leak", "doubtful", "none")
_COLUMNS = ["column", "verdict", "suspicion", "auc", "auc_low", "evidence", "explanation"]
_BEYOND_TYPICAL = 0.15
_CERTAIN = 0.97
_ENOUGH_COLUMNS = 5


def suspicion_table(
    values: pd.DataFrame, rows: pd.DataFrame, *, crm: Crm | None = None, outcome: str = "the outcome"
) -> pd.DataFrame:
    """Rank columns by how much they look as if they had been filled by someone who knew the outcome.

    Looked at, each with an interval and with at least 30 entities behind it: nearly perfect alone and far better than a
    typical column (ROC AUC, levels scored on the other half of the entities); missing, filled or of one value for one
    outcome only; times after the row's date; with a CRM, values that its known times or change log show to be entered
    after the row's date. Where the rows have no dates, the column's name and changes after closing count as well.

    Parameters
    ----------
    values : features or columns of the source, row for row those of `rows`.
    rows : frame with the entity's key, as_of (empty where nothing is dated), label and mature; rows without a mature
        label tell nothing about the outcome.
    crm : where known times and the change log are; columns are matched by their canonical name.
    outcome : what the label says, in words.

    Returns
    -------
    Frame, most suspect first: column, verdict (leak, doubtful, none), suspicion (0 to 1; leak from 0.9, doubtful from
    0.5), auc, auc_low (lower end of its 95 % interval), evidence (kinds, strongest first), explanation.

    Raises
    ------
    DataError : `values` and `rows` do not belong together.
    """
    _check(values, rows)
    settled = rows["mature"].to_numpy(dtype=bool) & rows["label"].notna().to_numpy()
    known = rows[settled]
    shown = Outcome(known[key_of(rows)], known["label"].astype("float64").to_numpy(), outcome)
    parts = values[settled]
    scored = {c: alone(parts[c], shown) if shown.judgeable else (np.nan, np.nan) for c in values}
    typical = float(np.nanmedian([a for a, _ in scored.values()])) if scored and shown.judgeable else np.nan
    found = {}
    for name, (auc, low) in scored.items():
        evidence = _of_values(values[name], rows, crm)
        if shown.judgeable:
            evidence += _of_outcome(parts[name], known, shown, auc, low, typical, len(scored))
        found[name] = [e for e in evidence if e is not None]
    table = pd.DataFrame([_row(c, *scored[c], found[c], shown) for c in values], columns=_COLUMNS)
    return table.sort_values(["suspicion", "auc", "column"], ascending=[False, False, True], ignore_index=True)


def _check(values: pd.DataFrame, rows: pd.DataFrame) -> None:
    if len(values) != len(rows) or not values.index.equals(rows.index):
        raise DataError(
            "Columns and rows do not belong together.",
            found=f"{len(values):,} rows of columns and {len(rows):,} rows, or another index",
            remedy="give both the same rows in the same order.",
        )
    lacking = [c for c in ("as_of", "label", "mature") if c not in rows]
    if lacking:
        raise DataError("Rows must be labelled to look for leaks.", found=f"no column {', '.join(lacking)}")
    if not values.columns.is_unique:
        raise DataError("Two columns have the same name.", remedy="rename one of them.")


def _of_values(values: pd.Series, rows: pd.DataFrame, crm: Crm | None) -> list[Evidence | None]:
    """Evidence that needs no outcome."""
    if crm is None:
        return []
    return [later_values(values, rows, crm), changed_after_close(str(values.name), rows, crm)]


def _of_outcome(
    values: pd.Series, rows: pd.DataFrame, shown: Outcome, auc: float, low: float, typical: float, n_columns: int
) -> list[Evidence | None]:
    out_of_line = low - typical >= _BEYOND_TYPICAL or n_columns < _ENOUGH_COLUMNS or low >= _CERTAIN
    undated = bool(rows["as_of"].isna().all())
    return [
        auc_evidence(low, typical, out_of_line=out_of_line, word=shown.word),
        one_class_group(values, shown, show=not is_personal(str(values.name), rows)),
        time_after_row(values, rows["as_of"], shown),
        telling_name(str(values.name), low) if undated else None,
    ]


def _row(name: str, auc: float, low: float, found: list[Evidence], shown: Outcome) -> tuple:
    found = sorted(found, key=lambda e: -e.score)
    score = found[0].score if found else _quiet_score(low)
    verdict = "leak" if score >= LEAK else "doubtful" if score >= DOUBTFUL else "none"
    words = " ".join(e.text for e in found) or _quiet_words(auc, shown)
    return (name, verdict, score, auc, low, ", ".join(e.kind for e in found), words)


def _quiet_score(low: float) -> float:
    """Below every threshold, ranked by the strength alone."""
    return 0.0 if np.isnan(low) else float(np.clip(low - 0.5, 0, DOUBTFUL - 0.01))


def _quiet_words(auc: float, shown: Outcome) -> str:
    if np.isnan(auc):
        return f"Too few outcomes to judge: {shown.n_true:,} with, {shown.n_false:,} without {shown.word}."
    return f"Nothing found; alone it orders the rows with a ROC AUC of {auc:.2f}."
