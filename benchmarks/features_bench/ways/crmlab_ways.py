"""crmlab itself, through its public functions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crmlab.features import Calendar, Feature, Ratio
from crmlab.features.declare import Declaration
from crmlab.features.interactions import interaction_features
from crmlab.features.stream import LinkedLog, stream_features
from features_bench.task import DAY, OWNER, Task

__all__ = ["DECLARATIONS", "OWNER_DECLARATIONS", "run_all_declared", "run_in_memory", "run_out_of_core"]

DECLARATIONS = (
    Feature("interactions", "interactions", "n days recency smoothed"),
    Feature("interactions", "interactions", "sum mean smoothed", of="duration"),
    Feature("interactions", "interactions", "trend", windows=(30, 90)),
    Feature("{}", "interactions", "n recency smoothed", each="type"),
    Feature("{}", "interactions", "trend", each="type", windows=(30, 90)),
    Calendar("age_days"),
)
"""The 65 features of the lead itself."""
_IN_DECLARED = (DECLARATIONS[0], DECLARATIONS[2], DECLARATIONS[3])
"""Those that the project declares, too."""

OWNER_DECLARATIONS = (
    Feature("leads_ended", "lead_endings", windows=(90,), hidden=True),
    Feature("leads_converted", "lead_endings", where={"outcome": "converted"}, windows=(90,)),
    Feature("leads_disqualified", "lead_endings", where={"outcome": "disqualified"}, windows=(90,)),
    Ratio("conversion_rate_90d", "leads_converted_n_90d", "leads_ended_n_90d"),
    Feature("lead_to_opportunity", "lead_endings", "mean", of="days", where={"outcome": "converted"}, windows=(90,)),
)
"""The four of its owner."""


def run_in_memory(task: Task, result: Path, _prepared: object = None) -> dict[str, object]:
    """All rows, the sorted events kept in memory."""
    return _run(task, result, in_memory=True)


def run_out_of_core(task: Task, result: Path, _prepared: object = None) -> dict[str, object]:
    """All rows, the sorted events in a file."""
    return _run(task, result, in_memory=False)


def run_all_declared(task: Task, result: Path, _prepared: object = None) -> dict[str, object]:
    """Out of core, with every feature of interactions that the project declares for leads, beside the 69."""
    own = [line for line in DECLARATIONS if line not in _IN_DECLARED]
    return _run(task, result, in_memory=False, features=(*own, *interaction_features()))


def _run(
    task: Task, result: Path, *, in_memory: bool, features: Sequence[Declaration] = DECLARATIONS
) -> dict[str, object]:
    report = stream_features(
        task.log,
        task.rows,
        features=features,
        entities=task.leads,
        out=result,
        linked=[owner_log(task)],
        in_memory=in_memory,
    )
    return {"features": len(report.features)}


def owner_log(task: Task) -> LinkedLog:
    """Return what the leads' owners closed, as features of the leads."""
    return LinkedLog("owner", "rep", "lead_endings", "owner", closings(task), OWNER_DECLARATIONS)


def closings(task: Task) -> pa.Table:
    """Return the log of closings, by owner."""
    leads = pq.read_table(task.leads).filter(pc.field("closed_at").is_valid())
    took = pc.subtract(leads["closed_at"].cast(pa.int64()), leads["created_at"].cast(pa.int64()))
    return pa.table(
        {
            "rep_id": leads["owner"],
            "ts": leads["closed_at"],
            "outcome": pc.if_else(leads["converted"], "converted", "disqualified"),
            "days": pc.divide(took.cast(pa.float64()), float(DAY)),
        }
    )


def owner_table(task: Task, dates: pa.Array) -> pa.Table:
    """Return the features of all owners at some dates, by owner and date, for ways that take them from a table."""
    reps = np.unique(pq.read_table(task.leads, columns=["owner"])["owner"].to_numpy())
    instants = np.unique(dates.cast("int64").to_numpy())
    asked = pa.table(
        {
            "rep_id": np.repeat(reps, len(instants)),
            "as_of": pa.array(np.tile(instants, len(reps)), pa.timestamp("us")),
        }
    )
    report = stream_features(
        closings(task),
        asked,
        features=OWNER_DECLARATIONS,
        entities=pa.table({"rep_id": reps}),
        entity="rep",
        view="lead_endings",
        in_memory=True,
    )
    names = {name.removeprefix("owner_"): name for name in OWNER}
    return report.table.rename_columns([names.get(name, name) for name in report.table.column_names])


def add_owner(task: Task, table: pa.Table, owners: pa.Table) -> pa.Table:
    """Return features of leads with those of their owners, found by owner and date in `owner_table`."""
    leads = pq.read_table(task.leads, columns=["lead_id", "owner"])
    owner = leads["owner"].to_numpy()[np.searchsorted(leads["lead_id"].to_numpy(), table["lead_id"].to_numpy())]
    reps, dates = np.unique(owners["rep_id"].to_numpy()), np.unique(owners["as_of"].cast("int64").to_numpy())
    place = np.searchsorted(reps, owner) * len(dates)
    place += np.searchsorted(dates, table["as_of"].cast("int64").to_numpy())
    for name in OWNER:
        table = table.append_column(name, pa.array(owners[name].to_numpy()[place]))
    return table
