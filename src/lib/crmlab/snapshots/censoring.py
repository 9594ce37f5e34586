"""What became of every entity of the source: nothing is dropped in silence."""

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import ENTITY_KEYS

from .accounts import account_faults, ever_customers
from .deals import undated_deals
from .leads import lead_faults
from .opportunities import deal_faults, first_quotes
from .question import entity_of
from .reps import rep_faults, wins_of_nobody
from .timeline import looked_up

__all__ = ["censoring_table"]

_TABLES = {"lead": "leads", "opportunity": "opportunities", "account": "accounts", "rep": "reps"}
_FAULTS = {"lead": lead_faults, "opportunity": deal_faults, "account": account_faults, "rep": rep_faults}
_NEVER = {
    "lead": "never open at a snapshot: closed before it, or created too late",
    "opportunity": "never open at a snapshot: closed before it, or created or quoted too late",
    "account": "customer, but not at a snapshot: left before it, or came too late",
    "rep": "never employed at a snapshot: left before it, or hired too late",
}

_EVER = pd.Timestamp("2262-01-01")
"""Later than any date: today's quotes, all of them."""


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
    for reason, ids in _reasons(crm, entity, left, snapshots).items():
        here = left.isin(set(ids))
        faults.append((reason, int(here.sum()), 0))
        left = left[~here]
    parts += [(_NEVER[entity], len(left), 0), *faults, *_notes(crm, entity)]
    return pd.DataFrame(parts, columns=["what", name, "rows"]).astype({"rows": "Int64"})


def _reasons(crm: Crm, entity: str, left: pd.Series, snapshots: pd.DataFrame) -> dict[str, pd.Series]:
    faults = _FAULTS[entity](crm)
    if entity == "opportunity" and (quoted := _quoted(crm, snapshots)) is not None:
        return faults | _unquoted(crm, left[~left.isin(quoted)])
    if entity == "account":
        return {"never a customer": left[~left.isin(set(ever_customers(crm)))]} | faults
    return faults


def _unquoted(crm: Crm, left: pd.Series) -> dict[str, pd.Series]:
    today = undated_deals(crm)
    closed = left.isin(set(today.loc[today["closed"], "opportunity_id"]))
    return {"left out: closed without a quote": left[closed], "left out: no quote was sent yet": left[~closed]}


def _quoted(crm: Crm, snapshots: pd.DataFrame) -> set[str] | None:
    """The deals that were ever quoted; None unless every row stands at the first quote of its deal."""
    looks = first_quotes(crm.whole, as_of=_EVER).set_index("opportunity_id")["as_of"]
    at_quote = snapshots["as_of"].to_numpy() == looked_up(looks, snapshots["opportunity_id"]).to_numpy()
    return set(looks.index) if len(snapshots) and at_quote.all() else None


def _notes(crm: Crm, entity: str) -> list[tuple[str, int, int]]:
    """What was left out below the level of the entities, as a line of its own that adds nothing to the sums."""
    if entity != "rep" or not (n := wins_of_nobody(crm)):
        return []
    return [(f"won deals that count for no rep, their date or owner at closing being unknown: {n:,}", 0, 0)]
