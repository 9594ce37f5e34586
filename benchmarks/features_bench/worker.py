"""One way, once, in this process: `python -m features_bench.worker WAY FOLDER EDGES RESULT REPORT`.

`--lay-out WAY FOLDER` writes what a way expects to find, such as the state of the day before.

Before the stage the way does the small edge-case set: that imports what is imported late, starts threads and loads
compiled code. All that counts as CPU of the process, but not as CPU of the stage; so does what `prepare` does.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import psutil

from features_bench.measure import peak_of_tree, stage
from features_bench.task import Task
from features_bench.ways import find_way

__all__ = ["main"]

_PACKAGES = ("numpy", "pandas", "pyarrow", "polars", "duckdb", "numba", "dask", "featuretools")


def main(arguments: list[str]) -> int:
    """Run the way and write what it took; or, before all rounds, lay out what it expects to find."""
    if arguments[0] == "--lay-out":
        module, _ = find_way(arguments[1])
        module.lay_out(Task(Path(arguments[2])))
        return 0
    way, folder, edges, result, report = arguments
    module, function = find_way(way)
    warm, task = Task(Path(edges)), Task(Path(folder))
    prepare = getattr(module, "prepare", lambda _task: None)
    function(warm, Path(result), prepare(warm))
    prepared = prepare(task)
    with stage() as measured:
        told = function(task, Path(result), prepared)
    answer = {
        "stage_cpu_s": measured.cpu_s,
        "stage_wall_s": measured.wall_s,
        "peak_mb": peak_of_tree(psutil.Process()),
        "versions": _versions(),
        "told": told or {},
    }
    Path(report).write_text(json.dumps(answer), "utf-8")
    return 0


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        if name in sys.modules:
            found[name] = importlib.metadata.version(name)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
