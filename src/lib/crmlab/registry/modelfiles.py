"""Folders of models: the skops file, XGBoost's own files beside it, and `meta.json`, which says what they are.

A model's id is the hash of its `meta.json`, which holds the hash of every file. A changed byte anywhere is found before
anything is read as a model.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from crmlab.schema import ParameterError, RunError

from .archive import pack, unpack
from .freezing import freeze, thaw

__all__ = ["FORMAT", "columns_meta", "load_meta", "load_model", "model_facts", "plain", "save_model"]

FORMAT = 1
"""Number of the layout; raise it when an older crmlab could not read what a newer one writes."""

_META = "meta.json"
_SKOPS = "model.skops"
_COUNTED = ("scikit-learn", "xgboost")
"""Libraries whose other major version may read a model differently."""
_LIBRARIES = ("crmlab", *_COUNTED, "numpy", "pandas", "scipy", "skops")
_OWN = ("crmlab_format", "class", "parameters", "weights", "inner", "libraries", "python", "files")
_SAFE_NAME = re.compile(r"model\.skops|booster_[0-9]+\.ubj")


def save_model(model: object, folder: Path, *, meta: Mapping[str, object]) -> str:
    """Write a fitted model into a folder of its own below `folder`, in one step; return its id.

    Parameters
    ----------
    model : fitted estimator, calibrator or interval of crmlab.models or crmlab.calibration, or a pipeline of them.
    folder : where models are kept; the model's own folder is `folder/<id>`.
    meta : what the file cannot say itself: question, as_of, training span and rows, columns with dtypes
        (`columns_meta`), data fingerprint, code_sha256. Plain values only; no clock, or the same model gets two ids.

    Returns
    -------
    The id, 16 hexadecimal digits. The same model with the same meta gets the same id and is written once.

    Raises
    ------
    RunError : the model holds something that cannot be stored without pickle.
    ParameterError : `meta` has a key that is written by this function.
    """
    if taken := sorted(set(meta) & set(_OWN)):
        raise ParameterError("`meta` has keys that are filled from the model.", found=", ".join(taken))
    frozen, boosters = freeze(model)
    files = {_SKOPS: pack(frozen), **{f"booster_{k}.ubj": data for k, data in enumerate(boosters)}}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    text = json.dumps(plain({**meta, **model_facts(model), "files": sums}), indent=1, sort_keys=True) + "\n"
    model_id = _id_of(text.encode())
    final = Path(folder) / model_id
    if final.exists():
        load_model(final)  # what is there must be whole
    else:
        _write_folder(final, {**files, _META: text.encode()})
    return model_id


def load_model(folder: Path) -> object:
    """Return the model of a folder; its predictions are those of the model that was saved, bit by bit.

    No code of the files is run: their hashes are compared first, then every part must be of a class on a fixed list.

    Raises
    ------
    RunError : a file is missing, truncated or changed, or written by another major version.
    """
    folder = Path(folder)
    meta = load_meta(folder)
    files = {name: _checked_bytes(folder, name, digest) for name, digest in meta["files"].items()}
    boosters = [files[f"booster_{k}.ubj"] for k in range(len(files) - 1)]
    return thaw(unpack(files[_SKOPS]), boosters)


def load_meta(folder: Path) -> dict[str, object]:
    """Return what `meta.json` of a model says, after a check of id, format and versions; the model is not read.

    A key `warnings` is added: one sentence per library whose minor version differs from the one that wrote the model.

    Raises
    ------
    RunError : see `load_model`.
    """
    folder = Path(folder)
    data = _read(folder, _META)
    if _id_of(data) != folder.name:
        raise RunError(
            "The description of a model does not fit its id: it was changed, or its folder renamed.",
            found=f"{folder.name}/{_META} has the id {_id_of(data)}",
            remedy="restore the folder from a copy, or train and publish again.",
        )
    meta = json.loads(data)
    if meta.get("crmlab_format") != FORMAT:
        raise RunError(
            "A model was written in another format than this crmlab reads.",
            found=f"format {meta.get('crmlab_format')}, needed {FORMAT}",
            remedy=f"use crmlab {meta.get('libraries', {}).get('crmlab', 'of that time')}, or train and publish again.",
        )
    if not all(_SAFE_NAME.fullmatch(name) for name in meta["files"]):
        raise RunError("The description of a model names files that crmlab never writes.", found=folder.name)
    return {**meta, "warnings": _version_warnings(meta["libraries"])}


def model_facts(model: object) -> dict[str, object]:
    """Return what a model tells about itself: class, parameters, weights, inner table, versions."""
    inner = getattr(model, "inner_", None)
    return {
        "crmlab_format": FORMAT,
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "parameters": _parameters(model),
        "weights": getattr(model, "weights_", None),
        "inner": inner.to_dict("records") if isinstance(inner, pd.DataFrame) else None,
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
    }


def columns_meta(X: pd.DataFrame) -> dict[str, str]:
    """Return column → dtype of the features a model was fitted on.

    >>> columns_meta(pd.DataFrame({"amount": [1.0], "region": ["Nord"]}))
    {'amount': 'float64', 'region': 'str'}
    """
    return {str(name): str(dtype) for name, dtype in X.dtypes.items()}


def plain(value: object) -> object:
    """Return a value as JSON can hold it: numpy and pandas values become plain ones, NaN and infinities become null.

    >>> plain({"rate": np.float64(0.5), "from": pd.Timestamp("2024-01-01"), "gap": float("nan")})
    {'rate': 0.5, 'from': '2024-01-01', 'gap': None}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat().removesuffix("T00:00:00")
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _parameters(model: object) -> dict[str, object]:
    """Constructor arguments, without those of the parts of a pipeline that are estimators themselves."""
    if not hasattr(model, "get_params"):
        return {}
    values = model.get_params().items()
    return {k: v for k, v in values if isinstance(v, (bool, int, float, str, type(None)))}


def _version_warnings(written: Mapping[str, str]) -> list[str]:
    here = {name: metadata.version(name) for name in _LIBRARIES}
    for name in _COUNTED:
        if _major(written.get(name, "0")) != _major(here[name]):
            raise RunError(
                f"A model was written with another major version of {name}.",
                found=f"{name} {written.get(name, 'unknown')} in the model, {here[name]} here",
                remedy=f"install {name} {_major(written.get(name, '0'))}.x, or train and publish again.",
            )
    changed = [name for name in _LIBRARIES if name in written and written[name] != here[name]]
    return [f"{name} {written[name]} wrote this model, {here[name]} reads it." for name in changed]


def _major(version: str) -> str:
    return version.split(".")[0]


def _id_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _checked_bytes(folder: Path, name: str, digest: str) -> bytes:
    data = _read(folder, name)
    if hashlib.sha256(data).hexdigest() != digest:
        raise RunError(
            "A model file is not what was saved: it was truncated or changed.",
            found=f"{folder.name}/{name}, {len(data):,} bytes",
            remedy="restore the file from a copy, or train and publish again.",
        )
    return data


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise RunError(
            "A file of a model is missing.",
            found=f"no {folder.name}/{name}",
            remedy="restore the folder from a copy, or train and publish again.",
        ) from None


def _write_folder(final: Path, files: Mapping[str, bytes]) -> None:
    """Write files under a temporary name, wait until they are on the disk, then give the folder its name."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=final.parent))
    try:
        for name, data in files.items():
            with (temporary / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(0o755)
        try:
            temporary.rename(final)
        except OSError:
            if not final.exists():  # another process may have written the same model meanwhile
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
