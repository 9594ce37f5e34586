"""Scores that people act on: percent, bands, reasons to doubt them, their history, and files for other programs."""

from .bands import (
    BANDS,
    CLOSED_WON,
    GRADES,
    MIN_CONTACTS,
    CutPoints,
    Priority,
    absolute_grade,
    band_table,
    contact_priority,
    percent,
)
from .export import Export, export_scores, read_csv_export
from .history import ScoreHistory

__all__ = [
    "BANDS",
    "CLOSED_WON",
    "GRADES",
    "MIN_CONTACTS",
    "CutPoints",
    "Export",
    "Priority",
    "ScoreHistory",
    "absolute_grade",
    "band_table",
    "contact_priority",
    "export_scores",
    "percent",
    "read_csv_export",
]
