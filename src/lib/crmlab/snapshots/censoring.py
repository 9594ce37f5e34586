"""What became of every entity of the source: nothing is dropped in silence."""

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import ENTITY_KEYS

from .accounts import account_faults, ever_customers
from .leads import lead_faults
from .opportunities import deal_faults
from .question import entity_of
from .reps import rep_faults, wins_of_nobody

__all__ = ["censoring_table"]

_TABLES = {"lead": "leads", "opportunity": "opportunities", "account": "accounts", "rep": "reps"}
_FAULTS = {"lead": lead_faults, "opportunity": deal_faults, "account": account_faults, "rep": rep_faults}
_NEVER = {
    "lead": "never open at a snapshot: closed before it, or created too late",
    "opportunity": "never open at a snapshot: closed before it, created too late, or without the quote it waits for",
    "account": "customer, but not at a snapshot: left before it, or came too late",
    "rep": "never employed at a snapshot: left before it, or hired too late",
}


def censoring_table(crm: Crm, snapshots: pd.DataFrame) -> pd.DataFrame:
    """Return how many entities and rows a study uses, and what became of the others.

    Parameters
    ----------
    snapshots : result of `build_snapshots`, of any entity.

    Returns
    -------
    Frame with columns what, leads (or opportunities, accounts, reps), rows. Below the first line, entities add up to
    those in the source and rows to those of `snapshots`; an entity with rows of both kinds counts as used, and one with
    several faults under the first.
    """
    entity = entity_of(snapshots)
    key, name = ENTITY_KEYS[entity], _TABLES[entity]
    source = crm[name][key]
    used, censored = snapshots[snapshots["mature"]], snapshots[~snapshots["mature"]]
    seen = set(snapshots[key])
    left = source[~source.isin(seen)]
    parts = [
        ("in the source", len(source), None),
        ("with a mature label: used", used[key].nunique(), len(used)),
        ("with a censored label: kept apart", len(seen - set(used[key])), len(censored)),
    ]
    faults = []
    for reason, ids in _reasons(crm, entity, left).items():
        here = left.isin(set(ids))
        faults.append((reason, int(here.sum()), 0))
        left = left[~here]
    parts += [(_NEVER[entity], len(left), 0), *faults, *_notes(crm, entity)]
    return pd.DataFrame(parts, columns=["what", name, "rows"]).astype({"rows": "Int64"})


def _reasons(crm: Crm, entity: str, left: pd.Series) -> dict[str, pd.Series]:
    faults = _FAULTS[entity](crm)
    if entity == "account":
        return {"never a customer": left[~left.isin(set(ever_customers(crm)))]} | faults
    return faults


def _notes(crm: Crm, entity: str) -> list[tuple[str, int, int]]:
    """What was left out below the level of the entities, as a line of its own that adds nothing to the sums."""
    if entity != "rep" or not (n := wins_of_nobody(crm)):
        return []
    return [(f"won deals that count for no rep, their date or owner at closing being unknown: {n:,}", 0, 0)]
