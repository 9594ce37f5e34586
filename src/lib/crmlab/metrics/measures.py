"""Pure measurements of probabilities against outcomes, with cluster-bootstrap intervals.

Every measure takes row weights, so that a bootstrap resample is a vector of counts and no row is ever copied. Rows of
one lead resemble each other; resamples therefore draw leads, not rows.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd

from crmlab.intervals import wilson
from crmlab.schema import ParameterError

__all__ = [
    "METRICS",
    "average_precision",
    "bootstrap_metrics",
    "bootstrap_weights",
    "brier",
    "calibration_error",
    "calibration_table",
    "check_resamples",
    "equal_bins",
    "lift",
    "lift_table",
    "log_loss",
    "log_loss_difference",
    "roc_auc",
]

_EPS = 1e-15
_BINS = 10
_TOP = 0.10
_FEWEST_RESAMPLES = 20


def log_loss(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> float:
    """Mean negative log likelihood, natural logarithm; lower is better.

    >>> round(log_loss(np.array([1, 0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    p = np.clip(p, _EPS, 1 - _EPS)
    return float(np.average(-np.where(y == 1, np.log(p), np.log1p(-p)), weights=w))


def brier(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> float:
    """Mean squared error of the probability (Brier 1950); lower is better."""
    return float(np.average((y - p) ** 2, weights=w))


def roc_auc(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> float:
    """Chance that a converted row scores above another one, ties counting half; NaN with one class only."""
    positive, negative = _mass_by_score(y, p, w)
    if not positive.sum() or not negative.sum():
        return float("nan")
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2) / (positive.sum() * negative.sum()))


def average_precision(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> float:
    """Sum of precision over steps of recall, from the highest score down; NaN without a converted row."""
    positive, negative = (mass[::-1] for mass in _mass_by_score(y, p, w))
    if not positive.sum():
        return float("nan")
    hits = np.cumsum(positive)
    called = hits + np.cumsum(negative)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    return float(positive @ precision / positive.sum())


def lift(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None, *, share: float = _TOP) -> float:
    """Conversion rate among the top `share` of scores over the rate of all; rows tied at the cut count in part."""
    positive, negative = (mass[::-1] for mass in _mass_by_score(y, p, w))
    mass = positive + negative
    if not positive.sum():
        return float("nan")
    room = share * mass.sum() - (np.cumsum(mass) - mass)
    taken = np.clip(np.divide(room, mass, out=np.zeros_like(mass), where=mass > 0), 0, 1)
    return float((positive @ taken / (share * mass.sum())) / (positive.sum() / mass.sum()))


def calibration_error(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None, *, bins: int = _BINS) -> float:
    """Expected calibration error: mean gap between predicted and observed share over bins of equal size.

    Bins hold equal numbers of rows, equal scores stay together. The estimate is biased upwards in small samples, and
    so is its interval.
    """
    w = np.ones(len(y)) if w is None else w
    code = equal_bins(p, bins)
    gap = np.bincount(code, w * (p - y), minlength=bins)
    return float(np.abs(gap).sum() / w.sum())


METRICS: dict[str, Callable[..., float]] = {
    "log loss": log_loss,
    "Brier": brier,
    "ROC AUC": roc_auc,
    "average precision": average_precision,
    "lift at 10 %": lift,
    "calibration error": calibration_error,
}


def bootstrap_weights(groups: np.ndarray, *, n: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each row counts in each of `n` resamples of whole groups; one (rows,) array at a time."""
    check_resamples(n)
    codes, names = pd.factorize(groups)
    generator = np.random.default_rng(seed)
    for _ in range(n):
        drawn = generator.integers(0, len(names), len(names))
        yield np.bincount(drawn, minlength=len(names))[codes].astype("float64")


def check_resamples(n: int) -> None:
    """Check that there are enough resamples to speak of a 95 % interval.

    Raises
    ------
    ParameterError : fewer than 20; of fewer, not even one lies outside.
    """
    if n < _FEWEST_RESAMPLES:
        raise ParameterError(
            f"`n_bootstrap` must be at least {_FEWEST_RESAMPLES}.", found=str(n), remedy="write for example 200."
        )


def bootstrap_metrics(
    y: np.ndarray, predictions: Mapping[str, np.ndarray], groups: np.ndarray, *, reference: str, n: int, seed: int
) -> pd.DataFrame:
    """Measure every model with a 95 % interval, and its paired difference from a reference model.

    Parameters
    ----------
    y : outcomes, 0 or 1, shape (rows,).
    predictions : model name → probabilities, shape (rows,).
    groups : lead of each row; resamples draw leads.
    reference : model that the differences are taken from, on the same resamples.
    n : resamples.

    Returns
    -------
    Tidy frame: model, metric, value, low, high, difference, difference_low, difference_high, n (rows).
    """
    # Presorted scores make the sort inside every measure linear.
    ranked = {model: np.argsort(p, kind="stable") for model, p in predictions.items()}
    ordered = {model: (y[rank], predictions[model][rank]) for model, rank in ranked.items()}
    samples = {(model, metric): np.empty(n) for model in predictions for metric in METRICS}
    for k, w in enumerate(bootstrap_weights(groups, n=n, seed=seed)):
        for (model, metric), values in samples.items():
            values[k] = METRICS[metric](*ordered[model], w[ranked[model]])
    rows = [_measured(model, metric, y, predictions, samples, reference) for metric in METRICS for model in predictions]
    names = ["model", "metric", "value", "low", "high", "difference", "difference_low", "difference_high", "n"]
    return pd.DataFrame(rows, columns=names)


def log_loss_difference(
    y: np.ndarray, p: np.ndarray, q: np.ndarray, groups: np.ndarray, *, n: int, seed: int
) -> tuple[float, float, float]:
    """Return the mean log loss of `p` minus that of `q` with its paired 95 % interval; negative when `p` is better."""
    p, q = (np.clip(x, _EPS, 1 - _EPS) for x in (p, q))
    gap = np.where(y == 1, np.log(q) - np.log(p), np.log1p(-q) - np.log1p(-p))
    samples = np.array([np.average(gap, weights=w) for w in bootstrap_weights(groups, n=n, seed=seed)])
    return (float(gap.mean()), *_interval(samples))


def calibration_table(y: np.ndarray, p: np.ndarray, *, bins: int = _BINS) -> pd.DataFrame:
    """Return predicted and observed share per bin of equal size, with a Wilson 95 % interval of the observed one.

    Returns
    -------
    Frame: predicted, observed, low, high, n; one row per bin that holds rows.
    """
    code = equal_bins(p, bins)
    table = (
        pd.DataFrame({"bin": code, "predicted": p, "observed": y})
        .groupby("bin")
        .agg(predicted=("predicted", "mean"), observed=("observed", "mean"), n=("observed", "size"))
    )
    low, high = wilson(table["observed"].to_numpy(), table["n"].to_numpy())
    return table.assign(low=low, high=high)[["predicted", "observed", "low", "high", "n"]].reset_index(drop=True)


def lift_table(y: np.ndarray, p: np.ndarray, *, shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5)) -> pd.DataFrame:
    """Return, for the top share of scores, its lift and the share of all conversions that it holds.

    Returns
    -------
    Frame: share, n (rows called), lift, captured.
    """
    lifts = np.array([lift(y, p, share=s) for s in shares])
    counts = [round(s * len(y)) for s in shares]
    return pd.DataFrame({"share": shares, "n": counts, "lift": lifts, "captured": lifts * np.array(shares)})


def _mass_by_score(y: np.ndarray, p: np.ndarray, w: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weight of converted and other rows at each distinct score, lowest score first."""
    if not len(y):
        return np.empty(0), np.empty(0)
    w = np.ones(len(y)) if w is None else w
    order = np.argsort(p, kind="stable")
    ordered = p[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    positive = np.add.reduceat((w * y)[order], starts)
    return positive, np.add.reduceat(w[order], starts) - positive


def equal_bins(p: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each score: up to `bins` bins of about equal numbers of rows; equal scores stay together."""
    edges = np.unique(np.quantile(p, np.arange(1, bins) / bins))
    return np.searchsorted(edges, p, side="left")


def _measured(model: str, metric: str, y: np.ndarray, predictions: Mapping, samples: Mapping, reference: str) -> tuple:
    value, base = (METRICS[metric](y, predictions[m]) for m in (model, reference))
    gap = samples[model, metric] - samples[reference, metric]
    return (model, metric, value, *_interval(samples[model, metric]), value - base, *_interval(gap), len(y))


def _interval(samples: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(samples, [0.025, 0.975])
    return float(low), float(high)
