"""Two proofs by computing again: without the future, and with another future. Not one bit of a feature may change."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.features import build_features
from crmlab.schema import DataError, ParameterError

from .future import misleading_future

__all__ = ["Build", "permuted_changes", "permuted_future_table", "truncation_changes", "truncation_table"]

Build = Callable[[Crm, pd.DataFrame], pd.DataFrame]
"""How features are computed: from a CRM and rows to a frame, row for row."""

_ENOUGH_ROWS = 50
_COLUMNS = ["as_of", "rows", "features", "changed", "changed_features"]


def truncation_table(
    crm: Crm,
    rows: pd.DataFrame,
    features: pd.DataFrame,
    *,
    n_dates: int,
    declarations: Sequence[object] | None = None,
    build: Build | None = None,
) -> pd.DataFrame:
    """Delete everything at or after a date, compute that date's features again, and count the bits that changed.

    Parameters
    ----------
    rows, features : row for row the same (entity, as_of), as the study uses them.
    n_dates : how many dates to check, spread evenly over those of the rows. A date with fewer than 50 rows is checked
        together with the newest rows before it, back to the date checked before.
    declarations : of the features; None for those that `build_features` makes by itself.
    build : computes the features instead of `build_features`; it gets a CRM and rows.

    Returns
    -------
    Frame: as_of, rows, features, changed (values that differ; 0 means that nothing leaked on that date) and
    changed_features (their names, separated by commas).

    Raises
    ------
    DataError : `rows` and `features` do not belong together.
    ParameterError : `n_dates` is not positive.
    """
    _check_alike(rows, features)
    return _summed(truncation_changes(crm, rows, features, n_dates=n_dates, build=build or _declared(declarations)))


def permuted_future_table(
    crm: Crm,
    rows: pd.DataFrame,
    features: pd.DataFrame | None = None,
    *,
    n_dates: int,
    seed: int,
    declarations: Sequence[object] | None = None,
    build: Build | None = None,
) -> pd.DataFrame:
    """Replace everything at or after a date by misleading facts (`misleading_future`) and compute its features again.

    Deleting the future empties a leak; putting other facts there also shows leaks that only act when there is something
    to see, such as a fact at the very instant of the date, or an old event that was entered late.

    Parameters
    ----------
    rows : frame with the entity's key and as_of.
    features : row for row those of `rows`; None computes them.
    n_dates, declarations, build : as in `truncation_table`.
    seed : of the other future.

    Returns
    -------
    Frame: as_of, rows, features, changed, changed_features, as in `truncation_table`.
    """
    build = build or _declared(declarations)
    if features is not None:
        _check_alike(rows, features)
    return _summed(permuted_changes(crm, rows, features, n_dates=n_dates, seed=seed, build=build))


def truncation_changes(
    crm: Crm, rows: pd.DataFrame, features: pd.DataFrame, *, n_dates: int, build: Build
) -> list[tuple[pd.Timestamp, int, pd.Series]]:
    """Return for each date checked the number of rows, and per feature the values that changed without the future."""
    found, cut = [], crm
    # Backwards, so that every cut starts from the smaller one before it.
    for date, here in reversed(list(_picked(rows, n_dates))):
        cut = cut.cut(as_of=date)
        found.append((date, len(here), _differences(features.iloc[here], build(cut, rows.iloc[here]))))
    return found[::-1]


def permuted_changes(
    crm: Crm, rows: pd.DataFrame, features: pd.DataFrame | None, *, n_dates: int, seed: int, build: Build
) -> list[tuple[pd.Timestamp, int, pd.Series]]:
    """Return for each date checked the number of rows, and per feature the values that changed with another future."""
    found = []
    for date, here in _picked(rows, n_dates):
        asked = rows.iloc[here]
        expected = build(crm, asked) if features is None else features.iloc[here]
        again = build(misleading_future(crm, as_of=date, seed=seed), asked)
        found.append((date, len(here), _differences(expected, again)))
    return found


def _declared(declarations: Sequence[object] | None) -> Build:
    if declarations is None:
        return build_features
    return lambda crm, rows: build_features(crm, rows, features=tuple(declarations))


def _check_alike(rows: pd.DataFrame, features: pd.DataFrame) -> None:
    if len(rows) != len(features) or not rows.index.equals(features.index):
        raise DataError(
            "Rows and features do not belong together.",
            found=f"{len(rows):,} rows and {len(features):,} rows of features, or another index",
            remedy="build the features from the same rows.",
        )


def _picked(rows: pd.DataFrame, n_dates: int) -> Iterator[tuple[pd.Timestamp, np.ndarray]]:
    """Yield dates spread evenly, each with the positions of the rows to check."""
    if isinstance(n_dates, bool) or n_dates < 1:
        raise ParameterError("`n_dates` must be a positive whole number.", found=repr(n_dates), remedy="write 6.")
    order = np.argsort(rows["as_of"].to_numpy(), kind="stable")
    times = rows["as_of"].to_numpy()[order]
    times = times[~np.isnat(times)]
    dates, ends = np.unique(times, return_index=True)[0], np.r_[np.flatnonzero(times[1:] != times[:-1]) + 1, len(times)]
    if not len(dates):
        return
    before = 0
    for k in np.unique(np.linspace(0, len(dates) - 1, min(n_dates, len(dates))).astype(int)):
        first = ends[k - 1] if k else 0
        start = min(first, max(before, ends[k] - _ENOUGH_ROWS))
        yield pd.Timestamp(dates[k]), np.sort(order[start : ends[k]])
        before = ends[k]


def _summed(changes: list[tuple[pd.Timestamp, int, pd.Series]]) -> pd.DataFrame:
    rows = [(date, n, len(c), int(c.sum()), ", ".join(c.index[c > 0])) for date, n, c in changes]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _differences(expected: pd.DataFrame, found: pd.DataFrame) -> pd.Series:
    """Values of each feature that differ; a feature that is lacking on one side counts as one of gaps."""
    names = [*expected, *(c for c in found if c not in expected)]
    gaps = pd.Series(np.nan, index=expected.index)
    differ = [~_same(expected.get(c, gaps).to_numpy(), found.get(c, gaps).to_numpy()) for c in names]
    return pd.Series([int(d.sum()) for d in differ], index=names, dtype="int64")


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Equal to the last bit, a gap being equal to a gap."""
    both_gaps = pd.isna(a) & pd.isna(b)
    if a.dtype.kind == b.dtype.kind == "f":
        a, b = a.astype("float64").view("int64"), b.astype("float64").view("int64")
    return both_gaps | np.asarray(a == b, dtype=bool)
