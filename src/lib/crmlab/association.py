"""Which features move with the outcome, and how stably: one feature at a time, without a model."""

import numpy as np
import pandas as pd

from crmlab.schema import ENTITY_KEYS
from crmlab.snapshots import entity_of

__all__ = ["association_table", "example_history", "missing_table", "period_labels"]

_PRIOR_ROWS = 50.0
_WHY = {
    "mean": "no such event with a value in the window",
    "recency": "no such event so far",
    "since first": "no such event so far",
    "trend": "no such event in the longer window",
    "weekly mean": "nobody knows since when",
    "exposure": "nobody knows since when",
    "calendar": "nobody knows since when",
    "ratio": "nothing to divide by: its denominator is zero or missing",
    "difference": "one of its two values is missing",
    "state": "not set so far",
    "owner": "no owner assigned so far",
    "linked": "no such link then, or a gap in what it leads to",
    "text": "no text so far",
    "field": "not filled in the CRM",
    "own column": "not filled in the CRM",
}
"""Family of a feature → why it has gaps."""
_NEVER = "should have no gaps: a count is 0 where there is nothing"


def association_table(features: pd.DataFrame, snapshots: pd.DataFrame, *, freq: str = "quarter") -> pd.DataFrame:
    """Return how well each feature alone orders the rows, in all and period by period.

    Numbers are taken as they are, gaps below everything; levels of a category by their rate of the outcome among the
    *other* half of the entities, so that many small levels cannot look good by accident.

    Parameters
    ----------
    features, snapshots : row for row the same (entity, as_of); rows without a mature label are left out.
    freq : `quarter` or `month`, the periods of `as_of`.

    Returns
    -------
    Frame, strongest first: feature, n, auc (0.5 = no relation; below 0.5 = moves against the outcome), auc_low and
    auc_high (least and greatest over the periods), same_direction (share of periods on the same side of 0.5), and one
    column per period.
    """
    mature = snapshots["mature"].to_numpy()
    y = snapshots.loc[mature, "label"].to_numpy(dtype=bool, na_value=False)
    periods = _Periods(period_labels(snapshots.loc[mature, "as_of"], freq=freq))
    half = _halves(snapshots.loc[mature, ENTITY_KEYS[entity_of(snapshots)]])
    rows = [_one_feature(name, _as_score(values[mature], y, half), y, periods) for name, values in features.items()]
    columns = ["feature", "n", "auc", "auc_low", "auc_high", "same_direction", *periods.names]
    table = pd.DataFrame(rows, columns=columns)
    strength = (table["auc"].astype("float64") - 0.5).abs()
    return table.iloc[np.argsort(-strength.to_numpy(), kind="stable")].reset_index(drop=True)


def missing_table(features: pd.DataFrame, catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the features with gaps: feature, family, missing (share of rows), why.

    Parameters
    ----------
    catalog : result of `features.feature_catalog`; its families decide on the reason.
    """
    missing = features.isna().mean().rename("missing").rename_axis("feature").reset_index()
    table = missing[missing["missing"] > 0].merge(catalog[["feature", "family"]], on="feature", validate="1:1")
    table["why"] = table["family"].map(_WHY).fillna(_NEVER)
    return table.sort_values(["missing", "feature"], ascending=[False, True], ignore_index=True)[
        ["feature", "family", "missing", "why"]
    ]


def example_history(features: pd.DataFrame, snapshots: pd.DataFrame, *, columns: list[str]) -> pd.DataFrame:
    """Return what was known of one entity on each of its dates: its key, as_of, some features, label.

    The entity is the first of those looked at most often among the ones with the outcome; columns that do not exist
    are left out.

    Parameters
    ----------
    features, snapshots : row for row the same (entity, as_of).
    """
    key = ENTITY_KEYS[entity_of(snapshots)]
    happened = snapshots.loc[snapshots["label"].eq(True).fillna(False).to_numpy(bool), key].unique()
    counts = snapshots.loc[snapshots[key].isin(happened), key].value_counts()
    chosen = counts[counts == counts.max()].index.min() if len(counts) else None
    here = snapshots[key].eq(chosen).to_numpy(bool) if chosen is not None else np.zeros(len(snapshots), dtype=bool)
    rows = snapshots.loc[here, [key, "as_of"]].reset_index(drop=True)
    shown = features.loc[here, [c for c in columns if c in features]].reset_index(drop=True)
    label = snapshots.loc[here, "label"].reset_index(drop=True)
    return pd.concat([rows, shown, label], axis=1)


def period_labels(dates: pd.Series, *, freq: str) -> pd.Series:
    """Return the period of each date as text, such as 2024 Q1 or 2024-01; one period where there are no dates."""
    if dates.isna().all():
        return pd.Series("all", index=dates.index, dtype="str")
    if freq == "month":
        return dates.dt.strftime("%Y-%m")
    return dates.dt.year.astype("str") + " Q" + dates.dt.quarter.astype("str")


class _Periods:
    """Periods of the rows as small whole numbers, which sort fast, and their labels in order."""

    def __init__(self, labels: pd.Series) -> None:
        codes, names = pd.factorize(labels, sort=True)
        self.names = list(names)
        self.codes = codes.astype(np.uint8 if len(names) < 256 else np.int64)


def _halves(ids: pd.Series) -> np.ndarray:
    """Divide entities into two halves that depend on nothing but their id."""
    codes, names = pd.factorize(ids)
    return (pd.util.hash_array(np.asarray(names, dtype=object)) % 2).astype(bool)[codes]


def _as_score(values: pd.Series, y: np.ndarray, half: np.ndarray) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(values):
        score = values.to_numpy(dtype="float64", na_value=np.nan)
        return np.where(np.isnan(score), -np.inf, score)
    codes = pd.factorize(values, use_na_sentinel=False)[0]
    score = np.empty(len(y))
    for side in (False, True):
        here, other = half == side, half != side
        prior = y[other].mean() if other.any() else 0.0
        n = np.bincount(codes[other], minlength=codes.max(initial=-1) + 1)
        happened = np.bincount(codes[other], weights=y[other], minlength=len(n))
        rate = (happened + prior * _PRIOR_ROWS) / (n + _PRIOR_ROWS)
        # Centred per half: otherwise the two priors alone would order the rows.
        score[here] = rate[codes[here]] - prior
    return score


def _one_feature(name: str, score: np.ndarray, y: np.ndarray, periods: _Periods) -> dict[str, object]:
    order = np.argsort(score, kind="stable")
    auc = _aucs(score[order], y[order], np.zeros(len(y), dtype=np.uint8), 1)[0]
    # A stable sort by period keeps each period's rows sorted by score.
    order = order[np.argsort(periods.codes[order], kind="stable")]
    by_period = _aucs(score[order], y[order], periods.codes[order], len(periods.names))
    known = by_period[~np.isnan(by_period)]
    return {
        "feature": name,
        "n": len(y),
        "auc": auc,
        "auc_low": known.min() if len(known) else np.nan,
        "auc_high": known.max() if len(known) else np.nan,
        "same_direction": float(np.mean((known > 0.5) == (auc > 0.5))) if len(known) else np.nan,
        **dict(zip(periods.names, by_period, strict=True)),
    }


def _aucs(score: np.ndarray, y: np.ndarray, period: np.ndarray, n_periods: int) -> np.ndarray:
    """ROC AUC of each period, ties counting half; NaN with one class only. Rows come sorted by period and score."""
    if not len(y):
        return np.full(n_periods, np.nan)
    starts = np.flatnonzero(np.r_[True, (score[1:] != score[:-1]) | (period[1:] != period[:-1])])
    positive = np.add.reduceat(y, starts, dtype=np.int64)
    negative = np.diff(np.r_[starts, len(y)]) - positive
    group = period[starts]
    before = np.searchsorted(group, np.arange(n_periods))
    all_before = np.r_[0, np.cumsum(negative)]
    below = all_before[:-1] - all_before[before][group]
    # In whole numbers, doubled because ties count half: exact, whatever the order of the sum.
    won = np.bincount(group, weights=(positive * (2 * below + negative)).astype("float64"), minlength=n_periods)
    p, n = (np.bincount(group, weights=w, minlength=n_periods) for w in (positive, negative))
    return np.divide(won, 2 * p * n, out=np.full(n_periods, np.nan), where=p * n > 0)
