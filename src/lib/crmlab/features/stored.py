"""Every feature of a stored CRM in bounded memory: interactions are streamed, the smaller tables are held as frames.

Interactions outnumber all else by far, so only they go through `spill`; everything that takes other tables, such as the
change log or what is linked, is computed block by block by the very functions of `build`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from crmlab.crm import Crm
from crmlab.schema import ENTITY_KEYS, ParameterError
from crmlab.snapshots import entity_of

from .build import Study, declared
from .declare import WINDOWS, Declaration, Feature, Linked, check_windows
from .fields import own_table
from .log import BATCH, vocabulary_seen
from .plan import check_feature, plan_view
from .spill import Spill
from .stream import Asked, Part, StreamReport, Work, open_writer, reader_of, replaced, target_of

__all__ = ["stream_crm"]

_STREAMED = "interactions"
_SIZE = 4
"""Blocks are this many times as large as those of a log alone, because each looks through all other tables."""


def stream_crm(
    crm: Crm,
    snapshots: pd.DataFrame,
    *,
    out: str | Path | None = None,
    features: Sequence[Declaration] | None = None,
    windows: Sequence[int] = WINDOWS,
    folder: str | Path | None = None,
    compression: str = "none",
) -> StreamReport:
    """Compute what `build_features` computes, by entity and date, without ever holding the interactions.

    Parameters
    ----------
    crm : a source as it was loaded, not cut. snapshots : the entity's id and `as_of`; in any order.
    out : Parquet file to write, in one step at the end; None returns the features as a table.
    features : declarations; None for those of the project. windows : days to look back, where they do not say.
    folder : where the temporary file goes that sorting needs; None: beside `out`, or where the store is.

    Raises
    ------
    ParameterError : the CRM was cut, or a declaration makes no sense. DataError : a row without date or of nobody.
    SourceError : a file cannot be read or written, or the disk is full; nothing half written is left.
    """
    check_windows(tuple(windows))
    if crm.whole is not crm:
        raise ParameterError(
            "A CRM that was cut is in memory already.", remedy="use build_features, or stream the whole CRM."
        )
    entity = entity_of(snapshots)
    declarations = declared(entity) if features is None else tuple(features)
    target = target_of(out)
    place = Path(folder or (target.parent if target else Path(crm.store.path).parent))
    with ExitStack() as stack:
        logs = [_Log(*one, stack.enter_context(_spill(one[0], place))) for one in _asked(crm, declarations, snapshots)]
        for batch in _interactions(crm, logs):
            for log in logs:
                log.spill.add(log.reader.read(batch))
        study = _Stored(crm, tuple(int(w) for w in windows), declarations, logs)
        names, table = _write(target, study, compression)
    return StreamReport(len(snapshots), names, logs[0].reader.counts, logs[0].plan, table)


def _spill(asked: Asked, place: Path) -> Spill:
    return Spill(len(asked.ids), folder=place)


def _asked(
    crm: Crm, declarations: Sequence[Declaration], snapshots: pd.DataFrame
) -> Iterator[tuple[Asked, str, list[Feature]]]:
    """Rows and declarations of all whose interactions are wanted: the entities first, then what is linked."""
    entity = entity_of(snapshots)
    table, key, _ = own_table(entity)
    rows = snapshots[[key, "as_of"]]
    yield (
        Asked.read(rows, _entities(crm, entity, None if table else rows[key]), entity),
        entity,
        _streamed(declarations),
    )
    for link in declarations:
        if not isinstance(link, Linked) or not _streamed(link.features) or not table or link.by not in crm[table]:
            continue
        other = ENTITY_KEYS[link.entity]
        place = pd.Index(crm[table][key]).get_indexer(rows[key])
        named = crm[table][link.by].array.take(place, allow_fill=True)
        pairs = pd.DataFrame({other: named, "as_of": rows["as_of"].to_numpy()}).dropna().drop_duplicates()
        known = _entities(crm, link.entity, pairs[other])
        yield Asked.read(pairs, known, link.entity), link.entity, _streamed(link.features)


def _streamed(declarations: Sequence[Declaration]) -> list[Feature]:
    found = [d for d in declarations if isinstance(d, Feature) and d.view == _STREAMED]
    for feature in found:
        check_feature(feature)
    return found


def _entities(crm: Crm, entity: str, named: pd.Series | None) -> pd.DataFrame:
    """Ids and beginnings, those that are only named included."""
    table, key, start = own_table(entity)
    known = crm[table][[key, start]] if table else pd.DataFrame({key: pd.Series(dtype="str")})
    if named is None:
        return known
    others = pd.Series(named.unique(), dtype="str")
    return pd.concat([known, pd.DataFrame({key: others[~others.isin(known[key])]})], ignore_index=True)


def _interactions(crm: Crm, logs: Sequence["_Log"]) -> Iterator[pa.RecordBatch]:
    """The store's interactions, as far as anything is asked of them."""
    names = {name.removesuffix("?") for log in logs if log.features for name in log.reader.needs()}
    if not names or _STREAMED not in crm.store.names():
        return
    names |= {log.reader.key for log in logs if log.features}
    with crm.store._reader() as db:
        yield from db.sql(f"SELECT {', '.join(sorted(names))} FROM {_STREAMED}").to_arrow_reader(BATCH)


class _Log:
    """The interactions of one kind of entity, sorted, and what is asked of them."""

    def __init__(self, asked: Asked, entity: str, features: Sequence[Feature], spill: Spill) -> None:
        self.asked, self.entity, self.features, self.spill = asked, entity, features, spill
        self.reader = reader_of(features, _STREAMED, entity, asked.ids)

    def plan_from(self, windows: tuple[int, ...]) -> None:
        """Make the plan, once all interactions have been seen."""
        self.plan = plan_view(
            _STREAMED, self.entity, self.features, vocabulary_seen([self.reader.seen()]), windows=windows
        )
        combos = self.reader.combos.to_plan(self.plan.vocabularies)
        self.work = Work(self.asked, self.spill, self.plan, (), combos=combos, columns=self.reader.columns)

    def values(self, block: tuple[int, int]) -> tuple[Part, dict[str, np.ndarray]]:
        """Return the rows of a block and what the plan computes for them."""
        first, end = self.spill.entities_of(*block)
        part = self.asked.part(first, end)
        return part, self.work.found(self.work.rows(first, end, part), self.work.events(block))


class _LinkedValues:
    """Features of all (other, date) pairs that are asked for, looked up by both."""

    def __init__(self, log: _Log) -> None:
        self.log = log
        asked = log.asked
        self.dates = np.unique(asked.as_of)
        self.pairs = self._pairs(asked.entity, asked.as_of)
        parts = [log.values(block)[1] for block in log.work.blocks()]
        names = [output.name for output in log.plan.outputs]
        self.columns = {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _pairs(self, entity: np.ndarray, as_of: np.ndarray) -> np.ndarray:
        return entity.astype(np.int64) * len(self.dates) + np.searchsorted(self.dates, as_of)

    def at(self, keys: pd.Series, as_of: pd.Series) -> dict[str, np.ndarray]:
        """Return the features of some pairs."""
        number = self.log.asked.ids.numbers(pa.array(keys.astype(object), pa.string()))
        place = np.searchsorted(self.pairs, self._pairs(number, as_of.to_numpy("datetime64[us]").view(np.int64)))
        return {name: column[place] for name, column in self.columns.items()}


class _Stored(Study):
    """A study whose interactions are streamed: those of the entities block by block, those of what is linked before."""

    def __init__(
        self, crm: Crm, windows: tuple[int, ...], declarations: Sequence[Declaration], logs: Sequence[_Log]
    ) -> None:
        super().__init__(crm, windows=windows)
        self.declarations, self.log = declarations, logs[0]
        for log in logs:
            log.plan_from(windows)
        self._linked_values = {(log.entity, id(log.features[0])): _LinkedValues(log) for log in logs[1:]}
        self._streamed = {id(feature) for log in logs for feature in log.features}
        self._found: dict[str, np.ndarray] = {}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield keys and features, block by block."""
        ids = self.log.asked.ids
        for block in self.log.work.blocks(size=_SIZE):
            part, self._found = self.log.values(block)
            keys = ids.keys.take(pa.array(part.entity))
            as_of = pd.Series(part.as_of.view("datetime64[us]"))
            named = pd.Series(keys.to_pandas(), dtype="str")
            yield _as_batch(ids.name, keys, part.as_of, self.columns(self.log.entity, self.declarations, named, as_of))

    def _measured(
        self, entity: str, features: Sequence[Feature], keys: pd.Series, as_of: pd.Series
    ) -> dict[int, dict[str, object]]:
        streamed = [feature for feature in features if id(feature) in self._streamed]
        result = super()._measured(entity, [f for f in features if id(f) not in self._streamed], keys, as_of)
        if not streamed:
            return result
        linked = self._linked_values.get((entity, id(streamed[0])))
        plan = linked.log.plan if linked else self.log.plan
        found = linked.at(keys, as_of) if linked else self._found
        result |= {id(feature): {} for feature in streamed}
        for output in plan.outputs:
            result[id(output.feature)][output.name] = found[output.name]
        return result


def _as_batch(key: str, keys: pa.Array, as_of: np.ndarray, columns: Mapping[str, object]) -> pa.RecordBatch:
    arrays = [keys, pa.array(as_of).view(pa.timestamp("us"))]
    fields = [pa.field(key, keys.type, nullable=False), pa.field("as_of", pa.timestamp("us"), nullable=False)]
    for name, column in columns.items():
        number = isinstance(column, np.ndarray)
        arrays.append(pa.array(column) if number else pa.array(column.astype(object), pa.string(), from_pandas=True))
        fields.append(pa.field(name, arrays[-1].type, nullable=not number))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _write(target: Path | None, work: _Stored, compression: str) -> tuple[list[str], pa.Table | None]:
    if target is None:
        table = pa.Table.from_batches(list(work.batches()))
        return table.schema.names[2:], table
    writer = None
    with replaced(target) as file:
        try:
            for batch in work.batches():
                writer = writer or open_writer(file, batch.schema, compression)
                writer.write_batch(batch)
        finally:
            if writer is not None:
                writer.close()
    return writer.schema.names[2:], None
