"""Build canonical tables from texts, column by column, and tell everything that does not fit."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from crmlab.schema import TABLES, did_you_mean

from .cells import present
from .combine import combine_rows
from .convert import convert_texts, multiply_texts, time_between
from .duplicates import rows_without_duplicates
from .histories import STATE, changes_from_states, held_since
from .lookups import look_up
from .problems import Problems, safe_header
from .specs import ColumnSpec, Source, TableSpec
from .tabular import TextTable

__all__ = ["BuiltTable", "build_tables"]


@dataclass(frozen=True)
class BuiltTable:
    """A canonical table with the way back to the file.

    Attributes
    ----------
    frame : one row per kept row of the files.
    origins : for each entry of the mapping that feeds the table, its texts and the positions kept, in order.
    """

    frame: pd.DataFrame
    origins: tuple[tuple[TextTable, np.ndarray], ...]

    def where(self, position: int) -> str:
        """Return where a row stands in its file."""
        for texts, kept in self.origins:
            if position < len(kept):
                return texts.where(int(kept[position]))
            position -= len(kept)
        raise IndexError(position)


def build_tables(source: Source, texts: dict[str, TextTable], problems: Problems) -> dict[str, BuiltTable]:
    """Return the canonical tables that a source maps; `problems` collects what is wrong.

    A table whose file could not be read is left out, and so is a column that could not be built: the result is only to
    be loaded when no error was collected.
    """
    built: dict[str, list[BuiltTable]] = {}
    for entry in source.tables:
        if entry.file in texts:
            part = _Entry(source, entry, texts, problems).build()
            built.setdefault(entry.table, []).append(part)
            for column in (c for c in entry.columns if c.since and c.name in part.frame):
                built.setdefault("changes", []).append(_held_since(part, column, entry.table, problems))
    tables = {name: _joined(name, parts) for name, parts in built.items()}
    if "changes" in tables:
        tables["changes"] = _as_changes(tables["changes"], problems)
    return tables


def _held_since(part: BuiltTable, column: ColumnSpec, table: str, problems: Problems) -> BuiltTable:
    frame, rows = held_since(part.frame, column, table, part.where, problems)
    (texts, kept), *_ = part.origins
    return BuiltTable(frame, ((texts, kept[rows]),))


def _as_changes(table: BuiltTable, problems: Problems) -> BuiltTable:
    """Return `changes` with its states made changes."""
    if not {"entity", "entity_id", "field", "new_value", "changed_at"} <= set(table.frame):
        return table  # told already: a column that the file lacks
    frame, keep = changes_from_states(table.frame, problems)
    ends = np.cumsum([len(kept) for _, kept in table.origins])[:-1]
    parts = zip(table.origins, np.split(keep, ends), strict=True)
    return BuiltTable(frame, tuple((texts, kept[here]) for (texts, kept), here in parts))


def _joined(name: str, parts: list[BuiltTable]) -> BuiltTable:
    frame = pd.concat([p.frame for p in parts], ignore_index=True) if len(parts) > 1 else parts[0].frame
    order = [c for c in TABLES[name].names if c in frame]
    own = [c for c in frame if c not in order]
    return BuiltTable(frame[order + own], tuple(origin for p in parts for origin in p.origins))


class _Entry:
    """One entry of the mapping at work: one file's share of one table."""

    def __init__(self, source: Source, entry: TableSpec, texts: dict[str, TextTable], problems: Problems) -> None:
        self.source, self.entry, self.texts, self.problems = source, entry, texts, problems
        self.table = texts[entry.file]
        self.missing = source.files[entry.file].missing

    def build(self) -> BuiltTable:
        """Return the table with its rows filtered, its columns converted and its repeated keys dealt with."""
        self._tell_lacking()
        self.kept = self._kept_rows()
        columns = {c.name: self._column(c) for c in self.entry.columns}
        found = {name: values for name, values in columns.items() if values is not None}
        frame = pd.DataFrame(found, index=pd.RangeIndex(len(self.kept)))
        if self.entry.duplicates == "combine":
            frame, rows = combine_rows(self.entry, frame, self._where, self.problems)
        else:
            rows = np.flatnonzero(rows_without_duplicates(self.entry, frame, self._where, self.problems))
            frame = frame.iloc[rows].reset_index(drop=True)
        frame = frame.assign(**{STATE: True}) if self.entry.states else frame
        return BuiltTable(frame, ((self.table, self.kept[rows]),))

    def _column(self, column: ColumnSpec) -> pd.Series | None:
        """Return the values of a column; None when a file lacks what it needs."""
        rest = (column, self.entry.table, self._where, self.problems)
        if any(name not in self.table.frame for name in (*column.between, column.times, *column.only) if name):
            return None
        if column.between:
            return time_between([self._where_only(self._chosen(n, column), column) for n in column.between], *rest)
        texts = self._raw(column)
        if texts is None:
            return None
        texts = self._where_only(texts, column)
        if column.times:
            return multiply_texts(texts, self._chosen(column.times, column), *rest)
        values = convert_texts(texts, *rest)
        if column.not_before:
            self._tell_too_early(values, column)
        return values

    def _where_only(self, texts: pd.Series, column: ColumnSpec) -> pd.Series:
        """Return the texts, missing in the rows that the column's `only` leaves out."""
        return texts.where(_holds(self.table.frame, column.only)[self.kept]) if column.only else texts

    def _tell_too_early(self, values: pd.Series, column: ColumnSpec) -> None:
        """Warn about times that lie before the one which the mapping says they follow."""
        bound = self._column(column.not_before)
        if bound is None:
            return
        early = (values < bound).to_numpy()
        if early.any():
            i = int(early.argmax())
            self.problems.add(
                "warning",
                self.entry.table,
                column.name,
                f"{column.origin} lies before {column.not_before.origin}.",
                rows=int(early.sum()),
                of=int((values.notna() & bound.notna()).sum()),
                example=f"{self._where(i)}: {values.iloc[i]:%Y-%m-%d} before {bound.iloc[i]:%Y-%m-%d}",
                what_to_do="Find out which of the two is wrong; until then these rows tell nothing reliable.",
            )

    def _where(self, position: int) -> str:
        return self.table.where(int(self.kept[position]))

    def _tell_lacking(self) -> None:
        """Tell about columns that the mapping names and the file lacks."""
        for file, name in dict.fromkeys(_columns_needed(self.entry)):
            if file not in self.texts or name in self.texts[file].frame:
                continue
            headers = [safe_header(c) for c in self.texts[file].frame]
            self.problems.add(
                "error",
                self.entry.table,
                name,
                f"The file `{file}` has no column `{name}`, which the mapping names.",
                what_to_do=f"Correct the name; {did_you_mean(name, headers)}",
            )

    def _kept_rows(self) -> np.ndarray:
        """Return the positions of the rows that `only` and `skip_missing` keep, and tell how many they leave out."""
        frame, keep = self.table.frame, np.ones(len(self.table.frame), dtype=bool)
        keep &= _holds(frame, {name: wanted for name, wanted in self.entry.only.items() if name in frame})
        for name in self.entry.skip_missing:
            if name in frame:
                keep &= present(frame[name], missing=self.missing, trim=True).notna().to_numpy()
        if not keep.all():
            self._tell_left_out(int((~keep).sum()), len(keep))
        return np.flatnonzero(keep)

    def _tell_left_out(self, rows: int, of: int) -> None:
        parts = {"only": self.entry.only, "skip_missing": self.entry.skip_missing}
        rules = " and ".join(f"`{word}` ({', '.join(names)})" for word, names in parts.items() if names)
        self.problems.add("note", self.entry.table, "", f"Rows left out by {rules}.", rows=rows, of=of)
        if rows == of:
            to_do = "Correct `only` and `skip_missing`; values must be written as in the file."
            self.problems.add("error", self.entry.table, "", "No row is left.", what_to_do=to_do)

    def _raw(self, column: ColumnSpec) -> pd.Series | None:
        """Return the texts that a column is made of, missing ones missing; None when the file lacks a column."""
        if column.constant is not None:
            return pd.Series([column.constant or None] * len(self.kept), dtype="str")
        if column.row_number:
            return pd.Series(self._row_names(), dtype="str")
        if column.lookup:
            return self._looked_up(column)
        if any(name not in self.table.frame for name in column.columns):
            return None
        parts = [self._chosen(name, column) for name in column.columns]
        self._tell_separator(column, parts)
        return reduce(lambda a, b: a + column.join + b, parts)

    def _chosen(self, name: str, column: ColumnSpec) -> pd.Series:
        chosen = self.table.frame[name].iloc[self.kept].reset_index(drop=True)
        return present(chosen, missing=(*self.missing, *column.missing), trim=column.trim or column.kind == "id")

    def _row_names(self) -> list[str]:
        rows = self.table.row[self.kept]
        if len(self.table.parts) == 1:
            return [str(n) for n in rows]
        return [f"{self.table.parts[p]}:{n}" for p, n in zip(self.table.part[self.kept], rows, strict=True)]

    def _looked_up(self, column: ColumnSpec) -> pd.Series | None:
        lookup = column.lookup
        theirs = self.texts.get(lookup.file)
        if theirs is None or lookup.ours not in self.table.frame:
            return None
        if lookup.theirs not in theirs.frame or column.columns[0] not in theirs.frame:
            return None
        ours = self.table.frame[lookup.ours].iloc[self.kept].reset_index(drop=True)
        keys = present(ours, missing=self.missing, trim=True)
        missing = self.source.files[lookup.file].missing
        return look_up(keys, theirs.frame, column, self.entry.table, missing=missing, problems=self.problems)

    def _tell_separator(self, column: ColumnSpec, parts: list[pd.Series]) -> None:
        """Warn when the separator of a composite value occurs in its parts: then two values can look alike."""
        if len(parts) < 2 or not column.join:
            return
        inside = [p.str.contains(column.join, regex=False).fillna(False).to_numpy(dtype=bool) for p in parts]
        rows = int(np.any(inside, axis=0).sum())
        if rows:
            self.problems.add(
                "warning",
                self.entry.table,
                column.name,
                f"The separator `{column.join}` of this composite value also occurs inside its parts.",
                rows=rows,
                of=len(parts[0]),
                what_to_do="Choose another `join:`.",
            )


def _holds(frame: pd.DataFrame, only: dict[str, tuple[str, ...]]) -> np.ndarray:
    """Return the rows in which each column holds one of its values."""
    keep = np.ones(len(frame), dtype=bool)
    for name, wanted in only.items():
        keep &= frame[name].str.strip().isin([w.strip() for w in wanted]).to_numpy()
    return keep


def _columns_needed(entry: TableSpec) -> list[tuple[str, str]]:
    """Return (file, column) for every column that an entry of the mapping names."""
    reads = [pair for c in entry.columns for pair in c.reads(entry.file)]
    return [*reads, *((entry.file, name) for name in (*entry.only, *entry.skip_missing))]
