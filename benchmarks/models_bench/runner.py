"""Every way on every set, each fit in a process of its own; what was measured once is kept."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

import crmlab
from models_bench.sets import BenchmarkSet
from models_bench.task import write_task
from models_bench.ways import BUDGETED, OWN, WAYS

__all__ = ["Failure", "Run", "digest", "run_set", "run_way"]

_HERE = Path(__file__).parent
_LOOK = 0.1
_OVERRUN, _GRACE_S = 4, 120
"""A tool with a budget is stopped after so many times the budget, and so many seconds more."""


@dataclass
class Run:
    """One way on one set: the probabilities of the tested rows, fold after fold, and what all folds took in seconds."""

    way: str
    p: np.ndarray
    fit_cpu_s: float
    predict_cpu_s: float
    wall_s: float
    version: str
    told: list[Mapping[str, object]] = field(default_factory=list)


@dataclass
class Failure:
    """A way that gave no probabilities for a set, and why."""

    way: str
    why: str


def run_set(
    one: BenchmarkSet,
    ways: Sequence[str],
    *,
    folder: Path,
    budget_s: float,
    limit_s: float,
    seed: int,
    turn: int = 0,
    pythons: Mapping[str, str] | None = None,
    again: bool = False,
    chosen: Sequence[str] | None = None,
) -> Iterator[Run | Failure]:
    """Run the ways on a set, one after the other; results that are there already are used.

    Parameters
    ----------
    folder : where tasks and results are kept.
    budget_s : wall seconds for one fit of a tool that takes a budget.
    limit_s : wall seconds after which a fit of any other is stopped.
    turn : with which way to begin, so that no way is always first.
    pythons : way → interpreter, where it is not this one.
    again : measure anew what is there.
    chosen : ways that may be run; of the others only results that are there are used. All when not given.
    """
    place = folder / re.sub(r"\W+", "-", one.name.lower()).strip("-")
    tasks = []
    for number, part in enumerate(one.parts()):
        tasks.append(place / f"fold-{number}")
        write_task(tasks[-1], part)
    rows = digest(one)
    start = turn % max(len(ways), 1)
    for way in [*ways[start:], *ways[:start]]:
        python = (pythons or {}).get(way, sys.executable)
        limit = _OVERRUN * budget_s + _GRACE_S if way in BUDGETED else limit_s
        stamp, asked = _stamp(way, rows, budget_s, seed), chosen is None or way in chosen
        if not asked and not all(_result(way, task, stamp).exists() for task in tasks):
            continue
        run = run_way(
            way,
            tasks,
            stamp=stamp,
            budget_s=budget_s,
            limit_s=limit,
            seed=seed,
            python=python,
            again=again and asked,
        )
        _say(one.name, run)
        yield run


def run_way(
    way: str,
    tasks: Sequence[Path],
    *,
    stamp: str,
    budget_s: float,
    limit_s: float,
    seed: int,
    python: str,
    again: bool = False,
) -> Run | Failure:
    """Run one way on all folds and add up what they took."""
    answers, parts = [], []
    for task in tasks:
        result = _result(way, task, stamp)
        if again or not result.exists():
            why = _run_once(way, task, result, budget_s=budget_s, limit_s=limit_s, seed=seed, python=python)
            if why:
                return Failure(way, why)
        with np.load(result, allow_pickle=False) as found:
            parts.append(found["p"])
            answers.append(json.loads(str(found["answer"])))
    took = (sum(answer[name] for answer in answers) for name in ("fit_cpu_s", "predict_cpu_s", "wall_s"))
    return Run(way, np.concatenate(parts), *took, answers[0]["version"], [answer["told"] for answer in answers])


def digest(one: BenchmarkSet) -> str:
    """Return a hash of all that ways get of a set."""
    sha = hashlib.sha256(repr((one.name, list(one.X), one.gap_days)).encode())
    for part in one.parts():
        for frame in (part.X_train, part.X_test):
            for name in frame:
                codes = frame[name].fillna("").str.cat(sep="\0") if frame[name].dtype != "float64" else None
                sha.update(codes.encode() if codes is not None else frame[name].to_numpy().tobytes())
        sha.update(part.y_train.tobytes())
        if part.order_train is not None:
            sha.update(part.order_train.tobytes())
    return sha.hexdigest()


def _stamp(way: str, rows: str, budget_s: float, seed: int) -> str:
    """Return a hash of what a result depends on: rows, budget, seed and the code of the way."""
    code = [_HERE / "ways" / f"{WAYS[way].split(':')[0]}.py"]
    if way.startswith(OWN):
        library = Path(crmlab.__file__).parent
        code += sorted(p for name in ("models", "calibration") for p in (library / name).glob("*.py"))
    sha = hashlib.sha256(repr((way, rows, seed, float(budget_s) if way in BUDGETED else None)).encode())
    for path in code:
        sha.update(path.read_bytes())
    return sha.hexdigest()[:16]


def _result(way: str, task: Path, stamp: str) -> Path:
    return task / f"{re.sub(r'[^a-z]+', '-', way.lower()).strip('-')}-{stamp}.npz"


def _run_once(
    way: str, task: Path, result: Path, *, budget_s: float, limit_s: float, seed: int, python: str
) -> str | None:
    """Run a way in a new process; return why there is no result, or None when there is one."""
    draft = result.with_name(f"draft-{result.name}")
    with tempfile.TemporaryDirectory(dir=task) as scratch:
        words = Path(scratch) / "words.txt"
        command = [python, "-m", "models_bench.worker", way, str(task), str(draft), str(budget_s), str(seed)]
        with words.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(command, env=_environment(), cwd=scratch, stdout=out, stderr=out)
            in_time = _watch(process, limit_s)
        if not in_time:
            return f"stopped after {limit_s:.0f} s"
        if process.returncode or not draft.exists():
            return _reason(words.read_text("utf-8", errors="replace"), process.returncode)
    draft.replace(result)
    return None


def _reason(words: str, code: int) -> str:
    if code == -9:
        return "killed: out of memory"
    lines = words.strip().splitlines()
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Evidence|Interrupt)\b", line)] or lines
    return " ".join(named[-1:])[:200] or f"exit code {code}"


def _environment() -> dict[str, str]:
    # Two cores for everybody; what a way does with them is its own affair.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    return os.environ | threads | {"PYTHONPATH": str(_HERE.parent), "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}


def _watch(process: subprocess.Popen, limit_s: float) -> bool:
    """Wait for a process; stop it and what it started when the time is over."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
            return True
    with contextlib.suppress(psutil.Error):
        watched = psutil.Process(process.pid)
        for child in (*watched.children(recursive=True), watched):
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.wait()
    return False


def _say(name: str, run: Run | Failure) -> None:
    what = run.why if isinstance(run, Failure) else f"fit {run.fit_cpu_s:.1f} CPU s, {run.wall_s:.1f} s"
    print(f"  {name}, {run.way}: {what}", flush=True)
