"""numpy: one sort, cumulative sums, and the place of each date and window found by binary search."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features_bench.task import COLUMNS, DAY, FEATURES, INTEGERS, MONDAY, NAMES, OWNER, WEEK, WINDOWS, Task

__all__ = ["read_columns", "run", "write_result"]


def run(task: Task, result: Path, _prepared: object = None) -> None:
    """Compute all rows at once, in memory."""
    log = _read_log(task.log)
    leads = read_columns(task.leads)
    rows = read_columns(task.rows)
    found = _smoothed(log, rows, len(leads["lead_id"]))
    found |= _counts(_sorted(log), log["ts"], rows)
    for name in ("interactions", *NAMES.values()):
        n30, n90 = found[f"{name}_n_30d"], found[f"{name}_n_90d"]
        found[f"{name}_trend_30d_90d"] = _ratio(n30 / 30, n90 / 90)
    found["age_days"] = (rows["as_of"] - leads["created_at"][rows["lead_id"]]) / DAY
    found |= _owner(leads, rows)
    write_result(result, rows, found)


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a file as numbers; an empty date is -1."""
    found = {}
    for name, column in zip((table := pq.read_table(path)).column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type):
            column = column.cast("int64")
            column = column.fill_null(-1) if column.null_count else column
        found[name] = column.to_numpy()
    return found


def write_result(path: Path, rows: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    """Write rows and features: quickest, so without compression, dictionaries and statistics."""
    columns = {"lead_id": rows["lead_id"], "as_of": pa.array(rows["as_of"], pa.timestamp("us"))}
    for name in FEATURES:
        columns[name] = found[name].astype(np.int32 if name in INTEGERS else np.float64, copy=False)
    pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False, write_statistics=False)


def _read_log(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path, columns=list(COLUMNS), use_threads=False, pre_buffer=False).unify_dictionaries()
    words = table["type"].chunk(0).dictionary.to_pylist()
    code = np.array([list(NAMES).index(word) for word in words], dtype=np.int8)
    return {
        "lead": table["lead_id"].to_numpy(),
        "ts": table["ts"].cast("int64").to_numpy(),
        "type": code[pa.chunked_array([chunk.indices for chunk in table["type"].chunks]).to_numpy()],
        "value": np.round(np.nan_to_num(table["duration"].to_numpy() * 1000.0, nan=0.0)).astype(np.int64),
        "present": table["duration"].is_valid().to_numpy(),
    }


def _sorted(log: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    # Lead and place in the log in one integer: instants do not fit beside the lead, places do, in the same order.
    bits = max(len(log["lead"]).bit_length(), 1)
    key = log["lead"].astype(np.int64)
    key <<= bits
    key |= np.arange(len(key))
    key.sort()
    order = key & ((1 << bits) - 1)
    return {"key": key, "bits": bits} | {name: log[name][order] for name in ("lead", "ts", "type", "value", "present")}


def _counts(events: dict[str, np.ndarray], instants: np.ndarray, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    lead, as_of = rows["lead_id"].astype(np.int64) << events["bits"], rows["as_of"]
    dates, which = np.unique(as_of, return_inverse=True)
    place = {w: np.searchsorted(instants, dates - w * DAY)[which] for w in (0, *WINDOWS)}
    at = {w: np.searchsorted(events["key"], lead | p) for w, p in place.items()}
    begin, now = np.searchsorted(events["key"], lead), at[0]
    found: dict[str, np.ndarray] = {}
    for w in WINDOWS:
        found[f"interactions_n_{w}d"] = now - at[w]
    found["interactions_recency_days"] = _days_since(events["ts"], now - 1, now > begin, as_of)
    for code, name in enumerate(NAMES.values()):
        places = np.flatnonzero(events["type"] == code)
        until = np.searchsorted(places, now)
        for w in WINDOWS:
            found[f"{name}_n_{w}d"] = until - np.searchsorted(places, at[w])
        there = until > np.searchsorted(places, begin)
        found[f"{name}_recency_days"] = _days_since(events["ts"][places], until - 1, there, as_of)
    return found | _measures(events, at)


def _days_since(ts: np.ndarray, newest: np.ndarray, there: np.ndarray, as_of: np.ndarray) -> np.ndarray:
    if not len(ts):
        return np.full(len(as_of), np.nan)
    return np.where(there, (as_of - ts[newest]) / DAY, np.nan)


def _measures(events: dict[str, np.ndarray], at: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
    total, present = _cumulated(events["value"]), _cumulated(events["present"])
    day = events["ts"] // DAY
    new_day = np.ones(len(day), dtype=bool)
    new_day[1:] = (day[1:] != day[:-1]) | (events["lead"][1:] != events["lead"][:-1])
    days = _cumulated(new_day)
    found = {}
    for w in WINDOWS:
        start, stop = at[w], at[0]
        sums, n = (total[stop] - total[start]) / 1000, present[stop] - present[start]
        found[f"interactions_duration_sum_{w}d"] = sums
        found[f"interactions_duration_mean_{w}d"] = _ratio(sums, n)
        # The first event in the window begins a day of it, whether or not an earlier one was on that day.
        after_first = np.minimum(start + 1, stop)
        found[f"interactions_days_{w}d"] = days[stop] - days[after_first] + (stop > start)
    return found


def _cumulated(values: np.ndarray) -> np.ndarray:
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    return total


def _smoothed(log: dict[str, np.ndarray], rows: dict[str, np.ndarray], n_leads: int) -> dict[str, np.ndarray]:
    """Carry all series of all leads through the weeks: the log is in time order, so that a week is a slice of it."""
    names = [*NAMES.values(), "interactions_duration"]
    if not len(log["ts"]) or not len(rows["as_of"]):
        return {f"{name}_smoothed_weekly": np.zeros(len(rows["as_of"])) for name in ("interactions", *names)}
    week_of_row = (rows["as_of"] - MONDAY) // WEEK
    order = np.argsort(week_of_row, kind="stable")
    first, last = (log["ts"][0] - MONDAY) // WEEK, int(week_of_row.max())
    edges = np.searchsorted(log["ts"], MONDAY + np.arange(first, last + 1) * WEEK)
    at = np.searchsorted(week_of_row[order], np.arange(first, last + 2))
    state = np.zeros((len(names), n_leads))
    found = {f"{name}_smoothed_weekly": np.zeros(len(order)) for name in ("interactions", *names)}
    whole = np.zeros(n_leads)
    for i, _week in enumerate(range(first, last + 1)):
        here = order[at[i] : at[i + 1]]
        lead = rows["lead_id"][here]
        for name, series in zip(names, state, strict=True):
            found[f"{name}_smoothed_weekly"][here] = series[lead]
        found["interactions_smoothed_weekly"][here] = whole[lead]
        if i + 1 < len(edges):
            x = _week_of(log, edges[i], edges[i + 1], state.shape)
            state *= 0.7
            state += 0.3 * x
            whole = 0.7 * whole + 0.3 * x[:-1].sum(axis=0)
    return found


def _week_of(log: dict[str, np.ndarray], start: int, stop: int, shape: tuple[int, int]) -> np.ndarray:
    n_series, n_leads = shape
    lead = log["lead"][start:stop]
    cell = log["type"][start:stop].astype(np.int64) * n_leads + lead
    counts = np.bincount(cell, minlength=(n_series - 1) * n_leads).reshape(n_series - 1, n_leads)
    minutes = np.bincount(lead, weights=log["value"][start:stop], minlength=n_leads) / 1000
    return np.vstack([counts, minutes])


def _owner(leads: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Count per owner and date, then gather: rows are many, owners and dates few."""
    dates, which = np.unique(rows["as_of"], return_inverse=True)
    owner = leads["owner"][rows["lead_id"]]
    n_owners = int(leads["owner"].max(initial=0)) + 1
    closed = leads["closed_at"] >= 0
    tables = {name: np.zeros((len(dates), n_owners), dtype=np.int64) for name in ("converted", "lost", "took")}
    for i, t in enumerate(dates):
        recent = closed & (leads["closed_at"] >= t - 90 * DAY) & (leads["closed_at"] < t)
        won, lost = recent & leads["converted"], recent & ~leads["converted"]
        tables["converted"][i] = np.bincount(leads["owner"][won], minlength=n_owners)
        tables["lost"][i] = np.bincount(leads["owner"][lost], minlength=n_owners)
        np.add.at(tables["took"][i], leads["owner"][won], (leads["closed_at"] - leads["created_at"])[won])
    won, lost, took = (tables[name][which, owner] for name in ("converted", "lost", "took"))
    return dict(zip(OWNER, (won, lost, _ratio(won, won + lost), _ratio(took, won) / DAY), strict=True))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bottom == 0, np.nan, top / bottom)
