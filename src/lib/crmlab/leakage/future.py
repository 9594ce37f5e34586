"""Another future: a CRM that holds all that was known before a date, and misleading facts instead of the rest."""

from dataclasses import replace

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.schema import CHANGE_ENTITIES, TABLES, TODAY, Table, table

__all__ = ["misleading_future"]

_LEAST_NEW_ROWS = 50
_MOST_NEW_ROWS = 10_000
_DAY = 86_400_000_000
_SPREAD_DAYS = 60
_EXACTLY_AT = 0.25
"""Share of the misleading facts that become known at the very instant of the date: the sharpest test of `<`."""
_BACKDATED = 0.5
"""Share of the events known too late that claim to have taken place before the date."""
_ENTITY_TABLES = dict(zip(CHANGE_ENTITIES, ("leads", "opportunities", "accounts", "reps"), strict=True))


def misleading_future(crm: Crm, *, as_of: str | pd.Timestamp, seed: int) -> Crm:
    """Return this CRM with everything that was not known strictly before `as_of` replaced by misleading facts.

    Rows not yet known get other times (some exactly at `as_of`, some of events that claim to be older but are entered
    later), other entities and other values, and more such rows are added. In rows known before, values known later
    (an outcome, a payment) are inverted or exchanged, and so are columns that hold only today's value. What was known
    before `as_of` stays as it was, row for row: `misleading_future(crm, as_of=t, …).at(name, as_of=t)` equals
    `crm.at(name, as_of=t)`.

    Parameters
    ----------
    as_of : the date; facts known at that very instant count as future.
    seed : the same seed gives the same future.
    """
    instant = as_instant(as_of)
    ids = {name: _identifiers(crm[name], spec) for name, spec in TABLES.items() if len(spec.key) == 1}
    tables = {}
    for place, name in enumerate(TABLES):
        generator = np.random.default_rng([seed, place, instant.toordinal()])
        tables[name] = _Misleader(crm, name, instant, ids, generator).table() if len(crm[name]) else crm[name]
    return replace(crm, _read=tables, _whole=crm.whole)


def _identifiers(frame: pd.DataFrame, spec: Table) -> pd.Series:
    return frame[spec.key[0]].dropna().drop_duplicates()


class _Misleader:
    """One table on its way into another future."""

    def __init__(
        self, crm: Crm, name: str, instant: pd.Timestamp, ids: dict[str, pd.Series], generator: np.random.Generator
    ) -> None:
        self.spec, self.crm, self.ids, self.generator = table(name), crm, ids, generator
        self.instant = np.datetime64(instant, "us")
        self.frame = crm[name]
        self.past = (self.frame[self.spec.known_at] < instant).to_numpy()

    def table(self) -> pd.DataFrame:
        """Past rows in their order, with new rows scattered among them."""
        past, new = self._past_rows(), self._new_rows()
        new = new[self._keeps_key(past, new)]
        place = np.r_[np.arange(len(past)), self.generator.uniform(0, len(past) + 1, len(new))]
        joined = pd.concat([past, new], ignore_index=True)
        return joined.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)

    def _past_rows(self) -> pd.DataFrame:
        past = self.frame[self.past]
        changed = {name: self._another(past[name]) for name in self._of_today()}
        for name, hidden in self._hidden(past).items():
            other = self._later_times(past[name]) if self._is_own_time(name) else self._another(past[name])
            changed[name] = past[name].where(~hidden, other)
        return past.assign(**changed)

    def _of_today(self) -> list[str]:
        """Columns whose value of the date nobody knows: today's values, and own columns not known from creation on."""
        own = [c for c in self.frame if c not in self.spec.names and self.crm.known_of(c) != "creation"]
        return [c.name for c in self.spec.columns if c.known == TODAY] + own

    def _hidden(self, past: pd.DataFrame) -> dict[str, pd.Series]:
        """Columns known later than their row → where their value was not known yet."""
        later = [c for c in self.spec.columns if c.known not in (TODAY, self.spec.known_at)]
        return {c.name: ~(past[c.known] < self.instant) for c in later}

    def _is_own_time(self, name: str) -> bool:
        """Whether a column is the time at which it becomes known itself, such as `closed_at`."""
        return name in self.spec.names and self.spec[name].known == name

    def _new_rows(self) -> pd.DataFrame:
        """The future rows and some invented ones: values of random rows under other ids, at other times."""
        future = self.frame[~self.past]
        n_new = int(np.clip(len(self.frame) // 10, _LEAST_NEW_ROWS, _MOST_NEW_ROWS))
        n = len(future) + n_new
        rows = self.frame.take(self.generator.integers(0, len(self.frame), n)).reset_index(drop=True)
        known = self._after(n)
        changed = {self.spec.known_at: known}
        for column in self.spec.columns:
            if column.kind == "time" and column.name != self.spec.known_at:
                changed[column.name] = self._new_times(rows[column.name], column.known, known, planned=column.planned)
        for name, other in self.spec.references.items():
            changed[name] = self._drawn(self.ids[other], rows[name])
        if self.spec.name == "changes":
            changed["entity_id"] = self._changed_entities(rows)
        if len(self.spec.key) == 1:
            changed[self.spec.key[0]] = self._new_ids(future, n_new)
        return rows.assign(**changed)

    def _new_times(self, old: pd.Series, known: str, row_known: np.ndarray, *, planned: bool) -> np.ndarray:
        n = len(old)
        if planned:
            return self.instant + self._offset(n, -_SPREAD_DAYS, 2 * _SPREAD_DAYS)
        if known != self.spec.known_at:
            return row_known + self._offset(n, 0, _SPREAD_DAYS)
        backdated = self.generator.random(n) < _BACKDATED
        times = np.where(backdated, self.instant - self._offset(n, 0, _SPREAD_DAYS), row_known)
        filled = old.dropna()
        whole_days = len(filled) > 0 and bool((filled == filled.dt.normalize()).all())
        return times.astype("datetime64[D]").astype("datetime64[us]") if whole_days else times

    def _later_times(self, old: pd.Series) -> pd.Series:
        """Times at or after the date, where there was none; none or another, where there was one."""
        times = pd.Series(self._after(len(old)), index=old.index)
        return times.where(old.isna() | (self.generator.random(len(old)) < _BACKDATED))

    def _after(self, n: int) -> np.ndarray:
        at_once = self.generator.random(n) < _EXACTLY_AT
        return np.where(at_once, self.instant, self.instant + self._offset(n, 0, _SPREAD_DAYS))

    def _offset(self, n: int, low: float, high: float) -> np.ndarray:
        return self.generator.integers(int(low * _DAY), int(high * _DAY), n).astype("timedelta64[us]")

    def _drawn(self, pool: pd.Series, like: pd.Series) -> pd.Series:
        """Random values of a pool, in the type of a column; the column itself where the pool is empty."""
        if pool.empty:
            return like
        values = pool.take(self.generator.integers(0, len(pool), len(like)))
        return values.astype(like.dtype).set_axis(like.index)

    def _changed_entities(self, rows: pd.DataFrame) -> pd.Series:
        drawn = rows["entity_id"]
        for entity, name in _ENTITY_TABLES.items():
            drawn = drawn.where(rows["entity"] != entity, self._drawn(self.ids[name], drawn))
        return drawn

    def _new_ids(self, future: pd.DataFrame, n_new: int) -> pd.Series:
        """The ids of the future rows in another order, then ids that nobody has."""
        own = future[self.spec.key[0]]
        own = own.take(self.generator.permutation(len(own)))
        invented = pd.Series([f"future {self.spec.name} {k}" for k in range(n_new)], dtype=own.dtype)
        return pd.concat([own, invented], ignore_index=True)

    def _keeps_key(self, past: pd.DataFrame, new: pd.DataFrame) -> np.ndarray:
        """Rows that repeat no key; single keys are new by the way they were made."""
        key = list(self.spec.key)
        if len(key) == 1:
            return np.ones(len(new), dtype=bool)
        return ~pd.concat([past[key], new[key]]).duplicated().to_numpy()[len(past) :]

    def _another(self, old: pd.Series) -> pd.Series:
        """For each value another one that the column holds somewhere: won for lost, a random level for a gap."""
        if pd.api.types.is_datetime64_any_dtype(old.dtype):
            return pd.Series(self.instant + self._offset(len(old), -_SPREAD_DAYS, _SPREAD_DAYS), index=old.index)
        levels = self._levels(old.name)
        if levels.empty:
            return old
        step = self.generator.integers(1, max(len(levels), 2), len(old))
        codes = (pd.Index(levels).get_indexer(old) + step) % len(levels)
        return levels.take(codes).set_axis(old.index)

    def _levels(self, name: str) -> pd.Series:
        values = self.frame[name]
        levels = values.dropna().drop_duplicates()
        if name in self.spec.names and self.spec[name].values:
            levels = pd.Series(self.spec[name].values, dtype=values.dtype)
        elif name in self.spec.references:
            levels = self.ids[self.spec.references[name]].astype(values.dtype)
        elif pd.api.types.is_bool_dtype(values.dtype):
            levels = pd.Series([False, True], dtype=values.dtype)
        elif pd.api.types.is_numeric_dtype(values.dtype) and len(levels):
            levels = pd.concat([levels, pd.Series([levels.max() * 2 + 1], dtype=values.dtype)])
        return levels
