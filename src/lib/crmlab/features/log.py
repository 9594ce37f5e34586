"""An event log, batch by batch: whose events, when, of which kind, with which values, and what had to be left out.

A log may be larger than memory, so nothing here looks at more than one batch. What the values of its category columns
are is found on the way: events get provisional numbers first, and the numbers of the plan once all have been seen.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from crmlab.schema import DataError, ParameterError, SourceError, did_you_mean

from .declare import slug
from .kernel import MISSING
from .plan import Vocabulary, comparison, vocabulary_of
from .views import VIEWS

__all__ = [
    "BATCH",
    "Batch",
    "Combos",
    "Ids",
    "LogReader",
    "Seen",
    "Source",
    "batches_of",
    "micros",
    "read_columns",
    "value_columns",
    "vocabulary_seen",
]

BATCH = 512 * 1024
"""Events in a batch."""
_MOST_COMBOS = np.iinfo(np.uint16).max

Source = str | Path | Sequence[str | Path] | pd.DataFrame | pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]
"""Where rows may come from: Parquet files, a frame, an Arrow table, or Arrow batches."""


class Batch:
    """Events of a log as arrays, those that belong to none of the entities left out.

    Attributes
    ----------
    entity : int32. ts : int64, microseconds. enters : int64, or None where every event was known at once.
    combo : uint16, provisional. values : one float64 or int64 array per value column.
    """

    __slots__ = ("combo", "enters", "entity", "ts", "values")

    def __init__(
        self,
        entity: np.ndarray,
        ts: np.ndarray,
        enters: np.ndarray | None,
        combo: np.ndarray,
        values: list[np.ndarray],
    ) -> None:
        self.entity, self.ts, self.enters, self.combo, self.values = entity, ts, enters, combo, values


def batches_of(
    source: Source,
    columns: Sequence[str],
    what: str,
    *,
    texts: Sequence[str] = (),
    groups: Callable[[pq.ParquetFile], Sequence[int]] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the columns of a source, batch by batch.

    Parameters
    ----------
    columns : those wanted; one that ends in ? may be missing. what : what the source holds, in words, for errors.
    texts : columns that come dictionary-encoded where the source can. groups : chooses row groups of Parquet files.

    Raises
    ------
    DataError : a column is missing. SourceError : a file is missing or damaged.
    """
    if isinstance(source, pd.DataFrame):
        source = pa.Table.from_pandas(source, preserve_index=False)
    if isinstance(source, str | Path):
        source = [source]
    if isinstance(source, Sequence) and all(isinstance(part, str | Path) for part in source):
        for path in source:
            yield from _of_file(Path(path), columns, what, texts, groups)
        return
    if isinstance(source, pa.Table):
        source = source.to_batches(max_chunksize=BATCH)
    for batch in source:
        yield batch.select(_present(batch.schema, columns, what))


def _of_file(
    path: Path,
    columns: Sequence[str],
    what: str,
    texts: Sequence[str],
    groups: Callable[[pq.ParquetFile], Sequence[int]] | None,
) -> Iterator[pa.RecordBatch]:
    with _readable(path):
        schema = pq.read_schema(path)
        chosen = _present(schema, columns, what)
        words = [name for name in texts if _is_text(schema.field(name).type)]
    with _readable(path), pq.ParquetFile(path, read_dictionary=words) as file:
        wanted = range(file.num_row_groups) if groups is None else groups(file)
        # An iterator keeps what it has read until its end: a new one for every batch's worth of row groups.
        for part in _together(wanted, [file.metadata.row_group(g).num_rows for g in wanted]):
            yield from file.iter_batches(BATCH, row_groups=part, columns=chosen, use_threads=False)


def _together(groups: Sequence[int], n_rows: Sequence[int]) -> Iterator[list[int]]:
    """Row groups in parts that hold about a batch each."""
    part, n = [], 0
    for group, rows in zip(groups, n_rows, strict=True):
        if part and n + rows > BATCH:
            yield part
            part, n = [], 0
        part, n = [*part, group], n + rows
    if part:
        yield part


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(
            f"The file {path.name} cannot be read as Parquet.",
            found=str(error).splitlines()[0],
            remedy="check the path, and write the file again if it is damaged.",
        ) from error


def _present(schema: pa.Schema, columns: Sequence[str], what: str) -> list[str]:
    wanted = [(c.removesuffix("?"), c.endswith("?")) for c in columns]
    for name, optional in wanted:
        if name not in schema.names and not optional:
            raise DataError(
                f"The {what} have no column `{name}`.",
                found=f"columns {', '.join(schema.names) or 'none'}",
                remedy=did_you_mean(name, schema.names),
            )
    return [name for name, _ in wanted if name in schema.names]


def read_columns(source: Source, columns: Sequence[str], what: str) -> dict[str, pa.ChunkedArray]:
    """Return columns of a source as a whole."""
    if isinstance(source, pa.RecordBatchReader):
        source = source.read_all()
    batches = list(batches_of(source, columns, what))
    if not batches:
        schema = _schema(source, what)
        return {c: pa.chunked_array([], schema.field(c).type) for c in _present(schema, columns, what)}
    return {name: pa.chunked_array([b.column(name) for b in batches]) for name in batches[0].schema.names}


def _schema(source: Source, what: str) -> pa.Schema:
    if isinstance(source, pd.DataFrame):
        return pa.Schema.from_pandas(source, preserve_index=False)
    if isinstance(source, pa.Table):
        return source.schema
    paths = [source] if isinstance(source, str | Path) else list(source)
    if not paths:
        raise DataError(f"There is no file with {what}.", remedy="name at least one Parquet file.")
    return ds.dataset(paths[0], format="parquet").schema


def micros(times: pa.Array | pa.ChunkedArray, name: str) -> np.ndarray:
    """Return times as int64 microseconds in UTC, `MISSING` where empty.

    Raises
    ------
    DataError : the column holds no times.
    """
    if not (pa.types.is_timestamp(times.type) or pa.types.is_date(times.type)):
        raise DataError(
            f"Column `{name}` must hold times.", found=f"type {times.type}", remedy="store it as a timestamp."
        )
    unit = getattr(times.type, "unit", "")
    if unit != "us":
        times = times.cast(pa.timestamp("us", getattr(times.type, "tz", None)), safe=False)
    numbers = times.cast(pa.int64()) if isinstance(times, pa.ChunkedArray) else times.view(pa.int64())
    return (numbers.fill_null(int(MISSING)) if numbers.null_count else numbers).to_numpy()


class Ids:
    """Identifiers of entities, whole numbers or text, as numbers 0..n−1 in the order given.

    Raises
    ------
    DataError : an identifier is empty or comes twice, or they are neither numbers nor text.
    """

    def __init__(self, keys: pa.Array | pa.ChunkedArray, name: str) -> None:
        keys = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
        keys = keys.dictionary_decode() if pa.types.is_dictionary(keys.type) else keys
        self.keys, self.name = keys, name
        self.is_text = _is_text(keys.type)
        if not self.is_text and not pa.types.is_integer(keys.type):
            raise _not_an_id(name, keys.type)
        if keys.null_count:
            raise DataError(
                f"Some entities have no `{name}`.", found=f"{keys.null_count:,} rows", remedy="give them one."
            )
        self._lookup: np.ndarray | None = None
        self._low = 0
        self._index: pd.Index | None = None
        self._prepare()

    def __len__(self) -> int:
        return len(self.keys)

    def _prepare(self) -> None:
        values = self.keys.to_pandas() if self.is_text else self.keys.to_numpy().astype(np.int64)
        if not self.is_text and len(values):
            low, width = int(values.min()), int(values.max()) - int(values.min()) + 1
            if width <= 8 * len(values) + 1024:
                self._low, self._lookup = low, np.full(width, -2, dtype=np.int32)
                self._lookup[values - low] = np.arange(len(values), dtype=np.int32)
                self._check_once(int((self._lookup >= 0).sum()))
                return
        self._index = pd.Index(values)
        self._check_once(self._index.nunique())

    def _check_once(self, n_distinct: int) -> None:
        if n_distinct < len(self):
            raise DataError(
                f"`{self.name}` must be given once per entity.",
                found=f"{len(self) - n_distinct:,} repeated",
                remedy="remove the repeated rows.",
            )

    def numbers(self, keys: pa.Array) -> np.ndarray:
        """Return int32 numbers: −1 where the identifier is empty, −2 where nobody has it."""
        if self.is_text != _is_text(keys.type) or not (self.is_text or pa.types.is_integer(keys.type)):
            raise _not_an_id(self.name, keys.type, "text" if self.is_text else "whole numbers")
        if self.is_text:
            return self._of_texts(keys)
        empty = keys.is_null().to_numpy(zero_copy_only=False) if keys.null_count else None
        values = (keys.fill_null(self._low) if keys.null_count else keys).to_numpy()
        numbers = self._of_numbers(values)
        return numbers if empty is None else np.where(empty, np.int32(-1), numbers)

    def _of_numbers(self, values: np.ndarray) -> np.ndarray:
        if self._lookup is None:
            return _or_unknown(self._index.get_indexer(values.astype(np.int64)))
        at = values if self._low == 0 else values.astype(np.int64) - self._low
        if len(at) and (at.min() < 0 or at.max() >= len(self._lookup)):
            inside = (at >= 0) & (at < len(self._lookup))
            return np.where(inside, self._lookup[np.where(inside, at, 0)], np.int32(-2))
        return self._lookup[at]

    def _of_texts(self, keys: pa.Array) -> np.ndarray:
        # Only distinct texts are looked up.
        encoded = keys if pa.types.is_dictionary(keys.type) else keys.dictionary_encode()
        found = _or_unknown(self._index.get_indexer(encoded.dictionary.to_pandas()))
        return np.append(found, np.int32(-1))[_indices(encoded)]


def _or_unknown(found: np.ndarray) -> np.ndarray:
    return np.where(found < 0, -2, found).astype(np.int32)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _not_an_id(name: str, kind: pa.DataType, wanted: str = "whole numbers or text") -> DataError:
    return DataError(
        f"Column `{name}` must hold {wanted}.", found=f"type {kind}", remedy="give all tables the same ids."
    )


def _indices(encoded: pa.DictionaryArray) -> np.ndarray:
    """Codes of a dictionary-encoded column, −1 where empty."""
    indices = encoded.indices
    return (indices.cast(pa.int32()).fill_null(-1) if indices.null_count else indices).to_numpy()


class Combos:
    """Numbers the combinations of categories in the order in which they turn up.

    Parameters
    ----------
    dims : (column, condition) pairs, as in a plan. never_negative : columns in which a number below 0 is none.
    """

    def __init__(self, dims: Sequence[tuple[str, str]], view: str, never_negative: Sequence[str] = ()) -> None:
        self.dims, self.view, self.never_negative = list(dims), view, set(never_negative)
        self._codes: list[dict[str, int]] = [{} for _ in self.dims]
        self._numbers: dict[tuple[int, ...], int] = {}
        self._sizes = [16 if not condition else 2 for _, condition in self.dims]
        self._dense = np.full(int(np.prod(self._sizes, dtype=np.int64)), -1, dtype=np.int32)

    def number(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return the provisional number of each event's combination."""
        codes = [self._code(k, batch.column(column)) for k, (column, _) in enumerate(self.dims)]
        self._grow()
        key = np.zeros(batch.num_rows, dtype=np.intp)
        for one, size in zip(codes, self._sizes, strict=True):
            key = key * size + one if size != len(self._dense) else one
        numbers = self._dense[key]
        if len(numbers) and numbers.min() < 0:
            for new in np.unique(np.asarray(key)[numbers < 0]).tolist():
                self._add(np.unravel_index(new, self._sizes))
            numbers = self._dense[key]
        return numbers.astype(np.uint16)

    def _code(self, k: int, column: pa.Array) -> np.ndarray:
        name, condition = self.dims[k]
        if condition:
            function, bound = comparison(condition)
            numbers = numbers_of(column, name)
            true = function(numbers, bound)
            return (true & (numbers >= 0) if name in self.never_negative else true).astype(np.uint8)
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        known = self._codes[k]
        # Code 0 is for gaps.
        words = [slug(text) if text is not None else None for text in column.dictionary.to_pylist()]
        codes = [0 if word is None else known.setdefault(word, len(known) + 1) for word in words]
        return np.array([*codes, 0], dtype=np.int64)[_indices(column)]

    def _grow(self) -> None:
        """Make room when a column has more values than thought."""
        sizes = [
            s if c else max(s, 2 ** (len(k) + 1).bit_length())
            for s, k, (_, c) in zip(self._sizes, self._codes, self.dims, strict=True)
        ]
        if sizes == self._sizes:
            return
        n = int(np.prod(sizes, dtype=np.int64))
        if n > 64 * _MOST_COMBOS:
            raise too_many(self, n)
        self._sizes, self._dense = sizes, np.full(n, -1, dtype=np.int32)
        for codes, number in self._numbers.items():
            self._dense[np.ravel_multi_index(codes, sizes)] = number

    def _add(self, codes: tuple[int, ...]) -> None:
        codes = tuple(int(c) for c in codes)
        if len(self._numbers) >= _MOST_COMBOS:
            raise too_many(self, len(self._numbers) + 1)
        self._dense[np.ravel_multi_index(codes, self._sizes) if codes else 0] = self._numbers[codes] = len(
            self._numbers
        )

    def values(self) -> dict[str, tuple[str, ...]]:
        """Return the values found so far, in their final order."""
        named = {c: list(known) for (c, condition), known in zip(self.dims, self._codes, strict=True) if not condition}
        return vocabulary_of(named)

    def to_plan(self, vocabularies: Mapping[str, tuple[str, ...]]) -> np.ndarray:
        """Return the plan's number of each provisional one; a value that the plan does not know is a gap to it."""
        place = {c: {v: k + 1 for k, v in enumerate(values)} for c, values in vocabularies.items()}
        words = [[None, *known] for known in self._codes]
        found = np.zeros(len(self._numbers), dtype=np.uint16)
        for codes, number in self._numbers.items():
            combo = 0
            for (column, condition), code, known in zip(self.dims, codes, words, strict=True):
                if condition:
                    combo = combo * 2 + code
                else:
                    combo = combo * (len(vocabularies[column]) + 1) + place[column].get(known[code], 0)
            found[number] = combo
        return found


def too_many(combos: Combos, n: int) -> DataError:
    """Return the error for events that can be told apart in too many ways."""
    return DataError(
        f"Events `{combos.view}` can be told apart in too many ways.",
        found=f"{n:,} combinations of {', '.join(c for c, _ in combos.dims)}",
        remedy="filter by fewer columns, or map rare values to one.",
    )


def numbers_of(column: pa.Array, name: str) -> np.ndarray:
    """Return a column of numbers, NaN where empty, without widening it.

    Raises
    ------
    DataError : it holds no numbers.
    """
    kind = column.type
    if not (
        pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    ):
        raise DataError(f"Column `{name}` must hold numbers.", found=f"type {kind}", remedy="store it as a number.")
    if not pa.types.is_floating(kind) or pa.types.is_float16(kind):
        column = column.cast(pa.float64())
    return column.to_numpy(zero_copy_only=False)


class LogReader:
    """Turns batches of a log into arrays and remembers what it saw.

    Parameters
    ----------
    view : whose columns they are. key : column with the entity's id. ids : those of all entities.
    dims : category columns and comparisons. columns : value column → what it holds: "number" or "time".
    never_negative : columns in which a number below 0 counts as missing.
    """

    def __init__(
        self,
        view: str,
        key: str,
        ids: Ids,
        dims: Sequence[tuple[str, str]],
        columns: Mapping[str, str],
        never_negative: Sequence[str] = (),
    ) -> None:
        self.key, self.ids, self.columns, self.never_negative = key, ids, dict(columns), set(never_negative)
        self.combos = Combos(dims, view, never_negative)
        self.counts = dict.fromkeys(
            ("events", "used", "without_entity", "unknown_entity", "without_time", "negative_values"), 0
        )
        self._seen = np.zeros(0, dtype=np.int64)
        self._filled: dict[str, np.ndarray] = {name: np.zeros(0, dtype=np.int64) for name in self.columns}

    def needs(self) -> list[str]:
        """Names of the columns to read; one that ends in ? may be missing."""
        names = [self.key, "ts", "known_at?", *(c for c, _ in self.combos.dims), *self.columns]
        return list(dict.fromkeys(names))

    def texts(self) -> list[str]:
        """Names of the category columns."""
        return [c for c, condition in self.combos.dims if not condition]

    def read(self, batch: pa.RecordBatch) -> Batch:
        """Return the events of a batch that belong to one of the entities."""
        entity = self.ids.numbers(batch.column(self.key))
        ts = micros(batch.column("ts"), "ts")
        known = micros(batch.column("known_at"), "known_at") if "known_at" in batch.schema.names else None
        combo = self.combos.number(batch)
        values = [self._value(batch.column(name), name, kind) for name, kind in self.columns.items()]
        self._remember(entity, ts, combo, values)
        timed = ts != MISSING if known is None else (ts != MISSING) & (known != MISSING)
        here = (entity >= 0) & timed
        self._count(entity, timed, here)
        if not here.all():
            entity, ts, combo, known = entity[here], ts[here], combo[here], None if known is None else known[here]
            values = [v[here] for v in values]
        enters = None if known is None or not (known > ts).any() else np.maximum(ts, known)
        return Batch(entity, ts, enters, combo, values)

    def _value(self, column: pa.Array, name: str, kind: str) -> np.ndarray:
        if kind == "time":
            return micros(column, name)
        numbers = numbers_of(column, name)
        if name in self.never_negative:
            wrong = numbers < 0
            if wrong.any():
                self.counts["negative_values"] += int(wrong.sum())
                numbers = np.where(wrong, np.nan, numbers)
        return numbers

    def _remember(self, entity: np.ndarray, ts: np.ndarray, combo: np.ndarray, values: list[np.ndarray]) -> None:
        linked = (entity != -1) & (ts != MISSING)
        linked = None if linked.all() else linked
        self._seen = _added(self._seen, combo if linked is None else combo[linked])
        for (name, kind), value in zip(self.columns.items(), values, strict=True):
            present = value != MISSING if kind == "time" else ~np.isnan(value)
            self._filled[name] = _added(self._filled[name], combo[present if linked is None else present & linked])

    def _count(self, entity: np.ndarray, timed: np.ndarray, here: np.ndarray) -> None:
        counts = self.counts
        counts["events"] += len(entity)
        counts["used"] += int(here.sum())
        if not here.all():
            counts["without_entity"] += int((entity == -1).sum())
            counts["unknown_entity"] += int((entity == -2).sum())
            counts["without_time"] += int(((entity >= 0) & ~timed).sum())

    def seen(self) -> "Seen":
        """Return what was seen so far."""
        return Seen(self.combos, self._seen, self._filled, self.counts)


@dataclass(frozen=True)
class Seen:
    """What a reader has seen of a log.

    Attributes
    ----------
    combos : numbers of the combinations. n : events of each. filled : value column → events of each that have a value.
    counts : how many events there were, how many were used and how many not, and why.
    """

    combos: Combos
    n: np.ndarray
    filled: Mapping[str, np.ndarray]
    counts: dict[str, int]


def vocabulary_seen(parts: Sequence[Seen]) -> Vocabulary:
    """Return what a log as a whole holds, read in one or more parts: it decides which features there are."""
    combos = parts[0].combos
    words = [part.combos.values() for part in parts]
    values = vocabulary_of(
        {c: {w for known in words for w in known[c]} for c, condition in combos.dims if not condition}
    )
    sizes = [2 if condition else len(values[c]) + 1 for c, condition in combos.dims]
    n_combos = int(np.prod(sizes, dtype=np.int64)) if sizes else 1
    if n_combos > _MOST_COMBOS:
        raise too_many(combos, n_combos)
    seen = np.zeros(n_combos, dtype=bool)
    filled: dict[str, set[int]] = {name: set() for name in parts[0].filled}
    for part in parts:
        place = part.combos.to_plan(values)
        seen[place[np.flatnonzero(part.n)]] = True
        for name, n in part.filled.items():
            filled[name].update(place[np.flatnonzero(n)].tolist())
    return Vocabulary(values, seen, {name: frozenset(found) for name, found in filled.items()})


def _added(counts: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    found = np.bincount(numbers, minlength=len(counts))
    found[: len(counts)] += counts
    return found


def value_columns(view: str, names: Iterable[str]) -> dict[str, str]:
    """Return what value columns of a view hold: "number" or "time".

    Raises
    ------
    ParameterError : one of them holds words, whose numbers would depend on the order of the log.
    """
    kinds = {name: (VIEWS[view].others or {}).get(name, "number") for name in dict.fromkeys(names)}
    words = [name for name, kind in kinds.items() if kind == "category"]
    if words:
        raise ParameterError(
            "Values that are words cannot be read from a log.",
            found=f"{view}.{words[0]}",
            remedy="build this feature in memory, with build_features.",
        )
    return kinds
