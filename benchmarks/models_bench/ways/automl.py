"""Tools that search by themselves, told to lower log loss within the budget on two cores."""

import tempfile

import numpy as np
import pandas as pd

from models_bench.task import Train, levels_of

__all__ = ["autogluon_best", "autogluon_medium", "flaml"]

_CORES = 2
_LABEL = "outcome tested"


def flaml(train: Train, budget_s: float, seed: int) -> tuple:
    """Let FLAML search for `budget_s` wall seconds."""
    from flaml import AutoML

    model = AutoML()
    model.fit(
        _objects(train.X),
        train.y,
        task="classification",
        metric="log_loss",
        time_budget=budget_s,
        n_jobs=_CORES,
        seed=seed,
        verbose=0,
        log_file_name="",
    )
    return lambda X: model.predict_proba(_objects(X))[:, 1], {"chosen": str(model.best_estimator)}


def autogluon_best(train: Train, budget_s: float, seed: int) -> tuple:
    """Let AutoGluon bag and stack for `budget_s` wall seconds."""
    # Its trial of whether stacking helps takes a quarter of the time and, with little of it, ends in an error.
    return _autogluon(train, budget_s, "best_quality", dynamic_stacking=False)


def autogluon_medium(train: Train, budget_s: float, seed: int) -> tuple:
    """Let AutoGluon fit and weigh single models within `budget_s` wall seconds."""
    return _autogluon(train, budget_s, "medium_quality")


def _autogluon(train: Train, budget_s: float, preset: str, **more: object) -> tuple:
    from autogluon.tabular import TabularPredictor

    predictor = TabularPredictor(
        _LABEL, problem_type="binary", eval_metric="log_loss", path=tempfile.mkdtemp(dir="."), verbosity=0
    )
    rows = _objects(train.X).assign(**{_LABEL: train.y})
    predictor.fit(rows, time_limit=budget_s, presets=preset, num_cpus=_CORES, num_gpus=0, **more)
    told = {"chosen": str(predictor.model_best), "models": len(predictor.model_names())}
    return lambda X: predictor.predict_proba(_objects(X))[1].to_numpy(), told


def _objects(X: pd.DataFrame) -> pd.DataFrame:
    return X.assign(**{name: X[name].astype("object").where(X[name].notna(), np.nan) for name in levels_of(X)})
