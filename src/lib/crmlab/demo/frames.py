"""Frames in canonical types, identifiers, and histories of changed fields."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crmlab.schema import empty_table

__all__ = ["Numbering", "as_text", "canonical", "history", "join", "pick", "stamp_changes"]


@dataclass
class Numbering:
    """Running numbers of each kind of identifier, carried on from one piece to the next."""

    used: Counter = field(default_factory=Counter)

    def take(self, prefix: str, n: int, *, width: int = 6) -> pd.array:
        """Return the next n identifiers, such as `L000001`."""
        first = self.used[prefix] + 1
        self.used[prefix] += n
        numbers = pa.array(np.arange(first, first + n)).cast(pa.string())
        text = pc.binary_join_element_wise(prefix, pc.utf8_lpad(numbers, width=width, padding="0"), "")
        return pd.array(text.cast(pa.large_string()), dtype="str")


def pick(values: object, index: np.ndarray) -> pd.array:
    """Return `values[index]` as text; an index of -1 gives a missing value."""
    return pd.array(values, dtype="str").take(np.asarray(index), allow_fill=True)


def as_text(values: np.ndarray, *, decimals: int = 0) -> pd.array:
    """Return numbers as plain text, and times as ISO dates."""
    if np.issubdtype(values.dtype, np.datetime64):
        return pd.array(np.datetime_as_string(values, unit="D"), dtype="str")
    if decimals == 0:
        return pd.array(values.astype(np.int64).astype("U20"), dtype="str")
    return pd.array([f"{v:.{decimals}f}" for v in values], dtype="str")


def canonical(name: str, columns: Mapping[str, object]) -> pd.DataFrame:
    """Return the canonical table `name` with these columns; the others are empty. Own columns come last."""
    template = empty_table(name)
    given = pd.DataFrame(dict(columns))
    result = given.reindex(columns=[*template.columns, *(c for c in given if c not in template)])
    return result.astype(template.dtypes.to_dict())


def join(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the frames one below the other with a fresh index."""
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def history(
    entity: str, ids: object, field_name: str, *, row: np.ndarray, at: np.ndarray, value: object
) -> pd.DataFrame:
    """Return change rows of one field: each value replaces the one before it in time of the same row.

    Values that equal their predecessor are no change and are left out.
    """
    order = np.lexsort((at, row))
    row, at, value = row[order], at[order], pd.array(value, dtype="str").take(order)
    first = np.r_[True, row[1:] != row[:-1]][: len(row)]
    old = value.take(np.where(first, -1, np.arange(len(row)) - 1), allow_fill=True)
    changed = first | np.asarray(old != value, dtype=bool)
    frame = pd.DataFrame(
        {"entity": entity, "entity_id": pick(ids, row), "field": field_name}
        | {"old_value": old, "new_value": value, "changed_at": at}
    )
    return frame[changed]


def stamp_changes(parts: list[pd.DataFrame], numbering: Numbering) -> pd.DataFrame:
    """Return the change rows of all parts in order of time, with their identifiers."""
    rows = join(parts).sort_values(["changed_at", "entity", "entity_id", "field"], kind="stable", ignore_index=True)
    return canonical("changes", {"change_id": numbering.take("H", len(rows), width=7), **rows})
