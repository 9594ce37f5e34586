"""One row of features per (lead, as_of), from facts known strictly before `as_of`.

A window of w days is [as_of − w, as_of). An interaction logged late counts from the moment it was logged. Every feature
is a pure function of the facts visible at the row's own `as_of`: deleting or changing anything later changes no bit.
Which features there are depends on the source as a whole, never on the rows asked for: one row gives what many give.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import INTERACTION_TYPES, DataError, ParameterError, table

__all__ = ["LEAD_FIELDS", "WINDOWS", "build_features", "feature_catalog", "feature_groups", "refused_columns"]

WINDOWS = (7, 30, 90)
LEAD_FIELDS = ("source", "industry", "employees", "region", "country", "job_position", "product")
_ACCOUNT_FIELDS = ("industry", "employees", "region", "country")
_DAY = np.timedelta64(1, "D").astype("timedelta64[us]")
_ALL = "interactions"


def build_features(
    crm: Crm,
    snapshots: pd.DataFrame,
    *,
    windows: Sequence[int] = WINDOWS,
    fields: Sequence[str] = LEAD_FIELDS,
) -> pd.DataFrame:
    """Return features, one row per row of `snapshots`, in its order and with its index.

    Parameters
    ----------
    snapshots : frame with lead_id and as_of; where `as_of` is empty (a study without dates) only fields are built.
    windows : days to look back for counts; positive.
    fields : columns of leads that were known at creation. A column that holds only today's value is refused.

    Returns
    -------
    Numbers as float64, categories as `str`, missing as NaN. Fields empty on the lead are taken from its account. Own
    columns known at creation follow the fields, but for those that hold times.

    Raises
    ------
    ParameterError : a window that is not a positive whole number of days.
    DataError : a field without history, one that is no measure, or one that does not exist.
    """
    _check_windows(windows)
    dated = _check_dated(snapshots)
    parts = [_lead_fields(crm, snapshots, fields, dated=dated)]
    if dated:
        rows = _Rows(snapshots)
        parts += [_calendar(crm, snapshots), _owner(crm, snapshots, rows)]
        parts.append(_interaction_features(crm, snapshots, rows, windows))
    return pd.concat(parts, axis=1)


def _check_windows(windows: Sequence[int]) -> None:
    if any(isinstance(w, bool) or w != int(w) or w <= 0 for w in windows):
        raise ParameterError(
            "Windows must be positive whole numbers of days.",
            found=", ".join(map(str, windows)),
            remedy="write them such as 7, 30, 90.",
        )


def _check_dated(snapshots: pd.DataFrame) -> bool:
    """Whether the rows have dates; all or none must."""
    n_empty = int(snapshots["as_of"].isna().sum())
    if 0 < n_empty < len(snapshots):
        raise DataError(
            "Some rows say at which date to look, others do not.",
            found=f"{n_empty:,} of {len(snapshots):,} rows without `as_of`",
            remedy="give every row an `as_of`, or none.",
        )
    return n_empty == 0


def feature_groups(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the catalog with features that differ only in their window in one row."""
    groups = catalog.groupby(["family", "table", "meaning"], sort=False)["feature"].agg(", ".join)
    return groups.rename("features").reset_index()[["features", "family", "table", "meaning"]]


def feature_catalog(features: pd.DataFrame, crm: Crm) -> pd.DataFrame:
    """Return what each feature says: columns feature, family, table, window_days, meaning."""
    return pd.DataFrame([_describe(name, crm) for name in features], columns=_CATALOG)


def refused_columns(crm: Crm, *, dated: bool) -> pd.DataFrame:
    """Return the columns of leads that may not become features, with the reason: column, filled (share), why.

    Parameters
    ----------
    dated : whether the study knows dates; without them own columns of unknown date are used, and the report says so.
    """
    leads = crm["leads"]
    spec = table("leads")
    reasons = {
        c.name: "holds only today's value" if not c.as_of_safe else f"known only at {c.known}"
        for c in spec.columns
        if c.known != "created_at" and c.name != "sequence"
    }
    if _is_owner_change(crm["changes"]).any():
        reasons["owner_id"] = "holds only today's value; the owner of the date is taken from changes"
    own = [c for c in leads if c.startswith("x_") and not _own_usable(crm, c, dated=dated)]
    reasons |= {c: f"own column, known: {crm.known_of(c)}" for c in own}
    rows = [(c, leads[c].notna().mean(), why) for c, why in reasons.items() if leads[c].notna().any()]
    return pd.DataFrame(rows, columns=["column", "filled", "why"])


_CATALOG = ["feature", "family", "table", "window_days", "meaning"]


def _describe(name: str, crm: Crm) -> tuple:
    if name.startswith("x_") and name in crm["leads"]:
        meaning = crm.own_columns.get(name, {}).get("meaning") or "A column of the source's own."
        return (name, "own column", "leads", None, meaning)
    if name == "owner_id":
        return (name, "owner", "changes", None, "Rep who owned the lead at that time.")
    if name in _CALENDAR:
        return (name, "calendar", "leads", None, _CALENDAR[name])
    if name in table("leads").names:
        return (name, "field", "leads", None, table("leads")[name].meaning)
    if name.endswith("_recency_days"):
        kind = _readable(name.removesuffix("_recency_days"), "interaction")
        return (name, "recency", "interactions", None, f"Days since the last {kind}; missing if none.")
    kind, _, window = name.removesuffix("d").rpartition("_n_")
    return (name, "count", "interactions", int(window), f"Number of {_readable(kind, 'interactions')} in the window.")


_CALENDAR = {"age_days": "Days since the lead was created.", "month": "Month of the year of `as_of`: the season."}


def _readable(kind: str, noun: str) -> str:
    return f"{noun} of any type" if kind == _ALL else f"{noun} of type {kind}"


def _lead_fields(crm: Crm, snapshots: pd.DataFrame, fields: Sequence[str], *, dated: bool) -> pd.DataFrame:
    """Fields known at creation and own columns; empty ones from the account where it was known by then."""
    for name in fields:
        _check_field(crm, name)
    leads = crm["leads"]
    own = [c for c in leads if c.startswith("x_") and _own_usable(crm, c, dated=dated)]
    names = list(dict.fromkeys([*fields, *own]))
    rows = snapshots[["lead_id", "as_of"]].merge(
        leads[["lead_id", "account_id", *names]], on="lead_id", how="left", validate="m:1"
    )
    for name in names:
        if name in _ACCOUNT_FIELDS:
            rows[name] = rows[name].where(rows[name].notna(), _from_account(crm, rows, name))
        if pd.api.types.is_bool_dtype(rows[name].dtype):
            rows[name] = rows[name].astype("float64")
    rows.index = snapshots.index
    return rows[[name for name in names if _is_ever_filled(crm.whole, name)]]


def _is_ever_filled(crm: Crm, name: str) -> bool:
    from_account = name in _ACCOUNT_FIELDS and crm["leads"]["account_id"].notna().any()
    return bool(crm["leads"][name].notna().any() or (from_account and crm["accounts"][name].notna().any()))


def _from_account(crm: Crm, rows: pd.DataFrame, name: str) -> pd.Series:
    accounts = crm["accounts"][["account_id", "created_at", name]]
    found = rows[["account_id", "as_of"]].merge(accounts, on="account_id", how="left", validate="m:1")
    known = (found["created_at"] < found["as_of"]) | found["as_of"].isna()
    return found[name].where(known)


def _own_usable(crm: Crm, column: str, *, dated: bool) -> bool:
    """Own columns of unknown date serve only where there are no dates at all, and the report says so."""
    if pd.api.types.is_datetime64_any_dtype(crm["leads"][column].dtype):
        return False
    return crm.known_of(column) == "creation" or (crm.known_of(column) == "unknown" and not dated)


def _check_field(crm: Crm, name: str) -> None:
    leads = table("leads")
    if name not in crm["leads"]:
        raise DataError(f"Table `leads` has no column `{name}`.", remedy=f"fields are: {', '.join(LEAD_FIELDS)}.")
    known = crm.known_of(name) if name.startswith("x_") else leads[name].known
    if known not in ("creation", leads.known_at):
        raise DataError(
            f"Column `leads.{name}` cannot be a feature: what it held on an earlier date is not known.",
            found="a column that was filled or changed after creation",
            remedy="leave it out, or map its history to the table `changes`.",
        )
    time = pd.api.types.is_datetime64_any_dtype(crm["leads"][name].dtype)
    if time or (name in leads.names and leads[name].kind in ("id", "text")):
        raise DataError(
            f"Column `leads.{name}` cannot be a feature: it names or dates the lead and measures nothing.",
            remedy="leave it out; the age of the lead is a feature already.",
        )


def _calendar(crm: Crm, snapshots: pd.DataFrame) -> pd.DataFrame:
    leads = crm["leads"][["lead_id", "created_at"]]
    created = snapshots[["lead_id"]].merge(leads, on="lead_id", how="left", validate="m:1")["created_at"]
    age = (snapshots["as_of"].to_numpy() - created.to_numpy()) / _DAY
    month = snapshots["as_of"].dt.month
    return pd.DataFrame({"age_days": age, "month": month.astype("float64").to_numpy()}, index=snapshots.index)


def _owner(crm: Crm, snapshots: pd.DataFrame, rows: "_Rows") -> pd.DataFrame:
    """Owner as of the date, from the change log; no column where the source keeps no such history."""
    if not _is_owner_change(crm.whole["changes"]).any():
        return pd.DataFrame(index=snapshots.index)
    owners = crm["changes"][_is_owner_change(crm["changes"])].sort_values(["changed_at", "change_id"], kind="stable")
    lead = rows.leads.get_indexer(owners["entity_id"])
    here = lead >= 0
    timeline = _Timeline(rows, lead[here], _micros(owners["changed_at"])[here])
    last = timeline.last(owners["new_value"].to_numpy(dtype=object)[here])
    return pd.DataFrame({"owner_id": pd.Series(last, index=snapshots.index, dtype="str")})


def _is_owner_change(changes: pd.DataFrame) -> pd.Series:
    return (changes["entity"] == "lead") & (changes["field"] == "owner_id")


def _interaction_features(crm: Crm, snapshots: pd.DataFrame, rows: "_Rows", windows: Sequence[int]) -> pd.DataFrame:
    """Counts and recency of all interactions and of each type; no column where the source keeps no interactions."""
    types = _types(crm.whole["interactions"])
    if not types:
        return pd.DataFrame(index=snapshots.index)
    events = _events(crm["interactions"], rows)
    columns: dict[str, np.ndarray] = {}
    for name in (_ALL, *types):
        chosen = events if name == _ALL else events[events["type"] == name]
        columns |= _counts(name, chosen, rows, windows)
        columns[f"{name}_recency_days"] = _recency(chosen, rows)
    return pd.DataFrame(columns, index=snapshots.index)


def _events(interactions: pd.DataFrame, rows: "_Rows") -> pd.DataFrame:
    """Interactions of the leads asked for, in the order in which they become visible."""
    lead = rows.leads.get_indexer(interactions["lead_id"])
    events = interactions[["ts", "known_at"]].assign(lead=lead, type=_type_names(interactions["type"]))[lead >= 0]
    events = events.assign(enters=events[["ts", "known_at"]].max(axis=1))
    return events.sort_values(["lead", "enters"], kind="stable", ignore_index=True)


def _types(interactions: pd.DataFrame) -> list[str]:
    """Types that the source has, the known ones in their documented order, then its own."""
    found = set(_type_names(interactions["type"]).unique())
    return [t for t in INTERACTION_TYPES if t in found] + sorted(found - set(INTERACTION_TYPES))


def _type_names(types: pd.Series) -> pd.Series:
    """Types as parts of feature names: spellings that differ in case or signs count as one."""
    return types.map({t: _type_name(t) for t in types.unique()})


def _type_name(text: str) -> str:
    name = re.sub(r"\W+", "_", text.lower()).strip("_") or "other"
    return f"{name}_type" if name == _ALL else name


def _counts(name: str, events: pd.DataFrame, rows: "_Rows", windows: Sequence[int]) -> dict[str, np.ndarray]:
    """Count = events that have entered − events that have left: each enters and leaves each window once."""
    lead, enters = events["lead"].to_numpy(), _micros(events["enters"])
    entered = _Timeline(rows, lead, enters).count()
    counts = {}
    for days in windows:
        leaves = np.maximum(enters, _micros(events["ts"]) + days * _DAY)
        counts[f"{name}_n_{days}d"] = (entered - _Timeline(rows, lead, leaves).count()).astype("float64")
    return counts


def _recency(events: pd.DataFrame, rows: "_Rows") -> np.ndarray:
    newest = events.groupby("lead", sort=False)["ts"].cummax()
    timeline = _Timeline(rows, events["lead"].to_numpy(), _micros(events["enters"]))
    return (rows.as_of - timeline.last(_micros(newest))) / _DAY


def _micros(times: pd.Series) -> np.ndarray:
    return times.to_numpy("datetime64[us]")


class _Rows:
    """The rows asked for, as integers: place of the lead, place of the date, and one key of both."""

    def __init__(self, snapshots: pd.DataFrame) -> None:
        self.as_of = _micros(snapshots["as_of"])
        self.dates, date = np.unique(self.as_of, return_inverse=True)
        self.leads = pd.Index(snapshots["lead_id"].unique())
        self.width = len(self.dates) + 1
        self.start = self.leads.get_indexer(snapshots["lead_id"]).astype(np.int64) * self.width
        self.key = self.start + date


class _Timeline:
    """Events, ready to be asked what each (lead, as_of) row can see: those of the lead with `time < as_of`.

    Times are first replaced by the number of distinct snapshot dates at or before them: an event is visible from the
    next date on. That is exact at any resolution, and the key of lead and date stays far from overflow.
    """

    def __init__(self, rows: _Rows, lead: np.ndarray, times: np.ndarray) -> None:
        keys = lead.astype(np.int64) * rows.width + np.searchsorted(rows.dates, times, side="right")
        self._order = np.argsort(keys, kind="stable")
        self._end = np.searchsorted(keys[self._order], rows.key, side="right")
        self._count = self._end - np.searchsorted(keys[self._order], rows.start, side="left")

    def count(self) -> np.ndarray:
        """Visible events of each row."""
        return self._count

    def last(self, values: np.ndarray) -> np.ndarray:
        """Value of each row's last visible event; events must come in order of time within a lead."""
        seen = self._count > 0
        result = np.full(len(seen), None if values.dtype == object else np.datetime64("NaT"), dtype=values.dtype)
        result[seen] = values[self._order[self._end[seen] - 1]]
        return result
