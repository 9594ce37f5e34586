"""Fitted models as plain parts and back: what scikit-learn's file format cannot hold is replaced by stand-ins.

A stand-in names a class of `crmlab.models` or `crmlab.calibration`, a pandas object by its values, or the file of a
booster. Nothing else can be named, so a file can never make a class of its choice.
"""

import json
import re
from importlib import import_module

import numpy as np
import pandas as pd

from crmlab.schema import RunError

__all__ = ["STAND_INS", "StoredBooster", "StoredObject", "StoredPandas", "freeze", "thaw"]

PACKAGES = ("crmlab.models", "crmlab.calibration")
"""Packages whose classes may be stored."""

_PATH = re.compile(r"(crmlab(?:\.[a-z_][a-z0-9_]*)+):([A-Za-z_][A-Za-z0-9_]*)")
_PLAIN = (type(None), bool, int, float, str, bytes, slice, np.generic)
_KINDS = "biufMm"
"""Kinds of numpy values that are stored as arrays; text becomes a list."""


class StoredObject:
    """An object of ours: where its class is, and its attributes."""

    def __init__(self, path: str, state: dict[str, object]) -> None:
        self.path = path
        self.state = state


class StoredPandas:
    """A pandas index, series, frame or moment by its values."""

    def __init__(self, kind: str, dtype: str, values: object, name: object = None, index: object = None) -> None:
        self.kind = kind
        self.dtype = dtype
        self.values = values
        self.name = name
        self.index = index


class StoredBooster:
    """An XGBoost booster: number of its file, and the threads that it predicts with."""

    def __init__(self, number: int, n_threads: int) -> None:
        self.number = number
        self.n_threads = n_threads


STAND_INS = (StoredBooster, StoredObject, StoredPandas)


def freeze(model: object) -> tuple[object, list[bytes]]:
    """Return a copy of a fitted model with stand-ins, and the UBJ bytes of its boosters; the model is left untouched.

    Raises
    ------
    RunError : it holds something that cannot be stored.
    """
    frozen = _Freezer()
    return frozen.copy(model), frozen.boosters


def thaw(frozen: object, boosters: list[bytes]) -> object:
    """Return the model of which `freeze` made this copy.

    Raises
    ------
    RunError : a stand-in names something that may not be made.
    """
    return _Thawer(boosters).copy(frozen)


class _Walker:
    """Copies a graph of objects; what stands in two places is one object in the copy as well."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[object, object]] = {}

    def copy(self, value: object) -> object:
        if isinstance(value, _PLAIN):
            return value
        if id(value) not in self.seen:
            # The original is kept beside its copy: an address must not be used again while the walk goes on.
            self.seen[id(value)] = (value, self.other(value))
        return self.seen[id(value)][1]

    def other(self, value: object) -> object:
        if type(value) is dict:
            return {self.copy(k): self.copy(v) for k, v in value.items()}
        if type(value) in (list, tuple, set):
            return type(value)(self.copy(v) for v in value)
        if type(value).__module__.partition(".")[0] == "sklearn" and hasattr(value, "__dict__"):
            return self.attributes(value)
        return value

    def attributes(self, value: object) -> object:
        twin = type(value).__new__(type(value))
        twin.__dict__.update({k: self.copy(v) for k, v in vars(value).items()})
        return twin


class _Freezer(_Walker):
    def __init__(self) -> None:
        super().__init__()
        self.boosters: list[bytes] = []

    def other(self, value: object) -> object:
        module = type(value).__module__
        if _is_ours(module):
            return StoredObject(_path_of(value), {k: self.copy(v) for k, v in vars(value).items()})
        if isinstance(value, (pd.Index, pd.Series, pd.DataFrame, pd.Timestamp)):
            return self.copy(_stored_pandas(value))
        if isinstance(value, StoredPandas):
            return self.attributes(value)
        if module == "xgboost.core" and type(value).__name__ == "Booster":
            return self.booster(value)
        if isinstance(value, (np.random.Generator, np.random.RandomState)):
            return None  # drawn from while fitting, never while predicting
        if isinstance(value, np.ndarray) and value.dtype == object:
            _check_texts(value)
        return super().other(value)

    def booster(self, value: object) -> StoredBooster:
        self.boosters.append(bytes(value.save_raw("ubj")))
        config = json.loads(value.save_config())["learner"]["generic_param"]
        return StoredBooster(len(self.boosters) - 1, int(config.get("nthread", 0)))


class _Thawer(_Walker):
    def __init__(self, boosters: list[bytes]) -> None:
        super().__init__()
        self.boosters = boosters

    def other(self, value: object) -> object:
        if isinstance(value, StoredObject):
            made = _class_of(value.path)
            twin = made.__new__(made)
            twin.__dict__.update({k: self.copy(v) for k, v in value.state.items()})
            return twin
        if isinstance(value, StoredPandas):
            return _pandas_of(self.attributes(value))
        if isinstance(value, StoredBooster):
            return self.booster(value)
        return super().other(value)

    def booster(self, value: StoredBooster) -> object:
        from xgboost import Booster

        # The number of threads is no part of XGBoost's file; with the default, small predictions are much slower.
        booster = Booster({"nthread": value.n_threads})
        booster.load_model(bytearray(self.boosters[value.number]))
        booster.set_param({"nthread": value.n_threads})
        return booster


def _is_ours(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in PACKAGES)


def _path_of(value: object) -> str:
    made = type(value)
    if not hasattr(value, "__dict__") or "<locals>" in made.__qualname__:
        raise _unstorable(value)
    return f"{made.__module__}:{made.__qualname__}"


def _class_of(path: str) -> type:
    """Return a class of ours by its place; nothing but a class that is defined there."""
    match = _PATH.fullmatch(path)
    if match and _is_ours(match[1]):
        try:
            made = getattr(import_module(match[1]), match[2], None)
        except ModuleNotFoundError:
            made = None
        if isinstance(made, type) and made.__module__ == match[1]:
            return made
    raise RunError(
        "A model file names a class that this crmlab does not have.",
        found=path[:120],
        remedy="load it with the version of crmlab that its meta.json names, or train and publish again.",
    )


def _stored_pandas(value: object) -> StoredPandas:
    if isinstance(value, pd.Timestamp):
        return StoredPandas("moment", "", value.isoformat())
    if isinstance(value, pd.DataFrame):
        columns = [(name, value.iloc[:, k]) for k, name in enumerate(value.columns)]
        return StoredPandas("frame", "", columns, index=value.index)
    if isinstance(value, pd.RangeIndex):
        return StoredPandas("range", "", (value.start, value.stop, value.step), value.name)
    array, dtype = value.to_numpy(), str(value.dtype)
    if dtype in ("str", "object"):
        array = [None if pd.isna(v) else v for v in array]
        _check_texts(array)
    elif not isinstance(value.dtype, np.dtype) or array.dtype.kind not in _KINDS or isinstance(value, pd.MultiIndex):
        raise _unstorable(value)
    if isinstance(value, pd.Series):
        return StoredPandas("series", dtype, array, value.name, value.index)
    return StoredPandas("index", dtype, array, value.name)


def _pandas_of(stored: StoredPandas) -> object:
    match stored.kind:
        case "moment":
            return pd.Timestamp(stored.values)
        case "range":
            return pd.RangeIndex(*stored.values, name=stored.name)
        case "index":
            return pd.Index(stored.values, dtype=stored.dtype, name=stored.name)
        case "series":
            return pd.Series(stored.values, dtype=stored.dtype, name=stored.name, index=stored.index)
        case "frame":
            names = pd.Index([name for name, _ in stored.values])
            parts = {k: column for k, (_, column) in enumerate(stored.values)}
            return pd.DataFrame(parts, index=stored.index).set_axis(names, axis=1)
    raise RunError("A model file holds an unknown kind of table.", found=str(stored.kind)[:60])


def _check_texts(values: object) -> None:
    if not all(isinstance(v, (str, int, float, bool, type(None))) for v in np.ravel(values)):
        raise RunError("A model holds an array of objects, which cannot be stored.", remedy="keep numbers or texts.")


def _unstorable(value: object) -> RunError:
    made = type(value)
    return RunError(
        "A model holds something that cannot be stored without pickle.",
        found=f"{made.__module__}.{made.__qualname__} ({getattr(value, 'dtype', 'no dtype')})",
        remedy="keep numpy arrays, plain values, and classes of crmlab.models or crmlab.calibration.",
    )
