"""One row of features per (lead, as_of), from facts known strictly before `as_of`.

A window of w days is [as_of − w, as_of). An interaction logged late counts from the moment it was logged. Every feature
is a pure function of the facts visible at the row's own `as_of`: deleting or changing anything later changes no bit.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import INTERACTION_TYPES, TABLES, DataError, ParameterError, table

__all__ = ["LEAD_FIELDS", "WINDOWS", "build_features", "feature_catalog"]

WINDOWS = (7, 30, 90)
LEAD_FIELDS = ("source", "industry", "employees", "region", "country", "job_position", "product")
_ACCOUNT_FIELDS = ("industry", "employees", "region", "country")
_DAY = pd.Timedelta(days=1)


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
    Numbers as float64, categories as `str`, missing as NaN. Fields empty on the lead are taken from its account.

    Raises
    ------
    ParameterError : a window that is not positive.
    DataError : a field without history, or one that does not exist.
    """
    if any(w <= 0 for w in windows):
        raise ParameterError("Windows must be positive numbers of days.", found=", ".join(map(str, windows)))
    parts = [_lead_fields(crm, snapshots, fields)]
    if snapshots["as_of"].notna().all() and len(snapshots):
        parts += [_calendar(crm, snapshots), _owner(crm, snapshots)]
        if crm.counts().get("interactions"):
            parts.append(_interaction_features(crm["interactions"], snapshots, windows))
    return pd.concat(parts, axis=1)


def feature_catalog(features: pd.DataFrame, crm: Crm) -> pd.DataFrame:
    """Return what each feature says: columns feature, family, table, window_days, meaning."""
    return pd.DataFrame([_describe(name, crm) for name in features], columns=_CATALOG)


_CATALOG = ["feature", "family", "table", "window_days", "meaning"]


def _describe(name: str, crm: Crm) -> tuple:
    stem, _, last = name.rpartition("_")
    if name.endswith("_recency_days"):
        kind = name.removesuffix("_recency_days")
        return (name, "recency", "interactions", None, f"Days since the last {_readable(kind)}; missing if none.")
    if stem.endswith("_n") and last.endswith("d"):
        kind = stem.removesuffix("_n")
        return (name, "count", "interactions", int(last[:-1]), f"Number of {_readable(kind)} in the window.")
    if name in _CALENDAR:
        return (name, "calendar", "leads", None, _CALENDAR[name])
    if name == "owner_id":
        return (name, "owner", "changes", None, "Rep who owned the lead at that time.")
    meaning = crm.own_columns.get(name, {}).get("meaning") or table("leads")[name].meaning
    return (name, "own column" if name.startswith("x_") else "field", "leads", None, meaning)


_CALENDAR = {"age_days": "Days since the lead was created.", "month": "Month of the year of `as_of`: the season."}


def _readable(kind: str) -> str:
    return "interactions of any type" if kind == "interactions" else f"interactions of type {kind}"


def _lead_fields(crm: Crm, snapshots: pd.DataFrame, fields: Sequence[str]) -> pd.DataFrame:
    """Fields known at creation and own columns; empty ones from the account where it was known by then."""
    for name in fields:
        _check_history(crm, name)
    leads = crm["leads"]
    dated = snapshots["as_of"].notna().all()
    own = [c for c in leads if c.startswith("x_") and _own_usable(crm, c, dated=dated)]
    rows = snapshots[["lead_id", "as_of"]].merge(
        leads[["lead_id", "account_id", *fields, *own]], on="lead_id", how="left", validate="m:1"
    )
    for name in set(fields) & set(_ACCOUNT_FIELDS):
        rows[name] = rows[name].where(rows[name].notna(), _from_account(crm, rows, name))
    rows.index = snapshots.index
    filled = [c for c in (*fields, *own) if rows[c].notna().any()]
    return rows[filled]


def _from_account(crm: Crm, rows: pd.DataFrame, name: str) -> pd.Series:
    accounts = crm["accounts"][["account_id", "created_at", name]]
    found = rows[["account_id", "as_of"]].merge(accounts, on="account_id", how="left", validate="m:1")
    known = (found["created_at"] < found["as_of"]) | found["as_of"].isna()
    return found[name].where(known)


def _own_usable(crm: Crm, column: str, *, dated: bool) -> bool:
    """Own columns of unknown date serve only where there are no dates at all, and the report says so."""
    return crm.known_of(column) == "creation" or (crm.known_of(column) == "unknown" and not dated)


def _check_history(crm: Crm, name: str) -> None:
    own = name.startswith("x_")
    if own and crm.known_of(name) == "creation":
        return
    if not own and name not in table("leads").names:
        raise DataError(f"Table `leads` has no column `{name}`.", remedy=f"fields are: {', '.join(LEAD_FIELDS)}.")
    if own or TABLES["leads"][name].known != "created_at":
        raise DataError(
            f"Column `leads.{name}` cannot be a feature: what it held on an earlier date is not known.",
            found="a column that was filled or changed after creation",
            remedy="leave it out, or map its history to the table `changes`.",
        )


def _calendar(crm: Crm, snapshots: pd.DataFrame) -> pd.DataFrame:
    leads = crm["leads"][["lead_id", "created_at"]]
    created = snapshots[["lead_id"]].merge(leads, on="lead_id", how="left", validate="m:1")["created_at"]
    age = (snapshots["as_of"].to_numpy() - created.to_numpy()) / _DAY.to_timedelta64()
    month = snapshots["as_of"].dt.month
    return pd.DataFrame({"age_days": age, "month": month.astype("float64").to_numpy()}, index=snapshots.index)


def _owner(crm: Crm, snapshots: pd.DataFrame) -> pd.DataFrame:
    """Owner as of the date, from the change log; no column where the source keeps no such history."""
    changes = crm["changes"]
    owners = changes[(changes["entity"] == "lead") & (changes["field"] == "owner_id")]
    if owners.empty:
        return pd.DataFrame(index=snapshots.index)
    owners = owners.sort_values(["changed_at", "change_id"], kind="stable")
    timeline = _Timeline(snapshots, owners["entity_id"], owners["changed_at"])
    last = timeline.last(owners["new_value"].to_numpy(dtype=object))
    return pd.DataFrame({"owner_id": pd.Series(last, index=snapshots.index, dtype="str")})


def _interaction_features(interactions: pd.DataFrame, snapshots: pd.DataFrame, windows: Sequence[int]) -> pd.DataFrame:
    events = interactions[interactions["lead_id"].isin(snapshots["lead_id"].unique())]
    events = events.assign(enters=events[["ts", "known_at"]].max(axis=1))
    types = [t for t in _types(interactions) if (events["type"] == t).any()]
    columns: dict[str, np.ndarray] = {}
    for name, chosen in [("interactions", events), *((t, events[events["type"] == t]) for t in types)]:
        columns |= _counts(name, chosen, snapshots, windows)
        columns[f"{name}_recency_days"] = _recency(chosen, snapshots)
    return pd.DataFrame(columns, index=snapshots.index)


def _types(interactions: pd.DataFrame) -> list[str]:
    """Known types in their documented order, then a source's own ones."""
    own = sorted(set(interactions["type"].unique()) - set(INTERACTION_TYPES))
    return [*INTERACTION_TYPES, *own]


def _counts(name: str, events: pd.DataFrame, snapshots: pd.DataFrame, windows: Sequence[int]) -> dict[str, np.ndarray]:
    """Count = events that have entered − events that have left: each enters and leaves each window once."""
    entered = _Timeline(snapshots, events["lead_id"], events["enters"]).count()
    counts = {}
    for days in windows:
        leaves = np.maximum(events["enters"], events["ts"] + days * _DAY)
        left = _Timeline(snapshots, events["lead_id"], leaves).count()
        counts[f"{name}_n_{days}d"] = (entered - left).astype("float64")
    return counts


def _recency(events: pd.DataFrame, snapshots: pd.DataFrame) -> np.ndarray:
    ordered = events.sort_values(["lead_id", "enters", "ts"], kind="stable")
    newest = ordered.groupby("lead_id", sort=False)["ts"].cummax()
    last = _Timeline(snapshots, ordered["lead_id"], ordered["enters"]).last(newest.to_numpy("datetime64[us]"))
    return (snapshots["as_of"].to_numpy("datetime64[us]") - last) / np.timedelta64(1, "D")


class _Timeline:
    """Events of many leads, ready to be asked what each (lead, as_of) row can see: those with `time < as_of`.

    Times are first replaced by the number of distinct snapshot dates at or before them. That is exact at any
    resolution, and the composite key of lead and date stays far from overflow.
    """

    def __init__(self, snapshots: pd.DataFrame, lead_ids: pd.Series, times: pd.Series) -> None:
        dates, self._row_date = np.unique(snapshots["as_of"].to_numpy("datetime64[us]"), return_inverse=True)
        leads = pd.Index(snapshots["lead_id"].unique())
        width = len(dates) + 1
        self._row_key = leads.get_indexer(snapshots["lead_id"]).astype(np.int64) * width + self._row_date
        self._row_start = self._row_key - self._row_date
        codes = leads.get_indexer(lead_ids).astype(np.int64)
        # Dates at or before the event; the event is visible from the next date on.
        first_seen = np.searchsorted(dates, times.to_numpy("datetime64[us]"), side="right")
        here = codes >= 0
        keys = codes[here] * width + first_seen[here]
        self._order = np.flatnonzero(here)[np.argsort(keys, kind="stable")]
        self._keys = np.sort(keys, kind="stable")

    def _ends(self) -> np.ndarray:
        return np.searchsorted(self._keys, self._row_key, side="right")

    def count(self) -> np.ndarray:
        """Visible events of each row."""
        return self._ends() - np.searchsorted(self._keys, self._row_start, side="left")

    def last(self, values: np.ndarray) -> np.ndarray:
        """Value of each row's last visible event; events must come in order of time within a lead."""
        seen = self.count() > 0
        result = np.full(len(seen), None if values.dtype == object else np.datetime64("NaT"), dtype=values.dtype)
        result[seen] = values[self._order[self._ends()[seen] - 1]]
        return result
