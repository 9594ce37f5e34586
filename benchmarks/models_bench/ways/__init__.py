"""The ways to fit and to score: name → function. A module holds ways that change together.

A way is a function `fit(train, budget_s, seed) -> (predict, told)`: `train` as in `task.Train`, `predict(X) -> (rows,)`
probabilities, `told` what the way says of itself (a mapping that JSON can hold). It never sees an outcome tested on.
"""

from collections.abc import Callable
from importlib import import_module

__all__ = ["BASE", "BUDGETED", "NULL_WAYS", "OWN", "PACKAGES", "PEERS", "WAYS", "find_way"]

WAYS: dict[str, str] = {
    "crmlab": "own:score_model",
    "base rate": "own:base_rate",
    "Odoo's method": "own:odoo",
    "Odoo's method, numbers in ten classes": "own:odoo_classes",
    "logistic regression": "plain:logistic",
    "random forest": "plain:forest",
    "XGBoost (defaults)": "plain:xgboost",
    "LightGBM (defaults)": "plain:lightgbm",
    "CatBoost (defaults)": "plain:catboost",
    "FLAML": "automl:flaml",
    "AutoGluon (medium quality)": "automl:autogluon_medium",
    "AutoGluon (best quality)": "automl:autogluon_best",
}
"""Name → module and function. Names of our own ways begin with "crmlab"."""

PACKAGES: dict[str, str] = {
    "crmlab": "crmlab",
    "base rate": "crmlab",
    "Odoo's method": "crmlab",
    "Odoo's method, numbers in ten classes": "crmlab",
    "logistic regression": "scikit-learn",
    "random forest": "scikit-learn",
    "XGBoost (defaults)": "xgboost",
    "LightGBM (defaults)": "lightgbm",
    "CatBoost (defaults)": "catboost",
    "FLAML": "flaml",
    "AutoGluon (medium quality)": "autogluon.tabular",
    "AutoGluon (best quality)": "autogluon.tabular",
}
"""Name → distribution whose version is told with the figures."""

OWN, BASE = "crmlab", "base rate"
PEERS = frozenset(way for way, place in WAYS.items() if place.startswith("automl:")) | {
    "LightGBM (defaults)",
    "CatBoost (defaults)",
}
"""Ways that need `.venv-models`; the others run where crmlab is installed."""
BUDGETED = frozenset(way for way, place in WAYS.items() if place.startswith("automl:"))
"""Ways that are told how long they may take; the others run to their end."""
NULL_WAYS = ("crmlab", "base rate")
"""Ways that are tried where there is nothing to be learned."""


def find_way(name: str) -> Callable[..., tuple]:
    """Return the function of a way; its module is imported only now."""
    module, function = WAYS[name].split(":")
    return getattr(import_module(f"models_bench.ways.{module}"), function)
