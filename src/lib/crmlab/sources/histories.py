"""What a field held when: rows for the table `changes` from values that have held since a date, and from states."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from crmlab.schema import TABLES

from .problems import Problems
from .specs import ColumnSpec

__all__ = ["ENTITIES", "STATE", "changes_from_states", "held_since"]

ENTITIES = {"leads": "lead", "opportunities": "opportunity", "accounts": "account", "reps": "rep"}
"""Tables whose fields have a history in `changes`, and what they are called there."""

STATE = "(state)"
"""Marks, while tables are built, the rows of `changes` that came as states."""

_FIELD = ["entity", "entity_id", "field"]


def held_since(
    frame: pd.DataFrame, column: ColumnSpec, table: str, where: Callable[[int], str], problems: Problems
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a row of `changes` for every row of a table that holds a value in `column`, and the rows' positions.

    The value was set at the time that `column.since` names, and nothing is known of any value before it. A row with a
    value but without that time gets none, and is told.
    """
    given = frame[column.name].notna()
    dated = column.since in frame
    since = frame[column.since] if dated else pd.Series(_end_of(column.since), index=frame.index)
    undated = (given & since.isna()).to_numpy()
    if undated.any():
        text = f"No history of {column.name}: {column.since}, since which it has held, is empty."
        example = where(int(undated.argmax()))
        problems.add("warning", table, column.name, text, rows=int(undated.sum()), of=len(frame), example=example)
    rows = np.flatnonzero((given & since.notna()).to_numpy())
    ids = frame[TABLES[table].key[0]].iloc[rows].astype("str")
    held = pd.DataFrame(
        {
            "change_id": f"{ENTITIES[table]}:{column.name}:" + ids,
            "entity": ENTITIES[table],
            "entity_id": ids,
            "field": column.name,
            "old_value": pd.Series(None, index=ids.index, dtype="str"),
            "new_value": _as_text(frame[column.name].iloc[rows]),
            "changed_at": since.iloc[rows],
        }
    )
    return held.reset_index(drop=True), rows


def _end_of(day: str) -> pd.Timestamp:
    return (pd.Timestamp(day) + pd.Timedelta(seconds=86_399)).as_unit("us")


def _as_text(values: pd.Series) -> pd.Series:
    """Return values as `changes` writes them: `true` and `false`, whole numbers without a point, ISO times."""
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("str").str.lower()
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S")
    return values.astype("str").str.removesuffix(".0") if values.dtype == "float64" else values.astype("str")


def changes_from_states(frame: pd.DataFrame, problems: Problems) -> tuple[pd.DataFrame, np.ndarray]:
    """Return `changes` with the states among its rows made changes, and which rows are kept.

    A state says what a field held from then on. Its `old_value` is the state before it, and a state that repeats the
    one before changes nothing and is left out. States of one instant follow each other as in the file.
    """
    if STATE not in frame:
        return frame, np.ones(len(frame), dtype=bool)
    is_state, frame = frame[STATE].notna().to_numpy(), frame.drop(columns=STATE)
    ordered = frame.sort_values([*_FIELD, "changed_at"], kind="stable")
    # The text of a missing state may not equal any real one, so that emptying a field counts as a change.
    held = ordered["new_value"].astype(object).where(ordered["new_value"].notna(), None)
    groups = ordered.groupby(_FIELD, sort=False).ngroup().to_numpy()
    first = np.append(True, groups[1:] != groups[:-1])
    before = held.shift().where(~first, None)
    repeats = ((held == before) | (held.isna() & before.isna() & ~first)).reindex(frame.index).to_numpy() & is_state
    old = before.reindex(frame.index).astype("str")
    frame = frame.assign(old_value=frame.get("old_value", old).mask(is_state, old))
    if repeats.any():
        text = "States that repeat the one before them were left out: they change nothing (`states: true`)."
        problems.add("note", "changes", "new_value", text, rows=int(repeats.sum()), of=int(is_state.sum()))
    return frame[~repeats].reset_index(drop=True), ~repeats
