"""Season: how busy each day is, from its weekday and its half of the month.

Days are whole numbers counted from 1970-01-01 (UTC). One calendar covers 1970 to 2100, so a day number indexes it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

__all__ = ["CALENDARS", "Calendars", "as_day", "as_time", "build_calendars"]

N_DAYS = 47_847  # 1970-01-01 to 2100-12-31
_EVERY = (1.0,) * 24

_FIRST_HALF_YEAR = (0.75, 1.05, 1.05, 1.05, 1.10, 1.10, 1.00, 0.95, 1.05, 1.05, 1.05, 1.00)
_SECOND_HALF_YEAR = (1.00, 0.85, 0.50, 0.35, 1.05, 1.15, 1.15, 1.10, 1.10, 1.10, 1.00, 0.45)
_WORK = _FIRST_HALF_YEAR + _SECOND_HALF_YEAR  # half-months: August and Christmas stand still in Italy
_QUARTER_END = tuple(1.45 if half in (5, 11, 17, 23) else 0.95 for half in range(24))

CALENDARS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "work": ((1.05, 1.15, 1.10, 1.10, 0.95, 0.06, 0.02), _WORK),
    "web": ((1.10, 1.10, 1.10, 1.05, 1.00, 0.45, 0.40), tuple(0.4 + 0.6 * x for x in _WORK)),
    "close": ((1.00, 1.10, 1.10, 1.15, 1.10, 0.03, 0.01), tuple(np.multiply(_WORK, _QUARTER_END).round(4))),
    "always": ((1.0,) * 7, _EVERY),
}
"""Name of a calendar → (factor of Monday … Sunday, factor of the 24 half-months)."""


@dataclass(frozen=True)
class Calendars:
    """Factor of every day, one array of length `N_DAYS` per calendar."""

    factors: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.factors[name]


@cache
def _weekday_and_half() -> tuple[np.ndarray, np.ndarray]:
    dates = pd.date_range("1970-01-01", periods=N_DAYS, unit="s")
    half = 2 * (dates.month.to_numpy() - 1) + (dates.day.to_numpy() > 15)
    return dates.day_of_week.to_numpy(), half


def build_calendars(tables: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = CALENDARS) -> Calendars:
    """Return the factor of every day: its weekday's times its half-month's."""
    weekday, half = _weekday_and_half()
    return Calendars({name: np.array(w)[weekday] * np.array(h)[half] for name, (w, h) in tables.items()})


def as_day(times: object) -> np.ndarray:
    """Return the day number of each time (naive UTC); a missing time gives the smallest int64."""
    return np.asarray(times, dtype="datetime64[us]").astype("datetime64[D]").astype(np.int64)


def as_time(day: np.ndarray, hours: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the times `hours` after the midnight that begins each day, to the whole second."""
    seconds = np.asarray(day, dtype=np.int64) * 86_400 + np.floor(np.asarray(hours) * 3_600).astype(np.int64)
    return seconds.astype("datetime64[s]").astype("datetime64[us]")
