"""When to train again: the rule is written down before anybody looks, and each look is kept.

The bounds go into an append-only log beside the gate's (`<registry>/<question>/monitoring/log.jsonl`), and so does what
each look found. Whoever changes the bounds under a published model leaves a trace, which every later look tells.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from crmlab.crm import as_instant
from crmlab.registry import Log, Registry
from crmlab.schema import ParameterError

__all__ = [
    "KEEP",
    "RETRAIN",
    "REVIEW",
    "RULE_COLUMNS",
    "UNKNOWN",
    "RetrainRule",
    "graded",
    "looks",
    "overall",
    "record_look",
    "rule_frame",
    "write_rule",
]

KEEP, REVIEW, RETRAIN, UNKNOWN = "keep", "review", "retrain now", "cannot be judged yet"
RULE_COLUMNS = {
    "rule": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "bound": "float64",
    "verdict": "str",
    "words": "str",
}
_ORDER = (UNKNOWN, KEEP, REVIEW, RETRAIN)
_RULE, _LOOK = "rule", "look"
_POSITIVE = ("review_days", "update_days", "psi_bound", "max_calibration_error", "max_rate_shift", "min_outcomes")


@dataclass(frozen=True)
class RetrainRule:
    """Bounds from which a model is looked at again, or trained again [C48].

    Attributes
    ----------
    review_days, update_days : age of the model in days from which it is reviewed, and trained again.
    psi_bound : population stability index from which a shift is large.
    max_calibration_error : largest mean gap between score and observed share.
    max_rate_shift : largest shift of the rate of the outcome, in log odds (0.3: from 23 % to 29 % or 18 %).
    min_outcomes : cases with the outcome, and without, below which nothing is judged.
    events : ISO dates of announced breaks: product launch, new prices, market shift.
    """

    review_days: int = 91
    update_days: int = 182
    psi_bound: float = 0.25
    max_calibration_error: float = 0.05
    max_rate_shift: float = 0.3
    min_outcomes: int = 40
    events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        events = self.events.replace(",", " ").split() if isinstance(self.events, str) else self.events
        object.__setattr__(self, "events", tuple(sorted(as_instant(e).strftime("%Y-%m-%d") for e in events)))
        bad = [name for name in _POSITIVE if not getattr(self, name) > 0]
        if bad or self.update_days < self.review_days:
            raise ParameterError(
                "The bounds of the retraining rule must be positive, and an update must not come before a review.",
                found=", ".join(f"{n}: {getattr(self, n)}" for n in bad or ("review_days", "update_days")),
                remedy="C48 asks for a review every quarter (91) and an update every half year (182).",
            )

    def events_between(self, first: str, last: str) -> tuple[str, ...]:
        """Return the announced events after `first`, up to and including `last` (ISO dates)."""
        return tuple(e for e in self.events if first[:10] < e <= last[:10])

    def record(self) -> dict[str, object]:
        """Return the bounds as plain values."""
        return asdict(self) | {"events": list(self.events)}


def write_rule(registry: Registry, rule: RetrainRule, *, model_id: str, as_of: str) -> tuple[str, ...]:
    """Write the bounds into the log, before anything is measured; return what was changed under the same model.

    Announced events are added as they become known; that is no change of a bound.

    Returns
    -------
    Names of the bounds that differ from the first ones written for this model; empty at the first look.
    """
    log = _log(registry)
    log.append_once(_RULE, {"model_id": model_id, **rule.record()}, context={"as_of": as_of})
    first = next(e.content for e in log.entries(_RULE) if e.content["model_id"] == model_id)
    return tuple(k for k, v in rule.record().items() if k != "events" and first.get(k) != v)


def record_look(registry: Registry, table: pd.DataFrame, *, model_id: str, as_of: str, basis: str) -> None:
    """Keep what a look found; the same look is kept once.

    Parameters
    ----------
    table : of `RULE_COLUMNS`. basis : what the outcomes belong to: scores given, or a replay.
    """
    found = {row.rule: row.verdict for row in table.itertuples()}
    content = {"model_id": model_id, "as_of": as_of, "basis": basis, "verdict": overall(table), "rules": found}
    _log(registry).append_once(_LOOK, content, context={})


def looks(registry: Registry) -> pd.DataFrame:
    """Return every look kept so far, oldest first: as_of, model_id, basis, verdict."""
    names = ["as_of", "model_id", "basis", "verdict"]
    return pd.DataFrame([[e.content[n] for n in names] for e in _log(registry).entries(_LOOK)], columns=names)


def overall(table: pd.DataFrame) -> str:
    """Return the gravest verdict of the rules; "cannot be judged yet" counts least."""
    return max(table["verdict"], key=_ORDER.index, default=UNKNOWN)


def _log(registry: Registry) -> Log:
    folder = registry.folder / "monitoring"
    folder.mkdir(parents=True, exist_ok=True)
    return Log(folder / "log.jsonl")


def graded(value: float, *, review: float, retrain: float) -> str:
    """Return the verdict for a value that is worse the larger it is."""
    return RETRAIN if value >= retrain else REVIEW if value >= review else KEEP


def rule_frame(rows: Sequence[tuple]) -> pd.DataFrame:
    """Return the table of rules."""
    return pd.DataFrame(list(rows), columns=list(RULE_COLUMNS)).astype(RULE_COLUMNS)
