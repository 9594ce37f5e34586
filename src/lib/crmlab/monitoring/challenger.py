"""Would a newer model have been better: the champion's recipe, older against newer training rows, on rows new to both.

The full recipe takes minutes; what newer rows are worth shows in its strongest member as well. Both sides are that
member with the champion's settings, fitted on equally thinned rows: one on what the champion's tested twin could learn
from, one on what has settled since. Only if the newer one wins is the full recipe worth its time (`03_model_comparison`
trains it, and the gate decides).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.metrics import log_loss, log_loss_difference
from crmlab.registry import Registry
from crmlab.scores import Scoring

from .settled import outcome_counts

__all__ = ["NOT_COMPARABLE", "Challenge", "challenge", "last_champion_check"]

BETTER, WORSE, ALIKE, NOT_COMPARABLE = (
    "newer is better",
    "newer is worse",
    "no clear difference",
    "cannot be compared yet",
)
_DAY = pd.Timedelta(days=1)
_NEWER_DAYS = 28
_MOST_ROWS = 6_000
_CHECK = "not worse than the best ever"


@dataclass(frozen=True)
class Challenge:
    """What newer training rows would have brought.

    Attributes
    ----------
    outcome : newer is better, newer is worse, no clear difference, or cannot be compared yet.
    why : reason where it cannot be compared; else empty.
    member : part of the recipe that was compared.
    value, low, high : log loss of the newer less the older one (negative: newer is better), paired 95 % interval.
    older, newer, champion : log loss of either, and of the champion's tested twin as it was published.
    trained_to, newer_to, tested_from : last row of either training, first row tested. n, n_entities : tested.
    """

    outcome: str
    why: str = ""
    member: str = ""
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    older: float = np.nan
    newer: float = np.nan
    champion: float = np.nan
    trained_to: pd.Timestamp = pd.NaT
    newer_to: pd.Timestamp = pd.NaT
    tested_from: pd.Timestamp = pd.NaT
    n: int = 0
    n_entities: int = 0


def challenge(scoring: Scoring, twin: object, *, min_outcomes: int, n_bootstrap: int, seed: int) -> Challenge:
    """Compare older with newer training rows on the newest rows that hold enough outcomes.

    Parameters
    ----------
    twin : the champion's tested twin; None without a model.
    min_outcomes : entities with the outcome, and without, that the rows tested must hold.
    """
    if scoring.published is None:
        return Challenge(NOT_COMPARABLE, "no model has been published")
    ended = scoring.published.tested_meta.get("train", {}).get("to")
    if not isinstance(ended, str):
        return Challenge(NOT_COMPARABLE, "the rows of the source have no dates")
    rows, horizon = scoring.reference_rows, scoring.question.horizon_days * _DAY
    ended = pd.Timestamp(ended)
    start = _newest_start(rows, scoring.question.key, ended + horizon + _NEWER_DAYS * _DAY, min_outcomes)
    if start is None:
        why = f"fewer than {min_outcomes} cases with the outcome, or without, are new to both"
        return Challenge(NOT_COMPARABLE, why)
    return _compare(scoring, twin, ended, start - horizon, start, n_bootstrap, seed)


def _newest_start(rows: pd.DataFrame, key: str, earliest: pd.Timestamp, min_outcomes: int) -> pd.Timestamp | None:
    """Return the latest date from which on there are enough outcomes; None if there is none after `earliest`."""
    dates = np.sort(rows.loc[rows["as_of"] >= earliest, "as_of"].unique())[::-1]
    for date in dates:
        late = rows[rows["as_of"] >= date]
        if min(outcome_counts(late["label"].to_numpy("float64"), late[key].to_numpy())) >= min_outcomes:
            return pd.Timestamp(date)
    return None


def _compare(
    scoring: Scoring,
    twin: object,
    ended: pd.Timestamp,
    newer_to: pd.Timestamp,
    start: pd.Timestamp,
    n_bootstrap: int,
    seed: int,
) -> Challenge:
    rows, X, key = scoring.reference_rows, scoring.reference, scoring.question.key
    as_of, y = rows["as_of"], rows["label"].astype("float64").to_numpy()
    name, member = _strongest(twin)
    X = X[getattr(twin, "columns_", list(X.columns))]
    kept = _thinned(rows[key], (as_of <= newer_to).to_numpy(), seed)
    parts = [kept & (as_of <= end).to_numpy() for end in (ended, newer_to)]
    if any(len(np.unique(y[part])) < 2 for part in parts):
        return Challenge(NOT_COMPARABLE, "one kind of outcome only was known when the champion was trained")
    test = (as_of >= start).to_numpy()
    older, newer = (_fitted(member, X[part], y[part]).predict_proba(X[test])[:, 1] for part in parts)
    groups = rows.loc[test, key].to_numpy()
    value, low, high = log_loss_difference(y[test], newer, older, groups, n=n_bootstrap, seed=seed)
    outcome = BETTER if high < 0 else WORSE if low > 0 else ALIKE
    losses = [log_loss(y[test], p) for p in (older, newer, twin.predict_proba(X[test])[:, 1])]
    n_entities = len(pd.unique(groups))
    return Challenge(
        outcome, "", name, value, low, high, *losses, ended, newer_to, start, int(test.sum()), n_entities
    )  # fmt: skip


def _strongest(model: object) -> tuple[str, object]:
    weights = {name: w for name, w in getattr(model, "weights_", {}).items() if name in getattr(model, "members_", {})}
    if not weights:
        return "the model", model
    name = max(weights, key=lambda n: (weights[n], n))
    return name, model.members_[name]


def _fitted(member: object, X: pd.DataFrame, y: np.ndarray) -> object:
    from sklearn.base import clone

    return clone(member).fit(X, y.astype(int))


def _thinned(ids: pd.Series, chosen: np.ndarray, seed: int) -> np.ndarray:
    """Of the chosen rows, those of whole entities drawn until about 6,000 rows."""
    n = int(chosen.sum())
    if n <= _MOST_ROWS:
        return chosen
    names = np.sort(ids[chosen].unique().astype(object))
    drawn = np.random.default_rng(seed).choice(names, int(np.ceil(len(names) * _MOST_ROWS / n)), replace=False)
    return chosen & ids.isin(set(drawn)).to_numpy()


def last_champion_check(registry: Registry, *, as_of: str) -> tuple[str, str]:
    """Return date and words of the last verdict in the log up to a day about "not worse than the best ever".

    Empty where no verdict holds one.
    """
    for entry in reversed(registry.log.entries("verdict")):
        content = entry.content
        found = [c for c in content.get("checks", []) if c.get("check") == _CHECK]
        if found and str(content.get("as_of", "")) <= as_of:
            return str(content["as_of"]), _check_words(found[0])
    return "", ""


def _check_words(check: dict) -> str:
    if check.get("passed") is None:
        return "it could not be compared with earlier models"
    return "it held against the best ever" if check["passed"] else "the challenger was worse than the best ever"
