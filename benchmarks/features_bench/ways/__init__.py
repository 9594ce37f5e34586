"""The ways to do the work. Each module has `run(task, result)`, and `prepare(task)` for what is not counted as work."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

__all__ = ["LAID_OUT", "NEEDS", "PARTIAL", "WAYS", "find_way"]

WAYS = {
    "floor": "floor:run",
    "numpy": "numpy_way:run",
    "polars": "polars_way:run",
    "duckdb (as-of joins)": "duckdb_way:run_joins",
    "duckdb (window frames)": "duckdb_way:run_frames",
    "pandas": "pandas_way:run",
    "featuretools": "featuretools_way:run",
    "crmlab (in memory)": "crmlab_ways:run_in_memory",
    "crmlab (out of core)": "crmlab_ways:run_out_of_core",
    "crmlab (dask, 2 workers)": "crmlab_dask:run",
    "crmlab (newest snapshot after one appended day)": "crmlab_newest:run_newest",
    "crmlab (one lead, live)": "crmlab_newest:run_live",
    "crmlab (all declared lead features)": "crmlab_ways:run_all_declared",
}
"""Module and function of each way."""
PARTIAL = ("crmlab (newest snapshot after one appended day)", "crmlab (one lead, live)")
"""Ways that give some of the rows: they are compared on these."""
LAID_OUT = PARTIAL
"""Ways whose module has `lay_out(task)`, called once before all rounds in a process that is not measured."""
NEEDS = {
    "crmlab (dask, 2 workers)": "crmlab.features.cluster",
    "crmlab (newest snapshot after one appended day)": "crmlab.features.incremental",
    "crmlab (one lead, live)": "crmlab.features.single",
}
"""Modules that a way needs and that this crmlab may not have yet."""


def find_way(name: str) -> tuple[ModuleType, Callable[..., object]]:
    """Return the module of a way and its function."""
    module, function = WAYS[name].split(":")
    found = import_module(f"features_bench.ways.{module}")
    return found, getattr(found, function)
