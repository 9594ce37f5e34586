"""Rows that share their key, made one: an invoice of its lines, a day of its log-ins, a case of its events."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from crmlab.schema import TABLES

from .convert import check_filled, check_numbers
from .problems import Problems, mask_text
from .specs import ColumnSpec, TableSpec

__all__ = ["combine_rows"]


def combine_rows(
    entry: TableSpec, frame: pd.DataFrame, where: Callable[[int], str], problems: Problems
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return one row per key, in the order in which keys first come, and the position of each key's first row.

    Missing values take no part: a sum of none is missing, and the first is the first that is there.

    Parameters
    ----------
    frame : converted columns, one row per row of the file.
    where : says where a row stands in the file.
    problems : told of values that should be the same and differ, and of results that the column may not hold.
    """
    key = list(TABLES[entry.table].key)
    if not set(key) <= set(frame):  # told already: a column that the file lacks
        return frame, np.arange(len(frame))
    group = frame.groupby(key, sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    text = "Rows that share their key were combined (`duplicates: combine`)."
    if len(first) < len(frame):
        problems.add("note", entry.table, " and ".join(key), text, rows=len(frame) - len(first), of=len(frame))
    columns = {c.name: c for c in entry.columns if c.name in frame}
    combined = {
        name: frame[name].iloc[first].reset_index(drop=True)
        if name in key
        else _combined(frame[name], column, group, len(first), entry.table, where, problems)
        for name, column in columns.items()
    }
    _check(entry.table, combined, columns, lambda i: where(int(first[i])), problems)
    return pd.DataFrame(combined, index=pd.RangeIndex(len(first))), first


def _check(
    table: str, combined: dict, columns: dict[str, ColumnSpec], where: Callable[[int], str], problems: Problems
) -> None:
    for name, column in columns.items():
        if not column.combine:
            continue
        check_filled(combined[name], column, table, where, problems)
        if column.combine in ("sum", "count", "distinct"):
            combined[name] = check_numbers(combined[name], column, table, where, problems)


def _combined(
    values: pd.Series,
    column: ColumnSpec,
    group: np.ndarray,
    n: int,
    table: str,
    where: Callable[[int], str],
    problems: Problems,
) -> pd.Series:
    """Return one value per group."""
    rule = column.combine
    here = np.flatnonzero(values.notna().to_numpy())
    if rule in ("sum", "count", "distinct"):
        return _counted(values, rule, group, here, n)
    if rule in ("min", "max"):
        return _extreme(values, rule, group, here, n)
    chosen = np.full(n, -1)
    order = here if rule == "last" else here[::-1]
    chosen[group[order]] = order  # of several rows of a group the one assigned last stays
    result = values.take(np.maximum(chosen, 0)).reset_index(drop=True).mask(chosen < 0)
    _tell_differing(values, column, group, here, chosen, n, table, where, problems)
    return result


def _counted(values: pd.Series, rule: str, group: np.ndarray, here: np.ndarray, n: int) -> pd.Series:
    present = np.bincount(group[here], minlength=n)
    if rule == "sum":
        sums = np.bincount(group[here], weights=values.iloc[here].to_numpy("float64"), minlength=n)
        return pd.Series(sums).mask(present == 0)
    if rule == "count":
        return pd.Series(present, dtype="float64")
    codes, distinct = pd.factorize(values.iloc[here])
    pairs = np.unique(group[here].astype("int64") * max(len(distinct), 1) + codes)
    return pd.Series(np.bincount(pairs // max(len(distinct), 1), minlength=n), dtype="float64")


def _extreme(values: pd.Series, rule: str, group: np.ndarray, here: np.ndarray, n: int) -> pd.Series:
    found = values.iloc[here].groupby(group[here]).agg(rule)
    return found.reindex(np.arange(n)).astype(values.dtype)


def _tell_differing(
    values: pd.Series,
    column: ColumnSpec,
    group: np.ndarray,
    here: np.ndarray,
    chosen: np.ndarray,
    n: int,
    table: str,
    where: Callable[[int], str],
    problems: Problems,
) -> None:
    """Tell keys whose rows hold different values: an error for `same`, a note for `first` and `last`."""
    codes = pd.factorize(values)[0]
    differs = here[codes[here] != codes[chosen[group[here]]]]
    if not len(differs):
        return
    keys, i = len(np.unique(group[differs])), int(differs[0])
    rule = column.combine
    told = f"{where(int(chosen[group[i]]))} and {where(i)}"
    shown = "" if column.personal else f": {mask_text(str(values.iloc[i]))}"
    if rule == "same":
        text = f"Rows that share their key hold different values of {replace(column, combine='').origin}."
        to_do = "Say which one counts, such as `combine: first`, `last`, `min`, `max` or `sum`."
        problems.add("error", table, column.name, text, rows=keys, of=n, example=told + shown, what_to_do=to_do)
    else:
        text = f"Keys whose rows hold different values; the {rule} was taken (`combine: {rule}`)."
        problems.add("note", table, column.name, text, rows=keys, of=n, example=told + shown)
