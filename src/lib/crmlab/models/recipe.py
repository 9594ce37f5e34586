"""The default model: three learners blended with the base rate, everything decided inside the training rows."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from crmlab.metrics import log_loss
from crmlab.schema import DataError, NotEnoughEvidence

from .blend import BASE_RATE, blend, blend_weights
from .boosting import make_boosting
from .floors import RateTable
from .folds import inner_folds
from .forest import make_forest
from .linear import make_logistic

__all__ = ["ScoreModel", "make_models"]

_FEW = 40


class ScoreModel(ClassifierMixin, BaseEstimator):
    """Logistic regression, random forest and XGBoost, blended with the base rate in logit space.

    logit(raw) = Σ weight · logit(member) + weight · logit(base rate): non-negative weights with the lowest log loss on
    inner out-of-sample predictions (forward in time where the rows have an order).

    Parameters
    ----------
    seed : of every draw.

    Attributes
    ----------
    columns_ : names of the features fitted.
    base_rate_ : share of ones among the training rows.
    few_ : fewer than 40 rows of one class.
    members_ : name → fitted pipeline, also of those without weight.
    weights_ : member or "base rate" → weight above 0.
    calibrator_ : fitted object of `calibration`, or None where none helps.
    inner_ : frame of model and inner log loss.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        *,
        order: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        gap_days: int = 0,
    ) -> "ScoreModel":
        """Fit members, weights and calibration.

        Parameters
        ----------
        X : features, shape (rows, columns). y : outcomes, 0 or 1, shape (rows,).
        order : date or running number of each row, old → new; None when unknown.
        groups : entity of each row; its rows never stand on both sides of an inner fold.
        gap_days : days between rows fitted and rows predicted inside; only with dates.

        Raises
        ------
        NotEnoughEvidence : one class only. DataError : infinite numbers, columns of one name.
        """
        y = _outcomes(y)
        self.columns_, self.classes_ = _checked(X).columns.to_list(), np.array([0, 1])
        self.base_rate_, self.few_ = float(y.mean()), bool(np.bincount(y).min() < _FEW)
        self.weights_, self.inner_ = self._blend_inside(X, y, order, groups, gap_days)
        self.members_ = {name: make().fit(X, y) for name, make in self._makers(X).items()}
        self.calibrator_ = None
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of both classes, shape (rows, 2)."""
        p = self.raw_probability(X)
        p = p if self.calibrator_ is None else self.calibrator_.transform(p)
        return np.column_stack([1 - p, p])

    def raw_probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the blend before calibration, shape (rows,)."""
        check_is_fitted(self)
        X = _checked(X, self.columns_)
        weighted = {name: member for name, member in self.members_.items() if name in self.weights_}
        probabilities = {name: member.predict_proba(X)[:, 1] for name, member in weighted.items()}
        probabilities[BASE_RATE] = np.full(len(X), self.base_rate_)
        return blend(probabilities, self.weights_)

    def member_probabilities(self, X: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return member → probabilities, shape (rows,)."""
        check_is_fitted(self)
        X = _checked(X, self.columns_)
        return {name: member.predict_proba(X)[:, 1] for name, member in self.members_.items()}

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return 1 where the outcome is more likely than not."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def _makers(self, X: pd.DataFrame) -> dict[str, Callable[[], object]]:
        return {name: make for name, make in make_models(X, seed=self.seed).items() if name in _MEMBERS}

    def _blend_inside(self, X: pd.DataFrame, y: np.ndarray, order: object, groups: object, gap_days: int) -> tuple:
        folds = inner_folds(y, order=order, groups=groups, gap_days=gap_days, seed=self.seed)
        if not folds:
            return {BASE_RATE: 1.0}, pd.DataFrame({"model": [BASE_RATE], "inner log loss": [np.nan]})
        makers = self._makers(X)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in [*makers, BASE_RATE]}
        for fit, ahead in folds:
            for name, make in makers.items():
                parts[name].append(make().fit(X.iloc[fit], y[fit]).predict_proba(X.iloc[ahead])[:, 1])
            parts[BASE_RATE].append(np.full(len(ahead), y[fit].mean()))
        inside = {name: np.concatenate(p) for name, p in parts.items()}
        outcomes = np.concatenate([y[ahead] for _, ahead in folds])
        weights = {name: w for name, w in blend_weights(inside, outcomes).items() if w > 0}
        inside["blend"] = blend(inside, weights)
        losses = [(name, log_loss(outcomes, p)) for name, p in inside.items()]
        return weights, pd.DataFrame(losses, columns=["model", "inner log loss"])


def make_models(features: pd.DataFrame, *, seed: int) -> dict[str, Callable[[], object]]:
    """Return model name → maker of an unfitted estimator for these features, floors first."""
    return {
        BASE_RATE: _base_rate,
        "source table": lambda: RateTable("source"),
        "logistic regression": lambda: make_logistic(features),
        "random forest": lambda: make_forest(features, seed=seed),
        "XGBoost": lambda: make_boosting(features, seed=seed),
    }


_MEMBERS = ("logistic regression", "random forest", "XGBoost")


def _base_rate() -> object:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def _outcomes(y: np.ndarray) -> np.ndarray:
    y = np.asarray(y).astype("int64")
    if len(np.unique(y)) < 2:
        raise NotEnoughEvidence(
            "There is only one kind of outcome: nothing tells the two apart.",
            found=f"{len(y):,} rows, all {'without' if not y.sum() else 'with'} the outcome",
            remedy="bring more history, or choose a horizon in which both happen.",
        )
    return y


def _checked(X: pd.DataFrame, columns: list[str] | None = None) -> pd.DataFrame:
    """Return the frame with the fitted columns, after a look at names and numbers."""
    if twice := X.columns[X.columns.duplicated()].unique().to_list():
        raise DataError("Features must have different names.", found=f"twice: {', '.join(map(str, twice))}")
    if missing := [c for c in columns or [] if c not in X]:
        raise DataError(
            "The frame lacks features that the model was fitted on.",
            found=f"not there: {', '.join(missing)}",
            remedy="build the features with the same catalog that the model was trained with.",
        )
    X = X if columns is None else X[columns]
    numbers = X.select_dtypes("number")
    endless = numbers.columns[np.isinf(numbers.to_numpy("float64", na_value=np.nan)).any(axis=0)].to_list()
    if endless:
        raise DataError(
            "Features must be finite numbers or gaps.",
            found=f"infinite: {', '.join(endless)}",
            remedy="a ratio with nothing below the line is a gap (NaN), not infinity.",
        )
    return X
