"""`python -m features_bench --events 1e6,1e7 --rounds 3 --ways floor,crmlab` (see `--help`)."""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from features_bench import records
from features_bench.runner import Failure, check_on_edges, measure, run_once
from features_bench.ways import NEEDS, WAYS

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "benchmarks"
_SLOW = {"featuretools": 20_000, "pandas": 1_000_000, "duckdb (window frames)": 1_000_000}
"""Largest size at which a way is tried unless it is named: beyond, it would take most of the run's time."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, merge the figures with those there are, and write them."""
    asked = _parse(arguments)
    sizes = [int(float(size)) for size in asked.events.split(",")]
    ways = _chosen(asked.ways)
    pythons, notes = _pythons(ways)
    ways = [way for way in ways if way not in notes]
    for way, why in notes.items():
        print(f"{way} is left out: {why}", flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    folder = Path(asked.folder or os.environ.get("BENCH_DIR") or ROOT / "data" / "bench")
    lines, about = _load(asked.out)
    about |= records.machine(date=f"{datetime.date.today():%Y-%m-%d}", rounds=asked.rounds, versions=about["versions"])
    edges = check_on_edges(folder / "edges", [way for way in ways if way != "floor"], pythons=pythons)
    about["compile"] = _compile_cost(folder / "edges", ways) or about.get("compile", {})
    wrong = {way for way, found in edges.items() if found}
    for events in sizes:
        here = folder / str(events)
        some = [way for way in ways if asked.ways or events <= _SLOW.get(way, events)]
        equal = {way: not edges.get(way) for way in some}
        rounds = measure(here, events=events, ways=some, rounds=asked.rounds, limit_s=asked.limit, pythons=pythons)
        for outcome in rounds:  # kept after each round: who stops the run keeps what was measured
            lines = records.merge(lines, records.rows_of(outcome, events=events, equal_on_edges=equal))
            _remember(about, outcome, events)
            about["growth"] = records.growth(lines)
            records.write_all(asked.out, lines, about)
            wrong |= {way for way, found in outcome.differences.items() if found}
        if not asked.keep:
            shutil.rmtree(here)
    for way in sorted(wrong):
        print(f"{way} differs: {'; '.join((edges.get(way) or ['on the log'])[:3])}", file=sys.stderr)
    return 1 if wrong else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="features_bench")
    parser.add_argument("--events", default="2e4,1e6,1e7", help="sizes of the log, such as 1e6,1e7,5e7")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--ways", default="", help="beginnings of the ways' names, such as floor,crmlab; empty: all")
    parser.add_argument("--limit", type=float, default=900, help="seconds after which a way is stopped")
    parser.add_argument("--folder", default="", help="where logs are written (or BENCH_DIR; else data/bench)")
    parser.add_argument("--out", type=Path, default=HERE, help="where the figures are written")
    parser.add_argument("--keep", action="store_true", help="keep the logs for another call")
    return parser.parse_args(arguments)


def _chosen(wanted: str) -> list[str]:
    if not wanted:
        return list(WAYS)
    return [way for way in WAYS if any(way.startswith(part.strip()) for part in wanted.split(","))]


def _pythons(ways: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the interpreters of ways that need their own, and why a way cannot run."""
    missing = {way: f"there is no {NEEDS[way]}" for way in ways if way in NEEDS and not find_spec(NEEDS[way])}
    if "featuretools" not in ways:
        return {}, missing
    venv, needs = ROOT / ".venv-featuretools", HERE / "requirements-featuretools.txt"
    python = venv / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv")
        make = [uv, "venv", "--quiet", str(venv)] if uv else [sys.executable, "-m", "venv", str(venv)]
        install = (
            [uv, "pip", "install", "--quiet", "--python", str(python)]
            if uv
            else [str(python), "-m", "pip", "install", "--quiet"]
        )
        for command in (make, [*install, "--requirement", str(needs)]):
            if subprocess.run(command, check=False).returncode:
                shutil.rmtree(venv, ignore_errors=True)
                why = f"its environment could not be built ({Path(command[0]).name} failed)"
                return {}, missing | {"featuretools": why}
    return {"featuretools": str(python)}, missing


def _compile_cost(folder: Path, ways: list[str]) -> dict[str, dict[str, str]]:
    """Return the CPU of a process that does the edge cases, with an empty and with a full cache of compiled code."""
    way = next((way for way in ways if way.startswith(("crmlab (out", "crmlab (in"))), None)
    if way is None:
        return {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NUMBA_CACHE_DIR"] = cache
        try:
            runs = [run_once(way, folder, events=0, limit_s=300, python=sys.executable) for _ in range(3)]
        finally:
            del os.environ["NUMBA_CACHE_DIR"]
    if any(isinstance(run, Failure) for run in runs):
        return {}
    first, later = runs[0].cpu_s, min(run.cpu_s for run in runs[1:])
    return {
        way: {"first use": f"{first:.1f} CPU s", "later": f"{later:.1f} CPU s", "compile": f"{first - later:.1f} CPU s"}
    }


def _load(folder: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Return the figures that are there; a partial run adds to them."""
    lines, about = folder / "features.json", folder / "features_machine.json"
    old = json.loads(lines.read_text("utf-8")) if lines.exists() else []
    return old, {"versions": {}} | (json.loads(about.read_text("utf-8")) if about.exists() else {})


def _remember(about: dict[str, object], outcome: object, events: int) -> None:
    """Add what the ways said of themselves, the versions they used, and those that did not finish."""
    failures = [
        f for f in about.get("not_finished", []) if f["events"] != events or f["way"] not in outcome.differences
    ]
    new = [vars(failure) for failure in outcome.failures.values()]
    names = {failure["way"] for failure in new}
    about["not_finished"] = [f for f in failures if not (f["events"] == events and f["way"] in names)] + new
    for done in outcome.runs:
        for run in done:
            about["versions"] = dict(sorted({**about["versions"], **run.versions}.items()))
            if run.told:
                about.setdefault("told", {})[f"{run.way}, {events:,} events"] = dict(run.told)


if __name__ == "__main__":
    sys.exit(main())
