"""`python -m models_bench --sets ficzon,maven --ways crmlab,XGBoost --budget 40` (see `--help`)."""

import argparse
import datetime
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from crmlab.schema import DataError
from models_bench import records
from models_bench.runner import Failure, Run, run_set
from models_bench.sets import SETS, BenchmarkSet, load_set, shuffled
from models_bench.ways import NULL_WAYS, PEERS, WAYS

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "benchmarks"
PEERS_PYTHON = ROOT / ".venv-models" / "bin" / "python"


def main(arguments: list[str] | None = None) -> int:
    """Measure, merge the figures with those there are, and write them after every set."""
    asked = _parse(arguments)
    ways = _chosen(asked.ways)
    absent = {} if PEERS_PYTHON.exists() else dict.fromkeys(PEERS, "there is no .venv-models: see `make bench-models`")
    asked.out.mkdir(parents=True, exist_ok=True)
    lines, about = _load(asked.out)
    about |= records.machine(date=f"{datetime.date.today():%Y-%m-%d}", budget_s=asked.budget, seed=asked.seed)
    for turn, (short, one) in enumerate(_sets(asked.sets, about)):
        able = [way for way in WAYS if way not in absent]
        runs = list(_runs(one, able, ways, asked, turn))
        failures = [run for run in runs if isinstance(run, Failure)]
        failures += [Failure(way, why) for way, why in absent.items() if way in ways]
        done = [run for run in runs if isinstance(run, Run)]
        if done:
            found = records.figures(one, done, n_bootstrap=asked.resamples, seed=asked.seed)
            lines = records.merge([line for line in lines if not _is_in(line, one.name, failures)], found)
        _remember(about, one, failures, done)
        if not asked.no_null and short != "maven":
            _null(one, asked, turn, about)
        records.write_all(asked.out, lines, about)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="models_bench")
    parser.add_argument("--sets", default="", help=f"names, such as ficzon,maven; empty: all of {', '.join(SETS)}")
    parser.add_argument("--ways", default="", help="beginnings of the ways' names, such as crmlab,XGBoost; empty: all")
    parser.add_argument("--budget", type=float, default=40.0, help="wall seconds a fit for tools that search")
    parser.add_argument("--limit", type=float, default=900, help="wall seconds after which any other fit is stopped")
    parser.add_argument("--resamples", type=int, default=400, help="resamples for the intervals")
    parser.add_argument("--seed", type=int, default=0, help="of every draw")
    parser.add_argument("--folder", type=Path, default=None, help="where results are kept (or BENCH_DIR)")
    parser.add_argument("--out", type=Path, default=HERE, help="where the figures are written")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured before")
    parser.add_argument("--no-null", action="store_true", help="leave out the sets with shuffled outcomes")
    asked = parser.parse_args(arguments)
    asked.sets = [name.strip() for name in asked.sets.split(",")] if asked.sets else list(SETS)
    asked.folder = asked.folder or Path(os.environ.get("BENCH_DIR") or ROOT / "data" / "bench-models")
    return asked


def _chosen(wanted: str) -> list[str]:
    if not wanted:
        return list(WAYS)
    return [way for way in WAYS if any(way.startswith(part.strip()) for part in wanted.split(","))]


def _sets(names: list[str], about: dict[str, object]) -> Iterator[tuple[str, BenchmarkSet]]:
    """Yield the sets whose files are there; remember why the others are left out."""
    for name in names:
        try:
            one = load_set(name)
        except DataError as error:
            why = " ".join(str(error).split())
            about.setdefault("skipped", {})[name] = why
            print(f"{name} is left out: {why}", flush=True)
            continue
        about.setdefault("skipped", {}).pop(name, None)
        rows = ", ".join(f"{len(train):,} → {len(test):,}" for train, test in one.folds)
        print(f"{one.name}: {rows} rows, {one.X.shape[1]} columns", flush=True)
        yield name, one


def _runs(
    one: BenchmarkSet, ways: list[str], chosen: list[str], asked: argparse.Namespace, turn: int
) -> Iterator[Run | Failure]:
    return run_set(
        one,
        ways,
        folder=asked.folder,
        budget_s=asked.budget,
        limit_s=asked.limit,
        seed=asked.seed,
        turn=turn,
        pythons=dict.fromkeys(PEERS, str(PEERS_PYTHON)),
        again=asked.again,
        chosen=chosen,
    )


def _null(one: BenchmarkSet, asked: argparse.Namespace, turn: int, about: dict[str, object]) -> None:
    by_lot = shuffled(one, seed=asked.seed)
    runs = list(_runs(by_lot, list(NULL_WAYS), list(NULL_WAYS), asked, turn))
    done = [run for run in runs if isinstance(run, Run)]
    _remember(about, by_lot, [run for run in runs if isinstance(run, Failure)], done)
    if done:
        new = records.null_test(by_lot, done, n_bootstrap=asked.resamples, seed=asked.seed)
        about["null_tests"] = [t for t in about.get("null_tests", []) if t["set"] != by_lot.name] + new


def _remember(about: dict[str, object], one: BenchmarkSet, failures: list[Failure], done: list[Run]) -> None:
    """Add what failed, what our own ways say of themselves, and the figures of the truth."""
    tried = {run.way for run in done} | {failure.way for failure in failures}
    before = [f for f in about.get("not_finished", []) if f["set"] != one.name or f["way"] not in tried]
    about["not_finished"] = before + [{"set": one.name, **vars(failure)} for failure in failures]
    if told := {run.way: run.told for run in done if any(run.told)}:
        about.setdefault("told", {}).setdefault(one.name, {}).update(told)
    if truth := records.oracle(one):
        about.setdefault("oracle", {})[one.name] = truth


def _is_in(line: dict[str, object], name: str, failures: list[Failure]) -> bool:
    return line["set"] == name and line["way"] in {failure.way for failure in failures}


def _load(folder: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    lines, about = folder / "models.json", folder / "models_machine.json"
    old = json.loads(lines.read_text("utf-8")) if lines.exists() else []
    return old, json.loads(about.read_text("utf-8")) if about.exists() else {}


if __name__ == "__main__":
    sys.exit(main())
