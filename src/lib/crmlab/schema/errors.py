"""Errors that a person can act on: what is wrong, what was found, what to do."""

from difflib import get_close_matches

__all__ = ["CrmlabError", "DataError", "NotEnoughEvidence", "ParameterError", "RunError", "SourceError", "did_you_mean"]


class CrmlabError(Exception):
    """Base of every error raised on purpose; the command line prints it as one message without a traceback.

    Parameters
    ----------
    problem : what is wrong, in the caller's words.
    found : what was found instead; never personal data.
    remedy : what to do about it.
    """

    def __init__(self, problem: str, *, found: str = "", remedy: str = "") -> None:
        self.problem, self.found, self.remedy = problem, found, remedy
        parts = [problem, found and f"Found: {found}", remedy and f"To do: {remedy}"]
        super().__init__("\n  ".join(part for part in parts if part))


class DataError(CrmlabError):
    """The rows do not keep what the canonical schema promises."""


class SourceError(CrmlabError):
    """A source's mapping, file or download is not usable."""


class ParameterError(CrmlabError):
    """A study's parameters are missing, unknown, mistyped or impossible."""


class NotEnoughEvidence(CrmlabError):
    """Too few cases or outcomes to say anything that would hold."""


class RunError(CrmlabError):
    """A run could not be finished."""


def did_you_mean(word: str, known: "list[str] | tuple[str, ...]") -> str:
    """Return a suggestion for a misspelt `word`, or the list of known words.

    >>> did_you_mean("horizon_day", ["as_of", "horizon_days"])
    'did you mean `horizon_days`?'
    """
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else f"known are: {', '.join(sorted(known)) or 'none'}."
