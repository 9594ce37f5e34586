"""The newest snapshot after some more events, without reading the whole log again.

A state holds, for each entity, what its events before a cut amount to: counts and sums so far, first and newest times,
newest values, and the smoothed weeks. The cut is a Monday that lies before the longest window, so the log from the cut
on and the state together give the features to the last bit. Events that are entered later than that change what the
state holds; their entities are computed anew from the whole log, and counted.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crmlab.crm import as_instant
from crmlab.schema import DataError, ParameterError, SourceError

from .declare import WINDOWS, Declaration
from .events import Events
from .kernel import MISSING, MONDAY, WEEK
from .log import Batch, Ids, LogReader, Source, batches_of, micros, read_columns, vocabulary_seen
from .partition import CARRIED, Carried, Rows, carry_forward, ever_lines
from .plan import ViewPlan, Vocabulary, plan_view
from .single import instant
from .spill import Spill
from .stream import (
    Asked,
    Part,
    Work,
    begun,
    check_stream,
    events_only,
    reader_of,
    replaced,
    sort_log,
    target_of,
    write_blocks,
)

__all__ = ["Advanced", "State", "advance", "build_state", "load_state", "save_state"]

_VERSION = 1


@dataclass
class State:
    """What is carried from one snapshot to the next.

    Attributes
    ----------
    plan, features : what is computed. vocabulary : what the log held when the state was first built: it decides which
    features there are. keys : ids of the entities. carried : what their events before the cut amount to, as far as they
    were known at `as_of`. waiting : (entity, when it is entered) of events before the cut that were not known by then.
    """

    plan: ViewPlan
    features: tuple[Declaration, ...]
    vocabulary: Vocabulary
    keys: pa.Array
    as_of: int
    carried: Carried
    waiting: tuple[np.ndarray, np.ndarray]


@dataclass
class Advanced:
    """A newer snapshot.

    Attributes
    ----------
    state : to go on from. rows : number of rows. features : their names. read : events read.
    recomputed : entities that were computed anew from the whole log, because of events entered very late.
    table : the features, when no file was asked for.
    """

    state: State
    rows: int
    features: list[str]
    read: int
    recomputed: int
    table: pa.Table | None = field(default=None, repr=False)


def build_state(
    events: Source,
    *,
    features: Sequence[Declaration],
    entities: Source,
    as_of: object,
    entity: str = "lead",
    view: str = "interactions",
    windows: Sequence[int] = WINDOWS,
    folder: str | Path | None = None,
) -> State:
    """Read a log once and return the state at `as_of`, from which `advance` goes on.

    Parameters
    ----------
    events, features, entities, windows : as in `stream_features`.
    as_of : what was entered then or later does not count yet.
    folder : where the temporary file goes that sorting needs; None: it is sorted in memory.
    """
    windows = check_stream(features, entity, view, windows)
    t = _instant(as_of)
    asked = _everyone(entities, entity, t)
    with Spill(len(asked.ids), folder=Path(folder) if folder else None) as spill:
        reader = sort_log(events, features, view, entity, asked.ids, spill)
        vocabulary = vocabulary_seen([reader.seen()])
        plan = plan_view(view, entity, events_only(features), vocabulary, windows=windows)
        work = _Advance(asked, spill, reader, plan, features, as_of=t, before=None, fixed=None)
        for block in work.blocks(everything=True):
            work.carry(block, work.events(block))
    return State(plan, tuple(features), vocabulary, asked.ids.keys, t, work.carried, work.waiting())


def advance(
    state: State,
    new_events: Source,
    *,
    log: Source,
    entities: Source,
    as_of: object,
    keys: Source | None = None,
    out: str | Path | None = None,
    compression: str = "none",
    threads: int | None = None,
) -> Advanced:
    """Return the features at a later instant and the state to go on from.

    Parameters
    ----------
    new_events : what was added to the log since the state was built. log : the log without them; of Parquet files only
        the row groups that reach beyond the state's cut are read.
    entities : all of them, those that are new included. keys : ids of those asked for; None: all.
    out : file to write; None returns a table. compression, threads : as in `stream_features`.

    Raises
    ------
    ParameterError : `as_of` lies before the state's. DataError : an entity of the state is gone.
    SourceError : a file cannot be read or written.
    """
    t = _instant(as_of)
    if t < state.as_of:
        raise ParameterError(
            "A state goes forward only.",
            found=f"{_shown(t)}, while the state is of {_shown(state.as_of)}",
            remedy="build the state of an earlier date, or compute the rows from the log.",
        )
    plan, target = state.plan, target_of(out)
    asked = _everyone(entities, plan.entity, t, keys)
    before, waiting = _renumbered(state, asked.ids)
    reader = reader_of(state.features, plan.view, plan.entity, asked.ids)
    new = [reader.read(batch) for batch in batches_of(new_events, reader.needs(), "events", texts=reader.texts())]
    late = _late_entities(new, waiting, before.cut, t)
    fixed = _recompute(plan, reader, asked, log, new, late, t) if len(late) else None
    with Spill(len(asked.ids), folder=None) as spill:
        for batch in _from(reader, log, before.cut):
            spill.add(batch)
        for batch in new:
            spill.add(_later(batch, before.cut))
        work = _Advance(asked, spill, reader, plan, state.features, as_of=t, before=before, fixed=fixed)
        work.add_waiting(*waiting)
        for batch in new:
            work.add_waiting(batch.entity[batch.ts < before.cut], _enters(batch)[batch.ts < before.cut])
        names, table = write_blocks(target, work, threads, compression, everything=True)
    state = State(plan, state.features, state.vocabulary, asked.ids.keys, t, work.carried, work.waiting())
    return Advanced(state, len(asked.as_of), names, reader.counts["events"], len(late), table)


def _instant(as_of: object) -> int:
    return instant(as_instant(as_of) if isinstance(as_of, str) else as_of)


def _shown(t: int) -> str:
    return str(np.datetime64(t, "us"))


def _cut(t: int, plan: ViewPlan) -> int:
    """The last Monday that no window of a row at `t` reaches behind."""
    first = t - (int(plan.windows[-1]) if len(plan.windows) else 0)
    return MONDAY + (first - MONDAY) // WEEK * WEEK


def _everyone(entities: Source, entity: str, t: int, keys: Source | None = None) -> Asked:
    """One row at `t` for each entity asked for."""
    asked = Asked.of_entities(entities, entity)
    name = asked.ids.name
    if keys is None:
        number = np.arange(len(asked.ids), dtype=np.int32)
    else:
        chunks = read_columns(keys, [name], "ids asked for")[name].chunks
        number = np.sort(np.concatenate([np.empty(0, dtype=np.int32), *map(asked.ids.numbers, chunks)]))
    return asked.asking(number, np.full(len(number), t, dtype=np.int64))


def _renumbered(state: State, ids: Ids) -> tuple[Carried, tuple[np.ndarray, np.ndarray]]:
    """The state in the numbers that entities have now; those that are new have nothing."""
    number = ids.numbers(state.keys)
    if (number < 0).any():
        raise DataError(
            "Some entities of the state are no longer there.",
            found=f"{int((number < 0).sum()):,} ids",
            remedy="build the state anew, from the log as it is now.",
        )
    entity, enters = state.waiting
    if len(ids) == len(number) and (number == np.arange(len(number))).all():
        return state.carried, state.waiting
    carried = _nothing(state.plan, state.carried.cut, len(ids))
    for name in CARRIED:
        getattr(carried, name)[:, number] = getattr(state.carried, name)
    return carried, (number[entity], enters)


def _nothing(plan: ViewPlan, cut: int, n: int) -> Carried:
    t, (ever_n, ever_sum) = plan.tables, ever_lines(plan)
    return Carried(
        cut,
        np.zeros((len(ever_n), n), dtype=np.int32),
        np.zeros((len(ever_sum), n), dtype=np.int64),
        np.zeros((len(ever_sum), n), dtype=np.int32),
        np.full((len(t["want_newest"]), n), MISSING),
        np.full((len(t["want_oldest"]), n), MISSING),
        np.zeros((len(t["week_value"]), n)),
        np.full((len(t["last_value"]), n), MISSING),
    )


def _enters(batch: Batch) -> np.ndarray:
    return batch.ts if batch.enters is None else batch.enters


def _chosen(batch: Batch, here: np.ndarray) -> Batch:
    if here.all():
        return batch
    enters = None if batch.enters is None else batch.enters[here]
    return Batch(batch.entity[here], batch.ts[here], enters, batch.combo[here], [v[here] for v in batch.values])


def _later(batch: Batch, cut: int) -> Batch:
    return _chosen(batch, batch.ts >= cut)


def _late_entities(new: Sequence[Batch], waiting: tuple[np.ndarray, np.ndarray], cut: int, t: int) -> np.ndarray:
    """Entities with events before the cut that the state does not know and that are visible now, in order."""
    found = [waiting[0][waiting[1] < t]]
    found += [batch.entity[(batch.ts < cut) & (_enters(batch) < t)] for batch in new]
    return np.unique(np.concatenate(found))


def _from(reader: LogReader, log: Source, cut: int) -> Iterator[Batch]:
    """Events of the log from the cut on."""
    if isinstance(log, str | Path):
        log = [log]
    if isinstance(log, Sequence) and all(isinstance(part, str | Path) for part in log):
        batches = batches_of(log, reader.needs(), "events", texts=reader.texts(), groups=lambda f: _groups_from(f, cut))
    else:
        batches = batches_of(log, reader.needs(), "events", texts=reader.texts())
    for batch in batches:
        recent = micros(batch.column("ts"), "ts") >= cut
        if recent.any():
            yield reader.read(batch if recent.all() else batch.filter(pa.array(recent)))


def _groups_from(file: pq.ParquetFile, cut: int) -> list[int]:
    """Row groups that may hold something from the cut on; without statistics any may."""
    at = file.schema_arrow.get_field_index("ts")
    chosen = []
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(at).statistics
        newest = statistics.max if statistics is not None and statistics.has_min_max else None
        if newest is None or instant(newest) >= cut:
            chosen.append(group)
    return chosen


@dataclass
class _Fixed:
    """Entities computed anew from the whole log: their numbers in order, features and what is carried of them."""

    entity: np.ndarray
    found: dict[str, np.ndarray]
    carried: Carried


def _recompute(
    plan: ViewPlan, reader: LogReader, asked: Asked, log: Source, new: Sequence[Batch], late: np.ndarray, t: int
) -> _Fixed:
    counts = dict(reader.counts)
    old = map(reader.read, batches_of(log, reader.needs(), "events", texts=reader.texts()))
    number = np.full(len(asked.ids), -1, dtype=np.int32)
    number[late] = np.arange(len(late), dtype=np.int32)
    with Spill(len(late), folder=None) as spill:
        for batch in (*old, *new):
            few = _chosen(batch, number[batch.entity] >= 0)
            spill.add(Batch(number[few.entity], few.ts, few.enters, few.combo, few.values))
        at = np.full(len(late), t, dtype=np.int64)
        rows = Rows(np.arange(len(late) + 1, dtype=np.int64), at, begun(asked.since[late], at))
        combos = reader.combos.to_plan(plan.vocabularies)
        work = Work(asked, spill, plan, (), combos=combos, columns=reader.columns)
        events = work.events((0, spill.n_ranges))
    reader.counts |= counts
    found = work.found(rows, events)
    return _Fixed(late, found, carry_forward(plan, _known(events, t), _cut(t, plan), len(late), None))


def _known(events: Events, t: int) -> Events:
    """Events entered before `t`."""
    here = events.enters < t
    if here.all():
        return events
    values = np.ascontiguousarray(events.values[:, here])
    return Events(events.entity[here], events.ts[here], events.enters[here], events.combo[here], values)


class _Advance(Work):
    """Computes blocks from what is carried and the newer events, and carries on."""

    def __init__(
        self,
        asked: Asked,
        spill: Spill,
        reader: LogReader,
        plan: ViewPlan,
        features: Sequence[Declaration],
        *,
        as_of: int,
        before: Carried | None,
        fixed: _Fixed | None,
    ) -> None:
        combos = reader.combos.to_plan(plan.vocabularies)
        super().__init__(asked, spill, plan, features, combos=combos, columns=reader.columns)
        self.as_of, self.before, self.fixed = as_of, before, fixed
        cut = _cut(as_of, plan)
        self.moves = before is None or cut > before.cut
        self.carried = _nothing(plan, cut, len(asked.ids)) if self.moves or fixed else before
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def compute(self, block: tuple[int, int]) -> pa.RecordBatch:
        """Return the keys and features of a block, and carry its events on."""
        first, end = self.spill.entities_of(*block)
        part = self.asked.part(first, end)
        events = self.events(block)
        found = self.found(self.rows(first, end, part), events, self.before.take(slice(first, end)))
        self.carry(block, events)
        return self.batch(part, self._with_fixed(part, found))

    def _with_fixed(self, part: Part, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The values of entities that were computed anew."""
        if self.fixed is None:
            return found
        place = np.searchsorted(self.fixed.entity, part.entity)
        place[place == len(self.fixed.entity)] = 0
        anew = self.fixed.entity[place] == part.entity
        return {name: np.where(anew, self.fixed.found[name][place], column) for name, column in found.items()}

    def carry(self, block: tuple[int, int], events: Events) -> None:
        """Write down what the events of a block before the new cut amount to."""
        first, end = self.spill.entities_of(*block)
        before = self.before.take(slice(first, end)) if self.before else None
        if self.moves:
            known = _known(events, self.as_of)
            after = carry_forward(self.plan, known, self.carried.cut, end - first, before)
        else:
            after = before
        if self.carried is not self.before:
            for name in CARRIED:
                getattr(self.carried, name)[:, first:end] = getattr(after, name)
            self._carry_fixed(first, end)
        unknown = (events.ts < self.carried.cut) & (events.enters >= self.as_of)
        self.add_waiting(events.entity[unknown] + np.int32(first), events.enters[unknown])

    def _carry_fixed(self, first: int, end: int) -> None:
        if self.fixed is None:
            return
        here = (self.fixed.entity >= first) & (self.fixed.entity < end)
        for name in CARRIED:
            getattr(self.carried, name)[:, self.fixed.entity[here]] = getattr(self.fixed.carried, name)[:, here]

    def add_waiting(self, entity: np.ndarray, enters: np.ndarray) -> None:
        """Remember events before the cut that are not known yet."""
        self._waiting.append((entity, enters))

    def waiting(self) -> tuple[np.ndarray, np.ndarray]:
        """Return whose they are and when they become known, by both."""
        entity = np.concatenate([np.empty(0, dtype=np.int32), *(e for e, _ in self._waiting)])
        enters = np.concatenate([np.empty(0, dtype=np.int64), *(k for _, k in self._waiting)])
        still = np.flatnonzero(enters >= self.as_of)
        order = still[np.lexsort((enters[still], entity[still]))]
        return entity[order].astype(np.int32), enters[order]


def save_state(state: State, path: str | Path) -> None:
    """Write a state to a file, in one step.

    Raises
    ------
    SourceError : it cannot be written.
    """
    target = target_of(path)
    head = {
        "version": _VERSION,
        "plan": fingerprint(state.plan),
        "view": state.plan.view,
        "entity": state.plan.entity,
        "as_of": state.as_of,
        "cut": state.carried.cut,
        "values": {name: list(values) for name, values in state.vocabulary.values.items()},
        "filled": {name: sorted(combos) for name, combos in state.vocabulary.filled.items()},
    }
    arrays = {name: getattr(state.carried, name) for name in CARRIED}
    arrays |= {"waiting_entity": state.waiting[0], "waiting_enters": state.waiting[1], "seen": state.vocabulary.seen}
    arrays |= {"keys": _as_bytes(state.keys), "head": np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)}
    with replaced(target) as file, file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_state(path: str | Path, *, features: Sequence[Declaration], windows: Sequence[int] = WINDOWS) -> State:
    """Read a state back.

    Parameters
    ----------
    features, windows : those that it was built with.

    Raises
    ------
    SourceError : the file is missing or damaged, or of another version. DataError : it was built for other features.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        head = json.loads(arrays["head"].tobytes())
        keys = _from_bytes(arrays["keys"])
        stored = {name: arrays[name] for name in (*CARRIED, "waiting_entity", "waiting_enters", "seen")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pa.ArrowInvalid) as error:
        raise SourceError(
            f"The state {path.name} cannot be read.",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="build it anew with build_state.",
        ) from error
    if head.get("version") != _VERSION:
        raise SourceError(
            f"The state {path.name} was written by another version.",
            found=f"version {head.get('version')}, while this is {_VERSION}",
            remedy="build it anew with build_state.",
        )
    vocabulary = Vocabulary(
        {name: tuple(values) for name, values in head["values"].items()},
        stored["seen"],
        {name: frozenset(combos) for name, combos in head["filled"].items()},
    )
    plan = _same_plan(path, head, features, vocabulary, windows)
    carried = Carried(head["cut"], **{name: stored[name] for name in CARRIED})
    waiting = stored["waiting_entity"], stored["waiting_enters"]
    return State(plan, tuple(features), vocabulary, keys, head["as_of"], carried, waiting)


def _same_plan(
    path: Path,
    head: Mapping[str, object],
    features: Sequence[Declaration],
    vocabulary: Vocabulary,
    windows: Sequence[int],
) -> ViewPlan:
    try:
        windows = check_stream(features, head["entity"], head["view"], windows)
        plan = plan_view(head["view"], head["entity"], events_only(features), vocabulary, windows=windows)
    except (KeyError, ParameterError):
        plan = None
    if plan is None or fingerprint(plan) != head["plan"]:
        raise DataError(
            f"The state {path.name} was built for other features.",
            found="declarations or windows that differ from those given",
            remedy="build it anew with build_state.",
        )
    return plan


def fingerprint(plan: ViewPlan) -> str:
    """Return what identifies a plan."""
    outputs = [(o.name, o.measure, o.at, o.days, o.per_unit, o.encoding) for o in plan.outputs]
    tables = {name: table.tolist() for name, table in plan.tables.items()}
    parts = [plan.view, plan.entity, plan.dims, plan.sizes, plan.vocabularies, plan.columns, plan.windows.tolist()]
    return hashlib.sha256(json.dumps([*parts, tables, outputs], sort_keys=True).encode()).hexdigest()


def _as_bytes(keys: pa.Array) -> np.ndarray:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([keys], names=["key"])
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return np.frombuffer(sink.getvalue(), dtype=np.uint8)


def _from_bytes(stored: np.ndarray) -> pa.Array:
    return pa.ipc.open_file(pa.py_buffer(stored.tobytes())).read_all()["key"].combine_chunks()
