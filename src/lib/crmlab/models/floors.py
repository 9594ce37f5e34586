"""What every model has to beat."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

__all__ = ["FLOORS", "RateTable"]

FLOORS = ("base rate", "source table")
_MISSING = "(missing)"


class RateTable(ClassifierMixin, BaseEstimator):
    """Conversion rate per level of one column, shrunk towards the overall rate.

    The rate of a level with n rows and k conversions is (k + prior·m) / (n + m), with m = `strength` rows: the
    posterior mean under a beta prior. Levels never seen, and frames without the column, get the overall rate.

    Parameters
    ----------
    column : the column to tabulate.
    strength : rows that the overall rate is worth.
    """

    def __init__(self, column: str = "source", strength: float = 50.0) -> None:
        self.column = column
        self.strength = strength

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "RateTable":
        """Count conversions per level."""
        y = np.asarray(y, dtype="float64")
        self.classes_ = np.array([0, 1])
        self.prior_ = float(y.mean())
        level = self._levels(X)
        counts = pd.Series(y).groupby(level.to_numpy()).agg(["sum", "size"])
        self.rates_ = (counts["sum"] + self.prior_ * self.strength) / (counts["size"] + self.strength)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of both classes, shape (rows, 2)."""
        check_is_fitted(self)
        p = self._levels(X).map(self.rates_).fillna(self.prior_).to_numpy("float64")
        return np.column_stack([1 - p, p])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return 1 where conversion is more likely than not."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def _levels(self, X: pd.DataFrame) -> pd.Series:
        if self.column not in X:
            return pd.Series("", index=X.index, dtype="str")
        return X[self.column].astype("str").fillna(_MISSING)
