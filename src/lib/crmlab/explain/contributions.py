"""What each input column adds to a score, in log odds, adding up exactly to the score given."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from crmlab.models.blend import BASE_RATE
from crmlab.schema import DataError, ParameterError

from .layout import centres, source_columns
from .rescale import add_up, log_odds, points_of, through_calibration, to_log_odds
from .trees import forest_trees, tree_contributions

__all__ = ["Contributions", "contributions"]


@dataclass(frozen=True)
class Contributions:
    """Scores taken apart: `base + values.sum(axis=1) == logit` to rounding.

    Parameters
    ----------
    base : log odds that the model starts from, before it looks at a row: its mean over the training rows (trees,
    numbers) in log odds. Near the base rate, but not equal to it.
    values : rows × input columns of the model, log odds; index of the rows explained.
    logit : (rows,) log odds of the probability that the model gives.
    """

    base: float
    values: pd.DataFrame
    logit: np.ndarray

    @property
    def p(self) -> np.ndarray:
        """Probability of each row, shape (rows,)."""
        return expit(self.logit)

    @property
    def base_p(self) -> float:
        """Probability that the model starts from."""
        return float(expit(self.base))

    def points(self) -> pd.DataFrame:
        """Return contributions to the probability (0–1) by the rescale rule: row sums are p − base_p."""
        return _filled(self.values, points_of(self.base, self.values.to_numpy()))

    def grouped(self, group: pd.Series) -> "Contributions":
        """Return the sums of the columns of one group; `group`: input column → its group."""
        names = list(dict.fromkeys(group.loc[self.values.columns]))
        place = pd.Index(names).get_indexer(group.loc[self.values.columns])
        sums = self.values.to_numpy() @ np.eye(len(names))[place]
        return Contributions(self.base, pd.DataFrame(sums, index=self.values.index, columns=names), self.logit)


def contributions(model: object, X: pd.DataFrame, *, background: pd.DataFrame | None = None) -> Contributions:
    """Take the scores of a fitted model apart.

    - Logistic regression: coefficient × (value − training mean), exact.
    - XGBoost and random forest: exact Shapley values (TreeSHAP, path-dependent); the forest's, which are shares, are
      carried to log odds by the rescale rule. XGBoost computes in float32: the rest (below 1e-5 in probability) is
      shared out by size.
    - `ScoreModel`: weights × members; then through the calibrator by the rescale rule.
    - Any estimator may answer for itself: `log_odds_contributions(X) -> (base, DataFrame rows × columns)`.

    One-hot levels and missing indicators are summed back to their input column.

    Parameters
    ----------
    model : fitted `models.ScoreModel`, member pipeline, or floor.
    X : features, as the model was fitted on; more columns are allowed.
    background : rows whose mean the linear part starts from; without, the training mean that the model kept (the levels
    of a category count alike where it kept no shares).

    Raises
    ------
    DataError : columns of the model that are not there. ParameterError : a kind of model that cannot be taken apart.
    """
    if X.empty and len(X.columns):
        found = contributions(model, X.reindex(pd.RangeIndex(1)), background=background)
        return Contributions(found.base, found.values.head(0).set_axis(X.index), found.logit[:0])
    if hasattr(model, "members_"):
        return _of_blend(model, X, background)
    target = log_odds(np.clip(model.predict_proba(X)[:, 1], 1e-6, 1 - 1e-6))
    base, values = _of_member(model, X, background)
    return Contributions(base, _filled(values, add_up(base, values.to_numpy(), target)), target)


def _of_blend(model: object, X: pd.DataFrame, background: pd.DataFrame | None) -> Contributions:
    if missing := [c for c in model.columns_ if c not in X]:
        raise DataError(
            "The rows lack features that the model was fitted on.",
            found=f"not there: {', '.join(map(str, missing[:5]))}",
            remedy="build the features with the declarations that the model was trained with.",
        )
    X = X[model.columns_]
    background = None if background is None else background[model.columns_]
    weights = {name: w for name, w in model.weights_.items() if w and name in model.members_}
    base = model.weights_.get(BASE_RATE, 0.0) * float(log_odds(model.base_rate_)) + float(
        getattr(model, "intercept_", 0.0)
    )
    total = np.zeros((len(X), len(model.columns_)))
    for name, weight in weights.items():
        part = contributions(model.members_[name], X, background=background)
        base += weight * part.base
        total += weight * part.values.reindex(columns=model.columns_, fill_value=0.0).to_numpy()
    total = add_up(base, total, log_odds(model.raw_probability(X)))
    if model.calibrator_ is not None:
        base, total = through_calibration(base, total, model.calibrator_.transform)
    target = log_odds(model.predict_proba(X)[:, 1])
    frame = pd.DataFrame(add_up(base, total, target), index=X.index, columns=model.columns_)
    return Contributions(base, frame, target)


def _of_member(model: object, X: pd.DataFrame, background: pd.DataFrame | None) -> tuple[float, pd.DataFrame]:
    """Return base and log odds of one estimator or pipeline, by what it has."""
    if hasattr(model, "log_odds_contributions"):
        base, values = model.log_odds_contributions(X)
        return float(base), values
    steps = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    *before, last = steps
    kind = next((part for has, part in _KINDS.items() if hasattr(last, has)), None)
    if kind is None:
        raise ParameterError(
            "This kind of model cannot be taken apart.",
            found=type(last).__name__,
            remedy="give it a method `log_odds_contributions(X) -> (base, frame of log odds)`.",
        )
    base, values = kind(last, before, X, background)
    return base, pd.DataFrame(values, index=X.index, columns=X.columns)


def _of_linear(model: object, before: list, X: pd.DataFrame, background: pd.DataFrame | None) -> tuple:
    sources, Z = _transformed(before, X)
    coefficients = np.ravel(model.coef_)
    centre = centres(before, X) if background is None else _transformed(before, background)[1].mean(axis=0)
    base = float(np.ravel(model.intercept_)[0] + coefficients @ centre)
    return base, _summed((Z - centre) * coefficients, sources, X.shape[1])


def _of_boosting(model: object, before: list, X: pd.DataFrame, background: object) -> tuple:
    from xgboost import DMatrix

    booster = getattr(model, "booster_", None) or model.get_booster()
    sources, Z = _transformed(before, X)
    parts = booster.predict(DMatrix(Z.astype("float32")), pred_contribs=True, validate_features=False).astype("float64")
    return float(parts[0, -1]), _summed(parts[:, :-1], sources, X.shape[1])


def _of_forest(model: object, before: list, X: pd.DataFrame, background: object) -> tuple:
    sources, Z = _transformed(before, X)
    return to_log_odds(*tree_contributions(forest_trees(model), Z, sources, X.shape[1]))


def _of_prior(model: object, before: list, X: pd.DataFrame, background: object) -> tuple:
    prior = model.class_prior_[-1] if hasattr(model, "class_prior_") else model.prior_
    return float(log_odds(prior)), np.zeros(X.shape)


def _of_table(model: object, before: list, X: pd.DataFrame, background: object) -> tuple:
    """A table of rates: all of it is its column's; of several columns, each gets an equal part."""
    prior = model.prior_ if hasattr(model, "prior_") else model.alpha_ / (model.alpha_ + model.beta_)
    base, values = float(log_odds(prior)), np.zeros(X.shape)
    columns = [model.column] if isinstance(model.column, str) else list(model.column)
    at = X.columns.get_indexer([c for c in columns if c in X])
    values[:, at] = (log_odds(model.predict_proba(X)[:, 1]) - base)[:, None] / max(len(at), 1)
    return base, values


_KINDS: dict[str, Callable] = {
    "booster_": _of_boosting,
    "get_booster": _of_boosting,
    "coef_": _of_linear,
    "tree_": _of_forest,
    "estimators_": _of_forest,
    "class_prior_": _of_prior,
    "column": _of_table,
    "prior_": _of_prior,
}
"""What a fitted estimator has → how it is taken apart."""


def _transformed(before: list, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the input column of each column that the estimator sees, and what it sees."""
    sources, Z = source_columns(before, X), X
    for step in before:
        Z = step.transform(Z)
    return sources, np.asarray(Z, dtype="float64")


def _summed(values: np.ndarray, sources: np.ndarray, n: int) -> np.ndarray:
    sums = np.zeros((n, len(values)))
    np.add.at(sums, sources, values.T)
    return sums.T


def _filled(frame: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)
