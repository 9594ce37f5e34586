"""Maps from a model's probability to a calibrated one: monotone, finite, and held in a few plain numbers."""

import numpy as np

from crmlab.schema import DataError, NotEnoughEvidence

__all__ = ["EDGE", "Beta", "Isotonic", "Shift", "Sigmoid", "check_outcomes", "check_probabilities", "expit", "logit"]

EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1, before a logit and after a map."""
_STEPS = 100
_CLOSE = 1e-12


def logit(p: np.ndarray) -> np.ndarray:
    """Return log odds of probabilities clipped to [1e-6, 1 - 1e-6].

    >>> logit(np.array([0.5, 1.0])).round(3).tolist()
    [0.0, 13.816]
    """
    p = np.clip(p, EDGE, 1 - EDGE)
    return np.log(p) - np.log1p(-p)


def expit(x: np.ndarray) -> np.ndarray:
    """Return the probability of log odds.

    >>> expit(np.array([0.0, -1000.0])).tolist()
    [0.5, 0.0]
    """
    from scipy.special import expit as inverse

    return inverse(np.asarray(x, dtype="float64"))


def check_probabilities(p: np.ndarray) -> np.ndarray:
    """Return probabilities as float64, shape (rows,).

    Raises
    ------
    DataError : one is missing or lies outside 0 to 1, or they do not form a row of numbers.
    """
    p = np.asarray(p, dtype="float64")
    if p.ndim != 1:
        raise DataError("Probabilities must be one number per row.", found=f"shape {p.shape}")
    wrong = int((~((p >= 0) & (p <= 1))).sum())
    if wrong:
        raise DataError(
            "Probabilities must lie between 0 and 1.",
            found=f"{wrong:,} of {len(p):,} are missing or lie outside",
            remedy="look for gaps in what the model returned.",
        )
    return p


def check_outcomes(
    p: np.ndarray, y: np.ndarray, w: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities, outcomes (0 or 1) and weights as float64, shape (rows,) each.

    Raises
    ------
    DataError : lengths differ, an outcome is neither 0 nor 1, or a weight is negative or missing.
    NotEnoughEvidence : all outcomes are the same.
    """
    p, y = check_probabilities(p), np.asarray(y, dtype="float64")
    w = np.ones(len(p)) if w is None else np.asarray(w, dtype="float64")
    if p.shape != y.shape or p.shape != w.shape:
        raise DataError(
            "Probabilities, outcomes and weights must stand row for row.", found=f"{p.shape}, {y.shape} and {w.shape}"
        )
    if not np.isin(y, (0.0, 1.0)).all():
        raise DataError("Outcomes must be 0 or 1.", found=f"{int((~np.isin(y, (0.0, 1.0))).sum()):,} others")
    if not (np.isfinite(w) & (w >= 0)).all():
        raise DataError("Weights must be numbers of rows, 0 or more.", found="negative or missing weights")
    if not w @ y > 0 or not w @ (1 - y) > 0:
        raise NotEnoughEvidence(
            "A calibration needs outcomes of both kinds.",
            found=f"{int((w * y).sum()):,} converted among {len(y):,} rows",
            remedy="wait until labels of both kinds are mature.",
        )
    return p, y, w


class Shift:
    """Log odds moved by one constant: for a base rate that has moved while the ranking kept its scale.

    logit(q) = logit(p) + `intercept_`, by maximum likelihood; the mean of q then equals the observed share.

    Examples
    --------
    >>> p, y = np.full(100, 0.5), np.repeat([1, 0], [20, 80])
    >>> Shift().fit(p, y).transform(p[:1]).round(3).tolist()
    [0.2]
    """

    def fit(self, p: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> "Shift":
        """Find the constant; `p`, `y`, `w` of shape (rows,), `w` in numbers of rows."""
        p, y, w = check_outcomes(p, y, w)
        self.intercept_ = float(_newton(np.ones((len(p), 1)), y, w, start=[0.0], offset=logit(p))[0])
        return self

    def transform(self, p: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, shape (rows,)."""
        return _inside(expit(logit(check_probabilities(p)) + self.intercept_))

    def __repr__(self) -> str:
        return _shown("Shift", vars(self))


class Sigmoid:
    """Platt's (1999) map on log odds, with his smoothed targets: logit(q) = `slope_`·logit(p) + `intercept_`.

    The targets (n₁ + 1)/(n₁ + 2) and 1/(n₀ + 2) instead of 1 and 0 keep it finite where the classes part completely.
    A falling map is not allowed: the slope is then 0.

    Examples
    --------
    >>> p = np.repeat([0.1, 0.9], 1000)  # too sure by a factor of two in log odds
    >>> y = np.r_[np.repeat([1, 0], [250, 750]), np.repeat([1, 0], [750, 250])]
    >>> Sigmoid().fit(p, y).transform(np.array([0.1, 0.9])).round(2).tolist()
    [0.25, 0.75]
    """

    def fit(self, p: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> "Sigmoid":
        """Find slope and intercept; `p`, `y`, `w` of shape (rows,), `w` in numbers of rows."""
        p, y, w = check_outcomes(p, y, w)
        slope, intercept = _rising(logit(p)[:, None], _smoothed(y, w), w)
        self.slope_, self.intercept_ = float(slope), float(intercept)
        return self

    def transform(self, p: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, shape (rows,)."""
        return _inside(expit(self.slope_ * logit(check_probabilities(p)) + self.intercept_))

    def __repr__(self) -> str:
        return _shown("Sigmoid", vars(self))


class Beta:
    """Beta calibration (Kull, Silva Filho & Flach 2017): logit(q) = `a_`·ln p − `b_`·ln(1 − p) + `c_`, a and b ≥ 0.

    It holds the identity (a = b = 1, c = 0) and every sigmoid on log odds (a = b), and bends the two ends apart.
    Targets are smoothed as Platt's are, so that it stays finite.

    Examples
    --------
    >>> p, y = np.repeat([0.2, 0.5, 0.8], 1000), np.tile(np.arange(1000) / 1000, 3)
    >>> Beta().fit(p, (y < p).astype(int)).transform(np.array([0.2, 0.5, 0.8])).round(2).tolist()
    [0.2, 0.5, 0.8]
    """

    def fit(self, p: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> "Beta":
        """Find the three parameters; `p`, `y`, `w` of shape (rows,), `w` in numbers of rows."""
        p, y, w = check_outcomes(p, y, w)
        a, b, c = _rising(_two_logs(p), _smoothed(y, w), w)
        self.a_, self.b_, self.c_ = float(a), float(b), float(c)
        return self

    def transform(self, p: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, shape (rows,)."""
        return _inside(expit(_two_logs(check_probabilities(p)) @ [self.a_, self.b_] + self.c_))

    def __repr__(self) -> str:
        return _shown("Beta", vars(self))


class Isotonic:
    """The best non-falling map (pool adjacent violators; Zadrozny & Elkan 2002), straight between its steps.

    The same as scikit-learn's IsotonicRegression with `out_of_bounds="clip"`, but never nearer to 0 and 1 than
    1/(n + 2) with n rows: no number of rows proves that something cannot happen. Ties among scores grow, so that it
    blurs a ranking; it needs many outcomes.

    Examples
    --------
    >>> p, y = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 0, 1])
    >>> Isotonic().fit(p, y).transform(np.array([0.1, 0.25])).round(3).tolist()
    [0.167, 0.5]
    """

    def fit(self, p: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> "Isotonic":
        """Pool the rows; `p`, `y`, `w` of shape (rows,), `w` in numbers of rows."""
        from scipy.optimize import isotonic_regression

        p, y, w = check_outcomes(p, y, w)
        scores, code = np.unique(p[w > 0], return_inverse=True)
        mass = np.bincount(code, w[w > 0])
        shares = isotonic_regression(np.bincount(code, (w * y)[w > 0]) / mass, weights=mass).x
        # Only the ends of each step matter to a line drawn through them.
        inner = np.r_[False, (shares[1:-1] == shares[:-2]) & (shares[1:-1] == shares[2:]), False][: len(shares)]
        self.scores_, self.shares_ = scores[~inner], shares[~inner]
        self.edge_ = float(1 / (w.sum() + 2))
        return self

    def transform(self, p: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, shape (rows,)."""
        shares = np.interp(check_probabilities(p), self.scores_, self.shares_)
        return np.clip(shares, self.edge_, 1 - self.edge_)

    def __repr__(self) -> str:
        return f"Isotonic({len(self.scores_)} points)" if hasattr(self, "scores_") else "Isotonic()"


def _two_logs(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, EDGE, 1 - EDGE)
    return np.column_stack([np.log(p), -np.log1p(-p)])


def _inside(p: np.ndarray) -> np.ndarray:
    return np.clip(p, EDGE, 1 - EDGE)


def _shown(name: str, values: dict[str, float]) -> str:
    return f"{name}({', '.join(f'{k}={v:.3g}' for k, v in values.items())})"


def _smoothed(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    converted, others = w @ y, w @ (1 - y)
    return np.where(y == 1, (converted + 1) / (converted + 2), 1 / (others + 2))


def _rising(columns: np.ndarray, target: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Coefficients of the columns, none below 0, and the intercept last: the best fit of all that keep the bound.

    The loss is convex and there are at most two bounds, so that trying which of them bind is exact.
    """
    count = columns.shape[1]
    design = np.column_stack([columns, np.ones(len(columns))])
    best, lowest = np.zeros(count + 1), np.inf
    for free in sorted(np.ndindex(*(2,) * count), reverse=True):
        used = [*np.flatnonzero(free), count]
        found = np.zeros(count + 1)
        found[used] = _newton(design[:, used], target, w, start=[1.0] * (len(used) - 1) + [0.0])
        loss = _loss(design @ found, target, w)
        if (found[:count] >= 0).all() and loss < lowest - _CLOSE:
            best, lowest = found, loss
        if all(free) and np.isfinite(lowest):
            break  # the best without bounds keeps them: nothing can be better
    return best


def _newton(
    design: np.ndarray, target: np.ndarray, w: np.ndarray, *, start: list[float], offset: np.ndarray | float = 0.0
) -> np.ndarray:
    """Logistic regression by Newton's method with halved steps; a trace of ridge towards `start` where columns tie."""
    start = np.asarray(start)
    ridge = 1e-9 * w.sum()

    def penalised(x: np.ndarray) -> float:
        return _loss(design @ x + offset, target, w) + ridge / 2 * float((x - start) @ (x - start)) / w.sum()

    x, loss = start, penalised(start)
    for _ in range(_STEPS):
        p = expit(design @ x + offset)
        slope = design.T @ (w * (p - target)) + ridge * (x - start)
        curve = (design * (w * p * (1 - p))[:, None]).T @ design + ridge * np.eye(len(x))
        step, size = np.linalg.solve(curve, slope), 1.0
        while penalised(x - size * step) > loss + _CLOSE * abs(loss) and size > _CLOSE:
            size /= 2
        x, before, loss = x - size * step, loss, penalised(x - size * step)
        if before - loss <= _CLOSE * (1 + abs(loss)) and size * np.abs(step).max() < 1e-8:
            break
    return x


def _loss(eta: np.ndarray, target: np.ndarray, w: np.ndarray) -> float:
    return float(w @ (np.logaddexp(0, eta) - target * eta) / w.sum())
