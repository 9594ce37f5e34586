"""What every feature says, as plain loops over dictionaries: slow, and right at a glance.

The engine must give these bits. Times are whole microseconds since 1970 (UTC), a day is 86,400 seconds of them. Written
from the meaning of tables and measures; of `crmlab.features` it reads nothing but the declarations handed in.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import pandas as pd

DAY = 86_400_000_000
WEEK = 7 * DAY
FIRST_MONDAY = 4 * DAY
EPOCH = dt.datetime(1970, 1, 1)
KEYS = {"lead": "lead_id", "opportunity": "opportunity_id", "account": "account_id", "rep": "rep_id", "team": "team"}
TABLE = {"lead": "leads", "opportunity": "opportunities", "account": "accounts", "rep": "reps"}
START = {"lead": "created_at", "opportunity": "created_at", "account": "created_at", "rep": "hired_at"}
STEPS_PER_UNIT = {
    **dict.fromkeys(("amount", "amount_at_creation", "cost", "margin", "annual_value"), 100),
    **dict.fromkeys(("duration", "minutes", "hours", "csat", "score"), 1000),
    **dict.fromkeys(("days", "days_late"), 86_400_000),
    **dict.fromkeys(("on_time", "revision", "logins", "active_users", "features_used"), 1),
    "discount_rate": 1_000_000,
}
IN_WORDS = ("value", "kind")
TYPES = {
    "call": "calls",
    "email_sent": "emails_sent",
    "email_open": "email_opens",
    "email_click": "email_clicks",
    "email_reply": "email_replies",
    "meeting": "meetings",
    "web_visit": "web_visits",
    "pricing_page": "pricing_page_views",
    "form": "forms",
    "download": "downloads",
    "event": "events",
}
STAGES = {"qualified": 0, "needs": 1, "quoted": 2, "negotiation": 3, "won": 4, "lost": 4}
Rows = list[dict]
Data = dict[str, Rows]


def read(tables: dict[str, pd.DataFrame]) -> Data:
    """Tables as lists of dictionaries: gaps as None, times as whole microseconds."""
    return {name: [plain(row) for row in frame.to_dict("records")] for name, frame in tables.items()}


def plain(row: dict) -> dict:
    """A row without gaps of pandas' own kind."""
    return {k: None if pd.isna(v) else micros(v) if isinstance(v, dt.datetime) else v for k, v in row.items()}


def micros(time: pd.Timestamp) -> int:
    """Microseconds since 1970."""
    return (time.to_pydatetime() - EPOCH) // dt.timedelta(microseconds=1)


def slug(value: object) -> str:
    """A value as a part of a name: spellings that differ in case or signs count as one."""
    return re.sub(r"\W+", "_", str(value).lower()).strip("_") or "other"


# Events, view by view. Each has the id of its entity, `ts`, `known` (when it was entered) and an order among equals.


def event(entity_id: object, ts: int | None, known: int | None, order: object, **values: object) -> dict:
    """One event; without a time it is none."""
    return {"id": entity_id, "ts": ts, "known": known, "order": order, **values}


def interactions(data: Data, entity: str) -> Iterator[dict]:
    """Calls, e-mails, visits …: at the time they took place, known when they were entered."""
    for i in data["interactions"]:
        told = i["duration"] is not None and i["duration"] >= 0
        yield event(
            i.get(KEYS[entity]),
            i["ts"],
            i["known_at"],
            i["interaction_id"],
            type=i["type"],
            direction=i["direction"],
            outcome=i["outcome"],
            duration=i["duration"] if told else None,
        )


def changes(data: Data, entity: str) -> Iterator[dict]:
    """Entries of the change log of this kind of entity, and in which direction each moved."""
    for c in data["changes"]:
        if c["entity"] == entity:
            is_number = c["field"] in ("amount", "margin_rate", "owner_probability")
            is_time = c["field"] == "expected_close_at"
            yield event(
                c["entity_id"],
                c["changed_at"],
                c["changed_at"],
                c["change_id"],
                field=c["field"],
                move=move(c),
                value=c["new_value"],
                number=number(c["new_value"]) if is_number else None,
                time=instant(c["new_value"]) if is_time else None,
            )


def move(change: dict) -> str:
    """In which direction a change went."""
    what, old, new = change["field"], change["old_value"], change["new_value"]
    if old is None:
        return "first"
    if what == "stage":
        return stage_move(STAGES.get(old), STAGES.get(new))
    if what in ("amount", "margin_rate", "owner_probability"):
        return direction(number(old), number(new), "up", "down")
    if what == "expected_close_at":
        return direction(instant(old), instant(new), "later", "earlier")
    return "other"


def stage_move(old: int | None, new: int | None) -> str:
    """Stages are numbered on the way; an unknown name has no place on it, but every closing is one."""
    if new == 4:
        return "closed"
    if old is None or new is None or old == new:
        return "other"
    if old == 4:
        return "reopened"
    if new < old:
        return "back"
    return "forward" if new == old + 1 else "skip"


def direction(old: float | None, new: float | None, up: str, down: str) -> str:
    """Up or down; values that cannot be read or did not move went nowhere."""
    if old is None or new is None or old == new:
        return "other"
    return up if new > old else down


def number(text: str | None) -> float | None:
    """A number written as text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def instant(text: str | None) -> int | None:
    """A time written as text; one without a time zone is UTC."""
    try:
        time = None if text is None else dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if time is not None and time.tzinfo:
        time = time.astimezone(dt.UTC).replace(tzinfo=None)
    return None if time is None else (time - EPOCH) // dt.timedelta(microseconds=1)


def quotes(data: Data, entity: str) -> Iterator[dict]:
    """Quotes sent."""
    for q in data["quotes"]:
        rest = {name: q[name] for name in ("amount", "discount_rate", "revision")}
        yield event(q["opportunity_id"], q["sent_at"], q["sent_at"], q["quote_id"], **rest)


def invoices(data: Data, entity: str) -> Iterator[dict]:
    """Invoices sent."""
    for i in data["invoices"]:
        known = i["amount"] is not None and i["cost"] is not None
        margin = i["amount"] - i["cost"] if known else None
        yield invoice_event(i, i["issued_at"], amount=i["amount"], cost=i["cost"], margin=margin)


def payments(data: Data, entity: str) -> Iterator[dict]:
    """Invoices at the time they were paid: how late, and whether on time."""
    for i in data["invoices"]:
        days_late = days(i["due_at"], i["paid_at"])
        on_time = None if days_late is None else float(days_late <= 0)
        yield invoice_event(i, i["paid_at"], amount=i["amount"], days_late=days_late, on_time=on_time)


def dues(data: Data, entity: str) -> Iterator[dict]:
    """Invoices at the time they fall due."""
    for i in data["invoices"]:
        yield invoice_event(i, i["due_at"], amount=i["amount"])


def settlements(data: Data, entity: str) -> Iterator[dict]:
    """Invoices once they are both due and paid."""
    for i in data["invoices"]:
        both = i["due_at"] is not None and i["paid_at"] is not None
        yield invoice_event(i, max(i["due_at"], i["paid_at"]) if both else None, amount=i["amount"])


def invoice_event(invoice: dict, ts: int | None, **values: object) -> dict:
    """Nothing is known of an invoice before it was issued."""
    return event(invoice["account_id"], ts, invoice["issued_at"], invoice["invoice_id"], **values)


def days(start: int | None, end: int | None) -> float | None:
    """Days between two times."""
    return None if start is None or end is None else (end - start) / DAY


def contracts(data: Data, entity: str) -> Iterator[dict]:
    """Contract terms at their first day."""
    for c in data["contracts"]:
        rest = {name: c[name] for name in ("kind", "annual_value")} | {"term_end_at": c["term_end_at"]}
        yield event(c["account_id"], c["started_at"], c["started_at"], c["contract_id"], **rest)


def contract_ends(data: Data, entity: str) -> Iterator[dict]:
    """Contract terms at their real end."""
    for c in data["contracts"]:
        rest = {name: c[name] for name in ("end_reason", "annual_value")}
        yield event(c["account_id"], c["ended_at"], c["started_at"], c["contract_id"], **rest)


def usage(data: Data, entity: str) -> Iterator[dict]:
    """Days with use of the product."""
    for u in data["usage"]:
        rest = {name: u[name] for name in ("logins", "active_users", "minutes", "features_used")}
        yield event(u["account_id"], u["day"], u["known_at"], u["day"], **rest)


def tickets(data: Data, entity: str) -> Iterator[dict]:
    """Tickets at their opening."""
    for t in data["tickets"]:
        yield event(t["account_id"], t["opened_at"], t["opened_at"], t["ticket_id"], severity=t["severity"])


def escalations(data: Data, entity: str) -> Iterator[dict]:
    """Tickets when they were escalated."""
    for t in data["tickets"]:
        yield event(t["account_id"], t["escalated_at"], t["opened_at"], t["ticket_id"])


def ticket_closings(data: Data, entity: str) -> Iterator[dict]:
    """Tickets when they were solved: how long it took, and how satisfied the customer was."""
    for t in data["tickets"]:
        known = t["closed_at"] is not None and t["opened_at"] is not None
        hours = (t["closed_at"] - t["opened_at"]) / (DAY // 24) if known else None
        yield event(t["account_id"], t["closed_at"], t["opened_at"], t["ticket_id"], csat=t["csat"], hours=hours)


def surveys(data: Data, entity: str) -> Iterator[dict]:
    """Answers to surveys; a Net Promoter answer up to 6 is a detractor's, from 9 a promoter's."""
    for s in data["surveys"]:
        verdict = None
        if s["kind"] == "nps" and s["score"] is not None:
            verdict = "detractor" if s["score"] <= 6 else "passive" if s["score"] <= 8 else "promoter"
        rest = {"kind": s["kind"], "score": s["score"], "verdict": verdict}
        yield event(s["account_id"], s["answered_at"], s["answered_at"], s["survey_id"], **rest)


def contacts(data: Data, entity: str) -> Iterator[dict]:
    """People when they entered the CRM."""
    for c in data["contacts"]:
        rest = {"job_position": c["job_position"]}
        yield event(c["account_id"], c["created_at"], c["created_at"], c["contact_id"], **rest)


def leads(data: Data, entity: str) -> Iterator[dict]:
    """Leads when they entered the CRM."""
    for row in data["leads"]:
        yield event(row["account_id"], row["created_at"], row["created_at"], row["lead_id"], source=row["source"])


def lead_endings(data: Data, entity: str) -> Iterator[dict]:
    """Leads when they were converted or given up, whichever came first."""
    for row in data["leads"]:
        end = ended("lead", row)
        outcome = None if end is None else "converted" if row["converted_at"] == end else "disqualified"
        whose = belongs_to(data, entity, "lead", row, end)
        rest = {"outcome": outcome, "days": days(row["created_at"], end)}
        yield event(whose, end, row["created_at"], row["lead_id"], **rest)


def opportunities(data: Data, entity: str) -> Iterator[dict]:
    """Deals when they entered the CRM."""
    for row in data["opportunities"]:
        rest = {"product": row["product"], "amount_at_creation": row["amount_at_creation"]}
        yield event(row["account_id"], row["created_at"], row["created_at"], row["opportunity_id"], **rest)


def closings(data: Data, entity: str) -> Iterator[dict]:
    """Deals when they were closed, with the amount that stood then."""
    for row in data["opportunities"]:
        end = row["closed_at"]
        amount = number(newest_change(data, "opportunity", row["opportunity_id"], "amount", end, inclusive=True))
        rest = {
            "outcome": row["outcome"],
            "days": days(row["created_at"], end),
            "amount": row["amount_at_creation"] if amount is None else amount,
        }
        whose = belongs_to(data, entity, "opportunity", row, end)
        yield event(whose, end, row["created_at"], row["opportunity_id"], **rest)


def ended(kind: str, row: dict) -> int | None:
    """When a lead or deal ended."""
    ends = (row["converted_at"], row["disqualified_at"]) if kind == "lead" else (row["closed_at"],)
    return min((e for e in ends if e is not None), default=None)


def belongs_to(data: Data, entity: str, kind: str, row: dict, when: int | None) -> object:
    """The account, or whoever owned it at that instant, or the team that the owner was in."""
    if entity == "account":
        return row["account_id"]
    rep = newest_change(data, kind, row[f"{kind}_id"], "owner_id", when, inclusive=True)
    return rep if entity == "rep" else newest_change(data, "rep", rep, "team", when, inclusive=True)


def newest_change(
    data: Data, entity: str, entity_id: object, field: str, when: int | None, *, inclusive: bool
) -> object:
    """The value that the change log shows at a time; of two entries at one instant, that of the larger identifier."""
    if entity_id is None or when is None:
        return None
    seen = [
        c
        for c in data["changes"]
        if (c["entity"], c["entity_id"], c["field"]) == (entity, entity_id, field)
        and (c["changed_at"] < when or (inclusive and c["changed_at"] == when))
    ]
    return max(seen, key=lambda c: (c["changed_at"], c["change_id"]))["new_value"] if seen else None


def taken(kind: str) -> Callable[[Data, str], Iterator[dict]]:
    """Leads or deals when somebody became their owner."""
    return lambda data, entity: (event(s[entity], s["from"], s["from"], s["order"]) for s in spells(data, kind))


def left(kind: str) -> Callable[[Data, str], Iterator[dict]]:
    """Leads or deals when they passed on to the next owner or ended, whichever came first."""
    return lambda data, entity: (event(s[entity], s["until"], s["from"], s["order"]) for s in spells(data, kind))


def spells(data: Data, kind: str) -> Iterator[dict]:
    """The stretches of time in which one rep, of one team, owned one lead or deal."""
    log = [c for c in data["changes"] if (c["entity"], c["field"]) == (kind, "owner_id")]
    for c in log:
        later = [o for o in log if o["entity_id"] == c["entity_id"] and moment(o) > moment(c)]
        until = min(later, key=moment)["changed_at"] if later else None
        for row in data[TABLE[kind]]:
            end = ended(kind, row)
            if row[f"{kind}_id"] == c["entity_id"] and end is not None and row["created_at"] is not None:
                end = max(end, row["created_at"])
                until = end if until is None else min(until, end)
        if until is not None:
            until = max(until, c["changed_at"])
        team = newest_change(data, "rep", c["new_value"], "team", c["changed_at"], inclusive=True)
        order = (c["entity_id"], *moment(c))
        yield {"rep": c["new_value"], "team": team, "from": c["changed_at"], "until": until, "order": order}


def moment(change: dict) -> tuple:
    """Order of changes."""
    return (change["changed_at"], change["change_id"])


VIEWS = {
    "interactions": interactions,
    "changes": changes,
    "quotes": quotes,
    "invoices": invoices,
    "payments": payments,
    "dues": dues,
    "settlements": settlements,
    "contracts": contracts,
    "contract_ends": contract_ends,
    "usage": usage,
    "tickets": tickets,
    "escalations": escalations,
    "ticket_closings": ticket_closings,
    "surveys": surveys,
    "contacts": contacts,
    "leads": leads,
    "lead_endings": lead_endings,
    "opportunities": opportunities,
    "closings": closings,
    "leads_taken": taken("lead"),
    "leads_left": left("lead"),
    "deals_taken": taken("opportunity"),
    "deals_left": left("opportunity"),
}


# Measures


def entered(e: dict) -> int:
    """From when on (strictly later) an event is visible."""
    return max(e["ts"], e["known"])


def n(seen: Rows, **_: object) -> int:
    return len(seen)


def active_days(seen: Rows, **_: object) -> int:
    return len({e["ts"] // DAY for e in seen})


def steps(e: dict, of: str) -> int:
    """A value in whole steps of its column's resolution."""
    return round(e[of] * STEPS_PER_UNIT[of])


def total(seen: Rows, of: str, **_: object) -> float:
    return sum(steps(e, of) for e in seen if e[of] is not None) / STEPS_PER_UNIT[of]


def mean(seen: Rows, of: str, **_: object) -> float | None:
    present = sum(e[of] is not None for e in seen)
    return total(seen, of) / present if present else None


def recency(seen: Rows, t: int, **_: object) -> float | None:
    return (t - max(e["ts"] for e in seen)) / DAY if seen else None


def since_first(seen: Rows, t: int, **_: object) -> float | None:
    return (t - min(e["ts"] for e in seen)) / DAY if seen else None


def smoothed(seen: Rows, t: int, of: str, **_: object) -> float:
    """Complete weeks only, from Monday to Sunday; those without events count as zero."""
    if of:
        seen = [e for e in seen if e[of] is not None]
    if not seen:
        return 0.0
    s = 0.0
    for week in range(min(week_of(e["ts"]) for e in seen), week_of(t)):
        here = [e for e in seen if week_of(e["ts"]) == week]
        s = 0.7 * s + 0.3 * (total(here, of) if of else len(here))
    return s


def week_of(time: int) -> int:
    return (time - FIRST_MONDAY) // WEEK


def last(seen: Rows, of: str, **_: object) -> object:
    # A field that was emptied holds nothing from then on; elsewhere an empty value tells nothing.
    told = [e for e in seen if e[of] is not None or of == "value"]
    return max(told, key=lambda e: (e["ts"], e["order"]))[of] if told else None


def until(seen: Rows, t: int, of: str, **_: object) -> float | None:
    value = last(seen, of)
    return None if value is None else (value - t) / DAY


ONE_WINDOW = {"n": n, "sum": total, "mean": mean, "days": active_days}
ALL_TIME = {"recency": recency, "first": since_first, "smoothed": smoothed, "last": last, "until": until}


def measure(seen: Rows, t: int, start: int | None, name: str, days_back: tuple[int, ...], of: str) -> object:
    """One measure of the visible events of a row."""
    if name in ONE_WINDOW:
        return ONE_WINDOW[name](within(seen, t, days_back[0]), of=of)
    if name in ALL_TIME:
        return ALL_TIME[name](seen, t=t, of=of)
    if name == "trend":
        short, long = (len(within(seen, t, d)) / d for d in days_back)
        return short / long if long else None
    if start is None:
        return None
    age = (t - start) / DAY
    if name == "per_week":
        return len(seen) * 7 / max(age, 7)
    return len(within(seen, t, days_back[0])) / min(days_back[0], max(age, 1))


def within(seen: Rows, t: int, days_back: int) -> Rows:
    """Events of the last days, the first instant included; 0 days mean all."""
    return [e for e in seen if days_back == 0 or e["ts"] >= t - days_back * DAY]


def matches(e: dict, where: dict) -> bool:
    """Whether an event is what a declaration asks for; a gap never is."""
    return all(e[column] is not None and accepts(e[column], wanted) for column, wanted in where.items())


def accepts(value: object, wanted: str | tuple[str, ...]) -> bool:
    if isinstance(wanted, str) and wanted[0] in "<>":
        sign, bound = re.fullmatch(r"([<>]=?)(.*)", wanted).groups()
        bound = float(bound)
        return {">": value > bound, ">=": value >= bound, "<": value < bound, "<=": value <= bound}[sign]
    return slug(value) in {slug(w) for w in (wanted if isinstance(wanted, tuple) else (wanted,))}


# From declarations to a frame


def reference_features(
    tables: dict[str, pd.DataFrame],
    rows: pd.DataFrame,
    declarations: tuple,
    windows: tuple[int, ...] = (7, 30, 90),
    own: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return the features of dated rows.

    Parameters
    ----------
    tables : every canonical table. own : own columns of the entity that are known from creation on.
    """
    entity = next(kind for kind, key in KEYS.items() if key in rows)
    asked = [(row[KEYS[entity]], row["as_of"]) for row in map(plain, rows.to_dict("records"))]
    found = Reference(read(tables), windows, own).columns(entity, declarations, asked)
    columns = {name: pd.array(values, dtype=kind) for name, (values, kind) in found.items()}
    return pd.DataFrame(columns, index=rows.index, columns=pd.Index(list(columns), dtype="str"))


Asked = list[tuple[object, int]]
Columns = dict[str, tuple[list, str]]


class Reference:
    """All columns of some declarations, as name → (values, type)."""

    def __init__(self, data: Data, windows: tuple[int, ...], own: tuple[str, ...]) -> None:
        self.data, self.windows, self.own = data, windows, own
        self.kept: dict[tuple[str, str], Rows] = {}

    def events(self, view: str, entity: str) -> Rows:
        """Events that belong to somebody and have a time; the others are counted elsewhere."""
        if (view, entity) not in self.kept:
            events = list(VIEWS[view](self.data, entity))
            complete = [e for e in events if None not in (e["id"], e["ts"], e["known"])]
            self.kept[view, entity] = complete
        return self.kept[view, entity]

    def columns(self, entity: str, declarations: tuple, asked: Asked) -> Columns:
        found: Columns = {}
        shown: list[str] = []
        for declaration in declarations:
            new = getattr(self, type(declaration).__name__.lower())(entity, declaration, asked, found)
            found |= new
            shown += [] if declaration.hidden else list(new)
        return {name: found[name] for name in shown}

    def feature(self, entity: str, f: object, asked: Asked, found: Columns) -> Columns:
        """Measures of events; none where the source has no event of the kind, or none with a value to measure."""
        new: Columns = {}
        for name, where in self.parts(entity, f):
            events = [e for e in self.events(f.view, entity) if matches(e, where)]
            for what, days_back in spans(f, self.windows):
                counts = not f.of or what not in ("sum", "mean", "smoothed", "last", "until")
                if any(counts or e[f.of] is not None for e in events):
                    values = [self.one(entity, events, who, t, what, days_back, f.of) for who, t in asked]
                    new[column_name(name, f.of, what, days_back)] = (values, type_of(what, f.of))
        return new

    def parts(self, entity: str, f: object) -> list[tuple[str, dict]]:
        """(name, filter): one, or one for each value that the source has."""
        if not f.each:
            return [(f.name, f.where)]
        values = {slug(e[f.each]) for e in self.events(f.view, entity) if e[f.each] is not None and matches(e, f.where)}
        in_order = [v for v in TYPES if v in values] + sorted(values - set(TYPES))
        names = [type_name(v) if f.each == "type" else v for v in in_order]
        return [(f.name.replace("{}", name), {**f.where, f.each: v}) for name, v in zip(names, in_order, strict=True)]

    def one(self, entity: str, events: Rows, who: object, t: int, what: str, days_back: tuple, of: str) -> object:
        seen = [e for e in events if e["id"] == who and entered(e) < t]
        return measure(seen, t, self.start(entity, who, t), what, days_back, of)

    def start(self, entity: str, who: object, t: int) -> int | None:
        """When an entity began, if it had begun by then."""
        return self.known(entity, who, START[entity], t) if entity in START else None

    def row(self, table: str, key: str, who: object) -> dict | None:
        return next((row for row in self.data[table] if row[key] == who), None)

    def known(self, entity: str, who: object, column: str, t: int) -> object:
        """Value of an entity that was in the CRM before a time."""
        row = self.row(TABLE[entity], KEYS[entity], who)
        begun = row is not None and row[START[entity]] is not None and row[START[entity]] < t
        return row[column] if begun else None

    def value(self, entity: str, who: object, column: str) -> object:
        row = self.row(TABLE[entity], KEYS[entity], who)
        return None if row is None else row[column]

    def field(self, entity: str, f: object, asked: Asked, found: Columns) -> Columns:
        """A column of the entity, or of what it belongs to, if that was in the CRM by then."""
        through = f.through or ("accounts" if f.fallback else "")
        link = {"accounts": "account_id", "contacts": "contact_id", "leads": "lead_id", "": None}[through]
        values = []
        for who, t in asked:
            value = None if f.through else self.value(entity, who, f.column)
            if value is None and through:
                other = self.row(through, link, self.value(entity, who, link))
                begun = other is not None and other["created_at"] is not None and other["created_at"] < t
                value = other[f.column] if begun else None
            values.append(value)
        mine = not f.through and self.filled(TABLE[entity], f.column)
        theirs = through and self.filled(TABLE[entity], link) and self.filled(through, f.column)
        numbers = ("employees", "revenue", "amount_at_creation", "experience")
        kind = "float64" if f.column in numbers else "str"
        return {f.name or f.column: (values, kind)} if mine or theirs else {}

    def filled(self, table: str, column: str) -> bool:
        return any(row[column] is not None for row in self.data[table])

    def ownfields(self, entity: str, declaration: object, asked: Asked, found: Columns) -> Columns:
        """Own columns that are known from creation on; in these tests, texts."""
        names = [c for c in self.own if any(c in row and row[c] is not None for row in self.data[TABLE[entity]])]
        return {c: ([self.value(entity, who, c) for who, _ in asked], "str") for c in names}

    def calendar(self, entity: str, declaration: object, asked: Asked, found: Columns) -> Columns:
        values = [getattr(self, declaration.name)(entity, who, t) for who, t in asked]
        if declaration.name == "customer_days" and not self.filled("accounts", "customer_since"):
            return {}
        if declaration.name == "lead_to_opportunity_days" and not self.filled("opportunities", "lead_id"):
            return {}
        return {declaration.name: (values, "float64")}

    def age_days(self, entity: str, who: object, t: int) -> float | None:
        return days(self.start(entity, who, t), t)

    def month(self, entity: str, who: object, t: int) -> int:
        return clock(t).month

    def quarter_days_left(self, entity: str, who: object, t: int) -> float:
        """Days to the first instant of the next quarter."""
        last_month = (clock(t).month - 1) // 3 * 3 + 3
        year, month = (clock(t).year, last_month + 1) if last_month < 12 else (clock(t).year + 1, 1)
        return ((dt.datetime(year, month, 1) - EPOCH) // dt.timedelta(microseconds=1) - t) / DAY

    def customer_days(self, entity: str, who: object, t: int) -> float | None:
        since = self.known(entity, who, "customer_since", t)
        return days(since, t) if since is not None and since < t else None

    def lead_to_opportunity_days(self, entity: str, who: object, t: int) -> float | None:
        lead = self.known(entity, who, "lead_id", t)
        return days(self.start("lead", lead, t), self.start(entity, who, t))

    def linked(self, entity: str, link: object, asked: Asked, found: Columns) -> Columns:
        """Features of another entity at the same time; missing where there is no such link."""
        if link.by in found:
            others = found[link.by][0]
        elif link.by in ("account_id", "lead_id") and self.filled(TABLE[entity], link.by):
            others = [self.value(entity, who, link.by) for who, _ in asked]
        else:
            return {}
        columns = self.columns(link.entity, link.features, [(o, t) for o, (_, t) in zip(others, asked, strict=True)])
        new = {}
        for name, (values, kind) in columns.items():
            there = [None if o is None else v for o, v in zip(others, values, strict=True)]
            new[f"{link.prefix}_{name}"] = (there, "str" if kind == "str" else "float64")
        return new

    def tags(self, entity: str, declaration: object, asked: Asked, found: Columns) -> Columns:
        """Tags, too."""
        return {}

    def notes(self, entity: str, declaration: object, asked: Asked, found: Columns) -> Columns:
        """Notes as words have tests of their own."""
        return {}

    def ratio(self, entity: str, d: object, asked: Asked, found: Columns) -> Columns:
        if d.first not in found or d.second not in found:
            return {}
        pairs = zip(found[d.first][0], found[d.second][0], strict=True)
        return {d.name: ([None if a is None or not b else a / b for a, b in pairs], "float64")}

    def difference(self, entity: str, d: object, asked: Asked, found: Columns, sign: int = -1) -> Columns:
        """Of what the source has not, there is none to take away."""
        if d.first not in found or d.second not in found:
            return {d.name: found[d.first]} if d.first in found else {}
        (first, kind), (second, kind2) = found[d.first], found[d.second]
        values = [None if a is None or b is None else a + sign * b for a, b in zip(first, second, strict=True)]
        return {d.name: (values, "int32" if kind == kind2 == "int32" else "float64")}

    def total(self, entity: str, d: object, asked: Asked, found: Columns) -> Columns:
        return self.difference(entity, d, asked, found, sign=1)


def clock(t: int) -> dt.datetime:
    """A time in microseconds as date and time of day."""
    return EPOCH + dt.timedelta(microseconds=t)


def type_name(value: str) -> str:
    """A type of interaction as features name it; `interactions` alone means all types."""
    return "interactions_type" if value == "interactions" else TYPES.get(value, value)


def type_of(what: str, of: str) -> str:
    """Counts are whole numbers, shown words are text."""
    if what in ("n", "days"):
        return "int32"
    return "str" if what == "last" and of in IN_WORDS else "float64"


def spans(f: object, windows: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """(measure, windows in days) of each feature of a declaration, in order; 0 days mean ever."""
    found = []
    for what in f.measure.split():
        asked = windows if f.windows is None else f.windows
        rising = sorted(w for w in asked if w)
        if what in ALL_TIME or what == "per_week":
            found.append((what, ()))
        elif what == "trend":
            found += [(what, pair) for pair in pairwise(rising)]
        else:
            found += [(what, (w,)) for w in (rising if what in ("days", "per_day") else asked)]
    return found


def column_name(name: str, of: str, what: str, days_back: tuple[int, ...]) -> str:
    """Source, measure, window."""
    if of and what in ("sum", "mean", "smoothed"):
        name = f"{name}_{of}"
    if what == "last":
        return name
    words = {"recency": "recency_days", "first": "since_first_days", "smoothed": "smoothed_weekly", "until": "days"}
    return "_".join([name, words.get(what, what), *(f"{d}d" if d else "ever" for d in days_back)])
