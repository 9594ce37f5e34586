"""One way, one fold, in this process: `python -m models_bench.worker WAY TASK RESULT BUDGET SEED`.

It runs in the environment of the way, so it imports nothing of crmlab by itself. Reading files does not count, nor
do imports and compiling, because a way first fits a few made-up rows (a tool with a budget is only imported). All that
fitting and scoring take counts, that of processes started by the way included.
"""

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np

from features_bench.measure import stage
from models_bench.task import read_test, read_train, small_train
from models_bench.ways import BUDGETED, PACKAGES, find_way

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Fit, score, and write the probabilities with what both took."""
    way, task, result, budget_s, seed = arguments
    fit, train, X = find_way(way), read_train(Path(task)), read_test(Path(task))
    _warm_up(way, int(seed))
    with stage() as fitting:
        predict, told = fit(train, float(budget_s), int(seed))
    with stage() as scoring:
        p = np.asarray(predict(X), dtype="float64")
    if p.shape != (len(X),) or not np.isfinite(p).all() or p.min() < 0 or p.max() > 1:
        raise ValueError(f"{way} gave no probabilities for {len(X)} rows: shape {p.shape}")
    answer = {
        "fit_cpu_s": fitting.cpu_s,
        "predict_cpu_s": scoring.cpu_s,
        "wall_s": fitting.wall_s,
        "version": importlib.metadata.version(PACKAGES[way]),
        "told": told,
    }
    np.savez(result, p=p, answer=np.array(json.dumps(answer)))
    return 0


def _warm_up(way: str, seed: int) -> None:
    if way in BUDGETED:
        importlib.import_module(PACKAGES[way])
        return
    few = small_train()
    predict, _ = find_way(way)(few, 0.0, seed)
    predict(few.X)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
