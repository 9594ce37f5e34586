"""From probabilities to words: percent, contact priority, grades A to D, classes 1 to 5.

Two kinds of words, and they must not be confused:

- *Contact priority* is relative: a quarter of the open contacts each. Who is in which quarter changes when others
  change, and the probabilities behind a band drift; the range stands beside each band for that reason [L06, L08].
- *Grades* and *classes* have cut points that are fixed when the model is published, from scores of rows that it had
  not learned from. They are stored with the model, so a deal's class moves only when its own probability does [O17].

Ties, in both: equal scores get the same word, that of the middle of their block. A middle exactly on a boundary
belongs to the lower word: when in doubt, nobody is praised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from crmlab.intervals import share_interval
from crmlab.schema import DataError, NotEnoughEvidence

__all__ = [
    "BANDS",
    "CLOSED_WON",
    "GRADES",
    "MIN_CONTACTS",
    "CutPoints",
    "Priority",
    "absolute_grade",
    "band_table",
    "check_probabilities",
    "contact_priority",
    "percent",
]

BANDS = ("Very high", "High", "Medium", "Low")
"""Contact priority, a quarter of the open contacts each, best first."""

CLOSED_WON = "Closed won"
"""Whoever is a customer already; taken out before the quarters are formed."""

MIN_CONTACTS = 100
"""Fewer open contacts get no contact priority [L10]."""

GRADES = ("A", "B", "C", "D")
_GRADE_SHARES = 4
_CLASSES = 5
_ABSOLUTE = (0.25, 0.5, 0.75)
_BAND_COLUMNS = {
    "band": "str",
    "n": "int64",
    "share": "float64",
    "p_low": "float64",
    "p_high": "float64",
    "expected": "float64",
    "expected_share": "float64",
    "observed": "float64",
    "observed_low": "float64",
    "observed_high": "float64",
    "observed_share": "float64",
}


def percent(p: np.ndarray) -> np.ndarray:
    """Return the likelihood to close in percent, to one decimal: 22 means 22 % [L04]. Missing stays missing.

    >>> percent(np.array([0.2199, 0.0, np.nan])).tolist()
    [22.0, 0.0, nan]
    """
    return np.round(100 * check_probabilities(p), 1)


def check_probabilities(p: np.ndarray) -> np.ndarray:
    """Return `p` as an (n,) float array.

    Raises
    ------
    DataError : a value outside 0 to 1; a missing one is allowed.
    """
    p = np.asarray(p, dtype=float)
    bad = ~np.isnan(p) & ~((p >= 0) & (p <= 1))
    if p.ndim != 1 or bad.any():
        raise DataError(
            "Scores must be probabilities, one a row.",
            found=f"shape {p.shape}" if p.ndim != 1 else f"{bad.sum():,} of {len(p):,} outside 0 to 1",
            remedy="pass `predict_proba(X)[:, 1]`, not percent.",
        )
    return p


@dataclass(frozen=True)
class Priority:
    """Contact priority of each row.

    Attributes
    ----------
    bands : Series of text: one of `BANDS`, `CLOSED_WON`, or missing.
    reason : why nobody has a band; empty when bands were given.
    """

    bands: pd.Series
    reason: str = ""


def contact_priority(
    p: np.ndarray, *, closed_won: np.ndarray | None = None, min_contacts: int = MIN_CONTACTS
) -> Priority:
    """Return the contact priority: quarters of the open contacts by score, customers apart [L05–L10].

    Parameters
    ----------
    p : (n,) probabilities; a missing score gets no band and does not count.
    closed_won : (n,) whether the contact is a customer already. They are taken out before the quarters are formed.
    min_contacts : open contacts with a score that it takes.

    Ties: equal scores share the band of the middle of their block (a middle exactly on a boundary: the lower band).
    Without ties the bands differ in size by one at most. If all scores are equal there is nothing to rank: no band.
    """
    p = check_probabilities(p)
    won = np.zeros(len(p), bool) if closed_won is None else np.asarray(closed_won, bool)
    bands = np.full(len(p), None, dtype=object)
    bands[won] = CLOSED_WON
    open_ = ~won & ~np.isnan(p)
    reason = _why_no_bands(p[open_], min_contacts)
    if not reason:
        bands[open_] = np.array(BANDS, dtype=object)[_part_from_top(p[open_], len(BANDS))]
    return Priority(pd.Series(bands, dtype="str"), reason)


def _why_no_bands(p: np.ndarray, min_contacts: int) -> str:
    if len(p) < min_contacts:
        return f"Contact priority needs {min_contacts:,} open contacts with a score; there are {len(p):,}."
    if len(p) and p.min() == p.max():
        return f"All {len(p):,} open contacts have the same score, so no order of priority exists."
    return ""


def _part_from_top(p: np.ndarray, parts: int) -> np.ndarray:
    """Return in which of `parts` equal parts, best first, the middle of each score's block of equals lies.

    Twice the mean rank is a whole number, so no rounding decides about a boundary.
    """
    _, block, n = np.unique(-p, return_inverse=True, return_counts=True)
    twice_middle = 2 * np.cumsum(n) - n  # of the block, counted from the top, in half ranks
    return (parts * twice_middle // (2 * len(p)))[block]


def band_table(
    p: np.ndarray,
    bands: pd.Series,
    *,
    y: np.ndarray | None = None,
    order: tuple[str, ...] = BANDS,
    n_closed_won: int = 0,
) -> pd.DataFrame:
    """Return the probabilities behind each band, and what share of the outcomes it is expected to hold.

    Parameters
    ----------
    p : (n,) probabilities. bands : (n,) words. y : (n,) outcomes where they are known, as on past rows.
    order : words in the order of reading; `CLOSED_WON` follows where it occurs.
    n_closed_won : customers who are not among the rows, because nobody scores them; they are counted with `CLOSED_WON`.

    Returns
    -------
    Frame: band, n, share (of rows with a band, customers apart), p_low, p_high (the absolute range), expected (sum of
    probabilities), expected_share (of all expected outcomes), observed (share that came true) with its 95 % Wilson
    interval observed_low, observed_high, observed_share (of all outcomes); the last four missing without `y`.
    """
    p, bands = check_probabilities(p), pd.Series(np.asarray(bands, dtype=object), dtype="str")
    y = np.full(len(p), np.nan) if y is None else np.asarray(y, dtype=float)
    ranked = bands.isin(order).to_numpy(bool)
    rows = [_band_row(word, (bands == word).fillna(False).to_numpy(bool), p, y, ranked) for word in order]
    apart = int((bands == CLOSED_WON).sum()) + n_closed_won
    rows += [(CLOSED_WON, apart, *[np.nan] * (len(_BAND_COLUMNS) - 2))] if apart else []
    return pd.DataFrame(rows, columns=list(_BAND_COLUMNS)).astype(_BAND_COLUMNS)


def _band_row(word: str, here: np.ndarray, p: np.ndarray, y: np.ndarray, ranked: np.ndarray) -> tuple:
    n = int(here.sum())
    if not n:
        return (word, n, *[np.nan] * (len(_BAND_COLUMNS) - 2))
    known = y[here][~np.isnan(y[here])]
    low, high = share_interval(int(known.sum()), len(known))
    expected = p[here].sum()
    return (
        word,
        n,
        n / ranked.sum(),
        p[here].min(),
        p[here].max(),
        expected,
        _ratio(expected, p[ranked].sum()),
        _ratio(known.sum(), len(known)),
        low,
        high,
        _ratio(known.sum(), np.nansum(y[ranked])),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


@dataclass(frozen=True)
class CutPoints:
    """Where grades and classes begin, fixed when a model is published.

    Attributes
    ----------
    grades : smallest probability of C, B and A. classes : smallest probability of 2, 3, 4 and 5. A word that no score
        of reference has is out of reach (infinity).
    n : scores of reference. base_rate : their mean.
    """

    grades: tuple[float, float, float]
    classes: tuple[float, float, float, float]
    n: int
    base_rate: float

    @classmethod
    def from_scores(cls, p: np.ndarray, *, min_scores: int = MIN_CONTACTS) -> "CutPoints":
        """Return cut points from scores that the model gave to rows it had not learned from (test or inner folds).

        A is the best quarter of them, B the second, C the third, D the rest; 5 the best fifth, down to 1. Ties as in
        the module's head. Scores of rows learned from would be spread too far, and nobody new would reach an A.

        Raises
        ------
        NotEnoughEvidence : fewer than `min_scores`.
        """
        p = check_probabilities(p)
        p = p[~np.isnan(p)]
        if len(p) < min_scores:
            raise NotEnoughEvidence(
                "Grades and classes need scores to be compared with.",
                found=f"{len(p):,} scores",
                remedy=f"score at least {min_scores:,} rows that the model has not learned from.",
            )
        return cls(_cuts(p, _GRADE_SHARES), _cuts(p, _CLASSES), len(p), float(p.mean()))

    def grade(self, p: np.ndarray) -> pd.Series:
        """Return A to D; missing where the score is."""
        return _words(p, self.grades, GRADES[::-1])

    def class_1_5(self, p: np.ndarray) -> pd.Series:
        """Return 1 (very low) to 5 (very high potential) as Int64; missing where the score is [O17]."""
        p = check_probabilities(p)
        found = np.searchsorted(self.classes, p, side="right") + 1
        return pd.Series(found, dtype="Int64").mask(np.isnan(p))

    def table(self) -> pd.DataFrame:
        """Return the range of each word: kind, word, p_from (inclusive), p_below."""
        words = [("grade", GRADES[::-1], self.grades), ("class", tuple("12345"), self.classes)]
        rows = [(kind, w, *ends) for kind, names, cuts in words for w, ends in zip(names, _ranges(cuts), strict=True)]
        return pd.DataFrame(rows[::-1], columns=["kind", "word", "p_from", "p_below"])

    def as_dict(self) -> dict[str, object]:
        """Return the cut points as JSON can hold them; a word out of reach is null."""
        plain = {name: [None if np.isinf(c) else float(c) for c in getattr(self, name)] for name in _CUTS}
        return plain | {"n": self.n, "base_rate": self.base_rate}

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> "CutPoints":
        """Return the cut points of `as_dict`.

        Raises
        ------
        DataError : they are incomplete, or do not rise.
        """
        try:
            cuts = {name: tuple(np.inf if c is None else float(c) for c in stored[name]) for name in _CUTS}
            found = cls(**cuts, n=int(stored["n"]), base_rate=float(stored["base_rate"]))
        except (KeyError, TypeError, ValueError) as error:
            raise _broken_cuts(str(error)) from error
        if any(len(cuts[name]) != n or list(cuts[name]) != sorted(cuts[name]) for name, n in _CUTS.items()):
            raise _broken_cuts(str(cuts))
        return found


_CUTS = {"grades": _GRADE_SHARES - 1, "classes": _CLASSES - 1}


def _broken_cuts(found: str) -> DataError:
    return DataError(
        "The stored cut points of grades and classes cannot be used.", found=found, remedy="publish the model again."
    )


def _cuts(p: np.ndarray, parts: int) -> tuple[float, ...]:
    """Smallest score of each part but the lowest; infinity where no score reaches it."""
    part = parts - 1 - _part_from_top(p, parts)  # 0 is the lowest
    reached = [p[part >= k] for k in range(1, parts)]
    return tuple(float(values.min()) if len(values) else np.inf for values in reached)


def _ranges(cuts: tuple[float, ...]) -> list[tuple[float, float]]:
    edges = [0.0, *cuts, 1.0]
    return [(a, b) if a <= 1 and a < b else (np.nan, np.nan) for a, b in pairwise(edges)]


def _words(p: np.ndarray, cuts: tuple[float, ...], words: tuple[str, ...]) -> pd.Series:
    p = check_probabilities(p)
    found = np.array(words, dtype=object)[np.searchsorted(cuts, p, side="right")]
    return pd.Series(np.where(np.isnan(p), None, found), dtype="str")


def absolute_grade(p: np.ndarray) -> pd.Series:
    """Return the grade by the probability itself: A from 75 %, B from 50 %, C from 25 %, D below.

    These are the default bounds of Dynamics 365 (there on a score from 0 to 100). Where few deals close nobody reaches
    an A; `CutPoints.grade` is the default for that reason.

    >>> absolute_grade(np.array([0.75, 0.6, 0.25, 0.0])).tolist()
    ['A', 'B', 'C', 'D']
    """
    return _words(p, _ABSOLUTE, GRADES[::-1])
