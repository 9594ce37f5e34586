"""Slices by hand, flags on planted faults and not on chance, and equal treatment."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from crmlab.evaluation.slices import benjamini_hochberg, fairness_table, slice_labels, slice_table
from crmlab.schema import DataError, ParameterError


def firm(
    n: int = 4000, *, seed: int = 0, rows_each: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray, pd.DataFrame]:
    """Calibrated scores of entities with several rows, which share their outcome, and what to slice by."""
    generator = np.random.default_rng(seed)
    p = generator.beta(2, 6, n)
    y = (generator.random(n) < p).astype(float)
    context = pd.DataFrame(
        {
            "source": generator.choice(["fair", "web", "call", "partner"], n),
            "owner_id": generator.choice([f"R{k:02d}" for k in range(10)], n),
            "employees": generator.integers(1, 400, n).astype(float),
        }
    )
    each = np.repeat(np.arange(n), rows_each)
    return y[each], p[each], each, context.iloc[each].reset_index(drop=True)


def test_by_hand():
    y, p = np.array([1.0, 0, 0, 1]), np.array([0.5, 0.5, 0.2, 0.2])
    context = pd.DataFrame({"source": ["a", "a", "b", "b"]})
    table = slice_table(y, p, np.array([1, 2, 3, 4]), context, ["source", "not there"]).set_index("slice")
    assert table.loc["a", ["n", "entities", "outcomes", "predicted", "observed", "gap"]].to_list() == [
        2,
        2,
        1,
        0.5,
        0.5,
        0,
    ]
    assert table.loc["b", "gap"] == pytest.approx(0.3)
    assert table.loc["a", "log_loss"] == pytest.approx(np.log(2))
    assert table["p_value"].isna().all()  # two entities: shown, not judged
    assert not table["flagged"].any()


def test_size_classes_thirds_and_levels():
    sizes = slice_labels(pd.Series([9, 10, 49, 50, 249, 250, np.nan], name="employees"))
    assert sizes.to_list() == ["1 to 9", *["10 to 49"] * 2, *["50 to 249"] * 2, "250 and more", "(missing)"]
    thirds = slice_labels(pd.Series(np.arange(9.0), name="amount"))
    assert thirds.value_counts().to_list() == [3, 3, 3]
    assert slice_labels(pd.Series([0, 1, 1], name="flag")).to_list() == ["0", "1", "1"]
    text = slice_labels(pd.Series(["Web form", "web_form", "Web form", "Fair", None], name="source"), most=1)
    assert text.to_list() == ["Web form", "Web form", "Web form", "(other)", "(missing)"]


def test_numbers_all_missing_and_thirds_that_fall_together():
    assert set(slice_labels(pd.Series([np.nan, np.nan], name="amount"))) == {"(missing)"}
    assert slice_labels(pd.Series([1.0, 1, 1, 1, 2, 3, 4, 5, 6], name="amount")).nunique() == 2


def test_a_planted_fault_is_flagged_and_only_it():
    y, p, groups, context = firm()
    wrong = np.where(context["source"] == "fair", np.clip(p + 0.12, 0, 1), p)
    flagged = slice_table(y, wrong, groups, context, ["source"]).query("flagged")
    assert flagged["slice"].to_list() == ["fair"]
    assert flagged["gap"].iloc[0] == pytest.approx(-0.12, abs=0.04)
    assert flagged["gap_high"].iloc[0] < 0


def test_chance_is_hardly_ever_flagged_though_rows_repeat():
    """Each entity stands six times: taken for independent rows, one slice in three would be flagged."""
    firms = [firm(800, seed=k, rows_each=6) for k in range(25)]
    tables = [slice_table(*of, ["source", "owner_id", "employees"]) for of in firms]
    assert np.mean([t["flagged"].any() for t in tables]) <= 0.12
    alone = [slice_table(y, p, np.arange(len(y)), c, ["source", "owner_id", "employees"]) for y, p, _, c in firms]
    assert np.mean([t["flagged"].any() for t in alone]) > 0.9


def test_repeated_rows_widen_the_interval_as_much_as_they_must():
    y, p, groups, context = firm(1500, rows_each=1)
    once = slice_table(y, p, groups, context, ["source"]).set_index("slice")
    again = np.tile(np.arange(1500), 5)
    repeated = slice_table(y[again], p[again], groups[again], context.iloc[again], ["source"]).set_index("slice")
    for column in ("observed", "low", "high", "gap"):
        assert repeated[column].to_numpy() == pytest.approx(once.loc[repeated.index, column].to_numpy(), abs=1e-9)


def test_benjamini_hochberg_is_scipys():
    generator = np.random.default_rng(0)
    for _ in range(20):
        values = generator.random(30) ** 3
        expected = false_discovery_control(values, method="bh") <= 0.05
        assert (benjamini_hochberg(values) == expected).all()
    assert benjamini_hochberg(np.array([np.nan])).tolist() == [False]


def test_treatment_by_hand():
    """Eight rows, two places: slice a has half of the conversions and both places."""
    y = np.array([1.0, 0, 0, 0, 1, 0, 0, 0])
    p = np.array([0.9, 0.8, 0.1, 0.1, 0.4, 0.3, 0.1, 0.1])
    context = pd.DataFrame({"source": list("aaaabbbb")})
    table = fairness_table(y, p, np.arange(8), context, ["source"], n_bootstrap=50).set_index("slice")
    assert table.loc["a", ["contacted", "places", "conversions", "ratio", "missed"]].to_list() == [0.5, 1, 0.5, 2, 0]
    assert table.loc["b", ["contacted", "places", "conversions", "ratio", "missed"]].to_list() == [0, 0, 0.5, 0, 1]
    assert table.loc["b", "auc"] == 1


def test_a_slice_held_down_is_flagged():
    y, p, groups, context = firm()
    held = np.where(context["owner_id"] == "R03", p / 2, p)
    table = fairness_table(y, held, groups, context, ["owner_id"])
    # What one slice loses the others gain: they may be flagged as favoured, but only it as held down.
    overall = (table["missed"] * table["conversions"]).sum()
    assert table.loc[table["flagged"] & (table["missed"] > overall), "slice"].to_list() == ["R03"]
    row = table.set_index("slice").loc["R03"]
    assert row["ratio_high"] < 1
    assert row["missed"] > 0.8
    fair = fairness_table(y, p, groups, context, ["owner_id", "source"])
    assert not fair["flagged"].any()
    assert ((fair["ratio_low"] <= fair["ratio"]) & (fair["ratio"] <= fair["ratio_high"])).all()
    assert fair.groupby("column")["places"].sum().to_numpy() == pytest.approx([1, 1])


def test_arguments_stay_and_bad_ones_are_named():
    y, p, groups, context = firm(100)
    before = context.copy()
    slice_table(y, p, groups, context, ["source"])
    pd.testing.assert_frame_equal(context, before)
    with pytest.raises(DataError, match="row for row"):
        slice_table(y[:5], p, groups, context, ["source"])
    with pytest.raises(ParameterError, match="top_share"):
        fairness_table(y, p, groups, context, ["source"], top_share=25)
