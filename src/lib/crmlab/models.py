"""Estimators behind one scikit-learn interface: floors first, then the learned ones.

Every model takes the frame of `features.build_features` as it is: numbers with gaps, categories as text.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

__all__ = ["FLOORS", "LevelOneHot", "RateTable", "SignedLog", "XGBoostRounds", "make_models"]

FLOORS = ("base rate", "source table")
_RARE = 10
"""Levels with fewer training rows are merged into one."""
_MISSING = "(missing)"
_TREE_ROWS = 15_000
"""Rows that one tree of the forest draws at most: more cost time and were measured to gain nothing."""


class RateTable(ClassifierMixin, BaseEstimator):
    """Conversion rate per level of one column, shrunk towards the overall rate.

    The rate of a level with n rows and k conversions is (k + prior·m) / (n + m), with m = `strength` rows: the
    posterior mean under a beta prior. Levels never seen, and frames without the column, get the overall rate.

    Parameters
    ----------
    column : the column to tabulate.
    strength : rows that the overall rate is worth.
    """

    def __init__(self, column: str = "source", strength: float = 50.0) -> None:
        self.column = column
        self.strength = strength

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "RateTable":
        """Count conversions per level."""
        y = np.asarray(y, dtype="float64")
        self.classes_ = np.array([0, 1])
        self.prior_ = float(y.mean())
        level = self._levels(X)
        counts = pd.Series(y).groupby(level.to_numpy()).agg(["sum", "size"])
        self.rates_ = (counts["sum"] + self.prior_ * self.strength) / (counts["size"] + self.strength)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of both classes, shape (rows, 2)."""
        check_is_fitted(self)
        p = self._levels(X).map(self.rates_).fillna(self.prior_).to_numpy("float64")
        return np.column_stack([1 - p, p])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return 1 where conversion is more likely than not."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def _levels(self, X: pd.DataFrame) -> pd.Series:
        if self.column not in X:
            return pd.Series("", index=X.index, dtype="str")
        return X[self.column].astype("str").fillna(_MISSING)


class SignedLog(TransformerMixin, BaseEstimator):
    """Tame long tails of counts and amounts: sign(x)·log(1 + |x|); gaps stay gaps."""

    def fit(self, X: np.ndarray, y: object = None) -> "SignedLog":
        """Do nothing but note the width."""
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the transformed numbers, same shape."""
        X = np.asarray(X, dtype="float64")
        return np.sign(X) * np.log1p(np.abs(X))

    def get_feature_names_out(self, names: object = None) -> np.ndarray:
        """Return the names unchanged."""
        return np.asarray(names, dtype=object)


class LevelOneHot(TransformerMixin, BaseEstimator):
    """One column per level of each category; missing is a level of its own, rare and unseen levels share one.

    The same as scikit-learn's OneHotEncoder with `min_frequency` and `infrequent_if_exist`, but on pandas' own text
    hashing: ten times faster on text columns when measured.

    Parameters
    ----------
    min_rows : levels with fewer training rows are merged.
    """

    def __init__(self, min_rows: int = _RARE) -> None:
        self.min_rows = min_rows

    def fit(self, X: pd.DataFrame, y: object = None) -> "LevelOneHot":
        """Note the levels of each column that are frequent enough, in the order of their names."""
        counts = {c: X[c].fillna(_MISSING).value_counts() for c in X}
        self.levels_ = {c: pd.Index(sorted(n.index[n >= self.min_rows])) for c, n in counts.items()}
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return zeros and ones, shape (rows, columns), float64."""
        check_is_fitted(self)
        return np.hstack([np.empty((len(X), 0)), *(self._one(X[c], kept) for c, kept in self.levels_.items())])

    def get_feature_names_out(self, names: object = None) -> np.ndarray:
        """Return names such as `source=web form`; the shared level is called `(other)`."""
        columns = [f"{c}={level}" for c, kept in self.levels_.items() for level in [*kept, "(other)"]]
        return np.asarray(columns, dtype=object)

    def _one(self, values: pd.Series, kept: pd.Index) -> np.ndarray:
        codes = kept.get_indexer(values.fillna(_MISSING))
        hot = np.zeros((len(values), len(kept) + 1))
        hot[np.arange(len(values)), codes] = 1.0  # -1, an unknown level, is the last column
        return hot


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


def make_models(features: pd.DataFrame, *, seed: int) -> dict[str, Callable[[], object]]:
    """Return model name → maker of an unfitted estimator for these features, floors first."""
    return {
        "base rate": _base_rate,
        "source table": lambda: RateTable("source"),
        "logistic regression": lambda: _logistic(features),
        "random forest": lambda: _forest(features, seed),
        "XGBoost": lambda: _boosting(features, seed),
    }


def _base_rate() -> object:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def _logistic(features: pd.DataFrame) -> object:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    numbers = make_pipeline(SignedLog(), impute, StandardScaler())
    # Many rows and few columns: Newton's method needs 5 steps where L-BFGS took 194, and a quarter of the time.
    return make_pipeline(_columns(features, numbers), LogisticRegression(C=0.1, solver="newton-cholesky"))


def _forest(features: pd.DataFrame, seed: int) -> object:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    numbers = SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True)
    share = min(1.0, _TREE_ROWS / len(features))
    forest = RandomForestClassifier(120, min_samples_leaf=10, max_samples=share, random_state=seed, n_jobs=1)
    return make_pipeline(_columns(features, numbers), forest)


def _boosting(features: pd.DataFrame, seed: int) -> object:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(_columns(features, "passthrough"), XGBoostRounds(seed=seed))


def _columns(features: pd.DataFrame, numbers: object) -> object:
    """Numbers through `numbers`, categories one-hot."""
    from sklearn.compose import ColumnTransformer

    numeric = features.select_dtypes("number").columns.to_list()
    text = features.columns.difference(numeric, sort=False).to_list()
    return ColumnTransformer([("numbers", numbers, numeric), ("levels", LevelOneHot(), text)], sparse_threshold=0.0)
