"""Notes as features: words, personal data taken out, counted in a few buckets by a fixed hash.

Nothing is fitted, on purpose: a note gives the same numbers whatever else is in the data, in every process and on every
machine. TF-IDF and the like learn their weights from all texts, so they belong inside a model's folds, not here.

Which notes a row may see is not decided here. Columns that hold today's text are refused; `changes` with the field
`notes` holds what was there on an earlier date, and own text columns may be known from creation on.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from crmlab.privacy import STOP_WORDS, Names, fold, scrub
from crmlab.schema import ParameterError

__all__ = ["NOTE_BUCKETS", "hashed_words", "is_free_text", "note_features", "text_meaning", "word_bucket"]

NOTE_BUCKETS = 32
"""Buckets that the words of a note are counted in."""

_WORD = re.compile(r"«\w+»|[^\W\d_]{2,}")
_LEAST_DISTINCT, _LEAST_LENGTH = 50, 20


def note_features(
    texts: np.ndarray,
    names: Names | Iterable[str] | Mapping[str, object] = (),
    *,
    at: np.ndarray | None = None,
    n_buckets: int = NOTE_BUCKETS,
    prefix: str = "notes",
) -> dict[str, np.ndarray]:
    """Return the features of one text per row; a missing text has no words and is not filled.

    Parameters
    ----------
    texts : text or None, the note in force at each row.
    names : names of people to take out; see `crmlab.privacy.person_names`.
    at : when each text was written. Give it together with the times of the names: a name that became known later, say
        because the lead converted, must not change what an earlier note says.

    Returns
    -------
    float64 arrays `notes_filled` (1 or 0), `notes_words_n` (words that are neither personal nor stop words) and
    `notes_hash_00` … (how many of them fall in each bucket).

    Examples
    --------
    >>> values = note_features(np.array(["Sentita Ada: chiede il prezzo", None], dtype=object), ["Ada"])
    >>> values["notes_words_n"].tolist(), values["notes_filled"].tolist()
    ([3.0, 0.0], [1.0, 0.0])
    """
    if isinstance(n_buckets, bool) or not isinstance(n_buckets, int) or not 1 <= n_buckets <= 100:
        raise ParameterError("`n_buckets` must be a whole number from 1 to 100.", found=repr(n_buckets))
    clean = scrub(pd.Series(texts, dtype=object), names=names, at=at)
    codes, distinct = pd.factorize(clean)
    counts = np.zeros((len(distinct) + 1, n_buckets))  # the last row is that of a missing text
    for row, text in enumerate(distinct):
        for word, n in Counter(_words(text)).items():
            counts[row, word_bucket(word, n_buckets=n_buckets)] += n
    columns = {f"{prefix}_filled": (codes >= 0).astype("float64"), f"{prefix}_words_n": counts.sum(axis=1)[codes]}
    return columns | {f"{prefix}_hash_{bucket:02d}": counts[:, bucket][codes] for bucket in range(n_buckets)}


def hashed_words(
    texts: pd.Series,
    *,
    names: Names | Iterable[str] | Mapping[str, object] = (),
    at: pd.Series | None = None,
    n_buckets: int = NOTE_BUCKETS,
    prefix: str = "notes",
) -> pd.DataFrame:
    """Return `note_features` of a column, with its index."""
    times = None if at is None else np.asarray(at, dtype="datetime64[us]")
    values = texts.to_numpy(dtype=object)
    columns = note_features(values, names, at=times, n_buckets=n_buckets, prefix=prefix)
    return pd.DataFrame(columns, index=texts.index)


def word_bucket(word: str, *, n_buckets: int = NOTE_BUCKETS) -> int:
    """Return the bucket of a folded word: BLAKE2b of its UTF-8 bytes, so the same everywhere and in every version.

    >>> word_bucket("prezzo"), word_bucket("budget")
    (27, 16)
    """
    digest = hashlib.blake2b(word.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little") % n_buckets


def is_free_text(values: pd.Series) -> bool:
    """Whether an own column holds sentences rather than categories: many distinct values, most of them long.

    Ask it of the source as a whole, so that the columns of a study do not depend on its rows.
    """
    if not pd.api.types.is_string_dtype(values.dtype):
        return False
    distinct = values.dropna().drop_duplicates()
    return len(distinct) >= _LEAST_DISTINCT and bool(distinct.str.len().median() >= _LEAST_LENGTH)


def text_meaning(name: str) -> str:
    """Return what a column of `note_features` says.

    >>> text_meaning("notes_words_n")
    'Number of words in the text of `notes`, without personal data and stop words.'
    """
    prefix, _, what = name.rpartition("_hash_")
    if prefix:
        return f"Words of `{prefix}` in bucket {int(what)} of a fixed hash, without personal data and stop words."
    if name.endswith("_filled"):
        return f"Whether there is a text in `{name.removesuffix('_filled')}`."
    return f"Number of words in the text of `{name.removesuffix('_words_n')}`, without personal data and stop words."


def _words(text: str) -> list[str]:
    """Folded words of a scrubbed text; numbers, tokens of personal data and stop words are no words here."""
    found = (fold(word) for word in _WORD.findall(text) if word[0] != "«")
    return [word for word in found if word not in STOP_WORDS]
