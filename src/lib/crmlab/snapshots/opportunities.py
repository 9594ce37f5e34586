"""Opportunities: open from their creation until they close, and again after a reopening."""

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import DataError

from .deals import Closings, closings_of, undated_deals
from .grid import end_of_first_day, open_snapshots
from .timeline import Timeline, check_few, looked_up

__all__ = ["deal_faults", "deal_final_status", "deal_timeline", "first_quotes"]

_DAY_END = pd.Timedelta(hours=23, minutes=59, seconds=59)
_MICRO = pd.Timedelta(microseconds=1)


def deal_timeline(crm: Crm, *, as_of: str, horizon_days: int, every: str) -> Timeline:
    """Return when deals were open and when they were won, as known at `as_of`.

    Raises
    ------
    DataError : the source lacks the dates for it.
    """
    today, closings = undated_deals(crm), closings_of(crm, as_of=as_of)
    _check_dates(crm, today, every=every)
    unclear = closings.deals.loc[closings.deals["closed_at"].notna() & closings.deals["outcome"].isna()]
    _check_results(len(unclear), int(today["closed"].sum()))
    out = set(_missed(today, every=every)) | set(unclear["opportunity_id"])
    return _timeline(crm, closings, out, as_of=as_of)


def deal_final_status(crm: Crm, *, as_of: str, every: str) -> pd.DataFrame:
    """Return one labelled row a deal, at its creation or first quote; deals that are not closed are censored.

    Where the source has no date of any closing, today's result counts and a row may stand after the closing; where it
    has, a deal already closed when it is looked at has no row, and one without a date is censored. Where it has no
    dates at all, every deal has one row without `as_of`.

    Raises
    ------
    DataError : deals have no dates and are to be cut at `as_of`, or looked at when they were quoted.
    """
    if crm.whole["opportunities"]["created_at"].isna().all():
        return _undated_status(crm, as_of=as_of, every=every)
    today, closings = undated_deals(crm), closings_of(crm, as_of=as_of)
    timeline = _timeline(crm, closings, set(), as_of=as_of)
    rows = open_snapshots(timeline, as_of=as_of, every=every)
    known = closings.deals.set_index("opportunity_id")[["closed_at", "outcome"]].loc[rows["opportunity_id"]]
    if today.loc[today["closed"], "undated"].all():
        result = _results(crm).loc[rows["opportunity_id"]].reset_index(drop=True)
        return _labelled(rows, result, result.notna())
    known = known.reset_index(drop=True)
    mature = known["closed_at"].notna() & known["outcome"].notna() & (known["closed_at"] != rows["as_of"])
    return _labelled(rows, known["outcome"], mature)


def deal_faults(crm: Crm) -> dict[str, pd.Series]:
    """Return the deals that a study leaves out: reason → ids."""
    deals, today = crm.whole["opportunities"], undated_deals(crm)
    unclear = deals["closed_at"].notna() & _results(crm).isna().to_numpy()
    undated = deals["created_at"].isna() & deals["created_at"].notna().any()
    return {
        "left out: nobody knows when they were created": deals.loc[undated, "opportunity_id"],
        "left out: closed before they were created": deals.loc[
            deals["closed_at"] < deals["created_at"], "opportunity_id"
        ],
        "left out: closed, but nobody knows when": today.loc[today["undated"], "opportunity_id"],
        "left out: closed, but nobody knows how": deals.loc[unclear, "opportunity_id"],
    }


def first_quotes(crm: Crm, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
    """Return the first instant at which each deal and its first quote are both known: opportunity_id, as_of.

    A quote without a time of day is known at the end of its day. Deals without `first_quote_at` take the oldest of
    their quotes.
    """
    deals = crm.at("opportunities", as_of=as_of)[["opportunity_id", "created_at", "first_quote_at"]]
    oldest = crm.at("quotes", as_of=as_of).groupby("opportunity_id")["sent_at"].min()
    quoted = deals["first_quote_at"].fillna(looked_up(oldest, deals["opportunity_id"]))
    at = pd.concat([quoted, deals["created_at"]], axis=1).max(axis=1).where(quoted.notna())
    whole_day = at - at.dt.normalize() >= _DAY_END
    looks = pd.DataFrame({"opportunity_id": deals["opportunity_id"], "as_of": at + _MICRO})
    looks["as_of"] = looks["as_of"].where(~whole_day, end_of_first_day(at))
    return looks[looks["as_of"].notna()]


def _timeline(crm: Crm, closings: Closings, out: set[str], *, as_of: str) -> Timeline:
    deals = closings.deals[~closings.deals["opportunity_id"].isin(out)].sort_values("opportunity_id")
    won = closings.won
    return Timeline(
        "opportunity",
        pd.Index(deals["opportunity_id"]),
        _spells(deals, closings.pauses),
        won[won["opportunity_id"].isin(deals["opportunity_id"])],
        looks=first_quotes(crm, as_of=as_of),
    )


def _spells(deals: pd.DataFrame, pauses: pd.DataFrame) -> pd.DataFrame:
    """Cut the life of each deal at its pauses: every end meets the beginning that precedes it."""
    if pauses.empty:
        return deals[["opportunity_id", "created_at", "end"]].rename(columns={"created_at": "start"})
    pauses = pauses[pauses["opportunity_id"].isin(deals["opportunity_id"])]
    starts = pd.concat([deals["created_at"], pauses["end"]], ignore_index=True)
    ids = pd.concat([deals["opportunity_id"], pauses["opportunity_id"]], ignore_index=True)
    spells = pd.DataFrame({"opportunity_id": ids, "start": starts}).sort_values(
        ["opportunity_id", "start"], kind="stable", ignore_index=True
    )
    ids = pd.concat([pauses["opportunity_id"], deals["opportunity_id"]], ignore_index=True)
    ends = pd.DataFrame({"opportunity_id": ids, "end": pd.concat([pauses["start"], deals["end"]], ignore_index=True)})
    # A deal without an end is open still: its missing end comes last, after every pause.
    ends = ends.sort_values(["opportunity_id", "end"], kind="stable", na_position="last", ignore_index=True)
    return spells.assign(end=ends["end"])


def _undated_status(crm: Crm, *, as_of: str, every: str) -> pd.DataFrame:
    """Rows of deals that have no dates: what they are today is all that is known of them."""
    if as_of or every != "creation":
        raise DataError(
            "The source does not say when deals were created, so they cannot be looked at on a date.",
            found=f"snapshots: {every}, as_of: {as_of!r}",
            remedy="map `opportunities.created_at`; in a source without any date, write "
            '`snapshots: creation` and `as_of: ""`.',
        )
    result = _results(crm).sort_index()
    ids = pd.Series(result.index, dtype="str", name="opportunity_id")
    rows = pd.DataFrame({"opportunity_id": ids, "as_of": pd.Series(pd.NaT, index=ids.index, dtype="datetime64[us]")})
    result = result.reset_index(drop=True)
    return _labelled(rows, result, result.notna())


def _results(crm: Crm) -> pd.Series:
    """Today's result of each deal by id; missing while it is open."""
    deals = crm.whole["opportunities"].set_index("opportunity_id")
    return deals["outcome"].fillna(deals["stage"].where(deals["stage"].isin(("won", "lost"))))


def _labelled(rows: pd.DataFrame, result: pd.Series, mature: pd.Series) -> pd.DataFrame:
    label = result.eq("won").astype("boolean").where(mature)
    return rows.assign(label=label.to_numpy(), mature=mature.to_numpy(bool)).astype({"label": "boolean"})


def _missed(today: pd.DataFrame, *, every: str) -> pd.Series:
    """Deals whose closing would be missed because it has no date; a single look can only miss a win."""
    missed = today["undated"] & today["won"] if every in ("creation", "first_quote") else today["undated"]
    return today.loc[missed, "opportunity_id"]


def _check_dates(crm: Crm, today: pd.DataFrame, *, every: str) -> None:
    won, closed = today[today["won"]], today[today["closed"]]
    if crm.whole["opportunities"]["created_at"].isna().all() or (len(won) and won["undated"].all()):
        raise DataError(
            "The source does not say when deals were created and won, so no horizon can be looked at.",
            remedy="write `label: final_status` and `horizon_days: 0`, or map `created_at` and `closed_at`.",
        )
    missed, single = len(_missed(today, every=every)), every in ("creation", "first_quote")
    check_few(
        missed,
        len(won if single else closed),
        problem="Deals won at an unknown date would count as not won."
        if single
        else f"Snapshots `{every}` would count closed deals as open.",
        found=f"{missed:,} of {len(won if single else closed):,} {'won' if single else 'closed'} deals have no "
        "`closed_at`",
        remedy="map `closed_at`, or write `label: final_status`."
        if single
        else "write `snapshots: creation`, or map `closed_at`.",
    )


def _check_results(unclear: int, closed: int) -> None:
    check_few(
        unclear,
        closed,
        problem="Deals that closed nobody knows how would count as not won.",
        found=f"{unclear:,} of {closed:,} closed deals have neither an outcome nor a closing stage",
        remedy="map `outcome` or `stage`.",
    )
