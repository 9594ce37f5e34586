"""Scores shaped for reading: one column per thing a person reads, values with their intervals in one cell."""

import pandas as pd

from .history import ScoreHistory
from .study import Changes, Scoring

__all__ = [
    "FORMATS",
    "band_view",
    "call_view",
    "change_view",
    "disagreement_view",
    "effort_view",
    "formats_of",
    "margin_view",
    "override_view",
    "past_band_view",
    "right_view",
    "wrong_data_view",
]

FORMATS = {
    "likelihood": "estimate:percent:0",
    "person says": "percent:0",
    "owner says": "percent:0",
    "gap": "points:0",
    "expected margin": "money",
    "amount": "money",
    "margin rate": "percent:0",
    "from": "percent:1",
    "to": "percent:1",
    "share": "percent:0",
    "of expected outcomes": "percent:0",
    "of outcomes": "percent:0",
    "came true": "estimate:percent:0",
    "mean score": "percent:0",
    "mean of owners": "percent:0",
    "Brier score": "number:3",
    "Brier of owners": "number:3",
    "score nearer": "percent:0",
    "before": "percent:0",
    "now": "percent:0",
    "change": "points:1",
    "features": "points:1",
    "model": "points:1",
    "calibration": "points:1",
    "data revisions": "points:1",
    "if typical": "percent:1",
    "could gain": "points:1",
    "days left": "estimate:number:0",
    "contacts left": "estimate:number:0",
    "expected": "number:1",
    "looked at": "date",
}
"""Format of each column of the views here; see `crmlab.report.formats`."""


def formats_of(view: pd.DataFrame) -> dict[str, str]:
    """Return the formats of the columns that a view has."""
    return {column: FORMATS[column] for column in view if column in FORMATS}


def _triples(frame: pd.DataFrame, *names: str) -> list[tuple[float, ...]]:
    return list(frame[list(names)].itertuples(index=False, name=None))


def _likelihood(frame: pd.DataFrame) -> list[tuple[float, ...]]:
    return _triples(frame, "p", "p_low", "p_high")


def call_view(scoring: Scoring, *, limit: int = 10) -> pd.DataFrame:
    """Return whom to call first: id, owner, likelihood with interval, words, reasons."""
    best = scoring.call_first(limit=limit)
    best = best.assign(p=best["percent"] / 100)
    words = {"band": "priority", "class_1_5": "class"}
    shown = pd.DataFrame({"id": best["entity_id"], "owner": best["owner_id"], "likelihood": _likelihood(best)})
    shown = shown.assign(**{word: best[column] for column, word in words.items()})
    return shown.assign(**{"speaks for it": best["reasons_for"], "speaks against": best["reasons_against"]})


def band_view(bands: pd.DataFrame) -> pd.DataFrame:
    """Return today's bands with the range of probabilities behind each."""
    names = {"p_low": "from", "p_high": "to", "expected_share": "of expected outcomes"}
    return bands.rename(columns=names)[["band", "n", "share", "from", "to", "expected", "of expected outcomes"]]


def past_band_view(bands: pd.DataFrame) -> pd.DataFrame:
    """Return what came of the bands on past rows."""
    observed = _triples(bands, "observed", "observed_low", "observed_high")
    mean = bands["expected"] / bands["n"].where(bands["n"] > 0)
    view = bands[["band", "n"]].assign(**{"mean score": mean, "came true": observed})
    return view.assign(**{"of outcomes": bands["observed_share"]})


def margin_view(scoring: Scoring, *, limit: int = 10) -> pd.DataFrame:
    """Return the ranking by expected margin, beside the place that the score alone would give."""
    best = scoring.margin_ranking().head(limit)
    view = pd.DataFrame({"id": best["entity_id"], "likelihood": _likelihood(best), "amount": best["amount"]})
    view = view.assign(**{"margin rate": best["margin_rate"], "expected margin": best["expected_margin"]})
    return view.assign(**{"place by margin": best["margin_rank"], "place by score": best["score_rank"]})


def disagreement_view(scoring: Scoring, *, limit: int = 10) -> pd.DataFrame:
    """Return where score and owner are furthest apart."""
    found = scoring.disagreements(limit=limit)
    view = pd.DataFrame({"id": found["entity_id"], "likelihood": _likelihood(found)})
    view = view.assign(**{"owner says": found["owner_probability"], "gap": found["owner_gap"]})
    return view.assign(**{"amount": found["amount"], "outside the interval": found["outside"]})


def override_view(scoring: Scoring, history: ScoreHistory, *, limit: int = 10) -> pd.DataFrame:
    """Return the scores beside which a person has put another number, largest difference first."""
    found = scoring.with_overrides(history).dropna(subset=["override"])
    order = (found["p"] - found["override"]).abs().sort_values(ascending=False, kind="stable").index[:limit]
    found = found.loc[order]
    view = pd.DataFrame({"id": found["entity_id"], "likelihood": _likelihood(found)})
    return view.assign(**{"person says": found["override"], "who": found["override_by"]})


def right_view(table: pd.DataFrame) -> pd.DataFrame:
    """Return who was right on past rows."""
    observed = _triples(table, "observed", "observed_low", "observed_high")
    names = {
        "who_expected_more": "who expected more",
        "p_mean": "mean score",
        "owner_mean": "mean of owners",
        "brier_score": "Brier score",
        "brier_owner": "Brier of owners",
        "score_closer": "score nearer",
    }
    view = table.rename(columns=names).assign(**{"came true": observed})
    order = ["who expected more", "rows", "cases", "mean score", "mean of owners", "came true"]
    return view[[*order, "Brier score", "Brier of owners", "score nearer"]]


def effort_view(scoring: Scoring, *, limit: int = 10) -> pd.DataFrame:
    """Return what won cases still took: median, and the range of the middle 80 %."""
    found = scoring.effort().head(limit)
    if "days_left" not in found:
        return pd.DataFrame({"id": pd.Series(dtype="str")})
    view = pd.DataFrame({"id": found["entity_id"], "looked at": found["as_of"]})
    view["days left"] = _triples(found, "days_left", "days_low", "days_high")
    view["contacts left"] = _triples(found, "contacts_left", "contacts_low", "contacts_high")
    return view.assign(**{"won cases": found["n"], "compared with": found["like"]})


def change_view(changes: Changes, *, limit: int = 10) -> pd.DataFrame:
    """Return the largest changes and their parts, in percentage points as shares."""
    table = changes.table.head(limit)
    parts = ["points", "features", "model", "calibration", "data revisions"]
    view = table.rename(columns={"entity_id": "id", "p_old": "before", "p_new": "now"})
    view = view.assign(**{part: view[part] / 100 for part in parts}).rename(columns={"points": "change"})
    return view[["id", "before", "now", "change", *parts[1:], "reasons"]]


def wrong_data_view(table: pd.DataFrame, *, limit: int = 15) -> pd.DataFrame:
    """Return the scores that a correction could raise most, and what to check."""
    view = table.head(limit).assign(likelihood=table["p"].head(limit))
    names = {"entity_id": "id", "p": "now", "p_if_typical": "if typical", "could_gain": "could gain"}
    view = view.rename(columns={**names, "looks_wrong": "what looks wrong", "check": "what to check"})
    return view[["id", "now", "if typical", "could gain", "what looks wrong", "what to check"]]
