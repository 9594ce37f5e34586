"""Features of one entity at one instant, for live scoring: the same function as for many, from plain records.

No frames here: a record becomes a few numbers, and `compute_partition` does the rest, so a value computed live has the
bits that the batch gives.
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from operator import ge, gt, le, lt

import numpy as np

from crmlab.schema import DataError, ParameterError, did_you_mean

from .declare import Declaration, slug
from .events import Events, encode_numbers, gap_code
from .kernel import MISSING
from .partition import Rows, compute_partition
from .plan import ViewPlan, comparison
from .stream import NEVER_NEGATIVE, Part, begun, computed_from_events, names_of, resolve

__all__ = ["LiveFeatures", "Record", "instant"]

Record = Mapping[str, object]
"""One event: `ts`, where it can differ `known_at`, and the columns that the plan names; None or absent where empty."""

_EPOCH = dt.datetime(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)
_COMPARE = {np.greater_equal: ge, np.less_equal: le, np.greater: gt, np.less: lt}
_MOST_SPELLINGS = 10_000


def instant(time: object) -> int:
    """Return a time as microseconds since 1970 in UTC; one without a time zone is in UTC, an empty one is `MISSING`.

    >>> instant(dt.datetime(1970, 1, 1, 0, 0, 1))
    1000000
    """
    if type(time) is int:
        return time
    if time is None or time != time:
        return int(MISSING)
    if isinstance(time, np.datetime64):
        return int(time.astype("datetime64[us]").astype(np.int64))
    if not isinstance(time, dt.datetime):
        raise DataError("An event's time cannot be read.", found=repr(time), remedy="give a datetime.")
    if time.tzinfo is not None:
        time = time.astimezone(dt.UTC).replace(tzinfo=None)
    return (time - _EPOCH) // _MICROSECOND


class LiveFeatures:
    """Computes the features of one entity from its events.

    Parameters
    ----------
    plans : of the views, as they were for training (`plan_features`).
    features : what was declared, in its order, so that formulas and the calendar are computed as well; empty for
        everything that the plans hold. Fields, linked features, notes and tags are not made of the entity's own events:
        give them as `context`.
    """

    def __init__(self, plans: Sequence[ViewPlan], features: Sequence[Declaration] = ()) -> None:
        self.plans = list(plans)
        self._declared = tuple(f for f in features if computed_from_events(f))
        self._names = names_of(self._declared, [output for plan in plans for output in plan.outputs])
        self._coders = {plan.view: _Coder(plan) for plan in plans}
        self._words = {
            output.name: (*plan.vocabularies[f"={output.value}"], None)
            for plan in plans
            for output in plan.outputs
            if output.encoding == "category"
        }
        self._row_start = np.array([0, 1], dtype=np.int64)

    def features(
        self,
        events: Mapping[str, Iterable[Record]],
        *,
        as_of: object,
        since: object = None,
        context: Mapping[str, object] | None = None,
    ) -> dict[str, object]:
        """Return name → value: whole numbers for counts, floats with NaN, text or None for categories.

        Parameters
        ----------
        events : view → the entity's events in that view, in the order of their ids; a view may be absent.
        as_of : instant at which is looked; what happened or was entered then or later does not count.
        since : when the entity began.
        context : further features by name, such as fields and those of its owner; formulas may use them, and they are
            passed on as they are.

        Raises
        ------
        ParameterError : a view that no plan asks for. DataError : a time or number that cannot be read.
        """
        unknown = [view for view in events if view not in self._coders]
        if unknown:
            raise ParameterError(
                "There are events that no feature asks for.",
                found=unknown[0],
                remedy=did_you_mean(unknown[0], list(self._coders)),
            )
        encoded = {view: coder.encode(events.get(view, ())) for view, coder in self._coders.items()}
        t = np.array([instant(as_of)], dtype=np.int64)
        began = begun(np.array([instant(since)], dtype=np.int64), t)
        if t[0] == MISSING:
            raise DataError("There is no `as_of` to look at.", remedy="give the instant of the question.")
        found = compute_partition(self.plans, Rows(self._row_start, t, began), encoded)
        if self._declared:
            part = Part(np.zeros(1, dtype=np.int32), t, began)
            given = {name: np.array([value]) for name, value in (context or {}).items()}
            found = resolve(self._declared, self._names, given | found, part)
        values = {name: column.item() for name, column in found.items()}
        for name in self._words.keys() & values.keys():
            values[name] = self._words[name][values[name]]
        return values | dict(context or {})


class _Coder:
    """Turns records of one view into arrays."""

    def __init__(self, plan: ViewPlan) -> None:
        self.plan = plan
        self._dims = []
        for (column, condition), size in zip(plan.dims, plan.sizes, strict=True):
            if condition:
                function, bound = comparison(condition)
                self._dims.append((column, size, None, (_COMPARE[function], bound), {}))
            else:
                place = {value: k + 1 for k, value in enumerate(plan.vocabularies[column])}
                self._dims.append((column, size, place, None, {None: 0}))
        self._places = {
            name: {value: k for k, value in enumerate(plan.vocabularies[f"={name}"])}
            for name, encoding, _ in plan.columns
            if encoding == "category"
        }
        self._never_negative = NEVER_NEGATIVE.get(plan.view, ())

    def encode(self, records: Iterable[Record]) -> Events:
        ts, enters, combo, used = [], [], [], []
        for record in records:
            when = instant(record.get("ts"))
            known = instant(record["known_at"]) if "known_at" in record else when
            if when == MISSING or known == MISSING:
                continue
            ts.append(when)
            enters.append(max(when, known))
            combo.append(self._combo(record))
            used.append(record)
        values = np.empty((len(self.plan.columns), len(ts)), dtype=np.int64)
        for line, (name, encoding, per_unit) in zip(values, self.plan.columns, strict=True):
            line[:] = self._column(name, encoding, per_unit, used)
        return Events(
            np.zeros(len(ts), dtype=np.int32),
            np.array(ts, dtype=np.int64),
            np.array(enters, dtype=np.int64),
            np.array(combo, dtype=np.uint16),
            values,
        )

    def _combo(self, record: Record) -> int:
        combo = 0
        for column, size, place, compare, spellings in self._dims:
            value = record.get(column)
            if compare:
                code = int(compare[0](self._number(value, column), compare[1]))
            else:
                code = spellings.get(value)
                if code is None:
                    code = 0 if value != value else place.get(slug(value), 0)
                    if len(spellings) < _MOST_SPELLINGS:
                        spellings[value] = code
            combo = combo * size + code
        return combo

    def _column(self, name: str, encoding: str, per_unit: int, records: Sequence[Record]) -> object:
        if encoding == "time":
            return [instant(record.get(name)) for record in records]
        if encoding == "category":
            place, gap = self._places[name], gap_code(self.plan.view)
            return [place.get(record.get(name), gap) for record in records]
        numbers = np.array([self._number(record.get(name), name) for record in records], dtype=np.float64)
        return encode_numbers(numbers, encoding, per_unit, f"{self.plan.view}.{name}")

    def _number(self, value: object, name: str) -> float:
        if value is None:
            return math.nan
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise DataError(
                f"A value of `{name}` is no number.", found=type(value).__name__, remedy="give a number, or None."
            ) from None
        return math.nan if number < 0 and name in self._never_negative else number
