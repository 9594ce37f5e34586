"""The rows that a study sees, with the values that the CRM holds for them."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.schema import TODAY, Column, table

__all__ = ["by_distinct", "column_of", "is_filled", "look_up", "visible_rows"]


def visible_rows(crm: Crm, name: str, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
    """Return the rows of a table known before `as_of`, values known later emptied, today's values kept.

    A quality check asks what the CRM holds, so columns that hold only today's value are looked at as they are; studies
    use `Crm.at`, which empties them. A value without the date from which it counts is kept, for it is a finding. An
    empty `as_of` returns everything.
    """
    frame, spec = crm[name], table(name)
    if as_of == "":
        return frame
    instant = as_instant(as_of)
    frame = frame[(frame[spec.known_at] < instant).to_numpy()]
    later = [c for c in spec.columns if c.known not in (TODAY, spec.known_at)]
    blanked = {c.name: frame[c.name].mask(frame[c.known] >= instant) for c in later}
    return frame.assign(**blanked).reset_index(drop=True)


def column_of(crm: Crm, name: str, column: str, values: pd.Series) -> Column:
    """Return the declaration of a column, own columns (`x_…`) included."""
    spec = table(name)
    if column in spec.names:
        return spec[column]
    own = crm.own_columns.get(column, {})
    known = {"creation": spec.known_at, "today": TODAY}.get(own.get("known", ""), "unknown")
    return Column(column, own.get("type") or _kind(values), own.get("meaning", ""), known)


def is_filled(values: pd.Series) -> pd.Series:
    """Return where a column holds a value; blanks count as empty."""
    if values.dtype != "str":
        return values.notna()
    return values.notna() & (values.str.strip() != "").fillna(False).astype(bool)


def by_distinct(values: pd.Series, test: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """Return `test(values)`, true or false for each value, asked only once for each distinct one; gaps are false."""
    codes, distinct = pd.factorize(values)
    hits = np.append(test(pd.Series(distinct, dtype=values.dtype)).to_numpy(bool), False)  # a gap has the code -1
    return pd.Series(hits[codes], index=values.index, dtype="bool")


def look_up(ids: pd.Series, values: pd.Series) -> pd.Series:
    """Return `values[id]` for each id, missing where there is none; `values` has unique labels.

    Unlike `Series.map` it keeps the type when `values` is empty.
    """
    return values.reindex(ids.to_numpy()).set_axis(ids.index)


def _kind(values: pd.Series) -> str:
    if pd.api.types.is_datetime64_any_dtype(values):
        return "time"
    if pd.api.types.is_bool_dtype(values):
        return "boolean"
    return "number" if pd.api.types.is_numeric_dtype(values) else "category"
