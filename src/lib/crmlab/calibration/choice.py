"""Whether to calibrate, and how: a forward check with one rule for every data set."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.metrics import log_loss
from crmlab.schema import DataError

from .maps import EDGE, Beta, Isotonic, Shift, Sigmoid, check_outcomes

__all__ = ["CALIBRATORS", "Chosen", "choose_calibration"]

CALIBRATORS = {"shift": Shift, "sigmoid": Sigmoid, "beta": Beta, "isotonic": Isotonic}
"""Name → map, the one with the fewest parameters first."""

_NONE = "none"
_OLDER_SHARE = 0.6
_FEWEST = 30
"""Fewest converted, and fewest other, rows on either side of the check."""
_ISOTONIC_OUTCOMES = 100
_FOLDS = 5


@dataclass(frozen=True)
class Chosen:
    """The result of `choose_calibration`.

    Attributes
    ----------
    calibrator : the map fitted on all rows, or None where leaving the probabilities alone was no worse.
    name : `none`, or its key in `CALIBRATORS`.
    table : calibrator, log loss on the rows checked, difference from the one kept before it (negative is better),
        its standard error, kept; one row per map tried, `none` first.
    reason : in words, why.
    """

    calibrator: Shift | Sigmoid | Beta | Isotonic | None
    name: str
    table: pd.DataFrame
    reason: str


def choose_calibration(
    p: np.ndarray,
    y: np.ndarray,
    *,
    order: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    gap_days: int = 0,
    seed: int = 0,
) -> Chosen:
    """Choose a calibration from predictions made for rows that the model had not seen.

    A map fitted on the past harms when the base rate moves. So each is fitted on the older 60 % of the rows and
    measured on the newer ones; it is kept only if it lowers the log loss by more than the standard error of that
    difference, against the simpler map kept so far (none, shift, sigmoid, beta, isotonic, in this order). Undated rows
    are divided into five folds of whole entities instead. The map kept is fitted again on all rows.

    Parameters
    ----------
    p, y : out-of-sample probabilities and outcomes (0 or 1), shape (rows,).
    order : dates or running numbers, old to new; None where nothing is known.
    groups : entity of each row. No entity is on both sides of the check, and the standard error counts entities.
    gap_days : days between the newest row fitted and the oldest row measured, with dated `order`: the horizon.
    seed : of the folds of undated rows.

    Raises
    ------
    DataError : rows do not fit together; NotEnoughEvidence : all outcomes are the same.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> truth = generator.uniform(0.05, 0.6, 4000)
    >>> y = (generator.random(4000) < truth).astype(int)
    >>> choose_calibration(truth, y, order=np.arange(4000)).name
    'none'
    >>> choose_calibration(np.sqrt(truth), y, order=np.arange(4000)).calibrator is None
    False
    """
    p, y, _ = check_outcomes(p, y)
    groups = _codes(groups, len(p))
    parts = _folds(groups, seed) if order is None else _forward(np.asarray(order), groups, gap_days)
    parts = [(fit, check) for fit, check in parts if _enough(y[fit]) and _enough(y[check])]
    if not parts:
        return Chosen(None, _NONE, _as_table([]), "too few outcomes to check a calibration on newer rows")
    rows = np.concatenate([check for _, check in parts])
    kept, current = _NONE, np.clip(p[rows], EDGE, 1 - EDGE)
    tried = [(_NONE, log_loss(y[rows], current), np.nan, np.nan)]
    for name, kind in CALIBRATORS.items():
        if name == "isotonic" and min(y[fit].sum() for fit, _ in parts) < _ISOTONIC_OUTCOMES:
            continue
        moved = np.concatenate([kind().fit(p[fit], y[fit]).transform(p[check]) for fit, check in parts])
        difference, error = _paired(y[rows], moved, current, groups[rows])
        tried.append((name, log_loss(y[rows], moved), difference, error))
        if difference < -error:
            kept, current = name, moved
    calibrator = None if kept == _NONE else CALIBRATORS[kept]().fit(p, y)
    return Chosen(calibrator, kept, _as_table(tried, kept), _reason(kept))


def _reason(kept: str) -> str:
    if kept == _NONE:
        return "no calibration lowered the log loss on newer rows by more than its standard error"
    return f"{kept} calibration lowered the log loss on newer rows by more than its standard error"


def _as_table(tried: list[tuple], kept: str = _NONE) -> pd.DataFrame:
    names = ["calibrator", "log loss", "difference", "standard_error"]
    table = pd.DataFrame(tried, columns=names).astype(dict.fromkeys(names[1:], "float64"))
    return table.assign(kept=table["calibrator"] == kept)


def _codes(groups: np.ndarray | None, rows: int) -> np.ndarray:
    codes = np.arange(rows) if groups is None else pd.factorize(np.asarray(groups))[0]
    if len(codes) != rows:
        raise DataError("There must be one entity per row.", found=f"{len(codes):,} entities, {rows:,} rows")
    return codes


def _enough(y: np.ndarray) -> bool:
    return min(y.sum(), len(y) - y.sum()) >= _FEWEST


def _forward(order: np.ndarray, groups: np.ndarray, gap_days: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Older and newer rows, a gap between them; an entity in both is measured and not fitted."""
    if len(order) != len(groups) or pd.isna(order).any():
        raise DataError(
            "`order` must hold a date or number for every row.", found=f"{int(pd.isna(order).sum()):,} gaps"
        )
    cut = np.sort(order)[int(_OLDER_SHARE * len(order))]
    newer = order >= cut
    dated = np.issubdtype(order.dtype, np.datetime64)
    older = (order + np.timedelta64(gap_days, "D") <= cut) & ~newer if dated else ~newer
    older &= ~np.isin(groups, groups[newer])
    return [(np.flatnonzero(older), np.flatnonzero(newer))]


def _folds(groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    count = int(groups.max()) + 1
    fold = (np.random.default_rng(seed).permutation(count) % _FOLDS)[groups]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(_FOLDS)]


def _paired(y: np.ndarray, p: np.ndarray, q: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Mean log loss of `p` minus that of `q`, and the standard error of it when whole entities are drawn."""
    gap = np.where(y == 1, np.log(q) - np.log(p), np.log1p(-q) - np.log1p(-p))
    mean = gap.mean()
    per_entity = np.bincount(groups, gap - mean)
    return float(mean), float(np.sqrt(per_entity @ per_entity) / len(gap))
