"""Which columns of an entity can be told at an earlier date, and which are refused for want of a history."""

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import TODAY, table
from crmlab.snapshots import as_entity

from .entities import TABLE_OF

__all__ = ["history_table"]

_COLUMNS = ["column", "filled", "history", "changes", "usable", "meaning"]


def history_table(crm: Crm, entity: str) -> pd.DataFrame:
    """Return what is known of each column's past: whether its value at an earlier date can be told.

    Parameters
    ----------
    entity : lead, opportunity, customer (or account) or rep.

    Returns
    -------
    Frame, one row per column of the entity's table that holds any value: column, filled (share of rows), history
    (since creation, a time of its own, change log, none, not declared), changes (entries in the log), usable (whether
    a feature may be made of it) and meaning (what follows). Identifiers, texts and times are not features themselves;
    `usable` says only that their value of the date is known.

    Raises
    ------
    ParameterError : there is no such entity.
    """
    entity = as_entity(entity)
    name = TABLE_OF[entity]
    frame = crm[name]
    changes = crm["changes"]
    logged = changes.loc[changes["entity"] == entity, "field"].value_counts()
    filled = [c for c in frame if frame[c].notna().any()]
    rows = [(c, float(frame[c].notna().mean()), *_history(crm, name, c, int(logged.get(c, 0)))) for c in filled]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _history(crm: Crm, name: str, column: str, n_changes: int) -> tuple[str, int, bool, str]:
    spec = table(name)
    known = spec[column].known if column in spec.names else crm.known_of(column)
    if n_changes:
        return "change log", n_changes, True, "Its value at any date is taken from the log of changes."
    if known in (spec.known_at, "creation"):
        return "since creation", 0, True, "Known from the creation of the row on."
    if known == TODAY:
        return "none", 0, False, "Refused: it holds only today's value, and no change of it was logged."
    if known == "unknown":
        return "not declared", 0, False, "Refused where rows have dates: nobody declared when it is known."
    return "a time of its own", 0, True, f"Known from `{known}` on; empty at earlier dates."
