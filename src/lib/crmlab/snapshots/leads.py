"""Leads: open from their creation until they convert or are given up."""

import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.schema import LEAD_CLOSED, DataError

from .grid import end_of_first_day
from .timeline import Timeline, check_few

__all__ = ["lead_faults", "lead_final_status", "lead_timeline", "timeline_of"]


def lead_timeline(crm: Crm, *, as_of: str, horizon_days: int, every: str) -> Timeline:
    """Return when leads were open and when they converted, as known at `as_of`.

    Raises
    ------
    DataError : the source lacks the dates for it.
    """
    undated = _undated(crm["leads"], every=every)
    _check_dates(crm["leads"], undated, every=every)
    leads = crm.at("leads", as_of=as_of)
    if undated.any():
        leads = leads[~leads["lead_id"].isin(crm["leads"].loc[undated, "lead_id"])]
    return timeline_of(leads)


def timeline_of(leads: pd.DataFrame) -> Timeline:
    """Return the timeline of canonical leads; those without `created_at` are never open."""
    leads = leads.sort_values("lead_id", ignore_index=True)
    spells = pd.DataFrame({"lead_id": leads["lead_id"], "start": leads["created_at"], "end": _closed_at(leads)})
    outcomes = pd.DataFrame({"lead_id": leads["lead_id"], "at": leads["converted_at"]})
    return Timeline("lead", pd.Index(leads["lead_id"]), spells, outcomes)


def lead_final_status(crm: Crm, *, as_of: str) -> pd.DataFrame:
    """Return one labelled row a lead, dated at the end of its first day where it has dates."""
    leads = crm["leads"].sort_values("lead_id", ignore_index=True)
    if as_of:
        leads = leads[leads["created_at"] < as_instant(as_of)].reset_index(drop=True)
    mature = leads["status"].isin(LEAD_CLOSED)
    label = (leads["status"] == "converted").astype("boolean").where(mature)
    dates = end_of_first_day(leads["created_at"])
    return pd.DataFrame({"lead_id": leads["lead_id"], "as_of": dates, "label": label, "mature": mature})


def lead_faults(crm: Crm) -> dict[str, pd.Series]:
    """Return the leads that a study leaves out: reason → ids."""
    leads = crm["leads"]
    closed = _closed_at(leads)
    return {
        "left out: closed before they were created": leads.loc[closed < leads["created_at"], "lead_id"],
        "left out: closed, but nobody knows when": leads.loc[
            leads["status"].isin(LEAD_CLOSED) & closed.isna(), "lead_id"
        ],
    }


def _closed_at(leads: pd.DataFrame) -> pd.Series:
    return leads[["converted_at", "disqualified_at"]].min(axis=1)


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
    n = int(undated.sum())
    if every == "creation":
        closed = int(leads["status"].eq("converted").sum())
        check_few(
            n,
            closed,
            problem="Leads that converted at an unknown date would count as not converted.",
            found=f"{n:,} of {closed:,} converted leads have no `converted_at`",
            remedy="map `converted_at`, or write `label: final_status`.",
        )
        return
    closed = int(leads["status"].isin(LEAD_CLOSED).sum())
    check_few(
        n,
        closed,
        problem=f"Snapshots `{every}` would count closed leads as open.",
        found=f"{n:,} of {closed:,} closed leads have no date of closing",
        remedy="write `snapshots: creation`, or map `disqualified_at` and `converted_at`.",
    )
