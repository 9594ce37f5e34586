"""Table contracts, column names and errors: what every other module agrees on."""

from .checks import conform_table, empty_table, pandera_schema
from .columns import TODAY, Column, Table
from .dictionary import dictionary_markdown
from .entities import ENTITY_KEYS
from .errors import (
    CrmlabError,
    DataError,
    NotEnoughEvidence,
    ParameterError,
    RunError,
    SourceError,
    did_you_mean,
)
from .tables import (
    CHANGE_ENTITIES,
    DIRECTIONS,
    INTERACTION_TYPES,
    LEAD_CLOSED,
    LEAD_STATUSES,
    OPPORTUNITY_STAGES,
    TABLES,
    table,
)

__all__ = [
    "CHANGE_ENTITIES",
    "DIRECTIONS",
    "ENTITY_KEYS",
    "INTERACTION_TYPES",
    "LEAD_CLOSED",
    "LEAD_STATUSES",
    "OPPORTUNITY_STAGES",
    "TABLES",
    "TODAY",
    "Column",
    "CrmlabError",
    "DataError",
    "NotEnoughEvidence",
    "ParameterError",
    "RunError",
    "SourceError",
    "Table",
    "conform_table",
    "dictionary_markdown",
    "did_you_mean",
    "empty_table",
    "pandera_schema",
    "table",
]
