"""An interval per score: within what the conversion share of cases scored alike will lie, in a period yet to come."""

import numpy as np
import pandas as pd

from crmlab.metrics import bootstrap_weights
from crmlab.schema import DataError, ParameterError

from .maps import Beta, Isotonic, Shift, Sigmoid, check_outcomes, check_probabilities, expit, logit

__all__ = ["BootstrapInterval", "ScoreInterval", "score_interval"]

_PERIODS = 3
_BANDS = 5
_LEAST_INFORMATION = 2.0
"""Parts with less (the sum of q(1 - q)) say nothing about moves."""
_PRIOR_SCALE = 0.5
_SPREADS = np.linspace(0.0, 2.0, 201)
"""Standard deviations, in log odds, that are thought possible."""
_NOTHING = (_SPREADS == 0).astype("float64")
_GRID = expit(np.linspace(-8.0, 8.0, 161))
_GATHERED = 500
"""Most different scores in a refit of the bootstrap."""
_WIDEST = 100.0
_HALVINGS = 60


class ScoreInterval:
    """Interval of the true conversion share among cases with the same score, in a period that is not yet known.

    Three things make a score wrong, and their variances are added in log odds. The line between scores and outcomes is
    estimated from a limited number of entities: its covariance, clustered by entity. The truth bends away from a line:
    what score bands deviate from it beyond chance. And rates move: what periods deviate beyond chance, the next will
    as well. Deviations are estimated as between studies in a meta-analysis of random effects, with the half-normal
    prior of scale 0.5 that is recommended for log odds (Röver et al. 2021), because there are few bands and periods,
    and an estimate of 0 from three periods does not mean that nothing ever moves.

    The later period is meant to be about as long as the periods compared, a third of the reference rows; rates of a
    single week move more. And it speaks of cases with the same score together. Single cases differ from each other in
    what nobody recorded: their own probabilities lie outside more often, and no data can say which.

    Parameters
    ----------
    level : share of periods whose true share is to lie inside.

    Attributes
    ----------
    coef_ : intercept and slope of the line in log odds, shape (2,).
    covariance_ : of these, shape (2, 2).
    bent_, moved_ : standard deviation in log odds between score bands and between periods, beyond chance; `moved_` is
        NaN for undated rows: the interval then holds for the period of the rows, and is too narrow for a later one.
    low_, high_ : log odds of the ends on a grid of scores, shape (161,).
    """

    def __init__(self, level: float = 0.9) -> None:
        self.level = level

    def fit(
        self, p: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None, order: np.ndarray | None = None
    ) -> "ScoreInterval":
        """Learn from out-of-time scores and their outcomes.

        Parameters
        ----------
        p, y : published probabilities of rows the model had not seen, and outcomes (0 or 1), shape (rows,).
        groups : entity of each row; None means that every row is its own.
        order : dates or running numbers, old to new; None where nothing is known.

        Raises
        ------
        NotEnoughEvidence : all outcomes are the same.
        """
        _check_level(self.level)
        p, y, _ = check_outcomes(p, y)
        groups = _entity_codes(groups, len(p))
        self.coef_, self.covariance_ = _line(logit(p), y, groups)
        q = expit(_design(p) @ self.coef_)
        bent = _between(*_deviations(q, y, _bands(p), groups))
        moved = _NOTHING if order is None else _between(*_deviations(q, y, _periods(order, len(p)), groups))
        self.bent_ = float(np.sqrt(bent @ _SPREADS**2))
        self.moved_ = float("nan") if order is None else float(np.sqrt(moved @ _SPREADS**2))
        design = _design(_GRID)
        fixed = np.einsum("ij,jk,ik->i", design, self.covariance_, design) + self.bent_**2
        half = _half_width(fixed, moved, self.level)
        self.low_, self.high_ = design @ self.coef_ - half, design @ self.coef_ + half
        return self

    def interval(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return low and high of each score, shape (rows,) each; the score itself always lies inside."""
        p = check_probabilities(p)
        low, high = (expit(np.interp(logit(p), logit(_GRID), ends)) for ends in (self.low_, self.high_))
        return np.minimum(low, p), np.maximum(high, p)

    def __repr__(self) -> str:
        moved = f", bent={self.bent_:.3g}, moved={self.moved_:.3g}" if hasattr(self, "moved_") else ""
        return f"ScoreInterval(level={self.level}{moved})"


class BootstrapInterval:
    """Interval of the calibration map: entities drawn again, the map fitted again, quantiles of what it gives.

    It knows the chance of the draw, clusters included, but not that rates move from one period to the next.

    Parameters
    ----------
    level : nominal coverage.
    calibrator : `isotonic`, `beta` or `sigmoid`, the map refitted.
    n_bootstrap : resamples of entities.
    seed : of the draws.
    """

    def __init__(self, level: float = 0.9, calibrator: str = "beta", n_bootstrap: int = 200, seed: int = 0) -> None:
        self.level = level
        self.calibrator = calibrator
        self.n_bootstrap = n_bootstrap
        self.seed = seed

    def fit(self, p: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> "BootstrapInterval":
        """Refit the map on resamples and keep its quantiles on a grid; arguments as of `ScoreInterval.fit`."""
        _check_level(self.level)
        p, y, _ = check_outcomes(p, y)
        kind = _map_of(self.calibrator)
        scores, code = _gathered(p)
        both, classes, curves = np.r_[scores, scores], np.repeat([1, 0], len(scores)), []
        for w in bootstrap_weights(_entity_codes(groups, len(p)), n=self.n_bootstrap, seed=self.seed):
            hits, rows = np.bincount(code, w * y), np.bincount(code, w)
            if 0 < hits.sum() < rows.sum():  # a resample of one class teaches nothing
                curves.append(kind().fit(both, classes, np.r_[hits, rows - hits]).transform(_GRID))
        tail = (1 - self.level) / 2
        self.low_, self.high_ = np.quantile(curves, [tail, 1 - tail], axis=0)
        return self

    def interval(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return low and high of each score, shape (rows,) each."""
        p = check_probabilities(p)
        return np.interp(p, _GRID, self.low_), np.interp(p, _GRID, self.high_)

    def __repr__(self) -> str:
        return f"BootstrapInterval(level={self.level}, calibrator={self.calibrator!r})"


def score_interval(
    p: np.ndarray,
    *,
    p_ref: np.ndarray,
    y_ref: np.ndarray,
    groups: np.ndarray | None = None,
    order: np.ndarray | None = None,
    level: float = 0.9,
) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high of scores `p`, from reference rows with known outcomes; see `ScoreInterval`."""
    return ScoreInterval(level).fit(p_ref, y_ref, groups, order).interval(p)


def _check_level(level: float) -> None:
    """Check that a nominal coverage lies between 0 and 1; raises ParameterError."""
    if not 0 < level < 1:
        raise ParameterError("`level` must lie between 0 and 1.", found=str(level), remedy="write for example 0.9.")


def _entity_codes(groups: np.ndarray | None, rows: int) -> np.ndarray:
    """Return a running number per entity, shape (rows,); every row its own without `groups`."""
    codes = np.arange(rows) if groups is None else pd.factorize(np.asarray(groups))[0]
    if len(codes) != rows:
        raise DataError("There must be one entity per row.", found=f"{len(codes):,} entities, {rows:,} rows")
    return codes


def _map_of(name: str) -> type:
    maps = {"isotonic": Isotonic, "beta": Beta, "sigmoid": Sigmoid, "shift": Shift}
    if name not in maps:
        raise ParameterError(
            "There is no such calibration.", found=repr(name), remedy=f"write one of {', '.join(maps)}."
        )
    return maps[name]


def _gathered(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores gathered into at most 500 means of neighbours, and the place of each row: refits then cost little."""
    edges = np.unique(np.quantile(p, np.arange(1, _GATHERED) / _GATHERED))
    code = np.unique(np.searchsorted(edges, p, side="left"), return_inverse=True)[1]
    return np.bincount(code, p) / np.bincount(code), code


def _design(p: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(p)), logit(p)])


def _line(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logistic line of outcomes on log odds of the scores, and its covariance when whole entities are drawn."""
    fitted = Sigmoid().fit(expit(x), y)
    coef = np.array([fitted.intercept_, fitted.slope_])
    design = np.column_stack([np.ones(len(x)), x])
    q = expit(design @ coef)
    # A trace of ridge: all scores equal leave the slope unknown, and then it matters nowhere.
    bread = np.linalg.inv((design * (q * (1 - q))[:, None]).T @ design + 1e-6 * np.eye(2))
    score = design * (y - q)[:, None]
    per_entity = np.column_stack([np.bincount(groups, score[:, j]) for j in range(2)])
    count = int(groups.max()) + 1
    return coef, bread @ (per_entity.T @ per_entity) @ bread * count / max(count - 1, 1)


def _bands(p: np.ndarray) -> np.ndarray:
    """Score band of each row, bands of about equal numbers of rows."""
    return np.searchsorted(np.unique(np.quantile(p, np.arange(1, _BANDS) / _BANDS)), p, side="left")


def _periods(order: np.ndarray, rows: int) -> np.ndarray:
    """Period of each row: about equal numbers of rows, rows of one date together."""
    rank = pd.Series(np.asarray(order)).rank(method="average", pct=True).to_numpy()
    if len(rank) != rows or np.isnan(rank).any():
        raise DataError(
            "`order` must hold a date or number for every row.",
            found=f"{len(rank):,} values for {rows:,} rows, {int(np.isnan(rank).sum()):,} of them missing",
        )
    return np.minimum((rank * _PERIODS).astype(int), _PERIODS - 1)


def _deviations(q: np.ndarray, y: np.ndarray, part: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log odds by which the outcomes of each part deviate from `q`, and the variance of that by chance."""
    information = np.bincount(part, q * (1 - q))
    summed = pd.Series(y - q).groupby([groups, part]).sum()
    squared = np.bincount(summed.index.get_level_values(1), summed.to_numpy() ** 2, minlength=len(information))
    used = information > _LEAST_INFORMATION
    # Chance is at least that of independent rows: few entities can agree by luck.
    chance = np.maximum(squared, information)[used]
    return np.bincount(part, y - q)[used] / information[used], chance / information[used] ** 2


def _between(deviation: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Posterior weights of `_SPREADS`, the standard deviation between parts beyond chance."""
    total = variance[None, :] + _SPREADS[:, None] ** 2
    log_posterior = -0.5 * (deviation**2 / total + np.log(total)).sum(axis=1) - 0.5 * (_SPREADS / _PRIOR_SCALE) ** 2
    weight = np.exp(log_posterior - log_posterior.max())
    return weight / weight.sum()


def _half_width(fixed: np.ndarray, moved: np.ndarray, level: float) -> np.ndarray:
    """Half width that holds `level` of a normal variable whose variance is `fixed` plus an uncertain `_SPREADS`²."""
    from scipy.special import ndtr

    deviation = np.sqrt(fixed[:, None] + _SPREADS**2)
    low, high = np.zeros(len(fixed)), np.full(len(fixed), _WIDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        short = (2 * ndtr(middle[:, None] / deviation) - 1) @ moved < level
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return high
