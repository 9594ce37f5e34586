"""Has the world drifted: features and scores of the newest rows against those that the model was trained on.

An alarm needs four things at once, because with two hundred features something is always unusual:

- the difference is no chance: Kolmogorov-Smirnov (numbers), chi-square (categories) and chi-square of the missing
  share, adjusted by Holm (1979) over all features together. Cases are entities, because rows of one entity tell the
  same story; and the newest ones count less by how much the periods of training differ from each other beyond chance
  (a feature such as the team's win rate is one value for all: three hundred open deals are one observation of it);
- it is large: population stability index (PSI) of at least `psi_bound`, on tenths of the reference and a bin of its own
  for what is missing;
- it is unusual: the logarithm of the PSI is beyond what the periods of the last year of training let expect of a
  further one (Student's t, in the same adjustment), so that seasons and what befalls everybody at once are no alarm;
- it matters: the model uses the feature. Those that it uses are adjusted among themselves, so the others cost no power.

Features that only say the time of the year are left out: they move by their nature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.schema import NotEnoughEvidence

__all__ = ["SEASONS", "Importance", "feature_drift", "holm", "psi", "score_drift", "since_when"]

SEASONS = ("month", "quarter_days_left")
_BINS = 10
_LEVELS = 15
_LEAST = 30
"""Entities on a side below which nothing is said."""
_MISSING_JUMP = 0.2
_NEW_SHARE = 0.02
_NEW_LEAST = 5
_OTHER = "\x00other"
_SMALL = 1e-3
_LEAST_PERIODS = 5
_COLUMNS = {
    "feature": "str",
    "kind": "str",
    "psi": "float64",
    "usual": "float64",
    "p_adjusted": "float64",
    "moved": "bool",
    "importance": "float64",
    "effect": "float64",
    "alarm": "bool",
    "was": "str",
    "now": "str",
    "missing_was": "float64",
    "missing_now": "float64",
    "distance": "float64",
}
NUMBER, CATEGORY, EMPTIED, NEW_LEVEL = "number", "category", "stopped being filled", "new value"


@dataclass(frozen=True)
class Importance:
    """How much the model uses each feature, and which way the newest rows pull the scores.

    Attributes
    ----------
    share : feature → share of the mean absolute contributions to the scores, 0 to 1.
    effect : feature → mean contribution of the newest rows less that of the reference, in log odds.
    """

    share: pd.Series
    effect: pd.Series


def psi(reference: np.ndarray, now: np.ndarray) -> float:
    """Return the population stability index of two counts over the same bins; 0 for equal shares.

    Half a case is added to every bin (so that an empty one is not infinitely far away).

    >>> psi(np.array([50, 50]), np.array([5, 5]))
    0.0
    """
    return float(_psi_rows(np.asarray(reference, float), np.asarray(now, float)[None])[0])


def _psi_rows(reference: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """PSI of each row of counts against the reference's counts."""
    kept = (reference > 0) | (rows.sum(axis=0) > 0)
    reference, rows = reference[kept] + 0.5, rows[:, kept] + 0.5
    p, q = reference / reference.sum(), rows / rows.sum(axis=1, keepdims=True)
    return ((q - p) * np.log(q / p)).sum(axis=1)


def holm(p: np.ndarray) -> np.ndarray:
    """Return Holm's (1979) adjusted p-values; those below 0.05 hold together with 95 % certainty.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def feature_drift(
    reference: pd.DataFrame,
    now: pd.DataFrame,
    *,
    groups: np.ndarray,
    groups_now: np.ndarray,
    periods: np.ndarray | None = None,
    shared_now: np.ndarray | None = None,
    importance: Importance | None = None,
    psi_bound: float = 0.25,
    least_importance: float = 0.01,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Compare the newest rows with the training rows, feature by feature.

    Parameters
    ----------
    reference, now : features of training rows and of the newest rows; columns of both are compared.
    groups, groups_now : entity of each row.
    periods : period of each reference row (a number; negative: in none) within the last year of training, for what is
        usual; None where nothing is known about seasons.
    shared_now : what newest rows share with each other, such as the owner: what is the same for all rows of an owner is
        one observation of it.
    importance : of the model; None takes every feature as important.
    psi_bound : PSI from which a shift is large; 0.25 by custom.
    least_importance : share of the contributions from which a feature matters.
    alpha : chance of any false alarm among all features, if nothing has changed.

    Returns
    -------
    Frame, largest alarm first: feature, kind (number, category, stopped being filled, new value), psi, usual (largest
    PSI of a period of reference; missing without), p_adjusted, moved (significant, large and unusual), importance,
    effect (log odds), alarm (moved and it matters), was, now (median or commonest level), missing_was, missing_now,
    distance (Wasserstein distance in interquartile ranges of the reference; numbers only).

    Raises
    ------
    NotEnoughEvidence : fewer than 30 entities on a side.
    """
    n_ref, n_now = len(pd.unique(groups)), len(pd.unique(groups_now))
    if min(n_ref, n_now) < _LEAST:
        raise NotEnoughEvidence(
            "Too few cases to speak of drift.",
            found=f"{n_ref:,} entities in training, {n_now:,} newest ones",
            remedy=f"at least {_LEAST} on either side are needed.",
        )
    columns = [c for c in reference if c in now and c not in SEASONS]
    past = _Past.of(periods, groups)
    scale = (n_ref / len(reference), n_now / len(now))
    shared = (
        None if shared_now is None else pd.factorize(np.asarray(shared_now, dtype=object), use_na_sentinel=False)[0]
    )
    rows = [_compared(c, reference[c], now[c], scale, past, shared) for c in columns]
    table = pd.DataFrame(rows, columns=["feature", "kind", "psi", "usual", "p", "was", "now", *_LAST])
    large = (table["psi"] >= psi_bound) | table["kind"].isin([EMPTIED, NEW_LEVEL])
    share, effect = _used(table["feature"], importance)
    used = ~(share < least_importance)
    table = table.assign(importance=share, effect=effect, p_adjusted=_adjusted(table["p"].to_numpy("float64"), used))
    table = table.assign(moved=(table["p_adjusted"] <= alpha) & large)
    table = table.assign(alarm=table["moved"] & used)
    weight = table["psi"] * table["importance"].fillna(1.0)
    order = pd.DataFrame({"a": ~table["alarm"], "m": ~table["moved"], "w": -weight, "f": table["feature"]})
    return (
        table.loc[order.sort_values(["a", "m", "w", "f"]).index, list(_COLUMNS)].reset_index(drop=True).astype(_COLUMNS)
    )


_LAST = ("missing_was", "missing_now", "distance")


def _adjusted(p: np.ndarray, used: np.ndarray) -> np.ndarray:
    adjusted = np.empty(len(p))
    for part in (used, ~used):
        adjusted[part] = holm(p[part])
    return adjusted


def _used(features: pd.Series, importance: Importance | None) -> tuple[np.ndarray, np.ndarray]:
    if importance is None:
        return np.full(len(features), np.nan), np.full(len(features), np.nan)
    found = (part.reindex(features).fillna(0.0).to_numpy() for part in (importance.share, importance.effect))
    return tuple(found)


@dataclass(frozen=True)
class _Past:
    """Periods of the reference: rows within one, period of each of these rows, entities of each period."""

    chosen: np.ndarray
    codes: np.ndarray
    entities: np.ndarray

    @classmethod
    def of(cls, periods: np.ndarray | None, groups: np.ndarray) -> "_Past":
        periods = np.full(len(groups), -1) if periods is None else np.asarray(periods)
        chosen = np.flatnonzero(periods >= 0)
        codes = periods[chosen].astype(int)
        seen = pd.DataFrame({"period": codes, "group": pd.factorize(groups)[0][chosen]}).drop_duplicates()
        return cls(chosen, codes, np.bincount(seen["period"]))

    def counts(self, code: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
        """Counts of the bins in each period of 30 entities or more, and these entities."""
        k = len(self.entities)
        table = np.bincount(self.codes * n_bins + code[self.chosen], minlength=k * n_bins).reshape(k, n_bins)
        enough = self.entities >= _LEAST
        return table[enough].astype(float), self.entities[enough].astype(float)


def _compared(
    name: str, reference: pd.Series, now: pd.Series, scale: tuple, past: _Past, shared: np.ndarray | None
) -> tuple:
    numeric = pd.api.types.is_numeric_dtype(reference)
    code, code_now, n_bins = _coded(reference, now, numeric)
    counts = np.bincount(code, minlength=n_bins), np.bincount(code_now, minlength=n_bins)
    shift = psi(*counts)
    usual, spread = _usual(counts[0], past, code)
    spread = max(spread, _sharing(code_now, shared, n_bins))
    scale = (scale[0], scale[1] / spread)
    missing = float(reference.isna().mean()), float(now.isna().mean())
    gone = np.array(
        [[(1 - m) * len(s) * k, m * len(s) * k] for m, s, k in zip(missing, (reference, now), scale, strict=True)]
    )
    p_gone = _chi_square(gone)
    if numeric:
        p_shape, distance = _shape_of_numbers(reference, now, scale)
    else:
        p_shape, distance = _chi_square(np.stack(counts) * np.array(scale)[:, None]), np.nan
    kind = _kind(reference, now, missing, numeric=numeric)
    n_ref = len(reference) * scale[0]
    p = min(1.0, 2 * min(p_shape, p_gone)) if numeric else p_shape
    said = (_typical(reference, numeric), _typical(now, numeric), *missing, distance)
    if kind == NEW_LEVEL:
        return (name, kind, shift, usual, min(1.0, 2 * min(p, _p_of_new(reference, now, n_ref))), *said)
    p = max(p, _p_unusual(shift, past, code, counts, len(now)))
    return (name, kind, shift, usual, p, *said)


def _coded(reference: pd.Series, now: pd.Series, numeric: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Bins of both sides; the last one holds what is missing."""
    if numeric:
        a, b = reference.to_numpy("float64", na_value=np.nan), now.to_numpy("float64", na_value=np.nan)
        known = a[~np.isnan(a)]
        edges = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS)) if len(known) else np.empty(0)
        n = len(edges) + 1
        # Quantiles that are values themselves (counts): the value belongs below its edge, so that zeros stay together.
        return *(np.where(np.isnan(x), n, np.searchsorted(edges, x, side="left")) for x in (a, b)), n + 1
    levels = reference.value_counts().index[:_LEVELS]
    place = {level: i for i, level in enumerate(levels)}
    n = len(levels)
    codes = (s.map(place).fillna(n).to_numpy("int64") + s.isna().to_numpy("int64") for s in (reference, now))
    return *codes, n + 2


def _usual(counts: np.ndarray, past: _Past, code: np.ndarray) -> tuple[float, float]:
    """Largest PSI of a period against all (missing without periods), and how much periods differ beyond chance.

    The second is the mean chi-square per degree of freedom, with entities as cases; 1 at least: overdispersion as in
    quasi-likelihood (McCullagh & Nelder 1989, 4.5).
    """
    table, entities = past.counts(code, len(counts))
    if len(table) < 2:
        return np.nan, 1.0
    share = counts / counts.sum()
    kept = share * np.median(entities) >= 1
    if kept.sum() < 2:
        return float(_psi_rows(counts.astype(float), table).max()), 1.0
    expected = entities[:, None] * share[kept]
    observed = entities[:, None] * (table / table.sum(axis=1, keepdims=True))[:, kept]
    spread = ((observed - expected) ** 2 / expected).sum(axis=1) / (kept.sum() - 1)
    return float(_psi_rows(counts.astype(float), table).max()), max(1.0, float(spread.mean()))


def _p_unusual(shift: float, past: _Past, code: np.ndarray, counts: tuple[np.ndarray, np.ndarray], n_now: int) -> float:
    """Chance of a PSI as large in a further period like those of training; 0 where these are too few to say.

    A small sample has a PSI of (bins - 1) / n by chance alone; what the newest rows have more of it is taken off.
    """
    from scipy.special import stdtr

    table, entities = past.counts(code, len(counts[0]))
    if len(table) < _LEAST_PERIODS:
        return 0.0
    usual = np.log(_psi_rows(counts[0].astype(float), table) + _SMALL)
    n_bins = int((counts[0] + counts[1] > 0).sum())
    shift = max(shift - (n_bins - 1) * max(1 / n_now - 1 / np.median(entities), 0.0), 0.0)
    spread = usual.std(ddof=1) * np.sqrt(1 + 1 / len(usual))
    gap = np.log(shift + _SMALL) - usual.mean()
    return float(stdtr(len(usual) - 1, -gap / max(spread, _SMALL)))


def _sharing(code: np.ndarray, shared: np.ndarray | None, n_bins: int) -> float:
    """Design effect of rows that share an owner: mean chi-square of the owners' shares per degree of freedom."""
    if shared is None:
        return 1.0
    k = int(shared.max()) + 1
    table = np.bincount(shared * n_bins + code, minlength=k * n_bins).reshape(k, n_bins)
    table = table[:, table.sum(axis=0) > 0].astype(float)
    if table.shape[1] < 2:
        return 1.0
    share, n = table.sum(axis=0) / len(code), table.sum(axis=1, keepdims=True)
    spread = ((table - n * share) ** 2 / share).sum() / (len(code) * (len(share) - 1))
    return max(1.0, float(spread))


def _p_of_new(reference: pd.Series, now: pd.Series, n_ref: float) -> float:
    """Chance that any value as common as the commonest new one was never met among the entities of the reference."""
    new = _new_levels(reference, now)
    return float(min(1.0, len(new) * (1 - new.max() / len(now)) ** n_ref))


def _shape_of_numbers(reference: pd.Series, now: pd.Series, scale: tuple) -> tuple[float, float]:
    """p-value of Kolmogorov and Smirnov with entities as cases, and Wasserstein distance in interquartile ranges."""
    a, b = (np.sort(s.dropna().to_numpy("float64")) for s in (reference, now))
    if not len(a) or not len(b):
        return 1.0, np.nan
    both = np.concatenate([a, b])
    both.sort()
    gap = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    n, m = max(len(a) * scale[0], 1.0), max(len(b) * scale[1], 1.0)
    distance = float((np.abs(gap[:-1]) * np.diff(both)).sum())
    spread = float(np.subtract(*np.quantile(a, [0.75, 0.25]))) or float(a.std())
    return _ks_p(float(np.abs(gap).max()), n, m), distance / spread if spread else np.nan


def _ks_p(gap: float, n: float, m: float) -> float:
    from scipy.special import kolmogorov

    root = np.sqrt(n * m / (n + m))
    # Stephens' (1970) correction for small samples.
    return float(kolmogorov((root + 0.12 + 0.11 / root) * gap))


def _chi_square(counts: np.ndarray) -> float:
    """p-value of homogeneity of two rows of counts; levels expected less than five times are put together."""
    from scipy.special import chdtrc

    total = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / total if total else counts
    rare = expected.min(axis=0) < 5
    if rare.any():
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
        expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / total if total else counts
    kept = expected.min(axis=0) > 0
    if kept.sum() < 2:
        return 1.0
    statistic = ((counts - expected)[:, kept] ** 2 / expected[:, kept]).sum()
    return float(chdtrc(kept.sum() - 1, statistic))


def _kind(reference: pd.Series, now: pd.Series, missing: tuple[float, float], *, numeric: bool) -> str:
    if missing[1] - missing[0] >= _MISSING_JUMP:
        return EMPTIED
    if numeric:
        return NUMBER
    new = _new_levels(reference, now)
    return NEW_LEVEL if len(new) and new.max() >= max(_NEW_LEAST, _NEW_SHARE * len(now)) else CATEGORY


def _new_levels(reference: pd.Series, now: pd.Series) -> pd.Series:
    """How often each value occurs that the reference never had."""
    return now[now.notna() & ~now.isin(pd.unique(reference.dropna()))].value_counts()


def _typical(values: pd.Series, numeric: bool) -> str:
    known = values.dropna()
    if known.empty:
        return "nothing"
    if numeric:
        return f"{float(known.median()):.4g}"
    counts = known.value_counts().sort_index(kind="stable")
    return str(counts.idxmax())


def since_when(
    reference: pd.Series, recent: pd.Series, periods: np.ndarray, starts: Sequence[pd.Timestamp], *, psi_bound: float
) -> pd.Timestamp:
    """Return the start of the unbroken run of periods, up to the newest, in which a feature is shifted.

    Parameters
    ----------
    reference : values of the training rows. recent : values of recent rows.
    periods : period of each recent row; 0 is the newest. starts : first day of each period, newest first.
    psi_bound : PSI from which a period counts as shifted. Periods of fewer than 30 rows are passed over.
    """
    code, code_now, n_bins = _coded(reference, recent, pd.api.types.is_numeric_dtype(reference))
    counts = np.bincount(code, minlength=n_bins).astype(float)
    since = starts[0]
    for period, start in enumerate(starts):
        here = code_now[periods == period]
        if len(here) < _LEAST:
            continue
        if psi(counts, np.bincount(here, minlength=n_bins)) < psi_bound:
            break
        since = start
    return since


def score_drift(reference: np.ndarray, now: np.ndarray, *, groups: np.ndarray, groups_now: np.ndarray) -> pd.DataFrame:
    """Return how the scores of the newest rows differ from earlier ones of the same model, on rows new to it.

    Returns
    -------
    One row: psi, p (Kolmogorov-Smirnov, entities as cases), mean_was, mean_now, distance; empty with fewer than 30
    entities on a side.
    """
    n, m = len(pd.unique(groups)), len(pd.unique(groups_now))
    columns = ["psi", "p", "mean_was", "mean_now", "distance"]
    if min(n, m) < _LEAST:
        return pd.DataFrame(columns=columns, dtype="float64")
    a, b = pd.Series(np.asarray(reference, float)), pd.Series(np.asarray(now, float))
    code, code_now, n_bins = _coded(a, b, True)
    shift = psi(np.bincount(code, minlength=n_bins), np.bincount(code_now, minlength=n_bins))
    p, distance = _shape_of_numbers(a, b, (n / len(a), m / len(b)))
    return pd.DataFrame([(shift, p, a.mean(), b.mean(), distance)], columns=columns)
