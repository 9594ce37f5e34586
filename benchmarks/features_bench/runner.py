"""Rounds: every way in a process of its own, one after the other, again and again in another order."""

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from features_bench.compare import NONE_IN_COMMON, differences, differences_of_files, has_rows
from features_bench.edge import write_edges
from features_bench.generate import generate
from features_bench.measure import peak_of_tree
from features_bench.reference import reference, sample_rows
from features_bench.task import Task
from features_bench.ways import LAID_OUT, PARTIAL, WAYS

__all__ = ["Failure", "Outcome", "Run", "check_on_edges", "measure", "run_once"]

ANCHORS = ("crmlab (in memory)", "crmlab (out of core)", "numpy")
"""The first of these that ran is what the results of a round are compared with, row by row."""
_LOOK = 0.1
_LEADS_CHECKED = 100


@dataclass
class Run:
    """One way, once. Seconds, and megabytes at the peak."""

    way: str
    events: int
    wall_s: float
    cpu_s: float
    stage_cpu_s: float
    peak_mb: float
    told: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Failure:
    """A way that did not come to an end, and why."""

    way: str
    events: int
    why: str


@dataclass
class Outcome:
    """All rounds of all ways at one size."""

    runs: list[list[Run]] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    differences: dict[str, list[str]] = field(default_factory=dict)


def measure(
    folder: Path,
    *,
    events: int,
    ways: Sequence[str],
    rounds: int,
    limit_s: float,
    pythons: Mapping[str, str],
) -> Iterator[Outcome]:
    """Run the ways in interleaved rounds on a log of `events`; yield all that is known after each.

    Results are checked in the first round.

    Parameters
    ----------
    limit_s : wall seconds after which a way is stopped; it is not tried again.
    pythons : way → interpreter, where it is not this one.
    """
    counts = generate(folder, events=events)
    print(f"{counts['events']:,} events of {counts['leads']:,} leads, {counts['rows']:,} rows", flush=True)
    outcome, task = Outcome(), Task(folder)
    wanted = reference(task, sample_rows(task, leads=_LEADS_CHECKED))
    _lay_out(folder, ways)
    for number in range(rounds):
        done: list[Run] = []
        anchor = None
        for way in _order(ways, number):
            if way in outcome.failures:
                continue
            run = run_once(way, folder, events=events, limit_s=limit_s, python=pythons.get(way, sys.executable))
            _say(number, run)
            if isinstance(run, Failure):
                outcome.failures[way] = run
                continue
            done.append(run)
            result = result_of(folder, way)
            if number == 0:
                outcome.differences[way] = _check(way, result, task, wanted, anchor)
            if anchor is None and way in ANCHORS and number == 0:
                anchor = result
            else:
                result.unlink(missing_ok=True)
        outcome.runs.append(done)
        if anchor is not None:
            anchor.unlink(missing_ok=True)
        yield outcome


def run_once(way: str, folder: Path, *, events: int, limit_s: float, python: str) -> Run | Failure:
    """Run a way in a new process and return what it took; its result is at `result_of`."""
    result, report = result_of(folder, way), folder / "report.json"
    report.unlink(missing_ok=True)
    command = [
        python,
        "-m",
        "features_bench.worker",
        way,
        str(folder),
        str(folder.parent / "edges"),
        str(result),
        str(report),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with (folder / "words.txt").open("w", encoding="utf-8") as words:
        process = subprocess.Popen(command, env=_environment(), stdout=words, stderr=words)
        peak = _watch(process, limit_s)
    wall = time.perf_counter() - started
    if peak is None:
        return Failure(way, events, f"not done after {limit_s:.0f} s")
    if process.returncode or not report.exists():
        lines = (folder / "words.txt").read_text("utf-8").strip().splitlines()
        named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)] or lines
        why = "killed: out of memory" if process.returncode == -9 else " ".join(named[-1:])[:200]
        return Failure(way, events, why or f"exit code {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = json.loads(report.read_text("utf-8"))
    # A way that does one small thing again and again says what one of them took.
    own = told["told"]
    took = own.pop("wall_s", wall), cpu, own.pop("stage_cpu_s", told["stage_cpu_s"])
    return Run(way, events, *took, max(peak, told["peak_mb"]), own, told["versions"])


def _lay_out(folder: Path, ways: Sequence[str]) -> None:
    """Write what some ways expect to find, each module once, in a process that is not measured."""
    modules = {WAYS[way].split(":")[0]: way for way in ways if way in LAID_OUT}
    for way in modules.values():
        command = [sys.executable, "-m", "features_bench.worker", "--lay-out", way, str(folder)]
        subprocess.run(command, env=_environment(), check=True)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": "0"}


def result_of(folder: Path, way: str) -> Path:
    """Return where a way's result is written."""
    return folder / f"result-{list(WAYS).index(way)}.parquet"


def check_on_edges(folder: Path, ways: Sequence[str], *, pythons: Mapping[str, str]) -> dict[str, list[str]]:
    """Return for each way how its result on the edge-case set differs from the plain reference."""
    write_edges(folder)
    task = Task(folder)
    wanted = reference(task)
    _lay_out(folder, ways)
    found = {}
    for way in ways:
        run = run_once(way, folder, events=0, limit_s=300, python=pythons.get(way, sys.executable))
        result = result_of(folder, way)
        found[way] = [run.why] if isinstance(run, Failure) else _check(way, result, task, wanted, None)
        result.unlink(missing_ok=True)
        print(f"  edge cases, {way}: {'; '.join(found[way][:2]) or 'equal'}", flush=True)
    return found


def _check(way: str, result: Path, task: Task, wanted: list[dict[str, float]], anchor: Path | None) -> list[str]:
    """Compare a result with rows of the plain reference, and with another way's. The floor computes nothing."""
    if way == "floor":
        return []
    if way not in PARTIAL and not has_rows(result, task.rows):
        return ["other rows than asked for"]
    found = differences(result, wanted)
    if way in PARTIAL and anchor is not None:
        # A few leads at one date need not be among the leads sampled; beside the other way's result they always are.
        found = [what for what in found if what != NONE_IN_COMMON]
    if anchor is None or found:
        return found
    own = way.startswith("crmlab") and anchor == result_of(task.folder, ANCHORS[0])
    return differences_of_files(result, anchor, exact=own)


def _order(ways: Sequence[str], number: int) -> list[str]:
    """The first round begins with what others are compared with; later ones turn the order."""
    if number == 0:
        return sorted(ways, key=lambda way: ANCHORS.index(way) if way in ANCHORS else len(ANCHORS))
    turn = number % max(len(ways), 1)
    return [*ways[turn:], *ways[:turn]]


def _watch(process: subprocess.Popen, limit_s: float) -> float | None:
    """Wait for a process; return the most memory seen, or None when it had to be stopped."""
    peak, end = 0.0, time.monotonic() + limit_s
    watched = psutil.Process(process.pid)
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
            return peak
        peak = max(peak, peak_of_tree(watched))
        if time.monotonic() > end:
            _stop(watched)
            process.wait()
            return None


def _stop(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        process.kill()


def _say(number: int, run: Run | Failure) -> None:
    what = (
        run.why
        if isinstance(run, Failure)
        else f"{run.wall_s:.1f} s, stage CPU {run.stage_cpu_s:.2f} s, {run.peak_mb:.0f} MB"
    )
    print(f"  round {number + 1}, {run.way}: {what}", flush=True)
