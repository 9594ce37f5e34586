"""95 % intervals of counts and shares, in closed form."""

import numpy as np

__all__ = ["Z", "difference_interval", "rate_interval", "share_interval", "wilson"]

Z = 1.959964
"""97.5 % point of the normal distribution."""

_TAIL = 0.025


def wilson(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's (1927) score interval of shares of `n` cases each; it always holds the share itself.

    >>> low, high = wilson(np.array([0.2]), np.array([10]))
    >>> float(low[0].round(3)), float(high[0].round(3))
    (0.057, 0.51)
    """
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    # Rounding must not push the share outside its interval.
    return np.minimum(centre - half, share), np.maximum(centre + half, share)


def share_interval(hits: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval of `hits` out of `n`; NaN without cases.

    >>> [round(x, 3) for x in share_interval(2, 10)]
    [0.057, 0.51]
    """
    if not n:
        return np.nan, np.nan
    low, high = wilson(np.float64(hits / n), np.float64(n))
    return float(low) if hits else 0.0, float(high) if hits < n else 1.0


def rate_interval(observed: int, expected: float) -> tuple[float, float]:
    """Return the exact (Garwood 1936) interval of observed over expected, the observed being Poisson.

    >>> [round(x, 3) for x in rate_interval(10, 10.0)]
    [0.48, 1.839]
    """
    from scipy.special import gammaincinv

    if not expected > 0:
        return np.nan, np.nan
    low = gammaincinv(observed, _TAIL) if observed else 0.0
    return float(low / expected), float(gammaincinv(observed + 1, 1 - _TAIL) / expected)


def difference_interval(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return the difference of two independent shares (value, low, high) and its interval, from their intervals.

    Newcombe's (1998) hybrid, as generalised by Zou and Donner (2008): it keeps the asymmetry of the two intervals.
    """
    (p, p_low, p_high), (q, q_low, q_high) = first, second
    gap = p - q
    return gap, gap - float(np.hypot(p - p_low, q_high - q)), gap + float(np.hypot(p_high - p, q - q_low))
