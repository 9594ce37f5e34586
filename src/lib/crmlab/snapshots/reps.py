"""Reps: followed while they are employed; a rep rises who wins more deals than in as many days before."""

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import DataError

from .deals import Closings, closings_of, undated_deals
from .timeline import Timeline, check_few

__all__ = ["rep_faults", "rep_timeline", "wins_of_nobody"]


def rep_timeline(crm: Crm, *, as_of: str, horizon_days: int, every: str) -> Timeline:
    """Return when reps were employed and when deals of theirs were won, as known at `as_of`.

    A win belongs to the owner of the deal at its closing: the newest change of `owner_id` not after it. Nobody
    is looked at before the first deal of the source, and a row whose days before reach back further is censored.

    Raises
    ------
    DataError : the source does not say when reps were hired, when deals were won, or who owned them then.
    """
    _check_source(crm)
    closings = closings_of(crm, as_of=as_of)
    wins = _owned(crm, closings, as_of=as_of)
    _check_wins(crm, wins)
    reps = crm.at("reps", as_of=as_of).sort_values("rep_id")
    spells = reps[["rep_id", "hired_at", "left_at"]].set_axis(["rep_id", "start", "end"], axis=1)
    since = closings.deals["created_at"].min()
    spells["start"] = spells["start"].clip(lower=since)
    outcomes = wins.loc[wins["rep_id"].notna(), ["rep_id", "at"]]
    return Timeline("rep", pd.Index(reps["rep_id"]), spells, outcomes, measure="rise", since=since)


def rep_faults(crm: Crm) -> dict[str, pd.Series]:
    """Return the reps that a study leaves out: reason → ids."""
    reps = crm.whole["reps"]
    return {
        "left out: left before they were hired": reps.loc[reps["left_at"] < reps["hired_at"], "rep_id"],
        "left out: nobody knows when they were hired": reps.loc[reps["hired_at"].isna(), "rep_id"],
    }


def wins_of_nobody(crm: Crm) -> int:
    """Return how many won deals count for no rep, because their date or their owner at the closing is unknown."""
    won = undated_deals(crm)["won"].sum()
    everything = crm.whole["opportunities"]["closed_at"].max()
    if everything is pd.NaT:
        return int(won)
    wins = _owned(crm, closings_of(crm, as_of=everything + pd.Timedelta(microseconds=1)), as_of=everything)
    return int(won - wins["rep_id"].notna().sum())


def _owned(crm: Crm, closings: Closings, *, as_of: object) -> pd.DataFrame:
    """Wins with the owner of the deal then: opportunity_id, at, rep_id (missing where nobody is known)."""
    changes = crm["changes"]
    owners = changes[(changes["entity"] == "opportunity") & (changes["field"] == "owner_id")]
    owners = owners[owners["changed_at"].notna()].sort_values(["changed_at", "change_id"], kind="stable")
    owners = owners[["entity_id", "changed_at", "new_value"]].set_axis(["opportunity_id", "at", "rep_id"], axis=1)
    return pd.merge_asof(closings.won.sort_values("at", kind="stable"), owners, on="at", by="opportunity_id")


def _check_source(crm: Crm) -> None:
    changes, reps = crm.whole["changes"], crm.whole["reps"]
    if not ((changes["entity"] == "opportunity") & (changes["field"] == "owner_id")).any():
        raise DataError(
            "The source does not say who owned a deal when it closed, so nobody's wins can be counted.",
            found="no change of `owner_id` of any opportunity",
            remedy="map the history of owners to `changes` (entity opportunity, field owner_id), the first owner "
            "included.",
        )
    if reps["hired_at"].isna().all():
        raise DataError(
            "The source does not say when reps were hired, so nobody knows whom to look at.",
            found=f"{len(reps):,} reps, none with `hired_at`",
            remedy="map `reps.hired_at`, and `left_at` of those who left.",
        )


def _check_wins(crm: Crm, wins: pd.DataFrame) -> None:
    today = undated_deals(crm)
    undated, nobody = int((today["undated"] & today["won"]).sum()), int(wins["rep_id"].isna().sum())
    check_few(
        undated + nobody,
        undated + len(wins),
        problem="Won deals would count for nobody.",
        found=f"of {undated + len(wins):,} won deals, {undated:,} have no `closed_at` and {nobody:,} no owner at it",
        remedy="map `closed_at`, and every owner of a deal from its creation on to `changes`.",
    )
