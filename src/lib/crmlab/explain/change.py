"""Why a score is another than last time: features, model, calibration and revised records, adding up exactly."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from crmlab.schema import DataError, RunError

from .contributions import contributions
from .reasons import words_of
from .rescale import log_odds, share_out
from .topics import OWNER, topics

__all__ = ["CHANGE_COLUMNS", "PARTS", "ScoreState", "change", "change_parts"]

PARTS = ("features", "model", "calibration", "data revisions")
CHANGE_COLUMNS = ("row", "part", "rank", "topic", "reason", "log_odds", "points")
_ROUNDING = 1e-9
_NOTHING = 1e-13
"""Log odds and probability below this are rounding, and have no line."""
_WORDS = {
    "model": "the model was fitted anew",
    "calibration": "the calibration was fitted anew",
    "data revisions": "records of that time were changed afterwards",
}
_STEEPEST = 0.25
"""Most that a probability moves per unit of log odds."""


@dataclass(frozen=True)
class ScoreState:
    """A model and the rows that it scored on one date.

    Parameters
    ----------
    model : fitted `models.ScoreModel`, or any classifier (then all of it is model and none of it calibration).
    X : features as of that date, built from today's records; index: entity ids, each once.
    p : (rows,) the probabilities given on that date, from the history of scores; None if they are X's.
    """

    model: object
    X: pd.DataFrame
    p: np.ndarray | None = None


def change_parts(old: ScoreState, new: ScoreState) -> pd.DataFrame:
    """Return what each part changed, one row per entity in both states.

    First the records: the score given then, against the score that the model of then gives today's records of that
    date (data revisions). From there to the new score three things differ: features, raw model, calibration. Each gets
    its mean effect over all orders of replacing them (their Shapley values), so no order is favoured, the parts sum
    exactly, and what did not change gets nothing.

    Returns
    -------
    Index: entity; columns p_old, p_new and per part `<part>` in percentage points and `<part> (log odds)`: the points
    sum to 100 · (p_new − p_old), the log odds to the difference of the logits.

    Raises
    ------
    DataError : an entity twice in a state. RunError : the model's parts do not give its probability.
    """
    old, new = _common(old, new)
    values = _values(old, new)
    stored = values[0, 0, 0] if old.p is None else np.asarray(old.p, "float64")
    found = pd.DataFrame({"p_old": stored, "p_new": values[1, 1, 1]}, index=old.X.index)
    for scale, name in ((_points, "{}"), (log_odds, "{} (log odds)")):
        parts = _shapley({key: scale(p) for key, p in values.items()})
        revised = scale(values[0, 0, 0]) - scale(stored)
        for part, effect in zip(PARTS, (*parts, revised), strict=True):
            found[name.format(part)] = effect
    return found


def change(old: ScoreState, new: ScoreState, catalog: pd.DataFrame, *, n: int = 5) -> pd.DataFrame:
    """Return why each score changed, in lines: the `n` topics that moved it most, and the other parts.

    The features' part is split by the difference of contributions (mean of both models); where the models differ, the
    rest is shared out by size. A topic is worded by its feature that moved most, with the value before.

    Returns
    -------
    Long frame: row (entity), part, rank, topic, reason, log_odds, points. A row's lines sum to the change of its logit
    and of its percentage. Parts that changed nothing have no line.
    """
    parts = change_parts(old, new)
    old, new = _common(old, new)
    lines = [_topic_lines(old, new, parts, catalog, n)]
    for order, part in enumerate(PARTS[1:], start=1):
        log, points = parts[f"{part} (log odds)"].to_numpy(), parts[part].to_numpy()
        at = np.flatnonzero((np.abs(log) > _NOTHING) | (np.abs(points) > 100 * _NOTHING))
        told = {"place": at, "order": order, "part": part, "rank": 0, "topic": part, "reason": _WORDS[part]}
        lines.append(pd.DataFrame({**told, "log_odds": log[at], "points": points[at]}))
    frame = pd.concat([part for part in lines if len(part)] or lines[:1], ignore_index=True)
    frame = frame.sort_values(["place", "order", "rank"], kind="stable", ignore_index=True)
    frame["row"] = parts.index.take(frame["place"].to_numpy("int64"))
    return frame[list(CHANGE_COLUMNS)]


def _common(old: ScoreState, new: ScoreState) -> tuple[ScoreState, ScoreState]:
    """Return both states with the entities that stand in both, in the order of the new one."""
    for when, state in (("old", old), ("new", new)):
        if twice := state.X.index[state.X.index.duplicated()].unique().to_list():
            raise DataError(
                f"An entity stands twice in the {when} state.",
                found=", ".join(map(str, twice[:5])),
                remedy="keep one row per entity and date.",
            )
    ids = new.X.index[new.X.index.isin(old.X.index)]
    return _kept(old, ids), _kept(new, ids)


def _kept(state: ScoreState, ids: pd.Index) -> ScoreState:
    at = state.X.index.get_indexer(ids)
    return ScoreState(state.model, state.X.iloc[at], None if state.p is None else np.asarray(state.p)[at])


def _values(old: ScoreState, new: ScoreState) -> dict[tuple[int, int, int], np.ndarray]:
    """Return the probability for each choice (features, model, calibration) of old (0) and new (1)."""
    states = (old, new)
    raw = {(f, m): _raw(states[m].model, states[f].X) for f, m in product((0, 1), repeat=2)}
    values = {(f, m, c): _calibrated(states[c].model, raw[f, m]) for f, m, c in product((0, 1), repeat=3)}
    for k, state in enumerate(states):
        gap = np.abs(values[k, k, k] - state.model.predict_proba(state.X)[:, 1]).max(initial=0.0)
        if gap > _ROUNDING:
            raise RunError(
                "The model's raw probability and its calibrator do not give its probability.",
                found=f"a gap of {gap:.2g}",
                remedy="`predict_proba` must be `calibrator_.transform(raw_probability)`.",
            )
    return values


def _raw(model: object, X: pd.DataFrame) -> np.ndarray:
    return model.raw_probability(X) if hasattr(model, "raw_probability") else model.predict_proba(X)[:, 1]


def _calibrated(model: object, p: np.ndarray) -> np.ndarray:
    calibrator = getattr(model, "calibrator_", None)
    return p if calibrator is None else calibrator.transform(p)


def _points(p: np.ndarray) -> np.ndarray:
    return 100 * np.asarray(p)


def _shapley(values: dict[tuple[int, int, int], np.ndarray]) -> list[np.ndarray]:
    """Return the Shapley value of each of three parts; `values`: which are new → the outcome."""
    weights = {0: 1 / 3, 1: 1 / 6, 2: 1 / 3}
    effects = []
    for part in range(3):
        with_part = {key: p for key, p in values.items() if key[part]}
        before = {key: tuple(0 if i == part else k for i, k in enumerate(key)) for key in with_part}
        steps = [weights[sum(before[key])] * (p - values[before[key]]) for key, p in with_part.items()]
        effects.append(sum(steps))
    return effects


def _topic_lines(old: ScoreState, new: ScoreState, parts: pd.DataFrame, catalog: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the features' part by topic: the n largest of each row, then the rest as one line."""
    moved = _moved(old, new)
    topic = topics(moved.columns.to_list())
    names = pd.unique(topic.to_numpy(object))
    log = moved.to_numpy() @ (topic.to_numpy(object)[:, None] == names)
    part_log, part_points = parts["features (log odds)"].to_numpy(), parts["features"].to_numpy()
    log = share_out(log, part_log)
    slope = 100 * parts["p_new"].to_numpy() * (1 - parts["p_new"].to_numpy())  # where topics cancel each other
    factor = np.divide(part_points, part_log, out=slope, where=np.abs(part_log) > _ROUNDING)
    points = share_out(log * np.clip(factor, 0, 100 * _STEEPEST)[:, None], part_points)
    best = np.argsort(-np.abs(log), axis=1, kind="stable")[:, :n]
    rank = np.broadcast_to(np.arange(1, best.shape[1] + 1), best.shape)
    keep = np.take_along_axis(log, best, axis=1) != 0
    place, column = np.nonzero(keep)[0], best[keep]
    told = {"place": place, "order": 0, "part": PARTS[0], "rank": rank[keep], "topic": names[column]}
    chosen = pd.DataFrame({**told, "log_odds": log[place, column], "points": points[place, column]})
    chosen = chosen.assign(reason=_worded(chosen, moved, topic, old.X, new.X, catalog))
    return pd.concat([chosen, _others(chosen, part_log, part_points)], ignore_index=True)


def _moved(old: ScoreState, new: ScoreState) -> pd.DataFrame:
    """Return the difference of the contributions of new and old features, mean of the two models."""
    models = [old.model] if old.model is new.model else [old.model, new.model]
    shifts = []
    for model in models:
        before, after = contributions(model, old.X), contributions(model, new.X)
        shifts.append((after.values - before.values) / len(models))
    columns = list(dict.fromkeys(column for shift in shifts for column in shift))
    return sum(shift.reindex(columns=columns, fill_value=0.0) for shift in shifts)


def _worded(
    chosen: pd.DataFrame,
    moved: pd.DataFrame,
    topic: pd.Series,
    old: pd.DataFrame,
    new: pd.DataFrame,
    catalog: pd.DataFrame,
) -> np.ndarray:
    """Return each topic in the words of the feature that moved it most, with the value before."""
    names, reason = moved.columns.to_numpy(object), np.full(len(chosen), None, dtype=object)
    lead = np.empty(len(chosen), object)
    for name, lines in chosen.groupby("topic").indices.items():
        members = np.flatnonzero(topic.to_numpy() == name)
        size = np.abs(moved.to_numpy()[np.ix_(chosen["place"].to_numpy("int64")[lines], members)])
        lead[lines] = names[members[size.argmax(axis=1)]]
    words = words_of(pd.Series(lead, dtype="str"), catalog)
    for line, (feature, place) in enumerate(zip(lead, chosen["place"], strict=True)):
        now, then = new[feature].iloc[place], old[feature].iloc[place]
        reason[line] = _one_reason(words[feature], now, then, hidden=chosen["topic"].iloc[line] == OWNER)
    return reason


def _one_reason(words: object, now: object, then: object, *, hidden: bool) -> str:
    same = now == then or (pd.isna(now) and pd.isna(then))
    if hidden:
        return OWNER
    return f"{words(now, then, 'before')}{': counts differently beside the rest' if same else ''}"


def _others(chosen: pd.DataFrame, part_log: np.ndarray, part_points: np.ndarray) -> pd.DataFrame:
    rows = np.arange(len(part_log))
    told = chosen.groupby("place")[["log_odds", "points"]].sum().reindex(rows, fill_value=0.0)
    log, points = part_log - told["log_odds"].to_numpy(), part_points - told["points"].to_numpy()
    at = np.flatnonzero((np.abs(log) > _NOTHING) | (np.abs(points) > 100 * _NOTHING))
    line = {"place": at, "order": 0, "part": PARTS[0], "rank": 1_000, "topic": "other features"}
    return pd.DataFrame({**line, "log_odds": log[at], "points": points[at], "reason": "other features"})
