"""The cells of a source's files as text, with the row that each came from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crmlab.schema import SourceError

from .csv_texts import read_csv
from .excel_texts import read_excel
from .problems import safe_header
from .specs import FileSpec
from .xes_texts import read_xes

__all__ = ["TextTable", "read_texts"]


@dataclass(frozen=True)
class TextTable:
    """The cells of one file, or of several of one shape, as text; an empty cell is the empty text.

    Attributes
    ----------
    frame : one row per row of the files, in their order; columns by their header.
    parts : the files' names.
    part : which of `parts` a row comes from.
    row : row number within its file as a spreadsheet counts, the header included; a CSV's blank lines do not count. Of
        an event log, the number of the event.
    """

    frame: pd.DataFrame
    parts: tuple[str, ...]
    part: np.ndarray
    row: np.ndarray

    def where(self, position: int) -> str:
        """Return where a row stands, such as "row 17"."""
        file = f"{self.parts[self.part[position]]} " if len(self.parts) > 1 else ""
        return f"{file}row {self.row[position]:,}"


def read_texts(paths: list[Path], spec: FileSpec) -> TextTable:
    """Read the files of `spec` into one table of texts.

    Raises
    ------
    SourceError : a file is empty, in another encoding, damaged, uneven, or shaped differently from the first. Messages
        name places in the file and never show its contents.
    """
    read = [_read_one(path, spec) for path in paths]
    _check_same_columns(paths, [frame for frame, _ in read])
    frame = pd.concat([f for f, _ in read], ignore_index=True) if len(read) > 1 else read[0][0]
    if not len(frame):
        raise SourceError(
            f"The file `{paths[0].name}` is empty.",
            found="column names without any row below them",
            remedy="export it again; if the CRM keeps no such records, take the file out of the mapping.",
        )
    part = np.repeat(np.arange(len(read), dtype="int32"), [len(f) for f, _ in read])
    return TextTable(frame, tuple(p.name for p in paths), part, np.concatenate([rows for _, rows in read]))


def _read_one(path: Path, spec: FileSpec) -> tuple[pd.DataFrame, np.ndarray]:
    suffix = path.suffix.lower()
    if suffix == ".xls":
        raise SourceError(f"`{path.name}` is in the old Excel format.", remedy="save it as .xlsx or as CSV.")
    if path.name.lower().endswith((".xes", ".xes.gz")):
        return read_xes(path)
    return read_excel(path, spec) if suffix in (".xlsx", ".xlsm") else read_csv(path, spec)


def _check_same_columns(paths: list[Path], frames: list[pd.DataFrame]) -> None:
    """Refuse files whose columns differ from the first file's; another order is fine."""
    first = list(frames[0])
    for path, frame in zip(paths[1:], frames[1:], strict=True):
        lacking = [safe_header(c) for c in first if c not in frame]
        extra = [safe_header(c) for c in frame if c not in first]
        found = [f"{word} {', '.join(names)}" for word, names in (("lacking", lacking), ("extra", extra)) if names]
        if found:
            raise SourceError(
                f"The files of one folder must have the same columns; `{path.name}` differs from `{paths[0].name}`.",
                found="; ".join(found),
                remedy="export them alike, or list them as two files in the mapping.",
            )
