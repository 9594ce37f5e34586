"""Events sorted into ranges of entities, on disk or in memory: the first half of a two-level counting sort.

The second half, by entity within a range, takes place when a range is read: it is small enough for the cache by then.
The order of the log is kept within an entity.
"""

import errno
import io
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from crmlab.schema import SourceError

from .events import Events, encode_numbers
from .kernel import split_by_range
from .log import Batch

__all__ = ["Spill"]

_MOST_RANGES = 512


class Spill:
    """Events by range of entities.

    Parameters
    ----------
    n_entities : entities are numbered 0..n−1.
    folder : where a file without a name holds them, which the system removes whatever happens; None: in memory.
    """

    def __init__(self, n_entities: int, *, folder: Path | None) -> None:
        self.n_entities = n_entities
        self.shift = max(0, (max(n_entities, 1) - 1).bit_length() - (_MOST_RANGES.bit_length() - 1))
        self.n_ranges = (max(n_entities, 1) - 1 >> self.shift) + 1
        self.counts = np.zeros(self.n_ranges, dtype=np.int64)
        self._pieces: list[tuple[np.ndarray, dict[str, np.ndarray | tuple[int, np.dtype]]]] = []
        self._lock = threading.Lock()
        self._file = None if folder is None else _open(folder)
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pieces.clear()
        if self._file is not None:
            self._file.close()

    def add(self, batch: Batch) -> None:
        """Take the events of a batch.

        Raises
        ------
        SourceError : the disk is full.
        """
        order, start = split_by_range(batch.entity, self.shift, self.n_ranges)
        named = {"entity": batch.entity, "ts": batch.ts, "combo": batch.combo}
        named |= {} if batch.enters is None else {"enters": batch.enters}
        named |= {f"value {k}": v for k, v in enumerate(batch.values)}
        columns = {name: column[order] for name, column in named.items()}
        self.counts += np.diff(start)
        self._pieces.append((start, columns if self._file is None else self._written(columns)))

    def _written(self, columns: Mapping[str, np.ndarray]) -> dict[str, tuple[int, np.dtype]]:
        places = {}
        try:
            for name, column in columns.items():
                _write(self._file, column)
                places[name] = (self._end, column.dtype)
                self._end += column.nbytes
        except OSError as error:
            raise _full(error) from error
        return places

    def entities_of(self, first: int, end: int) -> tuple[int, int]:
        """Return the first entity of some ranges, and the one after the last."""
        return first << self.shift, min(end << self.shift, self.n_entities)

    def read(self, first: int, end: int, combos: np.ndarray, columns: Sequence[tuple[int, str, int, str]]) -> Events:
        """Return the events of ranges first..end−1, entities numbered from the first of them on.

        Parameters
        ----------
        combos : the plan's number of each provisional combo.
        columns : (number of the value, encoding, per_unit, name) of the plan's columns.
        """
        spans = [(int(start[first]), int(start[end]), found) for start, found in self._pieces]
        spans = [span for span in spans if span[0] < span[1]]
        entity = self._gather("entity", spans, np.int32)
        entity -= np.int32(first << self.shift)
        ts = self._gather("ts", spans, np.int64)
        enters = ts
        if any("enters" in found for _, _, found in spans):
            enters = np.concatenate([self._part("enters" if "enters" in p[2] else "ts", p) for p in spans])
        combo = combos[self._gather("combo", spans, np.uint16)]
        values = np.empty((len(columns), len(ts)), dtype=np.int64)
        for line, (number, encoding, per_unit, name) in zip(values, columns, strict=True):
            raw = self._gather(f"value {number}", spans, np.int64 if encoding == "time" else np.float64)
            line[:] = raw if encoding == "time" else encode_numbers(raw, encoding, per_unit, name)
        return Events(entity, ts, enters, combo, values)

    def _gather(self, name: str, spans: Sequence[tuple], dtype: type) -> np.ndarray:
        out = np.empty(sum(stop - start for start, stop, _ in spans), dtype=dtype)
        at = 0
        for span in spans:
            n = span[1] - span[0]
            out[at : at + n] = self._part(name, span)
            at += n
        return out

    def _part(self, name: str, span: tuple) -> np.ndarray:
        start, stop, found = span
        if self._file is None:
            return found[name][start:stop]
        offset, dtype = found[name]
        part = np.empty(stop - start, dtype=dtype)
        with self._lock:
            self._file.seek(offset + start * dtype.itemsize)
            _read(self._file, part)
        return part


def _write(file: io.FileIO, column: np.ndarray) -> None:
    left = memoryview(column.view(np.uint8))
    while len(left):
        left = left[file.write(left) :]


def _read(file: io.FileIO, column: np.ndarray) -> None:
    left = memoryview(column.view(np.uint8))
    while len(left):
        n = file.readinto(left)
        if n == 0:
            raise OSError(errno.EIO, "the temporary file is shorter than what was written")
        left = left[n:]


def _open(folder: Path) -> io.FileIO:
    try:
        # Unbuffered: pieces are large.
        return tempfile.TemporaryFile(prefix="crmlab-", dir=folder, buffering=0)
    except OSError as error:
        raise SourceError(
            "There is no place for the temporary file that sorting needs.",
            found=str(error),
            remedy="name a folder that exists and may be written to.",
        ) from error


def _full(error: OSError) -> SourceError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return SourceError(
        "The temporary file that sorting needs cannot be written; nothing was changed.",
        found="the disk is full" if full else str(error),
        remedy="make room, or name another folder: it takes about 20 bytes an event.",
    )
