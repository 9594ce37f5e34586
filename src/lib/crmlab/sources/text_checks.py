"""What the files themselves show: columns not used, empty or constant ones, spreadsheet damage, personal data."""

import re

import numpy as np
import pandas as pd

from .problems import Problems, safe_header
from .specs import Source, TableSpec
from .tabular import TextTable

__all__ = ["check_texts"]

_ERRORS_OF_SHEETS = ("#VALUE!", "#REF!", "#NAME?", "#DIV/0!", "#N/A", "#NUM!", "#NULL!", "#SPILL!", "#CALC!")
_DAMAGED_ID = r"\d(?:[.,]\d+)?E\+\d+"
# As characters, not as escapes: only then is the pattern searched by Arrow, three times faster.
_MOJIBAKE = "\ufffd|Ã[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€"
_PERSONAL = (
    ("e-mail addresses", r"[^@\s]+@[^@\s]+\.[^@\s]{2,}", 0.05),
    ("telephone numbers", r"(?:\+|00)\d[\d\s./()-]{6,18}\d|0\d{1,4}[\s/.-]\d[\d\s.-]{4,12}\d|3\d{2}[\s.-]\d{6,7}", 0.2),
    ("Italian tax codes of persons", r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]", 0.05),
    ("bank account numbers (IBAN)", r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", 0.05),
)
_NAME_HEADER = re.compile(
    r"\b(first|last|full|sur|family|given)[ _]?name|\bcognome\b|\bnome\b|nominativo", re.IGNORECASE
)
_LONG_TEXT = 60
_MANY = 20
_SAMPLE = 20_000


def check_texts(source: Source, texts: dict[str, TextTable], problems: Problems) -> None:
    """Check the files as they are: columns not used, empty or constant ones, spreadsheet damage, personal data."""
    for file, table in texts.items():
        used = _columns_used(source, file)
        _tell_repeated(file, table, problems)
        _tell_unused(source, file, table, used, problems)
        for name in used:
            if name in table.frame:
                _check_column(file, name, table, problems)
    for entry in source.tables:
        if entry.file in texts:
            _check_personal(entry, texts[entry.file], problems)


def _tell_repeated(file: str, table: TextTable, problems: Problems) -> None:
    """Tell rows that repeat an earlier one in every column: perhaps exported twice."""
    repeated = _repeated(table.frame)
    if repeated.any():
        problems.add(
            "warning",
            f"file {file}",
            "",
            "Rows repeat an earlier row in every column.",
            rows=int(repeated.sum()),
            of=len(repeated),
            example=table.where(int(repeated.argmax())),
            what_to_do="Find out whether they were exported twice; the table's `duplicates` says what becomes of them.",
        )


def _repeated(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows repeat an earlier one. Each column narrows the rows that are still alike."""
    repeated, alike, group = (
        np.zeros(len(frame), dtype=bool),
        np.arange(len(frame)),
        np.zeros(len(frame), dtype="int64"),
    )
    for name in frame:
        codes, distinct = pd.factorize(frame[name].iloc[alike])
        if len(distinct) == len(alike):
            return repeated
        group = pd.factorize(group * len(distinct) + codes)[0]
        several = np.bincount(group)[group] > 1
        alike, group = alike[several], group[several]
    repeated[alike] = pd.Series(group).duplicated().to_numpy()
    return repeated


def _columns_used(source: Source, file: str) -> list[str]:
    """Return the columns of a file that the mapping reads."""
    reads = [pair for e in source.tables for c in e.columns for pair in c.reads(e.file)]
    rules = [(e.file, name) for e in source.tables for name in (*e.only, *e.skip_missing)]
    names = [name for where, name in (*reads, *rules) if where == file]
    return list(dict.fromkeys(names))


def _tell_unused(source: Source, file: str, table: TextTable, used: list[str], problems: Problems) -> None:
    left_out = source.files[file].left_out
    for name in (c for c in table.frame if c not in used and c not in left_out):
        to_do = "Map it, or name it under `left_out:` with the reason."
        problems.add("warning", f"file {file}", safe_header(name), "This column is not used.", what_to_do=to_do)
    for name in (c for c in left_out if c not in table.frame):
        to_do = "Take it out of the mapping, or correct its name."
        problems.add(
            "warning", f"file {file}", name, "`left_out` names a column that the file lacks.", what_to_do=to_do
        )


def _check_column(file: str, name: str, table: TextTable, problems: Problems) -> None:
    texts, place, n = table.frame[name], f"file {file}", len(table.frame)
    given = texts.str.strip() != ""
    if not given.any():
        to_do = "Check the export; leave the column out if the CRM never fills it."
        problems.add("warning", place, name, "The column is empty in every row.", rows=n, of=n, what_to_do=to_do)
        return
    if n >= _MANY and given.all() and (texts == texts.iloc[0]).all():
        problems.add(
            "note", place, name, "Every row holds the same value.", rows=n, of=n, what_to_do="It tells nothing."
        )
    _tell_cells(
        place, name, table, texts.str.strip().isin(_ERRORS_OF_SHEETS), "Cells hold a spreadsheet error.", problems
    )
    damaged = texts.str.strip().str.fullmatch(_DAMAGED_ID)
    _tell_cells(place, name, table, damaged, "Numbers were shortened by a spreadsheet: the digits are lost.", problems)
    broken = texts.str.contains(_MOJIBAKE, regex=True)
    _tell_cells(place, name, table, broken, "Letters look broken: the file may have another `encoding:`.", problems)


def _tell_cells(place: str, name: str, table: TextTable, bad: pd.Series, text: str, problems: Problems) -> None:
    rows = bad.to_numpy(dtype=bool)
    if rows.any():
        problems.add(
            "warning",
            place,
            name,
            text,
            rows=int(rows.sum()),
            of=len(rows),
            example=table.where(int(rows.argmax())),
            what_to_do="Correct the export; or name such texts with `missing:`.",
        )


def _check_personal(entry: TableSpec, table: TextTable, problems: Problems) -> None:
    """Warn about personal data that would land in columns which reports may show."""
    for column in entry.columns:
        names = [n for n in column.columns if n in table.frame] if not column.lookup else []
        if column.personal or column.values or column.kind not in ("id", "text", "category"):
            continue
        kind = next((k for n in names if (k := _personal_kind(table.frame[n], n))), "")
        if kind:
            problems.add(
                "warning",
                entry.table,
                column.name,
                f"{column.origin} looks like personal data ({kind}), but this column may be shown in reports.",
                what_to_do="Map it to a column for personal data, use an identifier, or leave it out with a reason.",
            )


def _personal_kind(texts: pd.Series, name: str) -> str:
    """Return what kind of personal data a column seems to hold, or ""."""
    given = texts.iloc[:: max(1, len(texts) // _SAMPLE)].str.strip()
    given = given[given != ""]
    if not len(given):
        return ""
    for kind, pattern, share in _PERSONAL:
        if given.str.fullmatch(pattern).mean() >= share:
            return kind
    if _NAME_HEADER.search(name) and given.str.contains(r"[^\W\d]{2}", regex=True).mean() > 0.5:
        return "names of people, by the column's name"
    if given.str.len().mean() > _LONG_TEXT and given.nunique() > len(given) / 2:
        return "free text"
    return ""
