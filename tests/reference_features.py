"""What every feature says, as plain loops over rows: slow, and right at a glance. The engine must give these bits."""

import datetime as dt
import re

import pandas as pd

DAY = dt.timedelta(days=1)
KNOWN_TYPES = (
    *("call", "email_sent", "email_open", "email_click", "email_reply", "meeting"),
    *("web_visit", "pricing_page", "form", "download", "event"),
)
FROM_ACCOUNT = ("industry", "employees", "region", "country")


def reference_features(
    tables: dict[str, pd.DataFrame],
    snapshots: pd.DataFrame,
    *,
    windows: tuple[int, ...],
    fields: tuple[str, ...],
    own: tuple[str, ...],
) -> pd.DataFrame:
    """Return the features of a dated study.

    Parameters
    ----------
    tables : canonical leads, accounts, changes and interactions.
    own : own columns of leads that are known at creation.
    """
    data = {name: records(frame) for name, frame in tables.items()}
    rows = [one_row(data, row["lead_id"], row["as_of"], windows, (*fields, *own)) for row in records(snapshots)]
    names = column_names(data, windows, fields, own)
    frame = pd.DataFrame([{n: row.get(n) for n in names} for row in rows], columns=names, index=snapshots.index)
    return frame.astype({n: column_type(tables, n) for n in names})


def records(frame: pd.DataFrame) -> list[dict]:
    """Rows as dictionaries; gaps as None, times as datetimes."""
    rows = frame.to_dict("records")
    return [{k: None if pd.isna(v) else v for k, v in row.items()} for row in rows]


def one_row(data: dict, lead_id: str, as_of: dt.datetime, windows: tuple[int, ...], fields: tuple[str, ...]) -> dict:
    """All features of one lead at one date; what is missing is None or absent."""
    lead = next(row for row in data["leads"] if row["lead_id"] == lead_id)
    row = {name: field(data, lead, name, as_of) for name in fields}
    row["age_days"] = None if lead["created_at"] is None else (as_of - lead["created_at"]) / DAY
    row["month"] = as_of.month
    row["owner_id"] = owner(data["changes"], lead_id, as_of)
    for name in ["interactions", *type_names(data)]:
        seen = visible(data["interactions"], lead_id, as_of, name)
        for days in windows:
            row[f"{name}_n_{days}d"] = sum(as_of - days * DAY <= ts for ts in seen)
        row[f"{name}_recency_days"] = (as_of - max(seen)) / DAY if seen else None
    return row


def field(data: dict, lead: dict, name: str, as_of: dt.datetime) -> object:
    """A field of the lead; where that is empty, of its account, if the account was in the CRM by then."""
    if lead[name] is not None or name not in FROM_ACCOUNT:
        return lead[name]
    for account in data["accounts"]:
        known = account["created_at"] is not None and account["created_at"] < as_of
        if account["account_id"] == lead["account_id"] and known:
            return account[name]
    return None


def owner(changes: list[dict], lead_id: str, as_of: dt.datetime) -> object:
    """The newest owner written down before the date; of two at one instant, that of the larger identifier."""
    seen = [
        (c["changed_at"], c["change_id"], c["new_value"])
        for c in changes
        if (c["entity"], c["field"], c["entity_id"]) == ("lead", "owner_id", lead_id) and c["changed_at"] < as_of
    ]
    return max(seen, key=lambda c: c[:2])[2] if seen else None


def visible(interactions: list[dict], lead_id: str, as_of: dt.datetime, name: str) -> list[dt.datetime]:
    """Times of the interactions that had both taken place and been entered before the date."""
    return [
        i["ts"]
        for i in interactions
        if i["lead_id"] == lead_id and i["ts"] < as_of and i["known_at"] < as_of
        if name in ("interactions", type_name(i["type"]))
    ]


def type_name(text: str) -> str:
    """A type as a part of a feature's name."""
    name = re.sub(r"\W+", "_", text.lower()).strip("_") or "other"
    return "interactions_type" if name == "interactions" else name


def type_names(data: dict) -> list[str]:
    """The types that the source has, the known ones first."""
    found = {type_name(i["type"]) for i in data["interactions"]}
    return [t for t in KNOWN_TYPES if t in found] + sorted(found - set(KNOWN_TYPES))


def column_names(data: dict, windows: tuple[int, ...], fields: tuple[str, ...], own: tuple[str, ...]) -> list[str]:
    """The features that the source has data for."""
    names = [n for n in (*fields, *own) if is_ever_filled(data, n)] + ["age_days", "month"]
    if any(c["entity"] == "lead" and c["field"] == "owner_id" for c in data["changes"]):
        names.append("owner_id")
    if data["interactions"]:
        for name in ["interactions", *type_names(data)]:
            names += [*(f"{name}_n_{days}d" for days in windows), f"{name}_recency_days"]
    return names


def is_ever_filled(data: dict, name: str) -> bool:
    """Whether any lead, or the account of any, holds a value."""
    on_lead = any(row[name] is not None for row in data["leads"])
    linked = name in FROM_ACCOUNT and any(row["account_id"] is not None for row in data["leads"])
    return on_lead or (linked and any(row[name] is not None for row in data["accounts"]))


def column_type(tables: dict[str, pd.DataFrame], name: str) -> str:
    """Categories are text, everything else a number."""
    return (
        "str" if name == "owner_id" or (name in tables["leads"] and tables["leads"][name].dtype == "str") else "float64"
    )
