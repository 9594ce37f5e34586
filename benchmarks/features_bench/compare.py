"""Are two results equal? Counts exactly; the rest but for the last bits, because not every tool adds in one order."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from features_bench.task import FEATURES, INTEGERS, KEYS

__all__ = ["NONE_IN_COMMON", "TOLERANCE", "differences", "differences_of_files", "has_rows"]

Keys = tuple[np.ndarray, np.ndarray]
"""Leads and dates of a result's rows."""
NONE_IN_COMMON = "no row in common"
TOLERANCE = 1e-9
"""Relative difference up to which floats are equal."""
_SMALL = 1e-12
"""Absolute difference up to which they are, too: the ends of long decays."""


def differences(result: Path, wanted: Sequence[Mapping[str, float]]) -> list[str]:
    """Return what differs between a result and the plain reference, on the rows that both have; often nothing."""
    columns = {name: np.array([row[name] for row in wanted]) for name in (*KEYS, *FEATURES)}
    return _between(result, _keys(result), (columns["lead_id"], columns["as_of"]), columns.__getitem__, exact=False)


def differences_of_files(result: Path, wanted: Path, *, exact: bool = False) -> list[str]:
    """Return what differs between two results on the rows that both have; `exact`: to the last bit."""
    return _between(result, _keys(result), _keys(wanted), lambda name: _column(wanted, name), exact=exact)


def has_rows(result: Path, rows: Path) -> bool:
    """Return whether a result has exactly the rows asked for, each as often as it was asked for."""
    keys, asked = _keys(result), _keys(rows)
    order, wanted = np.lexsort(keys[::-1]), np.lexsort(asked[::-1])
    return len(order) == len(wanted) and all(
        np.array_equal(a[order], b[wanted]) for a, b in zip(keys, asked, strict=True)
    )


def _between(
    result: Path, keys: Keys, wanted_keys: Keys, wanted: Callable[[str], np.ndarray], *, exact: bool
) -> list[str]:
    places, wanted_places = _common(keys, wanted_keys)
    if not len(places):
        return [NONE_IN_COMMON]
    return _of_columns(result, lambda name: wanted(name)[wanted_places], places, exact=exact)


def _common(keys: Keys, wanted: Keys) -> tuple[np.ndarray, np.ndarray]:
    """Places of the rows that both have; of repeated ones, the first."""
    dates = np.union1d(keys[1], wanted[1])
    codes = [lead.astype(np.int64) * len(dates) + np.searchsorted(dates, date) for lead, date in (keys, wanted)]
    _, places, wanted_places = np.intersect1d(*codes, return_indices=True)
    return places, wanted_places


def _of_columns(result: Path, wanted: Callable[[str], np.ndarray], places: np.ndarray, *, exact: bool) -> list[str]:
    schema = pq.read_schema(result)
    found = []
    for name in FEATURES:
        kind = "int32" if name in INTEGERS else "double"
        if name not in schema.names:
            found.append(f"{name} is missing")
        elif str(schema.field(name).type) != kind:
            found.append(f"{name} is {schema.field(name).type}, not {kind}")
        else:
            values, right = _column(result, name)[places], wanted(name)
            close = dict(rtol=0.0, atol=0.0) if exact or kind == "int32" else dict(rtol=TOLERANCE, atol=_SMALL)
            wrong = ~np.isclose(values, right, equal_nan=True, **close)
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                found.append(f"{name}: {int(wrong.sum())} rows, such as {values[at]!r} instead of {right[at]!r}")
    return found


def _keys(path: Path) -> Keys:
    table = pq.read_table(path, columns=list(KEYS))
    return table["lead_id"].cast("int32").to_numpy(), table["as_of"].cast("timestamp[us]").cast("int64").to_numpy()


def _column(path: Path, name: str) -> np.ndarray:
    column = pq.read_table(path, columns=[name])[name]
    if column.null_count and str(column.type) == "double":
        column = column.fill_null(float("nan"))
    return column.to_numpy()
