"""Features of a log larger than memory: sorted into ranges of entities, computed range by range, several at once.

The log is read once, batch by batch, and sorted into ranges of entities (`spill`). Each block of ranges then goes
through `compute_partition`, as everywhere else, so the result has the same bits. It is written under another name and
takes its place when it is complete.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crmlab.schema import ENTITY_KEYS, DataError, ParameterError, SourceError

from .declare import WINDOWS, Calendar, Declaration, Difference, Feature, Ratio, Total, check_windows
from .derived import formula_column, month, quarter_days_left
from .events import Events
from .kernel import DAY, MISSING
from .log import Ids, LogReader, Source, batches_of, micros, read_columns, value_columns, vocabulary_seen
from .partition import Carried, Rows, compute_partition
from .plan import Output, ViewPlan, check_feature, dims_of, plan_view
from .spill import Spill
from .views import VIEWS

__all__ = [
    "NEVER_NEGATIVE",
    "Asked",
    "Context",
    "LinkedLog",
    "Part",
    "StreamReport",
    "Work",
    "begun",
    "check_stream",
    "computed_from_events",
    "events_only",
    "names_of",
    "open_writer",
    "reader_of",
    "replaced",
    "resolve",
    "sort_log",
    "stream_features",
    "target_of",
    "write_blocks",
]

_BLOCK_EVENTS = 512 * 1024
_BLOCK_ROWS = 64 * 1024
_STARTS = {"rep": "hired_at"}
NEVER_NEGATIVE = {"interactions": ("duration",)}
"""View → columns in which a number below 0 counts as missing."""

Column = np.ndarray | pa.Array


@dataclass(frozen=True)
class Part:
    """Some of the rows asked for, by entity and date.

    Attributes
    ----------
    entity : int32, place of the entity in the table of entities.
    as_of, since : int64, microseconds; `MISSING` where the entity's beginning is not known or had not come yet.
    """

    entity: np.ndarray
    as_of: np.ndarray
    since: np.ndarray


Context = Callable[[Part], Mapping[str, Column]]
"""Gives further columns for some rows, such as those of a table (owner, date) that is at hand."""


@dataclass(frozen=True)
class LinkedLog:
    """Features of what an entity belongs to all its life, from a log of its own; computed once per (other, date).

    Attributes
    ----------
    prefix : put before their names. entity : whose features they are. view : which events. by : column of the entities'
    table that names the other one. events : their log, small enough for memory. features : declarations of events and
    formulas of them.
    """

    prefix: str
    entity: str
    view: str
    by: str
    events: Source
    features: Sequence[Declaration]


@dataclass
class StreamReport:
    """What was computed.

    Attributes
    ----------
    rows : number of rows. features : their names, in order. events : how many events there were, how many were used and
    how many not, and why. plan : what was computed from the log. table : the features, when no file was asked for.
    """

    rows: int
    features: list[str]
    events: dict[str, int]
    plan: ViewPlan
    table: pa.Table | None = field(default=None, repr=False)


def stream_features(
    events: Source,
    rows: Source,
    *,
    features: Sequence[Declaration],
    entities: Source,
    out: str | Path | None = None,
    entity: str = "lead",
    view: str = "interactions",
    windows: Sequence[int] = WINDOWS,
    linked: Sequence[LinkedLog] = (),
    context: Context | None = None,
    in_memory: bool = False,
    folder: str | Path | None = None,
    compression: str = "none",
    threads: int | None = None,
) -> StreamReport:
    """Compute features from a log of any length and write them as Parquet, by entity and date.

    Parameters
    ----------
    events : log with the entity's id, `ts`, where it can differ `known_at`, and the columns that the declarations
        name; in any order. Of two events at one instant the later one in the log is the newer.
    rows : the entity's id and `as_of`; in any order.
    features : declarations of events of this view, formulas of them, and the calendar feature `age_days`.
    entities : one row per entity with its id and the time it began (`created_at`, for reps `hired_at`), if known.
    out : file to write, in one step at the end; None returns the features as a table.
    windows : days to look back, for declarations that leave them to the study.
    linked : features of what the entities belong to. context : further columns.
    in_memory : keep the sorted events in memory; otherwise they go to a temporary file in `folder` (None: beside
        `out`).
    compression : of the file: "none" takes the least time, "lz4" and "zstd" less than half the room.
    threads : blocks computed at once; None: one per core.

    Raises
    ------
    ParameterError : a declaration that makes no sense here.
    DataError : a column that is missing or of the wrong type; a row without date or of an unknown entity.
    SourceError : a file cannot be read or written, or the disk is full; nothing half written is left.
    """
    windows = check_stream(features, entity, view, windows)
    asked = Asked.read(rows, entities, entity)
    # Before the long part: what would fail at its end.
    target = target_of(out)
    others = [_Looked.build(link, entities, asked, windows) for link in linked]
    spill_in = None if in_memory else Path(folder or (target.parent if target else "."))
    with Spill(len(asked.ids), folder=spill_in) as spill:
        reader = sort_log(events, features, view, entity, asked.ids, spill)
        plan = plan_view(view, entity, events_only(features), vocabulary_seen([reader.seen()]), windows=windows)
        work = Work(
            asked,
            spill,
            plan,
            features,
            combos=reader.combos.to_plan(plan.vocabularies),
            columns=reader.columns,
            contexts=[*(other.columns for other in others), *([context] if context else [])],
        )
        names, table = write_blocks(target, work, threads, compression)
    return StreamReport(len(asked.as_of), names, reader.counts, plan, table)


def check_stream(features: Sequence[Declaration], entity: str, view: str, windows: Sequence[int]) -> tuple[int, ...]:
    check_windows(tuple(windows))
    for feature in features:
        if isinstance(feature, Feature):
            check_feature(feature)
            if feature.view != view:
                raise ParameterError(
                    f"Feature `{feature.name}` asks for other events than the log holds.",
                    found=feature.view,
                    remedy=f"compute it from its own log; this one holds `{view}`.",
                )
        elif not computed_from_events(feature):
            raise ParameterError(
                "A log alone does not tell this feature.",
                found=repr(feature),
                remedy="use build_features or stream_crm, or give it as context.",
            )
    if entity not in VIEWS[view].links:
        raise ParameterError(
            f"Events `{view}` do not belong to this kind of entity.",
            found=entity,
            remedy=f"they belong to: {', '.join(VIEWS[view].links)}.",
        )
    return tuple(int(w) for w in windows)


def computed_from_events(declaration: Declaration) -> bool:
    """Whether events and the dates of a row are all that a declaration needs."""
    if isinstance(declaration, Calendar):
        return declaration.name in _CALENDAR
    return isinstance(declaration, Feature | Ratio | Difference | Total)


def events_only(features: Iterable[Declaration]) -> list[Feature]:
    return [feature for feature in features if isinstance(feature, Feature)]


@dataclass
class Asked:
    """The rows asked for, sorted by entity and date."""

    ids: Ids
    since: np.ndarray
    entity: np.ndarray
    as_of: np.ndarray
    start: np.ndarray

    @classmethod
    def of_entities(cls, entities: Source, entity: str) -> "Asked":
        """Return no rows of these entities."""
        key, begin = ENTITY_KEYS[entity], _STARTS.get(entity, "created_at")
        known = read_columns(entities, [key, f"{begin}?"], "entities")
        ids = Ids(known[key], key)
        since = micros(known[begin], begin) if begin in known else np.full(len(ids), MISSING)
        empty = np.empty(0, dtype=np.int64)
        return cls(ids, since, empty.astype(np.int32), empty, np.zeros(len(ids) + 1, dtype=np.int64))

    @classmethod
    def read(cls, rows: Source, entities: Source, entity: str) -> "Asked":
        """Return the rows of a source."""
        nobody = cls.of_entities(entities, entity)
        asked = read_columns(rows, [nobody.ids.name, "as_of"], "rows")
        numbers = [nobody.ids.numbers(chunk) for chunk in asked[nobody.ids.name].chunks]
        number = np.concatenate(numbers) if numbers else np.empty(0, dtype=np.int32)
        return nobody.asking(number, micros(asked["as_of"], "as_of"))

    def asking(self, number: np.ndarray, as_of: np.ndarray) -> "Asked":
        """Return rows of the same entities."""
        _check_rows(number, as_of, self.ids.name)
        if not _in_order(number, as_of):
            order = np.lexsort((as_of, number))
            number, as_of = number[order], as_of[order]
        start = np.zeros(len(self.ids) + 1, dtype=np.int64)
        np.cumsum(np.bincount(number, minlength=len(self.ids)), out=start[1:])
        return replace(self, entity=number, as_of=as_of, start=start)

    def part(self, first: int, end: int) -> Part:
        """Return the rows of entities first..end−1."""
        here = slice(self.start[first], self.start[end])
        entity = self.entity[here]
        return Part(entity, self.as_of[here], begun(self.since[entity], self.as_of[here]))


def begun(since: np.ndarray, as_of: np.ndarray) -> np.ndarray:
    """Return when each began, `MISSING` where that had not come yet."""
    return np.where(since < as_of, since, MISSING)


def _check_rows(entity: np.ndarray, as_of: np.ndarray, key: str) -> None:
    n_unknown, n_empty = int((entity < 0).sum()), int((as_of == MISSING).sum())
    if n_unknown:
        raise DataError(
            f"Some rows ask for a `{key}` that is not among the entities.",
            found=f"{n_unknown:,} of {len(entity):,} rows",
            remedy="leave these rows out, or add the entities.",
        )
    if n_empty:
        raise DataError(
            "Some rows do not say at which date to look.",
            found=f"{n_empty:,} of {len(as_of):,} rows without `as_of`",
            remedy="give every row an `as_of`.",
        )


def _in_order(entity: np.ndarray, as_of: np.ndarray) -> bool:
    later = entity[1:] > entity[:-1]
    return bool((later | ((entity[1:] == entity[:-1]) & (as_of[1:] >= as_of[:-1]))).all())


def sort_log(
    events: Source, features: Sequence[Declaration], view: str, entity: str, ids: Ids, spill: Spill
) -> LogReader:
    """Read the log once, sort it into ranges, and return what was seen."""
    reader = reader_of(features, view, entity, ids)
    for batch in batches_of(events, reader.needs(), "events", texts=reader.texts()):
        spill.add(reader.read(batch))
    return reader


def reader_of(features: Sequence[Declaration], view: str, entity: str, ids: Ids) -> LogReader:
    """Return a reader of what declarations need."""
    of_events = events_only(features)
    columns = value_columns(view, [f.of for f in of_events if f.of])
    key = VIEWS[view].links.get(entity, ENTITY_KEYS[entity])
    return LogReader(view, key, ids, dims_of(of_events), columns, NEVER_NEGATIVE.get(view, ()))


class Work:
    """From a block of entities to their features.

    Parameters
    ----------
    combos : the plan's number of each combo in the spill. columns : value columns in the spill, in their order.
    contexts : give further columns.
    """

    def __init__(
        self,
        asked: Asked,
        spill: Spill,
        plan: ViewPlan,
        features: Sequence[Declaration],
        *,
        combos: np.ndarray,
        columns: Iterable[str],
        contexts: Sequence[Context] = (),
    ) -> None:
        self.asked, self.spill, self.plan, self.features = asked, spill, plan, features
        self.combos, self.contexts = combos, contexts
        number = {name: k for k, name in enumerate(columns)}
        self.columns = [(number[name], encoding, unit, f"{plan.view}.{name}") for name, encoding, unit in plan.columns]

    def blocks(self, *, everything: bool = False, size: int = 1) -> Iterator[tuple[int, int]]:
        """Yield ranges of the spill that together have enough events or rows.

        Parameters
        ----------
        everything : also those without rows. size : how many times as large as usual.
        """
        edges = np.minimum(np.arange(self.spill.n_ranges + 1) << self.spill.shift, len(self.asked.ids))
        n_rows, n_events = np.diff(self.asked.start[edges]), self.spill.counts
        first = rows = events = 0
        for k in range(self.spill.n_ranges):
            if k > first and (rows + n_rows[k] > size * _BLOCK_ROWS or events + n_events[k] > size * _BLOCK_EVENTS):
                if rows or everything:
                    yield first, k
                first, rows, events = k, 0, 0
            rows, events = rows + n_rows[k], events + n_events[k]
        if rows or everything or first == 0:
            yield first, self.spill.n_ranges

    def compute(self, block: tuple[int, int]) -> pa.RecordBatch:
        """Return the keys and features of a block."""
        first, end = self.spill.entities_of(*block)
        part = self.asked.part(first, end)
        return self.batch(part, self.found(self.rows(first, end, part), self.events(block)))

    def events(self, block: tuple[int, int]) -> Events:
        """Return the events of a block, its entities numbered from 0 on."""
        return self.spill.read(*block, self.combos, self.columns)

    def rows(self, first: int, end: int, part: Part) -> Rows:
        """Return the rows of entities first..end−1 as `compute_partition` takes them."""
        return Rows(self.asked.start[first : end + 1] - self.asked.start[first], part.as_of, part.since)

    def found(self, rows: Rows, events: Events, carried: Carried | None = None) -> dict[str, np.ndarray]:
        """Return what the plan computes for rows."""
        before = {self.plan.view: carried} if carried else None
        return compute_partition([self.plan], rows, {self.plan.view: events}, carried=before)

    def batch(self, part: Part, found: Mapping[str, np.ndarray]) -> pa.RecordBatch:
        """Return rows as they are written: keys, features, context."""
        names = names_of(self.features, self.plan.outputs)
        columns: dict[str, Column] = dict(resolve(self.features, names, found, part))
        for context in self.contexts:
            columns |= context(part)
        keys = self.asked.ids.keys.take(pa.array(part.entity))
        dates = pa.array(part.as_of).view(pa.timestamp("us"))
        return _as_batch({self.asked.ids.name: keys, "as_of": dates} | columns)


def _as_batch(columns: Mapping[str, Column]) -> pa.RecordBatch:
    """Numbers say NaN where they are missing; declared as never null they are written in half the time."""
    arrays = [column if isinstance(column, pa.Array) else pa.array(column) for column in columns.values()]
    fields = [
        pa.field(name, array.type, nullable=isinstance(column, pa.Array) and k > 1)
        for k, ((name, column), array) in enumerate(zip(columns.items(), arrays, strict=True))
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def names_of(features: Sequence[Declaration], outputs: Sequence[Output]) -> list[list[str]]:
    """Return the names that each declaration gives with these plans; declarations are told apart by what they say."""
    by_feature: dict[str, list[str]] = {}
    for output in outputs:
        by_feature.setdefault(repr(output.feature), []).append(output.name)
    return [by_feature.get(repr(f), []) if isinstance(f, Feature) else f.names() for f in features]


def resolve(
    features: Sequence[Declaration], names: Sequence[Sequence[str]], found: Mapping[str, np.ndarray], part: Part
) -> dict[str, np.ndarray]:
    """Return the features that are shown, in the order of their declaration, formulas and calendar computed.

    Parameters
    ----------
    names : of `names_of`. found : results of the plans, and whatever formulas need besides.
    """
    found, shown = dict(found), {}
    for feature, own in zip(features, names, strict=True):
        if isinstance(feature, Calendar):
            found[feature.name] = _CALENDAR[feature.name](part)
        elif not isinstance(feature, Feature):
            column = formula_column(feature, found)
            if column is None:
                continue
            found[feature.name] = column
        shown |= {} if feature.hidden else {name: found[name] for name in own}
    return shown


def _age_days(part: Part) -> np.ndarray:
    known = part.since != MISSING
    return np.where(known, (part.as_of - np.where(known, part.since, 0)) / DAY, np.nan)


_CALENDAR = {
    "age_days": _age_days,
    "month": lambda part: month(part.as_of),
    "quarter_days_left": lambda part: quarter_days_left(part.as_of),
}
"""Calendar features that need nothing but dates of the row itself."""


@dataclass
class _Looked:
    """A dense table of another entity's features by date, and who belongs to whom."""

    other: np.ndarray
    dates: np.ndarray
    table: dict[str, np.ndarray]

    @classmethod
    def build(cls, link: LinkedLog, entities: Source, asked: Asked, windows: tuple[int, ...]) -> "_Looked":
        windows = check_stream(link.features, link.entity, link.view, windows)
        named = read_columns(entities, [link.by], "entities")[link.by].combine_chunks()
        named = named.dictionary_decode() if pa.types.is_dictionary(named.type) else named
        ids = Ids(named.drop_null().unique(), VIEWS[link.view].links[link.entity])
        other = ids.numbers(named)
        dates = np.sort(pa.array(asked.as_of).unique().to_numpy())
        if len(dates) * len(ids) > max(4 * len(asked.as_of), 1_000_000):
            raise ParameterError(
                f"Features `{link.prefix}_…` would need a table that is larger than the rows asked for.",
                found=f"{len(ids):,} × {len(dates):,} dates",
                remedy="ask for rows on common dates, such as each Monday, or use stream_crm.",
            )
        columns = cls._compute(link, ids, dates, windows)
        return cls(other, dates, {f"{link.prefix}_{name}": column for name, column in columns.items()})

    @staticmethod
    def _compute(link: LinkedLog, ids: Ids, dates: np.ndarray, windows: tuple[int, ...]) -> dict[str, np.ndarray]:
        n = len(ids)
        start = np.arange(n + 1, dtype=np.int64) * len(dates)
        entity = np.repeat(np.arange(n, dtype=np.int32), len(dates))
        asked = Asked(ids, np.full(n, MISSING), entity, np.tile(dates, n), start)
        with Spill(n, folder=None) as spill:
            reader = sort_log(link.events, link.features, link.view, link.entity, ids, spill)
            plan = plan_view(
                link.view, link.entity, events_only(link.features), vocabulary_seen([reader.seen()]), windows=windows
            )
            combos = reader.combos.to_plan(plan.vocabularies)
            work = Work(asked, spill, plan, link.features, combos=combos, columns=reader.columns)
            table = pa.Table.from_batches([work.compute((0, spill.n_ranges))])
        return {name: table[name].to_numpy() for name in table.schema.names[2:]}

    def columns(self, part: Part) -> dict[str, np.ndarray]:
        other = self.other[part.entity]
        at = other.astype(np.int64) * len(self.dates) + np.searchsorted(self.dates, part.as_of)
        missing = other < 0
        if not missing.any():
            return {name: column[at] for name, column in self.table.items()}
        at[missing] = 0
        return {name: np.where(missing, np.nan, column[at]) for name, column in self.table.items()}


def target_of(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    target = Path(out)
    if not target.parent.is_dir():
        raise SourceError(
            "The features cannot be written.", found=f"no folder {target.parent}", remedy="create it, or name another."
        )
    return target


def write_blocks(
    target: Path | None, work: Work, threads: int | None, compression: str = "none", *, everything: bool = False
) -> tuple[list[str], pa.Table | None]:
    """Compute blocks, several at once, and write them in their order."""
    batches = _in_parallel(work.blocks(everything=everything), work.compute, threads)
    if target is None:
        table = pa.Table.from_batches(list(batches))
        return table.schema.names[2:], table
    writer = None
    with replaced(target) as file:
        try:
            for batch in batches:
                writer = writer or open_writer(file, batch.schema, compression)
                writer.write_batch(batch)
        finally:
            if writer is not None:
                writer.close()
    return writer.schema.names[2:], None


def open_writer(file: Path, schema: pa.Schema, compression: str = "none") -> pq.ParquetWriter:
    """Return a writer for features: many distinct numbers, for which dictionaries and statistics do not pay."""
    keys = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
    return pq.ParquetWriter(
        file, schema, compression=compression, use_dictionary=keys, write_statistics=list(schema.names[:2])
    )


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """Yield a file beside `target` that takes its place at the end, or is removed.

    Raises
    ------
    SourceError : it cannot be written.
    """
    for old in target.parent.glob(f".{target.name}.*.partial"):
        old.unlink(missing_ok=True)
    file = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield file
        file.replace(target)
    except OSError as error:
        raise SourceError(
            f"The features cannot be written to {target.name}; nothing half written was left.",
            found=str(error),
            remedy="check that the disk has space and the folder may be written to.",
        ) from error
    finally:
        file.unlink(missing_ok=True)


def _in_parallel(
    blocks: Iterable[tuple[int, int]], compute: Callable[[tuple[int, int]], pa.RecordBatch], threads: int | None
) -> Iterator[pa.RecordBatch]:
    """Yield results in order, never holding more than one per thread and one in hand."""
    n = threads or os.cpu_count() or 1
    if n == 1:
        yield from map(compute, blocks)
        return
    with ThreadPoolExecutor(n) as pool:
        waiting: deque[Future] = deque()
        try:
            for block in blocks:
                waiting.append(pool.submit(compute, block))
                if len(waiting) > n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
