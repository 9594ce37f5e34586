"""The dictionary of features, rendered from the declarations so that it cannot go stale."""

from collections.abc import Iterator

from .build import declared
from .catalog import Line, declared_lines
from .declare import WINDOWS

__all__ = ["features_markdown"]

_HEAD = f"""# Features

Written by `crmlab dictionary` from the declarations in `crmlab.features`; do not edit by hand.

Every feature of a row is computed from what was known strictly before the row's `as_of`. A window of w days reaches
from `as_of` − w days (inclusive) to `as_of` (exclusive). Windows of {", ".join(map(str, WINDOWS))} days can be
changed per study. {{}} stands for a value that the source holds, such as a type of interaction. A source that has no
event of a kind has no feature of it. The last column names the requirements that a feature answers. The formulas stand
in [Methods](methods.md#features).
"""
_ENTITIES = {"lead": "Leads", "opportunity": "Opportunities", "account": "Accounts (customers)", "rep": "Reps"}


def features_markdown() -> str:
    """Return every declared feature as Markdown, one section per entity, windows of one feature in one row."""
    return "\n".join([_HEAD, *(_section(entity, title) for entity, title in _ENTITIES.items())])


def _section(entity: str, title: str) -> str:
    lines = declared_lines(entity, declared(entity))
    columns = "| feature | family | table | meaning | ids |\n|---|---|---|---|---|"
    return "\n".join([f"## {title}\n\n{len(lines)} declared.\n", columns, *_rows(lines), ""])


def _rows(lines: list[Line]) -> Iterator[str]:
    groups: dict[tuple, list[Line]] = {}
    for line in lines:
        meaning = line.meaning.replace(f"in the last {line.window_days} days", "in the window")
        groups.setdefault((line.family, line.table, meaning, line.ids), []).append(line)
    for (family, table, meaning, ids), members in groups.items():
        names = ", ".join(f"`{member.name}`" for member in members)
        yield f"| {names} | {family} | {table} | {meaning} | {ids} |"
