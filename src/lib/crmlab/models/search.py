"""Boosted trees for comparison: a budgeted search of XGBoost's settings, and scikit-learn's own trees."""

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from crmlab.metrics import log_loss
from crmlab.schema import NotEnoughEvidence

from .boosting import BoostingPart, make_boosting, try_boosting
from .columns import make_columns
from .contract import Context, PlainEstimator, outcomes
from .folds import inner_folds, newest_enough

__all__ = ["HistogramBoosting", "TunedBoosting", "search_boosting"]

_SPACE = {
    "max_depth": (2, 3, 4, 5, 6, 7, 9),
    "learning_rate": (0.02, 0.03, 0.05, 0.1),
    "min_child_weight": (1.0, 3.0, 5.0, 10.0, 20.0),
    "subsample": (0.5, 0.65, 0.8, 1.0),
    "colsample_bytree": (0.3, 0.5, 0.7, 1.0),
    "max_bin": (256, 1024),
}
_THINNED = 6_000
_HEAT, _LONGEST = 150, 1_500
_GO_ON = 3
"""One in so many settings is tried again on all rows."""
_HISTOGRAM_ROUNDS = 300


def search_boosting(
    X: pd.DataFrame,
    y: np.ndarray,
    *,
    n_trials: int,
    seed: int,
    order: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    gap_days: int = 0,
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Search XGBoost's settings by successive halving (Jamieson & Talwalkar 2016) on inner folds.

    All settings are first tried on at most 6,000 fitted rows and 150 rounds; the better third goes on to all rows and
    as many rounds as help.

    Parameters
    ----------
    X, y, order, groups, gap_days : as in `ScoreModel.fit`.
    n_trials : settings drawn. The recipe's own are tried besides.

    Returns
    -------
    Frame of trials (heat, the settings, n_rounds, inner log loss; best first, those that went on before the others),
    and the best settings.

    Raises
    ------
    NotEnoughEvidence : no inner fold holds enough outcomes.
    """
    y = outcomes(y, n=len(X))
    folds = newest_enough(inner_folds(y, order=order, groups=groups, gap_days=gap_days, seed=seed), y)
    if not folds:
        raise NotEnoughEvidence(
            "There are too few outcomes to choose settings inside the training rows.",
            found=f"{int(y.sum()):,} with the outcome among {len(y):,} rows",
            remedy="use the default recipe's settings.",
        )
    parts = [_part(X, y, fit, ahead) for fit, ahead in folds]
    generator = np.random.default_rng(seed)
    drawn = [_drawn(generator) for _ in range(n_trials)]
    drawn.insert(0, {"max_depth": 5, "colsample_bytree": 0.5})
    thinned = [_thinned(part, generator) for part in parts[-1:]]
    first = [try_boosting(thinned, settings, seed=seed, max_rounds=_HEAT) for settings in drawn]
    ranked = np.argsort([trial.loss for trial in first], kind="stable")[: max(1, len(drawn) // _GO_ON)]
    second = [try_boosting(parts, drawn[k], seed=seed, max_rounds=_LONGEST) for k in ranked]
    rows = [{"heat": 1, **t.settings, "inner log loss": t.loss} for t in first]
    rows += [{"heat": 2, **t.settings, "inner log loss": t.loss} for t in second]
    table = pd.DataFrame(rows).sort_values(["heat", "inner log loss"], ascending=[False, True], kind="stable")
    return table.reset_index(drop=True), min(second, key=lambda trial: trial.loss).settings


class TunedBoosting(PlainEstimator):
    """XGBoost with the settings that `search_boosting` finds.

    Parameters
    ----------
    n_trials : settings drawn. seed : of every draw.

    Attributes
    ----------
    settings_ : chosen. trials_ : table of the search. pipeline_ : fitted on all rows.
    """

    def __init__(self, n_trials: int = 20, seed: int = 0) -> None:
        self.n_trials = n_trials
        self.seed = seed

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        self.trials_, self.settings_ = search_boosting(X, y, n_trials=self.n_trials, seed=self.seed, **vars(context))
        self.pipeline_ = make_boosting(X, seed=self.seed, **self.settings_).fit(X, y)

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of the outcome, shape (rows,)."""
        check_is_fitted(self)
        return self.pipeline_.predict_proba(X)[:, 1]


class HistogramBoosting(PlainEstimator):
    """scikit-learn's histogram boosting, its rounds chosen on inner folds, then refitted on all rows.

    Parameters
    ----------
    seed : of its draws. learning_rate, max_leaf_nodes, min_samples_leaf : as in scikit-learn.

    Attributes
    ----------
    n_rounds_ : chosen. pipeline_ : fitted on all rows.
    """

    def __init__(
        self, seed: int = 0, learning_rate: float = 0.05, max_leaf_nodes: int = 15, min_samples_leaf: int = 20
    ) -> None:
        self.seed = seed
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        folds = inner_folds(y, seed=self.seed, **vars(context))
        self.n_rounds_ = self._rounds(X, y, *folds[-1]) if folds else 30
        self.pipeline_ = self._pipeline(X, self.n_rounds_).fit(X, y)

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of the outcome, shape (rows,)."""
        check_is_fitted(self)
        return self.pipeline_.predict_proba(X)[:, 1]

    def _rounds(self, X: pd.DataFrame, y: np.ndarray, fit: np.ndarray, ahead: np.ndarray) -> int:
        pipeline = self._pipeline(X.iloc[fit], _HISTOGRAM_ROUNDS).fit(X.iloc[fit], y[fit])
        staged = pipeline[-1].staged_predict_proba(pipeline[0].transform(X.iloc[ahead]))
        return int(np.argmin([log_loss(y[ahead], p[:, 1]) for p in staged])) + 1

    def _pipeline(self, X: pd.DataFrame, rounds: int) -> object:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.pipeline import make_pipeline

        settings = {"max_leaf_nodes": self.max_leaf_nodes, "min_samples_leaf": self.min_samples_leaf}
        trees = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate, max_iter=rounds, early_stopping=False, random_state=self.seed, **settings
        )
        # scikit-learn 1.9 cannot bin a column that holds nothing but gaps, as one may in the older rows.
        filled = X.loc[:, X.notna().any()]
        return make_pipeline(make_columns(filled, "passthrough"), trees)


def _drawn(generator: np.random.Generator) -> dict[str, object]:
    return {name: values[generator.integers(len(values))] for name, values in _SPACE.items()}


def _part(X: pd.DataFrame, y: np.ndarray, fit: np.ndarray, ahead: np.ndarray) -> BoostingPart:
    columns = make_columns(X.iloc[fit], "passthrough").fit(X.iloc[fit])
    A, B = (columns.transform(X.iloc[rows]).astype("float32") for rows in (fit, ahead))
    return BoostingPart(A, y[fit].astype("float32"), B, y[ahead].astype("float32"))


def _thinned(part: BoostingPart, generator: np.random.Generator) -> BoostingPart:
    kept = np.sort(generator.permutation(len(part.y_fit))[:_THINNED])
    return BoostingPart(part.X_fit[kept], part.y_fit[kept], part.X_ahead, part.y_ahead)
