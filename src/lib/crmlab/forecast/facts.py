"""What is known of deals on a date: what was won for how much and by whom, and how fast new deals come."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.snapshots.deals import closings_of

__all__ = ["NOBODY", "DealFacts", "known_deals", "value_at"]

NOBODY = "(nobody)"
"""Stands for an owner or team that the source does not tell."""
_ENTERED = pd.Timedelta(days=28)
"""How long before its closing a deal's amount is compared with the final one."""


@dataclass(frozen=True)
class DealFacts:
    """Every deal as known at the end of the study.

    Attributes
    ----------
    deals : frame, one row a deal: opportunity_id, created_at, closed_at (NaT while open), outcome, amount (EUR, as it
        stood at closing; NaN where unknown), amount_entered (EUR, four weeks before), product, owner, team (both at
        closing).
    amounts_dated : whether the amounts come from a history; if not, today's amount of a closed deal is taken as the one
        that it was won for.
    """

    deals: pd.DataFrame
    amounts_dated: bool

    def won(self, *, before: pd.Timestamp, since: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return the deals won in [since, before)."""
        at = self.deals["closed_at"]
        chosen = (self.deals["outcome"] == "won").fillna(False) & (at < before)
        return self.deals[chosen & (at >= since) if since is not None else chosen]


def known_deals(crm: Crm, *, as_of: str | pd.Timestamp) -> DealFacts:
    """Return all deals with amount, owner and team as they stood when each closed; facts strictly before `as_of`."""
    deals = closings_of(crm, as_of=as_of).deals[["opportunity_id", "created_at", "closed_at", "outcome"]]
    today = crm.whole["opportunities"].set_index("opportunity_id").reindex(deals["opportunity_id"])
    changes = crm.at("changes", as_of=as_of)
    at = deals["closed_at"].fillna(pd.Timestamp(as_of))
    amount = pd.to_numeric(value_at(changes, "opportunity", "amount", deals["opportunity_id"], at), errors="coerce")
    dated = bool(amount.notna().any())
    closed = deals["closed_at"].notna().to_numpy()
    amount = amount.fillna(pd.Series(today["amount_at_creation"].to_numpy(), index=deals.index))
    if not dated:
        amount = amount.fillna(pd.Series(np.where(closed, today["amount"], np.nan), index=deals.index))
    earlier = value_at(changes, "opportunity", "amount", deals["opportunity_id"], at - _ENTERED)
    earlier = pd.to_numeric(earlier, errors="coerce").fillna(
        pd.Series(today["amount_at_creation"].to_numpy(), index=deals.index)
    )
    owner = value_at(changes, "opportunity", "owner_id", deals["opportunity_id"], at)
    owner = owner.fillna(pd.Series(today["owner_id"].where(closed).to_numpy(), index=deals.index, dtype="str"))
    teams = crm["reps"].set_index("rep_id")["team"]
    team = value_at(changes, "rep", "team", owner, at).fillna(owner.map(teams))
    found = deals.assign(
        amount=amount.where(amount > 0).astype("float64"),
        amount_entered=earlier.where(earlier > 0).astype("float64"),
        product=today["product"].to_numpy(),
        owner=owner.fillna(NOBODY),
        team=team.fillna(NOBODY),
    )
    return DealFacts(found.reset_index(drop=True), dated)


def value_at(changes: pd.DataFrame, entity: str, field: str, ids: pd.Series, at: pd.Series) -> pd.Series:
    """Return the value that each entity's field had at its time, with the index of `ids`; missing where none is known.

    Parameters
    ----------
    changes : the history, as known at the study's date.
    """
    history = changes.loc[(changes["entity"] == entity) & (changes["field"] == field)]
    history = history.sort_values(["changed_at", "change_id"], kind="stable")[["entity_id", "changed_at", "new_value"]]
    asked = pd.DataFrame({"entity_id": ids.astype("str").fillna(""), "at": at.astype("datetime64[us]")})
    asked = asked.assign(place=np.arange(len(asked))).sort_values("at", kind="stable")
    found = pd.merge_asof(asked, history, left_on="at", right_on="changed_at", by="entity_id")
    return found.sort_values("place")["new_value"].set_axis(ids.index)
