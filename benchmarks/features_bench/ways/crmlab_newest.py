"""crmlab when a little is new: the newest snapshot after one appended day, and one lead at a time."""

import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crmlab.features.incremental import advance, build_state, load_state, save_state
from crmlab.features.single import LiveFeatures
from features_bench.generate import GROUP
from features_bench.task import COLUMNS, DAY, FEATURES, INTEGERS, Task
from features_bench.ways.crmlab_ways import DECLARATIONS, add_owner, owner_table

__all__ = ["lay_out", "run_live", "run_newest"]

BASE, ADDED, FEW, STATE = "base.parquet", "added.parquet", "few.parquet", "state.npz"
_LEADS = 500
"""Leads that are scored live, one after the other."""


def lay_out(task: Task) -> None:
    """Write what is there before the day is appended: the log until then and its state; the events of some leads."""
    date = _date(task)
    file = pq.ParquetFile(task.log)
    few = pa.array(_few(task))
    with (
        pq.ParquetWriter(task.folder / BASE, file.schema_arrow) as base,
        pq.ParquetWriter(task.folder / ADDED, file.schema_arrow) as added,
        pq.ParquetWriter(task.folder / FEW, file.schema_arrow) as some,
    ):
        for batch in file.iter_batches(GROUP):
            ts = batch["ts"].cast("int64")
            seen, old = pc.less(ts, date), pc.less(ts, date - DAY)
            base.write_batch(batch.filter(old), row_group_size=GROUP)
            added.write_batch(batch.filter(pc.and_not(seen, old)))
            some.write_batch(batch.filter(pc.is_in(batch["lead_id"], value_set=few)))
    state = build_state(
        task.folder / BASE,
        features=DECLARATIONS,
        entities=task.leads,
        as_of=np.datetime64(date - DAY, "us"),
        folder=task.folder,
    )
    save_state(state, task.folder / STATE)


def run_newest(task: Task, result: Path, _prepared: object = None) -> dict[str, object]:
    """The rows of the newest date, from the state of the day before and the events of one more day."""
    date = _date(task)
    state = load_state(task.folder / STATE, features=DECLARATIONS)
    rows = _newest_rows(task)
    newer = advance(
        state,
        task.folder / ADDED,
        log=task.folder / BASE,
        entities=task.leads,
        as_of=np.datetime64(date, "us"),
        keys=rows,
    )
    save_state(newer.state, task.folder / f"{STATE}.next")
    owners = owner_table(task, pa.array([np.datetime64(date, "us")]))
    table = add_owner(task, newer.table, owners)
    pq.write_table(table, result, compression="none", use_dictionary=False, write_statistics=False)
    return {"rows": newer.rows, "events read": newer.read}


def prepare(task: Task) -> tuple[LiveFeatures, list[tuple[int, int, list[dict[str, object]], dict[str, object]]]]:
    """Return what a live service holds: the plan, each lead's events as records, and the table of owners."""
    if not (task.folder / STATE).exists():
        lay_out(task)
    state, date = load_state(task.folder / STATE, features=DECLARATIONS), _date(task)
    events = pq.read_table(task.folder / FEW, columns=list(COLUMNS)).to_pylist()
    leads = pq.read_table(task.leads)
    table = owner_table(task, pa.array([np.datetime64(date, "us")]))
    owners = {row.pop("rep_id"): row for row in table.drop_columns("as_of").to_pylist()}
    asked = []
    for lead in _few(task).tolist():
        row = {name: leads[name][lead].as_py() for name in ("created_at", "owner")}
        asked.append((lead, row["created_at"], [e for e in events if e["lead_id"] == lead], owners[row["owner"]]))
    return LiveFeatures([state.plan], DECLARATIONS), asked


def run_live(task: Task, result: Path, prepared: object) -> dict[str, object]:
    """One lead after the other, as a service would: the figures are those of one lead."""
    live, asked = prepared
    date = np.datetime64(_date(task), "us")
    found, took = [], []
    cpu = time.process_time()
    for lead, since, events, owner in asked:
        begun = time.perf_counter()
        values = live.features({"interactions": events}, as_of=date, since=since, context=owner)
        took.append(time.perf_counter() - begun)
        found.append({"lead_id": lead} | values)
    cpu = time.process_time() - cpu
    columns = {"lead_id": pa.array([row["lead_id"] for row in found], pa.int32())}
    columns["as_of"] = pa.array([date] * len(found), pa.timestamp("us"))
    for name in FEATURES:
        kind = pa.int32() if name in INTEGERS else pa.float64()
        columns[name] = pa.array([row[name] for row in found], kind)
    pq.write_table(pa.table(columns), result)
    return {
        "wall_s": median(took),
        "stage_cpu_s": cpu / len(found),
        "median ms": round(median(took) * 1000, 3),
        "99 % ms": round(float(np.percentile(took, 99)) * 1000, 3),
        "leads": len(found),
    }


def _date(task: Task) -> int:
    return int(pc.max(pq.read_table(task.rows, columns=["as_of"])["as_of"]).cast("int64").as_py())


def _newest_rows(task: Task) -> pa.Table:
    rows = pq.read_table(task.rows)
    return rows.filter(pc.equal(rows["as_of"].cast("int64"), _date(task))).select(["lead_id"])


def _few(task: Task) -> np.ndarray:
    leads = _newest_rows(task)["lead_id"].to_numpy()
    return leads[:: max(len(leads) // _LEADS, 1)][:_LEADS]
