"""Read Excel workbooks as text: dates in ISO form, whole numbers without `.0`, text cells as they are."""

import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path

import numpy as np
import pandas as pd

from crmlab.schema import SourceError, did_you_mean

from .rawfiles import OLE, header_names, no_header, open_unpacked
from .specs import FileSpec

__all__ = ["read_excel"]

_SAVE_AGAIN = "open it and save it again as .xlsx or as CSV."


def read_excel(path: Path, spec: FileSpec) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the cells of a sheet as text, and the row number of each row; empty rows are left out.

    Raises
    ------
    SourceError : empty, protected, damaged, or without the sheet.
    """
    _check_kind(path)
    rows, numbers = [], []
    for number, row in enumerate(_sheet_rows(path, spec), 1):
        if number >= spec.header_row and any(row):
            rows.append(row)
            numbers.append(number)
    if not rows:
        raise no_header(path, spec.header_row)
    width = max(max(i for i, cell in enumerate(row, 1) if cell) for row in rows)
    cells = [(row + [""] * width)[:width] for row in rows]
    frame = pd.DataFrame(cells[1:], columns=header_names(path, cells[0]), dtype="str")
    return frame, np.array(numbers[1:], dtype="int64")


def _check_kind(path: Path) -> None:
    with open_unpacked(path) as stream:
        start = stream.read(4)
    if not start:
        raise SourceError(f"The file `{path.name}` is empty.", found="0 bytes", remedy="export it again.")
    if start == OLE:
        raise SourceError(
            f"`{path.name}` cannot be read as an Excel workbook.",
            found="a password or the old Excel format",
            remedy="save it unprotected as .xlsx.",
        )


def _sheet_rows(path: Path, spec: FileSpec) -> Iterator[list[str]]:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, SyntaxError, OSError):
        raise SourceError(f"`{path.name}` cannot be read as an Excel workbook.", remedy=_SAVE_AGAIN) from None
    try:
        sheet = _sheet(book, path, spec)
        sheet.reset_dimensions()  # some exporters write too small a size, and the rows beyond it would be lost
        for row in sheet.iter_rows():
            yield [_cell_text(cell) for cell in row]
    except (zipfile.BadZipFile, SyntaxError, KeyError, ValueError, EOFError):
        raise SourceError(f"`{path.name}` is damaged.", remedy=_SAVE_AGAIN) from None
    finally:
        book.close()


def _sheet(book: "object", path: Path, spec: FileSpec) -> "object":
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    name = spec.sheet or next(iter(sheets), "")
    if name not in sheets:
        raise SourceError(f"`{path.name}` has no sheet `{name}`.", remedy=did_you_mean(name, list(sheets)))
    return sheets[name]


def _cell_text(cell: "object") -> str:
    """Return a cell as text: whole numbers without `.0`, dates in ISO form, bare when the cell shows no time."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return _date_text(value, str(cell.number_format))
    if isinstance(value, (date, time)):
        return value.isoformat()
    return str(value)


def _date_text(value: datetime, number_format: str) -> str:
    if value.time() == time() and "h" not in number_format.lower():
        return value.date().isoformat()
    return value.isoformat(sep=" ", timespec="microseconds" if value.microsecond else "seconds")
