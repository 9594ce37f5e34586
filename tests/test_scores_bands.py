"""Bands: quarters with ties and customers apart, grades and classes that stay, ranges behind the words."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmlab.schema import DataError, NotEnoughEvidence
from crmlab.scores.bands import (
    BANDS,
    CLOSED_WON,
    CutPoints,
    absolute_grade,
    band_table,
    contact_priority,
    percent,
)


def sizes(p: np.ndarray, **more: object) -> dict[str, int]:
    return contact_priority(np.asarray(p, float), **more).bands.value_counts().to_dict()


def test_percent_is_a_probability_in_percent() -> None:
    assert percent(np.array([0.22, 0.0, 1.0, 0.00049])).tolist() == [22.0, 0.0, 100.0, 0.0]
    with pytest.raises(DataError, match="1 of 2 outside 0 to 1"):
        percent(np.array([0.2, 22.0]))


@pytest.mark.parametrize(("n", "expected"), [(100, [25] * 4), (101, [25, 25, 26, 25]), (102, [25, 26, 25, 26])])
def test_quarters_differ_by_one_at_most_without_ties(n: int, expected: list[int]) -> None:
    found = sizes(np.linspace(0.01, 0.9, n))
    assert [found[band] for band in BANDS] == expected


def test_best_scores_come_first() -> None:
    p = np.linspace(0.01, 0.9, 100)
    bands = contact_priority(p).bands
    assert bands.iloc[-1] == "Very high"
    assert bands.iloc[0] == "Low"
    assert bands.iloc[74] == "High"


def test_equal_scores_share_the_band_of_their_middle() -> None:
    # From the top: 20 apart, a block of 20 whose middle is the 30th of 100 (second quarter), 60 apart.
    p = np.r_[np.linspace(0.8, 0.9, 20), np.full(20, 0.5), np.linspace(0.1, 0.4, 60)]
    bands = contact_priority(p).bands
    assert set(bands[20:40]) == {"High"}
    assert sizes(p) == {"Very high": 20, "High": 30, "Medium": 25, "Low": 25}


def test_a_middle_on_a_boundary_takes_the_lower_band() -> None:
    # 20 apart, a block of 10 from rank 21 to 30: its middle is 25 of 100, exactly between the first two quarters.
    p = np.r_[np.linspace(0.8, 0.9, 20), np.full(10, 0.5), np.linspace(0.1, 0.4, 70)]
    assert set(contact_priority(p).bands[20:30]) == {"High"}


def test_customers_are_taken_out_before_the_quarters() -> None:
    p, won = np.linspace(0.01, 0.9, 140), np.arange(140) >= 100  # the 40 best are customers
    found = contact_priority(p, closed_won=won)
    assert found.bands.value_counts().to_dict() == dict.fromkeys(BANDS, 25) | {CLOSED_WON: 40}
    assert (found.bands[75:100] == "Very high").all()


@pytest.mark.parametrize("n_open", [0, 1, 99])
def test_fewer_than_100_open_contacts_get_no_band(n_open: int) -> None:
    p = np.linspace(0.1, 0.9, n_open + 30)
    won = np.arange(n_open + 30) >= n_open
    found = contact_priority(p, closed_won=won)
    assert found.bands[:n_open].isna().all()
    assert (found.bands[n_open:] == CLOSED_WON).all()
    assert f"there are {n_open}" in found.reason


def test_missing_scores_do_not_count() -> None:
    found = contact_priority(np.r_[np.full(10, np.nan), np.linspace(0.1, 0.9, 99)])
    assert found.bands.isna().all()
    assert "there are 99" in found.reason
    found = contact_priority(np.r_[np.full(10, np.nan), np.linspace(0.1, 0.9, 100)])
    assert found.bands.isna().sum() == 10
    assert not found.reason


def test_all_equal_scores_have_no_order() -> None:
    found = contact_priority(np.full(200, 0.3))
    assert found.bands.isna().all()
    assert "same score" in found.reason


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=100, max_size=160), st.randoms(use_true_random=False))
def test_laws_of_bands(values: list[int], random: object) -> None:
    p = np.array(values) / 30
    bands = contact_priority(p).bands
    if bands.isna().all():
        assert len(set(values)) == 1
        return
    place = bands.map({band: k for k, band in enumerate(BANDS)}).to_numpy()
    order = np.argsort(-p, kind="stable")
    assert (np.diff(place[order]) >= 0).all()  # a higher score never has a lower band
    assert all(len(set(bands[p == value])) == 1 for value in set(p))  # equal scores, equal bands
    shuffled = random.sample(range(len(p)), len(p))
    assert contact_priority(p[shuffled]).bands.tolist() == bands[shuffled].tolist()  # order of rows does not matter


def test_band_table_by_hand() -> None:
    p = np.array([0.8, 0.6, 0.5, 0.1])
    bands = pd.Series(["Very high", "Very high", "Low", CLOSED_WON])
    found = band_table(p, bands, y=np.array([1, 0, 1, 1]), n_closed_won=5).set_index("band")
    top = found.loc["Very high"]
    assert (top["n"], top["p_low"], top["p_high"]) == (2, 0.6, 0.8)
    assert top["expected"] == pytest.approx(1.4)
    assert top["expected_share"] == pytest.approx(1.4 / 1.9)
    assert top["observed"] == 0.5
    assert top["observed_share"] == 0.5
    assert top["share"] == pytest.approx(2 / 3)
    assert found.loc[CLOSED_WON, "n"] == 6
    assert np.isnan(found.loc[CLOSED_WON, "expected"])
    assert found.loc["High", "n"] == 0
    assert np.isnan(found.loc["High", "p_low"])
    assert band_table(np.zeros(0), pd.Series(dtype="str"))["n"].sum() == 0


def test_cut_points_are_quarters_and_fifths_of_the_reference() -> None:
    cuts = CutPoints.from_scores(np.arange(1, 101) / 100)
    assert cuts.grades == (0.26, 0.51, 0.76)
    assert cuts.classes == (0.21, 0.41, 0.61, 0.81)
    assert cuts.grade(np.array([0.255, 0.26, 0.51, 0.76, np.nan])).fillna("").tolist() == ["D", "C", "B", "A", ""]
    assert cuts.class_1_5(np.array([0.0, 0.21, 0.41, 0.61, 1.0])).tolist() == [1, 2, 3, 4, 5]
    assert cuts.class_1_5(np.array([np.nan])).isna().all()
    assert cuts.base_rate == pytest.approx(0.505)
    assert cuts.n == 100


def test_a_class_does_not_move_because_others_do() -> None:
    cuts = CutPoints.from_scores(np.arange(1, 101) / 100)
    alone, among = cuts.class_1_5(np.array([0.5])), cuts.class_1_5(np.r_[0.5, np.full(500, 0.99)])
    assert alone[0] == among[0] == 3


def test_tied_reference_scores_take_the_word_of_their_middle() -> None:
    # 60 equal scores in the middle of 100: their middle is the 50th from the top, class 3 and grade C (lower half).
    p = np.r_[np.linspace(0.01, 0.05, 20), np.full(60, 0.3), np.linspace(0.6, 0.9, 20)]
    cuts = CutPoints.from_scores(p)
    assert cuts.class_1_5(np.array([0.3]))[0] == 3
    assert cuts.grade(np.array([0.3]))[0] == "C"
    assert cuts.class_1_5(np.array([0.05, 0.6])).tolist() == [1, 5]
    constant = CutPoints.from_scores(np.full(100, 0.2))
    assert constant.class_1_5(np.array([0.2, 0.9])).tolist() == [3, 3]  # 4 and 5 are out of reach
    assert constant.table().set_index(["kind", "word"]).loc[("class", "5")].isna().all()


def test_cut_points_survive_json_and_refuse_rubbish() -> None:
    for p in (np.arange(1, 101) / 100, np.full(100, 0.2)):
        cuts = CutPoints.from_scores(p)
        assert CutPoints.from_dict(json.loads(json.dumps(cuts.as_dict()))) == cuts
    good = CutPoints.from_scores(np.arange(1, 101) / 100).as_dict()
    for bad in ({}, good | {"grades": [0.5, 0.4, 0.9]}, good | {"classes": [0.1]}, good | {"n": "many"}):
        with pytest.raises(DataError, match="cut points"):
            CutPoints.from_dict(bad)
    with pytest.raises(NotEnoughEvidence, match="99 scores"):
        CutPoints.from_scores(np.linspace(0, 1, 99))


def test_absolute_grades() -> None:
    assert absolute_grade(np.array([0.749, 0.75, 0.5, 0.25, 0.249])).tolist() == ["B", "A", "B", "C", "D"]
