"""A ladder of hidden levels with exits: simulate it, and compute its exact probabilities.

Every entity of the demo stands on one of five levels (interest of a lead, commitment to a deal, satisfaction of a
customer) and makes one step a day, from midnight to midnight UTC. On day `d`, at level `z`:

1. each type of interaction `k` happens once or not, independently, with probability `chance[k, z]` times factors;
2. the entity leaves by its first exit (converted, won, churned) or its second (disqualified, lost), or stays;
3. one that stays goes up one level with probability `up[z] + Σ effect_up[k]·happened[k]`, down one level with
   `down[z] + Σ effect_down[k]·happened[k]`.

Exits depend on the level and not on the interactions of the same day, so the interactions can be averaged out exactly:
`P(up) = up[z] + Σ effect_up[k]·P(k happens)`. The true probability of an exit within a horizon then follows by going
backwards over the days, `v_d(z) = P(exit on d) + P(stay)·E[v_{d+1}]`: no sampling is involved.
"""

from dataclasses import dataclass, replace

import numpy as np

from .calendar import Calendars

__all__ = ["FOREVER_DAYS", "Cells", "Ladder", "Paths", "exit_probability", "simulate"]

N_LEVELS = 5
TERM_DAYS = 365
FOREVER_DAYS = 1_500
_FAR = 2**31  # larger than any day number
_CHUNK = 16_384  # rows whose arrays of five levels stay in the processor's cache


@dataclass(frozen=True)
class Ladder:
    """The parameters that all entities of one kind share.

    Attributes
    ----------
    types : names of the K interaction types.
    up, down : (5,) probability a day of going one level up or down without any interaction.
    first, second : (5,) probability of each exit on a day of factor 1.
    term_end : (5,) probability of the first exit on the last day of each yearly term, or None without terms.
    chance : (K, 5) probability that a type happens on a day of factor 1.
    effect_up, effect_down : (K,) what one interaction adds to the probability of going up or down that day.
    by_rep : (K,) whether the rep's diligence drives the type (else the prospect's own activity alone does).
    first_calendar, second_calendar : calendars of the exits. Interactions follow `work` when driven by the rep, else
        `web`.
    """

    entity: str
    types: tuple[str, ...]
    up: np.ndarray
    down: np.ndarray
    first: np.ndarray
    second: np.ndarray
    chance: np.ndarray
    effect_up: np.ndarray
    effect_down: np.ndarray
    by_rep: np.ndarray
    first_calendar: str = "work"
    second_calendar: str = "work"
    term_end: np.ndarray | None = None

    def drift(self, effect: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Σ effect·chance by level (5,): of the types driven by the rep, and of the others."""
        return effect[self.by_rep] @ self.chance[self.by_rep], effect[~self.by_rep] @ self.chance[~self.by_rep]


@dataclass(frozen=True)
class Cells:
    """What differs between entities, one row each: multipliers of the ladder's probabilities.

    Attributes
    ----------
    first, second, activity : (n,) factors of the two exits and of all interactions.
    rep_first, rep_activity : (n, S) factors of the owner in each of S consecutive spells of ownership.
    switch_day : (n, S) first day of each spell; the first one is never in the future.
    start_day : (n,) first day of the ladder; anniversaries of customers count from it.
    """

    first: np.ndarray
    second: np.ndarray
    activity: np.ndarray
    rep_first: np.ndarray
    rep_activity: np.ndarray
    switch_day: np.ndarray
    start_day: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: np.ndarray) -> "Cells":
        """Return the cells of these rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Paths:
    """What happened to n simulated entities.

    Attributes
    ----------
    exit_day : (n,) day of the exit, -1 while open. exit_kind : (n,) 0 open, 1 first exit, 2 second exit.
    level_row, level_day, level : every change of level, the first one included; in force from the start of that day.
    event_row, event_day, event_type : every interaction (index of its type).
    """

    exit_day: np.ndarray
    exit_kind: np.ndarray
    level_row: np.ndarray
    level_day: np.ndarray
    level: np.ndarray
    event_row: np.ndarray
    event_day: np.ndarray
    event_type: np.ndarray

    def level_at(self, row: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Return the level of each row in force at the start of a day; the last one after its exit."""
        key = self.level_row * _FAR + self.level_day
        order = np.argsort(key)
        found = np.searchsorted(key[order], row * _FAR + day, side="right") - 1
        begin = np.searchsorted(key[order], row * _FAR)
        return self.level[order][np.maximum(found, begin)]


@dataclass(frozen=True)
class _Day:
    """Factors of each row on its day: both exits, the interactions of rep and prospect, whether a term ends."""

    first: np.ndarray
    second: np.ndarray
    by_rep: np.ndarray
    by_self: np.ndarray
    term_ends: np.ndarray | None


def _day_factors(ladder: Ladder, calendars: Calendars, cells: Cells, day: np.ndarray) -> _Day:
    rep_first, rep_activity = cells.rep_first[:, 0], cells.rep_activity[:, 0]
    for spell in range(1, cells.switch_day.shape[1]):
        begun = cells.switch_day[:, spell] <= day
        rep_first = np.where(begun, cells.rep_first[:, spell], rep_first)
        rep_activity = np.where(begun, cells.rep_activity[:, spell], rep_activity)
    age = day - cells.start_day
    return _Day(
        first=cells.first * rep_first * calendars[ladder.first_calendar][day],
        second=cells.second * calendars[ladder.second_calendar][day],
        by_rep=cells.activity * rep_activity * calendars["work"][day],
        by_self=cells.activity * calendars["web"][day],
        term_ends=None if ladder.term_end is None else (age % TERM_DAYS == TERM_DAYS - 1),
    )


def _first_exit(ladder: Ladder, cells: Cells, today: _Day, level: int | np.ndarray) -> np.ndarray:
    daily = ladder.first[level] * today.first
    if today.term_ends is None:
        return daily
    return np.where(today.term_ends, np.minimum(ladder.term_end[level] * cells.first, 0.95), daily)


def simulate(
    ladder: Ladder,
    calendars: Calendars,
    cells: Cells,
    *,
    level: np.ndarray,
    end_day: int,
    rng: np.random.Generator,
) -> Paths:
    """Step every row from its `start_day` at its initial `level` to its exit, or up to the day before `end_day`."""
    n = len(cells)
    exit_day, exit_kind = np.full(n, -1, np.int64), np.zeros(n, np.int8)
    rows, level = np.arange(n), level.astype(np.int64)
    levels, events = [(rows, cells.start_day, level)], []
    age = 0
    while True:
        open_ = np.flatnonzero(cells.start_day + age < end_day)
        if len(open_) < len(cells):
            rows, level, cells = rows[open_], level[open_], cells.take(open_)
        if not len(rows):
            break
        day = cells.start_day + age
        today = _day_factors(ladder, calendars, cells, day)
        happened = _happens(ladder, today, level, rng)
        who, kind = np.nonzero(happened)
        events.append((rows[who], day[who], kind))
        gone = _exits(ladder, cells, today, level, rng)
        exit_day[rows[gone > 0]], exit_kind[rows] = day[gone > 0], gone
        step = np.where(gone > 0, 0, _steps(ladder, happened, level, rng))
        moved = np.flatnonzero(step)
        level = level + step
        levels.append((rows[moved], day[moved] + 1, level[moved]))
        if (gone > 0).any():
            stay = np.flatnonzero(gone == 0)
            rows, level, cells = rows[stay], level[stay], cells.take(stay)
        age += 1
    return Paths(exit_day, exit_kind, *_stack(levels), *_stack(events))


def _stack(parts: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    if not parts:
        return (np.zeros(0, np.int64),) * 3
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _happens(ladder: Ladder, today: _Day, level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    factor = np.where(ladder.by_rep, today.by_rep[:, None], today.by_self[:, None])
    return rng.random(factor.shape) < ladder.chance.T[level] * factor


def _exits(ladder: Ladder, cells: Cells, today: _Day, level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    first = _first_exit(ladder, cells, today, level)
    second = ladder.second[level] * today.second
    draw = rng.random(len(level))
    return np.where(draw < first, 1, np.where(draw < first + second, 2, 0)).astype(np.int8)


def _steps(ladder: Ladder, happened: np.ndarray, level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    up = np.where(level < N_LEVELS - 1, ladder.up[level] + happened @ ladder.effect_up, 0.0)
    down = np.where(level > 0, ladder.down[level] + happened @ ladder.effect_down, 0.0)
    draw = rng.random(len(level))
    return np.where(draw < up, 1, np.where(draw < up + down, -1, 0))


def exit_probability(
    ladder: Ladder,
    calendars: Calendars,
    cells: Cells,
    *,
    level: np.ndarray,
    day: np.ndarray,
    horizon_days: int,
) -> np.ndarray:
    """Return P(first exit on one of the days `day` … `day + horizon_days - 1`), given the level at the start of `day`.

    Days before a row's `start_day` pass without a step. Exact up to rounding; time grows with rows × days.
    """
    result = np.empty(len(cells))
    for start in range(0, len(cells), _CHUNK):
        part = slice(start, start + _CHUNK)
        values = _backward(ladder, calendars, cells.take(part), day[part], horizon_days)
        result[part] = values[level[part], np.arange(values.shape[1])]
    return result


def _backward(ladder: Ladder, calendars: Calendars, cells: Cells, day: np.ndarray, horizon_days: int) -> np.ndarray:
    """Return the probability for each possible level today, (5, n)."""
    value = np.zeros((N_LEVELS, len(cells)))
    drifts = (*ladder.drift(ladder.effect_up), *ladder.drift(ladder.effect_down))
    for ahead in range(horizon_days - 1, -1, -1):
        today = _day_factors(ladder, calendars, cells, day + ahead)
        before = _one_day(ladder, cells, today, drifts, value)
        asleep = day + ahead < cells.start_day
        value = np.where(asleep, value, before) if asleep.any() else before
    return value


def _one_day(ladder: Ladder, cells: Cells, today: _Day, drifts: tuple, value: np.ndarray) -> np.ndarray:
    up_rep, up_self, down_rep, down_self = drifts
    before = np.empty_like(value)
    for z in range(N_LEVELS):
        first = _first_exit(ladder, cells, today, z)
        expected = value[z].copy()
        if z < N_LEVELS - 1:
            up = ladder.up[z] + up_rep[z] * today.by_rep + up_self[z] * today.by_self
            expected += up * (value[z + 1] - value[z])
        if z > 0:
            down = ladder.down[z] + down_rep[z] * today.by_rep + down_self[z] * today.by_self
            expected += down * (value[z - 1] - value[z])
        before[z] = first + (1.0 - first - ladder.second[z] * today.second) * expected
    return before
