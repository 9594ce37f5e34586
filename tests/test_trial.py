"""A study from rows to a publication: one demo firm, every view on it, and a gate that lets it pass or not."""

import numpy as np
import pandas as pd
import pytest

from crmlab import demo, findings, gate
from crmlab.crm import Crm
from crmlab.evaluation import BLEND, HAZARD, ORACLE, open_trial
from crmlab.leakage import leak_verdict
from crmlab.models.closed_only import CLOSED_ONLY, EVERY_DEAL
from crmlab.registry import Registry
from crmlab.schema import NotEnoughEvidence
from crmlab.snapshots import Question
from crmlab.store import Store

AS_OF = "2025-01-06"
LEADS = Question("demo", "lead", "within_horizon", 90, "monthly")
DEALS = Question("demo", "opportunity", "within_horizon", 90, "monthly")
BOUNDS = {"min_outcomes": 40, "max_calibration_error": 0.05, "non_inferiority_margin": 0.01, "n_bootstrap": 200}

pytestmark = pytest.mark.truth


@pytest.fixture(scope="module")
def crm(tmp_path_factory) -> Crm:
    store = Store(tmp_path_factory.mktemp("trial") / "demo.duckdb")
    store.load(demo.iter_crm(n_leads=3000, seed=5), fingerprint="trial")
    return Crm(store, "demo", truth=demo.Truth.read(store))


@pytest.fixture(scope="module")
def trial(crm):
    return open_trial(crm, LEADS, as_of=AS_OF, test_share=0.3, n_bootstrap=60, seed=7)


@pytest.fixture(scope="module")
def compared(trial):
    return trial.compare(n_trials=0)


@pytest.fixture(scope="module")
def deals(crm):
    return open_trial(crm, DEALS, as_of=AS_OF, test_share=0.3, n_bootstrap=60, seed=7)


def no_leaks():
    proof = pd.DataFrame({"as_of": [1], "rows": [5], "features": [50], "changed": [0]})
    return leak_verdict(proof, proof, pd.DataFrame({"column": [], "verdict": [], "explanation": []}))


def test_every_view_speaks_of_the_test_rows(trial, compared):
    n = len(trial.split.test)
    assert all(len(p) == n for p in compared.predictions.values())
    slices = trial.slices(compared)
    assert (slices.groupby("column")["n"].sum() == n).all()
    assert slices.groupby("column")["outcomes"].sum().unique().tolist() == [compared.y.sum()]
    reliability = trial.reliability(compared).set_index("measure")["value"]
    parts = reliability["reliability"] - reliability["resolution"] + reliability["uncertainty"] + reliability["within"]
    assert parts == pytest.approx(reliability["Brier"])


def test_segments_that_differ_in_nothing_but_their_level_earn_no_model_of_their_own(trial):
    table = trial.segments()
    assert list(dict.fromkeys(table["column"])) == ["source", "industry"]
    spelled = trial.features["source"].dropna().drop_duplicates().str.strip().str.casefold()
    assert spelled.duplicated().any()
    shown = table.loc[table["column"] == "source", "segment"]
    assert not shown.str.strip().str.casefold().duplicated().any()
    compared = table[table["own_loss"].notna()]
    assert len(compared) >= 2
    assert (compared["difference_low"] < compared["own_loss"] - compared["pooled_loss"]).all()
    assert not compared["used"].any()
    assert "None of" in findings.segments_finding(table).sentence


def test_nothing_is_said_of_segments_too_small_to_compare():
    empty = pd.DataFrame({"column": [], "segment": [], "own_loss": [], "used": []})
    assert findings.segments_finding(empty).sentence.startswith("No segment holds enough outcomes")
    one = pd.DataFrame({"column": ["source"], "segment": ["web"], "own_loss": [0.3], "used": [True]})
    assert "1 of 1 segments" in findings.segments_finding(one).sentence


def test_calling_by_score_earns_more_than_by_lot_and_less_than_by_the_truth(trial, compared):
    calls = trial.calls(compared, capacity=15, call_cost=20, conversion_value=1500).set_index("way")
    assert calls.loc["random order", "profit"] < calls.loc[BLEND, "profit"] < calls.loc["true probability", "profit"]
    found = findings.calls_finding(calls.reset_index(), compared, question=LEADS, capacity=15)
    assert "This is the value of the order" in found.sentence


def test_intervals_are_measured_against_the_truth(trial, compared):
    coverage = trial.coverage(compared).set_index("what")
    assert coverage.loc["single cases", "share"] < coverage.loc["score bands", "share"] <= 1
    assert "score bands" in findings.coverage_finding(coverage.reset_index()).sentence


def test_models_begun_at_other_dates_are_tested_after_them(trial):
    origins = trial.origins(n_origins=3)
    gap = origins["test_from"] - origins["train_to"]
    assert (gap >= pd.Timedelta(days=LEADS.horizon_days)).all()
    assert origins["origin"].nunique() >= 2


def test_a_passing_model_is_published_with_its_twin_and_interval(trial, compared, tmp_path):
    case = gate.open_case(trial, registry=Registry(LEADS, tmp_path), **BOUNDS)
    verdict = gate.decide(case, compared, leaks=no_leaks())
    assert verdict.passed, verdict.reasons
    published = gate.publish_case(case, compared, verdict, leaks=no_leaks())
    assert published.load_tested().predict_proba(trial.tested)[:, 1].tolist() == compared.predictions[BLEND].tolist()
    refit = published.load()
    assert not np.array_equal(refit.predict_proba(trial.tested)[:, 1], compared.predictions[BLEND])
    assert refit.weights_ == compared.model.weights_
    assert refit.settings_ == compared.model.settings_
    low, high = published.load_interval().interval(np.array([0.1, 0.5]))
    assert (low < [0.1, 0.5]).all()
    assert (high > [0.1, 0.5]).all()
    assert published.meta["train"]["rows"] == int(trial.rows["mature"].sum())
    assert gate.publish_case(case, compared, verdict, leaks=no_leaks()).number == published.number
    sentence = findings.publication_finding(published, verdict).sentence
    assert published.model_id in sentence


def test_without_a_look_for_leaks_nothing_passes(trial, compared, tmp_path):
    case = gate.open_case(trial, registry=Registry(LEADS, tmp_path), **BOUNDS)
    verdict = gate.decide(case, compared, leaks=None)
    assert not verdict.passed
    assert gate.publish_case(case, compared, verdict) is None
    found = findings.verdict_finding(verdict, compared, question=LEADS)
    assert found.tone == "caution"
    assert "Not enough evidence to publish a score of conversion within 90 days" in found.sentence


def test_thresholds_eased_after_the_verdict_are_seen(trial, compared, tmp_path):
    registry = Registry(LEADS, tmp_path)
    gate.decide(gate.open_case(trial, registry=registry, **BOUNDS), compared, leaks=no_leaks())
    eased = gate.open_case(trial, registry=registry, **(BOUNDS | {"max_calibration_error": 0.5}))
    assert eased.opened.tampered
    verdict = gate.decide(eased, compared, leaks=no_leaks())
    assert not verdict.passed
    assert "changed after this test window had its verdict" in " ".join(verdict.reasons)


def test_deals_have_hazards_owners_and_stages_beside_the_blend(deals):
    compared = deals.compare(n_trials=2)
    shown = set(compared.predictions)
    assert {HAZARD, BLEND, ORACLE, "stage table", "owner's probability", "Odoo's method", "points card"} <= shown
    assert {"scikit-learn boosting", "XGBoost, tuned"} <= shown
    losses = compared.metrics[compared.metrics["metric"] == "log loss"].set_index("model")["value"]
    assert losses[ORACLE] == losses.min()
    assert losses[HAZARD] < losses["base rate"]
    margins = deals.margin_ranking(compared).set_index(["way", "share"])["captured"]
    assert margins["by probability × margin", 0.3] > margins["by probability", 0.3]


def test_closed_deals_alone_tell_another_story(deals):
    table = deals.closed_only()
    assert set(table["model"]) == {EVERY_DEAL, CLOSED_ONLY}
    assert "were won" in findings.closed_only_finding(table).sentence


def test_too_few_outcomes_stop_a_study_before_anything_is_fitted(crm):
    with pytest.raises(NotEnoughEvidence, match="Too few outcomes"):
        open_trial(crm, LEADS, as_of="2022-07-04", test_share=0.3, n_bootstrap=60, seed=7)
