"""Gradient-boosted trees whose number of rounds is chosen inside the training rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .columns import make_columns

__all__ = ["BoostingPart", "BoostingTrial", "XGBoostRounds", "make_boosting", "race_boosting", "try_boosting"]

_HEAT = 200
"""Rounds after which settings are compared; only the best of them go on."""


class XGBoostRounds(ClassifierMixin, BaseEstimator):
    """XGBoost whose number of rounds is chosen on the newest part of the training rows, then refitted on all.

    Parameters
    ----------
    seed : of row sampling.
    max_rounds : most rounds tried; they stop after `patience` rounds without a better log loss.
    max_depth, learning_rate, min_child_weight, subsample : the recipe measured best below 30,000 rows.
    colsample_bytree : share of the columns that each tree sees.
    max_bin : ranges that a number is cut into; many keep money amounts apart that almost name a case.
    n_rounds : rounds when they were chosen elsewhere; nothing is chosen then.

    Attributes
    ----------
    booster_ : xgboost.Booster. n_rounds_ : its rounds.
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
        colsample_bytree: float = 1.0,
        max_bin: int = 256,
        n_rounds: int | None = None,
    ) -> None:
        self.seed = seed
        self.max_rounds = max_rounds
        self.patience = patience
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.min_child_weight = min_child_weight
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.max_bin = max_bin
        self.n_rounds = n_rounds

    def fit(self, X: np.ndarray, y: np.ndarray, inner: tuple[np.ndarray, np.ndarray] | None = None) -> "XGBoostRounds":
        """Choose the rounds on `inner` = (older positions, newer positions) of the rows, then fit all rows.

        Without `inner`, the last fifth of the rows takes the part of the newer ones.
        """
        from xgboost import QuantileDMatrix, train

        X, y = np.asarray(X, dtype="float32"), np.asarray(y, dtype="float32")
        self.n_rounds_ = self.n_rounds or self._choose_rounds(X, y, inner)
        self.booster_ = train(self._settings(), QuantileDMatrix(X, y, max_bin=self.max_bin), self.n_rounds_)
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

    def __getstate__(self) -> dict[str, object]:
        """Return plain values only: the booster as the bytes of its own format."""
        state = dict(super().__getstate__())
        if "booster_" in state:
            state["booster_"] = bytes(state["booster_"].save_raw("ubj"))
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        """Read the booster back; its predictions are the same bits."""
        state = dict(state)
        if "booster_" in state:
            from xgboost import Booster

            booster = Booster({"nthread": 1})
            booster.load_model(bytearray(state["booster_"]))
            state["booster_"] = booster
        super().__setstate__(state)

    def _choose_rounds(self, X: np.ndarray, y: np.ndarray, inner: tuple[np.ndarray, np.ndarray] | None) -> int:
        older, newer = inner if inner is not None else np.split(np.arange(len(y)), [int(0.8 * len(y))])
        part = BoostingPart(X[older], y[older], X[newer], y[newer])
        booster, _ = _watched(self._settings(), part, self.max_rounds, self.patience)
        return booster.best_iteration + 1

    def _settings(self) -> dict[str, object]:
        return {
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "tree_method": "hist",
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "max_bin": self.max_bin,
            "seed": self.seed,
            "nthread": 1,  # small fits on busy cores are many times slower with two threads
        }


@dataclass(frozen=True)
class BoostingPart:
    """Numbers to fit on and numbers to predict, float32, with their outcomes."""

    X_fit: np.ndarray
    y_fit: np.ndarray
    X_ahead: np.ndarray
    y_ahead: np.ndarray


@dataclass(frozen=True)
class BoostingTrial:
    """What a set of settings did on inner parts.

    Attributes
    ----------
    settings : of `XGBoostRounds`, the number of rounds among them. loss : mean log loss of the rows ahead.
    ahead : probabilities of the rows ahead, part after part. settled : more rounds were tried and were no better.
    """

    settings: dict[str, object]
    loss: float
    ahead: np.ndarray
    settled: bool


def try_boosting(
    parts: list[BoostingPart], settings: dict[str, object], *, seed: int, max_rounds: int, patience: int = 50
) -> BoostingTrial:
    """Return what `settings` do on the parts with the number of rounds that is best over all of them together."""
    raw = XGBoostRounds(seed=seed, **settings)._settings()
    fitted = [_watched(raw, part, max_rounds, patience) for part in parts]
    longest = max(len(curve) for _, curve in fitted)
    # A part that stopped early has passed its best; it counts on with its last loss.
    curves = [np.append(curve, np.full(longest - len(curve), curve[-1])) for _, curve in fitted]
    pooled = np.average(curves, axis=0, weights=[len(part.y_ahead) for part in parts])
    rounds = int(pooled.argmin()) + 1
    ahead = [_at(booster, part.X_ahead, rounds) for (booster, _), part in zip(fitted, parts, strict=True)]
    settled = longest < max_rounds or rounds + patience <= max_rounds
    return BoostingTrial({**settings, "n_rounds": rounds}, float(pooled.min()), np.concatenate(ahead), settled)


def race_boosting(
    parts: list[BoostingPart],
    candidates: list[dict[str, object]],
    *,
    seed: int,
    heat: int = 200,
    max_rounds: int = 3000,
) -> BoostingTrial:
    """Return the trial of the settings that lead after `heat` rounds, with as many rounds as help."""
    best = min((try_boosting(parts, c, seed=seed, max_rounds=heat) for c in candidates), key=lambda trial: trial.loss)
    if best.settled:
        return best
    settings = {name: value for name, value in best.settings.items() if name != "n_rounds"}
    return try_boosting(parts, settings, seed=seed, max_rounds=max_rounds)


def _watched(settings: dict[str, object], part: BoostingPart, max_rounds: int, patience: int) -> tuple:
    """Return a booster and its log loss ahead after each round."""
    from xgboost import DMatrix, QuantileDMatrix, train

    # A plain matrix to measure on: XGBoost 3 reads a quantile matrix row by row, which takes three times as long.
    watched, history = [(DMatrix(part.X_ahead, part.y_ahead), "ahead")], {}
    fitted = QuantileDMatrix(part.X_fit, part.y_fit, max_bin=settings["max_bin"])
    stop = {"early_stopping_rounds": patience, "verbose_eval": False, "evals_result": history}
    booster = train(settings, fitted, max_rounds, evals=watched, **stop)
    return booster, np.asarray(history["ahead"]["logloss"])


def _at(booster: object, X: np.ndarray, rounds: int) -> np.ndarray:
    last = min(rounds, booster.num_boosted_rounds())
    return booster.inplace_predict(X, iteration_range=(0, last)).astype("float64")


def make_boosting(features: pd.DataFrame, *, seed: int, **settings: object) -> object:
    """Return unfitted boosted trees for frames such as `features`; `settings` are those of `XGBoostRounds`."""
    from sklearn.pipeline import make_pipeline

    return make_pipeline(make_columns(features, "passthrough"), XGBoostRounds(seed=seed, **settings))
