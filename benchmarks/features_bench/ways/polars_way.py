"""polars: running totals per event, joined as of the date and as of the beginning of each window.

One as-of join per instant brings all totals at once; what lies in a window is the difference of two of them. A line
before all time opens each lead, so that a date before its first event finds zeros instead of nothing.
"""

from pathlib import Path

import polars as pl

from features_bench.task import DAY, FEATURES, INTEGERS, MONDAY, NAMES, OWNER, WEEK, WINDOWS, Task

__all__ = ["run"]

_BEFORE_ALL = -(2**60)
_TOTALS = [*NAMES.values(), "value", "present", "days"]


def run(task: Task, result: Path, _prepared: None = None) -> None:
    """Compute all rows, lazily up to the joins."""
    rows = pl.scan_parquet(task.rows).with_columns(t=pl.col("as_of").to_physical()).collect()
    leads = pl.read_parquet(task.leads)
    log = _log(task)
    found = _add_weekly(rows, _weekly(log))
    found = _add_windows(found, _totals(log, leads))
    found = found.join(leads.select("lead_id", "created_at", "owner"), on="lead_id", how="left")
    found = found.with_columns(age_days=(pl.col("t") - pl.col("created_at").to_physical()) / DAY)
    found = found.join(_owner(leads, found), on=["owner", "t"], how="left")
    types = [pl.col(name).cast(pl.Int32 if name in INTEGERS else pl.Float64) for name in FEATURES]
    found.select("lead_id", "as_of", *types).write_parquet(result, compression="uncompressed", statistics=False)


def _log(task: Task) -> pl.DataFrame:
    thousandths = (pl.col("duration").cast(pl.Float64) * 1000).round().cast(pl.Int64)
    return (
        pl.scan_parquet(task.log)
        .select("lead_id", pl.col("ts").to_physical(), pl.col("type").cast(pl.Categorical), value=thousandths)
        .collect()
    )


def _totals(log: pl.DataFrame, leads: pl.DataFrame) -> pl.DataFrame:
    """Return the events by lead and time, with what had come in by then; totals run on over all leads."""
    kinds = log["type"].dtype
    first = leads.select(
        "lead_id", ts=pl.lit(_BEFORE_ALL, pl.Int64), type=pl.lit(None, kinds), value=pl.lit(None, pl.Int64)
    )
    day, same_lead = pl.col("ts") // DAY, pl.col("lead_id") == pl.col("lead_id").shift(-1)
    opens = pl.col("ts") == _BEFORE_ALL
    own = {name: (pl.col("type") == kind).fill_null(False) for kind, name in NAMES.items()}
    ends_day = ((day != day.shift(-1)) | ~same_lead).fill_null(True)
    return (
        pl.concat([first, log])  # the log is in time order
        .lazy()
        .sort("lead_id", maintain_order=True)
        .with_columns(
            *(flag.cast(pl.Int32).cum_sum().alias(name) for name, flag in own.items()),
            *(pl.when(flag | opens).then("ts").forward_fill().alias(f"last_{name}") for name, flag in own.items()),
            pl.col("value").fill_null(0).cum_sum(),
            present=pl.col("value").is_not_null().cast(pl.Int32).cum_sum(),
            days=(ends_day & ~opens).cast(pl.Int32).cum_sum(),
            ends_day=ends_day,
        )
        .select("lead_id", "ts", *_TOTALS, "ends_day", *(f"last_{name}" for name in NAMES.values()))
        .collect()
    )


def _add_windows(rows: pl.DataFrame, totals: pl.DataFrame) -> pl.DataFrame:
    """Add counts, sums, means, days, recency and trends."""
    found = _as_of(rows, totals, back=0, suffix="_now")
    for w in WINDOWS:
        past = totals.select("lead_id", "ts", *_TOTALS)
        found = _as_of(found, past, back=w, suffix=f"_{w}")
    found = found.with_columns(_in_windows())
    counts = {w: pl.sum_horizontal(f"{name}_n_{w}d" for name in NAMES.values()) for w in WINDOWS}
    found = found.with_columns(count.alias(f"interactions_n_{w}d") for w, count in counts.items())
    return found.with_columns(*_means(), *_recency(), *_trends())


def _as_of(rows: pl.DataFrame, totals: pl.DataFrame, *, back: int, suffix: str) -> pl.DataFrame:
    right = totals.rename({name: f"{name}{suffix}" for name in totals.columns if name not in ("lead_id", "ts")})
    rows = rows.with_columns(until=pl.col("t") - back * DAY)
    return rows.join_asof(
        right,
        left_on="until",
        right_on="ts",
        by="lead_id",
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    ).drop("ts", "until")


def _in_windows() -> list[pl.Expr]:
    found = []
    for w in WINDOWS:
        inside = {name: pl.col(f"{name}_now") - pl.col(f"{name}_{w}") for name in _TOTALS}
        found += [inside[name].alias(f"{name}_n_{w}d") for name in NAMES.values()]
        found += [
            (inside["value"] / 1000).alias(f"interactions_duration_sum_{w}d"),
            inside["present"].alias(f"present_{w}d"),
        ]
        # A total counts a day at its last event. So the newest day is missing in `now` unless its last event is in.
        any_inside = pl.any_horizontal(inside[name] > 0 for name in NAMES.values())
        days = inside["days"] + (any_inside & ~pl.col("ends_day_now")).cast(pl.Int32)
        found.append(days.alias(f"interactions_days_{w}d"))
    return found


def _means() -> list[pl.Expr]:
    return [
        _ratio(pl.col(f"interactions_duration_sum_{w}d"), pl.col(f"present_{w}d")).alias(
            f"interactions_duration_mean_{w}d"
        )
        for w in WINDOWS
    ]


def _recency() -> list[pl.Expr]:
    last = {name: pl.col(f"last_{name}_now") for name in NAMES.values()}
    last["interactions"] = pl.max_horizontal(last.values())
    return [
        pl.when(ts != _BEFORE_ALL).then((pl.col("t") - ts) / DAY).alias(f"{name}_recency_days")
        for name, ts in last.items()
    ]


def _trends() -> list[pl.Expr]:
    return [
        _ratio(pl.col(f"{name}_n_30d") / 30, pl.col(f"{name}_n_90d") / 90).alias(f"{name}_trend_30d_90d")
        for name in ("interactions", *NAMES.values())
    ]


def _weekly(log: pl.DataFrame) -> pl.DataFrame:
    """Return the smoothed series by lead and week in closed form; `.7^-k` would overflow at 2,000 weeks."""
    counts = [(pl.col("type") == kind).sum().cast(pl.Float64).alias(name) for kind, name in NAMES.items()]
    series = ["interactions", *NAMES.values(), "interactions_duration"]
    age = pl.col("week") - pl.col("first")
    return (
        log.lazy()
        .with_columns(week=(pl.col("ts") - MONDAY) // WEEK)
        .group_by("lead_id", "week")
        .agg(
            pl.len().cast(pl.Float64).alias("interactions"), *counts, interactions_duration=pl.col("value").sum() / 1000
        )
        .sort("lead_id", "week")
        .with_columns(first=pl.col("week").min().over("lead_id"))
        .with_columns(((pl.col(name) * pl.lit(0.7).pow(-age)).cum_sum().over("lead_id")) for name in series)
        .collect()
    )


def _add_weekly(rows: pl.DataFrame, weekly: pl.DataFrame) -> pl.DataFrame:
    series = [name for name in weekly.columns if name not in ("lead_id", "week", "first")]
    rows = rows.with_columns(until=(pl.col("t") - MONDAY) // WEEK - 1)
    found = rows.join_asof(
        weekly, left_on="until", right_on="week", by="lead_id", strategy="backward", check_sortedness=False
    )
    decay = 0.3 * pl.lit(0.7).pow(pl.col("until") - pl.col("first"))
    smoothed = [(pl.col(name) * decay).fill_null(0.0).alias(f"{name}_smoothed_weekly") for name in series]
    return found.with_columns(smoothed).drop("until", "week", "first", *series)


def _owner(leads: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the four features per owner and date: running totals of closings, joined as of both ends."""
    closed = leads.filter(pl.col("closed_at").is_not_null()).select(
        "owner",
        ts=pl.col("closed_at").to_physical(),
        won=pl.col("converted").cast(pl.Int32),
        lost=(~pl.col("converted")).cast(pl.Int32),
        took=pl.when("converted").then((pl.col("closed_at") - pl.col("created_at")).to_physical()).otherwise(0),
    )
    totals = ["won", "lost", "took"]
    closed = closed.sort("owner", "ts").with_columns(pl.col(name).cum_sum().over("owner") for name in totals)
    found = rows.select("owner", "t").unique().sort("owner", "t").with_columns(past=pl.col("t") - 90 * DAY)
    for until, suffix in (("t", ""), ("past", "_past")):
        found = found.join_asof(
            closed.rename({name: f"{name}{suffix}" for name in totals}),
            left_on=until,
            right_on="ts",
            by="owner",
            allow_exact_matches=False,
            check_sortedness=False,
        ).drop("ts")
    won, lost, took = (pl.col(name).fill_null(0) - pl.col(f"{name}_past").fill_null(0) for name in totals)
    values = (won, lost, _ratio(won, won + lost), _ratio(took, won) / DAY)
    return found.select("owner", "t", *(value.alias(name) for name, value in zip(OWNER, values, strict=True)))


def _ratio(top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
    return pl.when(bottom != 0).then(top / bottom)
