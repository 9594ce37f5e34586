"""Whether probabilities can be taken at their word: parts of the Brier score, the calibration line, unbiased errors."""

import numpy as np
import pandas as pd

from .measures import bootstrap_weights, brier, calibration_error, equal_bins

__all__ = [
    "brier_parts",
    "brier_skill",
    "calibration_error_corrected",
    "calibration_line",
    "calibration_offset",
    "reliability_table",
]

_BINS = 10
_EDGE = 1e-6
_STEPS = 50
_LINES = ("calibration offset", "calibration intercept", "calibration slope")
_CELLS = 500
_LONGEST = 50.0
"""Coefficients beyond this mean that the classes part completely: there is no line."""


def brier_parts(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None, *, bins: int = _BINS) -> dict[str, float]:
    """Return the parts of the Brier score over bins of equal size (Murphy 1973; Stephenson et al. 2008).

    Brier = reliability − resolution + uncertainty + within, exactly. `reliability` is the squared gap between predicted
    and observed shares of the bins (0 is best), `resolution` how far the bins' outcomes lie apart (more is better),
    `uncertainty` the variance of the outcome, and `within` what the scores vary inside their bins, less what of that
    goes with the outcome; it falls below 0 where finer scores know more than their bin.

    >>> parts = brier_parts(np.array([0, 1, 0, 1]), np.array([0.2, 0.2, 0.7, 0.9]), bins=2)
    >>> {name: round(value, 4) for name, value in parts.items()}
    {'reliability': 0.09, 'resolution': 0.0, 'uncertainty': 0.25, 'within': -0.045}
    """
    w = np.ones(len(y)) if w is None else w
    code = equal_bins(p, bins)
    mass = np.bincount(code, w, minlength=bins)
    kept = mass > 0
    predicted, observed = (np.bincount(code, w * x, minlength=bins)[kept] / mass[kept] for x in (p, y))
    share, mean = mass[kept] / mass.sum(), float(np.average(y, weights=w))
    parts = {
        "reliability": float(share @ (predicted - observed) ** 2),
        "resolution": float(share @ (observed - mean) ** 2),
        "uncertainty": mean * (1 - mean),
    }
    place = np.cumsum(kept)[code] - 1
    # Rows of weight 0 may stand in a bin that does not exist.
    inside = (p - predicted[place], y - observed[place])
    within = float(np.average(inside[0] ** 2 - 2 * inside[0] * inside[1], weights=w))
    return {**parts, "within": within}


def brier_skill(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> float:
    """Return 1 − Brier / (ȳ(1 − ȳ)): the share of the uncertainty removed; 0 for the base rate, NaN for one class.

    >>> brier_skill(np.array([0, 1]), np.array([0.5, 0.5]))
    0.0
    """
    mean = float(np.average(y, weights=w))
    return 1 - brier(y, p, w) / (mean * (1 - mean)) if 0 < mean < 1 else float("nan")


def calibration_line(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> tuple[float, float]:
    """Return intercept and slope of the outcomes on the log odds of the scores (Cox 1958); (0, 1) is perfect.

    A slope below 1 says that scores are too sure of themselves, above 1 that they are too timid. NaN where no line
    exists: one class only, all scores equal, or classes that part completely.

    >>> p, y = np.repeat([0.1, 0.9], 4), np.array([1, 0, 0, 0, 1, 1, 1, 0])
    >>> intercept, slope = calibration_line(y, p)
    >>> bool(abs(intercept) < 1e-9), round(slope, 3)  # log(3) / log(9)
    (True, 0.5)
    """
    return _line(_log_odds(p), np.asarray(y, dtype="float64"), w)


def calibration_offset(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> float:
    """Return the log odds by which all scores are too low (calibration in the large); 0 is perfect, NaN for one class.

    >>> round(calibration_offset(np.array([1, 0]), np.array([0.2, 0.2])), 3)  # log odds of 0.5 less those of 0.2
    1.386
    """
    return _offset(_log_odds(p), np.asarray(y, dtype="float64"), w)


def calibration_error_corrected(
    y: np.ndarray,
    p: np.ndarray,
    w: np.ndarray | None = None,
    *,
    groups: np.ndarray | None = None,
    bins: int = _BINS,
) -> float:
    """Return the expected calibration error less its bias from chance, never below 0.

    Even perfect scores show gaps between predicted and observed shares, by chance alone. Were the measured gap g of a
    bin the true one, its measured size would be that of a normal variable N(g, s²) on average; what this exceeds |g| by
    is taken off (Kumar, Liang & Ma 2019, here in closed form).

    Parameters
    ----------
    groups : entity of each row; s² then counts entities, because rows of one entity err together.
    """
    w = np.ones(len(y)) if w is None else w
    code = equal_bins(p, bins)
    gap = np.bincount(code, w * (p - y), minlength=bins)
    size, spread = np.abs(gap), _chance(w, y, code, groups, bins)
    return float(max(0.0, (2 * size - _folded_mean(size, spread)).sum() / w.sum()))


def reliability_table(
    y: np.ndarray, p: np.ndarray, groups: np.ndarray, *, n: int, seed: int, bins: int = _BINS
) -> pd.DataFrame:
    """Return all measures of reliability with 95 % intervals; resamples draw whole entities.

    Returns
    -------
    Frame: measure, value, low, high; the parts of the Brier score, its skill, the plain and the corrected calibration
    error, calibration offset, intercept and slope. The interval of the corrected error is a basic bootstrap interval:
    in a resample, the plain error of the sample is the truth. With few entities it is too narrow (800 entities of
    three rows each: 33 of 40 held the truth).
    """
    groups, cells = pd.factorize(np.asarray(groups))[0], _Cells(p)
    draws = pd.DataFrame(
        {**_measures(y, p, w, groups, bins), **cells.lines(y, w)} for w in bootstrap_weights(groups, n=n, seed=seed)
    )
    value = pd.Series({**_measures(y, p, np.ones(len(y)), groups, bins), **_lines(y, p)})
    low, high = draws.quantile(0.025), draws.quantile(0.975)
    corrected, plain = "calibration error, corrected", "calibration error"
    ends = np.clip(value[corrected] + value[plain] - np.array([high[corrected], low[corrected]]), 0, 1)
    low[corrected], high[corrected] = min(ends[0], value[corrected]), max(ends[1], value[corrected])
    return pd.DataFrame({"value": value, "low": low, "high": high}).rename_axis("measure").reset_index()


def _measures(y: np.ndarray, p: np.ndarray, w: np.ndarray, groups: np.ndarray, bins: int) -> dict[str, float]:
    return {
        "Brier": brier(y, p, w),
        **brier_parts(y, p, w, bins=bins),
        "skill": brier_skill(y, p, w),
        "calibration error": calibration_error(y, p, w, bins=bins),
        "calibration error, corrected": calibration_error_corrected(y, p, w, groups=groups, bins=bins),
    }


def _lines(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    return dict(zip(_LINES, (calibration_offset(y, p), *calibration_line(y, p)), strict=True))


class _Cells:
    """Scores gathered into at most 500 neighbourhoods, so that lines of many resamples cost little."""

    def __init__(self, p: np.ndarray) -> None:
        self.code = np.unique(equal_bins(p, _CELLS), return_inverse=True)[1]
        self.odds = np.bincount(self.code, _log_odds(p)) / np.bincount(self.code)

    def lines(self, y: np.ndarray, w: np.ndarray) -> dict[str, float]:
        """Offset, intercept and slope of one resample."""
        mass = np.bincount(self.code, w)
        kept = mass > 0
        mass, x = mass[kept], self.odds[kept]
        shares = np.bincount(self.code, w * y)[kept] / mass
        return dict(zip(_LINES, (_offset(x, shares, mass), *_line(x, shares, mass)), strict=True))


def _chance(w: np.ndarray, y: np.ndarray, code: np.ndarray, groups: np.ndarray | None, bins: int) -> np.ndarray:
    """Standard deviation by chance of the summed gap of each bin, from how entities differ inside it."""
    mass = np.bincount(code, w, minlength=bins)
    mean = np.divide(np.bincount(code, w * y, minlength=bins), mass, out=np.zeros(bins), where=mass > 0)
    if groups is None:
        return np.sqrt(mass * mean * (1 - mean))
    entity = pd.factorize(np.asarray(groups))[0]
    cell, place = np.unique(entity * bins + code, return_inverse=True)
    summed = np.bincount(place, w * (y - mean[code]))
    return np.sqrt(np.bincount(cell % bins, summed**2, minlength=bins))


def _folded_mean(centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Mean size of a normal variable."""
    from scipy.special import ndtr

    z = np.divide(centre, spread, out=np.full(len(centre), np.inf), where=spread > 0)
    return spread * np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) + centre * (1 - 2 * ndtr(-z))


def _log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)


def _line(x: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> tuple[float, float]:
    if not len(x) or x.min() == x.max():
        return float("nan"), float("nan")
    intercept, slope = _fit(np.column_stack([np.ones(len(x)), x]), np.zeros(len(x)), y, w)
    return float(intercept), float(slope)


def _offset(x: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> float:
    return float(_fit(np.ones((len(y), 1)), x, y, w)[0])


def _fit(design: np.ndarray, offset: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    """Maximum likelihood of a logistic line by Newton's method with halved steps; NaN where it runs away."""
    w = np.ones(len(y)) if w is None else w
    nothing = np.full(design.shape[1], np.nan)
    if not 0 < w @ y < w.sum():
        return nothing

    def loss(x: np.ndarray) -> float:
        eta = offset + design @ x
        return float(w @ (np.logaddexp(0, eta) - y * eta))

    x = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        q = 1 / (1 + np.exp(-np.clip(offset + design @ x, -_LONGEST, _LONGEST)))
        slope, curve = design.T @ (w * (q - y)), (design * (w * q * (1 - q))[:, None]).T @ design
        if np.linalg.cond(curve) > 1e14:
            return nothing
        step, size = np.linalg.solve(curve, slope), 1.0
        if np.abs(step).max() < 1e-9:
            return x - step
        highest = loss(x) * (1 + 1e-12)  # rounding must not look like a rise
        while loss(x - size * step) > highest and size > 1e-10:
            size /= 2
        x = x - size * step
        if np.abs(x).max() > _LONGEST:
            return nothing
    return nothing
