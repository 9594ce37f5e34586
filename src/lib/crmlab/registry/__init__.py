"""Models kept without pickle, and the append-only log of how they came to be published."""

from .log import Entry, Log
from .modelfiles import FORMAT, columns_meta, load_meta, load_model, plain, save_model
from .published import PublishedModel, Registry

__all__ = [
    "FORMAT",
    "Entry",
    "Log",
    "PublishedModel",
    "Registry",
    "columns_meta",
    "load_meta",
    "load_model",
    "plain",
    "save_model",
]
