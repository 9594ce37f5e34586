"""A feature and its value in words: "12 web visits in the last 30 days (typical: 3)"."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from crmlab.privacy import scrub

from .topics import OWNER, topics

__all__ = ["feature_words", "number_words", "plain_text", "typical_values"]

Words = Callable[..., str]
"""(value, other, word="typical") → "12 web visits (typical: 3)"."""
_LENGTH = 40
"""Characters of a CRM text that a reason shows."""
_LABEL = 150
"""Characters of what a feature is called: tags and own columns bring words of the CRM into it."""
# Controls, zero-width and bidirectional characters, line separators, surrogates, non-characters.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]+"
)
_FRACTION = re.compile(r"(.*_)?(share|rate|probability|discount)(_.*)?")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_MONTH = "month of the year"


def typical_values(features: pd.DataFrame) -> pd.Series:
    """Return the value to compare with, per feature: median of numbers, commonest level of categories.

    Parameters
    ----------
    features : the training rows, so that "typical" means the same as long as the model does.

    Returns
    -------
    Series of objects by feature; missing where a feature has no value at all.
    """
    numbers = features.select_dtypes("number")
    typical = pd.Series(np.nan, index=features.columns, dtype=object)
    for column, median in numbers.median().items():
        typical[column] = float(median)
    for column in features.columns.difference(numbers.columns, sort=False):
        counts = features[column].value_counts().sort_index(kind="stable")
        typical[column] = counts.idxmax() if len(counts) else np.nan
    return typical


def plain_text(value: object, *, limit: int = _LENGTH) -> str:
    """Return a CRM text as one short line: no control or reordering characters, no contact data.

    >>> plain_text("Trade" + chr(10) + "fair" + chr(0x202E))
    'Trade fair'
    """
    text = " ".join(_UNSAFE.sub(" ", str(value)).split())
    text = scrub(pd.Series([text], dtype="str")).iloc[0] if re.search(r"\d{4}|@|://|www", text) else text
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def number_words(value: float) -> str:
    """Return a number as people write it.

    >>> [number_words(x) for x in (3.0, 0.36431, 24386000.0, -0.0)]
    ['3', '0.364', '24,386,000', '0']
    """
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value + 0.0:,.0f}"
    return f"{value:.3g}"


def feature_words(catalog: pd.DataFrame) -> dict[str, Words]:
    """Return, per feature of the catalog, what makes the words of a value beside another (the typical, the former).

    Parameters
    ----------
    catalog : frame of `features.feature_catalog`.
    """
    topic = topics(catalog["feature"].to_list())
    kept = catalog[["feature", "family", "meaning"]].astype("str").fillna("")
    return {f: _wording(f, family, meaning, topic[f]) for f, family, meaning in kept.itertuples(index=False)}


def _wording(feature: str, family: str, meaning: str, topic: str) -> Words:
    """Return what turns a value and another into words, by how the catalog puts the meaning."""
    if topic == OWNER:
        return lambda value, other, word="": OWNER
    if feature.startswith("notes_hash"):
        return lambda value, other, word="": "words of the newest note"
    feature, meaning = plain_text(feature, limit=_LABEL), plain_text(meaning.replace("`", ""), limit=_LABEL)
    show = _share if _FRACTION.fullmatch(feature) else _plain
    if family in ("field", "own column", "unknown", "") or not meaning:
        return _labelled(feature.removeprefix("x_").replace("_", " "), show)
    whose, body = _whose(meaning)
    for form, make in _FORMS:
        found = form.match(body)
        if found:
            return make(whose, show, *found.groups())
    return _labelled(whose + _lower(re.split(r"[;.](?:\s|$)", body)[0]), show)


def _whose(meaning: str) -> tuple[str, str]:
    """Split "Its company: number of …" into what comes before the words and the meaning itself."""
    found = re.match(r"(Its [^:]+): (.+)", meaning)
    if not found:
        return "", meaning
    told = re.search(r"\b(its lead|the company)\b", found[2])
    return "" if told else f"{_lower(found[1])}: ", found[2][0].upper() + found[2][1:]


def _labelled(label: str, show: Callable, *, absent: str = "") -> Words:
    def words(value: object, other: object, word: str = "") -> str:
        if absent and pd.isna(value):
            return absent + _beside(other, show, "", word)
        return f"{label}: {show(value, label)}{_beside(other, show, label, word)}"

    return words


def _counted(whose: str, show: Callable, thing: str) -> Words:
    thing = thing.rstrip(".")

    def words(value: object, other: object, word: str = "") -> str:
        if pd.isna(value):
            return f"{whose}number of {thing}: not known{_beside(other, show, '', word)}"
        amount = "no" if value == 0 else number_words(value)
        return f"{whose}{amount} {_one(thing) if value == 1 else thing}{_beside(other, show, '', word)}"

    return words


def _since(which: str) -> Callable:
    def make(whose: str, show: Callable, thing: str) -> Words:
        return _labelled(f"{whose}days since the {which} {_one(thing)}", show, absent=f"{whose}no {thing} yet")

    return make


def _days_with(whose: str, show: Callable, thing: str) -> Words:
    return _counted(whose, show, f"days with {thing}")


def _label(text: str) -> Callable:
    def make(whose: str, show: Callable, *parts: str) -> Words:
        return _labelled(whose + _lower(text.format(*parts)), show)

    return make


def _told(whose: str, show: Callable, what: str) -> Words:
    def say(value: object, label: str = "") -> str:
        return _plain(value) if pd.isna(value) else "yes" if value else "no"

    return _labelled(whose + what, say)


_FORMS = (
    (re.compile(r"Number of (.+?), per day of exposure"), _label("{}, per day")),
    (re.compile(r"Number of (.+)"), _counted),
    (re.compile(r"Recency of (.+?)(?: \(.*\))?: days since the newest"), _since("last")),
    (re.compile(r"Age of the oldest of (.+?) in days"), _since("first")),
    (re.compile(r"Days with (.+)"), _days_with),
    (re.compile(r"Weekly number of (.+?), exponentially smoothed"), _label("{} per week, lately")),
    (re.compile(r"Weekly (sum of .+?), exponentially smoothed"), _label("weekly {}, lately")),
    (re.compile(r"Mean weekly number of (.+?) since the beginning"), _label("{} per week since the beginning")),
    (re.compile(r"Daily (.+?), over that of the longer window"), _label("pace of {} against the longer window")),
    (re.compile(r"Month of the year"), _label(_MONTH)),
    (re.compile(r"Whether (?:there is|it carried) (.+?)\.?$"), _told),
    (re.compile(r"(.+?), as last entered"), _label("{}")),
)
"""How the catalog puts a meaning → what makes words of it."""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _one(things: str) -> str:
    """Return the singular of "web visits in the last 30 days": the head is the last word before a preposition."""
    head, rest = re.match(
        r"(.*?)((?: (?:of|with|that|in|on|per|over|so|sent|held|won|lost|closed|taken|\().*)?)$", things
    ).groups()
    if head.endswith("ies"):
        head = f"{head[:-3]}y"
    elif head.endswith("s") and not head.endswith("ss"):
        head = head[:-1]
    return head + rest


def _beside(other: object, show: Callable, label: str, word: str) -> str:
    """Return what the value stands beside, in brackets: a typical value, or what `word` says."""
    word = word or ("most common" if isinstance(other, str) else "typical")
    return f" ({word}: {'none' if pd.isna(other) else show(other, label)})"


def _plain(value: object, label: str = "") -> str:
    if pd.isna(value):
        return "not known"
    if isinstance(value, str):
        return plain_text(value)
    if label == _MONTH and value in range(1, 13):
        return _MONTHS[int(value) - 1]
    return number_words(value)


def _share(value: object, label: str = "") -> str:
    shown = isinstance(value, str) or pd.isna(value) or abs(value) > 1
    return _plain(value, label) if shown else f"{number_words(round(100 * float(value), 1))} %"
