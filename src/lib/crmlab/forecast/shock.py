"""What all deals have in common: a good or bad season moves every one of them.

Each month ahead, the log-odds of every win move by u + v_m: u is shared by the whole horizon, v_m by one month. Both
are normal; their sizes are learned from how far what was won fell from what had been expected at earlier dates, beyond
what independent deals explain. With few earlier dates the sizes stay uncertain, and the forecast stays wide.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Residuals", "Shock", "estimate_shock"]

_SIZES = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0])
_PRIOR = 0.3
"""Scale of the half-normal prior of both sizes: seasons rarely halve or double the odds of a win."""


@dataclass(frozen=True)
class Residuals:
    """What was won after one earlier date, by step, in any unit.

    Attributes
    ----------
    realised, expected : (k,) won in each step that has wholly passed.
    chance : (k,) its variance if deals were independent.
    slope : (k,) change of what is expected per unit of log-odds.
    """

    realised: np.ndarray
    expected: np.ndarray
    chance: np.ndarray
    slope: np.ndarray


@dataclass(frozen=True)
class Shock:
    """Posterior of the sizes of the shared shocks.

    Attributes
    ----------
    lasting, monthly : (g,) standard deviations of u and v in log-odds.
    weight : (g,) posterior weight.
    n_dates : earlier dates that it rests on.
    """

    lasting: np.ndarray
    monthly: np.ndarray
    weight: np.ndarray
    n_dates: int

    @property
    def size(self) -> tuple[float, float, float]:
        """Median and 80 % interval of the whole standard deviation of a month, in log-odds."""
        total = np.hypot(self.lasting, self.monthly)
        order = np.argsort(total, kind="stable")
        share = np.cumsum(self.weight[order])
        middle, low, high = (
            float(total[order][min(np.searchsorted(share, q), len(total) - 1)]) for q in (0.5, 0.1, 0.9)
        )
        return middle, low, high

    def draw(self, n: int, n_steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return (n, steps) shifts in log-odds."""
        chosen = rng.choice(len(self.weight), size=n, p=self.weight)
        lasting = self.lasting[chosen] * rng.standard_normal(n)
        return lasting[:, None] + self.monthly[chosen][:, None] * rng.standard_normal((n, n_steps))


def estimate_shock(past: list[Residuals]) -> Shock:
    """Return the posterior on a grid of sizes; the prior where there is no earlier date.

    Windows of neighbouring dates overlap, so each date counts as one over the number of its steps.
    """
    lasting, monthly = (x.ravel() for x in np.meshgrid(_SIZES, _SIZES, indexing="ij"))
    log = -0.5 * (lasting**2 + monthly**2) / _PRIOR**2
    for residuals in past:
        log = log + _log_likelihood(residuals, lasting, monthly) / max(len(residuals.realised), 1)
    weight = np.exp(log - log.max())
    return Shock(lasting, monthly, weight / weight.sum(), len(past))


def _log_likelihood(residuals: Residuals, lasting: np.ndarray, monthly: np.ndarray) -> np.ndarray:
    gap, slope = residuals.realised - residuals.expected, residuals.slope
    shared = slope[:, None] * slope[None, :]
    covariance = (
        np.diag(np.maximum(residuals.chance, 1e-6))
        + lasting[:, None, None] ** 2 * shared
        + monthly[:, None, None] ** 2 * np.diag(np.diag(shared))
    )
    solved = np.linalg.solve(covariance, np.broadcast_to(gap[:, None], (len(lasting), len(gap), 1)))[:, :, 0]
    return -0.5 * (solved @ gap + np.linalg.slogdet(covariance)[1])
