"""Personal data in text: found and taken out before anything is learned from it or shown."""

from .patterns import KINDS
from .people import Names, person_names
from .scrub import scrub, scrub_report
from .words import STOP_WORDS, fold

__all__ = ["KINDS", "STOP_WORDS", "Names", "fold", "person_names", "scrub", "scrub_report"]
