"""DuckDB: the same in SQL, twice. As-of joins of running totals, or window frames over events and dates together."""

from pathlib import Path

import duckdb

from features_bench.task import DAY, FEATURES, INTEGERS, MONDAY, NAMES, OWNER, WEEK, WINDOWS, Task

__all__ = ["run_frames", "run_joins"]


def run_joins(task: Task, result: Path, _prepared: None = None) -> None:
    """Running totals of all events, joined as of the date and as of the beginning of each window."""
    _run(task, result, _totals() + _joined())


def run_frames(task: Task, result: Path, _prepared: None = None) -> None:
    """Window functions over events and dates in one sequence, with a frame per window."""
    _run(task, result, _framed())


def _run(task: Task, result: Path, windows: str) -> None:
    kinds = ", ".join(f"({i}, '{kind}')" for i, kind in enumerate(NAMES))
    query = f"""
    with kinds(code, word) as (values {kinds}),
    events as (
        select lead_id, epoch_us(ts) as ts, code::tinyint as kind, round(duration::double * 1000)::bigint as value,
        from '{task.log}' join kinds on type = word
    ),
    leads as (select lead_id, owner, epoch_us(created_at) as created, epoch_us(closed_at) as closed, converted
              from '{task.leads}'),
    wanted as (select distinct lead_id, epoch_us(as_of) as t from '{task.rows}'),
    {_weekly()},
    {windows},
    {_owner()}
    select r.lead_id, r.as_of, {", ".join(_column(name) for name in FEATURES)}
    from '{task.rows}' r join counted c on c.lead_id = r.lead_id and c.t = epoch_us(r.as_of)
        join smoothed s on s.lead_id = r.lead_id and s.t = epoch_us(r.as_of)
        join leads l on l.lead_id = r.lead_id
        left join owned o on o.owner = l.owner and o.t = epoch_us(r.as_of)
    """
    with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
        connection.execute(f"copy ({query}) to '{result}' (format parquet, compression uncompressed)")


def _column(name: str) -> str:
    kind = "integer" if name in INTEGERS else "double"
    return f"({_formula(name)})::{kind} as {name}"


def _formula(name: str) -> str:
    if name in OWNER:
        return f"o.{name}"
    if name == "age_days":
        return f"(c.t - l.created) / {DAY}::double"
    if "_trend_" in name:
        series = name.removesuffix("_trend_30d_90d")
        return f"(c.{series}_n_30d / 30) / nullif(c.{series}_n_90d / 90, 0)"
    if name.endswith("_recency_days"):
        return f"(c.t - c.last_{name.removesuffix('_recency_days')}) / {DAY}::double"
    if "_duration_mean_" in name:
        w = name.rsplit("_", 1)[1]
        return f"c.interactions_duration_sum_{w} / nullif(c.present_{w}, 0)"
    return f"{'s' if name.endswith('_smoothed_weekly') else 'c'}.{name}"


def _totals() -> str:
    """Return running totals per event; events of one instant all hold the same, so that the join may take any."""
    order = "over (partition by lead_id order by ts range unbounded preceding)"
    counts = ", ".join(f"count(*) filter (kind = {i}) {order} as {name}" for i, name in enumerate(NAMES.values()))
    last = ", ".join(f"max(ts) filter (kind = {i}) {order} as last_{name}" for i, name in enumerate(NAMES.values()))
    return f"""
    flagged as (
        select *, row_number() over (partition by lead_id, ts // {DAY} order by ts) = 1 as starts_day,
            ts = max(ts) over (partition by lead_id, ts // {DAY}) as ends_day,
        from events
    ),
    totals as (
        select lead_id, ts, ends_day, {counts}, {last}, coalesce(sum(value) {order}, 0) as value,
            count(value) {order} as present, count(*) filter (starts_day) {order} as days,
            count(*) {order} as interactions,
        from flagged
    ),"""


def _joined() -> str:
    joins = " ".join(
        f"asof left join totals p{w} on p{w}.lead_id = r.lead_id and p{w}.ts < r.t - {w * DAY}" for w in WINDOWS
    )
    columns = ["r.lead_id", "r.t", "n.ts as last_interactions"]
    columns += [f"n.last_{name}" for name in NAMES.values()]
    for w in WINDOWS:
        inside = {
            name: f"(coalesce(n.{name}, 0) - coalesce(p{w}.{name}, 0))"
            for name in ("interactions", *NAMES.values(), "value", "present", "days")
        }
        columns += [f"{inside[name]} as {name}_n_{w}d" for name in ("interactions", *NAMES.values())]
        columns += [
            f"{inside['value']} / 1000 as interactions_duration_sum_{w}d",
            f"{inside['present']} as present_{w}d",
        ]
        # A total counts a day at its first event, which may lie before the window while others lie in it.
        columns.append(
            f"{inside['days']} + coalesce({inside['interactions']} > 0 and not p{w}.ends_day, false)::integer"
            f" as interactions_days_{w}d"
        )
    return f"""
    counted as (
        select {", ".join(columns)} from wanted r
        asof left join totals n on n.lead_id = r.lead_id and n.ts < r.t {joins}
    )"""


def _framed() -> str:
    # Twice the instant, plus one for events: at the date itself an event comes after it, at a window's edge inside.
    def frame(w: int) -> str:
        return f"(partition by lead_id order by place range between {2 * w * DAY} preceding and current row)"

    ever = "(partition by lead_id order by place range between unbounded preceding and current row)"
    columns = ["max(ts) over ever as last_interactions"]
    columns += [f"max(ts) filter (kind = {i}) over ever as last_{name}" for i, name in enumerate(NAMES.values())]
    for w in WINDOWS:
        columns += [f"count(kind) over w{w} as interactions_n_{w}d"]
        columns += [f"count(*) filter (kind = {i}) over w{w} as {name}_n_{w}d" for i, name in enumerate(NAMES.values())]
        columns += [
            f"coalesce(sum(value) over w{w}, 0) / 1000 as interactions_duration_sum_{w}d",
            f"count(value) over w{w} as present_{w}d",
            f"count(distinct ts // {DAY}) over w{w} as interactions_days_{w}d",
        ]
    windows = ", ".join(f"w{w} as {frame(w)}" for w in WINDOWS)
    return f"""
    counted as (
        from (
            select lead_id, t, {", ".join(columns)} from (
                select lead_id, 2 * ts + 1 as place, null::bigint as t, ts, kind, value from events
                union all select lead_id, 2 * t, t, null, null, null from wanted
            ) window ever as {ever}, {windows}
        ) where t is not null
    )"""


def _weekly() -> str:
    """Return the smoothed series in closed form: each week's number, faded to the date; `.7^-k` would overflow."""
    series = ["interactions", *NAMES.values(), "interactions_duration"]
    x = ["count(*)", *(f"count(*) filter (kind = {i})" for i in range(len(NAMES))), "coalesce(sum(value), 0) / 1000"]
    counts = ", ".join(f"{formula} as {name}" for formula, name in zip(x, series, strict=True))
    scaled = ", ".join(
        f"sum({name} * 0.7::double ** (first - week)) over (partition by lead_id order by week) as {name}"
        for name in series
    )
    faded = ", ".join(
        f"coalesce(0.3 * x.{name} * 0.7::double ** (r.until - x.first), 0) as {name}_smoothed_weekly" for name in series
    )
    week = "floor(({} - " + str(MONDAY) + ") / " + str(WEEK) + ")::bigint"
    return f"""
    weekly as (
        select lead_id, {week.format("ts")} as week, {counts} from events group by all
    ),
    since as (select *, min(week) over (partition by lead_id) as first from weekly),
    scaled as (select lead_id, week, first, {scaled} from since),
    smoothed as (
        select r.lead_id, r.t, {faded} from (select *, {week.format("t")} - 1 as until from wanted) r
        asof left join scaled x on x.lead_id = r.lead_id and x.week <= r.until
    )"""


def _owner() -> str:
    won, lost = "count(*) filter (converted)", "count(*) filter (not converted)"
    values = (won, lost, f"{won} / count(*)", f"avg((closed - created) / {DAY}::double) filter (converted)")
    columns = ", ".join(f"{value} as {name}" for value, name in zip(values, OWNER, strict=True))
    zeros = [f"coalesce({name}, 0) as {name}" if name in INTEGERS else name for name in OWNER]
    return f"""
    dates as (select distinct t from wanted),
    closings as (
        select owner, t, {columns} from leads join dates on closed < t and closed >= t - {90 * DAY} group by all
    ),
    owned as (
        select owner, t, {", ".join(zeros)} from (select distinct owner from leads) cross join dates
        left join closings using (owner, t)
    )"""
