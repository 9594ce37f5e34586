"""crmlab on a Dask cluster of two worker processes on this machine.

The features of owners are few: they are computed here and put beside the parts that the workers wrote.
"""

import shutil
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
from dask.distributed import Client, LocalCluster

from crmlab.features.cluster import cluster_features
from features_bench.task import Task
from features_bench.ways.crmlab_ways import DECLARATIONS, add_owner, owner_table

__all__ = ["prepare", "run"]


def prepare(_task: Task) -> Client:
    """Return a client of the running cluster."""
    return _client()


@cache
def _client() -> Client:
    return Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))


def run(task: Task, result: Path, client: Client) -> dict[str, object]:
    """Compute all rows on the workers, and gather their parts into one file."""
    folder = result.with_suffix(".parts")
    shutil.rmtree(folder, ignore_errors=True)
    report = cluster_features(client, [task.log], task.rows, features=DECLARATIONS, entities=task.leads, out=folder)
    owners = owner_table(task, pq.read_table(task.rows, columns=["as_of"])["as_of"].unique())
    writer = None
    for part in report.files:
        table = add_owner(task, pq.read_table(part), owners)
        writer = writer or pq.ParquetWriter(
            result, table.schema, compression="none", use_dictionary=False, write_statistics=False
        )
        writer.write_table(table)
    writer.close()
    shutil.rmtree(folder)
    return {"rows": report.rows, "parts": len(report.files)}
