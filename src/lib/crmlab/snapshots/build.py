"""From a CRM to labelled snapshots."""

import pandas as pd

from crmlab.crm import Crm, check_as_of

from .accounts import account_timeline
from .grid import open_snapshots
from .labels import label_snapshots
from .leads import lead_final_status, lead_timeline
from .opportunities import deal_final_status, deal_timeline
from .question import as_entity, check_question
from .reps import rep_timeline
from .timeline import Timeline

__all__ = ["build_snapshots", "timeline_of"]

_TIMELINES = {
    "lead": lead_timeline,
    "opportunity": deal_timeline,
    "account": account_timeline,
    "rep": rep_timeline,
}


def build_snapshots(crm: Crm, *, entity: str, label: str, as_of: str, horizon_days: int, every: str) -> pd.DataFrame:
    """Return the labelled snapshots of a study.

    Parameters
    ----------
    entity : whom the study follows: lead, opportunity, account (or customer, the same) or rep. What "open" and the
        label mean for each stands in `crmlab.snapshots`.
    label : `within_horizon` (one row per entity and date) or `final_status` (one row per lead or deal, for sources that
        do not say when it ended; `as_of` of a row is then the end of its first day, or empty).
    as_of : the study sees only facts known strictly before this instant.
    horizon_days : days ahead in which the outcome counts; 0 with `final_status`.
    every : how often an open entity is looked at: one of `EVERY`. `creation` is once, at the end of its first day;
        `first_quote`, for opportunities, once at the first instant at which the first quote is known.

    Returns
    -------
    Frame with columns lead_id (or the key of the entity, see `schema.ENTITY_KEYS`), as_of, label (boolean, missing when
    censored), mature (bool), ordered by key and date.

    Raises
    ------
    ParameterError : a value that is not allowed, or an `as_of` outside the data.
    DataError : the source lacks what the label or the snapshots need.
    """
    check_question(label=label, horizon_days=horizon_days, every=every, entity=entity)
    entity = as_entity(entity)
    check_as_of(crm, as_of)
    if label == "final_status":
        return (
            lead_final_status(crm, as_of=as_of)
            if entity == "lead"
            else deal_final_status(crm, as_of=as_of, every=every)
        )
    timeline = timeline_of(crm, entity, as_of=as_of, horizon_days=horizon_days, every=every)
    rows = open_snapshots(timeline, as_of=as_of, every=every)
    return label_snapshots(rows, timeline, as_of=as_of, horizon_days=horizon_days)


def timeline_of(crm: Crm, entity: str, *, as_of: str, horizon_days: int, every: str) -> Timeline:
    """Return when each entity was open and when its outcome came, as known at `as_of`."""
    return _TIMELINES[entity](crm, as_of=as_of, horizon_days=horizon_days, every=every)
