"""What can make one column suspect, each measured with an interval and said in words.

Every measure is brought to one scale: 0.5 from where on a person should look, 0.9 from where on it counts as a leak.
Rows of one entity resemble each other, so support counts entities, not rows.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.intervals import Z, rate_interval

__all__ = [
    "DOUBTFUL",
    "LEAK",
    "Evidence",
    "Outcome",
    "alone",
    "auc_evidence",
    "one_class_group",
    "telling_name",
    "time_after_row",
]

DOUBTFUL, LEAK = 0.5, 0.9
_BINS = 64
_PRIOR_ROWS = 20.0
_FEWEST = 30
"""Entities that a group needs before it can make a column suspect."""
_FEWEST_EXPECTED = 10.0
_FEWEST_OF_CLASS = 20
_AUC = (0.5, 0.80, 0.90, 1.0)
_RATIO = (0.0, 0.02, 0.10, 1.0)
_AFTER = (0.0, 0.05, 0.50)
_SCALE = (0.0, DOUBTFUL, LEAK, 1.0)
_TOLD = (
    *("close", "closed", "closing", "outcome", "result", "reason", "won", "win", "lost", "loss", "stage", "status"),
    *("settled", "resolved", "cancelled", "ended", "churn", "churned", "final", "last", "latest", "elapsed", "tags"),
)
"""Words that name the course or the end of a case."""


@dataclass(frozen=True)
class Evidence:
    """One reason to suspect a column: what kind, how strong (0 to 1), and in words."""

    kind: str
    score: float
    text: str


class Outcome:
    """The settled rows of a study, as the measures need them."""

    def __init__(self, ids: pd.Series, label: np.ndarray, word: str) -> None:
        self.y, self.word, self.n = label, word, len(label)
        codes, names = pd.factorize(ids)
        self.entities = max(len(names), 1)
        self.rows_each = max(self.n / self.entities, 1.0)
        self.half = (pd.util.hash_array(ids.to_numpy(dtype=object)) % 2).astype(bool)
        self.base = float(label.mean()) if self.n else np.nan
        self.n_true = len(np.unique(codes[label == 1]))
        self.n_false = len(np.unique(codes[label == 0]))

    @property
    def judgeable(self) -> bool:
        """Whether both outcomes occurred often enough to say anything."""
        return min(self.n_true, self.n_false) >= _FEWEST_OF_CLASS


def alone(values: pd.Series, outcome: Outcome) -> tuple[float, float]:
    """Return how well a column alone orders the rows (ROC AUC) and the lower end of its 95 % interval.

    Levels (numbers in 64 bins, gaps as a level) are scored by their rate among the *other* half of the entities, so
    that identifiers and rare levels come out at 0.5. The interval is Hanley and McNeil's (1982), each entity counting
    once.
    """
    code, levels = _levels(values)
    hits = [np.bincount(code[side], outcome.y[side], levels) for side in (~outcome.half, outcome.half)]
    sizes = [np.bincount(code[side], minlength=levels) for side in (~outcome.half, outcome.half)]
    scores = [_rates(hits[1 - k], sizes[1 - k]) for k in (0, 1)]
    score, positive = np.concatenate(scores), np.concatenate(hits)
    auc = _auc(score, positive, np.concatenate(sizes) - positive)
    return auc, max(0.5, auc - Z * _auc_error(auc, outcome.n_true, outcome.n_false)) if auc > 0.5 else auc


def auc_evidence(low: float, typical: float, *, out_of_line: bool, word: str) -> Evidence | None:
    """Suspect a column that alone is near perfect, and far better than a typical column of the same frame."""
    score = float(np.interp(low, _AUC, _SCALE))
    if score < DOUBTFUL or not out_of_line:
        return None
    text = (
        f"Alone it orders the rows almost as {word} does: ROC AUC at least {low:.2f}, a typical column {typical:.2f}."
    )
    return Evidence("near-perfect alone", score, text)


def one_class_group(values: pd.Series, outcome: Outcome, *, show: bool) -> Evidence | None:
    """Suspect a column if its gaps, its filled rows or the rows of one value belong to one outcome only.

    Parameters
    ----------
    show : whether the value may be named; not for personal columns.
    """
    code, names = pd.factorize(values)
    n = np.bincount(code + 1, minlength=len(names) + 1).astype("float64")
    hits = np.bincount(code + 1, outcome.y, len(names) + 1)
    groups = _with_complements(n, hits)
    worst = min(_one_sided(groups, outcome), default=None)
    if worst is None:
        return None
    ratio, place, seen, expected, has = worst
    score = float(1 - np.interp(ratio, _RATIO, (0.0, 1 - LEAK, 1 - DOUBTFUL, 1.0)))
    words = _group_words(
        _group_name(place, names, n, show=show), groups[0][place], seen, expected, outcome.word, has=has
    )
    return Evidence(_group_kind(place), score, words) if score >= DOUBTFUL else None


def time_after_row(values: pd.Series, as_of: pd.Series, outcome: Outcome) -> Evidence | None:
    """Suspect a column of times that lie after the row's own date: plans may, facts may not."""
    if not pd.api.types.is_datetime64_any_dtype(values.dtype):
        return None
    both = values.notna().to_numpy() & as_of.notna().to_numpy()
    if both.sum() < _FEWEST * outcome.rows_each:
        return None
    after = float((values[both] >= as_of[both]).mean())
    score = float(np.interp(after, (*_AFTER, 1.0), (0.0, DOUBTFUL, 0.8, 0.8)))
    text = f"{after:.0%} of its times lie after the row's own date: unless they are plans, nobody knew them then."
    return Evidence("later than the row", score, text) if score >= DOUBTFUL else None


def telling_name(name: str, auc_low: float) -> Evidence | None:
    """Suspect an undated column that goes with the outcome and is named after the course or the end of a case."""
    words = "".join(c.lower() if c.isalnum() else " " for c in name).split()
    told = [w for w in words if w in _TOLD]
    if not told or auc_low < 0.55:
        return None
    text = f"Its name says `{told[0]}`, it goes with the outcome, and nothing says when it was filled."
    return Evidence("name", DOUBTFUL, text)


def _levels(values: pd.Series) -> tuple[np.ndarray, int]:
    """Code each row by its level: bins of equal size for numbers and times, the value itself otherwise; gaps are 0."""
    if pd.api.types.is_bool_dtype(values.dtype) or not _is_ordered(values):
        codes = pd.factorize(values)[0] + 1
        return codes, int(codes.max(initial=0)) + 1
    x = _as_float(values)
    known = x[~np.isnan(x)]
    edges = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS)) if len(known) else np.empty(0)
    codes = np.where(np.isnan(x), 0, np.searchsorted(edges, x, side="left") + 1)
    return codes, len(edges) + 2


def _is_ordered(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype)


def _as_float(values: pd.Series) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        micros = values.to_numpy("datetime64[us]")
        return np.where(np.isnat(micros), np.nan, micros.astype("int64").astype("float64"))
    return values.astype("float64").to_numpy(na_value=np.nan)


def _rates(hits: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Rate of each level above that of its half: centred, because the two priors alone would order the rows."""
    prior = hits.sum() / max(sizes.sum(), 1)
    return (hits + prior * _PRIOR_ROWS) / (sizes + _PRIOR_ROWS) - prior


def _auc(score: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve of scores that stand for many rows each."""
    _, place = np.unique(score, return_inverse=True)
    positive, negative = np.bincount(place, positive), np.bincount(place, negative)
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2) / (positive.sum() * negative.sum()))


def _auc_error(auc: float, n_true: int, n_false: int) -> float:
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (n_true - 1) * (q1 - auc**2) + (n_false - 1) * (q2 - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (n_true * n_false)))


_MISSING, _FILLED, _NOT_USUAL = 0, -2, -1


def _with_complements(n: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups: gaps, every value, then all filled rows, and those without the most frequent value."""
    filled = n[1:].sum()
    usual = int(n[1:].argmax()) + 1 if len(n) > 1 else 0
    rest_n, rest_hits = filled - n[usual], hits[1:].sum() - hits[usual]
    return np.r_[n, filled, rest_n if usual else 0], np.r_[hits, hits[1:].sum(), rest_hits if usual else 0]


def _one_sided(groups: tuple[np.ndarray, np.ndarray], outcome: Outcome) -> list[tuple[float, int, float, float, bool]]:
    """For each group with support: upper end of observed over expected of its rarer outcome, and what it rests on."""
    n, hits = groups
    supported = (n >= _FEWEST * outcome.rows_each) & (n < outcome.n)
    found = []
    for has, seen, base in ((True, hits, outcome.base), (False, n - hits, 1 - outcome.base)):
        expected = n * base
        enough = supported & (expected >= _FEWEST_EXPECTED * outcome.rows_each)
        # Only few seen against many expected can matter: the exact interval is asked for those alone.
        for k in np.flatnonzero(enough & (seen < _RATIO[2] * expected)):
            high = rate_interval(round(seen[k] / outcome.rows_each), expected[k] / outcome.rows_each)[1]
            place = int(k) if k < len(n) - 2 else int(k) - len(n)
            found.append((high, place, float(seen[k]), float(expected[k]), has))
    return found


def _group_kind(place: int) -> str:
    return {_MISSING: "missing for one outcome", _FILLED: "filled for one outcome"}.get(place, "value of one outcome")


def _group_name(place: int, names: pd.Index | np.ndarray, n: np.ndarray, *, show: bool) -> str:
    if place == _MISSING:
        return "empty"
    if place == _FILLED:
        return "filled"
    value = names[(place if place > 0 else int(n[1:].argmax()) + 1) - 1]
    shown = f"{value:g}" if isinstance(value, (int, float, np.number)) else f"`{str(value)[:40]}`"
    named = shown if show else "one value"
    return f"not {named}" if place == _NOT_USUAL else named


def _group_words(name: str, rows: float, seen: float, expected: float, word: str, *, has: bool) -> str:
    few = "none" if seen == 0 else f"only {seen:,.0f}"
    verb = ("has" if seen < 2 else "have") if has else ("lacks" if seen < 2 else "lack")
    return f"Where it is {name} ({rows:,.0f} rows), {few} {verb} {word}; {expected:,.0f} would be expected."
