"""The local store: one DuckDB file that holds the canonical tables of one source.

Loading is atomic (one transaction; a reader sees the old rows or the new ones) and idempotent (the same load twice
leaves the same rows). Pieces of a large table may come one after the other, so that memory stays bounded.
"""

import json
from collections.abc import Iterable, Mapping
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
            with `truth_` are stored as they are.
        fingerprint : identifies what was loaded; `fingerprint()` returns it.
        replace : True empties the store first; False replaces rows of equal key and keeps the others.
        meta : anything that JSON can hold; `meta()` returns it.

        Raises
        ------
        DataError : a piece breaks the schema, or two pieces repeat a key. Nothing is changed then.
        """
        pieces = tables.items() if isinstance(tables, Mapping) else tables
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._writer() as db:
            if replace:
                _drop_all(db)
            for name, piece in pieces:
                _insert(db, name, piece, upsert=not replace)
            _check_keys(db)
            _write_meta(db, {"fingerprint": fingerprint, "meta": dict(meta or {})})
            return _counts(db)

    def read(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        """Return a table, in the order of its key; a canonical table never loaded comes back empty.

        Raises
        ------
        DataError : there is no such table.
        """
        if name not in TABLES and name not in self.names():
            raise DataError(f"The store has no table `{name}`.", remedy=did_you_mean(name, [*TABLES, *self.names()]))
        if name not in self.names():
            return empty_table(name)[columns or list(empty_table(name).columns)]
        wanted = ", ".join(map(_quoted, columns)) if columns else "*"
        order = f" ORDER BY {_key(name)}" if name in TABLES else ""
        with self._reader() as db:
            frame = db.execute(f"SELECT {wanted} FROM {_quoted(name)}{order}").df()
        return _retyped(name, frame)

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
    def _writer(self):
        db = self._connect(read_only=False)
        try:
            db.execute("BEGIN")
            yield db
            db.execute("COMMIT")
            db.execute("CHECKPOINT")
        finally:
            db.close()  # an open transaction is rolled back

    @contextmanager
    def _reader(self):
        db = self._connect(read_only=True)
        try:
            yield db
        finally:
            db.close()

    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        try:
            return duckdb.connect(str(self.path), read_only=read_only)
        except duckdb.Error as error:
            raise SourceError(
                f"The store {self.path.name} cannot be opened.",
                found=str(error).splitlines()[0],
                remedy="close the other program that writes to it; if the file is damaged, delete it: it is rebuilt.",
            ) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _key(name: str) -> str:
    return ", ".join(map(_quoted, TABLES[name].key))


def _table_names(db: duckdb.DuckDBPyConnection) -> list[str]:
    rows = db.execute("SELECT table_name FROM duckdb_tables() WHERE table_name <> ? ORDER BY 1", [_META]).fetchall()
    return [name for (name,) in rows]


def _counts(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return {name: db.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()[0] for name in _table_names(db)}


def _drop_all(db: duckdb.DuckDBPyConnection) -> None:
    for name in _table_names(db):
        db.execute(f"DROP TABLE {_quoted(name)}")


def _insert(db: duckdb.DuckDBPyConnection, name: str, piece: pd.DataFrame, *, upsert: bool) -> None:
    extra = name.startswith(EXTRA_PREFIX)
    frame = _storable(piece if extra else conform_table(name, piece))
    db.register("piece", frame)
    if name not in _table_names(db):
        db.execute(f"CREATE TABLE {_quoted(name)} AS SELECT * FROM piece")
    else:
        _add_missing_columns(db, name, frame)
        if upsert and not extra:
            db.execute(f"DELETE FROM {_quoted(name)} AS t USING piece AS p WHERE {_same_key(name)}")
        db.execute(f"INSERT INTO {_quoted(name)} BY NAME SELECT * FROM piece")
    db.unregister("piece")


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with all-empty text columns typed: DuckDB would otherwise call them integers."""
    return frame.astype({c: "str" for c in frame if frame[c].dtype == object})


def _add_missing_columns(db: duckdb.DuckDBPyConnection, name: str, frame: pd.DataFrame) -> None:
    present = {row[0] for row in db.execute(f"DESCRIBE {_quoted(name)}").fetchall()}
    for column, kind, *_ in db.execute("DESCRIBE SELECT * FROM piece").fetchall():
        if column not in present:
            db.execute(f"ALTER TABLE {_quoted(name)} ADD COLUMN {_quoted(column)} {kind}")


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


def _retyped(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return what DuckDB gave with the dtypes of `conform_table`, without checking again what was checked at load."""
    dtypes = empty_table(name).dtypes if name in TABLES else {}
    known = {c: dtypes[c] for c in frame if c in dtypes}
    own_text = {c: "str" for c in frame if c not in known and frame[c].dtype == object}
    return frame.astype(known | own_text)
