"""crmlab's default recipe, and the floors that it ships."""

import numpy as np
import pandas as pd

from models_bench.task import Train, levels_of

__all__ = ["base_rate", "odoo", "odoo_classes", "score_model"]

_CLASSES = 10


def score_model(train: Train, budget_s: float, seed: int) -> tuple:
    """Fit the default recipe. It is told the order and the entities of the rows, as every study of crmlab tells it."""
    from crmlab.models import ScoreModel

    model = ScoreModel(seed=seed)
    model.fit(train.X, train.y, order=train.order, groups=train.groups, gap_days=train.gap_days)
    calibrator = getattr(model, "calibrator_", None)
    told = {
        "weights": {name: round(float(w), 4) for name, w in model.weights_.items()},
        "calibration": type(calibrator).__name__ if calibrator is not None else None,
    }
    return lambda X: model.predict_proba(X)[:, 1], told


def base_rate(train: Train, budget_s: float, seed: int) -> tuple:
    """Give every row the share of ones among the training rows."""
    share = float(train.y.mean())
    return lambda X: np.full(len(X), share), {}


def odoo(train: Train, budget_s: float, seed: int) -> tuple:
    """Fit Odoo's predictive lead scoring as it is: numbers are not used."""
    from crmlab.models.odoo import OdooScoring

    fields = tuple(levels_of(train.X))
    model = OdooScoring(fields=fields).fit(train.X, train.y, order=train.order, groups=train.groups)
    return lambda X: model.predict_proba(X)[:, 1], {"fields": len(fields)}


def odoo_classes(train: Train, budget_s: float, seed: int) -> tuple:
    """Fit Odoo's method with each number cut into ten classes of the training rows, which Odoo itself does not do."""
    from crmlab.models.odoo import OdooScoring

    cuts = {
        name: np.unique(np.nanquantile(train.X[name], np.arange(1, _CLASSES) / _CLASSES))
        for name in train.X.columns.difference(levels_of(train.X), sort=False)
        if train.X[name].notna().any()
    }
    X = _classed(train.X, cuts)
    model = OdooScoring(fields=tuple(X.columns)).fit(X, train.y, order=train.order, groups=train.groups)
    return lambda X: model.predict_proba(_classed(X, cuts))[:, 1], {"fields": X.shape[1]}


def _classed(X: pd.DataFrame, cuts: dict[str, np.ndarray]) -> pd.DataFrame:
    texts = {
        name: pd.Series(np.searchsorted(cut, X[name]), index=X.index).astype("str").where(X[name].notna())
        for name, cut in cuts.items()
    }
    return X.assign(**texts)
