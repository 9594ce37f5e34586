"""What a column and a table of the canonical CRM are."""

from dataclasses import dataclass, field

__all__ = ["TODAY", "Column", "Table", "column"]

TODAY = "today"
"""Value of `Column.known` for a column that holds only its latest value: not as-of-safe."""

KINDS = ("id", "text", "category", "number", "integer", "boolean", "time")


@dataclass(frozen=True)
class Column:
    """One column of a canonical table.

    Attributes
    ----------
    kind : one of `KINDS`; `time` is a naive UTC timestamp in microseconds.
    known : name of the time column of the same table at which the value becomes known, or `TODAY`.
    personal : whether the value identifies or describes a natural person.
    required : whether an empty value is an error.
    values : the allowed values of a category, empty when open.
    low, high : the allowed range of a number, both inclusive.
    planned : whether a time may lie ahead when it becomes known, such as a due date.
    """

    name: str
    kind: str
    meaning: str
    known: str
    unit: str = ""
    personal: bool = False
    required: bool = False
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    planned: bool = False

    @property
    def as_of_safe(self) -> bool:
        """Whether a past value can be told from a later one."""
        return self.known != TODAY


@dataclass(frozen=True)
class Table:
    """One canonical table: `known_at` names the column from which on a row is visible."""

    name: str
    meaning: str
    key: tuple[str, ...]
    known_at: str
    columns: tuple[Column, ...]
    open_columns: bool = False
    references: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    @property
    def _by_name(self) -> dict[str, Column]:
        return {c.name: c for c in self.columns}

    @property
    def names(self) -> list[str]:
        """Column names in their documented order."""
        return [c.name for c in self.columns]

    def of_kind(self, *kinds: str) -> list[str]:
        """Names of the columns of these kinds."""
        return [c.name for c in self.columns if c.kind in kinds]


def column(name: str, kind: str, meaning: str, known: str = "created_at", **rest: object) -> Column:
    """Declare a column; a short spelling of `Column` for the table list."""
    if kind not in KINDS:
        raise ValueError(f"column {name}: kind {kind!r} is not one of {KINDS}")
    return Column(name, kind, meaning, known, **rest)
