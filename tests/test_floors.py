"""Floors: rates by hand, the owner's word with its gaps and bounds, which floors features allow."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crmlab.metrics import log_loss
from crmlab.models.contract import fit_in_context, log_odds, newest_rows, outcomes
from crmlab.models.floors import BaseRate, OwnerProbability, RateTable, floors_for
from crmlab.schema import DataError, NotEnoughEvidence, ParameterError


@pytest.fixture(scope="module")
def deals():
    """Owners know something, but are twice too sure of themselves."""
    draw = np.random.default_rng(11)
    n = 3000
    logit = draw.normal(-1, 1, n)
    y = (draw.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    frame = pd.DataFrame(
        {
            "source": draw.choice(["web", "fair"], n),
            "stage": np.where(logit > 0, "quoted", "needs"),
            "owner_probability": (1 / (1 + np.exp(-2.5 * (logit + 1)))).round(1),
            "amount": draw.lognormal(9, 1, n),
        }
    ).astype({"source": "str", "stage": "str"})
    frame.loc[::13, "owner_probability"] = np.nan
    return frame, y


def test_base_rate_is_the_mean_for_everybody():
    frame = pd.DataFrame({"a": range(4)})
    assert BaseRate().fit(frame, [0, 0, 0, 1]).predict_proba(frame).tolist() == [[0.75, 0.25]] * 4


def test_rate_table_by_hand_with_gaps_and_unseen_levels():
    frame = pd.DataFrame({"stage": ["a", "a", "b", None]}, dtype="str")
    table = RateTable("stage", strength=2).fit(frame, [1, 1, 0, 0])
    # Prior 1/2 worth two rows: a (2 + 1) / 4, b and the gap (0 + 1) / 3; a level never seen gets the prior.
    new = pd.DataFrame({"stage": ["a", "b", None, "new"]}, dtype="str")
    assert table.predict_proba(new)[:, 1].tolist() == pytest.approx([3 / 4, 1 / 3, 1 / 3, 1 / 2])
    assert dict(zip(table.levels_, table.rows_.tolist(), strict=True)) == {"(missing)": 1, "a": 2, "b": 1}
    assert table.predict_proba(pd.DataFrame({"other": [1]}))[:, 1].tolist() == [0.5]


def test_rate_table_of_two_columns_tabulates_combinations():
    frame = pd.DataFrame({"a": ["x", "x", "y", "y"], "b": ["p", "q", "p", "q"]}, dtype="str")
    table = RateTable(("a", "b"), strength=1e-9).fit(frame, [1, 0, 0, 1])
    assert table.predict_proba(frame)[:, 1].tolist() == pytest.approx([1, 0, 0, 1], abs=1e-6)
    unseen = pd.DataFrame({"a": ["x", "z"], "b": [None, "p"]}, dtype="str")
    assert table.predict_proba(unseen)[:, 1].tolist() == [0.5, 0.5]


def test_owner_is_taken_at_his_word_within_bounds():
    frame = pd.DataFrame({"owner_probability": [0.3, 1.0, 0.0, np.nan]})
    model = OwnerProbability().fit(frame, [0, 1, 0, 0])
    assert model.predict_proba(frame)[:, 1].tolist() == [0.3, 0.995, 0.005, 0.25]


def test_recalibrated_owner_gets_the_rate_of_his_tenth_and_of_gaps():
    frame = pd.DataFrame({"owner_probability": [0.1] * 10 + [0.9] * 10 + [np.nan] * 5})
    y = [0] * 9 + [1] + [1] * 5 + [0] * 5 + [0] * 5
    model = OwnerProbability(recalibrate=True, strength=1e-9).fit(frame, y)
    new = pd.DataFrame({"owner_probability": [0.05, 0.1, 0.5, 0.9, 1.0, np.nan]})
    assert model.predict_proba(new)[:, 1].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.5, 0.5, 0.0], abs=1e-6)
    shrunk = OwnerProbability(recalibrate=True, strength=10).fit(frame, y)
    assert shrunk.predict_proba(new)[1, 1] == pytest.approx((1 + 10 * 6 / 25) / 20)


def test_recalibration_helps_an_owner_who_is_too_sure(deals):
    frame, y = deals
    half = len(y) // 2
    losses = {}
    for name in ("base rate", "owner's probability", "owner's probability, recalibrated"):
        model = floors_for(frame)[name]().fit(frame[:half], y[:half])
        losses[name] = log_loss(y[half:], model.predict_proba(frame[half:])[:, 1])
    assert losses["owner's probability, recalibrated"] < losses["base rate"] - 0.05
    assert losses["owner's probability, recalibrated"] < losses["owner's probability"] - 0.05


def test_owner_without_a_single_entry_is_the_base_rate():
    frame = pd.DataFrame({"owner_probability": [np.nan] * 4})
    for recalibrate in (False, True):
        model = OwnerProbability(recalibrate=recalibrate).fit(frame, [0, 0, 0, 1])
        assert model.predict_proba(frame)[:, 1].tolist() == [0.25] * 4


def test_percentages_and_a_missing_column_are_refused():
    with pytest.raises(DataError, match=r"share between 0 and 1[\s\S]*10 to 90"):
        OwnerProbability().fit(pd.DataFrame({"owner_probability": [10, 90, np.nan]}), [0, 1, 0])
    with pytest.raises(DataError, match="no column `owner_probability`"):
        OwnerProbability().fit(pd.DataFrame({"a": [1, 2]}), [0, 1])


def test_floors_are_those_that_the_features_allow(deals):
    frame, _ = deals
    assert list(floors_for(frame)) == [
        "base rate",
        "source table",
        "stage table",
        "owner's probability",
        "owner's probability, recalibrated",
        "Odoo's method",
        "points card",
    ]
    created = frame.assign(stage="needs", owner_probability=np.nan)  # at creation nothing of this varies yet
    assert list(floors_for(created)) == ["base rate", "source table", "Odoo's method", "points card"]
    assert list(floors_for(frame[["amount"]])) == ["base rate", "points card"]
    assert list(floors_for(frame[["amount"]] * 0)) == ["base rate"]
    with pytest.raises(ParameterError, match="no features"):
        floors_for(frame[[]])


def test_every_floor_keeps_the_interface(deals):
    frame, y = deals
    before = frame.copy()
    new = frame.head(40).assign(source=pd.Series(["never seen", pd.NA] * 20, dtype="str"))
    for make in floors_for(frame).values():
        model = clone(make()).fit(frame, y, order=np.arange(len(y)), groups=np.arange(len(y)), gap_days=90)
        p = model.predict_proba(new)
        assert p.shape == (40, 2)
        assert np.allclose(p.sum(axis=1), 1)
        assert (p > 0).all()
        assert model.classes_.tolist() == [0, 1]
        assert (model.predict(new) == (p[:, 1] > 0.5)).all()
        shuffled = new.sample(frac=1, random_state=0)
        assert model.predict_proba(shuffled)[:, 1].tolist() == pd.Series(p[:, 1], new.index)[shuffled.index].to_list()
        with pytest.raises(NotEnoughEvidence, match="all without the outcome"):
            make().fit(frame, np.zeros(len(y)))
    pd.testing.assert_frame_equal(frame, before)


def test_outcomes_are_zeros_and_ones_one_per_row():
    assert outcomes([True, False], n=2).tolist() == [1, 0]
    for wrong in ([0, 1, 2], [0, 1], [0, 1, np.nan]):
        with pytest.raises(DataError, match="0 or 1"):
            outcomes(wrong, n=3)


def test_newest_rows_takes_undated_rows_as_oldest():
    dates = pd.Series(["2024-01-02", None, None, "2024-01-01"]).astype("datetime64[us]").to_numpy()
    assert newest_rows(np.array(["a", "a", "b", "b"]), dates).tolist() == [0, 3]
    assert newest_rows(np.array(["a", "a", "b", "b"]), None).tolist() == [1, 3]


def test_log_odds_by_hand():
    assert log_odds([0.25, 0.8]) == pytest.approx(np.log([1 / 3, 4]))


def test_context_is_given_only_to_those_who_take_it(deals):
    from sklearn.dummy import DummyClassifier

    frame, y = deals
    fit_in_context(DummyClassifier(), frame, y, order=None, groups=y, gap_days=1)
    doubled = pd.concat([frame, frame], ignore_index=True)
    groups, twice = np.tile(np.arange(len(y)), 2), np.tile(y, 2)
    odoo = floors_for(frame)["Odoo's method"]
    once = fit_in_context(odoo(), doubled, twice, order=None, groups=groups, gap_days=0)
    assert once.prior_.tolist() == odoo().fit(frame, y).prior_.tolist()
