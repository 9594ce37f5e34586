"""Scoring a date end to end on the small demo CRM: with a published model, and without one."""

import numpy as np
import pandas as pd
import pytest

from crmlab import explain, scores, sources
from crmlab.calibration import ScoreInterval
from crmlab.crm import Crm
from crmlab.features import build_features
from crmlab.gate import training_span
from crmlab.models import make_models
from crmlab.registry import Registry, save_model
from crmlab.schema import DataError, ParameterError
from crmlab.scores import CutPoints, ScoreHistory, Scoring, score_open
from crmlab.snapshots import Question, build_snapshots, open_rows

AS_OF = "2025-01-06"
LEADS = Question("demo_small", "lead", "within_horizon", 90, "monthly")
DEALS = Question("demo_small", "opportunity", "within_horizon", 90, "creation")


@pytest.fixture(scope="module")
def crm() -> Crm:
    return sources.open_crm("demo_small", as_of=AS_OF)


def publish(crm: Crm, question: Question, home: object, *, as_of: str = AS_OF) -> Registry:
    """Store a quick model as if it had passed the gate: what is tested here is what becomes of it."""
    rows = build_snapshots(
        crm, entity=question.entity, label=question.label, as_of=as_of, horizon_days=90, every=question.snapshots
    )
    rows = rows[rows["mature"]].reset_index(drop=True)
    X, y = build_features(crm, rows), rows["label"].astype(int).to_numpy()
    begin = rows["as_of"].quantile(0.6)
    train = (rows["as_of"] < begin - pd.Timedelta(days=91)).to_numpy()
    test = (rows["as_of"] >= begin).to_numpy()
    make = make_models(X, seed=0)["logistic regression"]
    tested, refit = make().fit(X[train], y[train]), make().fit(X, y)
    p = tested.predict_proba(X[test])[:, 1]
    registry = Registry(question, home)
    meta = {"question": question.slug}
    interval = ScoreInterval().fit(p, y[test], rows.loc[test, question.key].to_numpy())
    roles = {"tested_id": (tested, rows[train]), "model_id": (refit, rows)}
    ids = {
        name: save_model(model, registry.models, meta=meta | {"role": name, "train": training_span(part)})
        for name, (model, part) in roles.items()
    }
    ids["interval_id"] = save_model(interval, registry.models, meta=meta | {"role": "interval"})
    content = {**ids, "as_of": as_of, "published_as": "probability", "card": "none"}
    registry.log.append("publication", content, context={})
    return registry


@pytest.fixture(scope="module")
def registry(crm: Crm, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return publish(crm, LEADS, tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def scoring(crm: Crm, registry: Registry) -> Scoring:
    return score_open(crm, LEADS, as_of=AS_OF, registry=registry, seed=0, conversion_value=1000.0)


@pytest.fixture(scope="module")
def nothing(crm: Crm, tmp_path_factory: pytest.TempPathFactory) -> Scoring:
    return score_open(crm, LEADS, as_of=AS_OF, registry=Registry(LEADS, tmp_path_factory.mktemp("none")), seed=0)


def test_every_open_lead_is_scored_once(crm: Crm, scoring: Scoring) -> None:
    assert scoring.scores["entity_id"].tolist() == open_rows(crm, LEADS, as_of=AS_OF)["lead_id"].tolist()
    expected = scoring.model.predict_proba(scoring.X)[:, 1]
    assert scoring.scores["p"].tolist() == expected.tolist()
    assert (scoring.scores["p_low"] <= scoring.scores["p"]).all()
    assert (scoring.scores["p"] <= scoring.scores["p_high"]).all()
    assert scoring.scores["band"].notna().all()
    assert (scoring.scores["expected_margin"] == 1000 * scoring.scores["p"]).all()


def test_past_rows_are_none_that_the_tested_twin_had_learned_from(registry: Registry, scoring: Scoring) -> None:
    trained = pd.Timestamp(registry.published().tested_meta["train"]["to"])
    assert len(scoring.past) > 300
    assert (scoring.past["as_of"] > trained + pd.Timedelta(days=90)).all()
    assert scoring.past["p"].notna().all()
    bands = scoring.past_bands().set_index("band")
    assert bands.loc["Very high", "observed"] > 2 * bands.loc["Low", "observed"]  # the demo holds a strong signal
    assert bands["observed_share"].sum() == pytest.approx(1.0)


def test_cut_points_come_from_past_scores_or_from_the_model(crm: Crm, scoring: Scoring) -> None:
    before = scoring.past[scoring.past["as_of"] < pd.Timestamp(scoring.published.as_of)]
    assert scoring.cuts == CutPoints.from_scores(before["p"].to_numpy())
    grades = scoring.cuts.grade(scoring.scores["p"].to_numpy())
    assert scoring.scores["grade"].tolist() == grades.tolist()


def test_reasons_add_up_to_the_score(scoring: Scoring) -> None:
    why = scoring.first_reasons(n=3)
    best = scoring.scores["p"].max()
    assert why["points"].sum() == pytest.approx(100 * best, abs=1e-9)
    assert why["log odds"].sum() == pytest.approx(np.log(best / (1 - best)), abs=1e-9)
    assert (why["direction"] == "for").sum() <= 3
    first = scoring.call_first(limit=5)
    assert first["percent"].is_monotonic_decreasing
    assert first["reasons_for"].str.len().gt(0).all()


def test_changes_add_up_and_name_what_they_compare(scoring: Scoring, tmp_path) -> None:
    history = ScoreHistory(tmp_path / "h.duckdb")
    asked = scoring.changes(history)
    assert not asked.stored
    assert asked.since == pd.Timestamp("2024-12-07")
    earlier = asked.table[["entity_id", "p_old"]].rename(columns={"p_old": "p"})
    earlier = earlier.assign(entity="lead", as_of=asked.since, p=earlier["p"] * 0.9)  # as if records had been revised
    history.append(
        earlier,
        question=LEADS.slug,
        as_of="2024-12-07",
        model_id=scoring.published.model_id,
        data_fingerprint="older",
    )
    found = scoring.changes(history)
    assert found.stored
    table = found.table
    assert (table["points"] - table[list(explain.PARTS)].sum(axis=1)).abs().max() < 1e-9
    assert (table["points"] - 100 * (table["p_new"] - table["p_old"])).abs().max() < 1e-9
    assert (table["data revisions"] > 0).all()
    assert (table["model"] == 0).all()
    assert "scores given for 2024-12-07" in scores.change_sentence(scoring, found)


def test_saving_twice_is_saving_once(scoring: Scoring, tmp_path) -> None:
    history = ScoreHistory(tmp_path / "h.duckdb")
    first, again = (scoring.save(history, folder=tmp_path / "out") for _ in range(2))
    assert first.entry == again.entry == 1
    assert first.export.sha256 == again.export.sha256
    assert all(path.exists() for path in first.paths)
    stored = history.at(LEADS.slug, as_of=AS_OF)
    assert stored["p"].tolist() == scoring.scores["p"].tolist()
    exported = pd.read_parquet(first.export.parquet)
    assert exported["p"].tolist() == scoring.scores["p"].tolist()
    assert {"reasons_for", "reasons_against", "owner_id"} <= set(exported)


def test_sentences_and_views_say_what_is_there(scoring: Scoring) -> None:
    assert f"{len(scoring.scores):,} open leads are scored" in scores.scores_sentence(scoring)
    assert scores.scores_tone(scoring) == "good"
    assert "came true" in scores.band_sentence(scoring)
    assert "Owners enter no probability" in scores.override_sentence(scoring)
    assert "worth the same" in scores.margin_sentence(scoring)
    doubtful = scoring.wrong_data()
    assert f"{len(doubtful):,} of the scored" in scores.wrong_data_sentence(scoring, doubtful)
    assert scores.call_view(scoring, limit=3)["id"].tolist() == scoring.call_first(limit=3)["entity_id"].tolist()
    assert len(scores.margin_view(scoring, limit=4)) == 4


def test_effort_is_learned_from_wins(scoring: Scoring) -> None:
    effort = scoring.effort()
    assert effort["days_left"].notna().all()
    assert (effort["days_low"] <= effort["days_left"]).all()
    assert "estimate from history" in scores.effort_sentence(scoring)


def test_without_a_published_model_there_is_no_score_anywhere(nothing: Scoring, tmp_path) -> None:
    assert nothing.published is None
    assert nothing.scores.empty
    assert len(nothing.rows) > 50
    history = ScoreHistory(tmp_path / "h.duckdb")
    changes, saved = nothing.changes(history), nothing.save(history, folder=tmp_path / "out")
    assert saved.entry is None
    assert not history.path.exists()
    assert changes.table.empty
    views = [
        scores.call_view(nothing),
        scores.margin_view(nothing),
        scores.disagreement_view(nothing),
        scores.effort_view(nothing),
        scores.change_view(changes),
        scores.wrong_data_view(nothing.wrong_data()),
        nothing.first_reasons(),
        nothing.cut_table(),
        pd.read_parquet(saved.export.parquet),
    ]
    assert [len(view) for view in views] == [0] * len(views)
    said = scores.scores_sentence(nothing)
    assert said.startswith("No scores: not enough evidence.")
    assert "03_model_comparison" in said
    assert scores.scores_tone(nothing) == "caution"
    others = [scores.band_sentence, scores.override_sentence, scores.margin_sentence, scores.effort_sentence]
    assert all("nothing is shown" in sentence(nothing) for sentence in others)


def test_a_model_of_newer_data_gives_no_older_scores(crm: Crm, registry: Registry) -> None:
    earlier = score_open(crm, LEADS, as_of="2024-11-04", registry=registry, seed=0)
    assert earlier.published is None


def test_scores_know_nothing_later(crm: Crm, registry: Registry, scoring: Scoring) -> None:
    cut = crm.cut(as_of=AS_OF)
    found = score_open(cut, LEADS, as_of=AS_OF, registry=registry, seed=0, conversion_value=1000.0)
    pd.testing.assert_frame_equal(found.scores, scoring.scores)


def test_a_single_look_expires_with_its_horizon(crm: Crm, tmp_path) -> None:
    found = score_open(crm, DEALS, as_of=AS_OF, registry=publish(crm, DEALS, tmp_path), seed=0)
    every = open_rows(crm, DEALS, as_of=AS_OF)
    late = every["as_of"] + pd.Timedelta(days=90) <= pd.Timestamp(AS_OF)
    assert found.n_expired == late.sum() > 0
    assert found.scores["entity_id"].tolist() == every.loc[~late, "opportunity_id"].tolist()
    assert "horizon counts from there" in scores.scores_sentence(found)
    assert found.scores["band"].isna().all()  # fewer than a hundred
    assert f"there are {len(found.scores)}" in found.priority.reason
    assert found.changes(ScoreHistory(tmp_path / "h.duckdb")).table.empty
    right = found.who_was_right().set_index("who_expected_more")
    assert right.loc["all", "rows"] == found.past["owner_probability"].notna().sum() > 0


def test_a_persons_number_stands_beside_the_score_and_changes_nothing(scoring, crm, tmp_path):
    history = ScoreHistory(tmp_path / "h.duckdb")
    first = scoring.scores["entity_id"].iloc[0]
    said = {"as_of": AS_OF, "override": 0.9, "given_by": "R0001", "reason": "call 0039 335 123 4567, budget is there"}
    assert scores.record_override(crm, LEADS, history, entity_id=first, **said) == 1
    kept = history.overrides(LEADS.slug, as_of=AS_OF).iloc[0]
    assert "335" not in kept["reason"]
    assert "budget is there" in kept["reason"]
    beside = scoring.with_overrides(history).set_index("entity_id")
    assert beside["p"].tolist() == scoring.scores["p"].tolist()
    assert beside.loc[first, ["override", "override_by"]].to_list() == [0.9, "R0001"]
    assert beside["override"].notna().sum() == 1
    view = scores.override_view(scoring, history)
    assert view[["id", "person says", "who"]].to_numpy().tolist() == [[first, 0.9, "R0001"]]
    exported = scores.read_csv_export(scoring.save(history, folder=tmp_path / "out").export.csv)
    assert exported.set_index("entity_id").loc[first, "override_by"] == "R0001"
    assert "override_reason" not in exported
    with pytest.raises(DataError, match="There is no open lead `nobody`"):
        scores.record_override(crm, LEADS, history, entity_id="nobody", **said)
    with pytest.raises(ParameterError, match="by pseudonym"):
        scores.record_override(crm, LEADS, history, entity_id=first, **said | {"given_by": "Anna Rossi"})
