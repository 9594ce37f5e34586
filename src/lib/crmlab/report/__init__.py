"""What a notebook shows and a reviewer reads: tables that escape, figures with words, the answer first."""

from .attachments import attach, keep
from .figures import figure, use_style
from .formats import date, estimate, interval, money, number, percent
from .index import build_index
from .opening import Book, start
from .records import metrics_of, record
from .rendering import render
from .statements import headline, sentence
from .tables import table

__all__ = [
    "Book",
    "attach",
    "build_index",
    "date",
    "estimate",
    "figure",
    "headline",
    "interval",
    "keep",
    "metrics_of",
    "money",
    "number",
    "percent",
    "record",
    "render",
    "sentence",
    "start",
    "table",
    "use_style",
]
