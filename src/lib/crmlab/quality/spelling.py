"""Categories that differ only in how they are typed."""

import re

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import TABLES

from .rows import column_of, visible_rows

__all__ = ["common_spelling", "spelling_key", "spelling_table"]

_COLUMNS = {"table": "str", "column": "str", "spelling": "str", "rows": "int64", "same_as": "str"}
_SPACE = re.compile(r"\s+")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\s_\-./,'\"()]+(?=\d)")
_TYPING = re.compile(r"[\s_\-./,'\"()]+")
_MIN_LETTERS = 3


def spelling_key(value: str) -> str:
    """Return what two spellings of one category have in common: no case, spaces or punctuation.

    Signs that can carry a meaning (`+ < > & % #`) stay, digits that stand apart stay apart, and names with fewer than
    three letters keep their punctuation.

    >>> spelling_key("Webform "), spelling_key("web form"), spelling_key("10-49 people"), spelling_key("C.")
    ('webform', 'webform', '10_49people', 'c.')
    """
    plain = _SPACE.sub(" ", value).strip().casefold()
    if sum(c.isalpha() for c in plain) < _MIN_LETTERS:
        return plain
    return _TYPING.sub("", _BETWEEN_DIGITS.sub("\0", plain)).replace("\0", "_")


def common_spelling(values: pd.Series) -> pd.Series:
    """Return the values with every spelling replaced by the most frequent one of its key; gaps stay gaps."""
    replaced = _replacements(values)
    changed = {old: new for old, new in replaced.items() if old != new}
    return values.replace(changed) if changed else values.copy()


def spelling_table(crm: Crm, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
    """Return spellings of categories that differ from a more frequent one only in typing.

    Returns
    -------
    Frame: table, column, spelling, rows, same_as (the most frequent spelling); personal columns are left out.
    """
    rows = []
    for name in TABLES:
        frame = visible_rows(crm, name, as_of=as_of)
        for column in _categories(crm, name, frame) if len(frame) else ():
            counts = frame[column].value_counts()
            found = {old: new for old, new in _replacements(frame[column]).items() if old != new}
            rows += [(name, column, old, int(counts[old]), new) for old, new in sorted(found.items())]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _categories(crm: Crm, name: str, frame: pd.DataFrame) -> list[str]:
    declared = [column_of(crm, name, c, frame[c]) for c in frame if frame[c].dtype == "str"]
    return [c.name for c in declared if c.kind == "category" and not c.personal and not c.values]


def _replacements(values: pd.Series) -> dict[str, str]:
    """Each spelling → the most frequent spelling of its key; ties go to the first in alphabetical order."""
    counts = values.dropna().value_counts().rename_axis("spelling").reset_index(name="rows")
    counts["key"] = [spelling_key(s) for s in counts["spelling"]]
    best = counts.sort_values(["rows", "spelling"], ascending=[False, True], kind="stable")
    best = best.drop_duplicates("key").set_index("key")["spelling"]
    return dict(zip(counts["spelling"], counts["key"].map(best), strict=True))
