"""What every model has to beat: the base rate, a table of rates, the owner's own probability, Odoo, a points card."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from crmlab.schema import DataError, ParameterError

from .contract import MISSING, Context, PlainEstimator
from .odoo import OdooScoring
from .points_card import PointsCard

__all__ = ["FLOORS", "BaseRate", "OwnerProbability", "RateTable", "floors_for"]

FLOORS = ("base rate", "source table")
"""Floors that every comparison of leads shows, first in its table."""

_LOWEST, _HIGHEST = 0.005, 0.995
_BETWEEN = " · "


class BaseRate(PlainEstimator):
    """The share of training rows with the outcome, for everybody."""

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        self.prior_ = float(y.mean())

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the base rate, shape (rows,)."""
        return np.full(len(X), self.prior_)


class RateTable(PlainEstimator):
    """Rate of the outcome per level of one column or per combination of several, shrunk towards the overall rate.

    The rate of a level with n rows and k outcomes is (k + prior·m) / (n + m), with m = `strength` rows: the
    posterior mean under a beta prior. Levels never seen, and frames without the columns, get the overall rate.

    Parameters
    ----------
    column : the column to tabulate, or several.
    strength : rows that the overall rate is worth.

    Attributes
    ----------
    prior_ : overall rate. levels_ : names of the levels, in order. rates_ : their shrunk rates. rows_ : their rows.
    """

    def __init__(self, column: str | tuple[str, ...] = "source", strength: float = 50.0) -> None:
        self.column = column
        self.strength = strength

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        self.prior_ = float(y.mean())
        counts = pd.Series(y).groupby(self._levels(X).to_numpy()).agg(["sum", "size"])
        self.levels_ = counts.index.to_list()
        self.rows_ = counts["size"].to_numpy()
        rates = (counts["sum"] + self.prior_ * self.strength) / (counts["size"] + self.strength)
        self.rates_ = rates.to_numpy("float64")

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the rate of each row's level, shape (rows,)."""
        code = pd.Index(self.levels_).get_indexer(self._levels(X))
        return np.append(self.rates_, self.prior_)[code]  # -1, an unknown level, is the last

    def _levels(self, X: pd.DataFrame) -> pd.Series:
        columns = [self.column] if isinstance(self.column, str) else list(self.column)
        if not set(columns) <= set(X):
            return pd.Series("", index=X.index, dtype="str")
        parts = [X[c].astype("str").fillna(MISSING) for c in columns]
        return parts[0] if len(parts) == 1 else parts[0].str.cat(parts[1:], sep=_BETWEEN)


class OwnerProbability(PlainEstimator):
    """The probability that the owner entered, taken at its word or read against what became of such deals.

    Taken at its word, a gap gets the base rate and the rest is kept within 0.005 and 0.995, because one deal entered as
    certain and lost would outweigh all others in the log loss. With `recalibrate`, the value is replaced by the rate of
    training rows in its tenth (shrunk towards the base rate): owners' order with honest probabilities, the stronger
    floor.

    Parameters
    ----------
    column : share between 0 and 1 as entered, with gaps.
    recalibrate : replace the value by the training rate of its tenth.
    bins : tenths, unless told otherwise; equal values stay together.
    strength : rows that the base rate is worth in each.

    Attributes
    ----------
    prior_ : base rate. edges_ : upper bounds of the tenths but the last. rates_ : their rates; the last is of gaps.
    """

    def __init__(
        self,
        column: str = "owner_probability",
        recalibrate: bool = False,
        bins: int = 10,
        strength: float = 10.0,
    ) -> None:
        self.column = column
        self.recalibrate = recalibrate
        self.bins = bins
        self.strength = strength

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        self.prior_ = float(y.mean())
        entered = self._entered(X)
        known = entered[np.isfinite(entered)]
        tenths = np.arange(1, self.bins) / self.bins
        cuts = np.quantile(known, tenths, method="lower") if len(known) else np.empty(0)
        self.edges_ = np.unique(cuts[cuts < known.max(initial=-1)])
        code, n = self._tenth(entered), len(self.edges_) + 2
        hits, rows = np.bincount(code, y, n), np.bincount(code, minlength=n)
        self.rates_ = (hits + self.prior_ * self.strength) / (rows + self.strength)

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability, shape (rows,)."""
        entered = self._entered(X)
        if self.recalibrate:
            return self.rates_[self._tenth(entered)]
        return np.where(np.isnan(entered), self.prior_, np.clip(entered, _LOWEST, _HIGHEST))

    def _tenth(self, entered: np.ndarray) -> np.ndarray:
        code = np.searchsorted(self.edges_, entered, side="left")
        return np.where(np.isnan(entered), len(self.edges_) + 1, code)

    def _entered(self, X: pd.DataFrame) -> np.ndarray:
        if self.column not in X:
            raise DataError("The owner's probability is not among the features.", found=f"no column `{self.column}`")
        entered = X[self.column].to_numpy("float64", na_value=np.nan)
        if ((entered < 0) | (entered > 1)).any():
            raise DataError(
                "The owner's probability must be a share between 0 and 1.",
                found=f"{np.nanmin(entered):g} to {np.nanmax(entered):g}",
                remedy="divide percentages by 100 where the source is mapped.",
            )
        return entered


def floors_for(X: pd.DataFrame) -> dict[str, Callable[[], PlainEstimator]]:
    """Return floor → maker of its unfitted estimator, for those floors that these features allow.

    Parameters
    ----------
    X : features of the training rows; only their columns and which of them hold more than one value matter.

    Raises
    ------
    ParameterError : no features.
    """
    if not len(X.columns):
        raise ParameterError("There are no features.", found="a frame without columns")
    several = {c for c in X if X[c].nunique(dropna=False) >= 2}
    floors: dict[str, Callable[[], PlainEstimator]] = {"base rate": BaseRate}
    if "source" in X:
        floors["source table"] = lambda: RateTable("source")
    if "stage" in several:
        floors["stage table"] = lambda: RateTable("stage")
    if "owner_probability" in several:
        floors["owner's probability"] = OwnerProbability
        floors["owner's probability, recalibrated"] = lambda: OwnerProbability(recalibrate=True)
    if any(not pd.api.types.is_numeric_dtype(X[c]) for c in several):
        floors["Odoo's method"] = OdooScoring
    if several:
        floors["points card"] = PointsCard
    return floors
