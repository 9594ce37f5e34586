"""What was open on a date, and what became of it within the horizon.

One row per (lead, as_of) while the lead is open. A lead is open at `as_of` when it was created strictly before and
neither converted nor given up strictly before. The label looks the other way: it is true when the lead converts
strictly after `as_of` and within `horizon_days`. A label is *mature* when its whole window has passed by the end of
what the study may see; otherwise it is censored and never counted as a failure. A lead that converts at the very
instant of `as_of` is neither visible nor ahead: its row stays, censored.
"""

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant, check_as_of
from crmlab.schema import LEAD_CLOSED, DataError, ParameterError, did_you_mean

__all__ = [
    "EVERY",
    "LABELS",
    "build_snapshots",
    "censoring_table",
    "check_question",
    "label_snapshots",
    "open_snapshots",
    "outcome_words",
    "snapshot_dates",
]

EVERY = ("weekly", "monthly", "creation")
LABELS = ("within_horizon", "final_status")
_FEW_UNDATED = 0.05
"""Share of closed leads without a date of closing that a study can leave out; with more, dates cannot be relied on."""


def build_snapshots(crm: Crm, *, label: str, as_of: str, horizon_days: int, every: str) -> pd.DataFrame:
    """Return the labelled snapshots of a lead study.

    Parameters
    ----------
    label : `within_horizon` (one row per lead and date) or `final_status` (one row per lead, for sources that do not
        say when a lead converted; `as_of` of a row is then the end of its first day, or empty).
    as_of : the study sees only facts known strictly before this instant.
    horizon_days : days ahead in which a conversion counts; 0 with `final_status`.
    every : how often an open lead is looked at: one of `EVERY`; `creation` is once, at the end of its first day.

    Returns
    -------
    Frame with columns lead_id, as_of, label (boolean, missing when censored), mature (bool), ordered by lead and date.

    Raises
    ------
    ParameterError : a value that is not allowed, or an `as_of` outside the data.
    DataError : the source lacks the dates that the label or the snapshots need.
    """
    check_question(label=label, horizon_days=horizon_days, every=every)
    check_as_of(crm, as_of)
    if label == "final_status":
        return _final_status(crm["leads"], as_of=as_of)
    undated = _undated(crm["leads"], every=every)
    _check_dates(crm["leads"], undated, every=every)
    leads = crm.at("leads", as_of=as_of)
    leads = leads[~leads["lead_id"].isin(crm["leads"].loc[undated, "lead_id"])]
    rows = open_snapshots(leads, as_of=as_of, every=every)
    return label_snapshots(rows, leads, as_of=as_of, horizon_days=horizon_days)


def check_question(*, label: str, horizon_days: int, every: str) -> None:
    """Check that label, horizon and snapshots can be asked for, and together.

    Raises
    ------
    ParameterError : a value that is not allowed, or a horizon that does not fit the label.
    """
    _check_choice("label", label, LABELS)
    _check_choice("snapshots", every, EVERY)
    if label == "final_status" and horizon_days != 0:
        raise ParameterError(
            "With `label: final_status` there is no horizon.",
            found=str(horizon_days),
            remedy="write `horizon_days: 0`.",
        )
    if label == "within_horizon" and horizon_days <= 0:
        raise ParameterError(
            "`horizon_days` must be positive.", found=str(horizon_days), remedy="write the days ahead, such as 90."
        )


def snapshot_dates(first: pd.Timestamp, *, as_of: str | pd.Timestamp, every: str) -> pd.DatetimeIndex:
    """Return the dates of weekly or monthly snapshots: back from `as_of` itself to the last one after `first`.

    Months are counted from `as_of`, so that a 31st becomes the last day of shorter months and no date comes twice.

    Raises
    ------
    ParameterError : `every` is neither.
    """
    _check_choice("every", every, EVERY[:2])
    end = as_instant(as_of)
    if every == "weekly":
        n = int((end - first) / pd.Timedelta(days=7))
        dates = [end - pd.Timedelta(days=7 * k) for k in range(n, -1, -1)]
    else:
        n = (end.year - first.year) * 12 + end.month - first.month
        dates = [end - pd.DateOffset(months=k) for k in range(n, -1, -1)]
    return pd.DatetimeIndex([d for d in dates if d > first], dtype="datetime64[us]")


def open_snapshots(leads: pd.DataFrame, *, as_of: str | pd.Timestamp, every: str) -> pd.DataFrame:
    """Return one row (lead_id, as_of) per lead and date at which it was open.

    Parameters
    ----------
    leads : canonical leads as known at `as_of`; those without `created_at` have no rows. It is left as it was.

    Raises
    ------
    ParameterError : `every` is not one of `EVERY`.
    """
    _check_choice("every", every, EVERY)
    leads = leads[leads["created_at"] < as_instant(as_of)].sort_values("lead_id", ignore_index=True)
    closed = _closed_at(leads)
    if every == "creation":
        dates = _end_of_first_day(leads)
        here = (dates <= as_instant(as_of)) & ~(closed < dates)
        return pd.DataFrame({"lead_id": leads["lead_id"], "as_of": dates})[here].reset_index(drop=True)
    if leads.empty:
        return pd.DataFrame({"lead_id": pd.Series(dtype="str"), "as_of": pd.Series(dtype="datetime64[us]")})
    dates = snapshot_dates(leads["created_at"].min(), as_of=as_of, every=every)
    first = dates.searchsorted(leads["created_at"], side="right")
    last = np.where(closed.isna(), len(dates), dates.searchsorted(closed.fillna(dates[-1]), side="right"))
    n = np.maximum(last - first, 0)
    offset = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return pd.DataFrame(
        {"lead_id": leads["lead_id"].repeat(n).reset_index(drop=True), "as_of": dates[np.repeat(first, n) + offset]}
    )


def label_snapshots(
    rows: pd.DataFrame, leads: pd.DataFrame, *, as_of: str | pd.Timestamp, horizon_days: int
) -> pd.DataFrame:
    """Return `rows` with `label` and `mature`.

    Parameters
    ----------
    rows : frame with lead_id and as_of.
    leads : canonical leads as known at the study's `as_of`.
    as_of : the end of what the study may see; windows that reach past it are censored.
    horizon_days : length of the window in days; the label is true for
        `row.as_of < converted_at <= row.as_of + horizon_days`.

    Raises
    ------
    DataError : a row's lead is not in `leads`.
    """
    _check_leads_known(rows, leads)
    found = rows[["lead_id"]].merge(leads[["lead_id", "converted_at"]], on="lead_id", how="left", validate="m:1")
    converted = found["converted_at"]
    converted.index = rows.index
    window_end = rows["as_of"] + pd.Timedelta(days=horizon_days)
    mature = (window_end <= as_instant(as_of)) & (converted != rows["as_of"])
    label = ((converted > rows["as_of"]) & (converted <= window_end)).astype("boolean").where(mature)
    return rows.assign(label=label, mature=mature)


def outcome_words(label: str, *, horizon_days: int) -> str:
    """Return what is predicted, in words.

    >>> outcome_words("within_horizon", horizon_days=90)
    'conversion within 90 days'
    """
    return f"conversion within {horizon_days} days" if label == "within_horizon" else "conversion at some time"


def censoring_table(crm: Crm, snapshots: pd.DataFrame) -> pd.DataFrame:
    """Return how many leads and rows a study uses, and what became of the others: nothing is dropped in silence.

    Returns
    -------
    Frame with columns what, leads, rows. Below the first line, leads add up to those in the source and rows to those of
    `snapshots`; a lead with rows of both kinds counts as used.
    """
    leads = crm["leads"]
    used = snapshots[snapshots["mature"]]
    censored = snapshots[~snapshots["mature"]]
    seen = set(snapshots["lead_id"])
    closed = _closed_at(leads)
    never = ~leads["lead_id"].isin(seen)
    impossible = never & (closed < leads["created_at"])
    undated = never & leads["status"].isin(LEAD_CLOSED) & closed.isna()
    parts = [
        ("in the source", len(leads), None),
        ("with a mature label: used", used["lead_id"].nunique(), len(used)),
        ("with a censored label: kept apart", len(seen - set(used["lead_id"])), len(censored)),
        (
            "never open at a snapshot: closed before it, or created too late",
            int((never & ~impossible & ~undated).sum()),
            0,
        ),
        ("left out: closed before they were created", int(impossible.sum()), 0),
        ("left out: closed, but nobody knows when", int(undated.sum()), 0),
    ]
    return pd.DataFrame(parts, columns=["what", "leads", "rows"]).astype({"rows": "Int64"})


def _closed_at(leads: pd.DataFrame) -> pd.Series:
    return leads[["converted_at", "disqualified_at"]].min(axis=1)


def _final_status(leads: pd.DataFrame, *, as_of: str) -> pd.DataFrame:
    leads = leads.sort_values("lead_id", ignore_index=True)
    if as_of:
        leads = leads[leads["created_at"] < as_instant(as_of)].reset_index(drop=True)
    mature = leads["status"].isin(LEAD_CLOSED)
    label = (leads["status"] == "converted").astype("boolean").where(mature)
    dates = _end_of_first_day(leads)
    return pd.DataFrame({"lead_id": leads["lead_id"], "as_of": dates, "label": label, "mature": mature})


def _end_of_first_day(leads: pd.DataFrame) -> pd.Series:
    return leads["created_at"].dt.normalize() + pd.Timedelta(days=1)


def _undated(leads: pd.DataFrame, *, every: str) -> pd.Series:
    """Leads whose closing would be missed because it has no date; at creation only a conversion can be."""
    if every == "creation":
        return leads["status"].eq("converted") & leads["converted_at"].isna()
    return leads["status"].isin(LEAD_CLOSED) & _closed_at(leads).isna()


def _check_dates(leads: pd.DataFrame, undated: pd.Series, *, every: str) -> None:
    """Refuse a source without dates; a few closings without one are left out, and `censoring_table` counts them."""
    if leads["created_at"].isna().all() or (
        leads["status"].eq("converted").any() and leads["converted_at"].isna().all()
    ):
        raise DataError(
            "The source does not say when leads were created and converted, so no horizon can be looked at.",
            remedy="write `label: final_status` and `horizon_days: 0`, or map `created_at` and `converted_at`.",
        )
    closed = leads["status"].eq("converted") if every == "creation" else leads["status"].isin(LEAD_CLOSED)
    if undated.sum() <= _FEW_UNDATED * closed.sum():
        return
    if every == "creation":
        raise DataError(
            "Leads that converted at an unknown date would count as not converted.",
            found=f"{int(undated.sum()):,} of {int(closed.sum()):,} converted leads have no `converted_at`",
            remedy="map `converted_at`, or write `label: final_status`.",
        )
    raise DataError(
        f"Snapshots `{every}` would count closed leads as open.",
        found=f"{int(undated.sum()):,} of {int(closed.sum()):,} closed leads have no date of closing",
        remedy="write `snapshots: creation`, or map `disqualified_at` and `converted_at`.",
    )


def _check_leads_known(rows: pd.DataFrame, leads: pd.DataFrame) -> None:
    unknown = int((~rows["lead_id"].isin(leads["lead_id"])).sum())
    if unknown:
        raise DataError(
            "There are rows of leads that the CRM does not hold.",
            found=f"{unknown:,} of {len(rows):,} rows",
            remedy="build the rows from the same leads.",
        )


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ParameterError(
            f"`{name}` must be one of {', '.join(allowed)}.",
            found=repr(value),
            remedy=did_you_mean(str(value), allowed),
        )
