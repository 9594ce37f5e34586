"""The owner's own number, kept apart from the score: where the two disagree, and who was right before."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.intervals import share_interval
from crmlab.privacy import scrub
from crmlab.schema import DataError, ParameterError
from crmlab.snapshots import Question, nouns_of, open_rows

from .bands import check_probabilities
from .history import ScoreHistory

__all__ = ["disagreements", "record_override", "who_was_right", "with_overrides"]

_GAP = 0.2
_COLUMNS = {
    "who_expected_more": "str",
    "rows": "int64",
    "cases": "int64",
    "p_mean": "float64",
    "owner_mean": "float64",
    "observed": "float64",
    "observed_low": "float64",
    "observed_high": "float64",
    "brier_score": "float64",
    "brier_owner": "float64",
    "score_closer": "float64",
}


def record_override(
    crm: Crm,
    question: Question,
    history: ScoreHistory,
    *,
    entity_id: str,
    as_of: str,
    override: float,
    given_by: str,
    reason: str,
) -> int:
    """Write down that a person believes another number of an open lead or deal, and return its entry number.

    Parameters
    ----------
    as_of : date on which it is believed; empty for a source without dates.
    override, given_by : probability, 0 to 1, and pseudonym of the rep. reason : personal data are taken out of it.

    Raises
    ------
    DataError : nothing of that name is open on the date, or the number is no probability.
    ParameterError : the pseudonym is a name or address of a person.
    """
    there = open_rows(crm, question, as_of=as_of)[question.key]
    if entity_id not in set(there):
        noun = nouns_of(question.entity)
        raise DataError(
            f"There is no open {noun.one} `{entity_id}` on {as_of or 'the list'}.",
            found=f"{len(there):,} open {noun.many}",
            remedy="take the id from the list of scores.",
        )
    if " " in given_by.strip() or "@" in given_by or not given_by.strip():
        raise ParameterError("Say who by pseudonym, never by name.", remedy="write the rep's id, as the CRM keeps it.")
    told = str(scrub(pd.Series([reason], dtype="str"))[0])
    own = {"override": override, "given_by": given_by.strip(), "reason": told}
    return history.add_override(question=question.slug, entity_id=entity_id, as_of=as_of, **own)


def with_overrides(scores: pd.DataFrame, overrides: pd.DataFrame) -> pd.DataFrame:
    """Return the scores with the columns override, override_by, override_reason beside them; no score is touched.

    Parameters
    ----------
    overrides : newest override of each entity (`ScoreHistory.overrides`): entity_id, override, given_by, reason.
    """
    beside = overrides[["entity_id", "override", "given_by", "reason"]]
    beside = beside.rename(columns={"given_by": "override_by", "reason": "override_reason"})
    return scores.merge(beside, on="entity_id", how="left", validate="1:1")


def disagreements(scores: pd.DataFrame, *, limit: int = 20) -> pd.DataFrame:
    """Return the rows where score and owner are furthest apart, at most `limit`.

    Returns
    -------
    Frame: entity_id, p, p_low, p_high, owner_probability, owner_gap (score minus owner), amount, and outside: whether
    the owner's number lies outside the score's interval (missing without an interval).

    An owner's number usually has no horizon: it says "at some time", while a score may say "within 90 days". A gap
    below zero is then partly a difference of question.
    """
    both = scores[scores["owner_gap"].notna()]
    order = both["owner_gap"].abs().sort_values(ascending=False, kind="stable").index[:limit]
    found = both.loc[order, ["entity_id", "p", "p_low", "p_high", "owner_probability", "owner_gap", "amount"]]
    outside = (found["owner_probability"] < found["p_low"]) | (found["owner_probability"] > found["p_high"])
    outside = outside.astype("boolean").mask(found["p_low"].isna())
    return found.assign(outside=outside).reset_index(drop=True)


def who_was_right(
    y: np.ndarray, p: np.ndarray, owner: np.ndarray, groups: np.ndarray, *, gap: float = _GAP
) -> pd.DataFrame:
    """Return how past rows ended, by who had expected more.

    Parameters
    ----------
    y : (n,) outcomes, 0 or 1. p : (n,) scores of a model that had not learned from these rows. owner : (n,) the
        owner's probability on the same date, missing where none was entered (left out). groups : (n,) entities.
    gap : difference from which on the two disagree.

    Returns
    -------
    Frame, one row each for owner, score, neither, and all: who_expected_more, rows, cases, p_mean, owner_mean, observed
    (share that came true) with its 95 % interval (Wilson over cases, not rows), Brier score of both (lower is better),
    score_closer (share of rows where the score was nearer to the outcome).
    """
    p, owner, y = check_probabilities(p), check_probabilities(owner), np.asarray(y, dtype=float)
    known = ~np.isnan(owner) & ~np.isnan(p) & ~np.isnan(y)
    p, owner, y, groups = p[known], owner[known], y[known], np.asarray(groups, dtype=object)[known]
    more = p - owner
    parts = {"owner": more <= -gap, "score": more >= gap, "neither": np.abs(more) < gap, "all": np.ones(len(p), bool)}
    rows = [(word, *_part(y[here], p[here], owner[here], groups[here])) for word, here in parts.items()]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _part(y: np.ndarray, p: np.ndarray, owner: np.ndarray, groups: np.ndarray) -> tuple:
    if not len(y):
        return (0, 0, *[np.nan] * (len(_COLUMNS) - 3))
    cases = len(pd.unique(pd.Series(groups)))
    low, high = share_interval(y.mean() * cases, cases)
    closer = np.mean(np.abs(y - p) < np.abs(y - owner))
    brier = [float(np.mean((y - q) ** 2)) for q in (p, owner)]
    return (len(y), cases, p.mean(), owner.mean(), y.mean(), low, high, *brier, closer)
