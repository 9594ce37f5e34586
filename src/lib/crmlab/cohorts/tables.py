"""Conversion by group and by cohort, with intervals, from durations."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.intervals import difference_interval, share_interval
from crmlab.schema import LEAD_CLOSED, ParameterError
from crmlab.snapshots import LABELS

from .durations import describe_leads, lead_durations, period_starts
from .groups import MIN_GROUP, group_labels
from .survival import Curve, fit_curve

__all__ = ["cohort_triangle", "conversion_by", "conversion_curve", "conversion_table", "estimator_table"]

HORIZONS = (30, 90, 180)
_DAY = pd.Timedelta(days=1)
_CURVE = {
    "group": "str",
    "days": "float64",
    "share": "float64",
    "low": "float64",
    "high": "float64",
    "at_risk": "int64",
}
_BY = {
    "group": "str",
    "n": "int64",
    "converted": "int64",
    "share": "float64",
    "low": "float64",
    "high": "float64",
    "small": "bool",
}


def conversion_curve(
    durations: pd.DataFrame, by: str | None = None, *, step_days: int = 1, max_days: int | None = None
) -> pd.DataFrame:
    """Return the cumulative share converted by days since creation, per group.

    Parameters
    ----------
    durations : frame of `lead_durations`.
    by : column to group by; None takes all leads together.
    step_days : distance of the days returned. max_days : last of them; by default as far as any lead was followed.

    Returns
    -------
    Frame: group, days, share, low, high (95 %, exponential Greenwood), at_risk (leads not converted and followed that
    long; few of them mean that the rest of the curve stands on little).
    """
    _check_positive("step_days", step_days)
    rows = [_curve_rows(name, part, step_days, max_days) for name, part in _groups(durations, by)]
    return pd.concat([pd.DataFrame(columns=list(_CURVE)).astype(_CURVE), *rows], ignore_index=True).astype(_CURVE)


def conversion_table(
    durations: pd.DataFrame,
    by: str | None,
    *,
    horizons: Sequence[int] = HORIZONS,
    compare_at: int | None = None,
) -> pd.DataFrame:
    """Return the share converted within each horizon, per group.

    Parameters
    ----------
    durations : frame of `lead_durations`.
    by : column to group by; None gives one row for all leads.
    horizons : days since creation, in any order; repeats count once.
    compare_at : days at which a group is compared with all other leads; by default the middle horizon.

    Returns
    -------
    Frame: group, n (leads), converted (so far); for each horizon h share_hd, low_hd, high_hd (Kaplan–Meier with 95 %
    interval; missing where no lead of the group was followed that long) and at_risk_hd (leads not converted and
    followed that long); median_days (day by which half of the group's leads have converted, missing if they have not);
    difference, difference_low, difference_high (from all other leads together, at `compare_at`); small (fewer than
    `MIN_GROUP` leads). One group in twenty differs "beyond chance" by chance alone. Empty when `by` holds no value.
    """
    for days in (*horizons, *([compare_at] if compare_at is not None else [])):
        _check_positive("horizons", days)
    horizons = sorted(set(horizons))
    at = compare_at if compare_at is not None else horizons[len(horizons) // 2]
    groups = _groups(durations, by)
    rows = [_table_row(name, part, _rest(durations, part), horizons, at) for name, part in groups]
    dtypes = _table_dtypes(horizons)
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


def conversion_by(
    crm: Crm, by: str, *, label: str, as_of: str | pd.Timestamp, horizon_days: int, period: str = "quarter"
) -> pd.DataFrame:
    """Return the share converted per group, for either kind of lead study.

    Parameters
    ----------
    by : a category of the lead at its creation, or `cohort`, `month` (the season), `size`, `owner_id`.
    label : `within_horizon` gives the Kaplan–Meier share at `horizon_days` after creation, counting all leads;
        `final_status` the share among leads that are closed today, with Wilson's interval: it says nothing about when,
        and leans towards what is closed fast.
    as_of : only leads created, and conversions known, strictly before it count; empty for a source without dates.

    Returns
    -------
    Frame: group, n (leads; closed leads with `final_status`), converted (within the horizon), share, low, high, small.
    Empty when the source holds no value of `by`, or when only today's owner is known and `by` is `owner_id`.
    """
    if label not in LABELS:
        raise ParameterError(f"`label` must be one of {', '.join(LABELS)}.", found=repr(label))
    if label == "final_status":
        rows = [_closed_row(name, part) for name, part in _groups(_closed_leads(crm, as_of, period), by)]
    else:
        _check_positive("horizon_days", horizon_days)
        durations = lead_durations(crm, as_of=as_of, period=period)
        rows = [_horizon_row(name, part, horizon_days) for name, part in _groups(durations, by)]
    return pd.DataFrame(rows, columns=list(_BY)).astype(_BY)


def cohort_triangle(
    durations: pd.DataFrame, *, period: str = "month", step_days: int = 30, max_days: int = 360
) -> pd.DataFrame:
    """Return the share of each creation cohort that had converted by each age.

    A cell is missing until the whole cohort is that old: its period has ended, and `step_days` more days have passed
    since, as often as the column says. Cells that are there are plain shares; nothing is estimated.

    Returns
    -------
    Frame indexed by cohort (text, in order of time), columns n (leads) and 30d, 60d, … (share converted by that age).
    """
    _check_positive("step_days", step_days)
    starts = period_starts(durations["created_at"], period)
    ages = range(step_days, max_days + 1, step_days)
    rows = {
        _cohort_name(start, period): _triangle_row(part, start, period, ages)
        for start, part in durations.groupby(starts)
    }
    names = ["n", *(f"{d}d" for d in ages)]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("cohort")
    seen = [c for c in names if c == "n" or table[c].notna().any()]
    return table[seen].astype({"n": "int64"} | dict.fromkeys(seen[1:], "float64"))


def estimator_table(durations: pd.DataFrame, *, horizon_days: int) -> pd.DataFrame:
    """Return three ways to answer "how many convert within the horizon, and after how long?", side by side.

    Returns
    -------
    Frame: method, share (converted within `horizon_days`), mean_days (of those), reading. The first row is right; the
    second answers a question about a world in which nobody is ever given up, and is missing where nobody knows when
    leads were given up; the third takes leads that had little time for failures and sees only the fast conversions.
    """
    _check_positive("horizon_days", horizon_days)
    followed = _reach(durations)
    given_up = durations["disqualified_days"]
    stop = durations["days"].where(~(given_up < durations["days"]), given_up)
    early = durations["converted"] & (stop == durations["days"])
    quick = durations[durations["converted"] & (durations["days"] <= horizon_days)]
    methods = [
        ("everybody followed to as_of", _right(durations["days"], durations["converted"], followed, horizon_days)),
        ("leads given up leave the count", _right(stop, early, followed, horizon_days) if given_up.any() else _NOTHING),
        ("converted so far, of all leads", (len(quick) / max(len(durations), 1), quick["days"].mean())),
    ]
    rows = [(name, *numbers, _READINGS[k]) for k, (name, numbers) in enumerate(methods)] if len(durations) else []
    dtypes = {"method": "str", "share": "float64", "mean_days": "float64", "reading": "str"}
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


_NOTHING = (np.nan, np.nan)
_READINGS = (
    "right: share of all leads that convert within the horizon",
    "too high: pretends that a lead given up could still convert like the others",
    "too low, and too fast: recent leads count as failures, slow conversions are not there yet",
)


def _right(days: pd.Series, converted: pd.Series, reach: float, horizon_days: int) -> tuple[float, float]:
    if days.empty:
        return _NOTHING
    curve = fit_curve(days.to_numpy(), converted.to_numpy(), reach=reach)
    return float(curve.at(np.array([horizon_days]))[0][0]), curve.mean_until(horizon_days)


def _groups(frame: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame]]:
    """(name, rows) of each group in the order of display."""
    return [(str(name), part) for name, part in frame.groupby(group_labels(frame, by), observed=True)]


def _rest(durations: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    return durations.drop(index=part.index)


def _reach(durations: pd.DataFrame) -> float:
    return float(((durations["as_of"] - durations["created_at"]) / _DAY).max())


def _fit(durations: pd.DataFrame) -> Curve:
    return fit_curve(durations["days"].to_numpy(), durations["converted"].to_numpy(), reach=_reach(durations))


def _curve_rows(name: str, part: pd.DataFrame, step_days: int, max_days: int | None) -> pd.DataFrame:
    curve = _fit(part)
    end = curve.reach if max_days is None else min(curve.reach, max_days)
    days = np.arange(0, np.floor(end) + 1, step_days, dtype="float64")
    share, low, high = curve.at(days)
    return pd.DataFrame(
        {"group": name, "days": days, "share": share, "low": low, "high": high, "at_risk": curve.at_risk(days)}
    )


def _table_row(name: str, part: pd.DataFrame, rest: pd.DataFrame, horizons: Sequence[int], compare_at: int) -> list:
    curve = _fit(part)
    days = np.array([*horizons, compare_at], dtype="float64")
    cells = np.column_stack([*curve.at(days), curve.at_risk(days)])
    gap = (np.nan,) * 3
    if len(rest):
        gap = difference_interval(tuple(cells[-1, :3]), tuple(float(x[0]) for x in _fit(rest).at(days[-1:])))
    n = len(part)
    return [name, n, part["converted"].sum(), *cells[:-1].ravel(), curve.quantile(0.5), *gap, n < MIN_GROUP]


def _table_dtypes(horizons: Sequence[int]) -> dict[str, str]:
    cells = {
        f"{what}_{h}d": "int64" if what == "at_risk" else "float64"
        for h in horizons
        for what in ("share", "low", "high", "at_risk")
    }
    rest = ("median_days", "difference", "difference_low", "difference_high")
    head = {"group": "str", "n": "int64", "converted": "int64"}
    return head | cells | dict.fromkeys(rest, "float64") | {"small": "bool"}


def _horizon_row(name: str, part: pd.DataFrame, horizon_days: int) -> tuple:
    bounds = (float(x[0]) for x in _fit(part).at(np.array([horizon_days])))
    converted = int((part["converted"] & (part["days"] <= horizon_days)).sum())
    return (name, len(part), converted, *bounds, len(part) < MIN_GROUP)


def _closed_leads(crm: Crm, as_of: str | pd.Timestamp, period: str) -> pd.DataFrame:
    leads = crm["leads"].sort_values("lead_id", ignore_index=True)
    leads = leads[leads["status"].isin(LEAD_CLOSED)]
    if as_of != "":
        leads = leads[leads["created_at"] < as_instant(as_of)]
    leads = leads.reset_index(drop=True)
    return describe_leads(crm, leads, as_of=as_of, period=period).assign(converted=leads["status"] == "converted")


def _closed_row(name: str, part: pd.DataFrame) -> tuple:
    n, converted = len(part), int(part["converted"].sum())
    return (name, n, converted, converted / n, *share_interval(converted, n), n < MIN_GROUP)


def _cohort_name(start: pd.Timestamp, period: str) -> str:
    return f"{start:%Y-%m}" if period == "month" else f"{start.year} Q{start.quarter}"


def _triangle_row(part: pd.DataFrame, start: pd.Timestamp, period: str, ages: range) -> list[float]:
    end = start + pd.DateOffset(months=1 if period == "month" else 3)
    as_of = part["as_of"].iloc[0]
    days = part["days"].where(part["converted"])
    return [len(part), *((days <= d).mean() if end + d * _DAY <= as_of else np.nan for d in ages)]


def _check_positive(name: str, value: int) -> None:
    if value <= 0:
        raise ParameterError(f"`{name}` must be positive numbers of days.", found=str(value))
