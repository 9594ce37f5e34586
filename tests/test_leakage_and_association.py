"""The proof by deletion sees a planted leak; single features are ranked without flattering small levels."""

import numpy as np
import pandas as pd
import pytest

from crmlab import leakage
from crmlab.association import association_table, example_history, missing_table
from crmlab.crm import Crm
from crmlab.features import build_features, feature_catalog
from crmlab.store import Store


@pytest.fixture
def crm(tmp_path) -> Crm:
    """Two leads, three calls; one call was logged two days late."""
    leads = pd.DataFrame(
        {
            "lead_id": ["A", "B"],
            "status": "working",
            "source": ["web", "fair"],
            "created_at": pd.to_datetime(["2024-01-01", "2024-01-02"]),
        }
    )
    calls = pd.DataFrame(
        {
            "interaction_id": ["1", "2", "3"],
            "lead_id": ["A", "A", "B"],
            "type": "call",
            "ts": pd.to_datetime(["2024-01-05", "2024-01-09", "2024-01-09"]),
            "known_at": pd.to_datetime(["2024-01-05", "2024-01-11", "2024-01-09"]),
        }
    )
    store = Store(tmp_path / "crm.duckdb")
    store.load({"leads": leads, "interactions": calls}, fingerprint="test")
    return Crm(store)


@pytest.fixture
def rows() -> pd.DataFrame:
    dates = pd.to_datetime(["2024-01-10", "2024-01-17", "2024-01-10", "2024-01-17"])
    label = pd.array([True, True, False, False], dtype="boolean")
    return pd.DataFrame({"lead_id": ["A", "A", "B", "B"], "as_of": dates, "label": label, "mature": True})


def test_honest_features_do_not_change_when_the_future_is_deleted(crm, rows):
    table = leakage.truncation_table(crm, rows, build_features(crm, rows), n_dates=5)
    assert table["as_of"].tolist() == [pd.Timestamp("2024-01-10"), pd.Timestamp("2024-01-17")]
    assert table["rows"].tolist() == [2, 2]
    assert table["changed"].sum() == 0


def test_a_planted_leak_is_counted(crm, rows):
    features = build_features(crm, rows)
    features.loc[0, "call_n_30d"] += 1  # as if the call logged on 11 January had been known on the 10th
    table = leakage.truncation_table(crm, rows, features, n_dates=5)
    assert table["changed"].tolist() == [1, 0]


def test_a_feature_from_todays_value_is_counted(crm, rows):
    features = build_features(crm, rows).assign(status=["working"] * 4)
    assert leakage.truncation_table(crm, rows, features, n_dates=5)["changed"].tolist() == [2, 2]


def test_nothing_to_prove_without_dates(crm, rows):
    undated = rows.assign(as_of=pd.NaT)
    assert leakage.truncation_table(crm, undated, pd.DataFrame(index=rows.index), n_dates=5).empty


def many_rows(n: int = 2000) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    dates = pd.to_datetime(generator.choice(["2024-02-01", "2024-05-01"], n))
    label = pd.array(generator.random(n) < 0.3, dtype="boolean")
    return pd.DataFrame({"lead_id": [f"L{i}" for i in range(n)], "as_of": dates, "label": label, "mature": True})


def test_strength_direction_and_periods():
    rows = many_rows()
    y = rows["label"].astype(float)
    noise = np.random.default_rng(1).normal(size=len(rows))
    first = rows["as_of"] == pd.Timestamp("2024-02-01")
    features = pd.DataFrame(
        {"noise": noise, "against": noise - 2 * y, "turning": noise + np.where(first, 1.5, -0.5) * y, "perfect": y}
    )
    table = association_table(features, rows).set_index("feature")
    assert table.index[0] == "perfect"
    assert table.loc["perfect", "auc"] == 1
    assert table.loc["noise", "auc"] == pytest.approx(0.5, abs=0.04)
    assert table.loc["against", "auc"] < 0.2
    assert table.loc["against", "same_direction"] == 1
    assert table.loc["turning", "same_direction"] == 0.5
    assert {"2024 Q1", "2024 Q2"} <= set(table.columns)


def test_many_small_levels_do_not_look_good_by_accident():
    rows = many_rows()
    levels = pd.Series([f"level {i % 700}" for i in range(len(rows))])
    table = association_table(pd.DataFrame({"levels": levels}), rows)
    assert table["auc"].item() == pytest.approx(0.5, abs=0.05)


def test_censored_rows_do_not_count():
    rows = many_rows(200)
    features = pd.DataFrame({"x": np.arange(200.0)})
    rows.loc[100:, "mature"] = False
    rows.loc[100:, "label"] = pd.NA
    expected = association_table(features[:100], rows[:100])
    pd.testing.assert_frame_equal(association_table(features, rows), expected)


def test_missing_table_says_why(crm, rows):
    features = build_features(crm, rows.assign(as_of=pd.to_datetime("2024-01-04")))
    table = missing_table(features, feature_catalog(features, crm)).set_index("feature")
    assert table.loc["call_recency_days", "missing"] == 1
    assert table.loc["call_recency_days", "why"] == "no such interaction so far"


def test_example_is_one_converted_lead(crm, rows):
    history = example_history(build_features(crm, rows), rows, columns=["call_n_30d", "no_such_feature"])
    assert history["lead_id"].unique().tolist() == ["A"]
    assert history.columns.tolist() == ["lead_id", "as_of", "call_n_30d", "label"]
    assert example_history(build_features(crm, rows), rows.assign(label=False), columns=[]).empty
