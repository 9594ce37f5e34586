"""How canonical tables become events: who they belong to, when they took place, when they were known.

A view is a table of events with the ids of the entities they belong to, `ts`, `known_at` (where it can differ),
category columns to filter by and value columns to measure. A fact that ends something (a payment, a closing) is an
event of its own, at its own time, so that nothing is known before it happened.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import OPPORTUNITY_STAGES, TABLES

__all__ = ["VIEWS", "View", "newest_change", "state_at"]

_DAY = pd.Timedelta(days=1)
_MONEY, _MINUTES, _RATE, _UNIT = 100, 1000, 1_000_000, 1
_DAYS = 86_400_000
"""Durations in days are summed in milliseconds."""


@dataclass(frozen=True)
class View:
    """One kind of events.

    Attributes
    ----------
    tables : canonical tables it is built from; the first gives one event per row at most.
    meaning : what one event is, in words.
    links : entity → column that holds its id.
    build : from a CRM and the entity asked for to the frame of events, with the index of the first table.
    categories : columns to filter by. per_unit : value column → steps per unit in which it is summed.
    others : value columns that are shown as they are: name → "number", "time" or "category".
    words : value column → what it holds, in words.
    """

    tables: tuple[str, ...]
    meaning: str
    links: Mapping[str, str]
    build: Callable[[Crm, str], pd.DataFrame]
    categories: tuple[str, ...] = ()
    per_unit: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Columns that a declaration may name."""
        return [*self.categories, *self.per_unit, *self.others]

    def kind(self, column: str) -> str:
        """Return what a column holds: "number", "time" or "category"."""
        if column in self.others:
            return self.others[column]
        return "category" if column in self.categories else "number"


def state_at(
    crm: Crm, entity: str, column: str, ids: pd.Series, times: pd.Series, *, inclusive: bool = True
) -> pd.Series:
    """Return the newest value that `changes` shows for each (id, time); missing where there is none.

    Parameters
    ----------
    ids, times : what to ask for; the result has the index of `ids`.
    inclusive : whether a change at the very instant counts.
    """
    log, place = newest_change(crm, entity, column, ids, times, inclusive=inclusive)
    return pd.Series(log["new_value"].array.take(place, allow_fill=True), index=ids.index, dtype="str")


def newest_change(
    crm: Crm, entity: str, column: str, ids: pd.Series, times: pd.Series, *, inclusive: bool
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the log of a column, by time, and the place in it of the newest entry for each (id, time); −1: none."""
    changes = crm["changes"]
    log = changes[(changes["entity"] == entity) & (changes["field"] == column)]
    log = log.sort_values(["changed_at", "change_id"], kind="stable", ignore_index=True)
    asked = pd.DataFrame({"id": pd.Series(ids.to_numpy(dtype=object), dtype="str"), "row": range(len(ids))})
    asked["time"] = times.to_numpy("datetime64[us]")
    asked = asked[asked["id"].notna() & asked["time"].notna()].sort_values("time", kind="stable")
    entries = pd.DataFrame({"id": log["entity_id"].astype("str"), "time": log["changed_at"], "place": range(len(log))})
    found = pd.merge_asof(asked, entries, on="time", by="id", allow_exact_matches=inclusive)
    place = np.full(len(ids), -1, dtype=np.int64)
    place[found["row"].to_numpy(np.int64)] = found["place"].fillna(-1).to_numpy(np.int64)
    return log, place


def _rows(name: str, ts: str, *columns: str) -> Callable[[Crm, str], pd.DataFrame]:
    """A view that takes a table's rows as they are, at the time that `ts` names, once the row itself is known."""
    known_at = TABLES[name].known_at

    def build(crm: Crm, entity: str) -> pd.DataFrame:
        frame = crm[name]
        own = {"known_at": frame[known_at]} if known_at != ts else {}
        return pd.DataFrame({"ts": frame[ts]} | own | {column: frame[column] for column in columns})

    return build


def _interactions(crm: Crm, entity: str) -> pd.DataFrame:
    columns = [*_EVERYONE.values(), "ts", "known_at", "type", "direction", "outcome", "duration"]
    events = crm["interactions"][columns]
    impossible = events["duration"] < 0
    return events.assign(duration=events["duration"].mask(impossible)) if impossible.any() else events


def _changes(crm: Crm, entity: str) -> pd.DataFrame:
    """Changes of one kind of entity, each with the direction in which it moved."""
    log = crm["changes"][crm["changes"]["entity"] == entity]
    number = pd.to_numeric(log["new_value"].where(log["field"].isin(_NUMBERS)), errors="coerce")
    before = pd.to_numeric(log["old_value"].where(log["field"].isin(_NUMBERS)), errors="coerce")
    time = pd.to_datetime(
        log["new_value"].where(log["field"].isin(_TIMES)), errors="coerce", format="ISO8601", utc=True
    ).dt.tz_localize(None)
    time_before = pd.to_datetime(
        log["old_value"].where(log["field"].isin(_TIMES)), errors="coerce", format="ISO8601", utc=True
    ).dt.tz_localize(None)
    rank, rank_before = _stage_rank(log["new_value"]), _stage_rank(log["old_value"])
    is_stage = log["field"] == "stage"
    move = pd.Series("other", index=log.index, dtype="str")
    move = move.mask(log["old_value"].isna(), "first")
    for up, down, new, old in (("up", "down", number, before), ("later", "earlier", time, time_before)):
        move = move.mask(new > old, up).mask(new < old, down)
    step = (rank - rank_before).where(is_stage)
    closed = _stage_rank(pd.Series(["won"]))[0]
    move = move.mask(step == 1, "forward").mask(step > 1, "skip").mask(step < 0, "back")
    move = move.mask(is_stage & (rank_before >= closed) & (rank < closed), "reopened")
    move = move.mask(is_stage & (rank >= closed) & log["old_value"].notna(), "closed")
    return pd.DataFrame(
        {
            f"{entity}_id": log["entity_id"],
            "ts": log["changed_at"],
            "field": log["field"],
            "move": move,
            "value": log["new_value"],
            "number": number,
            "time": time.astype("datetime64[us]"),
        }
    )


_NUMBERS = ("amount", "margin_rate", "owner_probability")
_TIMES = ("expected_close_at",)


def _stage_rank(stages: pd.Series) -> pd.Series:
    """Place of a stage on the way; both endings stand last. A name that is not known has none."""
    ranks = {stage: float(min(k, 4)) for k, stage in enumerate(OPPORTUNITY_STAGES)}
    return stages.map(ranks).astype("float64")


def _invoices(crm: Crm, entity: str) -> pd.DataFrame:
    frame = crm["invoices"]
    return frame[["account_id", "amount", "cost"]].assign(ts=frame["issued_at"], margin=frame["amount"] - frame["cost"])


def _payments(crm: Crm, entity: str) -> pd.DataFrame:
    frame = crm["invoices"]
    late = (frame["paid_at"] - frame["due_at"]) / _DAY
    on_time = (late <= 0).astype("float64").where(late.notna())
    return frame[["account_id", "amount"]].assign(
        ts=frame["paid_at"], known_at=frame["issued_at"], days_late=late, on_time=on_time
    )


def _dues(crm: Crm, entity: str) -> pd.DataFrame:
    frame = crm["invoices"]
    return frame[["account_id", "amount"]].assign(ts=frame["due_at"], known_at=frame["issued_at"])


def _settlements(crm: Crm, entity: str) -> pd.DataFrame:
    """Paid and due: from then on an invoice that fell due is no longer overdue."""
    frame = crm["invoices"]
    ts = frame[["paid_at", "due_at"]].max(axis=1, skipna=False)
    return frame[["account_id", "amount"]].assign(ts=ts, known_at=frame["issued_at"])


def _ticket_closings(crm: Crm, entity: str) -> pd.DataFrame:
    frame = crm["tickets"]
    hours = (frame["closed_at"] - frame["opened_at"]) / pd.Timedelta(hours=1)
    return frame[["account_id", "csat"]].assign(ts=frame["closed_at"], known_at=frame["opened_at"], hours=hours)


def _surveys(crm: Crm, entity: str) -> pd.DataFrame:
    frame = crm["surveys"]
    verdict = pd.cut(frame["score"], [-1, 6, 8, 10], labels=["detractor", "passive", "promoter"]).astype("str")
    return frame[["account_id", "kind", "score"]].assign(
        ts=frame["answered_at"], verdict=verdict.where(frame["kind"] == "nps")
    )


def _lead_endings(crm: Crm, entity: str) -> pd.DataFrame:
    frame = crm["leads"]
    ts = frame[["converted_at", "disqualified_at"]].min(axis=1)
    outcome = pd.Series("disqualified", index=frame.index, dtype="str").mask(frame["converted_at"] == ts, "converted")
    days = (ts - frame["created_at"]) / _DAY
    events = frame[["account_id"]].assign(ts=ts, known_at=frame["created_at"], outcome=outcome, days=days)
    return _with_rep(crm, events, "lead", frame["lead_id"], entity)


def _closings(crm: Crm, entity: str) -> pd.DataFrame:
    """Deals at their closing, with the amount that stood then."""
    frame = crm["opportunities"]
    ids, ts = frame["opportunity_id"], frame["closed_at"]
    amount = pd.to_numeric(state_at(crm, "opportunity", "amount", ids, ts), errors="coerce")
    amount = amount.fillna(frame["amount_at_creation"])
    days = (ts - frame["created_at"]) / _DAY
    events = frame[["account_id", "outcome"]].assign(ts=ts, known_at=frame["created_at"], amount=amount, days=days)
    return _with_rep(crm, events, "opportunity", ids, entity)


def _with_rep(crm: Crm, events: pd.DataFrame, kind: str, ids: pd.Series, entity: str) -> pd.DataFrame:
    """Whose they were at that time, and in which team."""
    if entity not in ("rep", "team"):
        return events
    rep = state_at(crm, kind, "owner_id", ids, events["ts"])
    team = state_at(crm, "rep", "team", rep, events["ts"])
    return events.assign(rep_id=rep.to_numpy(), team=team.to_numpy())


def _spells(crm: Crm, kind: str) -> pd.DataFrame:
    """Each stretch of time in which one rep owned one lead or deal: rep, team, from and until."""
    table, ends = ("leads", ["converted_at", "disqualified_at"]) if kind == "lead" else ("opportunities", ["closed_at"])
    changes = crm["changes"]
    log = changes[(changes["entity"] == kind) & (changes["field"] == "owner_id")]
    log = log.sort_values(["entity_id", "changed_at", "change_id"], kind="stable", ignore_index=True)
    frame = crm[table]
    # A deal entered after its own closing ends when it is entered; of one never entered no end is known.
    closed = pd.concat([frame[ends].min(axis=1), frame["created_at"]], axis=1).max(axis=1, skipna=False)
    closed = pd.Series(closed.to_numpy(), index=frame[f"{kind}_id"])
    same = log["entity_id"] == log["entity_id"].shift(-1)
    until = log["changed_at"].shift(-1).where(same)
    end = pd.Series(closed.reindex(log["entity_id"]).to_numpy("datetime64[us]"), index=log.index)
    # A rep who takes over what is already closed has nothing open.
    until = pd.concat([until, end], axis=1).min(axis=1)
    until = until.mask(until < log["changed_at"], log["changed_at"])
    team = state_at(crm, "rep", "team", log["new_value"], log["changed_at"])
    return pd.DataFrame({"rep_id": log["new_value"], "team": team, "from": log["changed_at"], "until": until})


def _taken(kind: str) -> Callable[[Crm, str], pd.DataFrame]:
    return lambda crm, entity: _spells(crm, kind).rename(columns={"from": "ts"})[["rep_id", "team", "ts"]]


def _left(kind: str) -> Callable[[Crm, str], pd.DataFrame]:
    return lambda crm, entity: _spells(crm, kind).rename(columns={"until": "ts"})[["rep_id", "team", "ts"]]


_ACCOUNT = {"account": "account_id"}
_OWNED = {"rep": "rep_id", "team": "team"}
_EVERYONE = {"lead": "lead_id", "opportunity": "opportunity_id", "account": "account_id", "rep": "rep_id"}

VIEWS: dict[str, View] = {
    "interactions": View(
        ("interactions",),
        "interactions",
        _EVERYONE,
        _interactions,
        ("type", "direction", "outcome"),
        {"duration": _MINUTES},
        words={"duration": "minutes"},
    ),
    "changes": View(
        ("changes",),
        "changes",
        {"lead": "lead_id", "opportunity": "opportunity_id", "account": "account_id", "rep": "rep_id"},
        _changes,
        ("field", "move"),
        {},
        {"value": "category", "number": "number", "time": "time"},
    ),
    "quotes": View(
        ("quotes",),
        "quotes",
        {"opportunity": "opportunity_id"},
        _rows("quotes", "sent_at", "opportunity_id", "amount", "discount_rate", "revision"),
        (),
        {"amount": _MONEY, "discount_rate": _RATE, "revision": _UNIT},
        {"amount": "number", "discount_rate": "number"},
    ),
    "invoices": View(
        ("invoices",), "invoices", _ACCOUNT, _invoices, (), {"amount": _MONEY, "cost": _MONEY, "margin": _MONEY}
    ),
    "payments": View(
        ("invoices",),
        "payments",
        _ACCOUNT,
        _payments,
        (),
        {"amount": _MONEY, "days_late": _DAYS, "on_time": _UNIT},
        words={"days_late": "days past the due date", "on_time": "share on time"},
    ),
    "dues": View(("invoices",), "invoices fallen due", _ACCOUNT, _dues, (), {"amount": _MONEY}),
    "settlements": View(("invoices",), "due invoices paid", _ACCOUNT, _settlements, (), {"amount": _MONEY}),
    "contracts": View(
        ("contracts",),
        "contract terms begun",
        _ACCOUNT,
        _rows("contracts", "started_at", "account_id", "kind", "annual_value", "term_end_at"),
        ("kind",),
        {"annual_value": _MONEY},
        {"kind": "category", "annual_value": "number", "term_end_at": "time"},
    ),
    "contract_ends": View(
        ("contracts",),
        "contract terms ended",
        _ACCOUNT,
        _rows("contracts", "ended_at", "account_id", "end_reason", "annual_value"),
        ("end_reason",),
        {"annual_value": _MONEY},
    ),
    "usage": View(
        ("usage",),
        "days with use of the product",
        _ACCOUNT,
        _rows("usage", "day", "account_id", "logins", "active_users", "minutes", "features_used"),
        (),
        {"logins": _UNIT, "active_users": _UNIT, "minutes": _MINUTES, "features_used": _UNIT},
    ),
    "tickets": View(
        ("tickets",), "tickets", _ACCOUNT, _rows("tickets", "opened_at", "account_id", "severity"), ("severity",)
    ),
    "escalations": View(("tickets",), "escalated tickets", _ACCOUNT, _rows("tickets", "escalated_at", "account_id")),
    "ticket_closings": View(
        ("tickets",),
        "solved tickets",
        _ACCOUNT,
        _ticket_closings,
        (),
        {"csat": _MINUTES, "hours": _MINUTES},
        words={"csat": "satisfaction (1 to 5)", "hours": "hours to solution"},
    ),
    "surveys": View(
        ("surveys",),
        "answered surveys",
        _ACCOUNT,
        _surveys,
        ("kind", "verdict"),
        {"score": _MINUTES},
        {"score": "number"},
    ),
    "contacts": View(
        ("contacts",),
        "contacts",
        _ACCOUNT,
        _rows("contacts", "created_at", "account_id", "job_position"),
        ("job_position",),
    ),
    "leads": View(("leads",), "leads", _ACCOUNT, _rows("leads", "created_at", "account_id", "source"), ("source",)),
    "lead_endings": View(
        ("leads", "changes"),
        "leads converted or given up",
        _ACCOUNT | _OWNED,
        _lead_endings,
        ("outcome",),
        {"days": _DAYS},
        words={"days": "days from lead to ending"},
    ),
    "opportunities": View(
        ("opportunities",),
        "deals created",
        _ACCOUNT,
        _rows("opportunities", "created_at", "account_id", "product", "amount_at_creation"),
        ("product",),
        {"amount_at_creation": _MONEY},
    ),
    "closings": View(
        ("opportunities", "changes"),
        "deals closed",
        _ACCOUNT | _OWNED,
        _closings,
        ("outcome",),
        {"days": _DAYS, "amount": _MONEY},
        words={"days": "days from creation to closing"},
    ),
    "leads_taken": View(("leads", "changes"), "leads taken over", _OWNED, _taken("lead")),
    "leads_left": View(("leads", "changes"), "leads handed over or ended", _OWNED, _left("lead")),
    "deals_taken": View(("opportunities", "changes"), "deals taken over", _OWNED, _taken("opportunity")),
    "deals_left": View(("opportunities", "changes"), "deals handed over or ended", _OWNED, _left("opportunity")),
}
"""Name → view. A declaration names one of these."""
