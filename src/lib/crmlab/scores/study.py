"""Scoring what is open on a date: the published model, its past on rows it had not seen, and everything told about it.

Where no model has passed the gate there are no scores: every table is empty, and the reason is said.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from crmlab import explain
from crmlab.crm import Crm, as_instant
from crmlab.features import build_features, feature_catalog
from crmlab.gate import require_published
from crmlab.project import data_dir
from crmlab.registry import PublishedModel, Registry, load_model
from crmlab.schema import NotEnoughEvidence
from crmlab.snapshots import Question, as_entity, build_snapshots, open_rows

from .bands import CutPoints, Priority, band_table, contact_priority
from .build import closed_won, margin_ranking, score_rows
from .effort import EffortHistory, learn_effort
from .export import Export, export_scores
from .history import SCORE_COLUMNS, ScoreHistory
from .overrides import disagreements, who_was_right, with_overrides
from .wrong_data import wrong_data_list

__all__ = ["Scoring", "score_open"]

_MAX_ROWS = 20_000
_ROWS_OF_A_DATE = 100
_DAY = pd.Timedelta(days=1)
_LOOKED_AT_OFTEN = ("weekly", "monthly")
_SINCE_DAYS = {"weekly": 7, "monthly": 30}
_CALL_FIRST = {
    "entity_id": "str",
    "owner_id": "str",
    "percent": "float64",
    "p_low": "float64",
    "p_high": "float64",
    "band": "str",
    "grade": "str",
    "class_1_5": "Int64",
    "expected_margin": "float64",
    "reasons_for": "str",
    "reasons_against": "str",
}
_CHANGES = {
    "entity_id": "str",
    "p_old": "float64",
    "p_new": "float64",
    "points": "float64",
    **dict.fromkeys(explain.PARTS, "float64"),
    "reasons": "str",
}


@dataclass(frozen=True)
class Scoring:
    """The scores of one question on one date, and what stands behind them.

    Attributes
    ----------
    question, as_of : what was asked, and when.
    published : what gave the scores; None where no model has passed the gate by that date.
    reason, missing : why there are no scores, and what would be needed; empty otherwise.
    rows, X : the open entities that can be scored, and their features.
    scores : of `score_rows`, and owner_id; empty without a model.
    priority, n_closed_won, cuts : of the scores; see `bands`.
    n_expired : open entities whose only look lies longer ago than the horizon: what it was about is decided.
    past : mature rows that the tested twin had not learned from: key, as_of, label, p (its score), owner_probability.
    reference, reference_rows : features of past and training rows, by which "typical" is meant.
    """

    question: Question
    as_of: str
    crm: Crm = field(repr=False)
    registry: Registry = field(repr=False)
    published: PublishedModel | None
    reason: str
    missing: str
    rows: pd.DataFrame = field(repr=False)
    X: pd.DataFrame = field(repr=False)
    scores: pd.DataFrame = field(repr=False)
    priority: Priority = field(repr=False)
    n_closed_won: int
    n_expired: int
    cuts: CutPoints | None
    past: pd.DataFrame = field(repr=False)
    reference: pd.DataFrame = field(repr=False)
    reference_rows: pd.DataFrame = field(repr=False)

    @cached_property
    def model(self) -> object | None:
        """The published model."""
        return self.published.load() if self.published else None

    @cached_property
    def catalog(self) -> pd.DataFrame:
        """What each feature says."""
        return feature_catalog(self.X, self.crm, entity=self.question.entity)

    @cached_property
    def contributions(self) -> explain.Contributions:
        """Every score taken apart, adding up exactly; index: identifiers."""
        X = self.X.set_axis(self.scores["entity_id"])
        return explain.contributions(self.model, X, background=self.reference)

    def reasons(self, *, n: int = 5, best: int | None = None) -> pd.DataFrame:
        """Return the `n` reasons for and against of the `best` scores (of all without it), see `explain.reasons`."""
        ids = self.scores.sort_values(["p", "entity_id"], ascending=[False, True])["entity_id"].head(best or None)
        parts = self.contributions
        at = parts.values.index.get_indexer(ids)
        chosen = explain.Contributions(parts.base, parts.values.iloc[at], parts.logit[at])
        X = self.X.set_axis(self.scores["entity_id"]).iloc[at]
        return explain.reasons(chosen, X, self.catalog, typical=explain.typical_values(self.reference), n=n)

    def with_reasons(self, *, n: int = 3) -> pd.DataFrame:
        """Return the scores with the `n` strongest reasons for and against in words."""
        if self.scores.empty:
            return self.scores.assign(reasons_for=self.scores["entity_id"], reasons_against=self.scores["entity_id"])
        lines = self.reasons(n=n)
        told = {side: _joined(lines, side) for side in ("for", "against")}
        words = {f"reasons_{s}": self.scores["entity_id"].map(t).fillna("").astype("str") for s, t in told.items()}
        return self.scores.assign(**words)

    def call_first(self, *, limit: int = 15, n: int = 2) -> pd.DataFrame:
        """Return the best scores with reasons: whom to call, win or keep first."""
        best = self.with_reasons(n=n).sort_values(["p", "entity_id"], ascending=[False, True], kind="stable")
        return best.reindex(columns=list(_CALL_FIRST)).head(limit).astype(_CALL_FIRST).reset_index(drop=True)

    def first_reasons(self, *, n: int = 5) -> pd.DataFrame:
        """Return the reasons of the best score, adding up to it: id, direction, reason, points, log odds."""
        if self.scores.empty:
            return pd.DataFrame(columns=["id", "direction", "reason", "points", "log odds"], dtype="str")
        lines = self.reasons(n=n, best=1).rename(columns={"row": "id", "log_odds": "log odds"})
        return lines[["id", "direction", "reason", "points", "log odds"]].reset_index(drop=True)

    def cut_table(self) -> pd.DataFrame:
        """Return where grades and classes begin; empty where there are none."""
        empty = pd.DataFrame({"kind": [], "word": [], "p_from": [], "p_below": []})
        return self.cuts.table() if self.cuts else empty.astype({"kind": "str", "word": "str"})

    def bands(self) -> pd.DataFrame:
        """Return the probabilities behind each band of today, see `band_table`."""
        return band_table(self.scores["p"], self.scores["band"], n_closed_won=self.n_closed_won)

    def past_bands(self) -> pd.DataFrame:
        """Return what came of the bands on past rows; quarters are formed on each date, as they would have been.

        Where fewer than 100 rows share a date (a look per deal, say), quarters are formed over all of them.
        """
        if self.past.empty:
            return band_table(np.zeros(0), pd.Series(dtype="str"))
        per_date = self.past.groupby("as_of")["p"].transform("size") >= _ROWS_OF_A_DATE
        if per_date.mean() < 0.5:
            return band_table(self.past["p"], contact_priority(self.past["p"]).bands, y=self.past["label"])
        kept = self.past[per_date].sort_values("as_of", kind="stable", ignore_index=True)
        bands = [contact_priority(part["p"]).bands for _, part in kept.groupby("as_of", sort=True)]
        return band_table(kept["p"], pd.concat(bands, ignore_index=True), y=kept["label"])

    def margin_ranking(self) -> pd.DataFrame:
        """Return the scores by expected margin, best first."""
        return margin_ranking(self.scores)

    def disagreements(self, *, limit: int = 15) -> pd.DataFrame:
        """Return where score and owner are furthest apart today."""
        return disagreements(self.scores, limit=limit)

    def who_was_right(self) -> pd.DataFrame:
        """Return how past rows ended, by who had expected more."""
        past = self.past
        return who_was_right(
            past["label"], past["p"], past["owner_probability"], past[self.question.key].to_numpy(dtype=object)
        )

    @cached_property
    def effort_history(self) -> EffortHistory | str:
        """What won cases still took; or in words why that cannot be said."""
        if self.published is None or not self.as_of:
            return self.reason or "The source has no dates, so nothing is known about time and effort."
        try:
            return learn_effort(self.crm, self.reference_rows, self.reference, as_of=self.as_of)
        except NotEnoughEvidence as error:
            return f"{error.problem} {error.found}."

    def effort(self) -> pd.DataFrame:
        """Return for each score what won cases that stood there still took; empty where that cannot be said."""
        if isinstance(self.effort_history, str):
            return pd.DataFrame({"entity_id": pd.Series(dtype="str"), "percent": pd.Series(dtype="float64")})
        found = self.effort_history.estimate(self.X.reset_index(drop=True))
        best = self.scores["p"].sort_values(ascending=False, kind="stable").index
        return (
            pd.concat([self.scores[["entity_id", "as_of", "percent"]], found], axis=1).loc[best].reset_index(drop=True)
        )

    def wrong_data(self) -> pd.DataFrame:
        """Return the scores that may be low because of wrong data, see `wrong_data_list`."""
        p = self.scores["p"].to_numpy()
        rows = self.rows if len(p) else self.rows.head(0)
        X = self.X.head(len(rows))
        return wrong_data_list(self.model, self.crm, rows, X, reference=self.reference, p=p)

    def with_overrides(self, history: ScoreHistory) -> pd.DataFrame:
        """Return the scores with override and override_by beside them: the newest of each up to this date."""
        given = history.overrides(self.question.slug, as_of=self.as_of)
        return with_overrides(self.with_reasons(), given).drop(columns="override_reason")

    def append_to(self, history: ScoreHistory) -> int | None:
        """Write the scores into the history; None without scores."""
        if self.scores.empty:
            return None
        return history.append(
            self.scores.reindex(columns=list(SCORE_COLUMNS)),
            question=self.question.slug,
            as_of=self.as_of,
            model_id=self.published.model_id,
            data_fingerprint=self.crm.fingerprint,
        )

    def save(self, history: ScoreHistory, *, folder: Path | None = None) -> "Saved":
        """Append the scores to the history, and write them as CSV and Parquet (empty ones without a model).

        Parameters
        ----------
        folder : where the files go; `scores/<question>/<date>` of the data folder unless told.
        """
        entry = self.append_to(history)
        place = folder or data_dir() / "scores" / self.question.slug / (self.as_of or "undated")
        export = export_scores(self.with_overrides(history), place, name=f"scores_{self.question.slug}")
        paths = (export.csv, export.parquet, *([history.path] if entry is not None else []))
        return Saved(entry, export, paths)

    def changes(self, history: ScoreHistory, *, n: int = 3) -> "Changes":
        """Return what changed since the last scores of the history.

        Without an earlier score, and where entities are looked at often, the same model is asked what it would have
        said a week (a month) before; that is said in `Changes.stored`.
        """
        before = self._before(history)
        if self.scores.empty or before.empty:
            return Changes(pd.DataFrame(columns=list(_CHANGES)).astype(_CHANGES), pd.DataFrame(), None, False)
        stored = before["p"].notna().all()
        rows = before[["entity_id", "as_of"]].rename(columns={"entity_id": self.question.key})
        X = build_features(self.crm, rows).set_axis(before["entity_id"])
        model = load_model(self.registry.models / before["model_id"].iloc[0]) if stored else self.model
        old = explain.ScoreState(model, X, before["p"].to_numpy() if stored else None)
        new = explain.ScoreState(self.model, self.X.set_axis(self.scores["entity_id"]))
        parts, lines = explain.change_parts(old, new), explain.change(old, new, self.catalog, n=n)
        since = before["scored_as_of"].iloc[0]
        return Changes(_change_table(parts, lines), parts, since, bool(stored))

    def _before(self, history: ScoreHistory) -> pd.DataFrame:
        """Scores given before; or the rows of a week or month ago, with empty scores."""
        found = history.previous(self.question.slug, before=self.as_of) if self.as_of else pd.DataFrame()
        if len(found) or self.question.snapshots not in _LOOKED_AT_OFTEN or self.published is None:
            return found
        then = as_instant(self.as_of) - _SINCE_DAYS[self.question.snapshots] * _DAY
        rows = open_rows(self.crm, self.question, as_of=then.isoformat())
        rows = rows[rows[self.question.key].isin(self.scores["entity_id"])]
        given = {"p": np.nan, "scored_as_of": then, "model_id": self.published.model_id}
        return rows.rename(columns={self.question.key: "entity_id"}).assign(**given).reset_index(drop=True)


@dataclass(frozen=True)
class Saved:
    """Where the scores of a date went: entry of the history (None without scores), files, and all paths to keep."""

    entry: int | None
    export: Export
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Changes:
    """What changed since the last scores.

    Attributes
    ----------
    table : one row per entity scored both times, largest change first: entity_id, p_old, p_new, points (percentage
        points), the points of each of `explain.PARTS` (they add up to `points`), reasons in words.
    parts : of `explain.change_parts`. since : date of the earlier scores; None where there are none.
    stored : whether the earlier scores were really given then; else the model of today was asked about that date.
    """

    table: pd.DataFrame
    parts: pd.DataFrame
    since: pd.Timestamp | None
    stored: bool


def _change_table(parts: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    told = lines[lines["reason"].notna()].assign(
        text=lambda d: d["reason"].astype(str) + " (" + d["points"].map("{:+.1f}".format) + ")"
    )
    words = told.groupby("row", sort=False)["text"].agg("; ".join)
    table = parts[["p_old", "p_new", *explain.PARTS]].assign(points=100 * (parts["p_new"] - parts["p_old"]))
    table = table.assign(entity_id=parts.index, reasons=parts.index.map(words).fillna(""))[list(_CHANGES)]
    order = table["points"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True).astype(_CHANGES)


def _joined(lines: pd.DataFrame, side: str) -> pd.Series:
    chosen = lines[lines["direction"] == side]
    return chosen.groupby("row", sort=False)["reason"].agg("; ".join)


def score_open(
    crm: Crm,
    question: Question,
    *,
    as_of: str,
    registry: Registry,
    seed: int,
    conversion_value: float | None = None,
    max_rows: int = _MAX_ROWS,
) -> Scoring:
    """Score what is open at `as_of` with the model that had passed the gate by then.

    Parameters
    ----------
    registry : of the question. conversion_value : euro of margin that a converted lead brings.
    max_rows : past and training rows looked at, about; above it whole entities are drawn by `seed`.

    Returns
    -------
    Scoring; without scores, but with reason and what is missing, where no model has passed.
    """
    published, reason, missing = _published(registry, as_of)
    every = open_rows(crm, question, as_of=as_of)
    rows = every[~_expired(every, question, as_of)].reset_index(drop=True)
    X = build_features(crm, rows)
    labelled = _sampled(_mature(crm, question, as_of), question.key, max_rows, seed)
    reference = build_features(crm, labelled)
    past = _past(published, question, labelled, reference)
    cuts = _cuts(published, past)
    customers, apart = closed_won(crm, rows, as_of=as_of)
    scores, priority = _scores(published, rows, X, cuts, customers, conversion_value)
    n_expired = len(every) - len(rows)
    return Scoring(
        question, as_of, crm, registry, published, reason, missing, rows, X, scores, priority, apart, n_expired,
        cuts, past, reference, labelled,
    )  # fmt: skip


def _published(registry: Registry, as_of: str) -> tuple[PublishedModel | None, str, str]:
    try:
        return require_published(registry, as_of=as_of or None), "", ""
    except NotEnoughEvidence as error:
        return None, error.found, error.remedy


def _expired(rows: pd.DataFrame, question: Question, as_of: str) -> np.ndarray:
    """Looks so long ago that their horizon has passed: an open case has missed it, whatever the score said."""
    if question.label != "within_horizon":
        return np.zeros(len(rows), bool)
    return (rows["as_of"] + question.horizon_days * _DAY <= as_instant(as_of)).to_numpy(bool)


def _mature(crm: Crm, question: Question, as_of: str) -> pd.DataFrame:
    rows = build_snapshots(
        crm,
        entity=as_entity(question.entity),
        label=question.label,
        as_of=as_of,
        horizon_days=question.horizon_days,
        every=question.snapshots,
    )
    return rows[rows["mature"] & rows["label"].notna()].reset_index(drop=True)


def _sampled(rows: pd.DataFrame, key: str, max_rows: int, seed: int) -> pd.DataFrame:
    """Whole entities drawn until about `max_rows` rows."""
    if len(rows) <= max_rows:
        return rows
    ids = np.sort(rows[key].unique().astype(object))
    n = int(np.ceil(len(ids) * max_rows / len(rows)))
    chosen = np.random.default_rng(seed).choice(ids, n, replace=False)
    return rows[rows[key].isin(set(chosen))].reset_index(drop=True)


def _past(published: PublishedModel | None, question: Question, rows: pd.DataFrame, X: pd.DataFrame) -> pd.DataFrame:
    """Rows later than what the tested twin learned from, by the gap that keeps its labels apart from them."""
    owner = X["owner_probability"].astype(float) if "owner_probability" in X else np.nan
    past = rows[[question.key, "as_of", "label"]].assign(p=np.nan, owner_probability=owner)
    trained = published.tested_meta.get("train", {}) if published else {}
    if not trained.get("to"):
        return past.head(0)
    unseen = (rows["as_of"] > pd.Timestamp(trained["to"]) + question.horizon_days * _DAY).to_numpy()
    if not unseen.any():
        return past.head(0)
    p = published.load_tested().predict_proba(X[unseen])[:, 1]
    return past[unseen].assign(p=p, label=past.loc[unseen, "label"].astype(float)).reset_index(drop=True)


def _cuts(published: PublishedModel | None, past: pd.DataFrame) -> CutPoints | None:
    """Cut points stored with the model; else those of rows that were mature when it was published."""
    if published is None:
        return None
    if stored := published.meta.get("cuts"):
        return CutPoints.from_dict(stored)
    known = past[past["as_of"] < as_instant(published.as_of)] if published.as_of else past
    try:
        return CutPoints.from_scores(known["p"].to_numpy())
    except NotEnoughEvidence:
        return None


def _scores(
    published: PublishedModel | None,
    rows: pd.DataFrame,
    X: pd.DataFrame,
    cuts: CutPoints | None,
    customers: np.ndarray,
    conversion_value: float | None,
) -> tuple[pd.DataFrame, Priority]:
    """Scores and their bands; well-shaped and empty without a model."""
    if published is None:
        rows, X, customers = rows.head(0), X.head(0), customers[:0]
    model, interval = (published.load(), published.load_interval()) if published else (None, None)
    scores = score_rows(
        model, X, rows, interval=interval, cuts=cuts, customers=customers, conversion_value=conversion_value
    )
    owner = X["owner_id"].reset_index(drop=True) if "owner_id" in X else pd.Series(None, scores.index, dtype="str")
    return scores.assign(owner_id=owner), contact_priority(scores["p"].to_numpy(), closed_won=customers)
