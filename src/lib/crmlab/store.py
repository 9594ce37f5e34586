"""The local store: one DuckDB file that holds the canonical tables of one source.

Loading is atomic and idempotent (the same load twice leaves the same rows). A load that replaces the store is built in
a file beside it, which takes its place at the end: readers keep the old rows until then, and a crash or a full disk
leaves them as they were. A load that adds to the store is one transaction. Pieces of a large table may come one after
the other, so that memory stays bounded.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pandas as pd

from crmlab.schema import (
    TABLES,
    DataError,
    SourceError,
    conform_table,
    did_you_mean,
    empty_table,
)

__all__ = ["EXTRA_PREFIX", "Store"]

EXTRA_PREFIX = "truth_"
"""Tables beside the canonical ones: the demo's known truth."""

_EXTRA_NAME = re.compile(EXTRA_PREFIX + r"[a-z0-9_]+")

_META = "crmlab_meta"


class Store:
    """The canonical tables of one source in one DuckDB file.

    Parameters
    ----------
    path : file of the store; it is created by the first `load`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def load(
        self,
        tables: Mapping[str, pd.DataFrame] | Iterable[tuple[str, pd.DataFrame]],
        *,
        fingerprint: str,
        replace: bool = True,
        meta: Mapping[str, object] | None = None,
    ) -> dict[str, int]:
        """Write tables in one transaction and return the rows of each.

        Parameters
        ----------
        tables : canonical tables by name, or (name, piece) pairs; a table may come in several pieces. Names that begin
            with `truth_` are stored as they are, in the order they come in.
        fingerprint : identifies what was loaded; `fingerprint()` returns it.
        replace : True empties the store first; False replaces rows of equal key (the newest piece wins) and keeps the
            others. A `truth_` table has no key and is always replaced whole.
        meta : anything that JSON can hold; `meta()` returns it.

        Raises
        ------
        DataError : a piece breaks the schema, an own column changes its type, or two pieces repeat a key.
        SourceError : the file cannot be opened or written. Whatever is raised, nothing is changed then.
        """
        pieces = tables.items() if isinstance(tables, Mapping) else tables
        _make_folder(self.path)
        whole = replace or not self.path.exists()
        with _rebuilt(self.path) if whole else _transaction(self.path) as db:
            seen: set[str] = set()
            for name, piece in pieces:
                _insert(db, name, piece, upsert=not replace, first=name not in seen)
                seen.add(name)
            _check_keys(db)
            _write_meta(db, {"fingerprint": fingerprint, "meta": dict(meta or {})})
            return _counts(db)

    def read(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        """Return a table, in the order of its key; a canonical table never loaded comes back empty.

        Raises
        ------
        DataError : there is no such table or column.
        SourceError : the file cannot be opened, or is damaged.
        """
        names = self.names()
        if name not in names:
            if name not in TABLES:
                raise DataError(
                    f"The store has no table `{name}`.", remedy=did_you_mean(name, sorted({*TABLES, *names}))
                )
            return _chosen(name, empty_table(name), columns)
        order = f" ORDER BY {_key(name)}" if name in TABLES else ""
        with self._reader() as db:
            _chosen(name, pd.DataFrame(columns=_column_types(db, name)), columns)
            wanted = ", ".join(map(_quoted, columns)) if columns else "*"
            frame = db.execute(f"SELECT {wanted} FROM {_quoted(name)}{order}").df()
        return _retyped(name, frame)

    def extremes(self, name: str, column: str) -> tuple[pd.Timestamp, pd.Timestamp]:
        """Return the first and last time of a column of a canonical table; NaT where it holds none."""
        if name not in self.names():
            return pd.NaT, pd.NaT
        with self._reader() as db:
            row = db.execute(f"SELECT min({_quoted(column)}), max({_quoted(column)}) FROM {_quoted(name)}").fetchone()
        return tuple(pd.Timestamp(t) if t is not None else pd.NaT for t in row)

    def names(self) -> list[str]:
        """Return the names of the tables that hold a load."""
        if not self.path.exists():
            return []
        with self._reader() as db:
            return _table_names(db)

    def counts(self) -> dict[str, int]:
        """Return the rows of each table."""
        if not self.path.exists():
            return {}
        with self._reader() as db:
            return _counts(db)

    def fingerprint(self) -> str | None:
        """Return what was loaded last, or None when there is no complete load."""
        return self._meta_entry("fingerprint", None)

    def meta(self) -> dict[str, object]:
        """Return what the last load said about its source."""
        return self._meta_entry("meta", {})

    def _meta_entry(self, key: str, default: object) -> object:
        if not self.path.exists():
            return default
        with self._reader() as db:
            if not db.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [_META]).fetchall():
                return default
            row = db.execute(f"SELECT value FROM {_META} WHERE key = ?", [key]).fetchone()
        return json.loads(row[0]) if row else default

    @contextmanager
    def _reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        db = _connect(self.path, read_only=True)
        try:
            yield db
        except duckdb.Error as error:
            raise _unreadable(self.path, error) from error
        finally:
            db.close()


@contextmanager
def _rebuilt(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new file beside the store, on the same disk, that takes its place once it is complete."""
    _remove_leftovers(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{_loading(path)}{os.getpid()}.", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        file = folder / path.name
        with _transaction(file) as db:
            yield db
        if _log_of(file).exists():  # closing could not bring it into the file
            raise _unwritable(path, OSError("the disk is full"))
        _log_of(path).unlink(missing_ok=True)  # of a crashed load; it must not be replayed into the new file
        file.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _transaction(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    db = _connect(path, read_only=False)
    try:
        db.execute("BEGIN")
        yield db
        db.execute("COMMIT")
    except duckdb.Error as error:
        raise _unwritable(path, error) from error
    finally:
        db.close()  # an open transaction is rolled back; a committed one is brought into the file


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except duckdb.Error as error:
        raise _unreadable(path, error) from error


def _unwritable(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"The store {path.name} cannot be written; the load before is as it was.",
        found=_first_line(error),
        remedy="check that the disk has space and its folder may be written to, and load again.",
    )


def _unreadable(path: Path, error: duckdb.Error) -> SourceError:
    return SourceError(
        f"The store {path.name} cannot be opened.",
        found=_first_line(error),
        remedy="close the other program that writes to it; if the file is damaged, delete it: it is rebuilt.",
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _loading(path: Path) -> str:
    return f".{path.name}.loading."


def _log_of(path: Path) -> Path:
    """DuckDB's log of what is committed but not yet in the file."""
    return path.with_name(path.name + ".wal")


def _remove_leftovers(path: Path) -> None:
    """Remove what loads that were killed have left behind; those still running stay."""
    for folder in path.parent.glob(f"{_loading(path)}*"):
        pid = folder.name.removeprefix(_loading(path)).split(".")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _key(name: str) -> str:
    return ", ".join(map(_quoted, TABLES[name].key))


def _table_names(db: duckdb.DuckDBPyConnection) -> list[str]:
    rows = db.execute("SELECT table_name FROM duckdb_tables() WHERE table_name <> ? ORDER BY 1", [_META]).fetchall()
    return [name for (name,) in rows]


def _counts(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return {name: db.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()[0] for name in _table_names(db)}


def _column_types(db: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    return {row[0]: row[1] for row in db.execute(f"DESCRIBE {_quoted(name)}").fetchall()}


def _insert(db: duckdb.DuckDBPyConnection, name: str, piece: pd.DataFrame, *, upsert: bool, first: bool) -> None:
    extra = name.startswith(EXTRA_PREFIX)
    frame = _extra_table(name, piece) if extra else conform_table(name, piece)
    if extra and first:
        _check_extra_name(name)
        db.execute(f"DROP TABLE IF EXISTS {_quoted(name)}")
    db.register("piece", frame)
    if name not in _table_names(db):
        db.execute(f"CREATE TABLE {_quoted(name)} AS SELECT * FROM piece")
    else:
        _fit_columns(db, name, frame)
        if upsert and not extra:
            db.execute(f"DELETE FROM {_quoted(name)} AS t USING piece AS p WHERE {_same_key(name)}")
        db.execute(f"INSERT INTO {_quoted(name)} BY NAME SELECT * FROM piece")
    db.unregister("piece")


def _check_extra_name(name: str) -> None:
    if not _EXTRA_NAME.fullmatch(name):
        raise DataError(
            "A table beside the canonical ones has a name that is not allowed.",
            found=repr(name),
            remedy=f"name it `{EXTRA_PREFIX}…`, in lower-case letters, digits and underscores.",
        )


def _extra_table(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame as DuckDB can hold it: columns differ in more than their case, text is text even where empty."""
    names = [str(c).lower() for c in frame]
    twice = sorted({c for c in names if names.count(c) > 1})
    if twice:
        raise DataError(
            f"Table `{name}` has the column `{twice[0]}` twice.",
            found=f"columns {', '.join(map(str, frame.columns))}",
            remedy="rename or leave out one of them; upper and lower case are the same.",
        )
    return frame.astype({c: "str" for c in frame if frame[c].dtype == object or frame[c].dtype == "category"})


def _fit_columns(db: duckdb.DuckDBPyConnection, name: str, frame: pd.DataFrame) -> None:
    """Let the stored table take the piece: add own columns it lacks, and type those that were empty so far."""
    present = _column_types(db, name)
    for column, kind in _column_types(db, "piece").items():
        if column not in present:
            db.execute(f"ALTER TABLE {_quoted(name)} ADD COLUMN {_quoted(column)} {kind}")
        elif kind != present[column] and frame[column].notna().any():
            if db.execute(f"SELECT count({_quoted(column)}) FROM {_quoted(name)}").fetchone()[0]:
                raise DataError(
                    f"Column `{name}.{column}` holds different types in different pieces of the load.",
                    found=f"{present[column].lower()} before, {kind.lower()} now",
                    remedy="give the column one type in the mapping.",
                )
            db.execute(f"ALTER TABLE {_quoted(name)} ALTER COLUMN {_quoted(column)} TYPE {kind}")


def _same_key(name: str) -> str:
    return " AND ".join(f"t.{_quoted(k)} = p.{_quoted(k)}" for k in TABLES[name].key)


def _check_keys(db: duckdb.DuckDBPyConnection) -> None:
    for name in set(_table_names(db)) & set(TABLES):
        query = f"SELECT count(*), count(DISTINCT ({_key(name)})) FROM {_quoted(name)}"
        rows, keys = db.execute(query).fetchone()
        if rows != keys:
            raise DataError(
                f"Table `{name}` must have one row per {' and '.join(TABLES[name].key)}.",
                found=f"{rows - keys:,} rows repeat the key of a row in another piece of the load",
                remedy="remove the repeated rows from the files.",
            )


def _write_meta(db: duckdb.DuckDBPyConnection, entries: Mapping[str, object]) -> None:
    db.execute(f"CREATE OR REPLACE TABLE {_META} (key VARCHAR, value VARCHAR)")
    db.executemany(f"INSERT INTO {_META} VALUES (?, ?)", [[k, json.dumps(v)] for k, v in entries.items()])


def _chosen(name: str, frame: pd.DataFrame, columns: list[str] | None) -> pd.DataFrame:
    unknown = [c for c in columns or [] if c not in frame]
    if unknown:
        raise DataError(
            f"Table `{name}` of the store has no column `{unknown[0]}`.",
            remedy=did_you_mean(unknown[0], list(frame.columns)),
        )
    return frame[columns or list(frame.columns)]


def _retyped(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return what DuckDB gave with the dtypes of `conform_table`, without checking again what was checked at load."""
    if name not in TABLES:
        return frame.astype({c: "str" for c in frame if frame[c].dtype == object})
    dtypes = dict(empty_table(name).dtypes)
    return frame.astype({c: dtypes.get(c) or _own_dtype(frame[c]) for c in frame})


def _own_dtype(values: pd.Series) -> object:
    if values.dtype == object:
        return "str"
    return "boolean" if pd.api.types.is_bool_dtype(values) else values.dtype
