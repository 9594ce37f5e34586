"""Every feature of a stored CRM in bounded memory: interactions are streamed, the smaller tables are held as frames.

Interactions outnumber all else by far, so only they go through `spill`; everything that takes other tables, such as the
change log or what is linked, is computed block by block by the very functions of `build`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from crmlab.crm import Crm
from crmlab.schema import ParameterError
from crmlab.snapshots import entity_of

from .build import Study, declared
from .declare import WINDOWS, Declaration, Feature, check_windows
from .fields import own_table
from .log import BATCH, LogReader, vocabulary_seen
from .partition import compute_partition
from .plan import check_feature, plan_view
from .spill import Spill
from .stream import Asked, StreamReport, Work, open_writer, reader_of, replaced, target_of

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
    streamed = [d for d in declarations if isinstance(d, Feature) and d.view == _STREAMED]
    for feature in streamed:
        check_feature(feature)
    target = target_of(out)
    place = Path(folder or (target.parent if target else Path(crm.store.path).parent))
    asked = _asked(crm, entity, snapshots)
    with Spill(len(asked.ids), folder=place) as spill:
        reader = reader_of(streamed, _STREAMED, entity, asked.ids)
        if streamed:
            for batch in _interactions(crm, reader):
                spill.add(reader.read(batch))
        work = _Stored(crm, tuple(int(w) for w in windows), entity, declarations, asked, spill, reader, streamed)
        names, table = _write(target, work, compression)
    return StreamReport(len(asked.as_of), names, reader.counts, work.plan, table)


def _asked(crm: Crm, entity: str, snapshots: pd.DataFrame) -> Asked:
    table, key, start = own_table(entity)
    if table is None:
        ids = pd.Series(snapshots[key].unique(), name=key)
        return Asked.read(snapshots[[key, "as_of"]], pd.DataFrame({key: ids.astype("str")}), entity)
    entities = crm[table][[key, start]]
    return Asked.read(snapshots[[key, "as_of"]], entities, entity)


def _interactions(crm: Crm, reader: LogReader) -> Iterator[pa.RecordBatch]:
    """The store's interactions, by identifier."""
    if _STREAMED not in crm.store.names():
        return
    names = [name.removesuffix("?") for name in reader.needs()]
    with crm.store._reader() as db:
        yield from db.sql(f"SELECT {', '.join(names)} FROM {_STREAMED}").to_arrow_reader(BATCH)


class _Stored(Study):
    """A study whose interactions are those of one block at a time."""

    def __init__(
        self,
        crm: Crm,
        windows: tuple[int, ...],
        entity: str,
        declarations: Sequence[Declaration],
        asked: Asked,
        spill: Spill,
        reader: LogReader,
        streamed: Sequence[Feature],
    ) -> None:
        super().__init__(crm, windows=windows)
        self.entity, self.declarations, self.asked = entity, declarations, asked
        self._streamed = {id(feature) for feature in streamed}
        self.plan = plan_view(_STREAMED, entity, streamed, vocabulary_seen([reader.seen()]), windows=windows)
        combos = reader.combos.to_plan(self.plan.vocabularies)
        self.work = Work(asked, spill, self.plan, (), combos=combos, columns=reader.columns)
        self._values: dict[str, np.ndarray] = {}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield keys and features, block by block."""
        for block in self.work.blocks(size=_SIZE):
            first, end = self.work.spill.entities_of(*block)
            part = self.asked.part(first, end)
            rows = self.work.rows(first, end, part)
            self._values = compute_partition([self.plan], rows, {_STREAMED: self.work.events(block)})
            keys = self.asked.ids.keys.take(pa.array(part.entity))
            as_of = pd.Series(part.as_of.view("datetime64[us]"))
            columns = self.columns(self.entity, self.declarations, pd.Series(keys.to_pandas(), dtype="str"), as_of)
            yield _as_batch(self.asked.ids.name, keys, part.as_of, columns)

    def _measured(
        self, entity: str, features: Sequence[Feature], keys: pd.Series, as_of: pd.Series
    ) -> dict[int, dict[str, object]]:
        held = [feature for feature in features if id(feature) not in self._streamed]
        result = super()._measured(entity, held, keys, as_of)
        result |= {id(feature): {} for feature in features if id(feature) in self._streamed}
        for output in self.plan.outputs:
            if id(output.feature) in result and id(output.feature) in self._streamed:
                result[id(output.feature)][output.name] = self._values[output.name]
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
