"""Read CSV as text, exactly as written, and refuse what would be read wrongly in silence."""

import codecs
import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

from crmlab.schema import SourceError

from .rawfiles import CHUNK, OLE, ZIP, header_names, no_header, open_unpacked
from .specs import FileSpec

__all__ = ["read_csv"]

_LARGEST_BLOCK = 1 << 28
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_csv(path: Path, spec: FileSpec) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the cells of a CSV file as text, and the row number of each row (the header's is `header_row`).

    Raises
    ------
    SourceError : empty, not in the stated encoding, or not even: rows with more or fewer fields than the header.
    """
    _check_text(path, spec)
    names = header_names(path, _header(path, spec), delimiter=spec.delimiter)
    cells = _parse(path, spec, len(names))
    cells.columns = names
    return cells, np.arange(len(cells), dtype="int64") + spec.header_row + 1


def _check_text(path: Path, spec: FileSpec) -> None:
    """Decode the whole file once, so that a wrong encoding is told by its place and never by its text."""
    decoder = codecs.getincrementaldecoder(spec.encoding)("strict")
    with open_unpacked(path) as stream:
        chunk = stream.read(CHUNK)
        _check_kind(path, spec, chunk)
        done = 0
        while chunk:
            waiting = len(decoder.getstate()[0])  # bytes of a character that began in the chunk before
            _decode(decoder, chunk, path, spec, done - waiting)
            done += len(chunk)
            chunk = stream.read(CHUNK)
        _decode(decoder, b"", path, spec, done - len(decoder.getstate()[0]))


def _decode(decoder: "codecs.IncrementalDecoder", chunk: bytes, path: Path, spec: FileSpec, offset: int) -> None:
    try:
        decoder.decode(chunk, final=not chunk)
    except UnicodeError as error:
        place = offset + getattr(error, "start", 0)
        others = [e for e in ("utf-8-sig", "cp1252", "utf-16") if codecs.lookup(e).name != spec.encoding]
        raise SourceError(
            f"`{path.name}` is not {spec.encoding} text.",
            found=f"byte {place:,} (counted from 0) cannot be read",
            remedy=f"write the right `encoding:` in the mapping: {', '.join(others)}; cp1252 is Western Windows.",
        ) from None


def _check_kind(path: Path, spec: FileSpec, start: bytes) -> None:
    if not start:
        raise SourceError(f"The file `{path.name}` is empty.", found="0 bytes", remedy="export it again.")
    if start.startswith((ZIP, OLE)):
        raise SourceError(
            f"`{path.name}` is not CSV text.",
            found="an Excel workbook or an archive",
            remedy="name it .xlsx, or save it as CSV.",
        )
    if spec.encoding.startswith(("utf-16", "utf-32")):
        return
    if start.startswith(_UTF16) or b"\x00" in start:
        place = 0 if start.startswith(_UTF16) else start.index(b"\x00")
        raise SourceError(
            f"`{path.name}` is not {spec.encoding} text.",
            found=f"{'a mark of utf-16' if place == 0 else 'a zero byte'} at byte {place:,}",
            remedy="if a spreadsheet saved it as Unicode text, write `encoding: utf-16`; else export it again as CSV.",
        )


def _header(path: Path, spec: FileSpec) -> list[str]:
    encoding = "utf-8-sig" if spec.encoding == "utf-8" else spec.encoding
    with open_unpacked(path) as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
        for _ in range(spec.header_row - 1):
            text.readline()
        try:
            return next(r for r in csv.reader(text, delimiter=spec.delimiter) if r)
        except (StopIteration, csv.Error):
            raise no_header(path, spec.header_row) from None


def _parse(path: Path, spec: FileSpec, width: int) -> pd.DataFrame:
    """Return the rows below the header."""
    import pyarrow as pa
    import pyarrow.csv as pc

    uneven: list[tuple[int, int]] = []

    def note(row: "pc.InvalidRow") -> str:
        uneven.append((row.number, row.actual_columns))
        return "skip"

    names = [f"f{i}" for i in range(width)]
    encoding = "utf8" if spec.encoding in ("utf-8", "utf-8-sig", "ascii") else spec.encoding
    reading = pc.ReadOptions(
        use_threads=False,  # only then do uneven rows carry their number
        column_names=names,
        skip_rows=spec.header_row - 1,
        encoding=encoding,
        block_size=_block_size(path),
    )
    parsing = pc.ParseOptions(delimiter=spec.delimiter, newlines_in_values=True, invalid_row_handler=note)
    converting = pc.ConvertOptions(strings_can_be_null=False, column_types=dict.fromkeys(names, pa.string()))
    try:
        with open_unpacked(path) as stream:
            cells = pc.read_csv(stream, reading, parsing, converting)
    except pa.ArrowInvalid:
        raise _unclosed(path) from None
    _check_even(path, uneven, width)
    frame = cells.slice(1).to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow", na_value=np.nan)}.get)
    _check_closed(path, frame)
    return frame


def _block_size(path: Path) -> int:
    """Return a block size that holds any sane record; a quoted note may be long."""
    unpacked = path.stat().st_size * (20 if path.suffix == ".gz" else 1) + 1
    return max(CHUNK, min(unpacked, _LARGEST_BLOCK))


def _unclosed(path: Path) -> SourceError:
    return SourceError(
        f"`{path.name}` cannot be read as CSV.",
        found="a value without end, such as after an unclosed quotation mark",
        remedy="check `delimiter:` and the quotation marks, or export it again.",
    )


def _check_even(path: Path, uneven: list[tuple[int, int]], width: int) -> None:
    if uneven:
        row, fields = uneven[0]
        raise SourceError(
            f"`{path.name}` has {len(uneven):,} row(s) with more or fewer fields than the {width} of its header.",
            found=f"{fields} field(s) in row {row:,}",
            remedy="check `delimiter:` and the quotation marks; a delimiter inside a value must be quoted.",
        )


def _check_closed(path: Path, frame: pd.DataFrame) -> None:
    """Refuse a file whose last quotation mark is never closed: it would swallow all rows after it into one value."""
    if not len(frame) or "\n" not in str(frame.iloc[-1, -1]):
        return
    tail = b""
    with open_unpacked(path) as stream:
        while chunk := stream.read(CHUNK):
            tail = (tail + chunk)[-64:]
    if not tail.replace(b"\x00", b"").rstrip(b"\r\n").endswith(b'"'):
        raise _unclosed(path)
