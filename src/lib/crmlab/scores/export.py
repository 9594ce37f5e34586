"""Scores as files for other programs: CSV that a spreadsheet opens without running or changing anything, and Parquet.

CSV: UTF-8 with byte order mark, comma between fields, decimal point, line end CR LF, every text in quotes, missing
values empty, columns in the order of the frame. Two things are done to text, and `read_csv_export` undoes both:

- A cell that begins with = + - @ tab CR LF (or their full-width forms) is a formula to a spreadsheet; an apostrophe is
  put before it (OWASP, "CSV Injection"). The same is done after a comma, semicolon, bar, tab or line end inside the
  text, because a spreadsheet set to another separator would begin a new cell there.
- An identifier that a spreadsheet would turn into a number, date or truth value (`00123`, `1E5`, `MAR1`, `TRUE`) gets
  an apostrophe, too.

Numbers are left alone: a negative number is no formula. Parquet holds the values as they are, without apostrophes.
"""

import csv
import hashlib
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crmlab.schema import TABLES, DataError, RunError

__all__ = ["Export", "export_scores", "plain_text", "read_csv_export", "safe_text"]

_SIGNS = r"=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_INSIDE = r'([,;|\t\r\n])("*)'
_PLACE = r'(^|[,;|\t\r\n])("*)'
_SIGN = re.compile(rf"['{_SIGNS}]")
_RISK = re.compile(_PLACE + rf"(?=['{_SIGNS}])")
_GUARDED = re.compile(_PLACE + rf"'(?=['{_SIGNS}])")
_GUARDED_INSIDE = re.compile(_INSIDE + rf"'(?=['{_SIGNS}])")
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|gen|mag|giu|lug|ago|set|ott|dic"
_GUESSED = re.compile(rf"[^a-z].*|(?:true|false|vero|falso)|(?:{_MONTHS})[a-z]*\W*\d+(?:\W.*)?", re.I | re.S)
_EMAIL = re.compile(r"[\w.+\-]+@[\w\-]+\.[A-Za-z]{2,}")
_PERSONAL = frozenset(
    column.name
    for table in TABLES.values()
    for column in table.columns
    if column.personal and (column.kind != "id" or column.name == "contact_id")
)


@dataclass(frozen=True)
class Export:
    """Files written, and the SHA-256 of each by its name."""

    csv: Path
    parquet: Path
    checksums: Path
    sha256: dict[str, str]


def safe_text(text: str, *, identifier: bool = False) -> str:
    """Return `text` so that no spreadsheet runs it, nor (an identifier) reads it as a number or date.

    >>> safe_text("=1+1"), safe_text("a;=1+1"), safe_text("00123", identifier=True), safe_text("L00123")
    ("'=1+1", "a;'=1+1", "'00123", 'L00123')
    """
    safe = _RISK.sub(r"\1\2'", text)
    guessed = identifier and text and not safe.startswith("'") and _GUESSED.fullmatch(text)
    return "'" + safe if guessed else safe


def plain_text(text: str) -> str:
    """Return what `safe_text` was given.

    >>> plain_text("'=1+1"), plain_text("'00123"), plain_text("L00123")
    ('=1+1', '00123', 'L00123')
    """
    if not text.startswith("'"):
        return _GUARDED.sub(r"\1\2", text)
    rest = text[1:]
    return (_GUARDED_INSIDE if _SIGN.match(rest) else _GUARDED).sub(r"\1\2", rest)


def export_scores(scores: pd.DataFrame, folder: Path | str, *, name: str = "scores") -> Export:
    """Write `<name>.csv`, `<name>.parquet` and `<name>.sha256` into a folder; each file appears complete or not at all.

    Parameters
    ----------
    scores : one row an entity; identifiers and words as text, dates as timestamps, numbers as numbers.

    Raises
    ------
    DataError : a column holds personal data (names, telephones, contact ids, notes), or a cell an e-mail address.
    RunError : the folder cannot be written to.
    """
    check_no_personal_data(scores)
    folder = Path(folder)
    parts = {f"{name}.csv": _csv_bytes(scores), f"{name}.parquet": _parquet_bytes(scores)}
    digests = {file: hashlib.sha256(content).hexdigest() for file, content in parts.items()}
    lines = "".join(f"{digest}  {file}\n" for file, digest in digests.items())
    for file, content in {**parts, f"{name}.sha256": lines.encode()}.items():
        _write(folder / file, content)
    return Export(folder / f"{name}.csv", folder / f"{name}.parquet", folder / f"{name}.sha256", digests)


def check_no_personal_data(scores: pd.DataFrame) -> None:
    """Check that no column is personal by its declaration, and that no cell holds an e-mail address.

    Raises
    ------
    DataError : one does.
    """
    named = [c for c in scores if c in _PERSONAL]
    if named:
        raise DataError(
            "An export must not hold personal data.",
            found=f"column `{named[0]}`",
            remedy="leave it out; whoever needs it joins it by the identifier inside the CRM.",
        )
    for column in _texts(scores):
        if scores[column].dropna().astype("str").str.contains(_EMAIL).any():
            raise DataError(
                "An export must not hold personal data.",
                found=f"an e-mail address in column `{column}`",
                remedy="map another column as identifier, or leave this one out.",
            )


def read_csv_export(path: Path | str) -> pd.DataFrame:
    """Return a CSV export with every text as it was; all columns as text, missing values as empty text."""
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        header, *rows = list(csv.reader(file))
    return pd.DataFrame([[plain_text(cell) for cell in row] for row in rows], columns=header, dtype="str")


def _texts(frame: pd.DataFrame) -> list[str]:
    return [c for c in frame if frame[c].dtype == "str" or frame[c].dtype == object]


def _csv_bytes(scores: pd.DataFrame) -> bytes:
    cells = {str(c): _cells(scores[c], identifier=str(c).endswith("_id")) for c in scores}
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow([safe_text(name) for name in cells])
    writer.writerows(zip(*cells.values(), strict=True))
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "replace")


def _cells(values: pd.Series, *, identifier: bool) -> list[object]:
    """Numbers as numbers, missing ones as nothing, all else as text that is safe."""
    missing = values.isna()
    if pd.api.types.is_datetime64_any_dtype(values):
        texts = [t.isoformat(sep=" ") for t in values.where(~missing, pd.Timestamp(0))]
        return ["" if gap else t for t, gap in zip(texts, missing, strict=True)]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return [_Nothing() if gap else x for x, gap in zip(values.tolist(), missing, strict=True)]
    words = [str(x) for x in values.tolist()]
    return ["" if gap else safe_text(w, identifier=identifier) for w, gap in zip(words, missing, strict=True)]


class _Nothing(float):
    """A number that the writer leaves empty and unquoted."""

    def __repr__(self) -> str:
        return ""

    __str__ = __repr__


def _parquet_bytes(scores: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame = scores.reset_index(drop=True).astype(dict.fromkeys(_texts(scores), "str"))
    frame.to_parquet(buffer, engine="pyarrow", compression="zstd", index=False)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"{path.name} cannot be written; the file before is as it was.",
            found=str(error),
            remedy="check that the disk has space and the folder may be written to.",
        ) from error
