"""Who is open today, as it has to be scored."""

import pandas as pd

from crmlab.crm import Crm, as_instant, check_as_of

from .build import build_snapshots, timeline_of
from .grid import open_snapshots
from .question import Question, as_entity, check_question

__all__ = ["open_rows"]


def open_rows(crm: Crm, question: Question, *, as_of: str) -> pd.DataFrame:
    """Return one row per entity that is open at `as_of`, dated as the rows of the study are.

    With weekly or monthly snapshots it is looked at as it stands at `as_of`. With `creation` or `first_quote` it is
    looked at as it stood at that moment, which lies before; whoever has no quote yet has no row. With `final_status`
    it is whoever has no result yet.

    Returns
    -------
    Frame with the key of the entity and `as_of`, ordered by key.

    Raises
    ------
    ParameterError : a value that is not allowed, or an `as_of` outside the data.
    """
    entity, every = as_entity(question.entity), question.snapshots
    check_question(label=question.label, horizon_days=question.horizon_days, every=every, entity=entity)
    check_as_of(crm, as_of)
    if question.label == "final_status":
        rows = build_snapshots(crm, entity=entity, label="final_status", as_of=as_of, horizon_days=0, every=every)
        return rows.loc[~rows["mature"]].drop(columns=["label", "mature"]).reset_index(drop=True)
    timeline = timeline_of(crm, entity, as_of=as_of, horizon_days=question.horizon_days, every=every)
    today = open_snapshots(timeline, as_of=as_of, every="weekly")
    today = today[today["as_of"] == as_instant(as_of)].reset_index(drop=True)
    if every in ("weekly", "monthly"):
        return today
    looks = open_snapshots(timeline, as_of=as_of, every=every)
    return looks[looks[timeline.key].isin(today[timeline.key])].reset_index(drop=True)
