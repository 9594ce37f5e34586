"""What a mapping says, once it has been read and found consistent."""

from dataclasses import dataclass, field
from pathlib import Path

from crmlab.schema import SourceError, did_you_mean

__all__ = [
    "KNOWN",
    "OWN_TYPES",
    "ColumnSpec",
    "DemoSpec",
    "FileSpec",
    "Lookup",
    "OwnColumn",
    "Source",
    "TableSpec",
]

OWN_TYPES = ("number", "category", "boolean", "date")
KNOWN = ("creation", "today", "unknown")
"""When an own column's value is known: with its row, only today, or nobody can say."""


@dataclass(frozen=True)
class FileSpec:
    """One file, or several of one shape, and how to read them.

    Attributes
    ----------
    path : file, folder or glob pattern; for a public set, its place below the folder of data sets.
    url, sha256 : pinned address and allowed checksums of the unpacked bytes of a public set.
    header_row : row of the column names, counted from 1.
    missing : texts that mean "no value", beside the empty cell.
    left_out : columns left out on purpose, each with its reason.
    """

    name: str
    path: str
    url: str = ""
    sha256: tuple[str, ...] = ()
    encoding: str = "utf-8"
    delimiter: str = ","
    sheet: str = ""
    header_row: int = 1
    missing: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def is_excel(self) -> bool:
        """Whether the path names Excel workbooks."""
        return self.path.lower().endswith((".xlsx", ".xlsm"))


@dataclass(frozen=True)
class Lookup:
    """Take the value from another file: where `theirs` there equals `ours` here."""

    file: str
    ours: str
    theirs: str


@dataclass(frozen=True)
class ColumnSpec:
    """How one column of a canonical table comes about.

    `kind` is that of the canonical column (`crmlab.schema`), or of an own column: number, category, boolean, time.
    """

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    join: str = "-"
    constant: str | None = None
    row_number: bool = False
    lookup: Lookup | None = None
    formats: tuple[str, ...] = ()
    time_zone: str = "UTC"
    end_of_day: bool = False
    planned: bool = False
    values: dict[str, str] = field(default_factory=dict)
    others: str = ""
    ignore_case: bool = False
    missing: tuple[str, ...] = ()
    trim: bool = False
    decimal: str = "."
    thousands: str = ""
    strip: str = ""
    scale: float = 1.0
    invalid: str = "error"
    personal: bool = False
    required: bool = False
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def origin(self) -> str:
        """Where the value comes from, in words."""
        if self.row_number:
            return "row number"
        if self.constant is not None:
            return f"constant {self.constant}"
        named = " + ".join(self.columns)
        return f"{self.lookup.file}: {named} (by {self.lookup.ours})" if self.lookup else named


@dataclass(frozen=True)
class TableSpec:
    """One file's share of a canonical table.

    Attributes
    ----------
    only : rows are kept where the source column holds one of these values.
    skip_missing : rows without a value in one of these source columns are left out.
    duplicates : what becomes of rows that share their key.
    """

    table: str
    file: str
    columns: tuple[ColumnSpec, ...]
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    skip_missing: tuple[str, ...] = ()
    duplicates: str = "error"


@dataclass(frozen=True)
class OwnColumn:
    """A column beyond the canonical ones."""

    table: str
    name: str
    type: str
    known: str
    meaning: str


@dataclass(frozen=True)
class DemoSpec:
    """The simulated CRM: its size, seed and period."""

    n_leads: int
    seed: int
    start: str
    end: str


@dataclass(frozen=True)
class Source:
    """A mapping, read and found consistent.

    Attributes
    ----------
    name : what a study's `source:` says; also the name of its local store.
    complete_until : ISO date until which every fact is in the data; a study may not look later. Empty: unknown.
    extracted_at : ISO date of the export; no fact can be later. Empty: unknown.
    notes : what a reader of the report should know about the data.
    """

    name: str
    path: Path
    title: str
    kind: str = "files"
    origin: str = ""
    licence: str = ""
    time_zone: str = "UTC"
    currency: str = "EUR"
    complete_until: str = ""
    extracted_at: str = ""
    notes: tuple[str, ...] = ()
    files: dict[str, FileSpec] = field(default_factory=dict)
    tables: tuple[TableSpec, ...] = ()
    own_columns: tuple[OwnColumn, ...] = ()
    demo: DemoSpec | None = None

    def known_of(self, own_column: str) -> str:
        """Return when an own column is known: "creation", "today" or "unknown".

        Raises
        ------
        SourceError : the source has no such column.
        """
        found = {c.name: c.known for c in self.own_columns}
        if own_column not in found:
            raise SourceError(
                f"Source `{self.name}` has no own column `{own_column}`.", remedy=did_you_mean(own_column, list(found))
            )
        return found[own_column]
