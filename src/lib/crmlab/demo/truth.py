"""The truth of the demo CRM: exact probabilities, skills, effects and the list of planted dirt.

Everything is computed from the `truth_…` tables alone, so the truth can be read back from a store:

- `truth_settings`: calendars and ladders, one number a row; `truth_effects`: what interactions really do;
- `truth_leads`, `truth_opportunities`, `truth_customers`: each entity's factors and its true times;
- `truth_<entity>_levels`: changes of the hidden level; `truth_<entity>_owners`: plan of owners;
- `truth_reps`: hidden skill; `truth_dirt`, `truth_dirty_rows`: planted dirt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from crmlab.schema import DataError, ParameterError

from .calendar import CALENDARS, Calendars, as_day, as_time, build_calendars
from .firm import FAR, Owners, Staff
from .frames import pick
from .process import FOREVER_DAYS, Cells, Ladder, Paths, exit_probability
from .settings import LADDERS

__all__ = ["ENTITIES", "Truth", "entity_tables", "settings_tables", "staff_table"]

ENTITIES = {
    # entity: (name in the tables, column of the identifier)
    "lead": ("leads", "lead_id"),
    "opportunity": ("opportunities", "opportunity_id"),
    "customer": ("customers", "account_id"),
}
_LONGEST_DAYS = 5_000  # the calendars end in 2100
_LEVEL_FIELDS = ("up", "down", "first", "second", "term_end")


@dataclass(frozen=True)
class _Entity:
    """The truth of one kind of entity, ready for look-ups by row number."""

    ids: pd.Index
    cells: Cells
    opened: np.ndarray
    closed: np.ndarray
    level_key: np.ndarray
    level: np.ndarray

    def level_at(self, row: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Return the level in force at the start of the day; the first one for earlier days."""
        found = np.searchsorted(self.level_key, row * FAR + day, side="right") - 1
        begin = np.searchsorted(self.level_key, row * FAR)
        return self.level[np.maximum(found, begin)]


class Truth:
    """What the simulator knows and no CRM does.

    Parameters
    ----------
    tables : the `truth_…` tables by name.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self._tables = tables
        self._entities: dict[str, _Entity] = {}

    @classmethod
    def read(cls, store_or_tables: object) -> "Truth":
        """Return the truth held by a store (anything with `read(name)`) or by a mapping of tables."""
        if isinstance(store_or_tables, Mapping):
            return cls(store_or_tables)
        return cls(_Reader(store_or_tables))

    def p_convert(self, lead_ids: object, as_of: object, *, horizon_days: int) -> np.ndarray:
        """Return the true probability that each lead converts on one of the `horizon_days` days from `as_of` on.

        Parameters
        ----------
        lead_ids : (n,) identifiers, repeats allowed.
        as_of : one time (naive UTC) for all rows, or one per row. Inside a day it counts as that day's start.

        Returns
        -------
        (n,) probabilities given the hidden level, all traits and the plan of owners; NaN where the lead was not open
        at `as_of` (not yet created, already closed) or `as_of` is after the extraction.
        """
        return self._probability("lead", lead_ids, as_of, horizon_days)

    def p_win(self, opportunity_ids: object, as_of: object, *, horizon_days: int | None = None) -> np.ndarray:
        """Return the true probability that each deal is won within `horizon_days`, or ever; see `p_convert`."""
        return self._probability("opportunity", opportunity_ids, as_of, horizon_days)

    def p_churn(self, account_ids: object, as_of: object, *, horizon_days: int) -> np.ndarray:
        """Return the true probability that each customer leaves within `horizon_days`; see `p_convert`."""
        return self._probability("customer", account_ids, as_of, horizon_days)

    @property
    def rep_skill(self) -> pd.DataFrame:
        """One row per rep: `skill` multiplies the daily chance of a conversion and of a win; 1 is typical."""
        return self._tables["truth_reps"].copy()

    @property
    def interaction_effects(self) -> pd.DataFrame:
        """One row per entity and type: what one interaction adds to the daily chance of a level more (less)."""
        return self._tables["truth_effects"].copy()

    @property
    def dirt(self) -> pd.DataFrame:
        """One row per kind of planted dirt and table: rows made dirty, rows eligible, and the intended rate."""
        return self._tables["truth_dirt"].copy()

    @property
    def dirty_rows(self) -> pd.DataFrame:
        """One row per planted fault: its kind, the table and the identifier of the row."""
        return self._tables["truth_dirty_rows"].copy()

    def table(self, name: str) -> pd.DataFrame:
        """Return one of the `truth_…` tables, such as `truth_leads` with the true times of every lead."""
        return self._tables[name].copy()

    def level(self, entity: str, ids: object, as_of: object) -> np.ndarray:
        """Return the hidden level (0 cold to 4 hot) at the start of each `as_of`'s day; NaN where not open."""
        known, row, day, open_ = self._rows(entity, ids, as_of)
        return np.where(open_, known.level_at(row, day), np.nan)

    def _probability(self, entity: str, ids: object, as_of: object, horizon_days: int | None) -> np.ndarray:
        horizon = _horizon(horizon_days)
        known, row, day, open_ = self._rows(entity, ids, as_of)
        result = np.full(len(row), np.nan)
        row, day = row[open_], day[open_]
        result[open_] = exit_probability(
            self._ladder(entity),
            self._calendars,
            known.cells.take(row),
            level=known.level_at(row, day),
            day=day,
            horizon_days=horizon,
        )
        return result

    def _rows(self, entity: str, ids: object, as_of: object) -> tuple[_Entity, np.ndarray, np.ndarray, np.ndarray]:
        known = self._entity(entity)
        ids = pd.Index(np.atleast_1d(np.asarray(ids, dtype=object)))
        times = _times(as_of)
        if len(times) not in (1, len(ids)):
            raise ParameterError(
                "`as_of` must be one time, or one per row.", found=f"{len(times)} times for {len(ids)} rows"
            )
        times = np.broadcast_to(times, len(ids))
        row = known.ids.get_indexer(ids)
        if (row < 0).any():
            raise DataError(
                f"The truth of this demo CRM does not know every {ENTITIES[entity][1]}.",
                found=f"{(row < 0).sum():,} of {len(row):,} identifiers are unknown, the first in row {row.argmin():,}",
                remedy="use identifiers of the same demo CRM (same size, seed and period).",
            )
        still = np.isnat(known.closed[row]) | (known.closed[row] >= times)
        open_ = (known.opened[row] < times) & still & (times <= self._end)
        return known, row, as_day(times), open_

    def _entity(self, entity: str) -> _Entity:
        if entity not in self._entities:
            self._entities[entity] = _load_entity(entity, self._tables, self._tables["truth_reps"])
        return self._entities[entity]

    @cached_property
    def _settings(self) -> dict[tuple[str, str], np.ndarray]:
        frame = self._tables["truth_settings"].sort_values(["part", "name", "position"], kind="stable")
        return {key: group.to_numpy() for key, group in frame.groupby(["part", "name"])["value"]}

    @cached_property
    def _calendars(self) -> Calendars:
        names = [name.removesuffix(":weekday") for part, name in self._settings if part == "calendar" and ":w" in name]
        read = self._settings
        return build_calendars({n: (read["calendar", f"{n}:weekday"], read["calendar", f"{n}:half"]) for n in names})

    @cached_property
    def _end(self) -> np.datetime64:
        return as_time(self._settings["run", "end_day"])[0]

    def _ladder(self, entity: str) -> Ladder:
        effects = self._tables["truth_effects"]
        effects = effects[effects["entity"] == entity]
        read, template = self._settings, LADDERS[entity]
        return Ladder(
            entity,
            tuple(effects["type"]),
            chance=np.stack([read[entity, f"chance:{kind}"] for kind in effects["type"]]),
            effect_up=effects["effect"].to_numpy(),
            effect_down=effects["effect_down"].to_numpy(),
            by_rep=effects["by_rep"].to_numpy(dtype=bool),
            first_calendar=template.first_calendar,
            second_calendar=template.second_calendar,
            **{name: read.get((entity, name)) for name in _LEVEL_FIELDS},
        )


@dataclass(frozen=True)
class _Reader:
    """Read each table of a store once."""

    store: object

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cache", {})

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._cache:
            self._cache[name] = self.store.read(name)
        return self._cache[name]


def _horizon(horizon_days: int | None) -> int:
    if horizon_days is None:
        return FOREVER_DAYS
    whole = isinstance(horizon_days, int | np.integer) and not isinstance(horizon_days, bool)
    if not whole or not 1 <= horizon_days <= _LONGEST_DAYS:
        raise ParameterError(
            f"`horizon_days` must be a whole number from 1 to {_LONGEST_DAYS}.", found=repr(horizon_days)
        )
    return int(horizon_days)


def _times(as_of: object) -> np.ndarray:
    try:
        return np.atleast_1d(np.asarray(as_of, dtype="datetime64[us]"))
    except (TypeError, ValueError) as error:
        raise ParameterError("`as_of` must be a time (naive UTC), or one per row.", found=str(error)) from error


def _load_entity(entity: str, tables: Mapping[str, pd.DataFrame], reps: pd.DataFrame) -> _Entity:
    name, id_column = ENTITIES[entity]
    frame = tables[f"truth_{name}"]
    ids = pd.Index(frame[id_column].to_numpy(dtype=object))
    levels, owners = tables[f"truth_{name}_levels"], tables[f"truth_{name}_owners"]
    key = ids.get_indexer(levels[id_column].to_numpy(dtype=object)) * FAR + as_day(levels["day"])
    order = np.argsort(key, kind="stable")
    rep, day = _spells(ids, owners, id_column, reps)
    skill = np.r_[reps["skill"].to_numpy(float), 1.0]
    activity = np.r_[reps["activity"].to_numpy(float), 1.0]
    cells = Cells(
        first=frame["first_factor"].to_numpy(float),
        second=frame["second_factor"].to_numpy(float),
        activity=frame["activity_factor"].to_numpy(float),
        rep_first=skill[rep],
        rep_activity=activity[rep],
        switch_day=day,
        start_day=as_day(frame["first_day"]),
    )
    opened, closed = (frame[c].to_numpy(dtype="datetime64[us]") for c in ("opened_at", "closed_at"))
    return _Entity(ids, cells, opened, closed, key[order], levels["level"].to_numpy(dtype=np.int64)[order])


def _spells(ids: pd.Index, owners: pd.DataFrame, id_column: str, reps: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the rep (row of `reps`) and first day of each spell of ownership, (n, S), unused spells on day `FAR`."""
    row = ids.get_indexer(owners[id_column].to_numpy(dtype=object))
    spell = owners["spell"].to_numpy(dtype=np.int64)
    rep = np.full((len(ids), max(spell.max(initial=0) + 1, 1)), -1)
    day = np.full(rep.shape, FAR)
    rep[row, spell] = pd.Index(reps["rep_id"].to_numpy(dtype=object)).get_indexer(
        owners["rep_id"].to_numpy(dtype=object)
    )
    day[row, spell] = as_day(owners["day"])
    return rep, day


def entity_tables(
    entity: str,
    ids: pd.array,
    *,
    cells: Cells,
    paths: Paths,
    opened_at: np.ndarray,
    closed_at: np.ndarray,
    owners: Owners | None = None,
    rep_id: np.ndarray | None = None,
) -> dict[str, pd.DataFrame]:
    """Return the truth tables of simulated entities: factors, levels, and owners when reps matter to them."""
    name, id_column = ENTITIES[entity]
    frame = pd.DataFrame(
        {id_column: ids, "opened_at": opened_at, "first_day": as_time(cells.start_day), "closed_at": closed_at}
        | {"first_factor": cells.first, "second_factor": cells.second, "activity_factor": cells.activity}
    )
    order = np.lexsort((paths.level_day, paths.level_row))
    levels = pd.DataFrame(
        {id_column: pick(ids, paths.level_row[order]), "day": as_time(paths.level_day[order])}
        | {"level": paths.level[order].astype(np.int8)}
    )
    tables = {f"truth_{name}": frame, f"truth_{name}_levels": levels}
    row, spell = (np.zeros(0, np.int64),) * 2 if owners is None else np.nonzero(owners.day < FAR)
    rep, day = (np.zeros(0, np.int64),) * 2 if owners is None else (owners.rep[row, spell], owners.day[row, spell])
    tables[f"truth_{name}_owners"] = pd.DataFrame(
        {id_column: pick(ids, row), "spell": spell.astype(np.int8), "day": as_time(day)}
        | {"rep_id": pick([] if rep_id is None else rep_id, rep)}
    )
    return tables


def staff_table(staff: Staff) -> pd.DataFrame:
    """Return the hidden traits of the reps."""
    columns = ("rep_id", "skill", "activity", "favour", "optimism")
    return pd.DataFrame({name: getattr(staff, name) for name in columns}).astype({"rep_id": "str"})


def settings_tables(**run: float) -> dict[str, pd.DataFrame]:
    """Return the numbers of calendars, ladders and this run, and the effects of interactions."""
    values: dict[tuple[str, str], object] = {("run", name): (value,) for name, value in run.items()}
    for name, (weekday, half) in CALENDARS.items():
        values |= {("calendar", f"{name}:weekday"): weekday, ("calendar", f"{name}:half"): half}
    for entity, ladder in LADDERS.items():
        values |= {(entity, f): getattr(ladder, f) for f in _LEVEL_FIELDS if getattr(ladder, f) is not None}
        values |= {(entity, f"chance:{k}"): row for k, row in zip(ladder.types, ladder.chance, strict=True)}
    rows = [(part, name, i, float(v)) for (part, name), row in values.items() for i, v in enumerate(row)]
    settings = pd.DataFrame(rows, columns=["part", "name", "position", "value"])
    return {"truth_settings": settings, "truth_effects": _effects()}


def _effects() -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame(
                {"entity": entity, "type": ladder.types, "effect": ladder.effect_up}
                | {"effect_down": ladder.effect_down, "by_rep": ladder.by_rep}
            )
            for entity, ladder in LADDERS.items()
        ],
        ignore_index=True,
    )
