"""The proof by deletion sees a planted leak."""

import pandas as pd
import pytest

from crmlab import leakage
from crmlab.crm import Crm
from crmlab.features import build_features
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
