"""One row per open lead or deal: its probability with interval, in words, and in euro."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.schema import ENTITY_KEYS, DataError
from crmlab.snapshots import entity_of

from .bands import CutPoints, check_probabilities, contact_priority, percent

__all__ = ["closed_won", "deal_values", "margin_ranking", "score_rows"]

_AMOUNTS = ("amount", "quote_amount", "amount_at_creation")
_SHOWN = [
    "entity_id", "p", "p_low", "p_high", "amount", "margin_rate", "expected_margin", "margin_rank", "score_rank",
]  # fmt: skip


def score_rows(
    model: object,
    X: pd.DataFrame,
    rows: pd.DataFrame,
    *,
    interval: object | None = None,
    cuts: CutPoints | None = None,
    customers: np.ndarray | None = None,
    conversion_value: float | None = None,
) -> pd.DataFrame:
    """Return the scores of open leads or deals.

    Parameters
    ----------
    model : fitted, with `predict_proba(X)`; a `raw_probability(X)` gives the score before calibration.
    X : features of the rows, row for row. rows : key column and as_of, one row an entity (`snapshots.open_rows`).
    interval : object with `interval(p) -> (low, high)`; an interval that does not hold its score is widened to it.
    cuts : cut points stored with the model; without them there are no grades and classes.
    customers : (n,) whether the contact is a customer already (`closed_won`); apart from the bands.
    conversion_value : euro of margin that a converted lead brings; for leads only.

    Returns
    -------
    Frame, in the order of `rows`: entity, entity_id, as_of, p_raw, p, p_low, p_high, percent, band, grade, class_1_5,
    owner_probability and owner_gap (score minus owner; the score is never mixed with it), amount, margin_rate,
    expected_margin (probability times margin in euro; missing where amount or margin rate is), score_rank and
    margin_rank (1 is best; equal values share the better rank).

    Raises
    ------
    DataError : features and rows differ in number, or an entity comes twice.
    """
    entity = entity_of(rows)
    ids = rows[ENTITY_KEYS[entity]].reset_index(drop=True)
    _check_rows(X, ids)
    X = X.reset_index(drop=True)
    p, raw = _probabilities(model, X)
    low, high = _bounds(interval, p)
    scores = pd.DataFrame({"entity": entity, "entity_id": ids, "as_of": rows["as_of"].to_numpy()})
    scores = scores.assign(p_raw=raw, p=p, p_low=low, p_high=high, percent=percent(p))
    scores = scores.assign(band=contact_priority(p, closed_won=customers).bands, **_fixed_words(cuts, p))
    return _with_owner(scores, X).pipe(_with_value, X, conversion_value).astype({"entity": "str", "entity_id": "str"})


def _check_rows(X: pd.DataFrame, ids: pd.Series) -> None:
    if len(X) != len(ids) or ids.duplicated().any():
        raise DataError(
            "Scores need one row of features for each entity.",
            found=f"{len(X):,} rows of features, {len(ids):,} entities, {ids.duplicated().sum():,} of them repeated",
            remedy="build the features from the rows of `snapshots.open_rows`.",
        )


def _probabilities(model: object, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    if not len(X):
        return np.zeros(0), np.zeros(0)
    p = check_probabilities(model.predict_proba(X)[:, 1])
    return p, check_probabilities(model.raw_probability(X)) if hasattr(model, "raw_probability") else p


def _bounds(interval: object | None, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if interval is None or not len(p):
        return np.full(len(p), np.nan), np.full(len(p), np.nan)
    low, high = interval.interval(p)
    return np.minimum(low, p), np.maximum(high, p)


def _fixed_words(cuts: CutPoints | None, p: np.ndarray) -> dict[str, pd.Series]:
    if cuts is not None:
        return {"grade": cuts.grade(p), "class_1_5": cuts.class_1_5(p)}
    return {"grade": pd.Series([None] * len(p), dtype="str"), "class_1_5": pd.Series([None] * len(p), dtype="Int64")}


def _with_owner(scores: pd.DataFrame, X: pd.DataFrame) -> pd.DataFrame:
    owner = X["owner_probability"].astype(float) if "owner_probability" in X else pd.Series(np.nan, index=X.index)
    return scores.assign(owner_probability=owner, owner_gap=scores["p"] - owner)


def deal_values(X: pd.DataFrame) -> pd.DataFrame:
    """Return amount (the newest known: of the deal, its quote, or at creation) and margin_rate of each row of X."""
    amount = pd.Series(np.nan, index=X.index)
    for column in _AMOUNTS:
        amount = amount.fillna(X[column].astype(float)) if column in X else amount
    rate = X["margin_rate"].astype(float) if "margin_rate" in X else pd.Series(np.nan, index=X.index)
    return pd.DataFrame({"amount": amount, "margin_rate": rate})


def _with_value(scores: pd.DataFrame, X: pd.DataFrame, conversion_value: float | None) -> pd.DataFrame:
    is_deal = len(scores) > 0 and scores["entity"].iloc[0] == "opportunity"
    values = deal_values(X) if is_deal else pd.DataFrame(np.nan, X.index, ["amount", "margin_rate"])
    each = values["amount"] * values["margin_rate"] if is_deal else (conversion_value or np.nan)
    expected = scores["p"] * each
    ranks = {"score_rank": _rank(scores["p"]), "margin_rank": _rank(expected)}
    return scores.assign(**values, expected_margin=expected, **ranks)


def _rank(values: pd.Series) -> pd.Series:
    return values.rank(ascending=False, method="min").astype("Int64")


def margin_ranking(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores by expected margin, best first: what the chance to win alone would put elsewhere [O01].

    Rows without amount or margin rate come last, by their score: nothing is assumed about their value.
    """
    order = scores.sort_values(["expected_margin", "p", "entity_id"], ascending=[False, False, True], kind="stable")
    return order[_SHOWN].reset_index(drop=True)


def closed_won(crm: Crm, rows: pd.DataFrame, *, as_of: str) -> tuple[np.ndarray, int]:
    """Return which rows belong to a person who is a customer already, and how many customers are not among the rows.

    As in HubSpot [L07] a contact is closed won when the person is a customer: here, the contact of a won deal. The
    count is of leads (or deals) that were won before `as_of` and are therefore not open any more.
    """
    entity = entity_of(rows)
    deals = crm.at("opportunities", as_of=as_instant(as_of)) if as_of else crm["opportunities"]
    won = deals[deals["outcome"].eq("won").fillna(False).to_numpy(bool)]
    if entity != "lead":
        return np.zeros(len(rows), bool), len(won)
    contact = crm["leads"].set_index("lead_id")["contact_id"].reindex(rows["lead_id"].to_numpy())
    mine = contact.notna() & contact.astype(object).isin(set(won["contact_id"].dropna()))
    return mine.to_numpy(bool), int(won["lead_id"].notna().sum())
