"""CRM text on its way to a page: no markup, no control characters, nothing that reorders the line it stands in."""

import html
import re

__all__ = ["clean", "escape", "shorten"]

_REPLACEMENT = "\ufffd"
# C0 and C1 controls (tab, line feed, carriage return stay), bidirectional embeddings, overrides and isolates,
# line and paragraph separators, lone surrogates (they cannot be written as UTF-8), non-characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def clean(text: object) -> str:
    """Return `text` as a string whose control characters are replaced by the visible mark U+FFFD.

    >>> clean("Rossi" + chr(0x202E) + "gpj.exe") == "Rossi" + chr(0xFFFD) + "gpj.exe"
    True
    """
    return _UNSAFE.sub(_REPLACEMENT, str(text))


def escape(text: object) -> str:
    """Return `text` cleaned and escaped for HTML content and for quoted attributes.

    >>> escape('<b onclick="x">')
    '&lt;b onclick=&quot;x&quot;&gt;'
    """
    return html.escape(clean(text), quote=True)


def shorten(text: str, limit: int = 300) -> str:
    """Return `text` cut to `limit` characters, the cut announced with the number of characters left out.

    >>> shorten("abcdef", limit=4)
    'abcd… (+2 characters)'
    """
    return text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit:,} characters)"
