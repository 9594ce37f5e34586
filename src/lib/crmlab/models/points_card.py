"""A points card as salespeople know it: a few features, a few bins, whole points that add up."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import chi2

from crmlab.schema import DataError, ParameterError

from .contract import MISSING, Context, PlainEstimator

__all__ = ["PointsCard"]

_OTHER = "(other)"
_PRIOR_ROWS = 20.0
"""Rows of the base rate that every bin's rate is mixed with."""
_SHORT_LIST = 40
_STEPS = 50
_SMALL = 1e-9


class PointsCard(PlainEstimator):
    """Whole points per bin of a few features; their sum gives the probability.

    Numbers are cut at quantiles of the training rows, categories by level; a gap is a bin of its own. Each bin's weight
    of evidence (log odds of its rate against the base rate) is weighed by one logistic regression over the features,
    scaled so that `points_to_double` points double the odds, and rounded (Siddiqi 2006, *Credit Risk Scorecards*).
    Features are added one at a time, the one that explains most of what the card still misses first, until none exceeds
    what the best of as many useless ones would. More points never mean a lower probability.

    Parameters
    ----------
    max_features : most features on the card.
    bins : most bins of a number, gaps aside.
    max_levels : most levels of a category, gaps and the rest aside.
    points_to_double : points that double the odds.
    fixed : a card given by hand instead: feature → {level, or number from which on: points}. Levels and gaps not named
        give 0 points. Only the link from points to probability is then learned.

    Attributes
    ----------
    features_ : names of the features on the card, the most telling first.
    points_ : feature → points per bin, int64: its bins in order, then others (categories only), then gaps.
    intercept_, slope_ : log odds = intercept + slope · points. slope is never negative.
    """

    def __init__(
        self,
        max_features: int = 12,
        bins: int = 5,
        max_levels: int = 8,
        points_to_double: float = 20.0,
        fixed: Mapping[str, Mapping] | None = None,
    ) -> None:
        self.max_features = max_features
        self.bins = bins
        self.max_levels = max_levels
        self.points_to_double = points_to_double
        self.fixed = fixed

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        """Choose features (ids are left out), weigh their bins, round; evidence counts by entity."""
        self.prior_ = float(y.mean())
        if self.fixed is None:
            self._learn(X, y, n_entities=len(y) if context.groups is None else pd.Series(context.groups).nunique())
        else:
            self._take_fixed(X)
        codes = {f: self._codes(X, f) for f in self.features_}
        self.rows_ = {f: np.bincount(c, minlength=len(self.points_[f])) for f, c in codes.items()}
        self.hits_ = {f: np.bincount(c, y, len(self.points_[f])).astype("int64") for f, c in codes.items()}
        self.mean_points_ = {f: float(self.points_[f][c].mean()) for f, c in codes.items()}
        self._link(self.points(X).to_numpy().sum(axis=1), y)

    def points(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the points of each row and feature, int64; a row's total is their sum."""
        parts = {f: self.points_[f][self._codes(X, f)] for f in self.features_}
        return pd.DataFrame(parts, index=X.index, dtype="int64")

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability, shape (rows,)."""
        return expit(self.intercept_ + self.slope_ * self.points(X).to_numpy().sum(axis=1))

    def log_odds_contributions(self, X: pd.DataFrame) -> tuple[float, pd.DataFrame]:
        """Return the log odds of a row of average points, and what each feature of each row adds; exactly additive."""
        mean = pd.Series(self.mean_points_, dtype="float64").reindex(self.features_)
        base = self.intercept_ + self.slope_ * float(mean.sum())
        return base, (self.points(X) - mean) * self.slope_

    def card(self) -> pd.DataFrame:
        """Return the card: feature, level, points, training rows and their rate; bins without rows are left out."""
        parts = [self._card_of(feature) for feature in self.features_]
        if not parts:
            return pd.DataFrame(columns=["feature", "level", "points", "rows", "rate"])
        return pd.concat(parts, ignore_index=True)

    def _card_of(self, feature: str) -> pd.DataFrame:
        columns = {"level": self._labels(feature), "points": self.points_[feature], "rows": self.rows_[feature]}
        part = pd.DataFrame(columns).assign(hits=self.hits_[feature]).query("rows > 0")
        part.insert(0, "feature", feature)
        return part.assign(rate=part["hits"] / part["rows"]).drop(columns="hits")

    def _learn(self, X: pd.DataFrame, y: np.ndarray, *, n_entities: int) -> None:
        self.bounds_, self.levels_ = self._cut(X)
        names = [*self.bounds_, *self.levels_]
        codes = {f: self._codes(X, f) for f in names}
        evidence = {f: _weight_of_evidence(c, y, self._n_bins(f), self.prior_) for f, c in codes.items()}
        share = n_entities / len(y)
        short = sorted(names, key=lambda f: -_information(codes[f], y, evidence[f], share))[:_SHORT_LIST]
        Z = np.column_stack([np.empty((len(y), 0)), *(evidence[f][codes[f]] for f in short)])
        worth = _worth(np.array([len(np.unique(codes[f])) - 1 for f in short]), n=max(len(names), 1)) / share
        chosen, weights = _add_forward(Z, y, worth, most=self.max_features)
        self.features_ = [short[k] for k in chosen]
        unit = self.points_to_double / np.log(2)
        self.points_ = {
            f: _whole_points(unit * w * evidence[f], codes[f]) for f, w in zip(self.features_, weights, strict=True)
        }
        self._forget_unused()

    def _take_fixed(self, X: pd.DataFrame) -> None:
        if missing := [f for f in self.fixed if f not in X]:
            raise DataError("The card names features that are not there.", found=f"not there: {', '.join(missing)}")
        self.features_ = list(self.fixed)
        numbers = [f for f in self.features_ if pd.api.types.is_numeric_dtype(X[f])]
        if wrong := [f for f in numbers if not all(isinstance(k, int | float) for k in self.fixed[f])]:
            raise ParameterError(
                "For a number the card must say from which value on.",
                found=f"words for {', '.join(wrong)}",
                remedy="write for example {0: 0, 3: 10}: 10 points from 3 on.",
            )
        self.bounds_ = {f: np.array(sorted(self.fixed[f]), dtype="float64") for f in numbers}
        self.levels_ = {f: [str(level) for level in self.fixed[f]] for f in self.features_ if f not in numbers}
        below = {f: [0, *(self.fixed[f][b] for b in sorted(self.fixed[f])), 0] for f in numbers}
        named = {f: [*self.fixed[f].values(), 0, 0] for f in self.levels_}
        self.points_ = {f: np.array((below | named)[f], dtype="int64") for f in self.features_}

    def _cut(self, X: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
        """Bounds of numbers and levels of categories; what does not vary is left out."""
        columns = [c for c in X if not str(c).endswith("_id")]
        numbers = [c for c in columns if pd.api.types.is_numeric_dtype(X[c])]
        bounds = {c: _bounds(X[c].to_numpy("float64", na_value=np.nan), self.bins) for c in numbers}
        counts = {c: X[c].astype("str").value_counts().head(self.max_levels) for c in columns if c not in bounds}
        levels = {c: n.index[n >= _PRIOR_ROWS].to_list() for c, n in counts.items()}
        varies = {c: len(b) > 0 or X[c].isna().any() for c, b in bounds.items()}
        return {c: b for c, b in bounds.items() if varies[c]}, {c: v for c, v in levels.items() if v}

    def _forget_unused(self) -> None:
        self.bounds_ = {f: b for f, b in self.bounds_.items() if f in self.points_}
        self.levels_ = {f: v for f, v in self.levels_.items() if f in self.points_}

    def _n_bins(self, feature: str) -> int:
        return len(self.bounds_[feature] if feature in self.bounds_ else self.levels_[feature]) + 2

    def _codes(self, X: pd.DataFrame, feature: str) -> np.ndarray:
        """Bin of each row: of a number its interval, then gaps; of a category its level, then others, then gaps."""
        if feature not in X:
            raise DataError("The frame lacks a feature of the card.", found=f"no column `{feature}`")
        if feature in self.bounds_:
            values = X[feature].to_numpy("float64", na_value=np.nan)
            code = np.searchsorted(self.bounds_[feature], values, side="right")
            return np.where(np.isnan(values), self._n_bins(feature) - 1, code)
        code = pd.Index(self.levels_[feature], dtype="object").get_indexer(X[feature].astype("str").astype("object"))
        other = len(self.levels_[feature])
        return np.where(X[feature].isna(), other + 1, np.where(code < 0, other, code))

    def _labels(self, feature: str) -> list[str]:
        if feature in self.levels_:
            return [*self.levels_[feature], _OTHER, MISSING]
        words = [f"{b:,.6g}" for b in self.bounds_[feature]]
        between = [f"{a} to below {b}" for a, b in pairwise(words)]
        return [f"below {words[0]}", *between, f"{words[-1]} or more", MISSING] if words else ["any value", MISSING]

    def _link(self, total: np.ndarray, y: np.ndarray) -> None:
        """Fit the intercept, and for a card given by hand the slope."""
        if self.fixed is None:
            self.slope_ = float(np.log(2) / self.points_to_double)
        else:
            spread = total.std() or 1.0
            weight = _logistic(((total - total.mean()) / spread)[:, None], y)[1]
            self.slope_ = float(max(weight, 0.0) / spread)
        self.intercept_ = _intercept(self.slope_ * total, self.prior_)


def _bounds(values: np.ndarray, bins: int) -> np.ndarray:
    """Lowest value of every bin but the first: what comes after the quantiles, so that many zeros make one bin."""
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return np.empty(0)
    cuts = np.quantile(known, np.arange(1, bins) / bins, method="lower")
    after = np.searchsorted(known, np.unique(cuts), side="right")
    return np.unique(known[after[after < len(known)]])


def _weight_of_evidence(code: np.ndarray, y: np.ndarray, n: int, prior: float) -> np.ndarray:
    """Log odds of each bin's shrunk rate against the base rate; 0 without rows."""
    hits, rows = np.bincount(code, y, n), np.bincount(code, minlength=n)
    return logit((hits + _PRIOR_ROWS * prior) / (rows + _PRIOR_ROWS)) - logit(prior)


def _information(code: np.ndarray, y: np.ndarray, evidence: np.ndarray, share: float) -> float:
    """Information value of a feature less what its bins would show by chance."""
    hits, rows = np.bincount(code, y, len(evidence)), np.bincount(code, minlength=len(evidence))
    n_hits, n_others = hits.sum(), rows.sum() - hits.sum()
    by_chance = ((rows > 0).sum() - 1) * (1 / n_hits + 1 / n_others) / share
    return float((hits / n_hits - (rows - hits) / n_others) @ evidence - by_chance)


def _worth(freedom: np.ndarray, *, n: int) -> np.ndarray:
    """Chi-square that the best of n useless features exceeds in one card of twenty."""
    return chi2.isf(0.05 / n, np.maximum(freedom, 1))


def _add_forward(Z: np.ndarray, y: np.ndarray, worth: np.ndarray, *, most: int) -> tuple[list[int], np.ndarray]:
    """Add the column with the largest score statistic while it exceeds its worth; weights stay positive."""
    chosen, left, weights = [], list(range(Z.shape[1])), np.empty(0)
    offset = np.full(len(y), logit(y.mean()))
    while left and len(chosen) < most:
        p = expit(offset)
        gains = _score_statistics(Z, y, p, chosen)[left]
        best = left[int(np.argmax(gains - worth[left]))]
        if gains[left.index(best)] < worth[best]:
            break
        left.remove(best)
        tried = _logistic(Z[:, [*chosen, best]], y)
        if (tried[1:] <= 0).any():
            continue  # it only counterbalances another: no card can be read with signs turned round
        chosen, weights = [*chosen, best], tried[1:]
        offset = tried[0] + Z[:, chosen] @ weights
    return chosen, weights


def _score_statistics(Z: np.ndarray, y: np.ndarray, p: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Rao's score statistic of adding each column to a fitted logistic regression; 0 where it would enter negative."""
    v = p * (1 - p)
    base = np.column_stack([np.ones(len(y)), Z[:, chosen]])
    weighted = base * v[:, None]
    explained = np.linalg.lstsq(weighted.T @ base, weighted.T @ Z, rcond=None)[0]
    left = v @ Z**2 - np.einsum("ij,ij->j", weighted.T @ Z, explained)
    slope = Z.T @ (y - p)
    return np.where((slope > 0) & (left > _SMALL * len(y)), slope**2 / np.maximum(left, _SMALL), 0.0)


def _logistic(Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Logistic regression by Newton's method with a ridge worth one row: intercept, then weights."""
    design = np.column_stack([np.ones(len(y)), Z])
    ridge = np.diag(np.r_[0.0, np.full(Z.shape[1], 0.25)])
    beta = np.r_[logit(y.mean()), np.zeros(Z.shape[1])]
    for _ in range(_STEPS):
        p = expit(design @ beta)
        slope = design.T @ (y - p) - ridge @ beta
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + ridge + _SMALL * np.eye(len(beta)), slope)
        beta = beta + step * min(1.0, 4.0 / max(np.abs(step).max(), _SMALL))
        if np.abs(step).max() < 1e-8:
            break
    return beta


def _whole_points(raw: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Round so that the worst bin seen has 0 points; a bin without rows gets the average."""
    rows = np.bincount(code, minlength=len(raw))
    points = np.rint(raw - raw[rows > 0].min())
    return np.where(rows > 0, points, np.rint(points[code].mean())).astype("int64")


def _intercept(log_odds: np.ndarray, rate: float) -> float:
    """Return the shift at which the mean probability is the base rate."""
    low, high = logit(rate) - log_odds.max() - 1, logit(rate) - log_odds.min() + 1
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(middle + log_odds).mean() < rate else (low, middle)
    return float((low + high) / 2)
