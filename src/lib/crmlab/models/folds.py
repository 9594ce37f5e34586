"""Inner folds of the training rows: forward in time where they have an order, else five groups at random."""

from itertools import pairwise

import numpy as np
import pandas as pd

__all__ = ["inner_folds", "newest_enough"]

Folds = list[tuple[np.ndarray, np.ndarray]]

_FORWARD_CUTS = (0.4, 0.6, 0.8, 1.0)
_RANDOM_FOLDS = 5
_FEWEST = 10
"""Fewest rows of either class in a fold's training part, and one of each in its test part."""


def inner_folds(
    y: np.ndarray, *, order: np.ndarray | None, groups: np.ndarray | None, gap_days: int, seed: int
) -> Folds:
    """Return (fit, predict) positions of each inner fold; no entity and no date stands on both sides.

    Dated or numbered rows: the oldest 40 % are fitted and the next 20 % predicted, then 60 % and 20 %, then 80 % and
    20 %. Of an entity on both sides the *newer* rows are left out: who is still open later depends on the outcome, so
    leaving out the older ones would tilt what is learned; leaving out the newer ones selects by age, which is known.
    A gap that leaves too little is dropped: all these labels were settled before the outer test begins.

    Parameters
    ----------
    y : outcomes, 0 or 1, shape (rows,).
    order : date or number of each row, old → new; None when unknown.
    groups : entity of each row; None when every row is its own.
    gap_days : days between the newest row fitted and the oldest predicted; only with dates.
    """
    names = np.arange(len(y)) if groups is None else pd.factorize(np.asarray(groups))[0]
    if order is None:
        folds = _random(names, seed)
    else:
        dated = np.issubdtype(np.asarray(order).dtype, np.datetime64)
        folds = _forward(np.asarray(order), names, gap_days) if gap_days and dated else []
        if not _enough(folds, y):
            folds = _forward(np.asarray(order), names, 0)
    return [fold for fold in folds if _enough([fold], y)]


def newest_enough(folds: Folds, y: np.ndarray, *, rows: int = 6_000, outcomes: int = 400) -> Folds:
    """Return the last folds, oldest of them first, that suffice to judge: more would cost time and hardly say more."""
    kept: Folds = []
    for fold in reversed(folds):
        kept.insert(0, fold)
        ahead = np.concatenate([y[predicted] for _, predicted in kept])
        if len(ahead) >= rows and np.bincount(ahead, minlength=2).min() >= outcomes:
            break
    return kept


def _random(names: np.ndarray, seed: int) -> Folds:
    fold_of = np.random.default_rng(seed).permutation(names.max() + 1) % _RANDOM_FOLDS
    return [(np.flatnonzero(fold_of[names] != k), np.flatnonzero(fold_of[names] == k)) for k in range(_RANDOM_FOLDS)]


def _forward(order: np.ndarray, names: np.ndarray, gap_days: int) -> Folds:
    cuts = np.sort(order)[[int(c * (len(order) - 1)) for c in _FORWARD_CUTS]]
    folds = []
    for start, end in pairwise(cuts):
        newest_fitted = start - np.timedelta64(gap_days, "D") if gap_days else start
        fit = order <= newest_fitted
        ahead = (order > start) & (order <= end) & ~np.isin(names, names[fit])
        folds.append((np.flatnonzero(fit), np.flatnonzero(ahead)))
    return folds


def _enough(folds: Folds, y: np.ndarray) -> bool:
    counts = [[np.bincount(y[part], minlength=2).min() for part in fold] for fold in folds]
    return bool(counts) and all(fitted >= _FEWEST and predicted >= 1 for fitted, predicted in counts)
