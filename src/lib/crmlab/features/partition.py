"""The one function that computes features from events: batch, live, out of core and cluster all call it.

It knows arrays only, no frames, no files and no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .events import Events
from .kernel import DAY, MISSING, MONDAY, WEEK, fold, group_by_entity, sort_within
from .plan import Output, ViewPlan

__all__ = [
    "CARRIED",
    "Carried",
    "Rows",
    "carry_forward",
    "compute_partition",
    "ever_lines",
    "fold_partition",
    "sort_rows",
]


@dataclass
class Rows:
    """What is asked: by entity, and by date within an entity.

    Attributes
    ----------
    start : int64[entities + 1], rows of each entity. as_of : int64[rows], microseconds.
    since : int64[rows], when the row's entity began; `MISSING` where that is not known.
    """

    start: np.ndarray
    as_of: np.ndarray
    since: np.ndarray

    @property
    def n_entities(self) -> int:
        """Number of entities, those without rows included."""
        return len(self.start) - 1


def sort_rows(entity: np.ndarray, as_of: np.ndarray, since: np.ndarray, n_entities: int) -> tuple[Rows, np.ndarray]:
    """Return rows in the order that the kernel needs, and the place in it of each row given.

    Parameters
    ----------
    entity : int[rows] in 0..n_entities−1. as_of, since : int64[rows].
    """
    order = np.lexsort((as_of, entity))
    start = np.zeros(n_entities + 1, dtype=np.int64)
    np.cumsum(np.bincount(entity, minlength=n_entities), out=start[1:])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return Rows(start, as_of[order], since[order]), place


@dataclass
class Carried:
    """What the events before `cut` amount to, by entity; its lines are the plan's results that look back forever.

    Attributes
    ----------
    cut : a Monday 00:00 UTC, microseconds. n, present : int32[lines, entities]. total, newest, oldest, last : int64.
    week : float64, smoothed values of the week before `cut`.
    """

    cut: int
    n: np.ndarray
    total: np.ndarray
    present: np.ndarray
    newest: np.ndarray
    oldest: np.ndarray
    week: np.ndarray
    last: np.ndarray

    @property
    def n_entities(self) -> int:
        """Number of entities."""
        return self.n.shape[1]

    def take(self, entities: np.ndarray | slice) -> "Carried":
        """Return it for some of the entities, in the order given."""
        chosen = {name: np.ascontiguousarray(getattr(self, name)[:, entities]) for name in CARRIED}
        return Carried(self.cut, **chosen)


CARRIED = ("n", "total", "present", "newest", "oldest", "week", "last")
"""Arrays of `Carried`."""


def compute_partition(
    plans: Sequence[ViewPlan],
    rows: Rows,
    events: Mapping[str, Events],
    *,
    carried: Mapping[str, Carried] | None = None,
) -> dict[str, np.ndarray]:
    """Return every feature of the plans for the rows, in the rows' order.

    Parameters
    ----------
    plans : one per view. events : view → events, whose entities are numbered as in `rows`.
    carried : view → what the events before its cut amount to; the events given are then those from the cut on, and no
        window of a row may begin before it.

    Returns
    -------
    name → array: int32 for counts, float64 with NaN for other numbers, int64 codes (−1 = missing) for categories.
    """
    found: dict[str, np.ndarray] = {}
    for plan in plans:
        results = fold_partition(plan, rows, events[plan.view], (carried or {}).get(plan.view))
        found |= {output.name: _finish(output, results, rows) for output in plan.outputs}
    return found


def carry_forward(plan: ViewPlan, events: Events, cut: int, n_entities: int, carried: Carried | None) -> Carried:
    """Return what all events before `cut` amount to, those given and those carried; lateness does not matter here.

    Parameters
    ----------
    events : all that are known, from the cut of `carried` on, if there is one.
    """
    before = events.ts < cut
    known = Events(
        events.entity[before],
        events.ts[before],
        events.ts[before],
        events.combo[before],
        np.ascontiguousarray(events.values[:, before]),
    )
    at_cut = np.full(n_entities, cut, dtype=np.int64)
    rows = Rows(np.arange(n_entities + 1, dtype=np.int64), at_cut, at_cut)
    results = fold_partition(plan, rows, known, carried)
    ever_n, ever_sum = ever_lines(plan)
    return Carried(
        cut,
        results["n"][ever_n],
        results["sum"][ever_sum],
        results["present"][ever_sum],
        results["newest"],
        results["oldest"],
        results["week"],
        results["last"],
    )


def ever_lines(plan: ViewPlan) -> tuple[np.ndarray, np.ndarray]:
    """Return the lines of counts and of sums that look back forever."""
    n = len(plan.windows)
    return np.flatnonzero(plan.tables["want_n"][:, 1] == n), np.flatnonzero(plan.tables["want_sum"][:, 1] == n)


def _writable(array: np.ndarray) -> np.ndarray:
    return array if array.flags.writeable else array.copy()


def fold_partition(plan: ViewPlan, rows: Rows, events: Events, carried: Carried | None = None) -> dict[str, np.ndarray]:
    """Return the kernel's results for the rows, one line per result."""
    # Numba compiles anew for arrays that cannot be written, as those of Arrow are: they are copied instead.
    row_start, as_of = _writable(rows.start), _writable(rows.as_of)
    entity, event_ts, event_enters = _writable(events.entity), _writable(events.ts), _writable(events.enters)
    order, start, in_order, n_late = group_by_entity(entity, event_ts, event_enters, rows.n_entities)
    if not in_order:
        sort_within(order, start, event_ts)
    ts = event_ts[order]
    enters = event_enters[order] if n_late else ts
    late, late_start = _late(entity, order, ts, enters, rows.n_entities, n_late)
    values = np.empty((len(plan.columns), len(order)), dtype=np.int64)
    for line, column in zip(values, events.values, strict=True):
        np.take(column, order, out=line, mode="clip")
    t = plan.tables
    results = _empty_results(t, len(rows.as_of))
    first_week = (carried.cut - MONDAY) // WEEK if carried else 0
    fold(
        row_start, as_of, start, ts, enters, late_start, late, events.combo[order],
        values, plan.windows, _n_weeks(plan, rows, ts, carried), int(t["n_slots"]), int(t["n_days"]), _ring(plan),
        t["slot_ptr"], t["slots"], t["sum_ptr"], t["sums"], t["sum_value"], t["day_ptr"], t["days"],
        t["week_ptr"], t["weeks"], t["week_value"], t["week_unit"], t["last_ptr"], t["lasts"], t["last_value"],
        t["want_n"], t["want_sum"], t["want_day"], t["want_newest"], t["want_oldest"],
        first_week, carried.week if carried else np.empty((len(t["week_value"]), 0)),
        *results.values(),
    )  # fmt: skip
    if carried:
        _add_carried(plan, rows, carried, results)
    return results


def _add_carried(plan: ViewPlan, rows: Rows, carried: Carried, results: dict[str, np.ndarray]) -> None:
    """What the carried events add: they are older than all others."""
    entity = np.repeat(np.arange(rows.n_entities), np.diff(rows.start))
    ever_n, ever_sum = ever_lines(plan)
    results["n"][ever_n] += carried.n[:, entity]
    results["sum"][ever_sum] += carried.total[:, entity]
    results["present"][ever_sum] += carried.present[:, entity]
    for name in ("newest", "last"):
        results[name] = np.where(results[name] == MISSING, getattr(carried, name)[:, entity], results[name])
    oldest = carried.oldest[:, entity]
    results["oldest"] = np.where(oldest == MISSING, results["oldest"], oldest)


def _ring(plan: ViewPlan) -> int:
    """A power of two that is more than the days of the longest window."""
    days = int(plan.windows[-1] // DAY) + 1 if len(plan.windows) and int(plan.tables["n_days"]) else 0
    return 1 << days.bit_length()


def _late(
    entity: np.ndarray, order: np.ndarray, ts: np.ndarray, enters: np.ndarray, n_entities: int, n_late: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the events that were entered later than they took place, by entity and time of entering."""
    start = np.zeros(n_entities + 1, dtype=np.int64)
    if n_late == 0:
        return np.empty(0, dtype=np.int64), start
    late = np.flatnonzero(enters > ts)
    whose = entity[order[late]]
    late = late[np.lexsort((enters[late], whose))]
    np.cumsum(np.bincount(whose, minlength=n_entities), out=start[1:])
    return late, start


def _n_weeks(plan: ViewPlan, rows: Rows, ts: np.ndarray, carried: Carried | None) -> int:
    """Weeks from the first event, or from the cut, to the last row, for the buffer of weekly values."""
    if len(plan.tables["week_value"]) == 0 or len(rows.as_of) == 0 or (len(ts) == 0 and not carried):
        return 1
    first = int(ts.min()) if carried is None else carried.cut
    return max(int(rows.as_of.max()) - first, 0) // WEEK + 3


def _empty_results(t: Mapping[str, np.ndarray], n_rows: int) -> dict[str, np.ndarray]:
    def lines(name: str, dtype: type) -> np.ndarray:
        return np.empty((len(t[name]), n_rows), dtype=dtype)

    return {
        "n": lines("want_n", np.int32),
        "sum": lines("want_sum", np.int64),
        "present": lines("want_sum", np.int32),
        "day": lines("want_day", np.int32),
        "newest": lines("want_newest", np.int64),
        "oldest": lines("want_oldest", np.int64),
        "week": lines("week_value", np.float64),
        "last": lines("last_value", np.int64),
    }


def _finish(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return _FINISH[output.measure](output, results, rows)


def _count(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return results["n"][output.at[0]]


def _sum(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return results["sum"][output.at[0]] / output.per_unit


def _mean(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return _divide(_sum(output, results, rows), results["present"][output.at[0]])


def _active_days(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return results["day"][output.at[0]]


def _recency(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return _days_between(rows.as_of, results["newest"][output.at[0]])


def _first(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return _days_between(rows.as_of, results["oldest"][output.at[0]])


def _smoothed(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return results["week"][output.at[0]]


def _trend(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    short, long = (results["n"][k] / days for k, days in zip(output.at, output.days, strict=True))
    return _divide(short, long)


def _per_week(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return results["n"][output.at[0]] * 7 / np.maximum(_days_between(rows.as_of, rows.since), 7.0)


def _per_day(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    age = np.maximum(_days_between(rows.as_of, rows.since), 1.0)
    return results["n"][output.at[0]] / np.minimum(float(output.days[0]), age)


def _last(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    values = results["last"][output.at[0]]
    if output.encoding == "category":
        return np.where(values == MISSING, -1, values)
    return np.where(values == MISSING, np.nan, values.view(np.float64))


def _until(output: Output, results: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    return -_days_between(rows.as_of, results["last"][output.at[0]])


def _days_between(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Days from `earlier` to `later`, NaN where `earlier` is `MISSING`."""
    days = (later - earlier) / DAY
    days[earlier == MISSING] = np.nan
    return days


def _divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    result = np.full(len(top), np.nan)
    return np.divide(top, bottom, out=result, where=bottom != 0)


_FINISH = {
    "n": _count,
    "sum": _sum,
    "mean": _mean,
    "days": _active_days,
    "recency": _recency,
    "first": _first,
    "smoothed": _smoothed,
    "trend": _trend,
    "per_week": _per_week,
    "per_day": _per_day,
    "last": _last,
    "until": _until,
}
