"""What all parts of one simulated CRM share: its period, calendars, reps, running numbers and random streams."""

from dataclasses import dataclass, field

import numpy as np

from .calendar import Calendars, as_time
from .firm import Owners, Staff
from .frames import Numbering
from .process import Cells

__all__ = ["World", "cells_of"]

_STREAMS = ("firm", "arrivals", "accounts", "leads", "deals", "customers", "texts", "dirt", "notes")


@dataclass
class World:
    """The shared state of one simulation; `end_day`, the day of extraction, is not simulated any more."""

    seed: int
    start_day: int
    end_day: int
    n_leads: int
    calendars: Calendars
    staff: Staff | None = None
    numbering: Numbering = field(default_factory=Numbering)

    @property
    def start(self) -> np.datetime64:
        """The first instant of the CRM."""
        return as_time(np.array([self.start_day]))[0]

    @property
    def end(self) -> np.datetime64:
        """The instant of extraction: nothing happens at or after it."""
        return as_time(np.array([self.end_day]))[0]

    def rng(self, stream: str, block: int = 0, part: int = 0) -> np.random.Generator:
        """Return the random generator of one part of one block: no other part can shift its numbers."""
        return np.random.default_rng([self.seed, _STREAMS.index(stream), block, part])


def cells_of(
    staff: Staff,
    owners: Owners,
    *,
    start_day: np.ndarray,
    log_first: np.ndarray,
    log_second: np.ndarray,
    log_activity: np.ndarray,
) -> Cells:
    """Return the multipliers of each entity from their logarithms and its owners, held inside bounds that keep every
    probability below one.
    """
    return Cells(
        first=np.exp(np.clip(log_first, -2.5, 1.2)).round(6),
        second=np.exp(np.clip(log_second, -1.5, 1.5)).round(6),
        activity=np.exp(np.clip(log_activity, -1.2, 0.5)).round(6),
        rep_first=staff.skill[owners.rep],
        rep_activity=staff.activity[owners.rep],
        switch_day=owners.day,
        start_day=start_day,
    )
