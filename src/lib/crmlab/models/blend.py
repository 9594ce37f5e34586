"""A weighted average of probabilities in logit space, the base rate among them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

__all__ = ["BASE_RATE", "beats_base_rate", "blend", "blend_weights", "logit"]

BASE_RATE = "base rate"
_CLIP = 1e-6
_LEAST = 0.01
"""Smaller weights are dropped: they cost a prediction each and change nothing."""


def logit(p: np.ndarray | float) -> np.ndarray:
    """Return log(p / (1 - p)) of probabilities clipped to [1e-6, 1 - 1e-6]."""
    p = np.clip(np.asarray(p, dtype="float64"), _CLIP, 1 - _CLIP)
    return np.log(p) - np.log1p(-p)


def blend(probabilities: Mapping[str, np.ndarray | float], weights: Mapping[str, float]) -> np.ndarray:
    """Return the probability whose logit is the sum of weight times logit over the names in `weights`."""
    from scipy.special import expit

    return expit(sum(w * logit(probabilities[name]) for name, w in weights.items()))


def blend_weights(probabilities: Mapping[str, np.ndarray], y: np.ndarray) -> dict[str, float]:
    """Return the weights with the lowest log loss on these rows: none negative, their sum 1.

    Free sums were measured to harm: they follow the base rate from one period to the next, and it turns.

    Parameters
    ----------
    probabilities : name → out-of-sample probabilities, shape (rows,); the base rate is one of them.
    y : outcomes, 0 or 1.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    Z = np.column_stack([logit(p) for p in probabilities.values()])
    signs = np.where(y == 1, 1.0, -1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (Z @ w)
        return float(np.logaddexp(0, -margin).mean()), -(signs * expit(-margin)) @ Z / len(y)

    count = Z.shape[1]
    whole = {"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like}
    start = np.full(count, 1 / count)
    found = minimize(
        loss, start, jac=True, method="SLSQP", bounds=[(0, 1)] * count, constraints=[whole], options={"ftol": 1e-10}
    )
    weights = np.where(found.x < _LEAST, 0.0, found.x)
    return dict(zip(probabilities, (weights / weights.sum()).tolist(), strict=True))


def beats_base_rate(probabilities: Mapping[str, np.ndarray], y: np.ndarray, groups: np.ndarray, *, seed: int) -> bool:
    """Whether a blend, weighted on one half of the entities, beats the base rate on the other by a standard error.

    Parameters
    ----------
    probabilities, y : as in `blend_weights`. groups : entity of each row.
    """
    entity = pd.factorize(groups)[0]
    half = (np.random.default_rng(seed).permutation(entity.max() + 1) % 2)[entity]
    gain = np.zeros(len(y))
    for side in (0, 1):
        learned, judged = half != side, half == side
        if not learned.any() or not judged.any():
            return False
        weights = blend_weights({name: p[learned] for name, p in probabilities.items()}, y[learned])
        gain[judged] = _log_likelihood(y, blend(probabilities, weights))[judged]
    gain -= _log_likelihood(y, probabilities[BASE_RATE])
    error = np.sqrt((np.bincount(entity, gain - gain.mean()) ** 2).sum()) / len(y)
    return bool(gain.mean() > error)


def _log_likelihood(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.where(y == 1, np.log(p), np.log1p(-p))
