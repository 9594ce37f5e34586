"""Write a log of any length, in time order, without ever holding it: a week of new leads at a time.

Leads differ as real ones do: a few have hundreds of events, most a handful; events come in bursts and repeat within the
second; a lead lives for days or for a year. Everything follows from the seed and the number of events.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features_bench.task import DAY, LEADS, LOG, ROWS, TYPES, WEEK

__all__ = ["DAYS", "END", "GRID", "GROUP", "START", "generate"]

START = 18_993 * DAY  # 2022-01-01
DAYS = 3 * 365
END = START + DAYS * DAY
GRID = 28
GROUP = 512 * 1024
"""Rows of a Parquet row group."""

_EVENTS_PER_LEAD = 32
_SHARES = (0.20, 0.26, 0.20, 0.07, 0.06, 0.05, 0.14, 0.02)  # in the order of TYPES
_SECOND = 1_000_000
_SCHEMA = pa.schema(
    {
        "lead_id": pa.int32(),
        "ts": pa.timestamp("us"),
        "type": pa.dictionary(pa.int8(), pa.string()),
        "duration": pa.float32(),
        "direction": pa.dictionary(pa.int8(), pa.string()),
        "outcome": pa.dictionary(pa.int8(), pa.string()),
    }
)
_INCOMING = ("email_open", "email_click", "email_reply", "web_visit", "form")
_OUTCOMES = ("reached", "not_reached", "held", "no_show")


def generate(folder: Path, *, events: int, seed: int = 0) -> dict[str, int]:
    """Write the three files into `folder` unless they are there; return how many events, leads and rows they hold."""
    ready = folder / "ready.json"
    if ready.exists():
        return json.loads(ready.read_text("utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, events])
    leads = _draw_leads(rng, events)
    _write_leads(folder / LEADS, leads)
    n_rows = _write_rows(folder / ROWS, leads)
    n_events = _write_log(folder / LOG, leads, rng)
    counts = {"events": n_events, "leads": len(leads["created"]), "rows": n_rows}
    ready.write_text(json.dumps(counts), "utf-8")
    return counts


def _draw_leads(rng: np.random.Generator, events: int) -> dict[str, np.ndarray]:
    n = max(events // _EVENTS_PER_LEAD, 1)
    created = np.sort(START + (rng.random(n) * (DAYS - 1) * DAY).astype(np.int64) // _SECOND * _SECOND)
    days = np.clip(rng.lognormal(np.log(58), 1.0, n), 0.05, 700)
    # Thousandths of days: the resolution at which crmlab sums them.
    closed = created + (days * 1000).astype(np.int64) * (DAY // 1000)
    weight = rng.lognormal(0.0, 0.9, n) * np.sqrt(np.minimum(closed, END) - created)
    n_events = rng.poisson(weight * (events / weight.sum())).astype(np.int64)
    _add_up_to(n_events, events, rng)
    n_owners = max(5, n // 900)
    owner = (n_owners * rng.random(n) ** 1.5).astype(np.int32)  # some owners have many more leads than others
    converted = (rng.random(n) < 0.15 + 0.2 * rng.random(n_owners)[owner]) & (closed < END)
    return {
        "created": created,
        "closed": closed,
        "n_events": n_events,
        "owner": owner,
        "converted": converted,
    }


def _add_up_to(counts: np.ndarray, total: int, rng: np.random.Generator) -> None:
    """Change counts by one here and there until they add up to `total`."""
    while (left := total - counts.sum()) != 0:
        can = np.arange(len(counts)) if left > 0 else np.flatnonzero(counts > 0)
        chosen = rng.choice(can, size=min(abs(left), len(can)), replace=False)
        counts[chosen] += np.sign(left)


def _write_leads(path: Path, leads: dict[str, np.ndarray]) -> None:
    closed = leads["closed"]
    table = {
        "lead_id": np.arange(len(closed), dtype=np.int32),
        "created_at": pa.array(leads["created"], pa.timestamp("us")),
        "owner": leads["owner"],
        "closed_at": pa.array(closed, pa.timestamp("us"), mask=closed >= END),
        "converted": leads["converted"],
    }
    pq.write_table(pa.table(table), path, row_group_size=GROUP)


def _write_rows(path: Path, leads: dict[str, np.ndarray]) -> int:
    """Write the dates of the grid at which each lead was open: created strictly before, not closed before."""
    grid = START + np.arange(1, DAYS // GRID + 1) * GRID * DAY
    first = np.searchsorted(grid, leads["created"], side="right")
    last = np.searchsorted(grid, leads["closed"], side="right")
    n = last - first
    offset = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    lead = np.repeat(np.arange(len(n), dtype=np.int32), n)
    as_of = pa.array(grid[np.repeat(first, n) + offset], pa.timestamp("us"))
    pq.write_table(pa.table({"lead_id": lead, "as_of": as_of}), path, row_group_size=GROUP)
    return len(lead)


def _write_log(path: Path, leads: dict[str, np.ndarray], rng: np.random.Generator) -> int:
    """Write week after week: once the leads of a week are drawn, no event before its end is missing."""
    edges = np.searchsorted(leads["created"], np.arange(START, END + WEEK, WEEK))
    kept: list[np.ndarray] = []
    done = _Groups(path)
    with done:
        for week in range(len(edges) - 1):
            kept.append(_events_of(leads, edges[week], edges[week + 1], rng))
            waiting = np.concatenate(kept)
            ready = waiting["ts"] < START + (week + 1) * WEEK
            done.add(waiting[ready])
            kept = [waiting[~ready]]
        done.add(kept[0])
    return done.n


def _events_of(leads: dict[str, np.ndarray], start: int, stop: int, rng: np.random.Generator) -> np.ndarray:
    n_each = leads["n_events"][start:stop]
    lead = np.repeat(np.arange(start, stop, dtype=np.int32), n_each)
    n = len(lead)
    events = np.empty(n, dtype=[("ts", "i8"), ("lead", "i4"), ("type", "i1"), ("duration", "f4")])
    begin = leads["created"][lead]
    life = np.minimum(leads["closed"][lead], END) - begin
    bursts = 1 + leads["n_events"][lead] // 7
    centre = _uniform(lead.astype(np.uint64) * np.uint64(1009) + (rng.random(n) * bursts).astype(np.uint64))
    spread = rng.exponential(0.6 * DAY, n)
    within = np.where(rng.random(n) < 0.7, centre * life + spread, rng.random(n) * life)
    events["ts"] = begin + np.minimum(within.astype(np.int64), life - 1) // _SECOND * _SECOND
    events["lead"] = lead
    events["type"] = np.searchsorted(np.cumsum(_SHARES), rng.random(n))
    events["duration"] = _durations(events["type"], rng)
    return events


def _durations(types: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return minutes to the thousandth for calls and meetings, NaN for the others."""
    typical = np.full(len(TYPES), np.nan)
    typical[[TYPES.index("call"), TYPES.index("meeting")]] = 6.0, 45.0
    return np.minimum(np.round(typical[types] * rng.lognormal(0.0, 0.6, len(types)), 3), 480.0)


def _uniform(seed: np.ndarray) -> np.ndarray:
    """Return a number from 0 to 1 that depends on the seed alone (splitmix64): the times of a lead's bursts."""
    with np.errstate(over="ignore"):
        z = (seed + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z >> np.uint64(11)) / 2.0**53


class _Groups:
    """Gather events and write them in full row groups."""

    def __init__(self, path: Path) -> None:
        self.path, self.n = path, 0
        self.waiting = [np.empty(0, dtype=[("ts", "i8"), ("lead", "i4"), ("type", "i1"), ("duration", "f4")])]

    def __enter__(self) -> "_Groups":
        self.writer = pq.ParquetWriter(self.path, _SCHEMA, compression="snappy")
        return self

    def add(self, events: np.ndarray) -> None:
        """Take events that follow all earlier ones; the instants are put in order here."""
        self.waiting.append(events[np.argsort(events["ts"], kind="stable")])
        if sum(map(len, self.waiting)) >= GROUP:
            self._write(full=True)

    def _write(self, *, full: bool) -> None:
        events = np.concatenate(self.waiting)
        stop = len(events) // GROUP * GROUP if full else len(events)
        for start in range(0, stop, GROUP):
            self.writer.write_table(log_table(events[start : min(start + GROUP, stop)]), row_group_size=GROUP)
        self.n += stop
        self.waiting = [events[stop:]]

    def __exit__(self, *_error: object) -> None:
        self._write(full=False)
        self.writer.close()


def log_table(events: np.ndarray) -> pa.Table:
    """Return events as a table of the log. Which way they went and how they ended is for features beyond the 69."""
    duration = np.ascontiguousarray(events["duration"])
    columns = [
        pa.array(np.ascontiguousarray(events["lead"])),
        pa.array(np.ascontiguousarray(events["ts"]), pa.timestamp("us")),
        pa.DictionaryArray.from_arrays(pa.array(np.ascontiguousarray(events["type"])), pa.array(TYPES)),
        pa.array(duration, mask=np.isnan(duration)),
        *_directions_and_outcomes(events["type"], events["ts"]),
    ]
    return pa.table(columns, schema=_SCHEMA)


def _directions_and_outcomes(types: np.ndarray, ts: np.ndarray) -> list[pa.Array]:
    call, meeting = TYPES.index("call"), TYPES.index("meeting")
    incoming = np.isin(types, [TYPES.index(name) for name in _INCOMING])
    failed = ts // _SECOND % 3 == 0
    outcome = np.where(types == call, 0, 2).astype(np.int8) + failed
    direction = pa.array(np.where(incoming, 0, 1).astype(np.int8))
    return [
        pa.DictionaryArray.from_arrays(direction, pa.array(["in", "out"])),
        pa.DictionaryArray.from_arrays(pa.array(outcome, mask=~np.isin(types, [call, meeting])), pa.array(_OUTCOMES)),
    ]
