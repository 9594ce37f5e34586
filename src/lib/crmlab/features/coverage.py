"""Where every event of the source went: used, or left aside for a reason that is counted."""

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import DataError
from crmlab.snapshots import as_entity

from .build import Study, declared
from .declare import WINDOWS, Feature
from .fields import own_table
from .views import VIEWS

__all__ = ["event_accounts"]


def event_accounts(crm: Crm, entity: str, *, as_of: str | pd.Timestamp | None = None) -> pd.DataFrame:
    """Return what became of the events that an entity's features are made of.

    Parameters
    ----------
    as_of : the end of the study; events that take place or become known then or later are counted apart.

    Returns
    -------
    One row per kind of event: events, table, total, used, without_entity (they name none), unknown_entity (they name
    one that the CRM does not hold, as after a merger), without_time (not over yet, or nobody knows when), after_as_of,
    and negative_values (durations below zero, which count as missing; the events are used). The first reason that fits
    is the one counted.
    """
    entity = as_entity(entity)
    study = Study(crm, windows=WINDOWS)
    names = dict.fromkeys(f.view for f in declared(entity) if isinstance(f, Feature))
    rows = [_account(study, name, entity, None if as_of is None else pd.Timestamp(as_of)) for name in names]
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    *("events", "table", "total", "used", "without_entity", "unknown_entity"),
    *("without_time", "after_as_of", "negative_values"),
]


def _account(study: Study, name: str, entity: str, as_of: pd.Timestamp | None) -> tuple:
    view = VIEWS[name]
    events = study.events(name, entity)
    ids = events[view.links[entity]]
    reasons = {"without_entity": ids.isna(), "unknown_entity": ~ids.isin(_known(study.crm, entity))}
    known = events["known_at"] if "known_at" in events else events["ts"]
    reasons["without_time"] = events["ts"].isna() | known.isna()
    last = pd.concat([events["ts"], known], axis=1).max(axis=1)
    reasons["after_as_of"] = (last >= as_of) if as_of is not None else pd.Series(False, index=events.index)
    counts, left = {}, pd.Series(True, index=events.index)
    for reason, here in reasons.items():
        counts[reason] = int((here & left).sum())
        left &= ~here
    return (view.meaning, view.tables[0], len(events), int(left.sum()), *counts.values(), _negative(study.crm, name))


def _known(crm: Crm, entity: str) -> pd.Series:
    home, key, _ = own_table(entity)
    if home is None:
        raise DataError("A team has no table of its own.", remedy="ask for reps.")
    return crm[home][key]


def _negative(crm: Crm, name: str) -> int:
    return int((crm["interactions"]["duration"] < 0).sum()) if name == "interactions" else 0
