"""A small log full of edges: instants exactly at the date, at a window's beginning, at midnight and at Monday 00:00."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features_bench.generate import log_table
from features_bench.task import DAY, LEADS, LOG, MONDAY, ROWS, TYPES, WEEK, WINDOWS

__all__ = ["DATES", "write_edges"]

_FIRST = MONDAY + 2_700 * WEEK  # a Monday, 00:00
DATES = (
    _FIRST + 10 * WEEK,  # itself a Monday, 00:00
    _FIRST + 10 * WEEK + 1,
    _FIRST + 13 * WEEK + 3 * DAY,  # midnight inside a week
    _FIRST + 20 * WEEK + 2 * DAY + 45_296_000_001,
    _FIRST + 90 * WEEK + DAY,
)
_NEVER = 0


def write_edges(folder: Path, *, seed: int = 0) -> None:
    """Write the three files of the edge-case set into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    events = sorted(_edges() + _random_events(seed), key=lambda event: event[1])
    dtype = [("lead", "i4"), ("ts", "i8"), ("type", "i1"), ("duration", "f4")]
    pq.write_table(log_table(np.array(events, dtype=dtype)), folder / LOG, row_group_size=64)
    _write_leads(folder / LEADS)
    rows = sorted((lead, date) for lead in range(12) for date in DATES)
    rows += [(0, DATES[0]), (3, _FIRST - DAY)]  # a row that comes twice; one before everything
    lead, date = zip(*sorted(rows), strict=True)
    pq.write_table(
        pa.table({"lead_id": np.array(lead, dtype=np.int32), "as_of": pa.array(date, pa.timestamp("us"))}),
        folder / ROWS,
    )
    counts = {"events": len(events), "leads": 12, "rows": len(rows)}
    (folder / "ready.json").write_text(json.dumps(counts), "utf-8")


def _edges() -> list[tuple[int, int, int, float]]:
    call, sent, meeting, visit = (TYPES.index(name) for name in ("call", "email_sent", "meeting", "web_visit"))
    nan = float("nan")
    found = []
    for date in DATES:
        for back in (0, *(w * DAY for w in WINDOWS)):
            # Lead 0 has one event at the edge, one just inside and one just outside; lead 1 only those at the edge.
            found += [(0, date - back + step, call, 1.001) for step in (-1, 0, 1)]
            found += [(1, date - back, sent, nan)]
    for week in range(12):
        # Around Monday 00:00 and around midnight; twice the same; a call without duration, and one of no length.
        found += [(2, _FIRST + week * WEEK - 1, visit, nan), (2, _FIRST + week * WEEK, meeting, 30.5)]
        found += [(3, _FIRST + week * WEEK + DAY, call, nan), (3, _FIRST + week * WEEK + DAY, call, 0.0)]
        found += [(3, _FIRST + week * WEEK + DAY - 1, call, 479.999)] * 2
    found += [(4, _FIRST, visit, nan), (4, _FIRST + 89 * WEEK, visit, nan)]  # silent for 89 weeks
    found += [(5, DATES[-1] + 5 * DAY, call, 3.0)]  # nothing before any row; leads 6 and 7 have no events at all
    found += [(8, DATES[1] - 1, kind, 2.0 if kind in (call, meeting) else nan) for kind in range(len(TYPES))]
    return found


def _random_events(seed: int) -> list[tuple[int, int, int, float]]:
    rng = np.random.default_rng(seed)
    found = []
    for lead in (9, 10, 11):
        for ts in rng.integers(_FIRST, DATES[3], 150):
            kind = int(rng.integers(len(TYPES)))
            measured = TYPES[kind] in ("call", "meeting")
            found.append((lead, int(ts), kind, round(float(rng.exponential(20)), 3) if measured else float("nan")))
    return found


def _write_leads(path: Path) -> None:
    # Closings at a date, at the beginning of 90 days before it, one µs beside both; owner 2 never closes anything.
    closed = {
        0: DATES[0],
        1: DATES[0] - 1,
        2: DATES[2] - 90 * DAY,
        3: DATES[2] - 90 * DAY - 1,
        4: DATES[1] - 1,
        5: DATES[3] - 1,
        6: DATES[2],
        9: DATES[0] - 30 * DAY,
        10: DATES[3] - 90 * DAY,
    }
    closed_at = [closed.get(lead, _NEVER) for lead in range(12)]
    created_at = [_FIRST - lead * DAY * 7 // 2 for lead in range(12)]
    # Thousandths of days from creation to closing: the resolution at which crmlab sums them.
    created_at = [at + (closed.get(lead, at) - at) % (DAY // 1000) for lead, at in enumerate(created_at)]
    table = {
        "lead_id": np.arange(12, dtype=np.int32),
        "created_at": pa.array(created_at, pa.timestamp("us")),
        "owner": np.array([0, 0, 1, 1, 0, 3, 1, 2, 2, 3, 1, 3], dtype=np.int32),
        "closed_at": pa.array(closed_at, pa.timestamp("us"), mask=np.array([c == _NEVER for c in closed_at])),
        "converted": np.isin(np.arange(12), [0, 1, 3, 5, 9, 10]),
    }
    pq.write_table(pa.table(table), path)
