"""Small logs with every trouble that a real one has, for tests of the ways in which features can be computed."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from crmlab.features import Calendar, Difference, Feature, Ratio

DAY = 86_400_000_000
MONDAY = 2_800 * 7 * DAY + 4 * DAY
TYPES = ("call", "email_sent", "E-mail (sent)", "meeting", "web_visit")
FEATURES = (
    Feature("interactions", "interactions", "n days recency first smoothed trend", windows=(7, 30)),
    Feature("interactions", "interactions", "n", windows=(0,)),
    Feature("interactions", "interactions", "per_week per_day", windows=(30,)),
    Feature("interactions", "interactions", "sum mean smoothed", of="duration", windows=(7, 0)),
    Feature("{}", "interactions", "n recency smoothed", each="type", windows=(7, 30)),
    Feature("inbound", "interactions", "n", where={"direction": "inbound"}, windows=(30,)),
    Feature("long", "interactions", "n", where={"duration": ">= 20"}, windows=(30,), hidden=True),
    Feature("short", "interactions", "n", where={"duration": "<= 5"}, windows=(30,)),
    Ratio("long_share", "long_n_30d", "interactions_n_30d"),
    Difference("not_long", "interactions_n_30d", "long_n_30d"),
    Calendar("age_days"),
)
WINDOWS = (7, 30)
N_LEADS = 40


def make_log(seed: int, *, n: int = 400, text_ids: bool = False, late: bool = True, days: int = 120) -> pa.Table:
    """Return events in no order: at edges of days and weeks, twice the same, of nobody, without time, entered late."""
    rng = np.random.default_rng(seed)
    lead = rng.integers(0, N_LEADS, n) // rng.integers(1, 4, n)
    ts = MONDAY + rng.integers(0, days * 24, n) * (DAY // 24) + rng.integers(-1, 2, n)
    known = ts + np.where(rng.random(n) < 0.2, rng.integers(0, 60 * DAY, n), 0) * late
    duration = np.where(rng.random(n) < 0.5, np.round(rng.exponential(20, n), 3), np.nan)
    duration[rng.random(n) < 0.02] = -1.0
    ids = ids_of(np.where(rng.random(n) < 0.02, N_LEADS + 7, lead), text_ids)
    return pa.table(
        {
            "lead_id": pa.array(ids.tolist(), mask=rng.random(n) < 0.02),
            "ts": pa.array(ts, pa.timestamp("us"), mask=rng.random(n) < 0.02),
            "known_at": pa.array(known, pa.timestamp("us")),
            "type": pa.array(rng.choice(TYPES, n), mask=rng.random(n) < 0.05),
            "direction": pa.array(rng.choice(["inbound", "outbound"], n), mask=rng.random(n) < 0.3),
            "duration": pa.array(duration, mask=np.isnan(duration)),
        }
    )


def ids_of(numbers: np.ndarray, text: bool) -> np.ndarray:
    return np.char.add("lead-", numbers.astype(str)).astype(object) if text else numbers.astype(np.int64) * 3 + 5


def make_leads(*, text_ids: bool = False) -> pa.Table:
    """Return leads; the beginning of some is not known."""
    begin = MONDAY - np.arange(N_LEADS) * DAY // 2
    return pa.table(
        {
            "lead_id": pa.array(ids_of(np.arange(N_LEADS), text_ids).tolist()),
            "created_at": pa.array(begin, pa.timestamp("us"), mask=np.arange(N_LEADS) % 7 == 3),
            "owner": pa.array([f"rep-{k % 3}" if k % 5 else None for k in range(N_LEADS)]),
        }
    )


def make_rows(seed: int, *, text_ids: bool = False, n: int = 150) -> pa.Table:
    """Return rows in no order, some twice, some before everything."""
    rng = np.random.default_rng([seed, 1])
    as_of = MONDAY + rng.integers(-2, 20, n) * 7 * DAY + rng.choice([0, 0, 1, DAY // 3], n)
    lead = ids_of(rng.integers(0, N_LEADS, n), text_ids)
    return pa.table({"lead_id": pa.array(lead.tolist()), "as_of": pa.array(as_of, pa.timestamp("us"))})


def write(folder, **tables: pa.Table):
    """Write tables as Parquet with small row groups and return their paths."""
    paths = []
    for name, table in tables.items():
        paths.append(folder / f"{name}.parquet")
        pq.write_table(table, paths[-1], row_group_size=64)
    return paths


def assert_same_bits(found: pa.Table, wanted: pa.Table) -> None:
    """Names, order, types and every bit are the same."""
    assert found.schema.names == wanted.schema.names
    for name in wanted.schema.names:
        a, b = found[name].combine_chunks(), wanted[name].combine_chunks()
        assert a.type == b.type, name
        if pa.types.is_floating(a.type):
            a, b = (c.to_numpy().view(np.int64) for c in (a, b))
            wrong = np.flatnonzero(a != b)
            assert len(wrong) == 0, (
                name,
                wrong[:5],
                found[name].to_numpy()[wrong[:5]],
                wanted[name].to_numpy()[wrong[:5]],
            )
        else:
            assert a.equals(b), name


def as_frame(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    times = {c: "datetime64[us]" for c in ("ts", "known_at", "as_of", "created_at") if c in frame}
    return frame.astype(times | {c: "str" for c in ("type", "direction") if c in frame})
