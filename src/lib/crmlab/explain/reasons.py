"""The reasons for and against a score in words, with the rest named, so that every table adds up to its score."""

import numpy as np
import pandas as pd

from .contributions import Contributions
from .topics import OWNER, topics
from .words import Words, feature_words, plain_text, typical_values

__all__ = ["AGAINST", "BASE", "ELSE", "FOR", "REASON_COLUMNS", "reasons", "words_of"]

BASE, FOR, AGAINST, ELSE = "base", "for", "against", "everything else"
REASON_COLUMNS = ("row", "direction", "rank", "topic", "reason", "feature", "value", "typical", "log_odds", "points")
_START = "starting point: the model's mean, before it looks at this one"


def reasons(
    contributions: Contributions,
    X: pd.DataFrame,
    catalog: pd.DataFrame,
    *,
    typical: pd.Series | None = None,
    n: int = 5,
    at_least: float = 0.005,
) -> pd.DataFrame:
    """Return up to `n` reasons for and `n` against each score, in words.

    Features of one topic (all windows of calls, all amounts) are one reason: the exact sum of their contributions,
    worded by the feature that pulls hardest in that direction. What identifies or describes people in charge is one
    reason without figures.

    Parameters
    ----------
    contributions : of `contributions(model, X)`. X : the same rows, features as the model saw them.
    catalog : frame of `features.feature_catalog`; features that are not in it are called by their names.
    typical : what to compare with, see `typical_values` (take the training rows); without, that of X itself.
    n : most reasons of each direction.
    at_least : log odds; what moves a score less is left to "everything else".

    Returns
    -------
    Long frame, the lines of a row together and in the order of X: row (label of X's index), direction (base, for,
    against, everything else), rank, topic, reason, feature, value, typical, log_odds, points (percentage points).
    The log odds of a row's lines sum to its logit, the points to 100 · p.
    """
    typical = typical_values(X) if typical is None else typical
    topic = topics(contributions.values.columns.to_list())
    groups = contributions.grouped(topic)
    chosen = _chosen(groups, n, at_least)
    chosen["feature"] = _leading(contributions, groups, topic, chosen)
    chosen = _in_words(chosen, X, catalog, typical)
    lines = pd.concat([_base_lines(groups), chosen, _rest_lines(groups, chosen)], ignore_index=True)
    lines = lines.sort_values(["place", "order", "rank"], kind="stable", ignore_index=True)
    lines["row"] = contributions.values.index.take(lines["place"])
    return lines[list(REASON_COLUMNS)]


def _chosen(groups: Contributions, n: int, at_least: float) -> pd.DataFrame:
    """Return place, direction, rank, topic, log odds and points of the strongest topics of each row."""
    L, P = groups.values.to_numpy(), groups.points().to_numpy()
    parts = []
    for order, (direction, sign) in enumerate(((FOR, 1.0), (AGAINST, -1.0)), start=1):
        best = np.argsort(-sign * L, axis=1, kind="stable")[:, :n]
        rank = np.broadcast_to(np.arange(1, best.shape[1] + 1), best.shape)
        keep = np.take_along_axis(sign * L, best, axis=1) >= max(at_least, np.finfo(float).tiny)
        place, column = np.nonzero(keep)[0], best[keep]
        found = {"place": place, "order": order, "direction": direction, "rank": rank[keep], "column": column}
        parts.append(pd.DataFrame({**found, "log_odds": L[place, column], "points": 100 * P[place, column]}))
    chosen = pd.concat(parts, ignore_index=True)
    return chosen.assign(topic=groups.values.columns.to_numpy(object)[chosen["column"]])


def _leading(values: Contributions, groups: Contributions, topic: pd.Series, chosen: pd.DataFrame) -> np.ndarray:
    """Return, for each line, the feature of its topic that pulls hardest in the topic's direction."""
    names, found = values.values.columns.to_numpy(object), np.empty(len(chosen), object)
    V, topic = values.values.to_numpy(), topic.to_numpy()
    for column, lines in chosen.groupby("column").indices.items():
        members = np.flatnonzero(topic == groups.values.columns[column])
        pull = V[np.ix_(chosen["place"].to_numpy()[lines], members)] * np.sign(
            chosen["log_odds"].to_numpy()[lines, None]
        )
        found[lines] = names[members[pull.argmax(axis=1)]]
    return found


def _in_words(chosen: pd.DataFrame, X: pd.DataFrame, catalog: pd.DataFrame, typical: pd.Series) -> pd.DataFrame:
    """Add reason, value and typical value; about owners no figures."""
    words = words_of(chosen["feature"], catalog)
    reason, value, usual = (np.full(len(chosen), None, dtype=object) for _ in range(3))
    for feature, lines in chosen.groupby("feature").indices.items():
        cells = X[feature].iloc[chosen["place"].to_numpy()[lines]]
        codes, levels = pd.factorize(cells, use_na_sentinel=False)
        said = np.array([words[feature](level, typical.get(feature, np.nan)) for level in levels], dtype=object)
        reason[lines] = said[codes]
        if chosen["topic"].iloc[lines[0]] != OWNER:
            shown = np.array([plain_text(x) if isinstance(x, str) else x for x in levels], dtype=object)
            value[lines], usual[lines] = shown[codes], typical.get(feature, np.nan)
    hidden = chosen["topic"] == OWNER
    feature = chosen["feature"].astype(object).mask(hidden, None)
    return chosen.assign(feature=feature, reason=reason, value=value, typical=usual)


def words_of(features: pd.Series, catalog: pd.DataFrame) -> dict[str, Words]:
    """Return what makes words of each of these features; those outside the catalog are called by their names."""
    known = catalog[catalog["feature"].isin(features)]
    missing = sorted(set(features) - set(known["feature"]))
    return feature_words(pd.concat([known, pd.DataFrame({"feature": missing}, dtype="str")]))


def _base_lines(groups: Contributions) -> pd.DataFrame:
    lines = {"place": np.arange(len(groups.logit)), "order": 0, "direction": BASE, "rank": 0, "topic": BASE}
    return pd.DataFrame({**lines, "reason": _START, "log_odds": groups.base, "points": 100 * groups.base_p})


def _rest_lines(groups: Contributions, chosen: pd.DataFrame) -> pd.DataFrame:
    """Return what is left of each score, as the exact difference."""
    rows = np.arange(len(groups.logit))
    told = chosen.groupby("place")[["log_odds", "points"]].sum().reindex(rows, fill_value=0.0)
    n = groups.values.shape[1] - chosen.groupby("place").size().reindex(rows, fill_value=0).to_numpy()
    reason = [f"everything else ({k} smaller {'reason' if k == 1 else 'reasons'})" for k in n]
    lines = {"place": rows, "order": 3, "direction": ELSE, "rank": 0, "topic": ELSE, "reason": reason}
    log_odds = groups.logit - groups.base - told["log_odds"].to_numpy()
    points = 100 * (groups.p - groups.base_p) - told["points"].to_numpy()
    return pd.DataFrame({**lines, "log_odds": log_odds, "points": points})
