"""Rules about dates: their order, what they say about each other, and dates that are none."""

from collections.abc import Iterator

import pandas as pd

from crmlab.schema import LEAD_CLOSED, TABLES

from .findings import Finding, Rows
from .rows import look_up

__all__ = ["DATE_RULES", "follows"]

_ORDER = {
    "leads": (("created_at", "converted_at"), ("created_at", "disqualified_at")),
    "opportunities": (("created_at", "first_quote_at"), ("created_at", "closed_at")),
    "contracts": (("started_at", "term_end_at"), ("started_at", "ended_at")),
    "invoices": (("issued_at", "due_at"), ("issued_at", "paid_at")),
    "tickets": (("opened_at", "escalated_at"), ("opened_at", "closed_at")),
    "reps": (("hired_at", "left_at"),),
    "targets": (("period_start_at", "period_end_at"),),
}
_BELONGS = (("lead_id", "leads"), ("opportunity_id", "opportunities"))
_EVENTS = {"interactions": "ts", "quotes": "sent_at"}
_PLACEHOLDERS = ("1899-12-30", "1899-12-31", "1900-01-01", "1901-01-01", "1970-01-01", "9999-12-31", "2099-12-31")
_DATE_ONLY = pd.Timedelta(hours=23, minutes=59, seconds=59)
_DAY = pd.Timedelta(days=1)


def follows(earlier: pd.Series, later: pd.Series) -> pd.Series:
    """Return where `later` does not come before `earlier`; true where either is missing.

    A date without a time of day is kept as the end of its day, so an event later on that day seems to precede it: the
    days are compared then.
    """
    start = earlier.where(earlier - earlier.dt.normalize() != _DATE_ONLY, earlier.dt.normalize())
    return ~(later < start)


def wrong_order(rows: Rows) -> Iterator[Finding]:
    """Dates of one row in an impossible order."""
    for name, pairs in _ORDER.items():
        frame = rows(name)
        for earlier, later in pairs:
            both = frame[frame[earlier].notna() & frame[later].notna()]
            bad = ~follows(both[earlier], both[later])
            yield Finding.count("wrong_order", name, f"{later} before {earlier}", bad)


def before_entity(rows: Rows) -> Iterator[Finding]:
    """Interactions and quotes before the creation of the lead or deal they belong to."""
    for name, time in _EVENTS.items():
        events = rows(name)
        for key, target in _BELONGS:
            if key in events:
                created = rows(target).set_index(key)["created_at"]
                start = look_up(events[key], created)
                yield Finding.count(
                    "before_entity", name, f"{time} ({key})", ~follows(start, events[time])[start.notna()]
                )


def entered(rows: Rows) -> Iterator[Finding]:
    """Interactions entered before, or more than a day after, they took place."""
    events = rows("interactions")
    yield Finding.count(
        "before_known", "interactions", "known_at before ts", ~follows(events["ts"], events["known_at"])
    )
    yield Finding.count("late", "interactions", "known_at after ts", events["known_at"] - events["ts"] > _DAY)


def placeholders(rows: Rows) -> Iterator[Finding]:
    """Days that systems write when they have no date."""
    days = pd.DatetimeIndex(_PLACEHOLDERS).as_unit("us")
    for name, spec in TABLES.items():
        frame = rows(name)
        for c in spec.of_kind("time") if len(frame) else ():
            values = frame[c].dropna()
            yield Finding.count("placeholder", name, c, values.dt.normalize().isin(days))


def after_closing(rows: Rows) -> Iterator[Finding]:
    """Fields changed a day or more after the lead or deal was closed, counted per field."""
    changes = rows("changes")
    for entity, name, key in (("lead", "leads", "lead_id"), ("opportunity", "opportunities", "opportunity_id")):
        closed = _closed_at(rows(name)).set_axis(rows(name)[key])
        log = changes[changes["entity"] == entity]
        late = log["changed_at"] - look_up(log["entity_id"], closed) >= _DAY
        for field, bad in late.groupby(log["field"]):
            yield Finding.count("after_closing", "changes", f"{field} of {name}", bad)


def status_against_dates(rows: Rows) -> Iterator[Finding]:
    """Today's status against the dates of conversion, giving up and closing, where the source keeps such dates."""
    leads, deals = rows("leads"), rows("opportunities")
    for status in LEAD_CLOSED:
        date = f"{status}_at"
        if leads[date].notna().any():
            of_status = leads[leads["status"] == status]
            yield Finding.count("status", "leads", f"{status} without {date}", of_status[date].isna())
    open_ = leads[~leads["status"].isin(LEAD_CLOSED)]
    closed = open_[["converted_at", "disqualified_at"]].notna().any(axis=1)
    yield Finding.count("status", "leads", "open, yet closed by its dates", closed)
    both = leads[["converted_at", "disqualified_at"]].notna().all(axis=1)
    yield Finding.count("status", "leads", "converted and disqualified", both)
    yield from _deal_status(deals)


def _deal_status(deals: pd.DataFrame) -> Iterator[Finding]:
    if deals["closed_at"].notna().any():
        ended = deals["outcome"].notna()
        yield Finding.count(
            "status", "opportunities", "outcome without closed_at", deals.loc[ended, "closed_at"].isna()
        )
        yield Finding.count("status", "opportunities", "closed_at without outcome", deals["closed_at"].notna() & ~ended)
    known = deals[deals["outcome"].notna() & deals["stage"].notna()]
    yield Finding.count("status", "opportunities", "stage against outcome", known["stage"] != known["outcome"])


def _closed_at(frame: pd.DataFrame) -> pd.Series:
    """First closing that is not impossible."""
    dates = [c for c in ("closed_at", "converted_at", "disqualified_at") if c in frame]
    return frame[dates].apply(lambda date: date.where(follows(frame["created_at"], date))).min(axis=1)


DATE_RULES = (wrong_order, before_entity, entered, placeholders, after_closing, status_against_dates)
