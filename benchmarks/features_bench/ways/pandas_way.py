"""pandas, plainly: join every date with every event of its lead, keep what was visible, group and count."""

from pathlib import Path

import numpy as np
import pandas as pd

from features_bench.task import COLUMNS, DAY, FEATURES, INTEGERS, KEYS, MONDAY, NAMES, OWNER, TYPES, WEEK, WINDOWS, Task

__all__ = ["run"]


def run(task: Task, result: Path, _prepared: None = None) -> None:
    """Compute all rows at once, in memory."""
    rows, leads = pd.read_parquet(task.rows), pd.read_parquet(task.leads)
    events = pd.read_parquet(task.log, columns=list(COLUMNS))
    events["type"] = events["type"].astype(pd.CategoricalDtype(list(TYPES)))
    wanted = rows.drop_duplicates().reset_index(drop=True).rename_axis("row").reset_index()
    pairs = wanted.merge(events, on="lead_id", how="inner", validate="m:m")
    pairs = pairs[pairs["ts"] < pairs["as_of"]]
    pairs = pairs.assign(
        back=_micros(pairs["as_of"]) - _micros(pairs["ts"]), value=(pairs["duration"].astype(float) * 1000).round()
    )
    found = pd.concat([wanted, _windows(pairs, wanted.index), _ever(pairs, wanted.index)], axis=1)
    found = found.merge(leads[["lead_id", "created_at", "owner"]], on="lead_id", how="left", validate="m:1")
    found["age_days"] = (_micros(found["as_of"]) - _micros(found["created_at"])) / DAY
    found = found.merge(_owner(found, leads), on=["owner", "as_of"], how="left", validate="m:1")
    counts = {name: found[name].fillna(0).astype(np.int32) for name in INTEGERS}
    found = rows.merge(found.assign(**counts)[[*KEYS, *FEATURES]], on=list(KEYS), how="left", validate="m:1")
    found.to_parquet(result, index=False)


def _micros(dates: pd.Series) -> pd.Series:
    return dates.astype("datetime64[us]").astype("int64")


def _windows(pairs: pd.DataFrame, rows: pd.Index) -> pd.DataFrame:
    found = {}
    for w in WINDOWS:
        inside = pairs[pairs["back"] <= w * DAY]
        counts = _by_type(rows, inside.groupby(["row", "type"], observed=True).size())
        found |= {f"{NAMES[kind]}_n_{w}d": counts[kind] for kind in TYPES}
        found[f"interactions_n_{w}d"] = counts.sum(axis=1)
        by_row = inside.groupby("row")["value"]
        total = by_row.sum().reindex(rows, fill_value=0.0) / 1000
        found[f"interactions_duration_sum_{w}d"] = total
        found[f"interactions_duration_mean_{w}d"] = total / by_row.count().reindex(rows).replace(0, np.nan)
        days = pd.DataFrame({"row": inside["row"], "day": inside["ts"].dt.floor("D")}).drop_duplicates()
        found[f"interactions_days_{w}d"] = days.groupby("row").size().reindex(rows, fill_value=0)
    for name in ("interactions", *NAMES.values()):
        top, bottom = found[f"{name}_n_30d"] / 30, found[f"{name}_n_90d"] / 90
        found[f"{name}_trend_30d_90d"] = top / bottom.replace(0, np.nan)
    return pd.DataFrame(found)


def _ever(pairs: pd.DataFrame, rows: pd.Index) -> pd.DataFrame:
    newest = pairs.groupby(["row", "type"], observed=True)["back"].min().unstack("type").reindex(rows)
    newest = newest.reindex(columns=list(TYPES))
    found = {f"{NAMES[kind]}_recency_days": newest[kind] / DAY for kind in TYPES}
    found["interactions_recency_days"] = newest.min(axis=1) / DAY
    weeks_back = (_micros(pairs["as_of"]) - MONDAY) // WEEK - (_micros(pairs["ts"]) - MONDAY) // WEEK
    whole = pairs[weeks_back > 0].assign(share=0.3 * 0.7 ** (weeks_back[weeks_back > 0] - 1))
    whole["minutes"] = whole["share"] * whole["value"] / 1000
    smoothed = _by_type(rows, whole.groupby(["row", "type"], observed=True)["share"].sum())
    found |= {f"{NAMES[kind]}_smoothed_weekly": smoothed[kind] for kind in TYPES}
    found["interactions_smoothed_weekly"] = smoothed.sum(axis=1)
    minutes = whole.groupby("row")["minutes"].sum().reindex(rows, fill_value=0.0)
    return pd.DataFrame(found | {"interactions_duration_smoothed_weekly": minutes})


def _by_type(rows: pd.Index, values: pd.Series) -> pd.DataFrame:
    return values.unstack("type", fill_value=0).reindex(rows, fill_value=0).reindex(columns=list(TYPES), fill_value=0)


def _owner(rows: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    wanted = rows[["owner", "as_of"]].drop_duplicates()
    closed = leads[leads["closed_at"].notna()].drop(columns="lead_id")
    pairs = wanted.merge(closed, on="owner")
    back = pairs["as_of"] - pairs["closed_at"]
    pairs = pairs[(back > pd.Timedelta(0)) & (back <= pd.Timedelta(days=90))]
    took = (_micros(pairs["closed_at"]) - _micros(pairs["created_at"])) / DAY
    pairs = pairs.assign(took=took.where(pairs["converted"]), lost=~pairs["converted"])
    grouped = pairs.groupby(["owner", "as_of"]).agg(
        won=("converted", "sum"), lost=("lost", "sum"), took=("took", "mean")
    )
    rate = grouped["won"] / (grouped["won"] + grouped["lost"])
    values = (grouped["won"], grouped["lost"], rate, grouped["took"])
    return wanted.merge(pd.DataFrame(dict(zip(OWNER, values, strict=True))).reset_index(), how="left", validate="1:1")
