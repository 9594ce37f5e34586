"""Person-periods of competing risks, and their penalised likelihood, without writing out a row per period.

A case followed for k periods stands for k cells. In each, with linear predictors w and l, it is won with probability
exp(w)/(1 + exp(w) + exp(l)), lost with exp(l)/(…), and else stays open (Allison 1982, Discrete-time methods for the
analysis of event histories). The predictors are separable, η = a[period] + c[age] + x·β, so the gradient needs one pass
over the cells and one product with the cases' design: nothing is repeated per period.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

__all__ = [
    "CAUSES",
    "Cells",
    "Shape",
    "age_periods",
    "cell_loss",
    "fit_coefficients",
    "hazards_of",
    "lay_out",
    "linear_predictor",
]

CAUSES = ("won", "lost")
_RARE = 0.25
"""Events that a period without any is given as a start; a penalty, or the data of its neighbours, decides then."""
_NONE = 1e-10
"""The same where every step of the baseline is free: no event then means no hazard."""
_LEVEL = 1e-2
"""Penalty that leaves the level, which both baselines could carry, with that of the time since the moment."""


@dataclass(frozen=True)
class Cells:
    """One entry per case and period at risk, ordered by case.

    Attributes
    ----------
    case, period, age : (m,) row of the design, period since the moment (0-based), period of age.
    exposure : (m,) share of the period that was observed; 1 but for a last, censored one.
    event : (m,) 0 while open, 1 won, 2 lost at the end of this period.
    """

    case: np.ndarray
    period: np.ndarray
    age: np.ndarray
    exposure: np.ndarray
    event: np.ndarray

    def __len__(self) -> int:
        return len(self.case)


@dataclass(frozen=True)
class Shape:
    """Sizes and penalties of the model.

    Attributes
    ----------
    n_periods, n_ages : steps of the two baselines; 0 ages: no baseline of age.
    strength : penalty on the coefficients of the features: half of it times their squares.
    smoothness : the same on second differences of the baselines; 0 leaves every step free.
    """

    n_periods: int
    n_ages: int
    strength: float
    smoothness: float


def lay_out(
    days: np.ndarray, event: np.ndarray, *, age_days: np.ndarray | None, period_days: int, n_periods: int, n_ages: int
) -> Cells:
    """Return the cells of cases observed for `days`; what lasts longer than `n_periods` is censored there.

    Parameters
    ----------
    days : (n,) time observed after the moment, positive.
    event : (n,) 0 open, 1 won, 2 lost at that time.
    age_days : (n,) age at the moment, or None.
    """
    length = np.asarray(days, dtype="float64") / period_days
    last = np.maximum(np.ceil(length - 1e-9), 1).astype(np.int64)
    beyond, n = last > n_periods, np.minimum(last, n_periods)
    case = np.repeat(np.arange(len(n)), n)
    period = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    final = np.cumsum(n) - 1
    outcome, exposure = np.zeros(len(case), np.int8), np.ones(len(case))
    outcome[final] = np.where(beyond, 0, event)
    exposure[final] = np.where(outcome[final] > 0, 1.0, np.clip(length - (n - 1), 0.0, 1.0))
    start = np.zeros(len(n), np.int64) if age_days is None else age_periods(age_days, period_days)
    age = np.minimum(start[case] + period, max(n_ages - 1, 0))
    return Cells(case, period, age, exposure, outcome)


def age_periods(age_days: np.ndarray, period_days: int) -> np.ndarray:
    """Return whole periods of age; a missing age counts as new."""
    return np.maximum(np.nan_to_num(np.asarray(age_days, dtype="float64")) // period_days, 0).astype(np.int64)


def linear_predictor(coefficients: np.ndarray, shape: Shape, design: np.ndarray, age: np.ndarray | None) -> np.ndarray:
    """Return η, shape (2 causes, n cases, periods); `age` (n,) is the period of age at the moment."""
    base, by_age, beta = _parts(coefficients, shape, design.shape[1])
    eta = base[:, None, :] + (beta @ design.T)[:, :, None]
    if age is not None and by_age.shape[1]:
        eta += by_age[:, np.minimum(age[:, None] + np.arange(shape.n_periods), shape.n_ages - 1)]
    return eta


def hazards_of(eta: np.ndarray) -> np.ndarray:
    """Return the probabilities of both events from their linear predictors, same shape."""
    top = np.maximum(eta.max(axis=0), 0.0)
    odds = np.exp(eta - top)
    return odds / (np.exp(-top) + odds.sum(axis=0))


def cell_loss(cells: Cells, hazards: np.ndarray) -> float:
    """Return the mean negative log-likelihood per cell of hazards (2, n, periods)."""
    won, lost = (h[cells.case, cells.period] for h in hazards)
    p = np.stack([1 - won - lost, won, lost])[cells.event, np.arange(len(cells))]
    return float(-(cells.exposure * np.log(np.clip(p, 1e-12, 1.0))).mean())


def fit_coefficients(
    cells: Cells, design: np.ndarray, shape: Shape, *, start: np.ndarray | None = None, steps: int = 100
) -> np.ndarray:
    """Return the coefficients that maximise the penalised likelihood, flat; see `linear_predictor`."""
    from scipy.optimize import minimize

    start = _start(cells, design.shape[1], shape) if start is None else start
    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-8, "gtol": 1e-6, "maxcor": 20}
    return minimize(_Loss(cells, design, shape), start, jac=True, method="L-BFGS-B", options=options).x


def _start(cells: Cells, width: int, shape: Shape) -> np.ndarray:
    """The logarithm of the crude odds per period: the solution where there are no features and no penalty."""
    k = shape.n_periods
    at_risk = np.bincount(cells.period, weights=cells.exposure, minlength=k)
    events = np.stack([np.bincount(cells.period[cells.event == c], minlength=k) for c in (1, 2)]).astype("float64")
    stay = np.maximum(at_risk - events.sum(axis=0), _NONE if shape.smoothness == 0 else _RARE)
    base = np.log(np.maximum(events, _NONE if shape.smoothness == 0 else _RARE) / stay)
    return np.concatenate([base.ravel(), np.zeros(2 * shape.n_ages + 2 * width)])


def _parts(coefficients: np.ndarray, shape: Shape, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    one, two = 2 * shape.n_periods, 2 * (shape.n_periods + shape.n_ages)
    return coefficients[:one].reshape(2, -1), coefficients[one:two].reshape(2, -1), coefficients[two:].reshape(2, width)


class _Loss:
    """Penalised negative log-likelihood and its gradient."""

    def __init__(self, cells: Cells, design: np.ndarray, shape: Shape) -> None:
        # Single precision halves the time of the two products with the design; sums stay in double precision.
        self.cells, self.design, self.shape = cells, np.ascontiguousarray(design, dtype="float32"), shape

    def __call__(self, coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        base, by_age, beta = _parts(coefficients, self.shape, self.design.shape[1])
        score = (beta.astype("float32") @ self.design.T).astype("float64")
        age = by_age if by_age.shape[1] else np.zeros((2, 1))
        c = self.cells
        value, *gradient = _pass_over_cells(c.case, c.period, c.age, c.exposure, c.event, base, age, score)
        gradient[1] = gradient[1][:, : by_age.shape[1]]
        gradient[2] = (gradient[2].astype("float32") @ self.design).astype("float64")
        value += self._penalise(base, gradient[0]) + self._penalise(by_age, gradient[1])
        value += 0.5 * self.shape.strength * float((beta**2).sum()) + 0.5 * _LEVEL * float((by_age**2).sum())
        gradient[1] = gradient[1] + _LEVEL * by_age
        gradient[2] += self.shape.strength * beta
        return value, np.concatenate([part.ravel() for part in gradient])

    def _penalise(self, baseline: np.ndarray, gradient: np.ndarray) -> float:
        """Add the roughness of a baseline (Eilers and Marx 1996, P-splines) to its gradient, and return it."""
        if self.shape.smoothness == 0 or baseline.shape[1] < 3:
            return 0.0
        bend = self.shape.smoothness * np.diff(baseline, n=2, axis=1)
        gradient[:, :-2] += bend
        gradient[:, 1:-1] -= 2 * bend
        gradient[:, 2:] += bend
        return 0.5 * float((bend**2).sum()) / self.shape.smoothness


@njit(cache=True)
def _pass_over_cells(case, period, age, exposure, event, base, by_age, score):
    """Sum the negative log-likelihood, and its derivatives by both baselines and by each case's score."""
    value = 0.0
    by_base, by_step, by_case = np.zeros_like(base), np.zeros_like(by_age), np.zeros_like(score)
    for m in range(len(case)):
        i, k, a = case[m], period[m], age[m]
        won = base[0, k] + by_age[0, a] + score[0, i]
        lost = base[1, k] + by_age[1, a] + score[1, i]
        top = max(won, lost, 0.0)
        p_won, p_lost = math.exp(won - top), math.exp(lost - top)
        total = math.exp(-top) + p_won + p_lost
        value += exposure[m] * (top + math.log(total))
        p_won, p_lost = exposure[m] * p_won / total, exposure[m] * p_lost / total
        if event[m] == 1:
            value -= won
            p_won -= 1.0
        elif event[m] == 2:
            value -= lost
            p_lost -= 1.0
        by_base[0, k] += p_won
        by_base[1, k] += p_lost
        by_step[0, a] += p_won
        by_step[1, a] += p_lost
        by_case[0, i] += p_won
        by_case[1, i] += p_lost
    return value, by_base, by_step, by_case
