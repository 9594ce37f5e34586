"""Scores that may be low because of wrong data: what looks wrong, and what the score would be if it were typical [O16].

A sign is a value that is missing, impossible, or contradicts another one. For each row with signs the score is computed
again with the suspicious values replaced by typical ones (of the training rows: median, or most frequent level). The
difference says what a correction *could* change, not what it will: the value may be right. Nothing is corrected here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.quality import common_spelling
from crmlab.quality.values import DUPLICATE_DAYS, OUTLIER_IQR, repeated_leads
from crmlab.schema import ENTITY_KEYS
from crmlab.snapshots import entity_of

__all__ = ["SIGNS", "Signs", "find_signs", "typical_values", "wrong_data_list"]

SIGNS: dict[str, tuple[str, str]] = {
    "no contact recorded": (
        "it has moved on, but no interaction is recorded",
        "log the calls, meetings and e-mails there were, or put the stage back",
    ),
    "no quote recorded": ("its stage says quoted, but no quote is recorded", "enter the quote, or put the stage back"),
    "moved without contact": (
        "its stage changed lately, but nobody has been in touch for two months",
        "log the contacts there were, or put the stage back",
    ),
    "no amount": ("the amount is missing or 0", "enter the amount"),
    "odd amount": (
        "the amount is far outside those of its product, or far from what it was at creation",
        "check the amount: thousands, decimal comma, currency",
    ),
    "odd margin": ("the margin rate is below 0, or far outside the others", "check price and cost"),
    "odd size": ("the company's size is far outside the others", "check the number of employees"),
    "closing date passed": ("the expected closing date has passed", "enter a new date, or close the deal"),
    "contact before creation": (
        "an interaction is dated before its creation",
        "check whether the interaction belongs to another one, or the date of creation is wrong",
    ),
    "probably a duplicate": (
        f"another lead of the same person came up to {DUPLICATE_DAYS} days before",
        "merge the two: each holds a part of the history",
    ),
    "other spelling": ("a word is spelled unlike the usual form", "choose the usual word"),
    "missing": ("a field is empty", "fill in the field"),
}
"""Sign → (what looks wrong, what to check)."""

_FIELDS = ("source", "industry", "employees", "region", "job_position", "product", "owner_id")
_FIELD_WORDS = {"employees": "number of employees", "owner_id": "owner", "job_position": "role"}
_SPELLED = ("source", "industry", "region", "country", "product", "competitor", "job_position")
_MOVED_ON = {"opportunity": ("stage", ("needs", "quoted", "negotiation")), "lead": ("status", ("working",))}
_QUOTED = ("quoted", "negotiation")
_CONTACTS = ("interactions", "calls", "emails", "email_", "meetings", "web_", "pricing", "downloads", "events", "forms")
_RECENT_DAYS, _SILENT_DAYS, _UNKNOWN_DAYS = 30, 60, 14
_TIMES = 20
_EARLY_DAYS = 1.0
_LIST_COLUMNS = {
    "entity_id": "str",
    "p": "float64",
    "p_if_typical": "float64",
    "could_gain": "float64",
    "signs": "int64",
    "main_sign": "str",
    "looks_wrong": "str",
    "check": "str",
}


@dataclass(frozen=True)
class Signs:
    """What looks wrong in which rows.

    Attributes
    ----------
    found : frame of row (position), sign (key of `SIGNS`), detail (field names, never values).
    columns : (sign, detail) → columns of the features that the suspicious value stands behind.
    """

    found: pd.DataFrame
    columns: Mapping[tuple[str, str], list[str]]


def find_signs(crm: Crm, rows: pd.DataFrame, X: pd.DataFrame, *, reference: pd.DataFrame) -> Signs:
    """Return the signs of wrong data among rows.

    Parameters
    ----------
    rows : key column and as_of. X : their features, row for row. reference : features of the training rows: what is
        usual, so that the signs of a row do not depend on the others that are scored with it.
    """
    X = X.reset_index(drop=True)
    entity = entity_of(rows)
    parts: list[pd.DataFrame] = []
    columns: dict[tuple[str, str], list[str]] = {}
    for sign, detail, mask, behind in _all_signs(crm, entity, rows.reset_index(drop=True), X, reference):
        here = np.flatnonzero(np.asarray(mask, dtype=bool))
        parts.append(pd.DataFrame({"row": here, "sign": sign, "detail": detail}))
        columns[sign, detail] = [c for c in behind if c in X]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"row": [], "sign": [], "detail": []})
    return Signs(found.astype({"row": "int64", "sign": "str", "detail": "str"}), columns)


Sign = tuple[str, str, pd.Series, list[str]]


def _all_signs(crm: Crm, entity: str, rows: pd.DataFrame, X: pd.DataFrame, reference: pd.DataFrame) -> Iterator[Sign]:
    rules: tuple[Callable[..., Iterator[Sign]], ...] = (_history_signs, _value_signs, _field_signs)
    for rule in rules:
        yield from rule(entity, X, reference)
    if entity == "lead":
        yield from _duplicates(crm, rows)


def _history_signs(entity: str, X: pd.DataFrame, reference: pd.DataFrame) -> Iterator[Sign]:
    """Records that contradict each other."""
    where, moved_on = _MOVED_ON.get(entity, ("", ()))
    contacts = [c for c in X if c.startswith(_CONTACTS)]
    old_enough = _column(X, "age_days") > _UNKNOWN_DAYS
    if where in X and "interactions_n_ever" in X and _column(reference, "interactions_n_ever").sum() > 0:
        before = _column(X, "lead_interactions_n_ever").fillna(0)
        silent = (X["interactions_n_ever"].fillna(0) + before == 0) & old_enough
        yield "no contact recorded", "", X[where].isin(moved_on) & silent, contacts
        moved = _column(X, f"{where}_recency_days") <= _RECENT_DAYS
        quiet = _column(X, "interactions_recency_days") > _SILENT_DAYS
        advanced = _column(X, "stage_moves_forward_n_ever") > 0 if entity == "opportunity" else moved
        yield "moved without contact", "", moved & quiet & advanced, ["interactions_recency_days"]
        early = _column(X, "interactions_since_first_days") > _column(X, "age_days") + _EARLY_DAYS
        yield "contact before creation", "", early, ["interactions_since_first_days"]
    if "quotes_n_ever" in X and _column(reference, "quotes_n_ever").sum() > 0:
        none = X["stage"].isin(_QUOTED) & (X["quotes_n_ever"].fillna(0) == 0) if "stage" in X else []
        yield "no quote recorded", "", none, [c for c in X if c.startswith("quote")]
    yield "closing date passed", "", _column(X, "expected_close_days") < 0, ["expected_close_days"]


def _value_signs(entity: str, X: pd.DataFrame, reference: pd.DataFrame) -> Iterator[Sign]:
    """Numbers that are impossible or far outside."""
    if "amount" in X and reference.get("amount", pd.Series(dtype=float)).notna().any():
        behind = ["amount", "amount_at_creation", "amount_growth", "quote_over_amount", "quote_amount"]
        yield "no amount", "", ~(X["amount"] > 0), behind
        first = _column(X, "amount_at_creation")
        ratio = np.abs(np.log(X["amount"].where(X["amount"] > 0) / first.where(first > 0)))
        odd = _far_out(X, reference, "amount", by="product") | (ratio > np.log(_TIMES))
        yield "odd amount", "", odd, behind
    if "margin_rate" in X:
        rate = X["margin_rate"]
        low, high = reference["margin_rate"].quantile([0.25, 0.75]) if "margin_rate" in reference else (np.nan, np.nan)
        far = (rate > high + OUTLIER_IQR * (high - low)) | (rate < low - OUTLIER_IQR * (high - low))
        yield "odd margin", "", (rate < 0) | far, ["margin_rate"]
    if "employees" in X:
        yield "odd size", "", _far_out(X, reference, "employees"), ["employees"]


def _field_signs(entity: str, X: pd.DataFrame, reference: pd.DataFrame) -> Iterator[Sign]:
    """Fields that are empty or spelled unlike the usual form."""
    for field in _FIELDS:
        if field in X and field in reference and reference[field].notna().mean() > 0.5:
            # A direct deal has no lead, so nobody could have entered its source.
            direct = (field == "source" and entity == "opportunity") & _column(X, "lead_to_opportunity_days").isna()
            yield "missing", field, X[field].isna() & ~direct, [field]
    for field in _SPELLED:
        if field in X and field in reference and X[field].dtype == "str":
            other = X[field].notna() & (_usual(X[field], reference[field]) != X[field])
            yield "other spelling", field, other, [field]


def _usual(values: pd.Series, reference: pd.Series) -> pd.Series:
    """The values in the spelling that is most frequent among the reference; gaps stay as they are."""
    both = pd.concat([reference.astype("str"), values], ignore_index=True)
    return common_spelling(both).iloc[len(reference) :].set_axis(values.index).where(values.notna(), values)


def _duplicates(crm: Crm, rows: pd.DataFrame) -> Iterator[Sign]:
    leads = crm["leads"]
    repeated = set(leads.loc[repeated_leads(leads), "lead_id"])
    yield "probably a duplicate", "", rows["lead_id"].isin(repeated), []


def _column(X: pd.DataFrame, name: str) -> pd.Series:
    return X[name].astype(float) if name in X else pd.Series(np.nan, index=X.index)


def _far_out(X: pd.DataFrame, reference: pd.DataFrame, column: str, by: str = "") -> pd.Series:
    """Beyond `OUTLIER_IQR` interquartile ranges of the logarithm, as in `quality`; within the same level of `by`."""
    if column not in reference:
        return pd.Series(False, index=X.index)
    logs = np.log(reference[column].astype(float).where(lambda v: v > 0))
    mine = np.log(X[column].astype(float).where(lambda v: v > 0))
    if by in X and by in reference:
        medians = logs.groupby(reference[by]).median()
        logs = logs - reference[by].map(medians).astype(float).fillna(logs.median())
        mine = mine - X[by].map(medians).astype(float).fillna(logs.median())
    low, high = logs.quantile([0.25, 0.75])
    reach = OUTLIER_IQR * (high - low)
    return (mine < low - reach) | (mine > high + reach) if reach > 0 else pd.Series(False, index=X.index)


def typical_values(reference: pd.DataFrame) -> dict[str, object]:
    """Return the typical value of each column: the median, or the most frequent level; missing where all are."""
    numbers = reference.select_dtypes("number")
    typical: dict[str, object] = numbers.median().to_dict()
    for column in reference.columns.difference(numbers.columns):
        levels = reference[column].dropna().value_counts()
        typical[column] = levels.index[0] if len(levels) else None
    return typical


def wrong_data_list(
    model: object,
    crm: Crm,
    rows: pd.DataFrame,
    X: pd.DataFrame,
    *,
    reference: pd.DataFrame,
    p: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the rows with signs of wrong data, those first whose score a correction could raise most.

    Parameters
    ----------
    model : fitted, with `predict_proba(X)`. rows, X : what is scored, row for row. reference : features of training
        rows; medians and usual words come from them. p : scores of the rows, if computed before.

    Returns
    -------
    Frame: entity_id, p, p_if_typical (all suspicious values typical at once), could_gain (the difference; negative
    where the odd value helps the score), signs (how many), main_sign (the one that alone moves the score most),
    looks_wrong and check (in words, main sign first). Only rows with a sign.
    """
    X, ids = X.reset_index(drop=True), rows[ENTITY_KEYS[entity_of(rows)]].reset_index(drop=True)
    signs = find_signs(crm, rows, X, reference=reference)
    if signs.found.empty:
        return pd.DataFrame(columns=list(_LIST_COLUMNS)).astype(_LIST_COLUMNS)
    p = model.predict_proba(X)[:, 1] if p is None else np.asarray(p, dtype=float)
    typical = typical_values(reference)
    single = _what_if(model, X, signs, reference, typical)
    found = signs.found.assign(size=np.abs(single - p[signs.found["row"]]))
    together = _all_at_once(model, X, signs, reference, typical)
    found = found.sort_values(["row", "size"], ascending=[True, False], kind="stable")
    lines = [_line(ids, p, together, int(row), part) for row, part in found.groupby("row", sort=True)]
    table = pd.DataFrame(lines, columns=list(_LIST_COLUMNS)).astype(_LIST_COLUMNS)
    return table.sort_values(["could_gain", "entity_id"], ascending=[False, True], kind="stable", ignore_index=True)


def _line(ids: pd.Series, p: np.ndarray, together: pd.Series, row: int, part: pd.DataFrame) -> tuple:
    words = [_words(sign, detail) for sign, detail in zip(part["sign"], part["detail"], strict=True)]
    wrong, check = ("; ".join(dict.fromkeys(w[k] for w in words)) for k in (0, 1))
    return (ids[row], p[row], together[row], together[row] - p[row], len(part), part["sign"].iloc[0], wrong, check)


def _words(sign: str, detail: str) -> tuple[str, str]:
    field = _FIELD_WORDS.get(detail, detail.replace("_", " "))
    special = {
        "missing": (f"no {field} is entered", f"fill in the {field}"),
        "other spelling": (f"the {field} is spelled unlike the usual form", f"choose the usual word for the {field}"),
    }
    return special.get(sign, SIGNS[sign])


def _replaced(X: pd.DataFrame, sign: str, columns: list[str], reference: pd.DataFrame, typical: Mapping) -> dict:
    """New values of the columns behind a sign."""
    if sign == "other spelling":
        return {c: _usual(X[c], reference[c]) for c in columns}
    if sign == "contact before creation" and "age_days" in X:
        return {c: X[c].clip(upper=X["age_days"]) for c in columns}
    return {c: pd.Series(typical.get(c), index=X.index).astype(X[c].dtype) for c in columns if c in typical}


def _what_if(
    model: object, X: pd.DataFrame, signs: Signs, reference: pd.DataFrame, typical: Mapping[str, object]
) -> np.ndarray:
    """Score of each line of `signs.found` if that one sign were gone."""
    pieces = [
        X.loc[part["row"]].assign(
            **_replaced(X.loc[part["row"]], sign, signs.columns[sign, detail], reference, typical)
        )
        for (sign, detail), part in signs.found.groupby(["sign", "detail"], sort=False)
    ]
    return model.predict_proba(pd.concat(pieces, ignore_index=True)[list(X)])[:, 1]  # signs stand together, in order


def _all_at_once(
    model: object, X: pd.DataFrame, signs: Signs, reference: pd.DataFrame, typical: Mapping[str, object]
) -> pd.Series:
    """Score of each row with signs if all were gone, by row position."""
    here = np.unique(signs.found["row"])
    changed = X.loc[here].copy()
    for (sign, detail), part in signs.found.groupby(["sign", "detail"], sort=False):
        for column, values in _replaced(
            changed.loc[part["row"]], sign, signs.columns[sign, detail], reference, typical
        ).items():
            changed.loc[part["row"], column] = values
    return pd.Series(model.predict_proba(changed)[:, 1], index=here)
