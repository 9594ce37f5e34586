"""Small CRMs written out by hand, for the tests of features."""

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import ENTITY_KEYS, TABLES, empty_table
from crmlab.store import Store

AS_OF = pd.Timestamp("2024-03-31")
DAY = pd.Timedelta(days=1)
MICRO = pd.Timedelta(microseconds=1)
EMPTY = {name: empty_table(name) for name in TABLES}
OWN = {"x_then": {"known": "creation", "meaning": "Told at creation."}, "x_now": {"known": "today"}}
LONG_AGO = pd.Timestamp("2023-06-01")


def canonical(name: str, rows: list[dict] | pd.DataFrame) -> pd.DataFrame:
    """Rows with the columns and types of a canonical table; own columns follow."""
    frame = pd.DataFrame(rows)
    empty = empty_table(name)
    own = [c for c in frame if c not in empty]
    types = dict(empty.dtypes) | {c: "str" if frame[c].dtype == object else frame[c].dtype for c in own}
    return frame.reindex(columns=[*empty, *own]).astype(types)


def make_crm(own_columns: dict | None = None, **tables: list[dict] | pd.DataFrame) -> Crm:
    """A CRM in memory."""
    return as_crm({name: canonical(name, rows) for name, rows in tables.items()}, own_columns)


def as_crm(tables: dict[str, pd.DataFrame], own_columns: dict | None = None) -> Crm:
    """A CRM of canonical tables; those not given are empty."""
    return Crm(Store("never read"), "Test CRM", OWN if own_columns is None else own_columns, _read=EMPTY | tables)


def lead(lead_id: str = "L0", **values: object) -> dict:
    """A lead created long ago."""
    return {"lead_id": lead_id, "status": "working", "created_at": LONG_AGO} | values


def deal(opportunity_id: str = "O0", **values: object) -> dict:
    """A deal created long ago."""
    return {"opportunity_id": opportunity_id, "created_at": LONG_AGO} | values


def account(account_id: str = "A0", **values: object) -> dict:
    """A company known for long."""
    return {"account_id": account_id, "created_at": LONG_AGO} | values


def rep(rep_id: str = "R0", **values: object) -> dict:
    """A rep hired long ago."""
    return {"rep_id": rep_id, "hired_at": LONG_AGO} | values


def contact(ts: object, known_at: object = None, kind: str = "call", **values: object) -> dict:
    """An interaction of lead L0, if nothing else is said, entered when it took place."""
    ts = pd.Timestamp(ts)
    known_at = ts if known_at is None else pd.Timestamp(known_at)
    whose = {} if set(ENTITY_KEYS.values()) & set(values) else {"lead_id": "L0"}
    return {"ts": ts, "known_at": known_at, "type": kind} | whose | values


def change(field: str, when: object, new: object = None, old: object = None, **values: object) -> dict:
    """An entry of the change log, of lead L0 if nothing else is said."""
    fixed = {"entity": "lead", "entity_id": "L0", "field": field, "changed_at": pd.Timestamp(when)}
    return fixed | {"old_value": old, "new_value": new} | values


def numbered(name: str, rows: list[dict]) -> pd.DataFrame:
    """Rows of a table with identifiers in the order given, where they have none."""
    key = TABLES[name].key[0]
    return canonical(name, [{key: f"{key[0].upper()}{k}"} | row for k, row in enumerate(rows)])


def at(*dates: object, entity: str = "lead", who: str = "") -> pd.DataFrame:
    """Rows to ask for: one entity at some dates."""
    times = pd.Series([pd.Timestamp(d) for d in dates], dtype="datetime64[us]")
    who = who or {"lead": "L0", "opportunity": "O0", "account": "A0", "rep": "R0", "team": "north"}[entity]
    return pd.DataFrame({ENTITY_KEYS[entity]: pd.Series([who] * len(dates), dtype="str"), "as_of": times})


def values(frame: pd.DataFrame, name: str) -> list[object]:
    """Values of a feature; None where missing."""
    return [None if pd.isna(v) else v for v in frame[name]]
