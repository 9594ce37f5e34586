"""Closings of deals as known on a date: the last one counts, and between a closing and its reopening a deal is shut."""

from dataclasses import dataclass

import pandas as pd

from crmlab.crm import Crm

from .timeline import looked_up

__all__ = ["Closings", "closings_of", "undated_deals"]

_CLOSED = ("won", "lost")


@dataclass(frozen=True)
class Closings:
    """Deals created and closed before a date.

    Attributes
    ----------
    deals : frame, one row per deal known at the date: opportunity_id, created_at, end (when it was shut for good, NaT
        while open), closed_at (when its result came, NaT while open), outcome (won, lost, or missing: unknown).
    pauses : frame opportunity_id, start, end: shut from `start` on, open again after `end`.
    """

    deals: pd.DataFrame
    pauses: pd.DataFrame

    @property
    def won(self) -> pd.DataFrame:
        """The deals that were won: opportunity_id, at."""
        won = self.deals[(self.deals["outcome"] == "won").fillna(False) & self.deals["closed_at"].notna()]
        return pd.DataFrame({"opportunity_id": won["opportunity_id"], "at": won["closed_at"]}).reset_index(drop=True)


def closings_of(crm: Crm, *, as_of: str | pd.Timestamp) -> Closings:
    """Return the closings of all deals as known at `as_of`.

    `closed_at` is the last closing. Where it is not known at `as_of`, because the deal closed again later, the newest
    closing in the history of `stage` stands for it: that is what the CRM said then.
    """
    deals = crm.at("opportunities", as_of=as_of)[["opportunity_id", "created_at", "closed_at", "outcome"]]
    pauses, last = _stage_closings(crm.at("changes", as_of=as_of))
    deals = deals.merge(last, on="opportunity_id", how="left", validate="1:1")
    stage = crm.whole["opportunities"].set_index("opportunity_id")["stage"]
    stage = looked_up(stage, deals["opportunity_id"]).where(deals["closed_at"].notna())
    outcome = deals["outcome"].fillna(deals["last_outcome"]).fillna(stage.where(stage.isin(_CLOSED)))
    closed_at = deals["closed_at"].fillna(deals["last_at"])
    end = pd.concat([closed_at, deals["last_start"]], axis=1).min(axis=1)
    pauses = pauses.merge(deals[["opportunity_id", "closed_at"]], on="opportunity_id", how="inner", validate="m:1")
    pauses = pauses[~(pauses["end"] >= pauses["closed_at"])].drop(columns="closed_at")
    found = deals[["opportunity_id", "created_at"]].assign(end=end, closed_at=closed_at, outcome=outcome)
    return Closings(found, pauses.reset_index(drop=True))


def undated_deals(crm: Crm) -> pd.DataFrame:
    """Return, for every deal of the source: opportunity_id, closed, won (both as of today), undated."""
    deals = crm.whole["opportunities"][["opportunity_id", "stage", "outcome", "closed_at"]]
    last = _stage_closings(crm.whole["changes"])[1]
    result = deals["outcome"].fillna(deals["stage"].where(deals["stage"].isin(_CLOSED)))
    undated = result.notna() & deals["closed_at"].isna() & ~deals["opportunity_id"].isin(last["opportunity_id"])
    closed = result.notna() | deals["closed_at"].notna()
    won = (result == "won").fillna(False).astype(bool)
    return pd.DataFrame({"opportunity_id": deals["opportunity_id"], "closed": closed, "won": won, "undated": undated})


def _stage_closings(changes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Closings that were taken back, and the last one of each deal that still stands, from the history of `stage`."""
    history = changes[(changes["entity"] == "opportunity") & (changes["field"] == "stage")]
    history = history.sort_values(["entity_id", "changed_at", "change_id"], kind="stable")
    deal, value = history["entity_id"].to_numpy(), history["new_value"].to_numpy(dtype=object)
    moved = pd.Series(deal).ne(pd.Series(deal).shift()) | pd.Series(value).ne(pd.Series(value).shift())
    history = history[moved.to_numpy(bool)]
    closed = history["new_value"].isin(_CLOSED)
    run = (closed.ne(closed.shift()) | history["entity_id"].ne(history["entity_id"].shift())).cumsum()
    runs = (
        history.assign(closed=closed)
        .groupby(run.to_numpy())
        .agg(
            opportunity_id=("entity_id", "first"),
            closed=("closed", "first"),
            start=("changed_at", "first"),
            last_at=("changed_at", "last"),
            last_outcome=("new_value", "last"),
        )
    )
    follows = runs["opportunity_id"].shift(-1) == runs["opportunity_id"]
    end = runs["start"].shift(-1)
    pauses = runs.loc[runs["closed"] & follows, ["opportunity_id", "start"]].assign(end=end)
    last = runs.loc[runs["closed"] & ~follows, ["opportunity_id", "start", "last_at", "last_outcome"]]
    return pauses.reset_index(drop=True), last.rename(columns={"start": "last_start"}).reset_index(drop=True)
