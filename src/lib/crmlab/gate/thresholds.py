"""What a model must reach, and the rows that it is measured on: both are written down before anything is measured."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pandas as pd

from crmlab.metrics import check_resamples
from crmlab.schema import ENTITY_KEYS, ParameterError
from crmlab.snapshots import entity_of
from crmlab.splits import Split

__all__ = ["TestWindow", "Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the gate, fixed before the test window is opened.

    Attributes
    ----------
    floors : models that must be beaten, every one of them.
    min_outcomes : entities with the outcome, and entities without, needed on either side of the split.
    min_history_rows : rows of stage history while open that an entity must have to count, where the source has one.
    max_calibration_error : largest mean gap between predicted and observed share.
    non_inferiority_margin : how much higher a challenger's log loss may be than that of the best ever published
        (upper end of the paired 95 % interval).
    n_bootstrap : resamples of entities behind every interval.
    out_of_time : a test on rows drawn by lot does not count.
    """

    floors: tuple[str, ...] = ("base rate",)
    min_outcomes: int = 40
    min_history_rows: int = 2
    max_calibration_error: float = 0.05
    non_inferiority_margin: float = 0.01
    n_bootstrap: int = 1000
    out_of_time: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "floors", tuple(self.floors))
        check_resamples(self.n_bootstrap)
        if not self.floors:
            raise ParameterError("The gate needs at least one floor.", remedy="name `base rate` among the floors.")
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise ParameterError(
                    f"`{name}` must lie between {low} and {high}.", found=str(getattr(self, name)), remedy="correct it."
                )

    @property
    def digest(self) -> str:
        """Hash of all bounds, 16 hexadecimal digits."""
        return _digest(self.record())

    def record(self) -> dict[str, object]:
        """Return the bounds as plain values; the order of the floors does not count."""
        return asdict(self) | {"floors": sorted(self.floors)}

    def loosened(self, earlier: Mapping[str, object]) -> tuple[str, ...]:
        """Return the names of the bounds that are easier to reach than in an earlier `record()`."""
        now = self.record()
        easier = [name for name in _LOWER_IS_EASIER if now[name] < earlier.get(name, now[name])]
        easier += [name for name in _HIGHER_IS_EASIER if now[name] > earlier.get(name, now[name])]
        easier += ["floors"] if set(earlier.get("floors", ())) - set(self.floors) else []
        return tuple(easier)

    def only_adds_floors(self, earlier: Mapping[str, object]) -> bool:
        """Whether all is as in an earlier `record()`, or with more floors to beat: new columns bring new ones."""
        now = self.record()
        same = all(now[name] == earlier.get(name) for name in now if name != "floors")
        return same and set(earlier.get("floors", ())) <= set(self.floors)

    def table(self) -> pd.DataFrame:
        """Return one row per bound: bound, value (text)."""
        values = {name: ", ".join(v) if isinstance(v, list) else str(v) for name, v in self.record().items()}
        return pd.DataFrame({"bound": list(values), "value": list(values.values())})


@dataclass(frozen=True)
class TestWindow:
    """The rows that a model is measured on.

    Attributes
    ----------
    as_of : last day that the data reached, ISO.
    test_start, test_end : first and last date tested, ISO; empty where rows have no dates.
    n_rows : rows tested.
    rows_digest : hash of their entities and dates, not of their outcomes.
    split : temporal, ordered or random, see `splits.Split`.
    """

    __test__ = False  # pytest: no class of tests

    as_of: str
    test_start: str
    test_end: str
    n_rows: int
    rows_digest: str
    split: str = "temporal"

    @classmethod
    def of(cls, rows: pd.DataFrame, split: Split, *, as_of: str) -> "TestWindow":
        """Return the window of a split of `build_snapshots` rows."""
        tested = rows.iloc[split.test]
        dates, keys = tested["as_of"], tested[ENTITY_KEYS[entity_of(rows)]].astype("str")
        lines = sorted(keys.str.cat(dates.dt.strftime("%Y-%m-%dT%H:%M:%S").fillna(""), sep="\t"))
        known = dates.notna().any()
        first, last = ((f"{dates.min():%Y-%m-%d}", f"{dates.max():%Y-%m-%d}") if known else ("", ""))  # fmt: skip
        return cls(str(as_of), first, last, len(tested), _digest(lines), split.name)

    def record(self) -> dict[str, object]:
        """Return the window as plain values."""
        return asdict(self)

    def is_same(self, other: Mapping[str, object]) -> bool:
        """Tell whether a window noted in the log holds the same rows or spans the same dates."""
        if self.rows_digest == other["rows_digest"]:
            return True
        return bool(self.test_start) and (self.test_start, self.test_end) == (other["test_start"], other["test_end"])

    def overlaps(self, other: Mapping[str, object]) -> bool:
        """Tell whether a window noted in the log has dates in common with this one; undated windows always do."""
        if not self.test_start or not other["test_start"]:
            return True
        return self.test_start <= other["test_end"] and other["test_start"] <= self.test_end


_RANGES = (
    ("min_outcomes", 1, 1_000_000),
    ("min_history_rows", 0, 1000),
    ("max_calibration_error", 0.0, 1.0),
    ("non_inferiority_margin", 0.0, 1.0),
)
_LOWER_IS_EASIER = ("min_outcomes", "min_history_rows", "out_of_time")
_HIGHER_IS_EASIER = ("max_calibration_error", "non_inferiority_margin")


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
