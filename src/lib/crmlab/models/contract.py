"""What estimators share: what they are told of rows, how outcomes are checked, what follows from `probability`."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from crmlab.schema import DataError, NotEnoughEvidence

__all__ = [
    "MISSING",
    "Context",
    "PlainEstimator",
    "check_both_classes",
    "fit_in_context",
    "log_odds",
    "newest_rows",
    "outcomes",
]

MISSING = "(missing)"
"""What a gap in a category is called."""


@dataclass(frozen=True)
class Context:
    """What is known of training rows beside their features.

    Attributes
    ----------
    order : date or running number of each row, old → new; None when unknown.
    groups : entity of each row, whose rows never stand on both sides of an inner fold; None when each is its own.
    gap_days : days between rows fitted and rows predicted inside; only with dates.
    """

    order: np.ndarray | None = None
    groups: np.ndarray | None = None
    gap_days: int = 0


class PlainEstimator(ClassifierMixin, BaseEstimator):
    """An estimator that says `_fit(X, y, context)` and `probability(X) -> (rows,)`; the rest follows from these."""

    def fit(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        *,
        order: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        gap_days: int = 0,
    ) -> Self:
        """Check the outcomes and learn from the rows.

        Parameters
        ----------
        X : features, shape (rows, columns). y : outcomes, 0 or 1, shape (rows,).
        order, groups, gap_days : see `Context`. Estimators that decide nothing inside take no notice of them.

        Raises
        ------
        NotEnoughEvidence : one class only. DataError : outcomes or features that make no sense.
        """
        y = outcomes(y, n=len(X))
        self._check_classes(y)
        self.classes_ = np.array([0, 1])
        self._fit(X, y, Context(order, groups, gap_days))
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of both classes, shape (rows, 2)."""
        check_is_fitted(self)
        p = self.probability(X)
        return np.column_stack([1 - p, p])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return 1 where the outcome is more likely than not."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def _check_classes(self, y: np.ndarray) -> None:
        check_both_classes(y)


def outcomes(y: np.ndarray, *, n: int) -> np.ndarray:
    """Return outcomes as 0 and 1, int64, shape (n,).

    Raises
    ------
    DataError : something else than 0 and 1, or not one per row.
    """
    values = np.asarray(y, dtype="float64")
    if values.shape != (n,) or not np.isin(values, (0, 1)).all():
        raise DataError("Outcomes must be 0 or 1, one per row.", found=f"shape {values.shape} for {n:,} rows")
    return values.astype("int64")


def check_both_classes(y: np.ndarray) -> None:
    """Check that both outcomes occur.

    Raises
    ------
    NotEnoughEvidence : one kind only, or no rows.
    """
    if len(np.unique(y)) < 2:
        raise NotEnoughEvidence(
            "There is only one kind of outcome: nothing tells the two apart.",
            found=f"{len(y):,} rows, all {'with' if np.any(y) else 'without'} the outcome",
            remedy="bring more history, or choose a horizon in which both happen.",
        )


def newest_rows(groups: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """Return the position of each entity's newest row, ascending; rows without a date count as oldest.

    >>> newest_rows(np.array(["a", "b", "a"]), np.array([2, 1, 1])).tolist()
    [0, 1]
    """
    rank = (
        np.arange(len(groups)) if order is None else pd.Series(np.asarray(order)).rank(method="first", na_option="top")
    )
    frame = pd.DataFrame({"group": np.asarray(groups), "rank": np.asarray(rank)})
    return np.sort(frame.groupby("group")["rank"].idxmax().to_numpy())


def log_odds(p: np.ndarray) -> np.ndarray:
    """Return log(p / (1 − p)).

    >>> float(log_odds(np.array([0.5]))[0])
    0.0
    """
    p = np.asarray(p, dtype="float64")
    return np.log(p) - np.log1p(-p)


def fit_in_context(
    model: object, X: pd.DataFrame, y: np.ndarray, *, order: object, groups: object, gap_days: int
) -> object:
    """Fit an estimator with as much of the context (order, groups, gap) as its `fit` takes."""
    context = {"order": order, "groups": groups, "gap_days": gap_days}
    return model.fit(X, y, **{name: value for name, value in context.items() if has_fit_parameter(model, name)})
