"""Truth tier: on a CRM whose odds are known, the chosen model comes near them; without a signal it claims nothing."""

import numpy as np
import pandas as pd
import pytest

from crmlab import demo
from crmlab.crm import Crm
from crmlab.evaluation import (
    ORACLE,
    Comparison,
    choose_split,
    compare_models,
    entry_order,
    oracle_probabilities,
    random_claims,
    share_of_way,
)
from crmlab.features import build_features
from crmlab.findings import model_finding
from crmlab.snapshots import Question, build_snapshots
from crmlab.splits import random_split
from crmlab.store import Store

pytestmark = pytest.mark.truth

AS_OF, HORIZON, SEED = "2025-01-06", 90, 11
QUESTION = Question("demo", "lead", "within_horizon", HORIZON, "monthly")
MARGIN = 0.55
"""Least share of the way from the base rate to the oracle that the chosen model must come; 0.5 would be half-way."""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Crm, pd.DataFrame, pd.DataFrame]:
    store = Store(tmp_path_factory.mktemp("truth") / "demo.duckdb")
    store.load(demo.iter_crm(n_leads=5000, seed=SEED), fingerprint="truth")
    crm = Crm(store, "demo", truth=demo.Truth.read(store))
    rows = build_snapshots(
        crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=HORIZON, every="monthly"
    )
    return crm, rows, build_features(crm, rows)


def compare(study, rows: pd.DataFrame, split=None) -> Comparison:
    crm, _, features = study
    split = split or choose_split(crm, rows, label="within_horizon", test_share=0.3, horizon_days=HORIZON, seed=SEED)
    oracle = oracle_probabilities(crm, rows, horizon_days=HORIZON)
    return compare_models(
        features, rows, split, order=entry_order(crm, rows), n_bootstrap=100, seed=SEED, oracle=oracle
    )


@pytest.fixture(scope="module")
def honest(study) -> Comparison:
    return compare(study, study[1])


def test_chosen_model_lies_between_base_rate_and_oracle_nearer_the_oracle(honest):
    base, model, best = (honest.value("log loss", m)["value"] for m in ("base rate", honest.chosen, ORACLE))
    assert best < model < base
    assert MARGIN < share_of_way(honest) < 1


def test_it_beats_both_floors_with_its_whole_interval_and_is_calibrated(honest):
    floors = honest.against_floors(n_bootstrap=200, seed=SEED)
    assert floors["beaten"].all()
    assert honest.value("calibration error")["value"] < 0.05
    assert model_finding(honest, floors, question=QUESTION).tone == "good"


def test_nothing_beats_the_oracle_out_of_time(honest):
    losses = honest.metrics[honest.metrics["metric"] == "log loss"].set_index("model")["value"]
    assert losses.idxmin() == ORACLE


def test_shuffled_labels_do_not_beat_the_base_rate(study):
    _, rows, _ = study
    leads = rows.groupby("lead_id")["label"].max()
    shuffled = pd.Series(np.random.default_rng(SEED).permutation(leads.to_numpy()), leads.index)
    label = rows["lead_id"].map(shuffled).astype("boolean").where(rows["mature"])
    spoiled = rows.assign(label=label, mature=label.notna())
    result = compare(study, spoiled)
    assert result.value("log loss")["difference_high"] >= 0
    finding = model_finding(result, result.against_floors(n_bootstrap=100, seed=SEED), question=QUESTION)
    assert finding.tone == "caution"


def test_a_random_split_claims_more_than_is_true(study, honest):
    _, rows, _ = study
    crm, _, features = study
    lot, oracle = random_split(rows, test_share=0.3, seed=SEED), oracle_probabilities(crm, rows, horizon_days=HORIZON)
    claimed = random_claims(features, rows, lot, order=entry_order(crm, rows), n_bootstrap=50, seed=SEED, oracle=oracle)
    assert share_of_way(claimed, "XGBoost") > share_of_way(honest, "XGBoost")
