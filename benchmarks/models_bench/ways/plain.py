"""Single models as their makers ship them. All get one seed and two threads, and no tuning."""

import numpy as np
import pandas as pd

from models_bench.task import Train, levels_of

__all__ = ["catboost", "forest", "lightgbm", "logistic", "xgboost"]

_THREADS = 2
_RARE = 10


def logistic(train: Train, budget_s: float, seed: int) -> tuple:
    """Fit scikit-learn's logistic regression on scaled numbers and one-hot levels."""
    from sklearn.linear_model import LogisticRegression

    return _piped(train, LogisticRegression(max_iter=2000))


def forest(train: Train, budget_s: float, seed: int) -> tuple:
    """Fit scikit-learn's random forest; with leaves of five, because those of one row give probabilities of 0."""
    from sklearn.ensemble import RandomForestClassifier

    trees = RandomForestClassifier(300, min_samples_leaf=5, n_jobs=_THREADS, random_state=seed)
    return _piped(train, trees)


def xgboost(train: Train, budget_s: float, seed: int) -> tuple:
    """Fit XGBoost with its defaults and native categories."""
    from xgboost import XGBClassifier

    model = XGBClassifier(enable_categorical=True, n_jobs=_THREADS, random_state=seed)
    return _with_categories(train, model)


def lightgbm(train: Train, budget_s: float, seed: int) -> tuple:
    """Fit LightGBM with its defaults and native categories."""
    from lightgbm import LGBMClassifier

    # It refuses some signs in names of columns.
    names = {name: f"c{k}" for k, name in enumerate(train.X)}
    model = LGBMClassifier(n_jobs=_THREADS, random_state=seed, verbosity=-1)
    return _with_categories(train, model, names)


def catboost(train: Train, budget_s: float, seed: int) -> tuple:
    """Fit CatBoost with its defaults and native categories."""
    from catboost import CatBoostClassifier

    levels = levels_of(train.X)

    def filled(X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(**{name: X[name].astype("object").where(X[name].notna(), "") for name in levels})

    model = CatBoostClassifier(
        thread_count=_THREADS, random_seed=seed, verbose=False, allow_writing_files=False, cat_features=levels
    )
    model.fit(filled(train.X), train.y)
    return lambda X: model.predict_proba(filled(X))[:, 1], {}


def _piped(train: Train, estimator: object) -> tuple:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    levels = levels_of(train.X)
    numbers = [name for name in train.X if name not in levels]
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    one_hot = OneHotEncoder(min_frequency=_RARE, handle_unknown="infrequent_if_exist")
    columns = ColumnTransformer(
        [("numbers", make_pipeline(impute, StandardScaler()), numbers), ("levels", one_hot, levels)]
    )
    model = make_pipeline(columns, estimator).fit(_objects(train.X, levels), train.y)
    return lambda X: model.predict_proba(_objects(X, levels))[:, 1], {}


def _objects(X: pd.DataFrame, levels: list[str]) -> pd.DataFrame:
    return X.assign(**{name: X[name].astype("object").where(X[name].notna(), np.nan) for name in levels})


def _with_categories(train: Train, model: object, names: dict[str, str] | None = None) -> tuple:
    """Fit a booster that takes categories; a level never seen in training is missing."""
    kinds = {name: sorted(train.X[name].dropna().unique()) for name in levels_of(train.X)}

    def prepared(X: pd.DataFrame) -> pd.DataFrame:
        coded = {
            name: pd.Categorical(X[name].where(X[name].isin(levels)), categories=levels)
            for name, levels in kinds.items()
        }
        return X.assign(**coded).rename(columns=names or {})

    model.fit(prepared(train.X), train.y)
    return lambda X: model.predict_proba(prepared(X))[:, 1], {}
