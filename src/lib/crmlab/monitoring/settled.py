"""Scores whose horizon has passed, beside what came of them: scores really given, or a replay in their place.

The two are never mixed. *Scores given* come from the append-only history: what people saw on that day. A *replay* asks
the tested twin of the published model about rows that it had not learned from, dated as they would have been given; it
stands in while the history is young, and every table and sentence says which of the two it shows.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.scores import CutPoints, ScoreHistory, Scoring, contact_priority
from crmlab.snapshots import Question, as_entity, label_snapshots
from crmlab.snapshots.build import timeline_of

__all__ = ["GIVEN", "REPLAY", "SETTLED_COLUMNS", "Settled", "outcome_counts", "replayed_scores", "settled_scores"]

GIVEN = "scores given"
REPLAY = "replay"
SETTLED_COLUMNS = {
    "entity_id": "str",
    "as_of": "datetime64[us]",
    "scored_as_of": "datetime64[us]",
    "model_id": "str",
    "p": "float64",
    "band": "str",
    "grade": "str",
    "class_1_5": "Int64",
    "label": "float64",
}
_FRESH_DAYS = 7
_ROWS_OF_A_DATE = 100
_DAY = pd.Timedelta(days=1)
_LOOKED_AT_OFTEN = ("weekly", "monthly")


@dataclass(frozen=True)
class Settled:
    """Scores and what came of them.

    Attributes
    ----------
    rows : columns of `SETTLED_COLUMNS`, one row per entity and date; label is 1 or 0.
    basis : `GIVEN` or `REPLAY`.
    n_waiting : scores given whose horizon has not passed.
    n_late : scores of a single look that were given more than 7 days after it. Whoever had ended in between was never
        scored, so the rest ends badly more often than the score says; they are left out.
    n_gone : scores of entities that the CRM no longer holds.
    cuts : promised ranges of grades and classes; None where the scores carry their own words only.
    """

    rows: pd.DataFrame = field(repr=False)
    basis: str
    n_waiting: int = 0
    n_late: int = 0
    n_gone: int = 0
    cuts: CutPoints | None = None

    @property
    def y(self) -> np.ndarray:
        """Outcome of each row, 0 or 1."""
        return self.rows["label"].to_numpy("float64")

    @property
    def p(self) -> np.ndarray:
        """Score of each row."""
        return self.rows["p"].to_numpy("float64")

    @property
    def groups(self) -> np.ndarray:
        """Entity of each row, as numbers."""
        return pd.factorize(self.rows["entity_id"])[0]

    def enough(self, min_outcomes: int) -> bool:
        """Whether there are so many entities with the outcome, and so many without."""
        return min(outcome_counts(self.y, self.groups)) >= min_outcomes

    def of(self, chosen: np.ndarray) -> "Settled":
        """Return a part of the rows."""
        return Settled(self.rows[chosen].reset_index(drop=True), self.basis, cuts=self.cuts)


def outcome_counts(y: np.ndarray, groups: np.ndarray) -> tuple[int, int]:
    """Return the number of entities with the outcome in any row, and of those without it in every row."""
    if not len(y):
        return 0, 0
    came = pd.Series(y).groupby(np.asarray(groups)).max()
    return int((came > 0).sum()), int((came == 0).sum())


def settled_scores(crm: Crm, question: Question, history: ScoreHistory, *, as_of: str) -> Settled:
    """Return every score given whose horizon has passed by `as_of`, with its outcome.

    Where several models scored one date, the batch written last counts: it is what people saw.

    Parameters
    ----------
    history : of all questions. Scores dated after `as_of` do not count.
    """
    given = _given(history, question, as_of)
    if given.empty:
        return Settled(_conform(given), GIVEN)
    given, n_late = _one_look(given, question)
    timeline = timeline_of(
        crm, as_entity(question.entity), as_of=as_of, horizon_days=question.horizon_days, every=question.snapshots
    )
    rows = given.rename(columns={"entity_id": question.key})
    known = timeline.codes(rows) >= 0
    rows = label_snapshots(rows[known], timeline, as_of=as_of, horizon_days=question.horizon_days)
    passed = rows["as_of"] + question.horizon_days * _DAY <= as_instant(as_of)
    settled = rows[rows["mature"] & rows["label"].notna()].rename(columns={question.key: "entity_id"})
    return Settled(_conform(settled), GIVEN, int((~passed).sum()), n_late, int((~known).sum()))


def _given(history: ScoreHistory, question: Question, as_of: str) -> pd.DataFrame:
    dates = history.batches(question.slug)["scored_as_of"].dropna().drop_duplicates().sort_values()
    dates = dates[dates <= as_instant(as_of)]
    batches = [history.at(question.slug, as_of=date) for date in dates]
    return pd.concat(batches, ignore_index=True) if batches else pd.DataFrame(columns=list(SETTLED_COLUMNS))


def _one_look(given: pd.DataFrame, question: Question) -> tuple[pd.DataFrame, int]:
    """Of a single look only the first score counts, and only if it came soon after."""
    if question.snapshots in _LOOKED_AT_OFTEN:
        return given, 0
    first = given.drop_duplicates("entity_id")
    late = first["scored_as_of"] - first["as_of"] > _FRESH_DAYS * _DAY
    return first[~late].reset_index(drop=True), int(late.sum())


def replayed_scores(scoring: Scoring) -> Settled:
    """Return what the tested twin says of rows later than its training, as scores given on their dates.

    Contact priority is formed on each date; where fewer than 100 rows share one, over all rows.
    """
    past = scoring.past.sort_values(["as_of", scoring.question.key], kind="stable", ignore_index=True)
    p = past["p"].to_numpy("float64")
    rows = past.rename(columns={scoring.question.key: "entity_id"})
    rows = rows.assign(scored_as_of=rows["as_of"], model_id=scoring.published.tested_id if scoring.published else None)
    if scoring.cuts is not None and len(rows):
        rows = rows.assign(grade=scoring.cuts.grade(p), class_1_5=scoring.cuts.class_1_5(p))
    return Settled(_conform(rows.assign(band=_bands(past))), REPLAY, cuts=scoring.cuts)


def _bands(past: pd.DataFrame) -> pd.Series:
    if past.empty:
        return pd.Series(index=past.index, dtype="str")
    per_date = past.groupby("as_of")["p"].transform("size") >= _ROWS_OF_A_DATE
    if per_date.mean() < 0.5:
        return contact_priority(past["p"].to_numpy()).bands.set_axis(past.index)
    parts = [contact_priority(part["p"].to_numpy()).bands.set_axis(part.index) for _, part in past.groupby("as_of")]
    return pd.concat(parts).reindex(past.index)


def _conform(rows: pd.DataFrame) -> pd.DataFrame:
    absent = {c: pd.Series(index=rows.index, dtype=kind) for c, kind in SETTLED_COLUMNS.items() if c not in rows}
    return rows.assign(**absent)[list(SETTLED_COLUMNS)].astype(SETTLED_COLUMNS).reset_index(drop=True)
