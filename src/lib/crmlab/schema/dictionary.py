"""The data dictionary, rendered from the schema so that it cannot go stale."""

from .columns import Column, Table
from .tables import TABLES

__all__ = ["dictionary_markdown"]

_HEAD = """# Data dictionary

Written by `crmlab dictionary` from `crmlab.schema`; do not edit by hand.

Times are naive UTC; a date without a time of day counts as known at the end of that day. A fact is visible at `as_of`
when it was known strictly before. *Today only* marks a column that holds its latest value: it is **not as-of-safe**,
and features that need history refuse it. *Personal* marks what identifies or describes a natural person: it never
appears in a report. Tables marked *open* also take columns of your own, named `x_…`.
"""


def dictionary_markdown() -> str:
    """Return the data dictionary of all canonical tables as Markdown."""
    return "\n".join([_HEAD, *(_table_markdown(t) for t in TABLES.values())])


def _table_markdown(table: Table) -> str:
    head = [
        f"## {table.name}",
        "",
        f"{table.meaning} Key: {', '.join(f'`{k}`' for k in table.key)}. A row is visible from `{table.known_at}` on."
        + (" Open." if table.open_columns else ""),
        "",
        "| column | type | unit | meaning | known | personal |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(_row(table, c) for c in table.columns), ""])


def _row(table: Table, column: Column) -> str:
    known = f"at `{column.known}`" if column.as_of_safe else "**today only**"
    values = f" One of {', '.join(f'`{v}`' for v in column.values)}." if column.values else ""
    refers = f" Refers to `{table.references[column.name]}`." if column.name in table.references else ""
    kind = column.kind + (", required" if column.required else "")
    personal = "yes" if column.personal else ""
    return f"| `{column.name}` | {kind} | {column.unit} | {column.meaning}{values}{refers} | {known} | {personal} |"
