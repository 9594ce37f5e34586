"""What the scores of a date say, in sentences from values."""

import numpy as np
import pandas as pd

from crmlab.explain import changes_sentence
from crmlab.snapshots import as_entity, nouns_of

from .study import Changes, Scoring

__all__ = [
    "band_sentence",
    "change_sentence",
    "effort_sentence",
    "margin_sentence",
    "override_sentence",
    "scores_sentence",
    "scores_tone",
    "wrong_data_sentence",
]

_SPACE = "\u00a0"
_WORTH_A_LOOK = 0.01
_LOOKED_AT_ONCE = ("creation", "first_quote")


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}{_SPACE}%"


def _many(scoring: Scoring) -> str:
    return nouns_of(as_entity(scoring.question.entity)).many


def scores_tone(scoring: Scoring) -> str:
    """Return the tone of the headline: good, or caution where there are no scores or no more than an upper bound."""
    if scoring.published is None or scoring.scores.empty:
        return "caution"
    return "good" if scoring.published.published_as == "probability" else "caution"


def scores_sentence(scoring: Scoring) -> str:
    """Say whom the scores put first and what may be expected of them; or why there are no scores."""
    many, n = _many(scoring), len(scoring.rows)
    if scoring.published is None:
        asked = f" What is missing: {scoring.missing.rstrip('.')}." if scoring.missing else ""
        return (
            f"No scores: not enough evidence. {n:,} open {many} wait, and no model has passed the gate: "
            f"{scoring.reason.rstrip('.')}.{asked}"
        )
    if scoring.scores.empty:
        late = f"; {scoring.n_expired:,} were looked at longer ago than the horizon" if scoring.n_expired else ""
        return f"No {many} are open to be scored on this date{late}."
    p = scoring.scores["p"]
    once = scoring.question.snapshots in _LOOKED_AT_ONCE
    bound = "" if scoring.published.published_as == "probability" else " They are an upper bound, not a promise."
    return (
        f"{n:,} open {many} are scored for {scoring.question.outcome}, from {_percent(p.min(), 1)} to "
        f"{_percent(p.max(), 1)}" + (_of_a_look(scoring) if once else f"; {p.sum():.0f} are expected to come true.")
    ) + f"{_best(scoring)}{bound}"


def _of_a_look(scoring: Scoring) -> str:
    """Scores of a single look are about that moment; nobody knows them anew for what has passed since."""
    look = {"creation": "creation", "first_quote": "first quote"}[scoring.question.snapshots]
    late = scoring.n_expired
    gone = f" {late:,} more were looked at so long ago that the horizon has passed." if late else ""
    return f", each as it stood at its {look}: the horizon counts from there.{gone}"


def _nothing(scoring: Scoring) -> str:
    return "No model has passed the gate, so nothing is shown here." if scoring.published is None else ""


def _best(scoring: Scoring) -> str:
    if scoring.priority.reason:
        return f" {scoring.priority.reason}"
    top = scoring.bands().iloc[0]
    return (
        f" The {top['n']:,} of very high priority begin at {_percent(top['p_low'])} and hold "
        f"{_percent(top['expected_share'])} of what is expected."
    )


def band_sentence(scoring: Scoring) -> str:
    """Say what came of the bands on past rows."""
    if nothing := _nothing(scoring):
        return nothing
    bands = scoring.past_bands()
    known = bands[bands["n"] > 0]
    if known.empty or known["observed"].isna().all():
        return "There are no past rows that the tested model had not seen, so nothing can be said about earlier bands."
    first, last = known.iloc[0], known.iloc[-1]
    return (
        f"On {known['n'].sum():,} past rows that the tested model had not learned from, {_percent(first['observed'])} "
        f"of “{first['band']}” came true against {_percent(last['observed'], 1)} of “{last['band']}”; "
        f"the first held {_percent(first['observed_share'])} of all outcomes."
    )


def override_sentence(scoring: Scoring) -> str:
    """Say who was right where score and owner disagreed."""
    if nothing := _nothing(scoring):
        return nothing
    table = scoring.who_was_right()
    by = table.set_index("who_expected_more")
    if not by.loc["all", "rows"]:
        return "Owners enter no probability of their own here, so nothing can be compared with the scores."
    said = [_who(by.loc[word], word) for word in ("owner", "score") if by.loc[word, "rows"]]
    better = "score" if by.loc["all", "brier_score"] < by.loc["all", "brier_owner"] else "owner"
    n = int(by.loc["all", "rows"])
    return (
        f"{' '.join(said)} Over all {n:,} past rows the {better} had the smaller squared error. "
        "An owner's number has no horizon, so part of the gap may be a difference of question."
    )


def _who(row: pd.Series, word: str) -> str:
    other = "score" if word == "owner" else "owner"
    means = {"owner": row["owner_mean"], "score": row["p_mean"]}
    return (
        f"Where the {word} had expected clearly more ({_percent(means[word])} against the {other}'s "
        f"{_percent(means[other])}; {int(row['cases']):,} cases), {_percent(row['observed'])} came true."
    )


def margin_sentence(scoring: Scoring) -> str:
    """Say how far the order by expected margin differs from the order by score."""
    if nothing := _nothing(scoring):
        return nothing
    scores = scoring.scores
    known = scores["expected_margin"].notna()
    if not known.any():
        return "Nothing is known of amounts and margins here, so the order is that of the scores."
    if scores.loc[known, "expected_margin"].rank().equals(scores.loc[known, "p"].rank()):
        return "Each is worth the same here, so the order by expected margin is that of the scores."
    n = min(20, len(scores))
    both = ((scores["score_rank"] <= n) & (scores["margin_rank"] <= n)).sum()
    gaps = f" {(~known).sum():,} lack amount or margin and stand last." if (~known).any() else ""
    return (
        f"€{scores['expected_margin'].sum():,.0f} of margin are expected in all; of the {n} first by expected margin "
        f"{both} are among the {n} first by score.{gaps}"
    )


def effort_sentence(scoring: Scoring) -> str:
    """Say what won cases still took, or why that cannot be said."""
    if nothing := _nothing(scoring):
        return nothing
    if isinstance(scoring.effort_history, str):
        return scoring.effort_history
    every = scoring.effort_history.cells
    cell = every[every["where"] == "any"].iloc[0]
    contacts = (
        f" and {cell['contacts_left']:.0f} own contacts ({cell['contacts_low']:.0f} to {cell['contacts_high']:.0f})"
        if np.isfinite(cell["contacts_left"])
        else ""
    )
    return (
        f"Won cases took another {cell['days_left']:.0f} days ({cell['days_low']:.0f} to {cell['days_high']:.0f} for "
        f"eight in ten){contacts} from the day they were looked at; {cell['n']:,} of them are known. "
        "It is an estimate from history, and holds only for those that are won."
    )


def change_sentence(scoring: Scoring, changes: Changes) -> str:
    """Say how far scores moved since last time, and through what."""
    if nothing := _nothing(scoring):
        return nothing
    if changes.table.empty:
        return "There is no earlier score to compare with; from the next run on, changes are explained here."
    day = f"{changes.since:%Y-%m-%d}"
    what = (
        f"Against the scores given for {day}:"
        if changes.stored
        else f"No earlier scores are stored; this is what today's model would have said on {day}:"
    )
    return f"{what} {changes_sentence(changes.parts)}"


def wrong_data_sentence(scoring: Scoring, table: pd.DataFrame) -> str:
    """Say how many scores may be low because of wrong data; `table`: frame of `wrong_data_list`."""
    if nothing := _nothing(scoring):
        return nothing
    if table.empty:
        return "No score shows a sign of wrong data."
    much = (table["could_gain"] >= _WORTH_A_LOOK).sum()
    top = table.iloc[0]
    best = (
        f" The most, {100 * top['could_gain']:.1f} points, where {top['looks_wrong'].split('; ')[0]}." if much else ""
    )
    return (
        f"{len(table):,} of the scored show a sign of wrong data; for {much:,} of them a typical value in its place "
        f"would raise the score by a percentage point or more.{best}"
    )
