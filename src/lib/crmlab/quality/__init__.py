"""What can be trusted in a CRM: how full its columns are, what is impossible, what is probably wrong.

Nothing here returns a personal value: tables hold names of tables and columns, categories, counts and shares.
"""

from .completeness import completeness_table, table_overview
from .dates import follows
from .dirt import dirt_recall_table
from .problems import problem_table
from .spelling import common_spelling, spelling_key, spelling_table

__all__ = [
    "common_spelling",
    "completeness_table",
    "dirt_recall_table",
    "follows",
    "problem_table",
    "spelling_key",
    "spelling_table",
    "table_overview",
]
