"""What every probe needs to know of an entity: its table, its key, and when each of them was closed."""

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import ENTITY_KEYS
from crmlab.snapshots import entity_of

__all__ = ["TABLE_OF", "closings", "key_of"]

TABLE_OF = {"lead": "leads", "opportunity": "opportunities", "account": "accounts", "rep": "reps"}
"""Entity → its canonical table."""


def key_of(rows: pd.DataFrame) -> str:
    """Return the name of the key column of rows."""
    return ENTITY_KEYS[entity_of(rows)]


def closings(crm: Crm, entity: str) -> pd.DataFrame:
    """Return the closed ones of an entity: id, closed_at (may be empty), success (converted, won, churned or left)."""
    found = _CLOSINGS[entity](crm)
    return found[found["success"].notna()].astype({"success": bool}).reset_index(drop=True)


def _leads(crm: Crm) -> pd.DataFrame:
    leads = crm["leads"]
    success = leads["status"].map({"converted": True, "disqualified": False})
    closed = leads[["converted_at", "disqualified_at"]].min(axis=1)
    return pd.DataFrame({"id": leads["lead_id"], "closed_at": closed, "success": success})


def _opportunities(crm: Crm) -> pd.DataFrame:
    deals = crm["opportunities"]
    success = deals["outcome"].map({"won": True, "lost": False})
    return pd.DataFrame({"id": deals["opportunity_id"], "closed_at": deals["closed_at"], "success": success})


def _accounts(crm: Crm) -> pd.DataFrame:
    contracts = crm["contracts"].sort_values(["account_id", "started_at"], kind="stable")
    last = contracts.drop_duplicates("account_id", keep="last")
    churned = last["end_reason"].eq("churned").map({True: True, False: None})
    return pd.DataFrame({"id": last["account_id"], "closed_at": last["ended_at"], "success": churned})


def _reps(crm: Crm) -> pd.DataFrame:
    left = crm["reps"]["left_at"]
    return pd.DataFrame({"id": crm["reps"]["rep_id"], "closed_at": left, "success": left.notna().map({True: True})})


_CLOSINGS = {"lead": _leads, "opportunity": _opportunities, "account": _accounts, "rep": _reps}
