"""featuretools: deep feature synthesis at cutoff times. It needs pandas below 3, so it has an environment of its own.

What it has no words for (the owner's rates, ratios of two windows) is added afterwards with pandas, so that the figures
are those of all 69 features.
"""

from pathlib import Path

import featuretools as ft
import numpy as np
import pandas as pd
import woodwork as ww

from features_bench.task import COLUMNS, DAY, KEYS, MONDAY, NAMES, OWNER, TYPES, WEEK, WINDOWS, Task
from features_bench.ways.numpy_way import write_result

__all__ = ["run"]


class Smoothed(ft.primitives.AggregationPrimitive):
    """Weekly numbers, smoothed: weeks without events are zeros, the week of the date does not count."""

    name = "smoothed"
    input_types = (
        ww.column_schema.ColumnSchema(logical_type=ww.logical_types.Datetime),
        ww.column_schema.ColumnSchema(semantic_tags={"numeric"}),
    )
    return_type = ww.column_schema.ColumnSchema(logical_type=ww.logical_types.Double, semantic_tags={"numeric"})
    uses_calc_time = True
    default_value = 0.0

    def get_function(self):
        """Return the function of one lead's events."""

        def smoothed(instants: pd.Series, values: pd.Series, time: pd.Timestamp) -> float:
            week = (instants.to_numpy().astype("datetime64[us]").astype(np.int64) - MONDAY) // WEEK
            back = (np.datetime64(pd.Timestamp(time), "us").astype(np.int64) - MONDAY) // WEEK - week
            whole = back > 0
            return float((0.3 * 0.7 ** (back[whole] - 1.0) * np.nan_to_num(values.to_numpy()[whole])).sum())

        return smoothed


def run(task: Task, result: Path, _prepared: None = None) -> None:
    """Compute every window with its own synthesis, then what lies between the windows."""
    rows, leads = pd.read_parquet(task.rows), pd.read_parquet(task.leads)
    wanted = rows.drop_duplicates(ignore_index=True)
    entities = _entities(task, leads)
    cutoffs = wanted.rename(columns={"lead_id": "lead", "as_of": "time"})
    found = pd.concat([_window(entities, cutoffs, w) for w in WINDOWS] + [_ever(entities, cutoffs)], axis=1)
    for name in ("interactions", *NAMES.values()):
        found[f"{name}_trend_30d_90d"] = (found[f"{name}_n_30d"] / 30) / (found[f"{name}_n_90d"] / 90).replace(
            0, np.nan
        )
    own = wanted.merge(leads, on="lead_id", how="left", validate="m:1")
    found["age_days"] = ((own["as_of"] - own["created_at"]) / pd.Timedelta(days=1)).to_numpy()
    found = pd.concat([wanted, found.reset_index(drop=True)], axis=1)
    found = pd.concat([found, _owner(own, leads)], axis=1)
    found = rows.merge(found, on=list(KEYS), how="left", validate="m:1")
    columns = {name: found[name].to_numpy() for name in found.columns if name not in KEYS}
    micros = found["as_of"].astype("datetime64[us]").astype("int64").to_numpy()
    write_result(result, {"lead_id": found["lead_id"].to_numpy(np.int32), "as_of": micros}, columns)


def _entities(task: Task, leads: pd.DataFrame) -> ft.EntitySet:
    events = pd.read_parquet(task.log, columns=list(COLUMNS)).rename(columns={"lead_id": "lead"})
    events["type"] = events["type"].astype(str).astype("category")
    events["value"] = (events["duration"].astype(float) * 1000).round()
    events["one"] = 1.0
    events["day"] = events["ts"].astype("datetime64[us]").astype("int64") // DAY
    events = events.drop(columns="duration").assign(event=np.arange(len(events)))
    entities = ft.EntitySet("crm")
    entities.add_dataframe(
        dataframe_name="events",
        dataframe=events,
        index="event",
        time_index="ts",
        logical_types={"day": "Categorical", "type": "Categorical", "lead": "Integer"},
    )
    entities.add_dataframe(
        dataframe_name="leads", dataframe=leads.rename(columns={"lead_id": "lead"})[["lead"]], index="lead"
    )
    entities.add_relationship("leads", "lead", "events", "lead")
    return entities


def _window(entities: ft.EntitySet, cutoffs: pd.DataFrame, w: int) -> pd.DataFrame:
    base = {name: ft.Feature(entities["events"].ww[name]) for name in ("event", "value", "day", "type")}
    kinds = {NAMES[kind]: base["type"] == kind for kind in TYPES}
    asked = {"interactions_n": ft.Feature(base["event"], parent_dataframe_name="leads", primitive=ft.primitives.Count)}
    for name, kind in kinds.items():
        asked[f"{name}_n"] = ft.Feature(
            base["event"], parent_dataframe_name="leads", where=kind, primitive=ft.primitives.Count
        )
    asked["interactions_duration_sum"] = ft.Feature(
        base["value"], parent_dataframe_name="leads", primitive=ft.primitives.Sum
    )
    asked["interactions_duration_mean"] = ft.Feature(
        base["value"], parent_dataframe_name="leads", primitive=ft.primitives.Mean
    )
    asked["interactions_days"] = ft.Feature(
        base["day"], parent_dataframe_name="leads", primitive=ft.primitives.NumUnique
    )
    found = _calculate(entities, cutoffs, asked, training_window=f"{w} days")
    unit = {"interactions_duration_sum": 1000.0, "interactions_duration_mean": 1000.0}
    zero = [name for name in asked if name.endswith(("_n", "_sum", "_days"))]
    found[zero] = found[zero].fillna(0.0)
    return (found / pd.Series(unit).reindex(found.columns, fill_value=1.0)).add_suffix(f"_{w}d")


def _ever(entities: ft.EntitySet, cutoffs: pd.DataFrame) -> pd.DataFrame:
    base = {name: ft.Feature(entities["events"].ww[name]) for name in ("ts", "one", "value", "type")}
    asked = {
        "interactions_recency_days": ft.Feature(base["ts"], parent_dataframe_name="leads", primitive=_since()),
        "interactions_smoothed_weekly": ft.Feature(
            [base["ts"], base["one"]], parent_dataframe_name="leads", primitive=Smoothed
        ),
        "interactions_duration_smoothed_weekly": ft.Feature(
            [base["ts"], base["value"]], parent_dataframe_name="leads", primitive=Smoothed
        ),
    }
    for kind, name in NAMES.items():
        where = base["type"] == kind
        asked[f"{name}_recency_days"] = ft.Feature(
            base["ts"], parent_dataframe_name="leads", where=where, primitive=_since()
        )
        asked[f"{name}_smoothed_weekly"] = ft.Feature(
            [base["ts"], base["one"]], parent_dataframe_name="leads", where=where, primitive=Smoothed
        )
    found = _calculate(entities, cutoffs, asked)
    found["interactions_duration_smoothed_weekly"] /= 1000
    smoothed = [name for name in found if name.endswith("_smoothed_weekly")]
    recency = [name for name in found if name.endswith("_recency_days")]
    return found.assign(**found[smoothed].fillna(0.0), **found[recency] / 86_400)


def _since() -> ft.primitives.TimeSinceLast:
    return ft.primitives.TimeSinceLast(unit="seconds")


def _calculate(entities: ft.EntitySet, cutoffs: pd.DataFrame, asked: dict, **window: str) -> pd.DataFrame:
    found = ft.calculate_feature_matrix(
        [feature.rename(name) for name, feature in asked.items()],
        entityset=entities,
        cutoff_time=cutoffs,
        include_cutoff_time=False,
        **window,
    )
    found = found[list(asked)].astype(float)
    order = pd.MultiIndex.from_frame(cutoffs)
    return found.reindex(order) if found.index.nlevels == 2 else found.set_axis(order)


def _owner(rows: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    wanted = rows[["owner", "as_of"]].drop_duplicates()
    pairs = wanted.merge(leads[leads["closed_at"].notna()].drop(columns="lead_id"), on="owner")
    back = pairs["as_of"] - pairs["closed_at"]
    pairs = pairs[(back > pd.Timedelta(0)) & (back <= pd.Timedelta(days=90))]
    took = (pairs["closed_at"] - pairs["created_at"]) / pd.Timedelta(days=1)
    pairs = pairs.assign(took=took.where(pairs["converted"]), lost=~pairs["converted"])
    grouped = pairs.groupby(["owner", "as_of"]).agg(
        won=("converted", "sum"), lost=("lost", "sum"), took=("took", "mean")
    )
    rate = grouped["won"] / (grouped["won"] + grouped["lost"])
    values = dict(zip(OWNER, (grouped["won"], grouped["lost"], rate, grouped["took"]), strict=True))
    found = rows[["owner", "as_of"]].merge(pd.DataFrame(values).reset_index(), how="left", validate="m:1")
    return found[list(OWNER)].fillna(dict.fromkeys(OWNER[:2], 0))
