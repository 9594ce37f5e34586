"""The default model: three learners blended with the base rate, everything decided inside the training rows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from crmlab.calibration import choose_calibration
from crmlab.metrics import log_loss
from crmlab.schema import DataError

from .blend import BASE_RATE, beats_base_rate, blend, blend_weights
from .boosting import make_boosting
from .contract import Context, PlainEstimator, check_both_classes, outcomes
from .floors import RateTable
from .folds import inner_folds, newest_enough
from .forest import make_forest
from .linear import make_logistic
from .members import Fold, outcomes_ahead, remake, try_members
from .search import HistogramBoosting, TunedBoosting
from .selection import learnable_columns, strongest_columns

__all__ = ["ScoreModel", "make_models"]

_FEW = 40


class ScoreModel(PlainEstimator):
    """Logistic regression, random forest and XGBoost, blended with the base rate in logit space.

    logit(raw) = Σ weight · logit(member) + weight · logit(base rate): weights from 0 to 1 that add up to 1, with
    the lowest log loss on inner out-of-sample predictions (forward in time where the rows have an order). Settings of
    the members are chosen on them as well. Where the blend does not beat the base rate on them by a standard error,
    the base rate alone has weight; a calibration is added where a forward check on them shows that it helps.

    Parameters
    ----------
    seed : of every draw.

    Attributes
    ----------
    columns_ : names of the features fitted.
    base_rate_ : share of ones among the training rows.
    few_ : fewer than 40 rows of one class.
    members_ : name → fitted pipeline, also of those without weight. settings_ : name → what was chosen for it.
    weights_ : member or "base rate" → weight above 0.
    calibrator_ : fitted object of `calibration`, or None where none helps.
    inner_ : frame of model and inner log loss.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        """Fit members, weights and calibration."""
        self._look_at(X, y)
        order = _ordered(context.order, len(X))
        context = replace(context, order=order)
        inside = newest_enough(inner_folds(y, seed=self.seed, **vars(context)), y)
        folds = [self._fold(X, y, order, *fold) for fold in inside]
        trials = try_members(folds, seed=self.seed) if folds and all(len(f.X_fit.columns) for f in folds) else {}
        self._weigh(trials, folds, inside, context)
        taught = X[self._taught(X, y, order)]
        self.members_ = {name: trial.make(taught).fit(taught, y) for name, trial in trials.items()}
        self.settings_ = {name: trial.settings for name, trial in trials.items()}

    def refitted(self, X: pd.DataFrame, y: np.ndarray, *, order: np.ndarray | None = None) -> "ScoreModel":
        """Return a model with these settings, weights and calibration whose members are fitted on other rows.

        It costs one fit per member that has weight: nothing is chosen again. Parameters as in `fit`.
        """
        check_is_fitted(self)
        y = outcomes(y, n=len(X))
        check_both_classes(y)
        model = clone(self)
        model.classes_ = self.classes_
        model._look_at(X, y)
        model.weights_, model.settings_ = dict(self.weights_), dict(self.settings_)
        model.calibrator_, model.inner_ = self.calibrator_, self.inner_
        taught = X[self._taught(X, y, order)]
        weighty = [name for name in self.members_ if name in self.weights_]
        model.members_ = {n: remake(n, taught, self.settings_[n], seed=self.seed).fit(taught, y) for n in weighty}
        return model

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of the outcome, shape (rows,)."""
        p = self.raw_probability(X)
        return p if self.calibrator_ is None else self.calibrator_.transform(p)

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

    def _look_at(self, X: pd.DataFrame, y: np.ndarray) -> None:
        """Note the columns and how often the outcome occurs."""
        self.columns_ = _checked(X).columns.to_list()
        self.base_rate_, self.few_ = float(y.mean()), bool(np.bincount(y).min() < _FEW)

    def _taught(self, X: pd.DataFrame, y: np.ndarray, order: np.ndarray | None) -> list[str]:
        learnable = learnable_columns(X, order=order)
        return strongest_columns(X[learnable], y, seed=self.seed)

    def _fold(self, X: pd.DataFrame, y: np.ndarray, order: object, fit: np.ndarray, ahead: np.ndarray) -> Fold:
        part = X.iloc[fit]
        taught = self._taught(part, y[fit], None if order is None else np.asarray(order)[fit])
        return Fold(part[taught], y[fit], X.iloc[ahead][taught], y[ahead])

    def _weigh(self, trials: dict, folds: list[Fold], inside: list, context: Context) -> None:
        """Learn weights and calibration from the predictions of the rows ahead."""
        self.weights_, self.calibrator_ = {BASE_RATE: 1.0}, None
        self.inner_ = pd.DataFrame({"model": [BASE_RATE, "blend"], "inner log loss": [np.nan, np.nan]})
        if not trials:
            return
        rows = np.concatenate([ahead for _, ahead in inside])
        y, entities = outcomes_ahead(folds), rows if context.groups is None else np.asarray(context.groups)[rows]
        p = {name: trial.ahead for name, trial in trials.items()}
        p[BASE_RATE] = np.concatenate([np.full(len(f.y_ahead), f.y_fit.mean()) for f in folds])
        if beats_base_rate(p, y, entities, seed=self.seed):
            self.weights_ = {name: w for name, w in blend_weights(p, y).items() if w > 0}
            when = None if context.order is None else context.order[rows]
            raw = blend(p, self.weights_)
            setup = {"order": when, "groups": entities, "gap_days": context.gap_days, "seed": self.seed}
            chosen = choose_calibration(raw, y, **setup)
            self.calibrator_ = chosen.calibrator
        p["blend"] = blend(p, self.weights_)
        losses = [(name, log_loss(y, q)) for name, q in p.items()]
        self.inner_ = pd.DataFrame(losses, columns=["model", "inner log loss"])


def make_models(features: pd.DataFrame, *, seed: int, extra: bool = False) -> dict[str, Callable[[], object]]:
    """Return model name → maker of an unfitted estimator for these features, floors first.

    With `extra`, also those that only serve for comparison: scikit-learn's boosting and a tuned XGBoost.
    """
    models = {
        BASE_RATE: _base_rate,
        "source table": lambda: RateTable("source"),
        "logistic regression": lambda: make_logistic(features),
        "random forest": lambda: make_forest(features, seed=seed),
        "XGBoost": lambda: make_boosting(features, seed=seed),
    }
    more = {
        "sklearn boosting": lambda: HistogramBoosting(seed=seed),
        "XGBoost tuned": lambda: TunedBoosting(seed=seed),
    }
    return models | more if extra else models


def _base_rate() -> object:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def _ordered(order: np.ndarray | None, rows: int) -> np.ndarray | None:
    """Return the order; None where no row has one."""
    if order is None or pd.isna(np.asarray(order)).all():
        return None
    order = np.asarray(order)
    if len(order) != rows or pd.isna(order).any():
        raise DataError(
            "`order` must say for every row when it came, or for none.",
            found=f"{len(order):,} values for {rows:,} rows, {int(pd.isna(order).sum()):,} of them empty",
            remedy="leave the undated rows out, or leave `order` out.",
        )
    return order


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
