"""The members of the default recipe: each tries its settings on inner folds and says how it would be made."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.metrics import log_loss

from .boosting import BoostingPart, make_boosting, race_boosting
from .columns import make_columns
from .forest import make_forest
from .linear import elastic_net_path, make_elastic_net

__all__ = ["MEMBERS", "Fold", "Trial", "outcomes_ahead", "remake", "try_members"]

_STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_LASSO_SHARES = (0.0, 0.5)
_FORESTS = ({"leaf": 20}, {"leaf": 10, "share": 0.3})
_TRIED_TREES = 60
_CLOSE = 100
"""Up to as many transformed columns, costlier settings are tried: forests that look at a third of the columns at each
division, and deep boosting on fine ranges. Beyond, they take long and were measured to lose."""
_BOOSTINGS = (
    {"max_depth": 3, "colsample_bytree": 0.5},
    {"max_depth": 5, "colsample_bytree": 0.5},
)
_DEEP = {"max_depth": 9, "colsample_bytree": 0.5, "max_bin": 2048}
_DEEP_ROWS = 3_000


@dataclass(frozen=True)
class Fold:
    """Rows to fit on and newer rows to predict, with the columns that the former can teach from."""

    X_fit: pd.DataFrame
    y_fit: np.ndarray
    X_ahead: pd.DataFrame
    y_ahead: np.ndarray


@dataclass(frozen=True)
class Trial:
    """A member's best settings, its probabilities of the rows ahead (fold after fold), and how it is made."""

    settings: dict[str, object]
    ahead: np.ndarray
    make: Callable[[pd.DataFrame], object]


def try_members(folds: list[Fold], *, seed: int) -> dict[str, Trial]:
    """Return member → what it did on the folds with its best settings."""
    return {name: member(folds, seed) for name, member in MEMBERS.items()}


def remake(name: str, X: pd.DataFrame, settings: dict[str, object], *, seed: int) -> object:
    """Return the unfitted pipeline of a member with settings that were chosen before."""
    if name == "logistic regression":
        return make_elastic_net(X, **settings)
    make = make_forest if name == "random forest" else make_boosting
    return make(X, seed=seed, **settings)


def _try_linear(folds: list[Fold], seed: int) -> Trial:
    y, paths = outcomes_ahead(folds), {}
    for share in _LASSO_SHARES:
        paths |= {(share, C): p for C, p in zip(_STRENGTHS, _paths(folds, share), strict=True)}
    share, C = min(paths, key=lambda key: log_loss(y, paths[key]))
    settings = {"C": C, "l1_ratio": share}
    return Trial(settings, paths[share, C], lambda X: remake("logistic regression", X, settings, seed=seed))


def _paths(folds: list[Fold], share: float) -> list[np.ndarray]:
    """Return the probabilities of the rows ahead for each strength."""
    parts = []
    for fold in folds:
        columns = make_elastic_net(fold.X_fit)[0].fit(fold.X_fit)
        A, B = columns.transform(fold.X_fit), columns.transform(fold.X_ahead)
        models = elastic_net_path(A, fold.y_fit, _STRENGTHS, share)
        parts.append([model.predict_proba(B)[:, 1] for model in models])
    return [np.concatenate(p) for p in zip(*parts, strict=True)]


def _try_forest(folds: list[Fold], seed: int) -> Trial:
    y, tried = outcomes_ahead(folds), []
    wide = (
        make_columns(folds[-1].X_fit, "passthrough").fit_transform(folds[-1].X_fit.head(_DEEP_ROWS)).shape[1] > _CLOSE
    )
    for settings in _FORESTS[:1] if wide else _FORESTS:
        parts = []
        for fold in folds:
            model = make_forest(fold.X_fit, seed=seed, n_trees=_TRIED_TREES, **settings).fit(fold.X_fit, fold.y_fit)
            parts.append(model.predict_proba(fold.X_ahead)[:, 1])
        tried.append((settings, np.concatenate(parts)))
    settings, ahead = min(tried, key=lambda one: log_loss(y, one[1]))
    return Trial(settings, ahead, lambda X: remake("random forest", X, settings, seed=seed))


def _try_boosting(folds: list[Fold], seed: int) -> Trial:
    parts = []
    for fold in folds:
        columns = make_columns(fold.X_fit, "passthrough").fit(fold.X_fit)
        A, B = (columns.transform(X).astype("float32") for X in (fold.X_fit, fold.X_ahead))
        parts.append(BoostingPart(A, fold.y_fit.astype("float32"), B, fold.y_ahead.astype("float32")))
    rows, width = parts[-1].X_fit.shape
    deep = rows >= _DEEP_ROWS and width <= _CLOSE
    best = race_boosting(parts, [*_BOOSTINGS, *([_DEEP] if deep else [])], seed=seed)
    return Trial(best.settings, best.ahead, lambda X: remake("XGBoost", X, best.settings, seed=seed))


def outcomes_ahead(folds: list[Fold]) -> np.ndarray:
    """Return the outcomes of the rows ahead, fold after fold."""
    return np.concatenate([fold.y_ahead for fold in folds])


MEMBERS: dict[str, Callable[[list[Fold], int], Trial]] = {
    "logistic regression": _try_linear,
    "random forest": _try_forest,
    "XGBoost": _try_boosting,
}
"""Member → how its settings are tried."""
