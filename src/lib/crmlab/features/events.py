"""Events as arrays: who, when, since when known, which combination of categories, and the values."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.schema import DataError

from .declare import Feature, slug
from .kernel import MISSING
from .plan import ViewPlan, Vocabulary, as_codes, comparison, dims_of, vocabulary_of
from .views import VIEWS

__all__ = ["Events", "encode_events", "encode_numbers", "gap_code", "read_vocabulary"]

_LARGEST = 9e15
"""Largest number of steps that a value may have, so that sums of a thousand such values still fit into 64 bits."""


@dataclass
class Events:
    """Events of one view, in any order, ready for the kernel.

    Attributes
    ----------
    entity : int32[n], number of the entity in the list of those asked for; −1: none of them.
    ts, enters : int64[n], microseconds; enters = max(ts, known_at).
    combo : uint16[n], which combination of categories. values : int64[columns, n], `MISSING` where empty.
    """

    entity: np.ndarray
    ts: np.ndarray
    enters: np.ndarray
    combo: np.ndarray
    values: np.ndarray


def read_vocabulary(view: str, features: list[Feature], frame: pd.DataFrame, key: str) -> Vocabulary:
    """Return what a source as a whole holds in a view: it decides which features there are.

    Parameters
    ----------
    frame : all events of the view. key : column with the entity's id; events without one do not count.
    """
    known = frame["known_at"] if "known_at" in frame else frame["ts"]
    here = frame[frame[key].notna() & frame["ts"].notna() & known.notna()]
    dims = dims_of(features)
    slugs = {c: _slugs(here[c]) for c, condition in dims if not condition}
    others = {f.of: _slugs(here[f.of]) for f in features if _is_category(view, f.of)}
    values = vocabulary_of({c: set(names[codes[codes >= 0]]) for c, (codes, names) in slugs.items()})
    values |= {c: tuple(sorted(set(names))) for c, (_, names) in _raw(here, others).items()}
    combo = _combos(here, dims, values)
    sizes = [2 if condition else len(values[c]) + 1 for c, condition in dims]
    n_combos = int(np.prod(sizes, dtype=np.int64)) if sizes else 1
    if n_combos > np.iinfo(np.uint16).max:
        raise DataError(
            f"Events `{view}` can be told apart in too many ways.",
            found=f"{n_combos:,} combinations of {', '.join(c for c, _ in dims)}",
            remedy="filter by fewer columns, or map rare values to one.",
        )
    filled = {}
    for feature in features:
        if feature.of and feature.of not in filled:
            filled[feature.of] = frozenset(np.unique(combo[here[feature.of].notna().to_numpy()]).tolist())
    return Vocabulary(values, np.bincount(combo, minlength=n_combos) > 0, filled)


def _is_category(view: str, column: str) -> bool:
    return bool(column) and VIEWS[view].kind(column) == "category"


def _raw(frame: pd.DataFrame, columns: Mapping[str, object]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {f"={c}": as_codes(frame[c]) for c in columns}


def _slugs(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes (−1 = gap) and the value of each code as a part of a name."""
    codes, names = as_codes(values)
    return codes, np.array([slug(n) for n in names], dtype=object)


def encode_events(plan: ViewPlan, frame: pd.DataFrame, entities: pd.Index, key: str) -> Events:
    """Return the events of some entities as arrays.

    Parameters
    ----------
    frame : events of the view, with `ts` and, where it can differ, `known_at`.
    entities : ids, in the order of their numbers.

    Raises
    ------
    DataError : a value is too large to be summed exactly.
    """
    entity = entities.get_indexer(frame[key]).astype(np.int32)
    known = frame["known_at"] if "known_at" in frame else frame["ts"]
    here = (entity >= 0) & (frame["ts"].notna() & known.notna()).to_numpy()
    if not here.all():
        frame, entity, known = frame[here], entity[here], known[here]
    ts = _micros(frame["ts"])
    enters = np.maximum(ts, _micros(known)) if "known_at" in frame else ts
    combo = _combos(frame, plan.dims, plan.vocabularies).astype(np.uint16)
    values = np.empty((len(plan.columns), len(frame)), dtype=np.int64)
    for k, (column, encoding, per_unit) in enumerate(plan.columns):
        values[k] = _values(plan, frame[column], encoding, per_unit)
    return Events(entity, ts, enters, combo, values)


def _micros(times: pd.Series) -> np.ndarray:
    return times.to_numpy("datetime64[us]").view(np.int64)


def _combos(frame: pd.DataFrame, dims: list[tuple[str, str]], values: Mapping[str, tuple[str, ...]]) -> np.ndarray:
    combo = np.zeros(len(frame), dtype=np.int64)
    for column, condition in dims:
        if condition:
            function, bound = comparison(condition)
            codes = function(frame[column].to_numpy("float64"), bound).astype(np.int64)
            size = 2
        else:
            raw, names = _slugs(frame[column])
            place = {v: k + 1 for k, v in enumerate(values[column])}
            lookup = np.array([*(place.get(n, 0) for n in names), 0], dtype=np.int64)
            codes, size = lookup[raw], len(values[column]) + 1
        combo = combo * size + codes
    return combo


def _values(plan: ViewPlan, column: pd.Series, encoding: str, per_unit: int) -> np.ndarray:
    if encoding == "time":
        return _micros(column)  # NaT is the same number as MISSING
    if encoding == "category":
        codes, names = as_codes(column)
        place = {v: k for k, v in enumerate(plan.vocabularies[f"={column.name}"])}
        gap = gap_code(plan.view)
        return np.array([*(place.get(n, gap) for n in names), gap], dtype=np.int64)[codes]
    return encode_numbers(column.to_numpy("float64", na_value=np.nan), encoding, per_unit, f"{plan.view}.{column.name}")


def gap_code(view: str) -> int:
    """Return the code of an empty category: a field that was emptied holds nothing from then on; elsewhere an empty
    value tells nothing, and the one before it stands.
    """
    return -1 if view == "changes" else int(MISSING)


def encode_numbers(numbers: np.ndarray, encoding: str, per_unit: int, name: str) -> np.ndarray:
    """Return float64 numbers as int64: whole steps if they are summed, their bits if they are shown; `MISSING` for NaN.

    Raises
    ------
    DataError : a value is too large to be summed exactly.
    """
    empty = np.isnan(numbers)
    if encoding == "number":
        return np.where(empty, MISSING, (numbers + 0.0).view(np.int64))
    steps = np.rint(np.where(empty, 0.0, numbers) * per_unit)
    if len(steps) and max(steps.max(), -steps.min()) > _LARGEST:
        raise DataError(
            f"Values of `{name}` are too large to be summed exactly.",
            found=f"up to {np.abs(numbers[~empty]).max():,.0f}",
            remedy="give the column in a larger unit.",
        )
    return np.where(empty, MISSING, steps.astype(np.int64))
