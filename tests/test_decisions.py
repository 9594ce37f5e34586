"""Decision value by hand, against brute force, and by its laws."""

import numpy as np
import pandas as pd
import pytest

from crmlab.evaluation.decisions import (
    CALL_ALL,
    CALL_NONE,
    RANDOM_ORDER,
    calls_within_capacity,
    capacity_table,
    cut_table,
    margin_ranking_table,
    net_benefit_table,
)
from crmlab.schema import DataError, ParameterError

BOOT = {"n_bootstrap": 60, "seed": 0}


def scored(n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    p = generator.beta(1, 5, n)
    return (generator.random(n) < p).astype(float), p


def test_net_benefit_by_hand():
    """At t = 0.2 a call in vain costs a quarter of a conversion: (2 − 1/4) / 4."""
    y, p = np.array([1.0, 1, 0, 0]), np.array([0.9, 0.2, 0.3, 0.1])
    table = net_benefit_table(y, {"score": p}, np.arange(4), thresholds=np.array([0.2]), **BOOT).set_index("way")
    assert table.loc["score", "net_benefit"] == pytest.approx((2 - 0.25) / 4)
    assert table.loc["score", "called"] == 0.75
    assert table.loc[CALL_ALL, "net_benefit"] == pytest.approx((2 - 2 * 0.25) / 4)
    assert table.loc[CALL_NONE, "net_benefit"] == 0


def test_calibrated_scores_are_never_worse_than_all_or_none():
    y, p = scored(20_000)
    table = net_benefit_table(y, {"score": p}, np.arange(len(y)), thresholds=np.linspace(0.05, 0.6, 12), **BOOT)
    wide = table.pivot(index="threshold", columns="way", values="net_benefit")
    assert (wide["score"] >= wide[[CALL_ALL, CALL_NONE]].max(axis=1) - 0.003).all()
    assert ((table["low"] <= table["net_benefit"]) & (table["net_benefit"] <= table["high"])).all()


def test_the_cut_by_hand():
    y, p = np.array([1.0, 0, 1, 0]), np.array([0.5, 0.11, 0.05, 0.01])
    table = cut_table(y, {"score": p}, np.arange(4), value=100.0, cost=10.0, **BOOT).set_index("way")
    assert table.loc["score", "called"] == 0.5
    assert table.loc["score", "profit"] == pytest.approx((90 - 10) / 4)
    assert table.loc["score", "promised"] == pytest.approx((40 + 1) / 4)
    assert table.loc[CALL_ALL, "profit"] == pytest.approx((2 * 100 - 40) / 4)
    assert table.loc["score", "difference"] == pytest.approx(20 - 40)


def test_the_cut_is_the_best_cut_for_true_probabilities():
    y, p = scored(40_000)
    table = cut_table(y, {"score": p}, np.arange(len(y)), value=100.0, cost=20.0, **BOOT)
    profits = table.set_index("way")
    realised = [(np.where(p > cut, 100 * y - 20, 0)).mean() for cut in (0.05, 0.1, 0.2, 0.3, 0.5)]
    assert profits.loc["score", "profit"] == pytest.approx(max(realised))
    assert profits.loc["score", "profit"] == pytest.approx(profits.loc["score", "promised"], abs=0.5)


def test_a_negative_margin_is_never_called():
    y, p = np.array([1.0, 1.0]), np.array([0.9, 0.9])
    table = cut_table(y, {"score": p}, np.arange(2), value=np.array([100.0, -50.0]), cost=0.0, **BOOT)
    assert table.set_index("way").loc["score", "called"] == 0.5


def weeks(n_entities: int = 60, n_weeks: int = 12) -> pd.DataFrame:
    rows = pd.MultiIndex.from_product([range(n_entities), range(n_weeks)], names=["entity", "week"]).to_frame(
        index=False
    )
    generator = np.random.default_rng(1)
    rows = rows[generator.random(len(rows)) < 0.7].reset_index(drop=True)
    return rows.assign(
        date=np.datetime64("2024-01-01") + 7 * rows["week"].to_numpy(), priority=generator.random(len(rows))
    )


def test_capacity_and_cooling_against_a_slow_loop():
    rows = weeks()
    called = calls_within_capacity(
        rows["priority"].to_numpy(), rows["date"].to_numpy(), rows["entity"].to_numpy(),
        capacity=4, cooling_days=28, seed=0,
    )  # fmt: skip
    last, expected = {}, np.zeros(len(rows), dtype=bool)
    for _, week in rows.groupby("date"):
        free = week[
            [
                last.get(e, pd.Timestamp.min) + pd.Timedelta("28D") <= d
                for e, d in zip(week["entity"], week["date"], strict=True)
            ]
        ]
        for i in free.sort_values("priority", ascending=False).index[:4]:
            expected[i], last[rows.loc[i, "entity"]] = True, rows.loc[i, "date"]
    assert (called == expected).all()
    assert called.sum() > 30


def test_who_has_no_priority_comes_last_and_ties_are_broken_by_lot():
    date, entity = np.full(6, np.datetime64("2024-01-01")), np.arange(6)
    unknown = np.array([np.nan, 0.1, np.nan, 0.2, 0.0, np.nan])
    called = calls_within_capacity(unknown, date, entity, capacity=3, cooling_days=7, seed=0)
    assert called.tolist() == [False, True, False, True, True, False]
    lots = [
        calls_within_capacity(np.zeros(6), date, entity, capacity=3, cooling_days=7, seed=s).tobytes() for s in range(9)
    ]
    assert len(set(lots)) > 3


def test_profit_at_capacity_by_hand():
    """Two weeks, one call each; entity 1 converts. The score calls it first, the reverse never."""
    date = np.array(["2024-01-01"] * 3 + ["2024-01-08"] * 3, dtype="datetime64[D]")
    entity, y = np.array([1, 2, 3] * 2), np.array([1.0, 0, 0] * 2)
    score = np.array([0.9, 0.5, 0.1] * 2)
    table = capacity_table(
        y, date, entity, orders={"score": score, "reverse": -score}, value=100.0, cost=10.0, capacity=1,
        cooling_days=90, **BOOT,
    ).set_index("way")  # fmt: skip
    assert table.loc["score", ["calls", "conversions", "profit", "per_week"]].to_list() == [2, 1, 80, 40]
    assert table.loc["reverse", ["calls", "conversions", "profit"]].to_list() == [2, 0, -20]
    assert table.loc[CALL_ALL, ["calls", "conversions", "profit"]].to_list() == [3, 1, 70]
    assert table.loc[RANDOM_ORDER, "conversions"] == pytest.approx(2 / 3, abs=0.35)


def test_better_knowledge_earns_more():
    rows = weeks(400, 10)
    generator = np.random.default_rng(3)
    truth = generator.beta(1, 4, 400)[rows["entity"]]
    y = (generator.random(400)[rows["entity"]] < truth).astype(float)
    noisy = truth + generator.normal(0, 0.2, len(truth))
    table = capacity_table(
        y, rows["date"].to_numpy(), rows["entity"].to_numpy(),
        orders={"oracle": truth, "noisy": noisy, "worst": -truth}, value=1000.0, cost=50.0,
        capacity=10, cooling_days=90, **BOOT,
    )  # fmt: skip
    profit = table.set_index("way")["profit"]
    assert profit["oracle"] > profit["noisy"] > profit[RANDOM_ORDER] > profit["worst"]
    assert table["profit"].is_monotonic_decreasing
    oracle = table.set_index("way").loc["oracle"]
    assert 0 < oracle["difference_low"] <= oracle["difference"] <= oracle["difference_high"]
    assert oracle["difference"] == pytest.approx(oracle["profit"] - profit[RANDOM_ORDER])


def test_ranking_by_margin_by_hand():
    y, p, margin = np.array([1.0, 1, 0, 1]), np.array([0.9, 0.4, 0.5, 0.2]), np.array([10.0, 100, 1, np.nan])
    table = margin_ranking_table(y, p, margin, np.arange(4), shares=(0.25, 0.5), **BOOT)
    captured = table.set_index(["way", "share"])["captured"]
    assert captured["by probability", 0.25] == pytest.approx(10 / 110)
    assert captured["by probability × margin", 0.25] == pytest.approx(100 / 110)
    assert captured["perfect foresight", 0.5] == 1


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"capacity": 0}, ParameterError, "capacity"),
        ({"cost": -1.0}, ParameterError, "cost"),
        ({"value": np.array([1.0, np.nan])}, DataError, "every row"),
        ({"orders": {"score": np.zeros(3)}}, DataError, "row for row"),
    ],
)
def test_bad_input_is_named(changed, error, match):
    good = {"orders": {"score": np.zeros(2)}, "value": 1.0, "cost": 0.1, "capacity": 1, "cooling_days": 90, **BOOT}
    with pytest.raises(error, match=match):
        capacity_table(
            np.array([0.0, 1]), np.full(2, np.datetime64("2024-01-01")), np.array([1, 2]), **{**good, **changed}
        )
    with pytest.raises(ParameterError, match="Thresholds"):
        net_benefit_table(np.array([0.0, 1]), {}, np.arange(2), thresholds=np.array([1.0]), **BOOT)
