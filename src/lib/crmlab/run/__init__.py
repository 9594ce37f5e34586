"""Runs: a params file in, executed notebooks, pages and recorded numbers out, whole or not at all.

Import from the modules; this package imports none of them, so that the command line and the workers start quickly.
"""

__all__ = ["DEFAULT_JOBS", "DEFAULT_TIMEOUT"]

DEFAULT_JOBS = 2
"""Notebooks executed at the same time."""

DEFAULT_TIMEOUT = 3600
"""Seconds that one cell may take."""
