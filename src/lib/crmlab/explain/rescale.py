"""The rescale rule: carry contributions through a function of their sum, and keep them adding up.

A part that moved the inside by c moves the outside by c · (outside − outside₀) / (inside − inside₀): the secant from
the starting point, the same factor for all parts of a row (Shrikumar et al. 2017; Chen, Lundberg & Lee, Explaining a
series of models by propagating Shapley values, 2022). Where both points meet, the factor is the derivative there.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from crmlab.models.blend import logit
from crmlab.schema import RunError

__all__ = ["add_up", "log_odds", "points_of", "share_out", "through_calibration", "to_log_odds"]

_CLIP = 1e-12
_CLOSE = 1e-6
"""Below this difference the secant is rounding noise: the derivative at the midpoint is as good."""
_STEEPEST = 10.0
"""Steepest factor through a calibrator: the jump of a step function between two near points is nobody's effect."""
_TOLERANCE = 1e-5
"""Largest gap, in probability, that counts as rounding (XGBoost computes in float32)."""


def log_odds(p: np.ndarray | float) -> np.ndarray:
    """Return log(p / (1 − p)); certainty, which a step calibrator may give, counts as 1 − 1e-12."""
    p = np.clip(np.asarray(p, dtype="float64"), _CLIP, 1 - _CLIP)
    return np.log(p) - np.log1p(-p)


def add_up(base: float, values: np.ndarray, total: np.ndarray, *, check: bool = True) -> np.ndarray:
    """Return `values` with the rest of each row shared out by size, so that base + row sum is `total`.

    Parameters
    ----------
    values : (rows, columns) log odds. total : (rows,) log odds.
    check : refuse a rest that is more than rounding.

    Raises
    ------
    RunError : the contributions are not those of this model.
    """
    rest = total - base - values.sum(axis=1)
    if check and len(rest):
        gap = np.abs(expit(total) - expit(total - rest)).max()
        if gap > _TOLERANCE:
            raise RunError(
                "Contributions do not add up to the score: they are not those of this model.",
                found=f"a gap of {gap:.2g} in probability",
                remedy="explain the fitted model that gave the score, on the rows that it scored.",
            )
    return values + rest[:, None] * _shares(values)


def share_out(values: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return `values` with the rest of each row shared out by size, so that its sum is `total`."""
    return values + (total - values.sum(axis=1))[:, None] * _shares(values)


def to_log_odds(base: float, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Return contributions to a probability as contributions to its log odds, and the base likewise."""
    p = base + values.sum(axis=1)
    base_logit = float(logit(base))
    factor = _secant(p, base, logit(p), base_logit, lambda middle: 1 / np.maximum(middle * (1 - middle), _CLOSE))
    return base_logit, add_up(base_logit, values * factor[:, None], logit(p), check=False)


def points_of(base: float, values: np.ndarray) -> np.ndarray:
    """Return contributions to log odds as contributions to the probability: row sum = p − p of the base."""
    total = base + values.sum(axis=1)
    p, start = expit(total), float(expit(base))
    factor = _secant(total, base, p, start, lambda middle: expit(middle) * expit(-middle))
    points = values * factor[:, None]
    return share_out(points, p - start)


def through_calibration(
    base: float, values: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, np.ndarray]:
    """Return contributions to the log odds after a monotone calibration of the probability.

    The factor stays between 0 and 10; what a step function jumps beyond that is shared out by size.
    """

    def outer(z: np.ndarray) -> np.ndarray:
        return log_odds(transform(expit(z)))

    total = base + values.sum(axis=1)
    after, start = outer(total), float(outer(np.array([base]))[0])
    step = 1e-3
    factor = _secant(total, base, after, start, lambda z: (outer(z + step) - outer(z - step)) / (2 * step))
    return start, add_up(start, values * np.clip(factor, 0, _STEEPEST)[:, None], after, check=False)


def _secant(
    inner: np.ndarray,
    inner_base: float,
    outer: np.ndarray,
    outer_base: float,
    slope: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    moved = inner - inner_base
    near = np.abs(moved) < _CLOSE
    ratio = (outer - outer_base) / np.where(near, 1.0, moved)
    return np.where(near, slope((inner + inner_base) / 2), ratio)


def _shares(values: np.ndarray) -> np.ndarray:
    size = np.abs(values)
    whole = size.sum(axis=1, keepdims=True)
    return np.divide(size, whole, out=np.full_like(size, 1 / max(size.shape[1], 1)), where=whole > 0)
