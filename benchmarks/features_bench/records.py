"""The figures as they are kept: one plain list, a file about the machine beside it, and a table for reading."""

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil

from features_bench.runner import Outcome, Run
from features_bench.task import FEATURES
from features_bench.ways import WAYS

__all__ = ["growth", "machine", "merge", "rows_of", "table", "write_all"]

_FIGURES = ("way", "events", "wall_s", "cpu_s", "stage_cpu_s", "peak_mb", "ratio_to_limit", "equal_to_reference")
_OTHERS = ("pandas", "polars", "duckdb (as-of joins)", "duckdb (window frames)", "numpy")
GOALS = """\
Goals: stage CPU at most 1.4 times the floor at 10 M and 50 M; 6 times less CPU than polars and 12 times less than
DuckDB as-of joins at 10 M; growth exponent at most 1.05; 50 M in at most 1.5 GB, 100 M in at most 2 GB; one lead live
in at most 1 ms; newest snapshot after one appended day at most 25 % of a full recompute; first compile at most 7 CPU s,
later 2."""


def rows_of(outcome: Outcome, *, events: int, equal_on_edges: Mapping[str, bool]) -> list[dict[str, object]]:
    """Return one line per way: medians over the rounds; the ratio to the floor is taken within each round."""
    by_way: dict[str, list[tuple[Run, float | None]]] = {}
    for done in outcome.runs:
        floor = next((run.stage_cpu_s for run in done if run.way == "floor"), None)
        for run in done:
            by_way.setdefault(run.way, []).append((run, run.stage_cpu_s / floor if floor else None))
    found = []
    for way, runs in by_way.items():
        ratios = [ratio for _, ratio in runs if ratio is not None]
        equal = not outcome.differences.get(way, ["never compared"]) and equal_on_edges.get(way, False)
        found.append(
            {
                "way": way,
                "events": events,
                **{name: _rounded(median(getattr(run, name) for run, _ in runs)) for name in _FIGURES[2:6]},
                "ratio_to_limit": _rounded(median(ratios)) if ratios else None,
                "equal_to_reference": None if way == "floor" else equal,
            }
        )
    return found


def _rounded(value: float) -> float:
    """Four significant digits: one lead takes a fraction of a millisecond, all of them minutes."""
    return float(f"{value:.4g}")


def merge(old: Iterable[Mapping[str, object]], new: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the lines of both, the new one where both have the same way and size, by size and way."""
    lines = {(line["way"], line["events"]): dict(line) for line in (*old, *new)}
    order = list(WAYS)
    return sorted(
        lines.values(),
        key=lambda line: (line["events"], order.index(line["way"]) if line["way"] in order else len(order)),
    )


def growth(lines: Sequence[Mapping[str, object]]) -> dict[str, dict[str, float]]:
    """Return, for each way and each step in size, the exponent with which the stage's CPU grows: 1 is in proportion."""
    found: dict[str, dict[str, float]] = {}
    for way in dict.fromkeys(line["way"] for line in lines):
        own = sorted((line["events"], line["stage_cpu_s"]) for line in lines if line["way"] == way)
        for (small, before), (large, after) in pairwise(own):
            if small > 0 and before > 0 and after > 0:
                exponent = math.log(after / before) / math.log(large / small)
                found.setdefault(way, {})[f"{_size(small)} to {_size(large)}"] = round(exponent, 3)
    return found


def machine(*, date: str, rounds: int, versions: Mapping[str, str]) -> dict[str, object]:
    """Return what the figures were taken on."""
    return {
        "date": date,
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "rounds": rounds,
        "versions": dict(sorted(versions.items())),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_all(folder: Path, lines: Sequence[Mapping[str, object]], about: Mapping[str, object]) -> None:
    """Write features.json, features_machine.json and features.md, each in one move."""
    texts = {
        "features.json": "[\n" + ",\n".join(" " + json.dumps(line) for line in lines) + "\n]\n",
        "features_machine.json": json.dumps(about, indent=1) + "\n",
        "features.md": table(lines, about),
    }
    for name, text in texts.items():
        draft = folder / f"{name}.new"
        draft.write_text(text, "utf-8")
        draft.replace(folder / name)


def table(lines: Sequence[Mapping[str, object]], about: Mapping[str, object]) -> str:
    """Return the figures as a page for reading."""
    parts = [_heading(about)]
    for events in sorted({line["events"] for line in lines}):
        parts += [f"\n## {_size(events)} events\n", *_table_of([line for line in lines if line["events"] == events])]
        parts += _compared([line for line in lines if line["events"] == events], about)
        stopped = [f for f in about.get("not_finished", []) if f["events"] == events]
        parts += [f"\n{f['way']}: {f['why']}." for f in stopped]
    parts += _extras(about)
    return "\n".join(parts) + "\n"


def _heading(about: Mapping[str, object]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())
    return f"""\
# The feature engine, measured

Written by `make bench-features` from features.json; do not edit. The same log, the same rows, the same 69 features
([task.py](features_bench/task.py)), every way in a process of its own, in interleaved rounds; medians of
{about.get("rounds")} rounds. CPU is user and system time of the process and its children, with the small set before the
stage; stage CPU leaves out imports, the start of threads and the loading of compiled code. The floor reads the
four columns, sorts, gathers and writes a ready matrix, and computes nothing: × floor is stage CPU by that of the floor
in the same round. Equal: to plain Python loops on an edge-case set and on the rows of a hundred leads of this log, and
to our own result on all rows.

{about.get("date")}, {about.get("cpu")}, {about.get("cores")} cores, {about.get("memory_gb")} GB,
{about.get("system")}, Python {about.get("python")}; {versions}.
Load before the first round: {about.get("load_before")}.

{GOALS}"""


def _table_of(lines: Sequence[Mapping[str, object]]) -> list[str]:
    head = ["| way | wall | CPU | stage CPU | × floor | peak memory | equal |", "|---|--:|--:|--:|--:|--:|---|"]
    return [*head, *(_line(line) for line in lines)]


def _compared(lines: Sequence[Mapping[str, object]], about: Mapping[str, object]) -> list[str]:
    """Return the goals' ratios at one size, as far as their ways were measured."""
    stage = {line["way"]: line["stage_cpu_s"] for line in lines}
    own = stage.get("crmlab (out of core)")
    if not own or not lines:
        return []
    others = [f"{way} {stage[way] / own:.1f} times" for way in _OTHERS if way in stage]
    parts = [f"Stage CPU beside that of crmlab (out of core): {', '.join(others)}."] if others else []
    if newest := stage.get("crmlab (newest snapshot after one appended day)"):
        parts.append(f"The newest snapshot takes {newest / own:.0%} of a full recompute.")
    all_features = "crmlab (all declared lead features)"
    n = about.get("told", {}).get(f"{all_features}, {lines[0]['events']:,} events", {}).get("features")
    if n and all_features in stage:
        each = (stage[all_features] - own) / (n - len(FEATURES))
        parts.append(f"Beyond {len(FEATURES)}, a feature costs {each / own:.1%} of that ({n} features).")
    return [f"\n{' '.join(parts)}"] if parts else []


def _line(line: Mapping[str, object]) -> str:
    ratio = line["ratio_to_limit"]
    equal = {True: "yes", False: "**no**", None: "–"}[line["equal_to_reference"]]
    cells = [
        line["way"],
        _seconds(line["wall_s"]),
        _seconds(line["cpu_s"]),
        _seconds(line["stage_cpu_s"]),
        "–" if ratio is None else f"{ratio:.2f}" if ratio >= 0.01 else f"{ratio:.1g}",
        f"{line['peak_mb'] / 1000:.2f} GB",
        equal,
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _seconds(value: float) -> str:
    if value < 0.1:
        return f"{value * 1000:.2g} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _size(events: int) -> str:
    return f"{events / 1e6:g} M" if events >= 1_000_000 else f"{events:,}"


def _extras(about: Mapping[str, object]) -> list[str]:
    parts = []
    if about.get("growth"):
        parts += ["\n## Growth", "\nExponent of stage CPU in the number of events; 1 is in proportion.\n"]
        parts += [
            f"- {way}: {', '.join(f'{exponent:.2f} ({step})' for step, exponent in steps.items())}"
            for way, steps in about["growth"].items()
        ]
    for title, key in (("Our own ways, in their own words", "told"), ("Compile cost", "compile")):
        if about.get(key):
            parts += [f"\n## {title}\n"]
            parts += [
                f"- {name}: " + ", ".join(f"{k} {v}" for k, v in told.items()) for name, told in about[key].items()
            ]
    return parts
