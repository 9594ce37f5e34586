"""From declarations and the values that a source holds to the arrays that the kernel runs on.

A plan holds plain numbers and texts only: it is small, can be stored or sent to another machine, and the same plan
gives the same features in batch, live, out of core and on a cluster.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from crmlab.schema import INTERACTION_TYPES, DataError, ParameterError, did_you_mean

from .declare import EVER, Feature, plural, slug
from .kernel import DAY
from .views import VIEWS, View

__all__ = [
    "Output",
    "ViewPlan",
    "Vocabulary",
    "as_codes",
    "check_feature",
    "comparison",
    "dims_of",
    "plan_view",
    "vocabulary_of",
]

_COMPARISONS = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}


@dataclass(frozen=True)
class Output:
    """One feature of a view: which result of the kernel it is, and what is to be done with it.

    Attributes
    ----------
    measure : one of `MEASURES`. at : lines of the kernel's results that it takes. days : its windows.
    per_unit : steps per unit of what was summed. encoding : of shown values: number, time or category.
    feature : the declaration it comes from. value : column that is shown.
    """

    name: str
    measure: str
    at: tuple[int, ...]
    days: tuple[int, ...] = ()
    per_unit: int = 1
    encoding: str = ""
    feature: Feature | None = None
    value: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """What the source as a whole holds in one view: values by column, and which combinations of them occur."""

    values: Mapping[str, tuple[str, ...]]
    seen: np.ndarray
    filled: Mapping[str, frozenset[int]]


@dataclass
class ViewPlan:
    """What to compute from one view of one entity's events.

    Attributes
    ----------
    dims : (column, condition) that tell events apart; the condition is empty for a category, else a comparison.
    sizes : number of values of each, gaps included; a combo is their mixed-radix number.
    columns : (column, encoding, per_unit) of the value columns; encodings: sum, number, time, category.
    vocabularies : column → its values in the order of their codes.
    """

    view: str
    entity: str
    dims: list[tuple[str, str]]
    sizes: list[int]
    vocabularies: dict[str, tuple[str, ...]]
    columns: list[tuple[str, str, int]] = field(default_factory=list)
    windows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    tables: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)

    @property
    def n_combos(self) -> int:
        """Number of combinations of values."""
        return int(np.prod(self.sizes, dtype=np.int64)) if self.sizes else 1


def vocabulary_of(codes: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return the values of each column in a fixed order: types of interaction as documented, then by name."""
    first = {t: k for k, t in enumerate(INTERACTION_TYPES)}
    return {c: tuple(sorted(set(v), key=lambda t: (first.get(t, len(first)), t))) for c, v in codes.items()}


def dims_of(features: Sequence[Feature]) -> list[tuple[str, str]]:
    """Return the (column, condition) pairs that the filters of some declarations need."""
    found: dict[tuple[str, str], None] = {}
    for feature in features:
        for column, wanted in feature.where.items():
            found[(column, wanted if _is_comparison(wanted) else "")] = None
        if feature.each:
            found[(feature.each, "")] = None
    return list(found)


def check_feature(feature: Feature) -> None:
    """Check that a declaration names a view and columns that exist.

    Raises
    ------
    ParameterError : it does not. DataError : it measures a column that holds no numbers.
    """
    if feature.view not in VIEWS:
        raise ParameterError(
            f"Feature `{feature.name}` asks for events that nobody knows.",
            found=feature.view,
            remedy=did_you_mean(feature.view, list(VIEWS)),
        )
    view = VIEWS[feature.view]
    for column in [*feature.where, *([feature.each] if feature.each else []), *([feature.of] if feature.of else [])]:
        if column not in view.columns:
            raise ParameterError(
                f"Feature `{feature.name}`: events `{feature.view}` have no column `{column}`.",
                found=column,
                remedy=did_you_mean(column, view.columns),
            )
    summed = {"sum", "mean", "smoothed"} & set(feature.measures)
    if feature.of and summed and feature.of not in view.per_unit:
        raise DataError(
            f"Feature `{feature.name}` cannot measure `{feature.of}`: it holds no amounts.",
            found=f"measure {', '.join(sorted(summed))}",
            remedy=f"columns with amounts are: {', '.join(view.per_unit) or 'none'}.",
        )
    _check_time(feature, view)
    _check_filter(feature, view)


def _check_time(feature: Feature, view: View) -> None:
    """Days until something need a time; a time is shown in no other way."""
    is_time = bool(feature.of) and view.kind(feature.of) == "time"
    for measure in feature.measures:
        if (measure == "until" and not is_time) or (measure == "last" and is_time):
            raise DataError(
                f"Feature `{feature.name}` cannot show `{feature.of}` by `{measure}`.",
                found="a time" if is_time else "no time",
                remedy="use `until` for times and `last` for all else.",
            )


def _check_filter(feature: Feature, view: View) -> None:
    """Numbers are compared, categories named, one or several; anything else would never match."""
    for column, wanted in feature.where.items():
        named = isinstance(wanted, tuple) and wanted and all(isinstance(w, str) for w in wanted)
        fits = _is_comparison(wanted) if view.kind(column) == "number" else isinstance(wanted, str) or named
        if not fits or view.kind(column) == "time" or (_is_comparison(wanted) and view.kind(column) != "number"):
            raise ParameterError(
                f"Feature `{feature.name}`: the filter on `{column}` cannot be read.",
                found=repr(wanted),
                remedy='write a value, a tuple of values or, for numbers, a comparison such as ">= 30".',
            )
        if _is_comparison(wanted):
            comparison(wanted)
    if feature.each and view.kind(feature.each) != "category":
        raise ParameterError(
            f"Feature `{feature.name}` asks for one feature per value of `{feature.each}`, which is no category.",
            found=view.kind(feature.each),
            remedy=f"categories are: {', '.join(view.categories) or 'none'}.",
        )


def _is_comparison(wanted: object) -> bool:
    return isinstance(wanted, str) and wanted.startswith((">", "<"))


def comparison(condition: str) -> tuple[np.ufunc, float]:
    """Return the function and the bound of a comparison such as ">= 30".

    Raises
    ------
    ParameterError : it is none.
    """
    sign = condition[:2] if condition[:2] in _COMPARISONS else condition[:1]
    try:
        return _COMPARISONS[sign], float(condition[len(sign) :])
    except (KeyError, ValueError):
        raise ParameterError(
            "A comparison cannot be read.", found=repr(condition), remedy='write it such as ">= 30".'
        ) from None


def plan_view(
    name: str, entity: str, features: Sequence[Feature], vocabulary: Vocabulary, *, windows: tuple[int, ...]
) -> ViewPlan:
    """Return the plan for the declarations of one view, leaving out what the source has no event for.

    Parameters
    ----------
    vocabulary : of the source as a whole: it decides which features there are.
    windows : of the study, for declarations without their own.
    """
    dims = dims_of(features)
    sizes = [2 if condition else len(vocabulary.values[column]) + 1 for column, condition in dims]
    plan = ViewPlan(name, entity, dims, sizes, dict(vocabulary.values))
    _Builder(plan, VIEWS[name], vocabulary).build(features, windows)
    return plan


class _Builder:
    """Collects what the features of a view need, each thing once."""

    def __init__(self, plan: ViewPlan, view: View, vocabulary: Vocabulary) -> None:
        self.plan, self.view, self.vocabulary = plan, view, vocabulary
        self.slots: dict[frozenset[int], int] = {}
        self.lists: dict[str, dict[tuple, int]] = {k: {} for k in ("sum", "day", "week", "last")}
        self.wants: dict[str, dict[tuple, int]] = {k: {} for k in ("n", "sum", "day", "newest", "oldest")}
        self.days: list[int] = []
        self.seen = frozenset(np.flatnonzero(vocabulary.seen).tolist())

    def build(self, features: Sequence[Feature], windows: tuple[int, ...]) -> None:
        expanded = [(f, *one) for feature in features for f, *one in self._expand(feature)]
        spans = {d for f, _, _ in expanded for _, _, w in f.columns(windows) for d in w if d != EVER}
        self.days = sorted(spans)
        self.plan.windows = np.array([d * DAY for d in self.days], dtype=np.int64)
        for feature, combos, origin in expanded:
            slot = self.slots.setdefault(combos, len(self.slots))
            for name, measure, days in feature.columns(windows):
                if not feature.measures_value(measure) or combos & self.seen & self._filled(feature.of):
                    self.plan.outputs.append(self._output(name, feature, origin, measure, days, slot))
        self._write_tables()

    def _expand(self, feature: Feature) -> list[tuple[Feature, frozenset[int], Feature]]:
        """One declaration for each value where it asks for that, with the combos that it counts."""
        parts = [(feature, dict(feature.where))]
        if feature.each:
            wanted = feature.where.get(feature.each)
            values = [v for v in self.vocabulary.values[feature.each] if wanted is None or v in _slugs(wanted)]
            parts = [(_for_value(feature, v), {**feature.where, feature.each: v}) for v in values]
        found = []
        for part, where in parts:
            combos = frozenset(self._matching(where))
            if combos & self.seen:
                found.append((part, combos, feature))
        return found

    def _matching(self, where: Mapping[str, object]) -> list[int]:
        """Combos that the filter lets through. Some may not have occurred yet, but they can on the next day."""
        numbers = np.arange(self.plan.n_combos)
        keep = np.ones(len(numbers), dtype=bool)
        for codes, (column, condition) in zip(self._codes(numbers), self.plan.dims, strict=True):
            if column not in where or bool(condition) != _is_comparison(where[column]):
                continue
            if condition:
                keep &= (codes == 1) if where[column] == condition else True
            else:
                known = self.vocabulary.values[column]
                keep &= np.isin(codes, [known.index(w) + 1 for w in _slugs(where[column]) if w in known])
        return numbers[keep].tolist()

    def _filled(self, column: str) -> frozenset[int]:
        """Combos of which some event has a value in the column."""
        return self.vocabulary.filled.get(column, frozenset(range(self.plan.n_combos)))

    def _codes(self, numbers: np.ndarray) -> list[np.ndarray]:
        codes = []
        for size in reversed(self.plan.sizes):
            codes.append(numbers % size)
            numbers = numbers // size
        return codes[::-1]

    def _output(
        self, name: str, feature: Feature, origin: Feature, measure: str, days: tuple[int, ...], slot: int
    ) -> Output:
        at: tuple[int, ...]
        per_unit, encoding = 1, ""
        if measure in ("n", "trend", "per_week", "per_day"):
            at = tuple(self._want("n", slot, self._window(d)) for d in (days or (EVER,)))
        elif measure in ("sum", "mean"):
            per_unit = self.view.per_unit[feature.of]
            item = self._item("sum", slot, self._column(feature.of, "sum"))
            at = (self._want("sum", item, self._window(days[0])),)
        elif measure == "days":
            at = (self._want("day", self._item("day", slot), self._window(days[0])),)
        elif measure in ("recency", "first"):
            at = (self._want("newest" if measure == "recency" else "oldest", slot),)
        elif measure == "smoothed":
            per_unit = self.view.per_unit[feature.of] if feature.of else 1
            at = (self._item("week", slot, self._column(feature.of, "sum") if feature.of else -1),)
        else:
            encoding = self._encoding(feature)
            at = (self._item("last", slot, self._column(feature.of, encoding)),)
        return Output(name, measure, at, days, per_unit, encoding, origin, feature.of)

    def _encoding(self, feature: Feature) -> str:
        return self.view.kind(feature.of)

    def _window(self, days: int) -> int:
        return len(self.days) if days == EVER else self.days.index(days)

    def _want(self, kind: str, *what: int) -> int:
        return self.wants[kind].setdefault(what, len(self.wants[kind]))

    def _item(self, kind: str, *what: int) -> int:
        return self.lists[kind].setdefault(what, len(self.lists[kind]))

    def _column(self, name: str, encoding: str) -> int:
        per_unit = self.view.per_unit.get(name, 1) if encoding == "sum" else 1
        column = (name, encoding, per_unit)
        if column not in self.plan.columns:
            self.plan.columns.append(column)
        return self.plan.columns.index(column)

    def _write_tables(self) -> None:
        n = self.plan.n_combos
        by_slot = {number: combos for combos, number in self.slots.items()}
        tables = {"n_slots": np.array(len(self.slots)), "n_days": np.array(len(self.lists["day"]))}
        tables["slot_ptr"], tables["slots"] = _offsets(n, [by_slot[s] for s in range(len(by_slot))])
        for kind in ("sum", "day", "week", "last"):
            items = list(self.lists[kind])
            tables[f"{kind}_ptr"], tables[f"{kind}s"] = _offsets(n, [by_slot[item[0]] for item in items])
            tables[f"{kind}_value"] = np.array([item[1] if len(item) > 1 else -1 for item in items], dtype=np.int64)
        units = [self.plan.columns[c][2] if c >= 0 else 1 for c in tables["week_value"]]
        tables["week_unit"] = np.array(units, dtype=np.float64)
        for kind, wanted in self.wants.items():
            shape = (len(wanted), 2) if kind in ("n", "sum", "day") else (len(wanted),)
            tables[f"want_{kind}"] = np.array(list(wanted), dtype=np.int64).reshape(shape)
        self.plan.tables = tables


def _slugs(wanted: str | tuple[str, ...]) -> list[str]:
    """Values that a filter names, as parts of names."""
    return [slug(w) for w in (wanted if isinstance(wanted, tuple) else (wanted,))]


def _for_value(feature: Feature, value: str) -> Feature:
    name = plural(value) if feature.each == "type" else value
    noun = (feature.noun or "events of {}").replace("{}", value)
    return replace(feature, name=feature.name.replace("{}", name), noun=noun, each="", where={})


def _offsets(n_combos: int, members: list[frozenset[int]]) -> tuple[np.ndarray, np.ndarray]:
    """For each combo the numbers of the sets that hold it, as offsets and one array."""
    lists: list[list[int]] = [[] for _ in range(n_combos)]
    for number, combos in enumerate(members):
        for combo in combos:
            lists[combo].append(number)
    ptr = np.zeros(n_combos + 1, dtype=np.int64)
    ptr[1:] = np.cumsum([len(part) for part in lists])
    return ptr, np.array([number for part in lists for number in part], dtype=np.int64)


def as_codes(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return integer codes (−1 = gap) and the distinct values."""
    codes, uniques = pd.factorize(values)
    return codes, np.asarray(uniques, dtype=object)
