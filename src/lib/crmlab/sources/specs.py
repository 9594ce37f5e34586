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
    url, sha256 : pinned address of a public set, and the allowed checksums of what the address delivers.
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

    @property
    def is_packed(self) -> bool:
        """Whether the file is published packed, so that its checksum is that of the packed bytes."""
        return self.path.lower().endswith(".gz")


@dataclass(frozen=True)
class Lookup:
    """Take the value from another file: where `theirs` there equals `ours` here, replaced by `values` first."""

    file: str
    ours: str
    theirs: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnSpec:
    """How one column of a canonical table comes about.

    `kind` is that of the canonical column (`crmlab.schema`), or of an own column: number, category, boolean, time.

    Attributes
    ----------
    only : the value is taken in rows where each of these source columns holds one of its values, and missing in others.
    times : source column that the number is multiplied by.
    between : two source columns with times; the value is the time from the first to the second, times `scale`.
    combine : what becomes of the values of rows that share their key, when the table combines them.
    since : the value has held since this time column of its table, or since this ISO date.
    not_before : a time in which an earlier value is told as a warning.
    """

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    join: str = "-"
    constant: str | None = None
    row_number: bool = False
    between: tuple[str, ...] = ()
    lookup: Lookup | None = None
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    times: str = ""
    combine: str = ""
    since: str = ""
    not_before: "ColumnSpec | None" = None
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
        named = self._named()
        how = f" where {_in_words(self.only)}" if self.only else ""
        many = f"{_COMBINED[self.combine]} of " if self.combine in _COMBINED else ""
        return f"{many}{named}{how}"

    def _named(self) -> str:
        if self.between:
            return f"time from {self.between[0]} to {self.between[1]}"
        if self.times:
            return f"{self.columns[0]} × {self.times}"
        named = " + ".join(self.columns)
        return f"{self.lookup.file}: {named} (by {self.lookup.ours})" if self.lookup else named

    def reads(self, file: str) -> list[tuple[str, str]]:
        """Return (file, column) for every source column that the value needs; `file` is the table's own."""
        there = [(self.lookup.file, name) for name in (*self.columns, self.lookup.theirs)] if self.lookup else []
        here = [self.lookup.ours] if self.lookup else [*self.columns]
        here += [*self.between, *([self.times] if self.times else []), *self.only]
        more = self.not_before.reads(file) if self.not_before else []
        return [*((file, name) for name in here), *there, *more]


_COMBINED = {
    "sum": "sum",
    "min": "smallest",
    "max": "largest",
    "first": "first",
    "last": "last",
    "count": "count",
    "distinct": "number of different values",
}


def _in_words(only: dict[str, tuple[str, ...]]) -> str:
    return " and ".join(f"{name} is {' or '.join(values)}" for name, values in only.items())


@dataclass(frozen=True)
class TableSpec:
    """One file's share of a canonical table.

    Attributes
    ----------
    only : rows are kept where the source column holds one of these values.
    skip_missing : rows without a value in one of these source columns are left out.
    duplicates : what becomes of rows that share their key.
    states : rows of `changes` say what a field held from then on, whether it was something else before or not.
    """

    table: str
    file: str
    columns: tuple[ColumnSpec, ...]
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    skip_missing: tuple[str, ...] = ()
    duplicates: str = "error"
    states: bool = False


@dataclass(frozen=True)
class OwnColumn:
    """A column beyond the canonical ones; `known_told`: whether the mapping says when it is known."""

    table: str
    name: str
    type: str
    known: str
    meaning: str
    known_told: bool = True


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
