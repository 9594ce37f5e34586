"""Does a column hold what was entered only after the row's date? By known times and the change log, value by value."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.intervals import share_interval
from crmlab.schema import TODAY, table
from crmlab.snapshots import entity_of

from .entities import TABLE_OF, closings, key_of
from .evidence import DOUBTFUL, LEAK, Evidence

__all__ = ["changed_after_close", "is_personal", "later_values"]

_SHARE = (0.0, 0.001, 0.01, 1.0)


def later_values(values: pd.Series, rows: pd.DataFrame, crm: Crm) -> Evidence | None:
    """Suspect a column named like one of the entity's table if rows hold values that were entered later.

    Columns known later than their row are compared with that time, columns with a change log with the value in force at
    the row's date. A value of today without any log is doubtful: nobody can tell.
    """
    entity = entity_of(rows)
    spec = table(TABLE_OF[entity]) if entity in TABLE_OF else None
    if spec is None or values.name not in spec.names or rows["as_of"].isna().all():
        return None
    column = spec[values.name]
    if column.known not in (TODAY, spec.known_at):
        times = crm[spec.name].set_index(spec.key[0])[column.known].reindex(rows[key_of(rows)])
        return _as_evidence(values.notna().to_numpy() & ~(times.to_numpy() < rows["as_of"].to_numpy()))
    log = _log(crm, entity, values.name)
    if column.known == TODAY and log.empty:
        text = (
            "It holds today's value, and the source keeps no history of it: what it held at the row's date is unknown."
        )
        return Evidence("no history", DOUBTFUL, text) if values.notna().any() else None
    return _as_evidence(_holds_later(values, rows, log)) if len(log) else None


def changed_after_close(name: str, rows: pd.DataFrame, crm: Crm) -> Evidence | None:
    """Suspect an undated column of the entity's table whose log shows changes at or after closing."""
    entity = entity_of(rows)
    if entity not in TABLE_OF or rows["as_of"].notna().any():
        return None
    closed = closings(crm, entity)
    log = _log(crm, entity, name).merge(closed, left_on="entity_id", right_on="id", validate="m:1")
    late = log.loc[log["changed_at"] >= log["closed_at"], "entity_id"].nunique()
    low = share_interval(late, len(closed))[0] if len(closed) else 0.0
    score = float(np.interp(low, _SHARE, (0.0, DOUBTFUL, LEAK, 1.0)))
    text = (
        f"It was changed at or after closing in {late:,} of {len(closed):,} closed cases: today's value knows the end."
    )
    return Evidence("changed after close", score, text) if score >= DOUBTFUL else None


def is_personal(name: str, rows: pd.DataFrame) -> bool:
    """Whether a column is named like a personal one of the entity's table."""
    entity = entity_of(rows)
    spec = table(TABLE_OF[entity]) if entity in TABLE_OF else None
    return spec is not None and name in spec.names and spec[name].personal


def _log(crm: Crm, entity: str, field: str) -> pd.DataFrame:
    changes = crm["changes"]
    log = changes[(changes["entity"] == entity) & (changes["field"] == field)]
    return log.sort_values(["changed_at", "change_id"], kind="stable")


def _holds_later(values: pd.Series, rows: pd.DataFrame, log: pd.DataFrame) -> np.ndarray:
    """Where a row holds the newest value of the log although another one was in force at its date."""
    asked = pd.DataFrame({"entity_id": rows[key_of(rows)].to_numpy(), "as_of": rows["as_of"].to_numpy()})
    asked = asked.assign(place=np.arange(len(asked))).dropna(subset="as_of").sort_values("as_of", kind="stable")
    right = log[["entity_id", "changed_at", "old_value", "new_value"]]
    keys = {"left_on": "as_of", "right_on": "changed_at", "by": "entity_id", "allow_exact_matches": False}
    before = pd.merge_asof(asked, right, direction="backward", **keys)
    after = pd.merge_asof(asked, right, direction="forward", **keys | {"allow_exact_matches": True})
    newest = asked["entity_id"].map(log.drop_duplicates("entity_id", keep="last").set_index("entity_id")["new_value"])
    then = before["new_value"].where(before["changed_at"].notna(), after["old_value"])
    held = values.iloc[asked["place"].to_numpy()]
    later = after["changed_at"].notna().to_numpy()
    found = np.zeros(len(rows), dtype=bool)
    found[asked["place"]] = later & _equal(held, newest) & ~_equal(held, then)
    return found


def _equal(held: pd.Series, told: pd.Series) -> np.ndarray:
    """Compare a column with texts of the log: as numbers where it holds numbers; two gaps are equal."""
    if pd.api.types.is_numeric_dtype(held.dtype) and not pd.api.types.is_bool_dtype(held.dtype):
        a = held.astype("float64").to_numpy(na_value=np.nan)
        b = pd.to_numeric(told, errors="coerce").to_numpy("float64")
        return (a == b) | (np.isnan(a) & np.isnan(b))
    a, b = held.astype("str").to_numpy(dtype=object), told.astype("str").to_numpy(dtype=object)
    return np.asarray(a == b, dtype=bool) | (pd.isna(a) & pd.isna(b))


def _as_evidence(later: np.ndarray) -> Evidence | None:
    low = share_interval(int(later.sum()), len(later))[0] if len(later) else 0.0
    score = float(np.interp(low, _SHARE, (0.0, DOUBTFUL, LEAK, 1.0)))
    text = f"In {later.sum():,} of {len(later):,} rows it holds a value that was entered only after the row's date."
    return Evidence("entered later", score, text) if score >= DOUBTFUL else None
