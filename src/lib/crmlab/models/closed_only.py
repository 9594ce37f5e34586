"""What a model of won and lost deals gets wrong when it is trained on closed deals only."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.intervals import share_interval
from crmlab.metrics import log_loss

from .hazard import CompetingRisks, outcome_times

__all__ = ["CLOSED_ONLY", "EVERY_DEAL", "closed_only_table"]

EVERY_DEAL = "every deal"
CLOSED_ONLY = "closed only"
COLUMNS = [
    *("deals", "model", "n", "predicted", "observed", "bias", "log_loss", "p_ever", "true_within", "true_ever"),
]
_GROUPS = ["all", "younger", "older"]
_FEW = 20


def closed_only_table(
    crm: Crm,
    rows: pd.DataFrame,
    features: pd.DataFrame,
    *,
    tested_at: str | pd.Timestamp | None = None,
    horizon_days: int,
    seed: int,
    **settings: object,
) -> pd.DataFrame:
    """Return what the same hazards predict when trained on every deal, and on closed deals only, out of time.

    Both are trained on what was known at `tested_at`, and asked about each deal at its first row from then on.

    Parameters
    ----------
    rows, features : labelled snapshots of deals (`build_snapshots`) and their features, row for row.
    tested_at : the date in question; None for the one with seven tenths of the settled rows before it.
    settings : of `CompetingRisks`.

    Returns
    -------
    Frame: deals (all, younger, older than the median age), model, n (tested deals), predicted (mean P(won within the
    horizon)), observed (share, low, high), log_loss, p_ever (mean P(won at all)), true_within and true_ever (means of
    the known truth; NaN where there is none), bias (predicted less observed). Empty with fewer than 20 deals to test or
    closed deals to train on.
    """
    settled = rows.loc[rows["mature"], "as_of"]
    if tested_at is None and settled.empty:
        return pd.DataFrame(columns=COLUMNS)
    at = settled.quantile(0.7).normalize().as_unit("us") if tested_at is None else as_instant(tested_at)
    before = (rows["as_of"] < at).to_numpy()
    test = _first_rows(rows, at)
    times = outcome_times(crm, rows[before], as_of=at)
    closed = (times["event"] != "open").to_numpy()
    trained = rows.loc[before, "opportunity_id"][closed & (times["days"] > 0).to_numpy()].nunique()
    if len(test) < _FEW or trained < _FEW or not (times.loc[closed, "event"] == "won").any():
        return pd.DataFrame(columns=COLUMNS)
    truth = _truth(crm, rows.iloc[test], horizon_days)
    parts = []
    for name, used in ((EVERY_DEAL, np.ones(len(times), bool)), (CLOSED_ONLY, closed)):
        model = CompetingRisks(seed=seed, horizon_days=horizon_days, **settings)
        model.fit_events(features[before][used], times[used])
        parts.append(_measured(name, model, rows.iloc[test], features.iloc[test], truth))
    table = pd.concat(parts, ignore_index=True)[COLUMNS]
    return table.sort_values("deals", key=lambda names: names.map(_GROUPS.index), kind="stable", ignore_index=True)


def _first_rows(rows: pd.DataFrame, at: pd.Timestamp) -> np.ndarray:
    """Positions of each deal's first row from a date on, where its label is settled: one row a deal, so independent."""
    later = rows.assign(position=np.arange(len(rows)))[(rows["as_of"] >= at) & rows["mature"]]
    return np.sort(later.sort_values("as_of", kind="stable").drop_duplicates("opportunity_id")["position"].to_numpy())


def _truth(crm: Crm, rows: pd.DataFrame, horizon_days: int) -> dict[str, np.ndarray]:
    if crm.truth is None:
        return {name: np.full(len(rows), np.nan) for name in ("true_within", "true_ever")}
    ids, at = rows["opportunity_id"], rows["as_of"]
    return {
        "true_within": crm.truth.p_win(ids, at, horizon_days=horizon_days),
        "true_ever": crm.truth.p_win(ids, at),
    }


def _measured(
    name: str, model: CompetingRisks, rows: pd.DataFrame, X: pd.DataFrame, truth: dict[str, np.ndarray]
) -> pd.DataFrame:
    y = rows["label"].astype("float64").to_numpy()
    p, ever = model.predict_proba(X)[:, 1], model.p_won(X)
    age = X["age_days"].to_numpy() if "age_days" in X else np.zeros(len(X))
    young = age <= np.median(age)
    groups = {"all": np.ones(len(y), bool)} | ({"younger": young, "older": ~young} if not young.all() else {})
    found = []
    for group, of in groups.items():
        share = float(y[of].mean())
        found.append(
            {"deals": group, "model": name, "n": int(of.sum()), "predicted": float(p[of].mean())}
            | {"observed": (share, *share_interval(int(y[of].sum()), int(of.sum())))}
            | {"log_loss": log_loss(y[of], p[of]), "p_ever": float(ever[of].mean())}
            | {k: float(np.nanmean(v[of])) if np.isfinite(v[of]).any() else np.nan for k, v in truth.items()}
            | {"bias": float(p[of].mean()) - share}
        )
    return pd.DataFrame(found)
