"""The contact log: simulated interactions of leads, deals and customers as rows of the canonical table."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .calendar import as_time
from .firm import Owners
from .frames import Numbering, join, pick
from .process import Ladder, Paths
from .settings import BY_REP

__all__ = ["Log", "describe", "log_of", "number"]

_OPEN, _REP_OPEN, _REP_CLOSE, _NIGHT = 5.0, 6.5, 15.5, 20.5  # hours UTC
_TYPICAL_MINUTES = {"call": 7.0, "meeting": 55.0}
_OUT = {"call": 0.75, "email_sent": 1.0, "meeting": 0.6}


@dataclass(frozen=True)
class Log:
    """Interactions before they are written: row of the entity, type by name, time, owner on that day (-1 without)."""

    row: np.ndarray
    type: np.ndarray
    ts: np.ndarray
    rep: np.ndarray


def _times_of_day(by_rep: np.ndarray, latest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an hour for each interaction: office hours for reps, any waking hour for prospects, before `latest`."""
    low, high = np.where(by_rep, _REP_OPEN, _OPEN), np.where(by_rep, _REP_CLOSE, _NIGHT)
    hour = low + rng.random(len(by_rep)) * (high - low)
    return np.where(latest < 24, _OPEN + (hour - _OPEN) * (latest - _OPEN) / (_NIGHT + 0.1 - _OPEN), hour)


def log_of(ladder: Ladder, paths: Paths, owners: Owners, exit_hour: np.ndarray, rng: np.random.Generator) -> Log:
    """Return the interactions of the simulated paths with times; those on the day of the exit come before it."""
    row, day, kind = paths.event_row, paths.event_day, paths.event_type
    by_rep = ladder.by_rep[kind]
    latest = np.where(paths.exit_day[row] == day, exit_hour[row], 24.0)
    hours = _times_of_day(by_rep, latest, rng)
    rep = np.where(by_rep, owners.at(row, day), -1)
    return Log(row, np.array(ladder.types, dtype=object)[kind], as_time(day, hours), rep)


def describe(
    logs: list[tuple[Log, dict[str, object]]], *, rep_id: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the interactions of several logs as one frame, without numbers and in no order yet.

    `logs` pairs each log with the identifiers of its entities by column (`lead_id`, `opportunity_id`, `account_id`).
    """
    return join([_described(log, ids, rep_id, rng) for log, ids in logs])


def number(frame: pd.DataFrame, *, numbering: Numbering) -> pd.DataFrame:
    """Return the interactions numbered in the order in which they were entered."""
    frame = frame.sort_values(["known_at", "ts"], kind="stable", ignore_index=True)
    return frame.assign(interaction_id=numbering.take("I", len(frame), width=8))


def _described(log: Log, ids: dict[str, object], rep_id: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(log.row)
    by_rep = np.isin(log.type, BY_REP)
    out = rng.random(n) < np.select([log.type == kind for kind in _OUT], list(_OUT.values()), 0.0)
    minutes = np.where(by_rep, np.minimum(1 + rng.exponential(90.0, n), 480.0), 0.0)
    outcome, duration = _outcomes(log.type, rng)
    return pd.DataFrame(
        {column: pick(values, log.row) for column, values in ids.items()}
        | {"rep_id": pick(rep_id, log.rep), "ts": log.ts}
        | {"known_at": log.ts + (minutes * 60).astype(np.int64).astype("timedelta64[s]")}
        | {"type": pd.array(log.type, dtype="str"), "direction": pick(("in", "out"), out.astype(int))}
        | {"duration": duration, "outcome": outcome}
    )


def _outcomes(kind: np.ndarray, rng: np.random.Generator) -> tuple[pd.array, np.ndarray]:
    words = ("reached", "not_reached", "held", "no_show", "replied")
    share = rng.random(len(kind))
    call, meeting, reply = kind == "call", kind == "meeting", kind == "email_reply"
    code = np.full(len(kind), -1)
    code[call] = share[call] >= 0.62
    code[meeting] = 2 + (share[meeting] >= 0.9)
    code[reply] = 4
    typical = np.select([kind == name for name in _TYPICAL_MINUTES], list(_TYPICAL_MINUTES.values()), np.nan)
    minutes = np.round(typical * np.exp(0.5 * rng.standard_normal(len(kind))), 1)
    return pick(words, code), np.where(code == 1, 0.0, np.where(code == 3, np.nan, minutes))
