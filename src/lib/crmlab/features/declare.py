"""What a feature is: a source of events, a filter, a measure and a window, in one line.

>>> Feature("calls", "interactions", "n recency", where={"type": "call"}, windows=(7, 30)).names()
['calls_n_7d', 'calls_n_30d', 'calls_recency_days']
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Real

from crmlab.schema import ParameterError, did_you_mean

__all__ = [
    "EVER",
    "MEASURES",
    "WINDOWS",
    "Calendar",
    "Declaration",
    "Difference",
    "Feature",
    "Field",
    "Linked",
    "Notes",
    "OwnFields",
    "Ratio",
    "Tags",
    "Total",
    "check_windows",
    "plural",
    "slug",
]

WINDOWS = (7, 30, 90)
EVER = 0
"""In place of a window: everything so far."""

_LONGEST = 36_525
"""Days of a century: a longer window is a slip of the pen."""

MEASURES = {
    "n": "count",
    "sum": "sum",
    "mean": "mean",
    "days": "days",
    "recency": "recency",
    "first": "since first",
    "smoothed": "smoothed",
    "trend": "trend",
    "per_week": "weekly mean",
    "per_day": "exposure",
    "last": "state",
    "until": "state",
}
"""Measure → family, as the catalog calls it."""

_OF_VALUE = ("sum", "mean", "last", "until")
_PLURALS = {
    "call": "calls",
    "email_sent": "emails_sent",
    "email_open": "email_opens",
    "email_click": "email_clicks",
    "email_reply": "email_replies",
    "meeting": "meetings",
    "web_visit": "web_visits",
    "pricing_page": "pricing_page_views",
    "form": "forms",
    "download": "downloads",
    "event": "events",
}


@dataclass(frozen=True)
class Feature:
    """Events of an entity, measured.

    Attributes
    ----------
    name : first part of the features' names; with `each` it holds {} for the value.
    view : where the events come from, a key of `views.VIEWS`.
    measure : one or more of `MEASURES`, separated by spaces. n, sum, mean, days, per_day come once per window.
    of : column that is summed, averaged, smoothed or shown.
    where : column → the value it must have, a tuple of values, or a comparison such as ">= 30".
    each : a category column; one feature per value that the source has.
    windows : days to look back, or `EVER`; None for those of the study. Trends compare neighbouring windows.
    noun : what is counted, in words.
    ids : requirements that it answers.
    hidden : whether it only serves a ratio or difference.
    """

    name: str
    view: str
    measure: str = "n"
    of: str = ""
    where: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    each: str = ""
    windows: tuple[int, ...] | None = None
    noun: str = ""
    ids: str = ""
    hidden: bool = False

    def __post_init__(self) -> None:
        if not self.measures:
            raise ParameterError(f"Feature `{self.name}` measures nothing.", remedy='name a measure, such as "n".')
        if bool(self.each) != ("{}" in self.name):
            raise ParameterError(
                f"Feature `{self.name}`: {{}} in the name stands for the values of `each`; one needs the other.",
                found=f"each={self.each!r}",
                remedy="write both or none, so that every value gives a name of its own.",
            )
        for measure in self.measures:
            if measure not in MEASURES:
                raise ParameterError(
                    f"Feature `{self.name}` asks for an unknown measure.",
                    found=measure,
                    remedy=did_you_mean(measure, list(MEASURES)),
                )
            if measure in _OF_VALUE and not self.of:
                raise ParameterError(
                    f"Feature `{self.name}`: measure `{measure}` needs a column.",
                    remedy='name it, such as of="duration".',
                )
        if self.windows is not None:
            check_windows(self.windows, ever=True)

    @property
    def measures(self) -> list[str]:
        """The measures, one by one."""
        return self.measure.split()

    def columns(self, windows: tuple[int, ...] = WINDOWS) -> list[tuple[str, str, tuple[int, ...]]]:
        """Return (name, measure, window or windows in days) of each feature that this line declares."""
        spans = self.windows if self.windows is not None else windows
        return [(self._named(m, w), m, w) for m in self.measures for w in _spans(m, spans)]

    def names(self, windows: tuple[int, ...] = WINDOWS) -> list[str]:
        """Return the names of the features that this line declares."""
        return [name for name, _, _ in self.columns(windows)]

    def measures_value(self, measure: str) -> bool:
        """Whether a measure is of the column `of`; the others count events, whatever they hold."""
        return bool(self.of) and measure in (*_OF_VALUE, "smoothed")

    def _named(self, measure: str, window: tuple[int, ...]) -> str:
        summed = measure in ("sum", "mean", "smoothed") and self.measures_value(measure)
        base = f"{self.name}_{self.of}" if summed else self.name
        if measure in ("last", "until"):
            return base if measure == "last" else f"{base}_days"
        ending = {
            "recency": "recency_days",
            "first": "since_first_days",
            "smoothed": "smoothed_weekly",
            "per_week": "per_week",
        }
        if measure in ending:
            return f"{base}_{ending[measure]}"
        return "_".join([base, measure, *(f"{w}d" if w else "ever" for w in window)])


def _spans(measure: str, windows: tuple[int, ...]) -> list[tuple[int, ...]]:
    if measure in ("recency", "first", "smoothed", "per_week", "last", "until"):
        return [()]
    within = sorted(w for w in windows if w != EVER)
    if measure == "trend":
        return list(pairwise(within))
    if measure in ("days", "per_day"):
        return [(w,) for w in within]
    return [(w,) for w in windows]


@dataclass(frozen=True)
class Field:
    """A column that was filled at creation and does not change.

    Attributes
    ----------
    through : empty for a column of the entity itself, else the table of what it belongs to: accounts, contacts, leads.
    fallback : whether the account's value stands in where the entity's own is empty.
    name : of the feature; empty: that of the column.
    """

    column: str
    through: str = ""
    fallback: bool = False
    name: str = ""
    ids: str = ""
    hidden: bool = False

    def names(self, windows: tuple[int, ...] = WINDOWS) -> list[str]:
        """Return the name of the feature."""
        return [self.name or self.column]


@dataclass(frozen=True)
class OwnFields:
    """Every own column (`x_…`) of the entity that is known from creation on."""

    ids: str = "B27"
    hidden: bool = False


@dataclass(frozen=True)
class Calendar:
    """A number that only dates decide: `age_days`, `month`, `quarter_days_left`, `lead_to_opportunity_days` …"""

    name: str
    ids: str = ""
    hidden: bool = False

    def names(self, windows: tuple[int, ...] = WINDOWS) -> list[str]:
        """Return the name of the feature."""
        return [self.name]


@dataclass(frozen=True)
class Notes:
    """The newest note of the entity as hashed words, personal data removed first.

    Attributes
    ----------
    n_buckets : into how many numbers the words are counted.
    """

    n_buckets: int = 16
    ids: str = "B17"
    hidden: bool = False


@dataclass(frozen=True)
class Tags:
    """Labels that the entity carried, from the change log of its `tags`: one feature per frequent label."""

    ids: str = "B18"
    hidden: bool = False


@dataclass(frozen=True)
class Linked:
    """Features of another entity at the same date.

    Attributes
    ----------
    prefix : put before their names. entity : whose features they are.
    by : the column that names the other one: a feature declared before (`owner_id`) or a column of the entity's table.
    features : declarations of the other entity.
    """

    prefix: str
    entity: str
    by: str
    features: tuple["Declaration", ...]
    ids: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class _Formula:
    """A feature computed from others that are declared in the same list."""

    name: str
    first: str
    second: str
    noun: str = ""
    ids: str = ""
    hidden: bool = False

    def names(self, windows: tuple[int, ...] = WINDOWS) -> list[str]:
        """Return the name of the feature."""
        return [self.name]


class Ratio(_Formula):
    """`first` / `second`, missing where the latter is 0."""


class Difference(_Formula):
    """`first` − `second`."""


class Total(_Formula):
    """`first` + `second`."""


Declaration = Feature | Field | OwnFields | Calendar | Notes | Tags | Linked | Ratio | Difference | Total


def check_windows(windows: tuple[int, ...], *, ever: bool = False) -> None:
    """Check that windows are positive whole days, each once, at most a century; with `ever`, 0 means all so far.

    Raises
    ------
    ParameterError : they are not.
    """
    if not all(_is_window(w, ever=ever) for w in windows) or len(set(windows)) < len(windows):
        raise ParameterError(
            f"Windows must be positive whole numbers of days, each once and at most {_LONGEST:,}.",
            found=", ".join(map(str, windows)),
            remedy="write them such as 7, 30, 90.",
        )


def _is_window(window: object, *, ever: bool) -> bool:
    if isinstance(window, bool) or not isinstance(window, Real) or not float(window).is_integer():
        return False
    return 0 < window <= _LONGEST or (ever and window == EVER)


def slug(text: str) -> str:
    """Return a value as a part of a feature's name: spellings that differ in case or signs count as one.

    >>> slug("E-mail (sent)")
    'e_mail_sent'
    """
    return re.sub(r"\W+", "_", str(text).lower()).strip("_") or "other"


def plural(value: str) -> str:
    """Return a type of interaction as features name it.

    >>> plural("call"), plural("webinar")
    ('calls', 'webinar')
    """
    # `interactions` is the name for all types together.
    return _PLURALS.get(value, f"{value}_type" if value == "interactions" else value)
