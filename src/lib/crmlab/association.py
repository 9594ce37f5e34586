"""Which features move with the outcome, and how stably: one feature at a time, without a model."""

import numpy as np
import pandas as pd

from crmlab.metrics import roc_auc

__all__ = ["association_table", "example_history", "missing_table", "period_labels"]

_PRIOR_ROWS = 50.0


def association_table(features: pd.DataFrame, snapshots: pd.DataFrame, *, freq: str = "quarter") -> pd.DataFrame:
    """Return how well each feature alone orders the rows, in all and period by period.

    Numbers are taken as they are, gaps below everything; levels of a category by their conversion rate among the
    *other* half of the leads, so that many small levels cannot look good by accident.

    Parameters
    ----------
    features, snapshots : row for row the same (lead, as_of); rows without a mature label are left out.
    freq : `quarter` or `month`, the periods of `as_of`.

    Returns
    -------
    Frame, strongest first: feature, n, auc (0.5 = no relation; below 0.5 = moves against the outcome), auc_low and
    auc_high (least and greatest over the periods), same_direction (share of periods on the same side of 0.5), and one
    column per period.
    """
    mature = snapshots["mature"].to_numpy()
    y = snapshots.loc[mature, "label"].astype("float64").to_numpy()
    periods = period_labels(snapshots.loc[mature, "as_of"], freq=freq)
    half = _halves(snapshots.loc[mature, "lead_id"])
    rows = [_one_feature(name, _as_score(values, y, half), y, periods) for name, values in features[mature].items()]
    table = pd.DataFrame(rows)
    strength = (table["auc"] - 0.5).abs()
    return table.iloc[np.argsort(-strength.to_numpy(), kind="stable")].reset_index(drop=True)


def missing_table(features: pd.DataFrame, catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the features with gaps: feature, family, missing (share of rows), why."""
    missing = features.isna().mean().rename("missing").rename_axis("feature").reset_index()
    table = missing[missing["missing"] > 0].merge(catalog[["feature", "family"]], on="feature", validate="1:1")
    why = {"recency": "no such interaction so far", "owner": "no owner assigned so far"}
    table["why"] = table["family"].map(why).fillna("not filled in the CRM")
    return table.sort_values(["missing", "feature"], ascending=[False, True], ignore_index=True)


def example_history(features: pd.DataFrame, snapshots: pd.DataFrame, *, columns: list[str]) -> pd.DataFrame:
    """Return what was known of one lead on each of its dates: lead_id, as_of, some features, label.

    The lead is the first of those looked at most often among the ones that converted; columns that do not exist are
    left out.
    """
    rows = snapshots[["lead_id", "as_of"]].join(features[[c for c in columns if c in features]])
    rows["label"] = snapshots["label"]
    converted = snapshots.loc[snapshots["label"].eq(True).fillna(False), "lead_id"].unique()
    counts = rows.loc[rows["lead_id"].isin(converted), "lead_id"].value_counts()
    if counts.empty:
        return rows.head(0)
    chosen = counts[counts == counts.iloc[0]].index.min()
    return rows[rows["lead_id"] == chosen].reset_index(drop=True)


def period_labels(dates: pd.Series, *, freq: str) -> pd.Series:
    """Return the period of each date as text, such as 2024 Q1 or 2024-01; one period where there are no dates."""
    if dates.isna().all():
        return pd.Series("all", index=dates.index, dtype="str")
    if freq == "month":
        return dates.dt.strftime("%Y-%m")
    return dates.dt.year.astype("str") + " Q" + dates.dt.quarter.astype("str")


def _halves(lead_ids: pd.Series) -> np.ndarray:
    """Divide leads into two halves that depend on nothing but their id."""
    return (pd.util.hash_array(lead_ids.to_numpy(dtype=object)) % 2).astype(bool)


def _as_score(values: pd.Series, y: np.ndarray, half: np.ndarray) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64").fillna(-np.inf).to_numpy()
    levels = values.astype("str").fillna("(missing)")
    score = np.empty(len(y))
    for side in (False, True):
        here, other = half == side, half != side
        prior = y[other].mean() if other.any() else 0.0
        counts = pd.Series(y[other]).groupby(levels[other].to_numpy()).agg(["sum", "size"])
        rate = (counts["sum"] + prior * _PRIOR_ROWS) / (counts["size"] + _PRIOR_ROWS)
        # Centred per half: otherwise the two priors alone would order the rows.
        score[here] = levels[here].map(rate).fillna(prior).to_numpy() - prior
    return score


def _one_feature(name: str, score: np.ndarray, y: np.ndarray, periods: pd.Series) -> dict[str, object]:
    by_period = {p: roc_auc(y[rows], score[rows]) for p, rows in _positions(periods)}
    known = np.array([a for a in by_period.values() if not np.isnan(a)])
    auc = roc_auc(y, score)
    return {
        "feature": name,
        "n": len(y),
        "auc": auc,
        "auc_low": known.min() if len(known) else np.nan,
        "auc_high": known.max() if len(known) else np.nan,
        "same_direction": float(np.mean((known > 0.5) == (auc > 0.5))) if len(known) else np.nan,
        **by_period,
    }


def _positions(periods: pd.Series) -> list[tuple[str, np.ndarray]]:
    values = periods.to_numpy()
    return [(p, np.flatnonzero(values == p)) for p in sorted(set(values))]
