"""Rolling origin: the same models fitted again and again on what was known, each time tested on what came next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from crmlab.metrics import METRICS, bootstrap_weights
from crmlab.schema import DataError, NotEnoughEvidence, ParameterError

from .comparison import learnable

__all__ = ["Origins", "rolling_origins", "thin_rows"]

_METRICS = ("log loss", "Brier", "ROC AUC", "calibration error")
_FEWEST = 20
"""Fewest entities with, and without, the outcome on either side of an origin."""
_FEWEST_ORIGINS = 2


@dataclass(frozen=True)
class Origins:
    """What models did at each origin.

    Attributes
    ----------
    table : origin (1, 2, …, old to new), train_to (newest date fitted), test_from, test_to, n_train, n_test (rows),
        entities (tested), observed (share of outcomes tested), model, metric, value, low, high (95 %, entities drawn),
        base (the metric of the share of the training rows, as a forecast).
    skipped : test_from, test_to, reason of the periods with too few outcomes.
    """

    table: pd.DataFrame
    skipped: pd.DataFrame

    def trend(self) -> pd.DataFrame:
        """Return how each metric moves from origin to origin.

        Returns
        -------
        Frame: model, metric, origins, first, last, mean, spread (standard deviation), slope (per origin), low, high
        (95 %, t), base_wins (origins at which the base rate was at least as good; NaN for the calibration error, which
        a constant gets right easily). Origins share training rows: the interval is a guide and not a test.
        """
        rows = [_trend(*key, part) for key, part in self.table.groupby(["model", "metric"], sort=False)]
        names = ["model", "metric", "origins", "first", "last", "mean", "spread", "slope", "low", "high", "base_wins"]
        return pd.DataFrame(rows, columns=names)


def rolling_origins(
    features: pd.DataFrame,
    rows: pd.DataFrame,
    make: Callable[[pd.DataFrame], Mapping[str, Callable[[], object]]],
    *,
    key: str,
    gap_days: int,
    n_origins: int = 4,
    tested_share: float = 0.5,
    fit: Callable[[object, pd.DataFrame, np.ndarray, pd.DataFrame], object] | None = None,
    n_bootstrap: int = 100,
    seed: int = 0,
) -> Origins:
    """Fit every model at several origins on the past, and test it on the period that follows each.

    Parameters
    ----------
    features : row for row what was known, as of `features.build_features`.
    rows : as_of, label, mature and the key column, row for row; only mature rows are used. See `thin_rows` for speed.
    make : from the features that the training rows of an origin can teach to model → maker of an unfitted estimator,
        as `lambda known: make_models(known, seed=0)` does.
    key : name of the column with the entity.
    gap_days : at least the horizon: a training row must lie so long before the test period, so that its outcome was
        settled by then.
    n_origins : test periods, of equal length, side by side.
    tested_share : share of the time from the first to the last mature row that the test periods cover, the newest.
    fit : fits a model: (estimator, features, outcomes, rows) → estimator; plain `estimator.fit(X, y)` unless given.
    n_bootstrap, seed : resamples of entities for the intervals.

    Raises
    ------
    NotEnoughEvidence : fewer than two periods hold at least 20 entities of each outcome on both sides.
    DataError : a row has no date, or features and rows do not fit together.
    ParameterError : a number that is not possible.
    """
    _check_numbers(n_origins, tested_share, gap_days)
    _check_frames(features, rows)
    mature = rows["mature"].to_numpy(dtype=bool)
    dates = rows["as_of"].to_numpy()
    edges = _period_edges(dates[mature], n_origins, tested_share)
    measured, skipped = [], []
    for start, end in pairwise(edges):
        test = mature & (dates >= start) & (dates < end)
        train = mature & (dates + np.timedelta64(gap_days, "D") <= start)
        short = _too_few(rows[train], rows[test], key)
        if short:
            skipped.append((pd.Timestamp(start), pd.Timestamp(end), short))
            continue
        period = _Period(features, rows, np.flatnonzero(train), np.flatnonzero(test), key)
        measured += period.measure(make, fit or _plain_fit, n=n_bootstrap, seed=seed)
    table = pd.DataFrame(measured)
    if not len(table) or table["test_from"].nunique() < _FEWEST_ORIGINS:
        raise NotEnoughEvidence(
            "Too few periods can be tested to speak of more than one origin.",
            found="; ".join(f"from {a:%Y-%m-%d}: {why}" for a, _, why in skipped) or "one period",
            remedy="bring more history, or ask for fewer origins or a shorter horizon.",
        )
    number = {start: i + 1 for i, start in enumerate(sorted(table["test_from"].unique()))}
    table.insert(0, "origin", table["test_from"].map(number))
    return Origins(table, pd.DataFrame(skipped, columns=["test_from", "test_to", "reason"]))


def thin_rows(rows: pd.DataFrame, *, key: str, seed: int, most: int | None = None) -> np.ndarray:
    """Return positions of one row per entity and calendar month, drawn by lot, and at most `most` of these, ascending.

    Rows of one entity in one month say nearly the same; every entity and every month stays.
    """
    drawn = np.random.default_rng(seed).permutation(len(rows))
    month = rows["as_of"].dt.year * 12 + rows["as_of"].dt.month
    pairs = pd.DataFrame({"key": rows[key].to_numpy(), "month": month.to_numpy()}).iloc[drawn]
    kept = drawn[~pairs.duplicated().to_numpy()]
    return np.sort(kept[:most])


@dataclass(frozen=True)
class _Period:
    """Training rows before an origin, and the test rows after it."""

    features: pd.DataFrame
    rows: pd.DataFrame
    train: np.ndarray
    test: np.ndarray
    key: str

    def measure(self, make: Callable, fit: Callable, *, n: int, seed: int) -> list[dict[str, object]]:
        """One row per model and metric."""
        labels = self.rows["label"].astype("float64").to_numpy()
        y, groups = labels[self.test], self.rows[self.key].to_numpy()[self.test]
        base = np.full(len(y), labels[self.train].mean())
        weights = list(bootstrap_weights(groups, n=n, seed=seed))
        known = self.features.iloc[self.train]
        known = known[learnable(known)]
        out = []
        for model, maker in make(known).items():
            fitted = fit(maker(), known, labels[self.train].astype(int), self.rows.iloc[self.train])
            p = fitted.predict_proba(self.features[known.columns].iloc[self.test])[:, 1]
            ranked = np.argsort(p, kind="stable")
            for metric in _METRICS:
                draws = [METRICS[metric](y[ranked], p[ranked], w[ranked]) for w in weights]
                low, high = np.nanquantile(draws, [0.025, 0.975])
                figures = {"value": METRICS[metric](y, p), "low": low, "high": high, "base": METRICS[metric](y, base)}
                out.append({**self._about(y, groups), "model": model, "metric": metric, **figures})
        return out

    def _about(self, y: np.ndarray, groups: np.ndarray) -> dict[str, object]:
        dates = self.rows["as_of"]
        return {
            "train_to": dates.iloc[self.train].max(),
            "test_from": dates.iloc[self.test].min(),
            "test_to": dates.iloc[self.test].max(),
            "n_train": len(self.train),
            "n_test": len(self.test),
            "entities": pd.Series(groups).nunique(),
            "observed": float(y.mean()),
        }


def _plain_fit(model: object, X: pd.DataFrame, y: np.ndarray, _rows: pd.DataFrame) -> object:
    return model.fit(X, y)


def _period_edges(dates: np.ndarray, n_origins: int, tested_share: float) -> np.ndarray:
    if not len(dates):
        raise NotEnoughEvidence("No label is mature.", remedy="choose a shorter horizon or a later `as_of`.")
    first, last = dates.min(), dates.max() + np.timedelta64(1, "us")
    span = (last - first) * tested_share / n_origins
    return np.array([last - span * k for k in range(n_origins, 0, -1)] + [last])


def _too_few(train: pd.DataFrame, test: pd.DataFrame, key: str) -> str:
    for side, part in (("train", train), ("test", test)):
        for outcome in (True, False):
            count = part.loc[part["label"].eq(outcome), key].nunique()
            if count < _FEWEST:
                return f"{count} entities {'with' if outcome else 'without'} the outcome to {side} on"
    return ""


def _trend(model: str, metric: str, part: pd.DataFrame) -> tuple:
    from scipy.stats import t

    values, x = part["value"].to_numpy(), part["origin"].to_numpy("float64")
    better = -1.0 if metric == "ROC AUC" else 1.0
    base_wins = (better * part["base"] <= better * part["value"]).sum() if metric != "calibration error" else np.nan
    centred = x - x.mean()
    slope = float(centred @ values / (centred @ centred))
    left = values - values.mean() - slope * centred
    freedom = len(values) - 2
    error = np.sqrt(left @ left / freedom / (centred @ centred)) if freedom > 0 else np.nan
    half = float(t.ppf(0.975, freedom) * error) if freedom > 0 else np.nan
    ends = (values[0], values[-1], values.mean(), values.std(ddof=1))
    return model, metric, len(values), *ends, slope, slope - half, slope + half, base_wins


def _check_numbers(n_origins: int, tested_share: float, gap_days: int) -> None:
    if n_origins < _FEWEST_ORIGINS or not 0 < tested_share < 1 or gap_days < 0:
        raise ParameterError(
            "At least 2 origins, a share between 0 and 1 and a gap of 0 days or more are needed.",
            found=f"{n_origins} origins, share {tested_share}, gap {gap_days}",
        )


def _check_frames(features: pd.DataFrame, rows: pd.DataFrame) -> None:
    if len(features) != len(rows):
        raise DataError("Features and rows must stand row for row.", found=f"{len(features):,} and {len(rows):,} rows")
    if rows["as_of"].isna().any():
        raise DataError(
            "A rolling origin needs the date of every row.", found=f"{int(rows['as_of'].isna().sum()):,} rows without"
        )
