"""The same features on a Dask cluster: events go to the partition of their entity, then the same function runs there.

Files must be reachable under the same path by every worker. Each step is a plain function of this package; Dask only
says where it runs, so the result has the bits of a single machine.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crmlab.schema import ParameterError, SourceError

from .declare import WINDOWS, Declaration
from .log import BATCH, Batch, Combos, Ids, Seen, Source, batches_of, value_columns, vocabulary_seen
from .plan import ViewPlan, plan_view
from .spill import Spill
from .stream import Asked, Work, check_stream, events_only, reader_of, write_blocks

__all__ = ["ClusterReport", "cluster_features"]


@dataclass
class ClusterReport:
    """What was computed.

    Attributes
    ----------
    rows : number of rows. features : their names. events : how many events there were, how many were used and how many
    not, and why. files : the parts, in the order of the entities.
    """

    rows: int
    features: list[str]
    events: dict[str, int]
    files: list[Path]


def cluster_features(
    client: object,
    events: Sequence[str | Path],
    rows: Source,
    *,
    features: Sequence[Declaration],
    entities: Source,
    out: str | Path,
    entity: str = "lead",
    view: str = "interactions",
    windows: Sequence[int] = WINDOWS,
    partitions: int | None = None,
) -> ClusterReport:
    """Compute features on a cluster and write one Parquet file per partition into a folder.

    Parameters
    ----------
    client : a `dask.distributed.Client`. events : Parquet files; their row groups are read side by side.
    rows, features, entities, windows : as in `stream_features`.
    out : folder that must not hold parts yet; it is created. partitions : None: four per worker thread.

    Raises
    ------
    ParameterError : Dask is not installed, or a declaration makes no sense. DataError : as `stream_features`.
    SourceError : a file cannot be read or written.
    """
    _check_dask(client)
    windows = check_stream(features, entity, view, windows)
    asked = Asked.read(rows, entities, entity)
    folder = _folder(Path(out))
    edges = _edges(len(asked.ids), partitions or 4 * max(sum(client.nthreads().values()), 1))
    shared = client.scatter(_Shared(tuple(features), view, entity, asked.ids, edges), broadcast=True, hash=False)
    name = f"crmlab-{uuid.uuid4().hex}"
    pieces = [
        client.submit(_read, shared, *piece, key=f"{name}-read-{k}")
        for k, piece in enumerate(_pieces([events] if isinstance(events, str | Path) else events))
    ]
    seen = client.gather([client.submit(_seen, piece, key=f"{name}-seen-{k}") for k, piece in enumerate(pieces)])
    vocabulary = vocabulary_seen(seen)
    plan = plan_view(view, entity, events_only(features), vocabulary, windows=windows)
    planned = client.scatter(_Planned(plan, tuple(features)), broadcast=True, hash=False)
    files = [folder / f"part-{p:05d}.parquet" for p in range(len(edges) - 1)]
    done = [
        client.submit(
            _compute,
            planned,
            _asked(asked, int(edges[p]), int(edges[p + 1])),
            [client.submit(_part, piece, p, key=f"{name}-piece-{k}-{p}") for k, piece in enumerate(pieces)],
            str(file),
            key=f"{name}-part-{p}",
        )
        for p, file in enumerate(files)
    ]
    names = client.gather(done)
    counts = {reason: sum(part.counts[reason] for part in seen) for reason in seen[0].counts}
    return ClusterReport(len(asked.as_of), names[0], counts, files)


def _check_dask(client: object) -> None:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise ParameterError(
            "Dask is not installed.", found=str(error), remedy="install the extra: pip install crmlab[cluster]."
        ) from error
    if not isinstance(client, Client):
        raise ParameterError(
            "The client must be a `dask.distributed.Client`.", found=type(client).__name__, remedy="connect one first."
        )


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError("The folder cannot be made.", found=str(error), remedy="name another one.") from error
    if any(out.glob("part-*.parquet")):
        raise SourceError(
            f"The folder {out.name} holds features already.",
            found="part-….parquet",
            remedy="empty it, or name another.",
        )
    return out


def _edges(n_entities: int, n: int) -> np.ndarray:
    """First entity of each partition, and the one after the last."""
    return np.unique(np.linspace(0, max(n_entities, 1), n + 1).astype(np.int64))


def _pieces(paths: Sequence[str | Path]) -> list[tuple[str, int, int]]:
    """Row groups of the files, a few at a time: (file, first, end)."""
    pieces = []
    for path in paths:
        try:
            metadata = pq.read_metadata(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise SourceError(
                f"The file {Path(path).name} cannot be read as Parquet.",
                found=str(error).splitlines()[0],
                remedy="check the path, and write the file again if it is damaged.",
            ) from error
        first = n = 0
        for group in range(metadata.num_row_groups):
            n += metadata.row_group(group).num_rows
            if n >= BATCH:
                pieces.append((str(path), first, group + 1))
                first, n = group + 1, 0
        if first < metadata.num_row_groups or metadata.num_row_groups == 0:
            pieces.append((str(path), first, metadata.num_row_groups))
    return pieces


@dataclass(frozen=True)
class _Shared:
    """What every worker needs."""

    features: tuple[Declaration, ...]
    view: str
    entity: str
    ids: Ids
    edges: np.ndarray


@dataclass(frozen=True)
class _Planned:
    """The plan and the declarations that it was made from, together, so that they stay the same objects on the way."""

    plan: ViewPlan
    features: tuple[Declaration, ...]


@dataclass(frozen=True)
class _Piece:
    """Some row groups, read: events by partition, and what was seen."""

    parts: list[list[Batch]]
    seen: Seen


def _read(shared: _Shared, path: str, first: int, end: int) -> _Piece:
    reader = reader_of(shared.features, shared.view, shared.entity, shared.ids)
    source = batches_of(path, reader.needs(), "events", texts=reader.texts(), groups=lambda _: range(first, end))
    parts: list[list[Batch]] = [[] for _ in shared.edges[1:]]
    for batch in map(reader.read, source):
        whose = np.searchsorted(shared.edges, batch.entity, side="right") - 1
        for p, part in enumerate(parts):
            part.append(_within(batch, whose == p, int(shared.edges[p])))
    return _Piece(parts, reader.seen())


def _within(batch: Batch, here: np.ndarray, first: int) -> Batch:
    enters = None if batch.enters is None else batch.enters[here]
    entity = batch.entity[here] - np.int32(first)
    return Batch(entity, batch.ts[here], enters, batch.combo[here], [v[here] for v in batch.values])


def _seen(piece: _Piece) -> Seen:
    return piece.seen


def _part(piece: _Piece, p: int) -> tuple[list[Batch], Combos]:
    return piece.parts[p], piece.seen.combos


def _asked(asked: Asked, first: int, end: int) -> Asked:
    """The rows of one partition, its entities numbered from 0 on."""
    here = slice(asked.start[first], asked.start[end])
    ids = Ids(asked.ids.keys[first:end], asked.ids.name)
    start = asked.start[first : end + 1] - asked.start[first]
    return Asked(ids, asked.since[first:end], asked.entity[here] - np.int32(first), asked.as_of[here], start)


def _compute(planned: _Planned, asked: Asked, pieces: Sequence[tuple[list[Batch], Combos]], path: str) -> list[str]:
    """Compute one partition, write it, and return the names of its features."""
    plan = planned.plan
    with Spill(len(asked.ids), folder=None) as spill:
        for batches, combos in pieces:
            numbers = combos.to_plan(plan.vocabularies)
            for batch in batches:
                spill.add(Batch(batch.entity, batch.ts, batch.enters, numbers[batch.combo], batch.values))
        same = np.arange(plan.n_combos, dtype=np.uint16)
        columns = value_columns(plan.view, [f.of for f in events_only(planned.features) if f.of])
        work = Work(asked, spill, plan, planned.features, combos=same, columns=columns)
        names, _ = write_blocks(Path(path), work, threads=1, everything=True)
    return names
