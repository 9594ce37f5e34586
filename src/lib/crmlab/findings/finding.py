"""A sentence and its tone, and the small grammar that all sentences share."""

import re
from dataclasses import dataclass

__all__ = ["Finding", "capital", "joined", "key_of", "plain_words"]


@dataclass(frozen=True)
class Finding:
    """One sentence and how good its news is: `good`, `caution`, `bad` or `plain`."""

    sentence: str
    tone: str


def plain_words(name: str) -> str:
    """Return a name in snake case as words."""
    return name.replace("_", " ")


def joined(names: list[str]) -> str:
    """Return names as an enumeration.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def capital(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def key_of(name: str) -> str:
    """A stable key in snake case."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
