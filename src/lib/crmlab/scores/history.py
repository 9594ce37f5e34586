"""What was scored when, and by which model: an append-only history in one DuckDB file.

Scores are written once and never changed: there is no update and no delete. A batch is all scores of one question,
date, model and data; the same batch again changes nothing, another content under the same name is refused. Each batch
carries the SHA-256 of its content, chained to the batch before it, so that a change made past this library is found by
`verify` (only the loss of the newest batches, as by an old copy of the file, cannot be seen from inside).

Writers and readers hold a lock on a file beside it (DuckDB lets only one process in): two writers wait for each other.
A batch is one transaction, so a crash leaves the history as it was.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from crmlab import project
from crmlab.crm import as_instant
from crmlab.schema import DataError, RunError, SourceError
from crmlab.sources.locks import locked

__all__ = ["SCORE_COLUMNS", "ScoreHistory"]

_KEY_COLUMNS = {
    "entry": "int64",
    "question": "str",
    "scored_as_of": "datetime64[us]",
    "model_id": "str",
    "data_fingerprint": "str",
}
SCORE_COLUMNS = {
    "entity": "str",
    "entity_id": "str",
    "as_of": "datetime64[us]",
    "p_raw": "float64",
    "p": "float64",
    "p_low": "float64",
    "p_high": "float64",
    "percent": "float64",
    "band": "str",
    "grade": "str",
    "class_1_5": "Int64",
    "amount": "float64",
    "owner_probability": "float64",
}
"""What is kept of each score: column → dtype. `as_of` is the row's own date, missing where a source has none."""

_OVERRIDE_COLUMNS = {
    "entry": "int64",
    "question": "str",
    "entity_id": "str",
    "as_of": "datetime64[us]",
    "override": "float64",
    "given_by": "str",
    "reason": "str",
}
_BATCH_COLUMNS = {**_KEY_COLUMNS, "rows": "int64", "sha256": "str", "chain": "str"}
_SQL_TYPES = {
    "int64": "BIGINT NOT NULL",
    "str": "VARCHAR",
    "datetime64[us]": "TIMESTAMP",
    "float64": "DOUBLE",
    "Int64": "BIGINT",
}
_TABLES = {
    "batches": _BATCH_COLUMNS,
    "scores": {"entry": "int64", **SCORE_COLUMNS},
    "overrides": _OVERRIDE_COLUMNS,
}


class ScoreHistory:
    """The scores given so far.

    Parameters
    ----------
    path : the file; `data_dir()/scores.duckdb` by default. It is created by the first `append`.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path is not None else project.data_dir() / "scores.duckdb"

    def append(
        self, scores: pd.DataFrame, *, question: str, as_of: str | pd.Timestamp, model_id: str, data_fingerprint: str
    ) -> int:
        """Write one batch of scores and return its entry number; the same batch again returns the number it has.

        Parameters
        ----------
        scores : columns of `SCORE_COLUMNS` (p and entity_id at least; others may be absent), one row an entity.
        question : slug of the question. as_of : date of scoring; empty for a source without dates.
        model_id, data_fingerprint : what gave the scores.

        Raises
        ------
        DataError : an identifier is missing or comes twice, a probability is outside 0 to 1, or this question, date,
            model and data were scored before with other results.
        SourceError : the file cannot be written; the history is as it was.
        """
        rows = _conform(scores)
        key = (question, _instant(as_of), model_id, data_fingerprint)
        digest = _digest(rows)
        with self._writer() as db:
            before = db.execute(f"SELECT entry, sha256 FROM batches WHERE {_SAME_KEY}", list(key)).fetchall()
            if before:
                return _same_batch(before[0], digest, key)
            entry, chain = _next(db)
            batch = [entry, *key, len(rows), digest, _chained(chain, _header(entry, *key, len(rows)), digest)]
            db.execute(f"INSERT INTO batches VALUES ({', '.join('?' * len(batch))})", batch)
            db.register("piece", rows.assign(entry=entry)[list(_TABLES["scores"])])
            db.execute("INSERT INTO scores BY NAME SELECT * FROM piece")
        return entry

    def batches(self, question: str | None = None) -> pd.DataFrame:
        """Return what was written: entry, question, scored_as_of, model_id, data_fingerprint, rows, sha256, chain."""
        where, values = ("WHERE question = ?", [question]) if question else ("", [])
        return self._read(f"SELECT * FROM batches {where} ORDER BY entry", values, _BATCH_COLUMNS)

    def previous(self, question: str, *, before: str | pd.Timestamp) -> pd.DataFrame:
        """Return the scores of the newest date before `before`; empty when there is none.

        Of several batches of one date (other models, other data) the one written last counts. Columns: those of
        `SCORE_COLUMNS`, and entry, scored_as_of, model_id, data_fingerprint; one row an entity, by its identifier.
        """
        return self._of(question, "scored_as_of < ?", _instant(before))

    def at(self, question: str, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
        """Return the scores given on a date (of an undated source: the last ones); see `previous`."""
        return self._of(question, "scored_as_of IS NOT DISTINCT FROM ?", _instant(as_of))

    def latest(self, question: str) -> pd.DataFrame:
        """Return the scores of the newest date; see `previous`."""
        return self._of(question, "scored_as_of >= ?", pd.Timestamp(0))

    def course(self, question: str, entity_id: str) -> pd.DataFrame:
        """Return every score of one entity, oldest date first, with the batch it belongs to."""
        query = f"{_JOINED} WHERE b.question = ? AND s.entity_id = ? ORDER BY b.scored_as_of, b.entry"
        return self._read(query, [question, entity_id], _RESULT)

    def add_override(
        self, *, question: str, entity_id: str, as_of: str | pd.Timestamp, override: float, given_by: str, reason: str
    ) -> int:
        """Write down that a person believes another probability, beside the score and never instead of it.

        Parameters
        ----------
        override : the person's probability, 0 to 1. given_by : pseudonym of the rep, never a name.
        reason : in a few words, without personal data; it is kept as it is.

        Returns
        -------
        Its entry number; the same override again returns the number it has.

        Raises
        ------
        DataError : the probability is outside 0 to 1.
        """
        if not 0 <= override <= 1:
            raise DataError("An override must be a probability.", found=repr(override), remedy="write 0.4 for 40 %.")
        row = [question, entity_id, _instant(as_of), float(override), given_by, reason]
        same = " AND ".join(f"{c} = ?" for c in list(_OVERRIDE_COLUMNS)[1:])
        with self._writer() as db:
            before = db.execute(f"SELECT entry FROM overrides WHERE {same}", row).fetchone()
            if before:
                return before[0]
            entry = db.execute("SELECT coalesce(max(entry), 0) + 1 FROM overrides").fetchone()[0]
            db.execute(f"INSERT INTO overrides VALUES ({', '.join('?' * (len(row) + 1))})", [entry, *row])
        return entry

    def overrides(self, question: str, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
        """Return the newest override of each entity up to a date; columns: those of `add_override`, and entry."""
        query = (
            "SELECT * FROM overrides WHERE question = ? AND (as_of <= ? OR as_of IS NULL) "
            "QUALIFY row_number() OVER (PARTITION BY entity_id ORDER BY as_of DESC, entry DESC) = 1 ORDER BY entity_id"
        )
        return self._read(query, [question, _instant(as_of)], _OVERRIDE_COLUMNS)

    def verify(self) -> int:
        """Check every batch against its digest and the chain, and return the number of batches.

        Raises
        ------
        RunError : a batch was changed, removed or put in past this library; the message names the first one.
        """
        chain = ""
        batches = self.batches()
        for number, batch in enumerate(batches.itertuples(index=False), start=1):
            rows = self._read("SELECT * FROM scores WHERE entry = ?", [batch.entry], _TABLES["scores"])
            head = _header(*list(batch)[: len(_KEY_COLUMNS)], batch.rows)
            digest = _digest(rows)
            chain = _chained(chain, head, digest)
            if batch.entry != number or digest != batch.sha256 or chain != batch.chain:
                raise RunError(
                    "The history of scores was changed after it was written.",
                    found=f"batch {batch.entry}, {batch.question} of {str(batch.scored_as_of)[:10]}",
                    remedy="restore the file from a backup; scores after this batch prove nothing.",
                )
        return len(batches)

    def _of(self, question: str, when: str, instant: pd.Timestamp) -> pd.DataFrame:
        newest = (
            f"SELECT entry FROM batches WHERE question = ? AND {when} ORDER BY scored_as_of DESC, entry DESC LIMIT 1"
        )
        return self._read(f"{_JOINED} WHERE b.entry = ({newest}) ORDER BY s.entity_id", [question, instant], _RESULT)

    def _read(self, query: str, values: list[object], columns: dict[str, str]) -> pd.DataFrame:
        if not self.path.exists():
            return pd.DataFrame(columns=list(columns)).astype(columns)
        with locked(_lock_of(self.path)), _opened(self.path) as db:
            return db.execute(query, values).df()[list(columns)].astype(columns)

    @contextmanager
    def _writer(self) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from error
        with locked(_lock_of(self.path)), _opened(self.path) as db:
            db.execute("BEGIN")
            for name, columns in _TABLES.items():
                fields = ", ".join(f"{column} {_SQL_TYPES[kind]}" for column, kind in columns.items())
                db.execute(f"CREATE TABLE IF NOT EXISTS {name} ({fields})")
            yield db  # whatever is raised here, the connection closes and the open transaction is rolled back
            db.execute("COMMIT")


_DIGITS = 9
_SAME_KEY = "question = ? AND scored_as_of IS NOT DISTINCT FROM ? AND model_id = ? AND data_fingerprint = ?"
_RESULT = {**SCORE_COLUMNS, **_KEY_COLUMNS}
_JOINED = (
    "SELECT s.*, b.question, b.scored_as_of, b.model_id, b.data_fingerprint FROM scores s JOIN batches b USING (entry)"
)


def _instant(as_of: str | pd.Timestamp) -> pd.Timestamp | None:
    """The date of scoring; None for a source without dates, whose scores have no order in time."""
    return None if isinstance(as_of, str) and as_of == "" else as_instant(as_of)


def _conform(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the kept columns with their dtypes, by identifier."""
    absent = {c: pd.Series(index=scores.index, dtype=kind) for c, kind in SCORE_COLUMNS.items() if c not in scores}
    rows = scores.assign(**absent)[list(SCORE_COLUMNS)].astype(SCORE_COLUMNS)
    gaps, twice = int(rows["entity_id"].isna().sum()), int(rows["entity_id"].duplicated().sum())
    if gaps or twice:
        raise DataError(
            "A batch of scores has one row per identifier.",
            found=f"{gaps:,} rows without identifier, {twice:,} repeated",
            remedy="score each open entity once.",
        )
    outside = int(((rows["p"] < 0) | (rows["p"] > 1)).sum())
    if outside:
        raise DataError(
            "Scores must be probabilities.", found=f"{outside:,} outside 0 to 1", remedy="see `score_rows`."
        )
    return rows.sort_values("entity_id", ignore_index=True)


def _digest(rows: pd.DataFrame) -> str:
    """SHA-256 of the content: columns in their order, rows by identifier, gaps apart from every value."""
    found = hashlib.sha256()
    rows = rows.sort_values("entity_id", ignore_index=True)
    for column, kind in SCORE_COLUMNS.items():
        found.update(f"{column}:{len(rows)};".encode())
        found.update(rows[column].isna().to_numpy(bool).tobytes())
        found.update(_bytes(rows[column].dropna(), kind))
    return found.hexdigest()


def _bytes(values: pd.Series, kind: str) -> bytes:
    if kind == "str":
        texts = [str(x).encode("utf-8", "surrogatepass") for x in values]
        return b"".join(len(t).to_bytes(8, "little") + t for t in texts)
    plain = "<i8" if kind in ("datetime64[us]", "Int64") else "<f8"
    numbers = values.to_numpy(dtype="datetime64[us]" if kind == "datetime64[us]" else plain[1:])
    if kind == "float64":  # rounded: the last bits differ between processors, the scores do not; and -0 is 0
        return (np.round(numbers.astype(plain), _DIGITS) + 0.0).tobytes()
    return numbers.astype(plain).tobytes()


def _header(*values: object) -> str:
    return "|".join(f"{len(text)}:{text}" for text in ("NaT" if v is None else str(v) for v in values))


def _chained(before: str, header: str, digest: str) -> str:
    return hashlib.sha256(f"{before}|{header}|{digest}".encode()).hexdigest()


def _next(db: duckdb.DuckDBPyConnection) -> tuple[int, str]:
    last = db.execute("SELECT entry, chain FROM batches ORDER BY entry DESC LIMIT 1").fetchone()
    return (last[0] + 1, last[1]) if last else (1, "")


def _same_batch(before: tuple[int, str], digest: str, key: tuple) -> int:
    entry, known = before
    if known == digest:
        return entry
    raise DataError(
        "These scores were given before, with other results.",
        found=f"{key[0]} of {str(key[1])[:10]}, model {key[2]}, data {key[3]}: entry {entry} holds other values",
        remedy="the same model on the same data must give the same scores: look for what changed in the code.",
    )


@contextmanager
def _opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        db = duckdb.connect(str(path))
    except duckdb.Error as error:
        raise _unusable(path, error) from error
    try:
        yield db
    except duckdb.Error as error:
        raise _unusable(path, error) from error
    finally:
        db.close()


def _unusable(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"The history of scores, {path.name}, cannot be used; it is as it was.",
        found=str(error).splitlines()[0],
        remedy="check the disk and the rights of its folder; if the file is damaged, restore it from a backup.",
    )


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")
