"""Did the scores come true: loss and calibration, month by month, tier by tier, and what the ranking was worth."""

from itertools import pairwise

import numpy as np
import pandas as pd

from crmlab.intervals import Z, difference_interval, wilson
from crmlab.metrics import bootstrap_weights, calibration_error_corrected, log_loss
from crmlab.scores import BANDS, GRADES

from .settled import Settled

__all__ = [
    "KEPT",
    "REVERSED",
    "UNCERTAIN",
    "clustered_share",
    "kpi_table",
    "month_table",
    "realised_table",
    "tier_table",
]

KEPT, UNCERTAIN, REVERSED = "kept", "not certain", "reversed"
_TIERS = {"priority": ("band", BANDS), "grade": ("grade", GRADES), "class": ("class_1_5", (5, 4, 3, 2, 1))}
_TIER_COLUMNS = {
    "kind": "str",
    "tier": "str",
    "n": "int64",
    "n_entities": "int64",
    "p_from": "float64",
    "p_below": "float64",
    "expected": "float64",
    "observed": "float64",
    "low": "float64",
    "high": "float64",
    "came_true": "boolean",
    "order": "str",
}
_MONTH_COLUMNS = ["month", "n", "n_entities", "expected", "observed", "low", "high", "log_loss"]
_KPIS = ["quarter", "n", "rate", "called", "hit_rate", "hit_low", "hit_high", "top_quarter", "top_low", "top_high"]
_TOP = 0.25
_TIER_LEVELS = 13
"""Tiers of the three kinds together: each interval is widened so that one false alarm in twenty looks is left."""


def clustered_share(y: np.ndarray, groups: np.ndarray, *, z: float = Z) -> tuple[float, float, float]:
    """Return a share with its interval, where rows of one entity tell the same story.

    Wilson's interval with the effective number of rows: n over the design effect of the entities (Kish 1965), at least
    the number of entities where nothing varies and never more than n.

    Parameters
    ----------
    y : (n,) 0 or 1. groups : (n,) entities. z : normal point of the interval; 95 % unless told.
    """
    n = len(y)
    if not n:
        return np.nan, np.nan, np.nan
    share = float(np.mean(y))
    code = pd.factorize(np.asarray(groups))[0]
    k = code.max() + 1
    gap = np.bincount(code, np.asarray(y, dtype=float) - share)
    spread = (gap**2).sum() * k / max(k - 1, 1) / n**2
    n_eff = share * (1 - share) / spread if spread > 0 and 0 < share < 1 else k
    n_eff = min(max(n_eff, 1.0), n)
    low, high = _wilson(share, n_eff, z)
    return share, low, high


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """`intervals.wilson` at another level: z enters only with n, as n / z²."""
    low, high = wilson(np.float64(share), np.float64(n * (Z / z) ** 2))
    return float(max(low, 0.0)), float(min(high, 1.0))


def realised_table(settled: Settled, *, base_rate: float, n_bootstrap: int, seed: int) -> pd.DataFrame:
    """Return what the scores were worth, with 95 % intervals over whole entities.

    Parameters
    ----------
    base_rate : share with the outcome when the model was trained: what to say without a model.

    Returns
    -------
    Frame by `measure`: value, low, high. Measures: log loss; log loss promised (what the scores themselves expect to
    lose if they are right); log loss less promised; log loss less base rate (negative: better than one number for all);
    calibration error (corrected for chance); observed less expected share. Empty without rows.
    """
    y, p, groups = settled.y, settled.p, settled.groups
    if not len(y):
        return pd.DataFrame({"measure": [], "value": [], "low": [], "high": []}).astype({"measure": "str"})
    values = _measures(y, p, np.ones(len(y)), groups, base_rate)
    drawn = [_measures(y, p, w, groups, base_rate) for w in bootstrap_weights(groups, n=n_bootstrap, seed=seed)]
    low, high = np.nanquantile(pd.DataFrame(drawn).to_numpy(), [0.025, 0.975], axis=0)
    return pd.DataFrame({"measure": list(values), "value": list(values.values()), "low": low, "high": high})


def _measures(y: np.ndarray, p: np.ndarray, w: np.ndarray, groups: np.ndarray, base_rate: float) -> dict[str, float]:
    loss = log_loss(y, p, w)
    q = np.clip(p, 1e-6, 1 - 1e-6)
    promised = float(np.average(-q * np.log(q) - (1 - q) * np.log(1 - q), weights=w))
    return {
        "log loss": loss,
        "log loss promised": promised,
        "log loss less promised": loss - promised,
        "log loss less base rate": loss - log_loss(y, np.full(len(y), base_rate), w),
        "calibration error": calibration_error_corrected(y, p, w, groups=groups),
        "observed less expected": float(np.average(y - p, weights=w)),
    }


def month_table(settled: Settled) -> pd.DataFrame:
    """Return one row per month of scoring: n, n_entities, expected and observed share with interval, log loss."""
    rows = settled.rows.assign(month=settled.rows["as_of"].dt.strftime("%Y-%m"))
    parts = [_month(month, part) for month, part in rows.groupby("month", sort=True)]
    return pd.DataFrame(parts, columns=_MONTH_COLUMNS)


def _month(month: str, part: pd.DataFrame) -> tuple:
    y, p, groups = part["label"].to_numpy("float64"), part["p"].to_numpy("float64"), part["entity_id"].to_numpy()
    return (month, len(part), part["entity_id"].nunique(), p.mean(), *clustered_share(y, groups), log_loss(y, p))


def tier_table(settled: Settled) -> pd.DataFrame:
    """Return every tier that was published, tested again: what it promised and what came.

    A tier promises the range of probabilities that its word stands for: the cut points of grades and classes where they
    are known, otherwise (and for priority) the range of the scores that carried the word. It came true if the interval
    of the observed share meets that range. Intervals are widened for the 13 tiers together (Bonferroni).

    Returns
    -------
    Frame, best tier first within each kind: kind, tier, n, n_entities, p_from, p_below (promised), expected (mean
    score), observed, low, high, came_true (missing without rows), order (against the tier below: kept, not certain,
    reversed; empty for the last one or without rows).
    """
    from scipy.special import ndtri

    z = float(ndtri(1 - 0.025 / _TIER_LEVELS))
    parts = [_tiers(settled, kind, *where, z) for kind, where in _TIERS.items()]
    return pd.concat(parts, ignore_index=True)


def _tiers(settled: Settled, kind: str, column: str, words: tuple, z: float) -> pd.DataFrame:
    promised = _promised(settled, kind)
    rows = [
        (
            kind,
            str(word),
            *_tier(settled.rows[(settled.rows[column] == word).fillna(False)], z, promised.get(str(word))),
        )
        for word in words
    ]
    table = pd.DataFrame(rows, columns=list(_TIER_COLUMNS)[:-1]).assign(order="")
    seen = table.index[table["n"] > 0]
    for above, below in pairwise(seen):
        table.loc[above, "order"] = _order(table.loc[above], table.loc[below])
    return table.astype(_TIER_COLUMNS)


def _promised(settled: Settled, kind: str) -> dict[str, tuple[float, float]]:
    if settled.cuts is None or kind == "priority":
        return {}
    cuts = settled.cuts.table()
    return {r.word: (r.p_from, r.p_below) for r in cuts[cuts["kind"] == kind].itertuples()}


def _tier(part: pd.DataFrame, z: float, promised: tuple[float, float] | None) -> tuple:
    if part.empty:
        return (0, 0, *(promised or (np.nan, np.nan)), *[np.nan] * 4, None)
    p, y = part["p"].to_numpy("float64"), part["label"].to_numpy("float64")
    start, end = promised or (p.min(), p.max())
    share, low, high = clustered_share(y, part["entity_id"].to_numpy(), z=z)
    came_true = bool(high >= start and low <= end)
    return (len(part), part["entity_id"].nunique(), start, end, p.mean(), share, low, high, came_true)


def _order(above: pd.Series, below: pd.Series) -> str:
    names = ["observed", "low", "high"]
    _, low, high = difference_interval(tuple(above[names]), tuple(below[names]))
    if low > 0:
        return KEPT
    return REVERSED if high < 0 else UNCERTAIN


def kpi_table(settled: Settled, *, capacity: int, share: float = 1.0) -> pd.DataFrame:
    """Return what the ranking was worth per calendar quarter [C47].

    Parameters
    ----------
    capacity : contacts a week; the best scores of each week (of each date, where looks are further apart).
    share : of all cases that the rows are a sample of; the capacity is scaled down by it, to one at least.

    Returns
    -------
    Frame by quarter: n, rate (of all), called, hit_rate (share of the called with the outcome), hit_low, hit_high,
    top_quarter (share of all outcomes found in the best-scored quarter of each week), top_low, top_high.
    """
    rows = settled.rows.assign(week=settled.rows["as_of"].dt.to_period("W-SUN").astype(str))
    rank = rows.groupby("week")["p"].rank(method="first", ascending=False)
    size = rows.groupby("week")["p"].transform("size")
    rows = rows.assign(called=rank <= max(capacity * share, 1.0), best=rank <= np.ceil(_TOP * size))
    rows = rows.assign(quarter=rows["as_of"].dt.year.astype(str) + " Q" + rows["as_of"].dt.quarter.astype(str))
    return pd.DataFrame([_kpi(q, part) for q, part in rows.groupby("quarter", sort=True)], columns=_KPIS)


def _kpi(quarter: str, part: pd.DataFrame) -> tuple:
    y, ids = part["label"].to_numpy("float64"), part["entity_id"].to_numpy()
    called, came = part["called"].to_numpy(bool), y > 0
    hits = clustered_share(y[called], ids[called])
    top = clustered_share(part["best"].to_numpy("float64")[came], ids[came])
    return (quarter, len(part), y.mean(), int(called.sum()), *hits, *top)
