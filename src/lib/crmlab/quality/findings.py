"""One row of the problem table, and how rows are counted."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

__all__ = ["Finding", "Rows", "findings_frame"]

Rows = Callable[[str], pd.DataFrame]
"""Name of a table → the rows that the study sees."""

_COLUMNS = {
    "problem": "str",
    "table": "str",
    "column": "str",
    "rows": "int64",
    "share": "float64",
    "what_to_do": "str",
}


@dataclass(frozen=True)
class Finding:
    """A problem found in a table.

    Attributes
    ----------
    kind : short name of the rule, a key of `problems.PROBLEMS`.
    column : column or columns that show it; empty when it concerns the row.
    where : rows that have it, as labels of the table that the study sees.
    of : number of rows that could have it.
    """

    kind: str
    table: str
    column: str
    where: pd.Index
    of: int

    @classmethod
    def count(cls, kind: str, table: str, column: str, bad: pd.Series) -> "Finding":
        """Note the rows where `bad` is true."""
        return cls(kind, table, column, bad.index[bad.fillna(False).to_numpy(bool)], len(bad))

    @property
    def rows(self) -> int:
        """Rows that have the problem."""
        return len(self.where)


def findings_frame(findings: Iterable[Finding], texts: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Return findings with at least one row, in the order of `texts`, worst first within a kind."""
    order = {kind: k for k, kind in enumerate(texts)}
    found = sorted((f for f in findings if f.rows), key=lambda f: (order[f.kind], -f.rows / f.of, f.table, f.column))
    rows = [(texts[f.kind][0], f.table, f.column, f.rows, f.rows / f.of, texts[f.kind][1]) for f in found]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)
