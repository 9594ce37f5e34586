"""Bytes of a file, unpacked, and the names of its columns."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from crmlab.schema import SourceError

from .problems import safe_header

__all__ = ["CHUNK", "OLE", "ZIP", "header_names", "no_header", "open_unpacked"]

CHUNK = 1 << 20
ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""First bytes of a .xlsx workbook (a zip archive), and of an old or protected one."""


@contextmanager
def open_unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading its bytes, unpacked when its name ends in `.gz`."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise SourceError(
            f"The file `{path.name}` is damaged: it cannot be unpacked.", remedy="fetch it again."
        ) from None
    except PermissionError:
        raise SourceError(
            f"The file `{path.name}` may not be read by this user.", remedy="grant read access."
        ) from None
    except IsADirectoryError:
        raise SourceError(
            f"`{path.name}` is a folder.", remedy="name a file, or a folder or pattern of files."
        ) from None


def header_names(path: Path, cells: list[str], *, delimiter: str = "") -> list[str]:
    """Return trimmed column names; one without a name is called by its place, one name twice is refused."""
    names = [str(c).strip().lstrip("\ufeff") or f"(column {i})" for i, c in enumerate(cells, 1)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise SourceError(
            f"`{path.name}` has two columns of one name.",
            found=", ".join(map(safe_header, twice)),
            remedy="rename one of them in the file: nobody can tell which is meant.",
        )
    other = next((d for d in ";\t|," if d != delimiter and d in names[0]), "")
    if delimiter and len(names) == 1 and other:
        shown = "tab" if other == "\t" else other
        raise SourceError(f"`{path.name}` has one column only.", remedy=f'write `delimiter: "{shown}"` in the mapping.')
    return names


def no_header(path: Path, row: int) -> SourceError:
    """Return the error of a file that ends before its header row."""
    return SourceError(
        f"`{path.name}` has no row {row} to take the column names from.",
        remedy="correct `header_row:` in the mapping, or export the file again.",
    )
