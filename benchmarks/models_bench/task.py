"""What passes between the parent and a way's process: files that every environment can read.

This module runs in all environments, so it imports nothing of crmlab.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["Train", "levels_of", "read_test", "read_train", "small_train", "write_task"]


@dataclass(frozen=True)
class Train:
    """The rows to learn from: `X` (float64 and text, both with gaps), `y` (0 or 1), and their context."""

    X: pd.DataFrame
    y: np.ndarray
    groups: np.ndarray
    order: np.ndarray | None
    gap_days: int


def write_task(folder: Path, part: object) -> None:
    """Write what a way gets of a `sets.Part`. The outcomes of the tested rows stay with the parent."""
    folder.mkdir(parents=True, exist_ok=True)
    part.X_train.to_parquet(folder / "train.parquet")
    part.X_test.to_parquet(folder / "test.parquet")
    arrays = {"y": part.y_train, "groups": pd.factorize(part.groups_train)[0], "gap_days": np.array(part.gap_days)}
    if part.order_train is not None:
        arrays["order"] = part.order_train
    np.savez(folder / "train.npz", **arrays)


def read_train(folder: Path) -> Train:
    """Read the rows to learn from."""
    with np.load(folder / "train.npz", allow_pickle=False) as arrays:
        order = arrays.get("order")
        rest = arrays["y"], arrays["groups"], order, int(arrays["gap_days"])
    return Train(pd.read_parquet(folder / "train.parquet"), *rest)


def read_test(folder: Path) -> pd.DataFrame:
    """Read the rows to be scored, without their outcomes."""
    return pd.read_parquet(folder / "test.parquet")


def levels_of(X: pd.DataFrame) -> list[str]:
    """Return the columns that hold levels."""
    return [name for name, kind in X.dtypes.items() if kind != "float64"]


def small_train() -> Train:
    """Return made-up rows on which a way loads and compiles what it needs before it is measured."""
    generator = np.random.default_rng(0)
    n = 240
    number = generator.normal(size=n)
    X = pd.DataFrame({"number": number, "other": generator.normal(size=n), "level": generator.choice(["a", "b"], n)})
    y = (generator.random(n) < 1 / (1 + np.exp(-number))).astype("int64")
    return Train(X, y, np.arange(n), np.arange(n), 0)
