"""Take personal data out of text."""

import re
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from crmlab.schema import DataError

from .patterns import KINDS, PATTERNS, token
from .people import NEVER, Names, after_title
from .words import tidy

__all__ = ["scrub", "scrub_report"]

_DIGIT = re.compile(r"\d")
_REPORT = {"kind": "str", "found": "int64", "texts": "int64"}


def scrub(
    texts: pd.Series, *, names: Names | Iterable[str] | Mapping[str, object] = (), at: object = None
) -> pd.Series:
    """Return the texts with personal data replaced by tokens such as `«email»` and `«name»`.

    Parameters
    ----------
    texts : text or missing; missing ones stay missing.
    names : first and last names of people (see `Names` and `person_names`), found in any case and with or without
        diacritics.
    at : when each text was written, one time per text. Names that became known later are then left in it, because
        whoever wrote a feature down on that day did not know them. Without it all names are taken out, which is right
        for every text that is shown.

    Returns
    -------
    Text, with the index of `texts`. Scrubbing what was scrubbed changes nothing. What is found, and what is not, stands
    in docs/privacy.md.

    Raises
    ------
    DataError : a value that is no text, or not one time per text.

    Examples
    --------
    >>> scrub(pd.Series(["Sentito Ada Rossi al +39 02 5551234, offerta 12.500 EUR"]), names=["Ada", "Rossi"]).item()
    'Sentito «name» al «phone», offerta 12.500 EUR'
    """
    names = names if isinstance(names, Names) else Names(names)
    codes, distinct = _distinct(texts)
    cleaned = [_cleaned(text, names, NEVER) for text in distinct]
    values = np.array([text for text, _ in cleaned] + [None], dtype=object)[codes]
    if at is not None:
        newest = np.array([time for _, time in cleaned] + [NEVER])[codes]
        _earlier_names_only(values, texts, names, newest, _times(at, len(texts)))
    return pd.Series(values, index=texts.index, name=texts.name, dtype="str")


def scrub_report(texts: pd.Series, *, names: Names | Iterable[str] | Mapping[str, object] = ()) -> pd.DataFrame:
    """Return what `scrub` takes out of the texts, never the data themselves.

    Returns
    -------
    Frame, one row per kind: kind, found (data of this kind), texts (with at least one of them).

    Examples
    --------
    >>> scrub_report(pd.Series(["ada@firma.example, bo@firma.example", "12 kW"])).query("found > 0")
        kind  found  texts
    0  email      2      1
    """
    codes, distinct = _distinct(texts)
    names = names if isinstance(names, Names) else Names(names)
    weight = np.bincount(codes[codes >= 0], minlength=len(distinct))
    cleaned = [_cleaned(text, names, NEVER)[0] for text in distinct]
    rows = []
    for kind in KINDS:
        found = np.array(
            [
                after.count(token(kind)) - before.count(token(kind))
                for before, after in zip(distinct, cleaned, strict=True)
            ],
            dtype=np.int64,
        )
        found = np.maximum(found, 0)
        rows.append((kind, int(found @ weight), int((found > 0) @ weight)))
    return pd.DataFrame(rows, columns=list(_REPORT)).astype(_REPORT)


def _distinct(texts: pd.Series) -> tuple[np.ndarray, list[str]]:
    codes, distinct = pd.factorize(texts)
    wrong = [value for value in distinct if not isinstance(value, str)]
    if wrong:
        raise DataError(
            "Only text can be scrubbed.",
            found=f"{len(wrong):,} distinct values of type {type(wrong[0]).__name__}",
            remedy='convert the column to text: `.astype("str")`.',
        )
    return codes, list(distinct)


def _times(at: object, n: int) -> np.ndarray:
    times = np.asarray(at, dtype="datetime64[us]")
    if times.shape != (n,):
        raise DataError("`at` must give one time per text.", found=f"{times.size:,} times for {n:,} texts")
    return np.where(np.isnat(times), NEVER, times.astype(np.int64))


def _earlier_names_only(
    values: np.ndarray, texts: pd.Series, names: Names, newest: np.ndarray, times: np.ndarray
) -> None:
    """Clean again, in place, the texts that hold a name which nobody knew when they were written."""
    late = np.flatnonzero((newest > times) & texts.notna().to_numpy())
    for row, text in zip(late, texts.iloc[late], strict=True):
        values[row] = _cleaned(text, names, times[row])[0]


def _cleaned(text: str, names: Names, at: int) -> tuple[str, int]:
    """Return the clean text and the newest time of a name in it. Repeats until nothing changes, so it is idempotent."""
    newest, before = np.iinfo(np.int64).min, None
    text = tidy(text)
    while text != before:
        before = text
        text, found = names.remove(after_title(_without_patterns(text)), at=at)
        newest = max(newest, found)
    return text, newest


def _without_patterns(text: str) -> str:
    n_digits = len(_DIGIT.findall(text))
    for pattern in PATTERNS:
        if n_digits >= pattern.digits and (pattern.sign is None or pattern.sign.search(text)):
            text = pattern.remove(text)
    return text
