"""Leaks planted on purpose: they show that the probes see what they claim to see, and which probe sees what."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import DataError, did_you_mean, table
from crmlab.snapshots import as_entity, entity_of

from .entities import TABLE_OF, closings, key_of
from .proofs import Build, permuted_changes, truncation_changes
from .suspicion import suspicion_table

__all__ = ["PLANTS", "Plant", "plant", "planted_leak_table"]

_UNTOUCHED = 0.4
_WINDOW_DAYS = 30
_COLUMNS = ["plant", "column", "meaning", "truncation", "permuted_future", "suspicion", "named_by", "explanation"]

PLANTS = {
    "status_after_close": "The status after closing, declared as known at creation.",
    "outcome_amount": "An amount that is zero for all that failed, as sales systems fill it at closing.",
    "filled_after_close": "A reason that is filled only when a case has ended badly.",
    "owner_if_worked": "An owner that is missing exactly for those nobody worked on.",
    "future_window": f"Interactions counted from {_WINDOW_DAYS} days before the row's date to as many after it.",
    "late_entry": "Interactions dated before the row, counted although they were entered after it.",
}
"""Kind of plant → what it is. The first four are wrong declarations of the source, the last two faults of an engine."""


@dataclass(frozen=True)
class Plant:
    """One planted leak.

    Attributes
    ----------
    kind : one of `PLANTS`.
    column : name of the planted column.
    crm : the CRM with the leak in it: an own column with a wrong declaration; unchanged for faults of an engine.
    build : computes the planted column for rows, as `build_features` would the others.
    """

    kind: str
    column: str
    crm: Crm
    build: Build


def plant(crm: Crm, kind: str, *, entity: str, seed: int) -> Plant:
    """Return a CRM with a leak of this kind, and how its column is computed.

    Parameters
    ----------
    kind : one of `PLANTS`.
    entity : lead, opportunity, customer (or account) or rep.
    seed : of the random parts of the plant.

    Raises
    ------
    DataError : an unknown kind, or a source in which nothing was closed.
    """
    if kind not in PLANTS:
        raise DataError(f"There is no planted leak `{kind}`.", remedy=did_you_mean(kind, list(PLANTS)))
    entity = as_entity(entity)
    name = TABLE_OF[entity]
    if kind in _ENGINE_FAULTS:
        return Plant(kind, f"planted_{kind}", crm, _ENGINE_FAULTS[kind])
    column = f"x_planted_{kind}"
    closed = closings(crm, entity)
    if closed.empty:
        raise DataError(f"Nothing in `{name}` was ever closed, so no leak of its outcome can be planted.")
    key = table(name).key[0]
    success = crm[name][key].map(closed.drop_duplicates("id").set_index("id")["success"]).astype("boolean")
    values = _SOURCE_FAULTS[kind](success, np.random.default_rng(seed))
    return Plant(kind, column, _with_column(crm, name, column, values), _own_column(name, column))


def planted_leak_table(
    crm: Crm, rows: pd.DataFrame, features: pd.DataFrame | None = None, *, n_dates: int, seed: int
) -> pd.DataFrame:
    """Plant every leak and tell which probe names it.

    Parameters
    ----------
    rows : labelled rows of the study, with or without dates. Customers get no owner's plant, reps only the faults of
        an engine.
    features : the study's own features, row for row: the plants are looked for among them, and none of them should be
        named. A last row of the table says which were.
    n_dates, seed : as in `permuted_future_table`.

    Returns
    -------
    Frame: plant, column, meaning, truncation and permuted_future (values changed), suspicion (verdict), named_by
    (probes, or "nobody") and explanation. There are no plants where the source knows neither closings nor
    interactions.
    """
    own = pd.DataFrame(index=rows.index) if features is None else features
    plants = _all_plants(crm, rows, seed=seed)
    if not plants:
        honest = [] if features is None else [_honest(suspicion_table(own, rows).set_index("column"))]
        return pd.DataFrame(honest, columns=_COLUMNS)
    planted = plants[-1].crm
    build = _joined(plants)
    values = build(planted, rows)
    suspicion = suspicion_table(own.join(values), rows).set_index("column")
    cut = _totals(truncation_changes(planted, rows, values, n_dates=n_dates, build=build), values)
    other = _totals(permuted_changes(planted, rows, values, n_dates=n_dates, seed=seed, build=build), values)
    found = [_named(p, cut[p.column], other[p.column], suspicion.loc[p.column]) for p in plants]
    if features is not None:
        found.append(_honest(suspicion.loc[list(own)]))
    return pd.DataFrame(found, columns=_COLUMNS)


def _all_plants(crm: Crm, rows: pd.DataFrame, *, seed: int) -> list[Plant]:
    """All plants in one CRM, which the last of them holds."""
    entity, plants = entity_of(rows), []
    for kind in _kinds(crm, rows):
        plants.append(plant(plants[-1].crm if plants else crm, kind, entity=entity, seed=seed))
    return plants


def _joined(plants: list[Plant]) -> Build:
    return lambda crm, rows: pd.concat([p.build(crm, rows) for p in plants], axis=1)


def _totals(changes: list[tuple[pd.Timestamp, int, pd.Series]], values: pd.DataFrame) -> pd.Series:
    """Changed values of each column over all dates."""
    return sum((c for _, _, c in changes), pd.Series(0, index=values.columns))


def _kinds(crm: Crm, rows: pd.DataFrame) -> list[str]:
    """Plants that can exist: an engine's fault needs dates and interactions, a wrong declaration an end to know of."""
    entity = entity_of(rows)
    dated = bool(rows["as_of"].notna().any()) and len(crm["interactions"]) > 0
    wrong = () if closings(crm, entity).empty else _WRONG[entity]
    return [kind for kind in PLANTS if (dated if kind in _ENGINE_FAULTS else kind in wrong)]


def _named(p: Plant, cut: int, other: int, suspicion: pd.Series) -> tuple[object, ...]:
    suspect = suspicion["verdict"] != "none"
    probes = (("truncation", cut > 0), ("permuted future", other > 0), ("suspicion", suspect))
    named = [name for name, hit in probes if hit]
    words = suspicion["explanation"] if suspect else "Its values change with the future." if named else "Nothing found."
    found = (int(cut), int(other), suspicion["verdict"])
    return (p.kind, p.column, PLANTS[p.kind], *found, ", ".join(named) or "nobody", words)


def _honest(suspicion: pd.DataFrame) -> tuple[object, ...]:
    worst = next((v for v in ("leak", "doubtful") if (suspicion["verdict"] == v).any()), "none")
    flagged = suspicion.index[suspicion["verdict"] != "none"]
    words = f"Flagged: {', '.join(flagged)}." if len(flagged) else "None of them is flagged."
    meaning = f"The study's own {len(suspicion):,} features, for comparison."
    return ("no plant", "", meaning, 0, 0, worst, "suspicion" if len(flagged) else "nobody", words)


def _with_column(crm: Crm, name: str, column: str, values: pd.Series) -> Crm:
    """The CRM with an own column that claims to be known at creation."""
    tables = crm._read | {name: crm[name].assign(**{column: values})}
    own = crm.own_columns | {column: {"known": "creation", "meaning": "A planted leak."}}
    return replace(crm, own_columns=own, _read=tables, _whole=None)


def _own_column(name: str, column: str) -> Build:
    def build(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
        key = key_of(rows)
        values = crm[name].drop_duplicates(key).set_index(key)[column].reindex(rows[key])
        return pd.DataFrame({column: values.set_axis(rows.index)})

    return build


def _status(success: pd.Series, generator: np.random.Generator) -> pd.Series:
    return success.map({True: "closed as success", False: "closed as failure"}).astype("str").fillna("open")


def _amount(success: pd.Series, generator: np.random.Generator) -> pd.Series:
    amount = pd.Series(np.round(generator.lognormal(8, 1, len(success)), 2), index=success.index)
    return amount.where(success.fillna(value=False), 0.0).where(success.notna())


def _reason(success: pd.Series, generator: np.random.Generator) -> pd.Series:
    """A reason where a case was given up; customers are never given up, they leave."""
    ended = ~success.fillna(value=True) if success.eq(False).any() else success.fillna(value=False)
    reasons = pd.Series(
        generator.choice(["price", "timing", "no need"], len(success)), index=success.index, dtype="str"
    )
    return reasons.where(ended.astype(bool))


def _owner(success: pd.Series, generator: np.random.Generator) -> pd.Series:
    owner = pd.Series(
        generator.choice([f"owner {k}" for k in range(8)], len(success)), index=success.index, dtype="str"
    )
    untouched = (generator.random(len(success)) < _UNTOUCHED) & ~success.fillna(value=False).to_numpy(dtype=bool)
    return owner.where(~untouched)


_SOURCE_FAULTS: dict[str, Callable[[pd.Series, np.random.Generator], pd.Series]] = {
    "status_after_close": _status,
    "outcome_amount": _amount,
    "filled_after_close": _reason,
    "owner_if_worked": _owner,
}

_WRONG = {
    "lead": tuple(_SOURCE_FAULTS),
    "opportunity": tuple(_SOURCE_FAULTS),
    "account": ("status_after_close", "outcome_amount", "filled_after_close"),
    "rep": (),  # whether a rep sells more does not end in a status
}


def _future_window(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
    """Count in [t − 30 days, t + 30 days), whatever was known."""
    return _counted("planted_future_window", crm, rows, after=pd.Timedelta(days=_WINDOW_DAYS))


def _late_entry(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
    """Count in [t − 30 days, t) by when events took place, not by when they were entered."""
    return _counted("planted_late_entry", crm, rows, after=pd.Timedelta(0))


def _counted(column: str, crm: Crm, rows: pd.DataFrame, *, after: pd.Timedelta) -> pd.DataFrame:
    key = key_of(rows)
    events = crm["interactions"][[key, "ts"]].dropna()
    ids = pd.Index(rows[key].unique())
    owner = ids.get_indexer(events[key])
    times = events["ts"].to_numpy("datetime64[us]").astype("int64")[owner >= 0]
    order = np.lexsort((times, owner[owner >= 0]))
    owner, times = owner[owner >= 0][order], times[order]
    bounds = [rows["as_of"] - pd.Timedelta(days=_WINDOW_DAYS), rows["as_of"] + after]
    place = ids.get_indexer(rows[key])
    low, high = (_position(owner, times, place, b) for b in bounds)
    return pd.DataFrame({column: (high - low).astype("float64")}, index=rows.index)


def _position(owner: np.ndarray, times: np.ndarray, place: np.ndarray, bound: pd.Series) -> np.ndarray:
    """Number of events of earlier owners, or of the same one before the bound."""
    moments, code = np.unique(np.r_[times, bound.to_numpy("datetime64[us]").astype("int64")], return_inverse=True)
    width = len(moments) + 1
    return np.searchsorted(owner * width + code[: len(times)], place * width + code[len(times) :], side="left")


_ENGINE_FAULTS: dict[str, Build] = {"future_window": _future_window, "late_entry": _late_entry}
