"""What a study asks: about which entity, with which label, how often."""

import hashlib
import re
from dataclasses import dataclass

import pandas as pd

from crmlab.schema import ENTITY_KEYS, DataError, ParameterError, did_you_mean

__all__ = [
    "ENTITY_WORDS",
    "EVERY",
    "LABELS",
    "Nouns",
    "Question",
    "as_entity",
    "check_choice",
    "check_question",
    "entity_of",
    "nouns_of",
    "outcome_words",
]

EVERY = ("weekly", "monthly", "creation", "first_quote")
LABELS = ("within_horizon", "final_status")
ENTITY_WORDS = {"lead": "lead", "opportunity": "opportunity", "account": "account", "customer": "account", "rep": "rep"}
"""Word of a study's `entity` → entity of the library: people say customer where the tables say account."""


@dataclass(frozen=True)
class Nouns:
    """What people call an entity and its outcome: one, many, the outcomes, and what it did."""

    one: str
    many: str
    outcomes: str
    did: str


_NOUNS = {
    "lead": Nouns("lead", "leads", "conversions", "converted"),
    "opportunity": Nouns("deal", "deals", "wins", "won"),
    "account": Nouns("customer", "customers", "departures", "left"),
    "rep": Nouns("rep", "reps", "rises", "rose"),
}
_PLAIN = re.compile(r"[A-Za-z0-9_]+")
_FINAL = ("lead", "opportunity")
"""Entities with a status that ends them; customers and reps can only be followed over a horizon."""


@dataclass(frozen=True)
class Question:
    """What a study asks, whenever it is asked: models, gate and scores are kept per question.

    Attributes
    ----------
    source : name of a mapping under params/sources, or the path of one.
    entity : lead, opportunity, customer or rep, as the study says it.
    label, horizon_days, snapshots : see `build_snapshots`.
    """

    source: str
    entity: str
    label: str
    horizon_days: int
    snapshots: str

    @property
    def slug(self) -> str:
        """A name for files: readable, and different for every question.

        >>> Question("demo", "lead", "within_horizon", 90, "weekly").slug
        'demo-lead-within_horizon-90d-weekly'
        """
        parts = (self.source, self.entity, self.label, f"{self.horizon_days}d", self.snapshots)
        return "-".join(part if _PLAIN.fullmatch(part) else _as_name(part) for part in parts)

    @property
    def outcome(self) -> str:
        """What is predicted, in words."""
        return outcome_words(self.label, horizon_days=self.horizon_days, entity=self.entity)

    @property
    def key(self) -> str:
        """The key column of the entity."""
        return ENTITY_KEYS[as_entity(self.entity)]


def _as_name(text: str) -> str:
    """A path as a part of a file name; its hash keeps two apart that look alike."""
    return f"{re.sub(r'[^A-Za-z0-9_]+', '_', text).strip('_')}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def as_entity(word: str) -> str:
    """Return the library's entity for the word that a study uses.

    Raises
    ------
    ParameterError : no study can be about it; the message suggests a word.

    >>> as_entity("customer")
    'account'
    """
    check_choice("entity", word, tuple(ENTITY_WORDS))
    return ENTITY_WORDS[word]


def nouns_of(word: str) -> Nouns:
    """Return what people call an entity of a study and its outcome.

    >>> nouns_of("opportunity").outcomes
    'wins'
    """
    return _NOUNS[as_entity(word)]


def entity_of(rows: pd.DataFrame) -> str:
    """Return the entity of a frame's rows, known by its one key column.

    Raises
    ------
    DataError : no column of `schema.ENTITY_KEYS` is there, or several are.

    >>> entity_of(pd.DataFrame({"opportunity_id": ["O1"], "as_of": [pd.Timestamp("2024-01-01")]}))
    'opportunity'
    """
    found = [entity for entity, key in ENTITY_KEYS.items() if key in rows]
    if len(found) == 1:
        return found[0]
    raise DataError(
        "Rows must have exactly one key column, which says what they are about.",
        found=", ".join(ENTITY_KEYS[e] for e in found) or "none of them",
        remedy=f"keep one of {', '.join(ENTITY_KEYS.values())}.",
    )


def check_question(*, label: str, horizon_days: int, every: str, entity: str = "lead") -> None:
    """Check that entity, label, horizon and snapshots can be asked for, and together.

    Raises
    ------
    ParameterError : a value that is not allowed, or values that do not fit each other.
    """
    entity = as_entity(entity)
    check_choice("label", label, LABELS)
    check_choice("snapshots", every, EVERY)
    if label == "final_status" and horizon_days != 0:
        raise ParameterError(
            "With `label: final_status` there is no horizon.",
            found=str(horizon_days),
            remedy="write `horizon_days: 0`.",
        )
    if label == "within_horizon" and horizon_days <= 0:
        raise ParameterError(
            "`horizon_days` must be positive.", found=str(horizon_days), remedy="write the days ahead, such as 90."
        )
    _check_together(entity, label=label, every=every)


def _check_together(entity: str, *, label: str, every: str) -> None:
    if every == "first_quote" and entity != "opportunity":
        raise ParameterError(
            "Only opportunities can be looked at once at their first quote.",
            found=f"snapshots: first_quote, entity: {entity}",
            remedy="write `snapshots: weekly` or `monthly`.",
        )
    if label == "final_status" and entity not in _FINAL:
        raise ParameterError(
            "Only leads and opportunities have a final status.",
            found=f"label: final_status, entity: {entity}",
            remedy="write `label: within_horizon` and a horizon.",
        )
    if label == "final_status" and every in EVERY[:2] and entity == "opportunity":
        raise ParameterError(
            "A final status is looked at once per deal.",
            found=f"snapshots: {every}",
            remedy="write `snapshots: creation` or `first_quote`.",
        )


def outcome_words(label: str, *, horizon_days: int, entity: str = "lead") -> str:
    """Return what is predicted, in words.

    >>> outcome_words("within_horizon", horizon_days=90)
    'conversion within 90 days'
    >>> outcome_words("within_horizon", horizon_days=30, entity="customer")
    'churn within 30 days'
    """
    entity = as_entity(entity)
    if entity == "rep":
        return f"more wins in the next {horizon_days} days than in the {horizon_days} days before"
    word = {"lead": "conversion", "opportunity": "win", "account": "churn"}[entity]
    return f"{word} within {horizon_days} days" if label == "within_horizon" else f"{word} at some time"


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Check that a parameter has one of its values.

    Raises
    ------
    ParameterError : it has not; the message suggests one.
    """
    if value not in allowed:
        raise ParameterError(
            f"`{name}` must be one of {', '.join(allowed)}.",
            found=repr(value),
            remedy=did_you_mean(str(value), allowed),
        )
