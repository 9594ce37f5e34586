"""An interval per score: within what the conversion share of cases scored alike will lie, in a period yet to come."""

import numpy as np
import pandas as pd

from crmlab.metrics import bootstrap_weights
from crmlab.schema import DataError, ParameterError

from .maps import Beta, Isotonic, Shift, Sigmoid, check_outcomes, check_probabilities, expit, logit

__all__ = ["BootstrapInterval", "ScoreInterval", "score_interval"]

_PERIODS = 6
_BANDS = 5
_FEWEST_CELL = 5.0
"""Expected converted, and expected other, rows of a cell; cells with fewer say nothing about moves."""
_GATHERED = 500
_GRID = expit(np.linspace(-8.0, 8.0, 161))


class ScoreInterval:
    """Interval of the true conversion share among cases with the same score, in a period that is not yet known.

    Two things make a score wrong, and both are added in log odds. First, the line between scores and outcomes is
    estimated from a limited number of entities: its covariance, clustered by entity. Second, rates move: the rows are
    cut into periods and score bands, and what the cells deviate from the line beyond chance, in variance
    (DerSimonian & Laird 1986), is what the next period will deviate as well. With t quantiles, because there are few
    cells; as a prediction interval of a random-effects meta-analysis (Higgins, Thompson & Spiegelhalter 2009).

    It speaks of cases with the same score together. Single cases differ from each other in what nobody recorded: their
    own probabilities lie outside more often, and no data can say where.

    Parameters
    ----------
    level : share of periods whose true share is to lie inside.

    Attributes
    ----------
    coef_ : intercept and slope of the line in log odds, shape (2,).
    covariance_ : of these, shape (2, 2).
    moved_ : standard deviation of log odds between cells beyond chance.
    quantile_ : of the t distribution.
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
        order : dates or running numbers, old to new; None where nothing is known: only score bands are compared then.

        Raises
        ------
        NotEnoughEvidence : all outcomes are the same.
        """
        _check_level(self.level)
        p, y, _ = check_outcomes(p, y)
        groups = _entity_codes(groups, len(p))
        self.coef_, self.covariance_ = _line(logit(p), y, groups)
        cells = _cells(p, order)
        deviation, variance = _deviations(expit(_design(p) @ self.coef_), y, cells, groups)
        self.moved_ = float(np.sqrt(_between(deviation, variance)))
        self.n_cells_ = len(deviation)
        self.quantile_ = _t_quantile(self.level, len(deviation) - 2)
        return self

    def interval(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return low and high of each score, shape (rows,) each; the score itself always lies inside."""
        p = check_probabilities(p)
        design = _design(p)
        spread = np.sqrt(np.einsum("ij,jk,ik->i", design, self.covariance_, design) + self.moved_**2)
        centre, half = design @ self.coef_, self.quantile_ * spread
        return np.minimum(expit(centre - half), p), np.maximum(expit(centre + half), p)

    def __repr__(self) -> str:
        moved = f", moved={self.moved_:.3g}" if hasattr(self, "moved_") else ""
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


def _cells(p: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """Cell of each row: period (about equal numbers of rows, dates kept together) × score band."""
    band = np.searchsorted(np.unique(np.quantile(p, np.arange(1, _BANDS) / _BANDS)), p, side="left")
    if order is None:
        return band
    ranks = pd.Series(np.asarray(order)).rank(method="average", pct=True).to_numpy()
    if np.isnan(ranks).any():
        raise DataError("`order` must hold a date or number for every row.", found=f"{np.isnan(ranks).sum():,} gaps")
    period = np.minimum((ranks * _PERIODS).astype(int), _PERIODS - 1)
    return period * _BANDS + band


def _deviations(q: np.ndarray, y: np.ndarray, cells: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log odds by which the outcomes of each cell deviate from `q`, and the variance of that by chance."""
    information = np.bincount(cells, q * (1 - q))
    expected, rows = np.bincount(cells, q), np.bincount(cells)
    used = np.minimum(expected, rows - expected) >= _FEWEST_CELL
    pair = pd.DataFrame({"cell": cells, "group": groups, "residual": y - q}).groupby(["cell", "group"])["residual"]
    squared = pair.sum().pow(2).groupby("cell").sum().reindex(range(len(rows)), fill_value=0.0).to_numpy()
    # Chance is at least that of independent rows: few entities can agree by luck.
    chance = np.maximum(squared, information)[used]
    return np.bincount(cells, y - q)[used] / information[used], chance / information[used] ** 2


def _between(deviation: np.ndarray, variance: np.ndarray) -> float:
    """Variance between cells beyond chance (DerSimonian & Laird 1986), around 0; 0 where chance explains all."""
    if len(deviation) < 2:
        return 0.0
    weight = 1 / variance
    excess = weight @ deviation**2 - len(deviation)
    return max(0.0, float(excess / weight.sum()))


def _t_quantile(level: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, max(freedom, 3)))
