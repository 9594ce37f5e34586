"""Compiled coordinate descent for the lasso's quadratic steps."""

import numpy as np
from numba import njit

__all__ = ["coordinate_moves"]

_SWEEPS = 200
_TOLERANCE = 1e-9


@njit(cache=True)
def coordinate_moves(curvature: np.ndarray, slope: np.ndarray, beta: np.ndarray, lasso: np.ndarray) -> np.ndarray:
    """Return d that minimises slope·d + d'Hd/2 + Σ lasso·|beta + d|, by cyclic coordinate descent.

    Parameters
    ----------
    curvature : H, symmetric with a positive diagonal, shape (k, k). slope, beta, lasso : shape (k,).
    """
    move, rest = np.zeros(len(beta)), slope.copy()
    for _ in range(_SWEEPS):
        largest = 0.0
        for j in range(len(beta)):
            h = curvature[j, j]
            target = beta[j] + move[j] - rest[j] / h
            shrunk = np.sign(target) * max(abs(target) - lasso[j] / h, 0.0)
            change = shrunk - beta[j] - move[j]
            if change != 0.0:
                move[j] += change
                rest += change * curvature[j]
                largest = max(largest, change * change * h)
        if largest < _TOLERANCE:
            break
    return move
