"""Models for firms with few closed deals: what little is known is shrunk towards what is known better."""

from itertools import product

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve, cholesky
from scipy.special import betainc, betaln, expit, logit, ndtr

from crmlab.schema import DataError, NotEnoughEvidence, ParameterError

from .contract import MISSING, Context, PlainEstimator, check_both_classes

__all__ = ["FEW_OUTCOMES", "HierarchicalLogistic", "ShrunkenRates"]

FEW_OUTCOMES = 40
"""Below so many cases of either outcome these models take the place of the learned ones (Dynamics 365's minimum)."""

_MEANS = np.linspace(0.01, 0.99, 50)
_STRENGTHS = np.geomspace(1, 1000, 25)
_NEGLIGIBLE = 1e-5
_TAILS = (0.025, 0.975)
_BISECTIONS = 24
_OWN_SD = 2.0
"""Spread of the intercept, in log odds, around the firm's own rate when no prior is given: hardly binding."""
_SPREADS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_START = 0.2
_TIGHTNESS = 4.0
"""Rate of the gamma(2) prior of the spreads: half a point of log odds on average. Chosen on simulated firms."""
_ROUNDS = 2
_NEWTON_STEPS = 50
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


class ShrunkenRates(PlainEstimator):
    """Rate per level of one column under a beta prior that the levels themselves determine (empirical Bayes).

    A level with n cases and k outcomes has the rate (α + k) / (α + β + n); α and β maximise the beta-binomial
    likelihood of all levels on a grid. Where levels differ no more than chance would have it, α + β is large and all
    get the same rate. Intervals average over the whole grid: they also hold what is not known about α and β.

    Parameters
    ----------
    column : the column to tabulate; without it all cases form one level.
    prior : rate known from elsewhere; with it even one kind of outcome is enough to learn from.
    prior_rows : cases that such a rate is worth.

    Attributes
    ----------
    alpha_, beta_ : the prior chosen. levels_, hits_, rows_ : levels, their outcomes and their cases.
    """

    def __init__(self, column: str = "source", prior: float | None = None, prior_rows: float = 10.0) -> None:
        self.column = column
        self.prior = prior
        self.prior_rows = prior_rows

    def _check_classes(self, y: np.ndarray) -> None:
        """With a prior, one kind of outcome teaches, too."""
        _check_prior(self.prior)
        if self.prior is None:
            check_both_classes(y)

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        """Count and choose the prior; the context is not used: give one row per entity."""
        counts = pd.Series(y, dtype="float64").groupby(self._values(X).to_numpy()).agg(["sum", "size"])
        self.levels_ = counts.index.to_list()
        self.hits_, self.rows_ = counts["sum"].to_numpy("float64"), counts["size"].to_numpy("float64")
        self._weigh_grid()

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the shrunk rate, shape (rows,); levels never seen get α / (α + β)."""
        hits, rows = np.append(self.hits_, 0.0), np.append(self.rows_, 0.0)
        return ((self.alpha_ + hits) / (self.alpha_ + self.beta_ + rows))[self._codes(X)]

    def interval(self, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % credible interval of each row's rate: low, high, shape (rows,)."""
        code, p = self._codes(X), self.probability(X)
        low, high = (self._quantile(tail)[code] for tail in _TAILS)
        return np.minimum(low, p), np.maximum(high, p)

    def _weigh_grid(self) -> None:
        """Weigh every (mean, strength) by the likelihood of the levels and what is known beforehand."""
        mean, strength = (np.array(x) for x in zip(*product(_MEANS, _STRENGTHS), strict=True))
        a, b = mean * strength, (1 - mean) * strength
        likelihood = (betaln(a[:, None] + self.hits_, b[:, None] + self.rows_ - self.hits_)).sum(axis=1)
        likelihood -= len(self.hits_) * betaln(a, b)
        if self.prior is not None:
            shares = self.prior * self.prior_rows, (1 - self.prior) * self.prior_rows
            likelihood += shares[0] * np.log(mean) + shares[1] * np.log1p(-mean)
        best = int(np.argmax(likelihood))
        self.alpha_, self.beta_ = float(a[best]), float(b[best])
        # Uniform on the spread between levels, 1/√strength (Gelman and others 2013, section 5.3).
        weight = np.exp(likelihood - likelihood.max()) / np.sqrt(strength)
        # A quarter of the grid, and of the time, tells the bounds to two points in the smallest firms.
        even = np.add.outer(np.arange(len(_MEANS)) % 2, np.arange(len(_STRENGTHS)) % 2).ravel() == 0
        kept = even & (weight > _NEGLIGIBLE * weight.max())
        self.grid_ = np.column_stack([weight[kept] / weight[kept].sum(), a[kept], b[kept]])

    def _quantile(self, tail: float) -> np.ndarray:
        """Quantile of each level's mixture of beta distributions, the unseen level last, by bisection."""
        weight, a, b = (column[:, None] for column in self.grid_.T)
        a = a + np.append(self.hits_, 0.0)
        b = b + np.append(self.rows_ - self.hits_, 0.0)
        low, high = np.zeros(a.shape[1]), np.ones(a.shape[1])
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = (weight * betainc(a, b, middle)).sum(axis=0) < tail
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    def _codes(self, X: pd.DataFrame) -> np.ndarray:
        return pd.Index(self.levels_, dtype="object").get_indexer(self._values(X).astype("object"))

    def _values(self, X: pd.DataFrame) -> pd.Series:
        if self.column not in X:
            return pd.Series("", index=X.index, dtype="str")
        return X[self.column].astype("str").fillna(MISSING)


class HierarchicalLogistic(PlainEstimator):
    """Logistic regression for 10 to a few hundred cases: every part shrinks by as much as the cases call for.

    log odds = prior + intercept + Σ numbers + Σ levels. The intercept is normal around the prior. Numbers (logarithms
    of both signs, standardised, gaps at the average) share one spread. The levels of each category are random
    intercepts with a spread of their own: partial pooling. Spreads are judged by the marginal likelihood in Laplace's
    approximation, under a gamma(2) prior that keeps them from 0 (Chung and others 2013). The best ones and their
    neighbours (one part's spread changed) are averaged by that weight: with few cases the best alone would be too sure.

    Parameters
    ----------
    prior : rate known from elsewhere, or a fitted estimator of other rows (its log odds are where this one starts);
        None: the rate of the training rows.
    prior_sd : spread of the intercept around a given prior, in log odds.
    levels : categories to pool partially, those that are there.
    numbers : numbers to use; None: all.

    Attributes
    ----------
    spreads_ : part ("numbers" or category) → best spread of its share of the log odds.
    fits_ : one per combination averaged: its weight, spreads, mode, covariance, and basis of the informed directions.
    """

    def __init__(
        self,
        prior: object = None,
        prior_sd: float = 1.0,
        levels: tuple[str, ...] = ("source", "owner_id", "product"),
        numbers: tuple[str, ...] | None = None,
    ) -> None:
        self.prior = prior
        self.prior_sd = prior_sd
        self.levels = levels
        self.numbers = numbers

    def _check_classes(self, y: np.ndarray) -> None:
        """With a prior, one kind of outcome teaches, too."""
        if isinstance(self.prior, float | int):
            _check_prior(self.prior)
        if self.prior is None:
            check_both_classes(y)
        if not len(y):
            raise NotEnoughEvidence("There is no closed case to learn from.", found="0 rows")

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        """Choose the spreads, then fit; the context is not used: give one row per entity."""
        self.base_ = float(logit((y.sum() + 0.5) / (len(y) + 1)))
        self._learn_columns(X)
        offset, parts = self._offset(X), self._parts(X)
        weights = _judge_spreads(parts, y, offset, self._intercept_sd())
        self.spreads_ = weights[0][1]
        self.fits_ = [self._fit_one(w, spreads, parts, y, offset) for w, spreads in weights]

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the expected probability, shape (rows,)."""
        weight, mean, sd = self._log_odds(X)
        inner = expit(mean[..., None] + sd[..., None] * _NODES) @ (_WEIGHTS / _WEIGHTS.sum())
        return weight @ inner

    def interval(self, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % credible interval of each row's probability: low, high, shape (rows,)."""
        weight, mean, sd = self._log_odds(X)
        p = self.probability(X)
        low, high = (expit(_mixture_quantile(weight, mean, sd, tail)) for tail in _TAILS)
        return np.minimum(low, p), np.maximum(high, p)

    def _fit_one(self, weight: float, spreads: dict, parts: dict, y: np.ndarray, offset: np.ndarray) -> dict:
        design = _scaled(parts, spreads, self._intercept_sd(), len(y))
        # With more columns than rows only as many directions are informed; the rest keeps its prior.
        basis = np.linalg.qr(design.T)[0] if design.shape[1] > len(y) else np.eye(design.shape[1])
        mode, precision, _ = _laplace(design @ basis, y, offset)
        covariance = cho_solve(cho_factor(precision), np.eye(len(mode)))
        return {"weight": weight, "spreads": spreads, "basis": basis, "mode": mode, "covariance": covariance}

    def _log_odds(self, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weight (fits,), mean and standard deviation (fits, rows) of the log odds."""
        parts, offset = self._parts(X), self._offset(X)
        moments = [self._moments(fit, parts, offset) for fit in self.fits_]
        mean, sd = (np.array(one) for one in zip(*moments, strict=True))
        return np.array([fit["weight"] for fit in self.fits_]), mean, sd

    def _moments(self, fit: dict, parts: dict, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        design = _scaled(parts, fit["spreads"], self._intercept_sd(), len(offset))
        inside = design @ fit["basis"]
        informed = ((inside @ fit["covariance"]) * inside).sum(axis=1)
        untouched = np.maximum((design**2).sum(axis=1) - (inside**2).sum(axis=1), 0)
        unseen = sum(fit["spreads"][c] ** 2 * (parts[c].sum(axis=1) == 0) for c in self.levels_)
        return offset + inside @ fit["mode"], np.sqrt(informed + untouched + unseen)

    def _learn_columns(self, X: pd.DataFrame) -> None:
        names = X.select_dtypes("number").columns if self.numbers is None else self.numbers
        values = _tamed(X, list(names))
        known = np.isfinite(values)
        n = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, values, 0).sum(axis=0) / n
        spread = np.sqrt((np.where(known, values - centre, 0) ** 2).sum(axis=0) / n)
        varies = spread > 1e-9
        self.numbers_ = [name for name, kept in zip(names, varies, strict=True) if kept]
        self.centre_, self.scale_ = centre[varies], spread[varies]
        levels = {c: sorted(X[c].astype("str").fillna(MISSING).unique().tolist()) for c in self.levels if c in X}
        self.levels_ = {c: known for c, known in levels.items() if len(known) > 1}

    def _parts(self, X: pd.DataFrame) -> dict[str, np.ndarray]:
        """Part → its columns at a spread of 1: whatever their number, together they move the log odds by about 1."""
        if missing := [c for c in [*self.numbers_, *self.levels_] if c not in X]:
            raise DataError("The frame lacks features that the model was fitted on.", found=", ".join(missing))
        parts = {}
        if self.numbers_:
            standard = (_tamed(X, self.numbers_) - self.centre_) / self.scale_
            # A value far outside what 40 cases showed must not decide alone.
            parts["numbers"] = np.clip(np.nan_to_num(standard), -3, 3) / np.sqrt(len(self.numbers_))
        for c, levels in self.levels_.items():
            values = X[c].astype("str").fillna(MISSING).to_numpy("object")
            parts[c] = (values[:, None] == np.array(levels, dtype="object")).astype("float64")
        return parts

    def _intercept_sd(self) -> float:
        return _OWN_SD if self.prior is None else self.prior_sd

    def _offset(self, X: pd.DataFrame) -> np.ndarray:
        """Mean of the intercept, such that a given prior is the *expected* rate before any case (MacKay 1992)."""
        if self.prior is None:
            return np.full(len(X), self.base_)
        if isinstance(self.prior, float | int):
            p = np.full(len(X), float(self.prior))
        else:
            p = np.clip(self.prior.predict_proba(X)[:, 1], 1e-6, 1 - 1e-6)
        return logit(p) * np.sqrt(1 + np.pi * self.prior_sd**2 / 8)


def _check_prior(prior: float | None) -> None:
    if prior is not None and not 0 < prior < 1:
        raise ParameterError("A prior rate must lie between 0 and 1.", found=str(prior), remedy="write such as 0.2.")


def _tamed(X: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Numbers as sign(x)·log(1 + |x|), gaps as NaN, shape (rows, names)."""
    if missing := [name for name in names if name not in X]:
        raise DataError("The frame lacks numbers that the model is to use.", found=", ".join(missing))
    values = X[names].to_numpy("float64", na_value=np.nan)
    if np.isinf(values).any():
        raise DataError("Features must be finite numbers or gaps.", found="infinite numbers")
    return np.sign(values) * np.log1p(np.abs(values))


def _scaled(parts: dict[str, np.ndarray], spreads: dict[str, float], intercept_sd: float, n: int) -> np.ndarray:
    """Design whose weights are all standard normal beforehand."""
    return np.column_stack([np.full(n, intercept_sd), *(spreads[name] * part for name, part in parts.items())])


def _judge_spreads(
    parts: dict[str, np.ndarray], y: np.ndarray, offset: np.ndarray, intercept_sd: float
) -> list[tuple[float, dict[str, float]]]:
    """Weight and spreads of the best combination found, first, and of those that differ from it in one part."""
    # Only the covariance of the log odds matters: few rows make it small whatever the number of columns.
    narrow = {name: _root(part) if part.shape[1] > len(y) else part for name, part in parts.items()}
    known: dict[tuple[float, ...], float] = {}

    def worth(spreads: dict[str, float]) -> float:
        key = tuple(spreads.values())
        if key not in known:
            likelihood = _laplace(_scaled(narrow, spreads, intercept_sd, len(y)), y, offset)[2]
            known[key] = likelihood + sum(np.log(s) - _TIGHTNESS * s for s in key)
        return known[key]

    best = dict.fromkeys(parts, _START)
    for _, name in product(range(_ROUNDS), parts):
        best = max(({**best, name: s} for s in _SPREADS), key=worth)
    others = [{**best, name: s} for name in parts for s in _SPREADS if s != best[name]]
    # On a grid even in logarithms every spread stands for a stretch of its own size.
    heights = np.array([worth(s) + sum(np.log(list(s.values()))) for s in [best, *others]])
    weights = np.exp(heights - heights.max())
    kept = [(w, s) for w, s in zip(weights, [best, *others], strict=True) if w > 0.01 or s is best]
    return [(float(w / sum(w for w, _ in kept)), s) for w, s in kept]


def _root(part: np.ndarray) -> np.ndarray:
    """Square matrix whose product with its transpose is that of the part."""
    kernel = part @ part.T
    return cholesky(kernel + (1e-9 * np.trace(kernel) / len(kernel) + 1e-12) * np.eye(len(kernel)), lower=True)


def _laplace(design: np.ndarray, y: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mode of the weights under standard normal priors, precision there, and the log marginal likelihood."""
    w = np.zeros(design.shape[1])
    height = _height(design, y, offset, w)
    for _ in range(_NEWTON_STEPS):
        precision, slope = _curvature(design, y, offset, w)
        step = cho_solve(cho_factor(precision), slope)
        size = 1.0
        while (reached := _height(design, y, offset, w + size * step)) < height and size > 1e-6:
            size /= 2
        w, gained, height = w + size * step, reached - height, reached
        if gained < 1e-10:
            break
    precision = _curvature(design, y, offset, w)[0]
    return w, precision, height - float(np.log(np.diag(cholesky(precision, lower=True))).sum())


def _curvature(design: np.ndarray, y: np.ndarray, offset: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = expit(offset + design @ w)
    return (design * (p * (1 - p))[:, None]).T @ design + np.eye(len(w)), design.T @ (y - p) - w


def _height(design: np.ndarray, y: np.ndarray, offset: np.ndarray, w: np.ndarray) -> float:
    log_odds = offset + design @ w
    return float(y @ log_odds - np.logaddexp(0, log_odds).sum() - w @ w / 2)


def _mixture_quantile(weight: np.ndarray, mean: np.ndarray, sd: np.ndarray, tail: float) -> np.ndarray:
    """Quantile of a mixture of normal distributions per row, by bisection."""
    low, high = (mean - 8 * sd).min(axis=0), (mean + 8 * sd).max(axis=0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = weight @ ndtr((middle - mean) / sd) < tail
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
