"""Take a column from another file by key."""

import pandas as pd

from .cells import present
from .problems import Problems
from .specs import ColumnSpec

__all__ = ["look_up"]


def look_up(
    keys: pd.Series,
    theirs: pd.DataFrame,
    column: ColumnSpec,
    table: str,
    *,
    missing: tuple[str, ...],
    problems: Problems,
) -> pd.Series:
    """Return, for each key, the text of the other file's row with that key; missing where there is none.

    Parameters
    ----------
    keys : trimmed keys here, missing ones missing.
    theirs : the other file's texts.
    missing : the other file's texts for "no value".
    problems : told when their keys repeat with different values, and when keys here have no row there.
    """
    pairs = pd.DataFrame(
        {
            "key": present(theirs[column.lookup.theirs], missing=missing, trim=True),
            "value": present(theirs[column.columns[0]], missing=(*missing, *column.missing), trim=True),
        }
    )
    keys = _renamed(keys, column, table, problems)
    pairs = pairs.dropna(subset="key").drop_duplicates()
    _tell_repeated(pairs, column, table, problems)
    found = pairs.drop_duplicates("key").set_index("key")["value"]
    _tell_orphans(keys, found, column, table, problems)
    return keys.map(found).astype("str")


def _renamed(keys: pd.Series, column: ColumnSpec, table: str, problems: Problems) -> pd.Series:
    """Return the keys as the other file spells them."""
    other = keys.isin(list(column.lookup.values)).to_numpy()
    if not other.any():
        return keys
    text = f"`{column.lookup.ours}` is spelt otherwise in the file `{column.lookup.file}` (`lookup.values`)."
    problems.add("note", table, column.name, text, rows=int(other.sum()), of=len(keys))
    return keys.replace(column.lookup.values)


def _tell_repeated(pairs: pd.DataFrame, column: ColumnSpec, table: str, problems: Problems) -> None:
    rows = int(pairs.duplicated("key", keep=False).sum())
    if rows:
        place = f"`{column.lookup.theirs}` of file `{column.lookup.file}`"
        problems.add(
            "error",
            table,
            column.name,
            f"{place} does not tell its rows apart: keys repeat with different values.",
            rows=rows,
            of=len(pairs),
            what_to_do="Look up by a column that is unique there.",
        )


def _tell_orphans(keys: pd.Series, found: pd.Series, column: ColumnSpec, table: str, problems: Problems) -> None:
    orphans = (keys.notna() & ~keys.isin(found.index)).to_numpy()
    if orphans.any():
        problems.add(
            "warning",
            table,
            column.name,
            f"`{column.lookup.ours}` names rows that the file `{column.lookup.file}` does not hold: no value.",
            rows=int(orphans.sum()),
            of=int(keys.notna().sum()),
            what_to_do="Export both files on the same day, without filters.",
        )
