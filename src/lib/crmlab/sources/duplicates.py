"""Rows that share their key: left out by a stated rule, or told as an error."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from crmlab.schema import TABLES

from .problems import Problems, mask_text
from .specs import TableSpec

__all__ = ["rows_without_duplicates"]

_RULES = "`duplicates: drop_identical`, `keep_first` or `keep_last`"


def rows_without_duplicates(
    entry: TableSpec, frame: pd.DataFrame, where: Callable[[int], str], problems: Problems
) -> np.ndarray:
    """Return which rows to keep (boolean) under the entry's `duplicates:` rule; rows without a key are kept.

    Parameters
    ----------
    where : says where a row stands in the file.
    problems : told how many rows were left out, and, as an error, which still share their key.
    """
    key = list(TABLES[entry.table].key)
    keep = np.ones(len(frame), dtype=bool)
    if not set(key) <= set(frame):
        return keep
    given = frame[key].notna().all(axis=1).to_numpy()
    identical = frame.duplicated(keep="first").to_numpy() & given
    keep &= ~_dropped(entry.duplicates, frame, key, identical, given)
    if not keep.all():
        text = f"Rows that repeat a key were left out (`duplicates: {entry.duplicates}`)."
        problems.add("warning", entry.table, " and ".join(key), text, rows=int((~keep).sum()), of=len(frame))
    _tell_repeated(entry.table, frame, key, keep & given, identical, where, problems)
    return keep


def _dropped(rule: str, frame: pd.DataFrame, key: list[str], identical: np.ndarray, given: np.ndarray) -> np.ndarray:
    if rule == "drop_identical":
        return identical
    if rule in ("keep_first", "keep_last"):
        return frame.duplicated(key, keep=rule.removeprefix("keep_")).to_numpy() & given
    return np.zeros(len(frame), dtype=bool)


def _tell_repeated(
    table: str,
    frame: pd.DataFrame,
    key: list[str],
    rows: np.ndarray,
    identical: np.ndarray,
    where: Callable[[int], str],
    problems: Problems,
) -> None:
    repeated = np.zeros(len(frame), dtype=bool)
    repeated[rows] = frame.loc[rows, key].duplicated(keep=False).to_numpy()
    if not repeated.any():
        return
    first = frame.loc[int(repeated.argmax()), key]
    alike = np.flatnonzero((frame[key] == first).all(axis=1).to_numpy() & repeated)[:3]
    same = int((identical & repeated).sum())
    problems.add(
        "error",
        table,
        " and ".join(key),
        f"Rows share their key with another ({same:,} of the repeats are identical rows, the others differ).",
        rows=int(repeated.sum()),
        of=len(frame),
        example=f"{', '.join(where(int(i)) for i in alike)}: {mask_text(str(first.iloc[0]))}",
        what_to_do=f"Remove them from the file, state a rule ({_RULES}), or choose a key that tells them apart.",
    )
