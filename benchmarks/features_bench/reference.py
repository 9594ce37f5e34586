"""The 69 features in plain loops, one row after the other: slow and easy to see through. All ways are held to it."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features_bench.task import COLUMNS, DAY, MONDAY, NAMES, WEEK, WINDOWS, Task

__all__ = ["reference", "sample_rows"]

Event = tuple[int, str, int | None]
"""Instant, name of the type, thousandths of a minute."""
NAN = float("nan")


def sample_rows(task: Task, *, leads: int) -> list[tuple[int, int]]:
    """Return the rows of some leads, spread over all."""
    ids, dates = _columns(task.rows, "lead_id", "as_of")
    chosen = np.unique(ids)[:: max(len(np.unique(ids)) // leads, 1)]
    here = np.isin(ids, chosen)
    return list(zip(ids[here].tolist(), dates[here].tolist(), strict=True))


def reference(task: Task, rows: list[tuple[int, int]] | None = None) -> list[dict[str, float]]:
    """Return one dictionary per row: lead_id, as_of in µs, and the features; without `rows`, for all of the task's."""
    if rows is None:
        rows = sample_rows(task, leads=10**9)
    events = _events(task, {lead for lead, _ in rows})
    ids, created, owners, closed, converted = _columns(
        task.leads, "lead_id", "created_at", "owner", "closed_at", "converted"
    )
    created_at = dict(zip(ids.tolist(), created.tolist(), strict=True))
    owner_of = dict(zip(ids.tolist(), owners.tolist(), strict=True))
    closings = defaultdict(list)
    for i in np.flatnonzero(closed >= 0):
        closings[int(owners[i])].append((int(closed[i]), int(created[i]), bool(converted[i])))
    return [
        {"lead_id": lead, "as_of": t}
        | _of_events([e for e in events[lead] if e[0] < t], t)
        | {"age_days": (t - created_at[lead]) / DAY}
        | _of_owner(closings[owner_of[lead]], t)
        for lead, t in rows
    ]


def _of_events(visible: list[Event], t: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in ("interactions", *NAMES.values()):
        own = [e for e in visible if name in ("interactions", e[1])]
        n = {w: sum(t - w * DAY <= ts for ts, _, _ in own) for w in WINDOWS}
        found |= {f"{name}_n_{w}d": n[w] for w in WINDOWS}
        found[f"{name}_recency_days"] = min(((t - ts) / DAY for ts, _, _ in own), default=NAN)
        found[f"{name}_smoothed_weekly"] = _smoothed([(ts, 1.0) for ts, _, _ in own], t)
        found[f"{name}_trend_30d_90d"] = (n[30] / 30) / (n[90] / 90) if n[90] else NAN
    for w in WINDOWS:
        inside = [e for e in visible if t - w * DAY <= e[0]]
        values = [value for _, _, value in inside if value is not None]
        found[f"interactions_duration_sum_{w}d"] = sum(values) / 1000
        found[f"interactions_duration_mean_{w}d"] = sum(values) / 1000 / len(values) if values else NAN
        found[f"interactions_days_{w}d"] = len({ts // DAY for ts, _, _ in inside})
    found["interactions_duration_smoothed_weekly"] = _smoothed(
        [(ts, v) for ts, _, v in visible if v is not None], t, 1000
    )
    return found


def _smoothed(events: Iterable[tuple[int, float]], t: int, unit: int = 1) -> float:
    weeks: dict[int, float] = defaultdict(float)
    for ts, value in events:
        weeks[(ts - MONDAY) // WEEK] += value
    smoothed = 0.0
    for week in range(min(weeks, default=0), (t - MONDAY) // WEEK if weeks else 0):
        smoothed = 0.7 * smoothed + 0.3 * (weeks.get(week, 0.0) / unit)
    return smoothed


def _of_owner(closings: list[tuple[int, int, bool]], t: int) -> dict[str, float]:
    recent = [c for c in closings if t - 90 * DAY <= c[0] < t]
    days = [(closed - created) / DAY for closed, created, converted in recent if converted]
    lost = len(recent) - len(days)
    return {
        "owner_leads_converted_n_90d": len(days),
        "owner_leads_disqualified_n_90d": lost,
        "owner_conversion_rate_90d": len(days) / len(recent) if recent else NAN,
        "owner_lead_to_opportunity_days_mean_90d": sum(days) / len(days) if days else NAN,
    }


def _events(task: Task, leads: set[int]) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = defaultdict(list)
    wanted = pa.array(sorted(leads), pa.int32())
    for batch in pq.ParquetFile(task.log).iter_batches(512 * 1024, columns=list(COLUMNS)):
        few = batch.filter(pc.is_in(batch["lead_id"], value_set=wanted))
        for event in few.set_column(1, "ts", few["ts"].cast("int64")).to_pylist():
            value = None if event["duration"] is None else round(event["duration"] * 1000)
            found[event["lead_id"]].append((event["ts"], NAMES[event["type"]], value))
    return found


def _columns(path: Path, *names: str) -> list[np.ndarray]:
    """Return columns as numbers; an empty date is -1."""
    table = pq.read_table(path, columns=list(names))
    columns = []
    for name in names:
        column = table[name].combine_chunks()
        is_date = str(column.type).startswith("timestamp")
        columns.append((column.cast("int64").fill_null(-1) if is_date else column).to_numpy(zero_copy_only=False))
    return columns
