"""When each entity was open and when what is predicted happened, and how to count that quickly."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.schema import ENTITY_KEYS, DataError

__all__ = ["FEW_UNKNOWN", "Moments", "Timeline", "check_few", "looked_up"]

FEW_UNKNOWN = 0.05
"""Share of closings without a date (or a result) that a study can leave out; with more, they cannot be relied on."""


@dataclass(frozen=True)
class Timeline:
    """What a study knows at its `as_of` of the entities that it follows.

    Attributes
    ----------
    entity : which entity.
    ids : the entities that can have rows.
    spells : frame with the key, `start` and `end`: open at t while start < t and not end < t. An entity may have
        several spells, also overlapping ones; without an end it is open still.
    outcomes : frame with the key and `at`: when what is predicted, or what speaks against it, happened.
    measure : how outcomes make the label: `event` (one ahead), `silence` (none ahead), `rise` (more ahead than in as
        many days before).
    since : with `rise`, the beginning of what is recorded; days before it cannot be counted.
    looks : frame with the key and `as_of`, for snapshots at the first quote.
    """

    entity: str
    ids: pd.Index
    spells: pd.DataFrame
    outcomes: pd.DataFrame
    measure: str = "event"
    since: pd.Timestamp = pd.NaT
    looks: pd.DataFrame | None = None

    @property
    def key(self) -> str:
        """The key column of the entity."""
        return ENTITY_KEYS[self.entity]

    def codes(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the position of each row's entity in `ids`; -1 where it is not there."""
        return self.ids.get_indexer(pd.Index(frame[self.key]))


class Moments:
    """Instants of many entities, sorted once, so that those of one entity before an instant are counted by search."""

    def __init__(self, codes: np.ndarray, at: np.ndarray) -> None:
        known = (codes >= 0) & ~np.isnat(at)
        self._times = np.unique(at[known])
        # Ranks of times instead of the times: a code times a span of microseconds would overflow 64 bits.
        self._width = len(self._times) + 1
        self._keys = np.sort(codes[known] * self._width + np.searchsorted(self._times, at[known]))

    def before(self, codes: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return how many instants of each entity lie strictly before a time."""
        return self._count(codes, np.searchsorted(self._times, at, side="left"))

    def until(self, codes: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return how many instants of each entity lie before a time or at it."""
        return self._count(codes, np.searchsorted(self._times, at, side="right"))

    def _count(self, codes: np.ndarray, rank: np.ndarray) -> np.ndarray:
        start = codes * self._width
        return np.searchsorted(self._keys, start + rank) - np.searchsorted(self._keys, start)


def looked_up(values: pd.Series, ids: pd.Series) -> pd.Series:
    """Return the value of each id, with the index of `ids`; missing where there is none.

    `Series.map` would do the same, but fails on dates where there are no values at all.
    """
    return values.reindex(ids).set_axis(ids.index)


def check_few(unknown: int, of: int, *, problem: str, found: str, remedy: str) -> None:
    """Check that a study can leave out what nobody knows, because it is little.

    Raises
    ------
    DataError : it is more than `FEW_UNKNOWN`.
    """
    if unknown > FEW_UNKNOWN * of:
        raise DataError(problem, found=found, remedy=remedy)
