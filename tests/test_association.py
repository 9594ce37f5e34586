"""Single features are ranked without flattering small levels; gaps and one history are told for every entity."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmlab.association import association_table, example_history, missing_table
from crmlab.metrics import roc_auc
from crmlab.schema import DataError


def many_rows(n: int = 2000, *, key: str = "lead_id") -> pd.DataFrame:
    generator = np.random.default_rng(0)
    dates = pd.to_datetime(generator.choice(["2024-02-01", "2024-05-01"], n))
    label = pd.array(generator.random(n) < 0.3, dtype="boolean")
    return pd.DataFrame({key: [f"L{i}" for i in range(n)], "as_of": dates, "label": label, "mature": True})


@pytest.mark.parametrize("key", ["lead_id", "opportunity_id", "account_id", "rep_id"])
def test_strength_direction_and_periods(key):
    rows = many_rows(key=key)
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


def test_numbers_by_hand():
    """Two periods of four rows; the gap ranks below everything and a tie counts half."""
    rows = pd.DataFrame(
        {
            "account_id": list("abcdefgh"),
            "as_of": pd.to_datetime(["2024-01-31"] * 4 + ["2024-02-29"] * 4),
            "label": pd.array([True, False, True, False] * 2, dtype="boolean"),
            "mature": True,
        }
    )
    features = pd.DataFrame({"x": [3.0, 1, 2, 2, np.nan, 1, 2, 3]})
    table = association_table(features, rows, freq="month").iloc[0]
    assert table["2024-01"] == 3.5 / 4
    assert table["2024-02"] == 1 / 4
    # Of 16 pairs: the 3 wins 3.5, each 2 wins 2.5, the gap wins none.
    assert table["auc"] == (3.5 + 2 * 2.5 + 0) / 16
    assert (table["auc_low"], table["auc_high"], table["n"]) == (1 / 4, 3.5 / 4, 8)


@settings(max_examples=60, deadline=None)
@given(
    data=st.lists(st.tuples(st.none() | st.integers(0, 4), st.booleans(), st.integers(1, 3), st.booleans()), min_size=1)
)
def test_every_area_is_that_of_the_plain_measure(data):
    values, label, month, mature = (list(column) for column in zip(*data, strict=True))
    rows = pd.DataFrame(
        {
            "rep_id": [f"R{i}" for i in range(len(data))],
            "as_of": pd.to_datetime([f"2024-{m:02d}-01" for m in month]),
            "label": pd.array(label, dtype="boolean"),
            "mature": mature,
        }
    )
    rows["label"] = rows["label"].where(rows["mature"])
    x = pd.Series(values, dtype="float64")
    table = association_table(pd.DataFrame({"x": x}), rows, freq="month").iloc[0]
    used = rows[rows["mature"]].assign(x=x.fillna(-np.inf), y=rows["label"].astype("float64"))
    expected = {"auc": used} | dict(list(used.groupby(used["as_of"].dt.strftime("%Y-%m"))))
    for name, part in expected.items():
        area = roc_auc(part["y"].to_numpy(), part["x"].to_numpy())
        assert table[name] == pytest.approx(area, rel=1e-12, nan_ok=True)
    assert set(table.index[6:]) == set(expected) - {"auc"}


def test_many_small_levels_do_not_look_good_by_accident():
    rows = many_rows()
    levels = pd.Series([f"level {i % 700}" for i in range(len(rows))])
    table = association_table(pd.DataFrame({"levels": levels}), rows)
    assert table["auc"].item() == pytest.approx(0.5, abs=0.05)


def test_levels_that_tell_the_outcome_are_found_and_a_missing_one_is_a_level():
    rows = many_rows()
    told = pd.Series(np.where(rows["label"], "yes", "no"), dtype="str")
    for values in (told, told.where(told == "yes"), told.where(told == "no"), told.astype("category")):
        assert association_table(pd.DataFrame({"told": values}), rows)["auc"].item() == 1


def test_halves_follow_the_entity_not_the_row():
    """One entity with all its rows lies in one half: its own level cannot be learned from itself."""
    rows = many_rows(900, key="rep_id")
    rows["rep_id"] = [f"R{i % 9}" for i in range(900)]
    rows["label"] = pd.array(rows["rep_id"].isin(["R1", "R4", "R6"]), dtype="boolean")
    own = association_table(pd.DataFrame({"own": rows["rep_id"]}), rows)["auc"].item()
    assert own == 0.5


def test_censored_rows_do_not_count():
    rows = many_rows(200)
    features = pd.DataFrame({"x": np.arange(200.0)})
    rows.loc[100:, "mature"] = False
    rows.loc[100:, "label"] = pd.NA
    expected = association_table(features[:100], rows[:100])
    pd.testing.assert_frame_equal(association_table(features, rows), expected)


def test_index_changes_nothing_and_the_arguments_are_left():
    rows, features = many_rows(50), pd.DataFrame({"x": np.arange(50.0), "s": ["a", "b"] * 25})
    expected = association_table(features, rows)
    odd_rows, odd = rows.set_index(np.arange(50) % 3), features.set_index(np.arange(50) % 3)
    kept = odd_rows.copy(deep=True), odd.copy(deep=True)
    pd.testing.assert_frame_equal(association_table(odd, odd_rows), expected)
    pd.testing.assert_frame_equal(odd_rows, kept[0])
    pd.testing.assert_frame_equal(odd, kept[1])


def test_without_a_mature_row_there_is_nothing_to_compare():
    rows = many_rows(10).assign(mature=False, label=pd.array([pd.NA] * 10, dtype="boolean"))
    table = association_table(pd.DataFrame({"x": np.arange(10.0), "s": "a"}), rows)
    assert table["n"].tolist() == [0, 0]
    assert table["auc"].isna().all()


def test_rows_without_a_key_are_refused():
    with pytest.raises(DataError, match="exactly one key column"):
        association_table(pd.DataFrame({"x": np.arange(10.0)}), many_rows(10).drop(columns="lead_id"))


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("recency", "no such event so far"),
        ("since first", "no such event so far"),
        ("mean", "no such event with a value in the window"),
        ("trend", "no such event in the longer window"),
        ("exposure", "nobody knows since when"),
        ("ratio", "denominator is zero"),
        ("difference", "one of its two values"),
        ("state", "not set so far"),
        ("field", "not filled in the CRM"),
        ("own column", "not filled in the CRM"),
        ("linked", "no such link then"),
        ("text", "no text so far"),
        ("count", "should have no gaps"),
    ],
)
def test_missing_table_says_why(family, why):
    features = pd.DataFrame({"full": [1, 2], "half": [np.nan, 1.0], "none": [None, None]})
    catalog = pd.DataFrame({"feature": ["none", "half", "full"], "family": [family, "field", "count"]})
    table = missing_table(features, catalog).set_index("feature")
    assert table["missing"].to_dict() == {"none": 1, "half": 0.5}
    assert why in table.loc["none", "why"]


@pytest.mark.parametrize("key", ["lead_id", "account_id"])
def test_example_is_one_entity_with_the_outcome(key):
    dates = pd.to_datetime(["2024-01-10", "2024-01-17", "2024-01-10", "2024-01-17", "2024-01-24", "2024-01-10"])
    label = pd.array([True, False, False, False, None, True], dtype="boolean")
    rows = pd.DataFrame({key: list("AABBBC"), "as_of": dates, "label": label}, index=[0, 0, 1, 1, 2, 2])
    features = pd.DataFrame({"calls_n_30d": range(6)}, index=rows.index)
    history = example_history(features, rows, columns=["calls_n_30d", "no_such_feature"])
    assert history.columns.tolist() == [key, "as_of", "calls_n_30d", "label"]
    assert history[key].unique().tolist() == ["A"]
    assert history["calls_n_30d"].tolist() == [0, 1]
    assert example_history(features, rows.assign(label=False), columns=[]).empty
