"""A weighted average of probabilities in logit space, the base rate among them."""

from collections.abc import Mapping

import numpy as np

__all__ = ["BASE_RATE", "blend", "blend_weights", "logit"]

BASE_RATE = "base rate"
_CLIP = 1e-6


def logit(p: np.ndarray | float) -> np.ndarray:
    """Return log(p / (1 - p)) of probabilities clipped to [1e-6, 1 - 1e-6]."""
    p = np.clip(np.asarray(p, dtype="float64"), _CLIP, 1 - _CLIP)
    return np.log(p) - np.log1p(-p)


def blend(probabilities: Mapping[str, np.ndarray | float], weights: Mapping[str, float]) -> np.ndarray:
    """Return the probability whose logit is the sum of weight times logit over the names in `weights`."""
    from scipy.special import expit

    return expit(sum(w * logit(probabilities[name]) for name, w in weights.items()))


def blend_weights(probabilities: Mapping[str, np.ndarray], y: np.ndarray) -> dict[str, float]:
    """Return the non-negative weights with the lowest log loss on these rows.

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

    start = np.full(Z.shape[1], 1 / Z.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * Z.shape[1])
    return dict(zip(probabilities, found.x.tolist(), strict=True))
