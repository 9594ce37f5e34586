"""Gradient-boosted trees whose number of rounds is chosen inside the training rows."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .columns import make_columns

__all__ = ["XGBoostRounds", "make_boosting"]


class XGBoostRounds(ClassifierMixin, BaseEstimator):
    """XGBoost whose number of rounds is chosen on the newest part of the training rows, then refitted on all.

    Parameters
    ----------
    seed : of row sampling.
    max_rounds : most rounds tried; they stop after `patience` rounds without a better log loss.
    max_depth, learning_rate, min_child_weight, subsample : the recipe measured best below 30,000 rows.
    """

    def __init__(
        self,
        seed: int = 0,
        max_rounds: int = 300,
        patience: int = 30,
        max_depth: int = 5,
        learning_rate: float = 0.05,
        min_child_weight: float = 5.0,
        subsample: float = 0.8,
    ) -> None:
        self.seed = seed
        self.max_rounds = max_rounds
        self.patience = patience
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.min_child_weight = min_child_weight
        self.subsample = subsample

    def fit(self, X: np.ndarray, y: np.ndarray, inner: tuple[np.ndarray, np.ndarray] | None = None) -> "XGBoostRounds":
        """Choose the rounds on `inner` = (older positions, newer positions) of the rows, then fit all rows.

        Without `inner`, the last fifth of the rows takes the part of the newer ones.
        """
        from xgboost import DMatrix, QuantileDMatrix, train

        X, y = np.asarray(X, dtype="float32"), np.asarray(y, dtype="float32")
        older, newer = inner if inner is not None else np.split(np.arange(len(y)), [int(0.8 * len(y))])
        # A plain matrix to measure on: XGBoost 3 reads a quantile matrix row by row, which takes three times as long.
        watched = [(DMatrix(X[newer], y[newer]), "newer")]
        settings, stop = self._settings(), {"early_stopping_rounds": self.patience, "verbose_eval": False}
        trial = train(settings, QuantileDMatrix(X[older], y[older]), self.max_rounds, evals=watched, **stop)
        self.n_rounds_ = trial.best_iteration + 1
        self.booster_ = train(settings, QuantileDMatrix(X, y), self.n_rounds_)
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probability of both classes, shape (rows, 2)."""
        check_is_fitted(self)
        p = self.booster_.inplace_predict(np.asarray(X, dtype="float32")).astype("float64")
        return np.column_stack([1 - p, p])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return 1 where conversion is more likely than not."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def _settings(self) -> dict[str, object]:
        return {
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "tree_method": "hist",
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "seed": self.seed,
            "nthread": 1,  # small fits on busy cores are many times slower with two threads
        }


def make_boosting(features: pd.DataFrame, *, seed: int, **settings: object) -> object:
    """Return unfitted boosted trees for frames such as `features`; `settings` are those of `XGBoostRounds`."""
    from sklearn.pipeline import make_pipeline

    return make_pipeline(make_columns(features, "passthrough"), XGBoostRounds(seed=seed, **settings))
