"""The bench: choices are made inside training, and the test rows only measure."""

import numpy as np
import pandas as pd
import pytest

from crmlab.crm import Crm
from crmlab.evaluation import (
    BLEND,
    ORACLE,
    choose_split,
    compare_models,
    entry_order,
    random_claims,
    share_of_way,
    split_gap,
)
from crmlab.metrics import log_loss
from crmlab.models import RateTable
from crmlab.schema import NotEnoughEvidence
from crmlab.splits import random_split, temporal_split
from crmlab.store import Store


def world(n: int = 900, seed: int = 0, signal: float = 1.2) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Leads half a day apart; their true probability depends on a number, the source, and something nobody recorded."""
    generator = np.random.default_rng(seed)
    calls, source = generator.normal(size=n), generator.choice(["web", "fair"], n)
    hidden = generator.normal(size=n)
    p = 1 / (1 + np.exp(-(-1 + signal * calls + np.where(source == "fair", 0.5, 0) + 0.8 * hidden)))
    label = generator.random(n) < p
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n) * 12, unit="h")
    rows = pd.DataFrame({"lead_id": [f"L{i:04}" for i in range(n)], "as_of": dates, "mature": True})
    rows["label"] = pd.array(label, dtype="boolean")
    return pd.DataFrame({"calls": calls, "source": source, "constant": 1.0}), rows, p


@pytest.fixture(scope="module")
def comparison():
    features, rows, p = world()
    split = temporal_split(rows, test_share=0.3, gap_days=10)
    return compare_models(features, rows, split, order=rows["as_of"], n_bootstrap=50, seed=1, oracle=p)


def test_every_model_is_measured_on_the_test_rows(comparison):
    assert set(comparison.metrics["model"]) == {
        "base rate", "source table", "Odoo's method", "points card",
        "logistic regression", "random forest", "XGBoost", BLEND, ORACLE,
    }  # fmt: skip
    assert (comparison.metrics["n"] == len(comparison.split.test)).all()
    stated = comparison.value("log loss", "XGBoost")["value"]
    assert stated == pytest.approx(log_loss(comparison.y, comparison.predictions["XGBoost"]))


def test_order_of_floor_model_and_oracle(comparison):
    base, model, best = (comparison.value("log loss", m)["value"] for m in ("base rate", comparison.chosen, ORACLE))
    assert best < model < base
    assert 0.4 < share_of_way(comparison) < 1
    assert share_of_way(comparison, "base rate") == pytest.approx(0)
    assert share_of_way(comparison, ORACLE) == pytest.approx(1)


def test_learned_model_beats_both_floors(comparison):
    floors = comparison.against_floors(n_bootstrap=100, seed=1)
    assert floors["model"].tolist() == ["base rate", "source table", "Odoo's method"]
    assert floors["beaten"].all()


def test_choice_depends_on_training_rows_alone(comparison):
    features, rows, p = world()
    split = comparison.split
    spoiled = rows.copy()
    spoiled.loc[split.test, "label"] = ~spoiled.loc[split.test, "label"]
    again = compare_models(features, spoiled, split, order=rows["as_of"], n_bootstrap=20, seed=1, oracle=p)
    pd.testing.assert_frame_equal(again.inner, comparison.inner)
    assert again.chosen == comparison.chosen
    for model, scores in comparison.predictions.items():
        assert scores.tolist() == again.predictions[model].tolist()


def test_summary_puts_the_best_log_loss_first(comparison):
    summary = comparison.summary()
    assert summary["model"].iloc[0] == ORACLE
    value, low, high = summary["ROC AUC"].iloc[0]
    assert low < value < high


def test_shuffled_labels_do_not_beat_the_base_rate():
    features, rows, _ = world(seed=4)
    rows["label"] = np.random.default_rng(9).permutation(rows["label"])
    split = temporal_split(rows, test_share=0.3, gap_days=10)
    shuffled = compare_models(features, rows, split, order=rows["as_of"], n_bootstrap=100, seed=1)
    assert shuffled.value("log loss")["difference_high"] >= 0
    assert np.isnan(share_of_way(shuffled))


def test_random_split_gap_is_random_minus_honest(comparison):
    features, rows, p = world()
    lot = random_split(rows, test_share=0.3, seed=1)
    claimed = random_claims(features, rows, lot, order=rows["as_of"], n_bootstrap=20, seed=1, oracle=p)
    gap = split_gap(comparison, claimed)
    assert (gap["difference"] == gap["random"] - gap["honest"]).all()
    assert set(gap["model"]) == {"base rate", "logistic regression", "XGBoost", ORACLE}


def test_constant_features_and_an_unfinished_season_are_not_learned():
    features, rows, _ = world(400)
    features = features.assign(month=rows["as_of"].dt.month.astype(float))
    split = temporal_split(rows, test_share=0.3, gap_days=10)
    setup = {"order": rows["as_of"], "n_bootstrap": 20, "seed": 1}
    with_month = compare_models(features, rows, split, **setup)
    without = compare_models(features[["calls", "source"]], rows, split, **setup)
    assert with_month.predictions["XGBoost"].tolist() == without.predictions["XGBoost"].tolist()


def crm_of(tmp_path, leads: pd.DataFrame) -> Crm:
    store = Store(tmp_path / "crm.duckdb")
    store.load({"leads": leads}, fingerprint="test")
    return Crm(store)


def test_order_of_entry_is_the_running_number_without_dates(tmp_path):
    leads = pd.DataFrame({"lead_id": ["a", "b", "c"], "status": "new", "sequence": [30.0, 10.0, 20.0]})
    rows = pd.DataFrame({"lead_id": ["c", "a", "b"], "as_of": pd.to_datetime([None] * 3)})
    assert entry_order(crm_of(tmp_path, leads), rows).tolist() == [20, 30, 10]
    assert entry_order(crm_of(tmp_path, leads.assign(sequence=[1.0, None, 2.0])), rows).isna().all()


def test_static_study_is_split_by_order_without_a_gap(tmp_path):
    n = 200
    leads = pd.DataFrame({"lead_id": [f"L{i:03}" for i in range(n)], "status": "new", "sequence": range(n)})
    rows = pd.DataFrame(
        {
            "lead_id": leads["lead_id"],
            "as_of": pd.NaT,
            "mature": True,
            "label": pd.array([True, False] * 100, "boolean"),
        }
    )
    crm = crm_of(tmp_path, leads)
    where = {"label": "final_status", "horizon_days": 0, "seed": 1}
    with pytest.raises(NotEnoughEvidence, match="Too few outcomes to test on"):
        choose_split(crm, rows, test_share=0.05, **where)
    split = choose_split(crm, rows, test_share=0.45, **where)
    assert split.test.tolist() == list(range(110, 200))
    nowhere = crm_of(tmp_path, leads.assign(sequence=np.nan))
    assert choose_split(nowhere, rows, test_share=0.45, **where).name == "random"


def test_a_floor_as_good_inside_training_is_kept_instead_of_the_blend():
    features, rows, _ = world(500, signal=0.0)
    rows["label"] = np.random.default_rng(2).random(500) < 0.3
    split = temporal_split(rows, test_share=0.3, gap_days=10)
    result = compare_models(features, rows, split, order=rows["as_of"], n_bootstrap=20, seed=1)
    inner = result.inner.set_index("model")["inner log loss"]
    assert inner[result.chosen] == inner[[BLEND, *result.floors]].min()


def test_extra_models_are_shown_and_never_chosen():
    features, rows, p = world(500)
    split = temporal_split(rows, test_share=0.3, gap_days=10)

    class Truth(RateTable):
        def predict_proba(self, X):
            return np.column_stack([1 - p[X.index], p[X.index]])

    setup = {"order": rows["as_of"], "n_bootstrap": 20, "seed": 1}
    result = compare_models(features, rows, split, extra={"truth": Truth}, **setup)
    assert result.summary()["model"].iloc[0] == "truth"
    assert result.chosen != "truth"
