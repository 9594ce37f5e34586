"""Venn–Abers predictors: two isotonic fits per score, one as if the case converts and one as if it does not."""

import numpy as np
from numba import njit

from .maps import check_outcomes, check_probabilities

__all__ = ["VennAbers"]


class VennAbers:
    """Inductive Venn–Abers predictor (Vovk & Petej 2014), computed ahead for all scores (Vovk et al. 2015).

    Each score gets two probabilities, p0 and p1: isotonic fits to the calibration rows and the case itself, labelled 0
    and 1. Where rows are exchangeable, one of the two is perfectly calibrated. They say how much *one* row could move
    the fit; they are not an interval at a chosen level, and rows of one entity, which resemble each other, make them
    too narrow: `ScoreInterval` is meant for scores.

    Examples
    --------
    >>> predictor = VennAbers().fit(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 0, 1]))
    >>> low, high = predictor.interval(np.array([0.3]))
    >>> float(low[0].round(3)), float(high[0].round(3))
    (0.333, 0.667)
    >>> predictor.point(np.array([0.3])).round(3).tolist()
    [0.5]
    """

    def fit(self, p: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> "VennAbers":
        """Compute both fits at every distinct score; `p`, `y`, `w` of shape (rows,), `w` in numbers of rows."""
        p, y, w = check_outcomes(p, y, w)
        self.scores_, code = np.unique(p[w > 0], return_inverse=True)
        mass = np.bincount(code, w[w > 0])
        hits = np.bincount(code, (w * y)[w > 0])
        across, up = np.r_[0.0, np.cumsum(mass)], np.r_[0.0, np.cumsum(hits)]
        # A score beyond all others is alone with the label it is given.
        self.low_ = np.r_[0.0, _as_if_not(across, up)]
        self.high_ = np.r_[_as_if_so(across, up), 1.0]
        return self

    def interval(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return p0 and p1, shape (rows,) each; p0 ≤ p1."""
        p = check_probabilities(p)
        low = self.low_[np.searchsorted(self.scores_, p, side="right")]
        return low, self.high_[np.searchsorted(self.scores_, p, side="left")]

    def point(self, p: np.ndarray) -> np.ndarray:
        """Return p1 / (1 − p0 + p1): of all single probabilities the one with the least worst regret in log loss."""
        low, high = self.interval(p)
        return high / (1 - low + high)

    def __repr__(self) -> str:
        return f"VennAbers({len(self.scores_)} scores)" if hasattr(self, "scores_") else "VennAbers()"


@njit(cache=True)
def _turn(ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> float:
    """Above 0 where a → b → c turns left."""
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@njit(cache=True)
def _as_if_so(across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Isotonic fit at each score with one row labelled 1 added there: slopes of the greatest convex minorant.

    The added row enters as a step of (1, 1) before the first score; moving on to the next score swaps two steps of the
    cumulative diagram, which changes one corner only.
    """
    k = len(across) - 1
    x, y = np.empty(k + 2), np.empty(k + 2)  # x[0] is the point before the origin; score i ends at x[i + 1]
    x[0], y[0] = -1.0, -1.0
    x[1:], y[1:] = across, up
    stack, top = np.empty((k + 2, 2)), -1
    for i in range(k + 2):
        while top > 0 and _turn(stack[top - 1, 0], stack[top - 1, 1], stack[top, 0], stack[top, 1], x[i], y[i]) <= 0:
            top -= 1
        top += 1
        stack[top, 0], stack[top, 1] = x[i], y[i]
    corners = stack[: top + 1][::-1].copy()
    hull = np.empty((k + 2, 2))
    hull[: top + 1] = corners  # the leftmost corner on top
    fit = np.empty(k)
    for i in range(1, k + 1):
        ax, ay, bx, by = hull[top, 0], hull[top, 1], hull[top - 1, 0], hull[top - 1, 1]
        fit[i - 1] = (by - ay) / (bx - ax)
        x[i], y[i] = x[i - 1] + x[i + 1] - x[i], y[i - 1] + y[i + 1] - y[i]
        if _turn(ax, ay, bx, by, x[i], y[i]) >= 0:
            continue
        top -= 1
        while top > 0 and _turn(x[i], y[i], hull[top, 0], hull[top, 1], hull[top - 1, 0], hull[top - 1, 1]) <= 0:
            top -= 1
        top += 1
        hull[top, 0], hull[top, 1] = x[i], y[i]
    return fit


@njit(cache=True)
def _as_if_not(across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Isotonic fit at each score with one row labelled 0 added there: the mirror image of `_as_if_so`."""
    total, hits = across[-1], up[-1]
    mirrored = _as_if_so(total - across[::-1], (total - across[::-1]) - (hits - up[::-1]))
    return 1.0 - mirrored[::-1]
