"""Groups of leads that are large enough to say something about."""

import pandas as pd

from crmlab.quality import common_spelling
from crmlab.schema import ParameterError, did_you_mean

__all__ = ["MIN_GROUP", "NO_VALUE", "SIZES", "group_labels"]

MIN_GROUP = 20
"""Groups with fewer leads are shown together."""

NO_VALUE = "(missing)"

SIZES = ("0–9", "10–49", "50–249", "250 and more")
"""Sizes of companies by employees, as the EU's definition of small and medium firms draws them."""

_IN_ORDER = ("cohort", "month", "size")
_KEYS = ("owner_id",)
_NOT_GROUPS = ("lead_id", "created_at", "as_of", "days", "converted", "disqualified_days", "owner_is_today", "status")


def group_labels(frame: pd.DataFrame, by: str | None) -> pd.Series:
    """Return the group of each row as an ordered categorical, in the order of display.

    Spellings of one value are united, gaps are a group of their own, several groups of fewer than `MIN_GROUP` rows
    become one, named "other (k groups)". Order: by number of rows, the largest first; cohorts, months and sizes in
    their own order and never pooled. A column without any value gives missing labels only: there is nothing to compare.

    Raises
    ------
    ParameterError : there is no such column, or it holds numbers.
    """
    if by is None:
        return pd.Series(pd.Categorical(["all leads"] * len(frame), ordered=True), index=frame.index)
    values = _values(frame, by)
    if values.isna().all():
        return pd.Series(pd.Categorical([None] * len(frame), categories=[], ordered=True), index=frame.index)
    if by not in (*_IN_ORDER, *_KEYS):
        values = common_spelling(values)
    values = values.fillna(NO_VALUE)
    if by not in _IN_ORDER:
        values = _pooled(values)
    return values.astype(pd.CategoricalDtype(_order(values, by), ordered=True))


def _values(frame: pd.DataFrame, by: str) -> pd.Series:
    known = [c for c in frame if c not in _NOT_GROUPS]
    if by not in known:
        raise ParameterError(f"Leads cannot be grouped by `{by}`.", remedy=did_you_mean(by, known))
    values = frame[by]
    if pd.api.types.is_bool_dtype(values):
        return values.map({True: "yes", False: "no"}).astype("str")
    if values.dtype != "str":
        raise ParameterError(
            f"Leads cannot be grouped by `{by}`.",
            found=f"{values.dtype} values",
            remedy="choose a category, or map the column to classes.",
        )
    return values


def _pooled(values: pd.Series) -> pd.Series:
    counts = values.value_counts()
    small = counts.index[(counts < MIN_GROUP) & (counts.index != NO_VALUE)]
    if len(small) < 2:  # one alone keeps its name: there is nothing to put it together with
        return values
    return values.where(~values.isin(small), f"other ({len(small)} groups)")


def _order(values: pd.Series, by: str) -> list[str]:
    counts = values.value_counts()
    if by == "size":
        return [s for s in (*SIZES, NO_VALUE) if s in counts]
    if by in _IN_ORDER:
        return sorted(counts.index)
    ranked = sorted(counts.index, key=lambda g: (-counts[g], g))
    return [g for g in ranked if g != NO_VALUE and not g.startswith("other (")] + [
        g for g in ranked if g.startswith("other (") or g == NO_VALUE
    ]
