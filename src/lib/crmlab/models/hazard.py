"""Deals as competing risks in discrete time: won, lost or still open, from any moment on.

A deal that is still open says that it was neither won nor lost so far. Trained on closed deals only, a model never
hears that, and what closes fast speaks too loudly. Here every deal stays among those at risk until its end or until the
data end, so P(won within h days) and P(ever won) come from the same fit.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from crmlab.crm import Crm, as_instant
from crmlab.schema import NotEnoughEvidence, ParameterError
from crmlab.snapshots.deals import closings_of

from .columns import SignedLog, make_columns
from .person_periods import (
    CAUSES,
    Cells,
    Shape,
    age_periods,
    cell_loss,
    fit_coefficients,
    hazards_of,
    lay_out,
    linear_predictor,
)

__all__ = ["EVENTS", "CompetingRisks", "outcome_times"]

EVENTS = ("open", *CAUSES)
LEARNERS = ("auto", "linear", "boosting")
_DAY = np.timedelta64(86_400_000_000, "us")
_FEW_WINS = 100
"""Below so many won cases trees are not tried."""
_NEWEST = 0.25
_LAST = 4
"""Periods whose mean hazards go on beyond the last one."""
_AGES = 104
_TREES = {
    "objective": "multi:softprob",
    "num_class": 3,
    "max_depth": 3,
    "learning_rate": 0.05,
    "min_child_weight": 100,
    "subsample": 0.5,
    "colsample_bynode": 0.1,
    "reg_lambda": 10.0,
    "tree_method": "hist",
    "nthread": 1,
}
"""Measured best of five on deals of the demo tested half a year later: log loss 0.470, linear 0.484, logistic 0.495."""


def outcome_times(crm: Crm, rows: pd.DataFrame, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
    """Return what was known at `as_of` of how each deal went on after the moment of its row.

    Parameters
    ----------
    rows : frame opportunity_id, as_of (the moment, before the study's `as_of`).

    Returns
    -------
    Frame with the index of `rows`: days (float, from the moment to the end or to `as_of`; 0 or less for a row that had
    already ended or lies after `as_of`), event (won, lost or open; a deal that closed nobody knows how is open until
    then).
    """
    now = as_instant(as_of)
    deals = closings_of(crm, as_of=now).deals.set_index("opportunity_id").reindex(rows["opportunity_id"])
    closed = deals["closed_at"].to_numpy().astype("datetime64[us]")
    end = np.where(np.isnat(closed), now.to_datetime64(), closed)
    days = (end - rows["as_of"].to_numpy().astype("datetime64[us]")) / _DAY
    result = deals["outcome"].where(deals["closed_at"].notna())
    event = pd.Series(result.to_numpy(dtype=object), index=rows.index, dtype="str").fillna("open")
    return pd.DataFrame({"days": days.astype("float64"), "event": event}, index=rows.index)


class CompetingRisks(ClassifierMixin, BaseEstimator):
    """Hazards of being won and of being lost per period, from features frozen at a moment.

    Parameters
    ----------
    seed : of the trees' row sampling.
    period_days : length of a period.
    max_days : cases are followed so long; beyond, the hazards of the last periods go on.
    horizon_days : what `predict_proba` speaks of.
    learner : `linear` (multinomial logit with smooth baselines of the time since the moment and of age), `boosting`
        (trees on person-periods), or `auto`: trees where they predict the newest quarter of the cases better than the
        linear model, and there are at least 100 wins.
    strength : penalty on the coefficients of the linear model.
    smoothness : penalty on the bends of its baselines; 0 leaves every period its own step.
    age : column of X with the age in days at the moment; not used where it hardly differs.
    n_rounds : rounds of boosting.
    max_cells : person-periods to fit at most; of more, whole cases are drawn. Three times as many were measured to gain
        nothing on weekly snapshots, which are much alike.
    """

    def __init__(
        self,
        seed: int = 0,
        period_days: int = 7,
        max_days: int = 540,
        horizon_days: int = 90,
        learner: str = "auto",
        strength: float = 3000.0,
        smoothness: float = 10.0,
        age: str = "age_days",
        n_rounds: int = 150,
        max_cells: int = 40_000,
    ) -> None:
        self.seed = seed
        self.period_days = period_days
        self.max_days = max_days
        self.horizon_days = horizon_days
        self.learner = learner
        self.strength = strength
        self.smoothness = smoothness
        self.age = age
        self.n_rounds = n_rounds
        self.max_cells = max_cells

    def fit(
        self,
        X: pd.DataFrame,
        days: np.ndarray,
        event: Sequence[str],
        *,
        order: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> "CompetingRisks":
        """Fit on cases observed for `days` after their moment.

        Parameters
        ----------
        X : (n, columns) features at the moment.
        days : (n,) positive; see `outcome_times`.
        event : (n,) won, lost or open (censored at `days`).
        order : (n,) old to new, for the choice of the learner; rows as they stand unless told.
        groups : (n,) deal of each case: all its cases count as new, or none.

        Raises
        ------
        NotEnoughEvidence : nothing was won, or nothing else happened.
        ParameterError : a learner or event that is not known, or days that are not positive.
        """
        days, code = np.asarray(days, dtype="float64"), _codes(event)
        self._check(days, code)
        self.n_periods_ = int(np.ceil(self.max_days / self.period_days))
        self.classes_, self.columns_ = np.array([0, 1]), _learnable(X)
        self.learner_ = self._choose(X, days, code, order, groups) if self.learner == "auto" else self.learner
        self.fitted_ = self._fitted(self.learner_, X[self.columns_], days, code)
        return self

    def fit_events(self, X: pd.DataFrame, times: pd.DataFrame, **context: np.ndarray) -> "CompetingRisks":
        """Fit on the rows of `outcome_times` that were open at their moment."""
        at_risk = (times["days"] > 0).to_numpy()
        kept = {name: np.asarray(values)[at_risk] for name, values in context.items() if values is not None}
        return self.fit(X[at_risk], times["days"][at_risk].to_numpy(), times["event"][at_risk], **kept)

    def hazards(self, X: pd.DataFrame, *, n_periods: int | None = None) -> np.ndarray:
        """Return the probability of being won and lost in each period, if still open: (2, n, periods).

        With `n_periods` only the first so many; trees are asked once per period, so that fewer take less time.
        """
        check_is_fitted(self)
        return self.fitted_.hazards(X[self.columns_], n_periods or self.n_periods_)

    def cumulative_incidence(self, X: pd.DataFrame, days: Sequence[float]) -> dict[str, np.ndarray]:
        """Return P(won) and P(lost) within each of `days`: cause → (n, len(days)).

        Inside a period the probability grows evenly; beyond the last one the mean hazards of the last periods go on.
        """
        periods = np.asarray(days, dtype="float64") / self.period_days
        needed = min(self.n_periods_, np.ceil(periods.max())) if len(periods) else 1
        return incidence_at(self.hazards(X, n_periods=max(int(needed), 1)), periods)

    def p_won(self, X: pd.DataFrame, *, within_days: float | None = None) -> np.ndarray:
        """Return (n,) P(won within so many days), or ever."""
        days = np.inf if within_days is None else within_days
        return self.cumulative_incidence(X, [days])["won"][:, 0]

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return P(not won) and P(won) within `horizon_days`, (n, 2)."""
        p = self.p_won(X, within_days=self.horizon_days)
        return np.column_stack([1 - p, p])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return 1 where a win within `horizon_days` is more likely than not."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def _check(self, days: np.ndarray, code: np.ndarray) -> None:
        if self.learner not in LEARNERS:
            raise ParameterError(f"`learner` must be one of {', '.join(LEARNERS)}.", found=repr(self.learner))
        if not (days > 0).all():
            raise ParameterError(
                "Cases must have been open for some time after their moment.",
                found=f"{int((~(days > 0)).sum()):,} of {len(days):,} with no positive number of days",
                remedy="leave out what had ended, as `fit_events` does.",
            )
        won = int((code == 1).sum())
        if won in (0, len(code)):
            raise NotEnoughEvidence(
                "Competing risks need deals that were won, and others.",
                found=f"{won:,} won of {len(code):,} cases",
                remedy="take a longer history or another label.",
            )

    def _choose(self, X: pd.DataFrame, days: np.ndarray, code: np.ndarray, order: object, groups: object) -> str:
        """Return the learner that predicts the newest cases better when it has seen only the older ones."""
        newest = _newest(len(code), order, groups)
        if (code[~newest] == 1).sum() < _FEW_WINS or (code[newest] > 0).sum() < _FEW_WINS:
            return "linear"
        X = X[self.columns_]
        losses = {}
        for name in LEARNERS[1:]:
            older = self._fitted(name, X[~newest], days[~newest], code[~newest])
            cells = self._cells(X[newest], days[newest], code[newest], ages=0)
            losses[name] = cell_loss(cells, older.hazards(X[newest], self.n_periods_))
        return min(losses, key=losses.get)

    def _cells(self, X: pd.DataFrame, days: np.ndarray, code: np.ndarray, *, ages: int) -> Cells:
        age = X[self.age].to_numpy() if ages else None
        sizes = {"period_days": self.period_days, "n_periods": self.n_periods_, "n_ages": ages}
        return lay_out(days, code, age_days=age, **sizes)

    def _fitted(self, learner: str, X: pd.DataFrame, days: np.ndarray, code: np.ndarray) -> "_Linear | _Trees":
        days, code, X = self._sampled(days, code, X)
        if learner == "boosting":
            cells = self._cells(X, days, code, ages=0)
            return _Trees(X, cells, self.n_periods_, self.period_days, self.age, self.seed, self.n_rounds)
        n_ages = self._n_ages(X)
        cells = self._cells(X, days, code, ages=n_ages)
        shape = Shape(self.n_periods_, n_ages, self.strength, self.smoothness)
        return _Linear(X, cells, shape, self.period_days, self.age)

    def _n_ages(self, X: pd.DataFrame) -> int:
        if self.age not in X:
            return 0
        periods = age_periods(X[self.age].to_numpy(), self.period_days)
        return 0 if periods.max() - periods.min() < 1 else int(min(periods.max() + self.n_periods_, _AGES))

    def _sampled(self, days: np.ndarray, code: np.ndarray, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, object]:
        """Draw cases so that they make about `max_cells` person-periods."""
        cells = np.clip(np.ceil(days / self.period_days), 1, self.n_periods_).sum()
        if cells <= self.max_cells:
            return days, code, X
        n = int(len(days) * self.max_cells / cells)
        drawn = np.sort(np.random.default_rng(self.seed).choice(len(days), n, replace=False))
        return days[drawn], code[drawn], X.iloc[drawn]


def incidence_at(hazards: np.ndarray, periods: np.ndarray) -> dict[str, np.ndarray]:
    """Return the cumulative incidence after so many (fractions of) periods: cause → (n, len(periods)).

    Parameters
    ----------
    hazards : (2, n, K) of `CompetingRisks.hazards`.
    periods : ascending or not; infinite for "ever".
    """
    n, k = hazards.shape[1:]
    stay = np.cumprod(1 - hazards.sum(axis=0), axis=1)
    before = np.concatenate([np.ones((n, 1)), stay[:, :-1]], axis=1)
    steps = np.concatenate([np.zeros((2, n, 1)), np.cumsum(hazards * before, axis=2)], axis=2)
    inside = np.clip(np.minimum(periods, k), 0, k)
    low = np.minimum(inside.astype(np.int64), k - 1)
    share = inside - low
    curve = steps[:, :, low] * (1 - share) + steps[:, :, low + 1] * share
    last = hazards[:, :, -_LAST:].mean(axis=2)
    leave = np.maximum(last.sum(axis=0), 1e-12)
    with np.errstate(invalid="ignore"):
        gone = 1 - np.power(1 - leave[:, None], np.maximum(periods - k, 0.0)[None, :])
    rest = np.where(periods > k, stay[:, -1:] * gone, 0.0)
    return {cause: curve[c] + rest * (last[c] / leave)[:, None] for c, cause in enumerate(CAUSES)}


class _Linear:
    """Multinomial logit on the design of the logistic regression, with smooth baselines."""

    def __init__(self, X: pd.DataFrame, cells: Cells, shape: Shape, period_days: int, age: str) -> None:
        self.columns = _design_columns(X).fit(X) if X.shape[1] else None
        self.shape, self.period_days, self.age = shape, period_days, age
        self.coefficients = fit_coefficients(cells, self._design(X), shape)

    def hazards(self, X: pd.DataFrame, n_periods: int) -> np.ndarray:
        start = age_periods(X[self.age].to_numpy(), self.period_days) if self.shape.n_ages else None
        return hazards_of(linear_predictor(self.coefficients, self.shape, self._design(X), start))[:, :, :n_periods]

    def _design(self, X: pd.DataFrame) -> np.ndarray:
        return np.zeros((len(X), 0)) if self.columns is None else self.columns.transform(X)


class _Trees:
    """Trees on person-periods: the features of the case, the period, and the age in it."""

    def __init__(self, X: pd.DataFrame, cells: Cells, n_periods: int, days: int, age: str, seed: int, n: int) -> None:
        from xgboost import QuantileDMatrix, train

        self.n_periods, self.period_days, self.age = n_periods, days, age
        self.columns = make_columns(X, "passthrough").fit(X)
        design = self._design(X)
        matrix = QuantileDMatrix(self._periods(design[cells.case], cells.period), cells.event, weight=cells.exposure)
        self.booster = train(_TREES | {"seed": seed}, matrix, n)

    def hazards(self, X: pd.DataFrame, n_periods: int) -> np.ndarray:
        design = self._design(X)
        parts = [self.booster.inplace_predict(self._periods(design, k)) for k in range(n_periods)]
        return np.stack([part[:, 1:] for part in parts], axis=-1).transpose(1, 0, 2).astype("float64")

    def _design(self, X: pd.DataFrame) -> np.ndarray:
        age = X[self.age].to_numpy("float64") if self.age in X else np.zeros(len(X))
        return np.column_stack([self.columns.transform(X), age, np.zeros(len(X))]).astype("float32")

    def _periods(self, design: np.ndarray, period: np.ndarray | int) -> np.ndarray:
        rows = np.array(design, copy=True)
        rows[:, -2] += np.asarray(period) * self.period_days
        rows[:, -1] = period
        return rows


def _design_columns(X: pd.DataFrame) -> object:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_columns(X, make_pipeline(SignedLog(), impute, StandardScaler()))


def _codes(event: Sequence[str]) -> np.ndarray:
    codes = pd.Index(EVENTS).get_indexer(pd.Index(np.asarray(event, dtype=object)))
    if (codes < 0).any():
        raise ParameterError(
            f"An event must be one of {', '.join(EVENTS)}.", found=f"{int((codes < 0).sum()):,} others"
        )
    return codes.astype(np.int8)


def _learnable(X: pd.DataFrame) -> list[str]:
    """Columns that differ at all."""
    distinct = X.nunique(dropna=False)
    return [column for column, n in distinct.items() if n > 1]


def _newest(n: int, order: object, groups: object) -> np.ndarray:
    """Return which cases belong to the newest quarter of the deals."""
    order = pd.Series(np.arange(n) if order is None else np.asarray(order))
    first = order if groups is None else order.groupby(np.asarray(groups)).transform("min")
    rank = first.rank(method="dense")
    return (rank > rank.quantile(1 - _NEWEST)).to_numpy()
