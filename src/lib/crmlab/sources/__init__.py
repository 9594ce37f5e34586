"""Where the rows come from: mappings of CRM exports and public sets to the canonical tables, and the demo CRM."""

from .documents import MappingError
from .prepare import open_crm, prepare_source
from .problems import PROBLEM_COLUMNS, SEVERITIES, format_problems
from .reading import SourceDescription, check_source, describe_source, read_source, source_names
from .specs import Source

__all__ = [
    "PROBLEM_COLUMNS",
    "SEVERITIES",
    "MappingError",
    "Source",
    "SourceDescription",
    "check_source",
    "describe_source",
    "format_problems",
    "open_crm",
    "prepare_source",
    "read_source",
    "source_names",
]
