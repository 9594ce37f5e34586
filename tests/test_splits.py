"""Splits follow time, leave a gap, and refuse what cannot be judged."""

import numpy as np
import pandas as pd
import pytest

from crmlab.schema import DataError, NotEnoughEvidence, ParameterError
from crmlab.splits import check_enough, check_split, ordered_split, random_split, temporal_split


def snapshots(n_leads: int = 10, mature: bool = True) -> pd.DataFrame:
    """One row per lead, ten days apart; every other lead converted."""
    return pd.DataFrame(
        {
            "lead_id": [f"L{i}" for i in range(n_leads)],
            "as_of": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n_leads) * 10, unit="D"),
            "label": pd.array([bool(i % 2) for i in range(n_leads)], dtype="boolean"),
            "mature": mature,
        }
    )


def test_temporal_split_by_hand():
    split = temporal_split(snapshots(), test_share=0.3, gap_days=20)
    assert split.test.tolist() == [7, 8, 9]
    assert split.test_start == pd.Timestamp("2024-03-11")
    assert split.train.tolist() == [0, 1, 2, 3, 4, 5]  # row 6 lies ten days before the test: inside the gap


def test_rows_of_one_date_stay_together():
    rows = snapshots().assign(as_of=pd.Timestamp("2024-01-01"))
    rows.loc[5:, "as_of"] = pd.Timestamp("2024-06-01")
    split = temporal_split(rows, test_share=0.2, gap_days=0)
    assert split.test.tolist() == [5, 6, 7, 8, 9]


def test_censored_rows_are_used_nowhere():
    rows = snapshots()
    rows.loc[[2, 9], "mature"] = False
    for split in (
        temporal_split(rows, test_share=0.3, gap_days=0),
        random_split(rows, test_share=0.3, seed=1),
        ordered_split(rows, rows["as_of"], test_share=0.3),
    ):
        assert not {2, 9} & set(split.train) | {2, 9} & set(split.test)
        assert len(split.train) + len(split.test) == 8


def test_every_training_label_is_settled_before_the_test():
    rows = snapshots(60)
    split = temporal_split(rows, test_share=0.3, gap_days=90)
    assert (rows["as_of"].iloc[split.train] + pd.Timedelta(days=90)).max() <= split.test_start
    check_split(rows, split, horizon_days=90)


def test_ordered_split_tests_the_newest_by_running_number():
    rows = snapshots(4).assign(as_of=pd.NaT)
    split = ordered_split(rows, pd.Series([40, 10, 30, 20]), test_share=0.5)
    assert split.test.tolist() == [0, 2]
    assert split.train.tolist() == [1, 3]


def test_random_split_repeats_with_its_seed_only():
    rows = snapshots(50)
    one, again, other = (random_split(rows, test_share=0.3, seed=s) for s in (1, 1, 2))
    assert one.test.tolist() == again.test.tolist() != other.test.tolist()


def test_table_counts_the_gap():
    rows = snapshots()
    table = temporal_split(rows, test_share=0.3, gap_days=20).table(rows)
    assert table["part"].tolist() == ["train", "gap (not used)", "test"]
    assert table["rows"].tolist() == [6, 1, 3]
    assert table["converted"].tolist() == [3, 0, 2]


@pytest.mark.parametrize("share", [0, 1, -0.1, 2])
def test_share_outside_is_refused(share):
    with pytest.raises(ParameterError, match=r"test_share.*between 0 and 1"):
        temporal_split(snapshots(), test_share=share, gap_days=0)


def test_no_mature_label():
    with pytest.raises(NotEnoughEvidence, match="No label is mature"):
        temporal_split(snapshots(mature=False), test_share=0.3, gap_days=0)


def test_gap_longer_than_the_history():
    with pytest.raises(NotEnoughEvidence, match="Nothing is left to train on before a gap of 400 days"):
        temporal_split(snapshots(), test_share=0.3, gap_days=400)


def test_too_few_outcomes_names_side_and_counts():
    rows = snapshots()
    split = temporal_split(rows, test_share=0.3, gap_days=0)
    with pytest.raises(NotEnoughEvidence, match=r"Too few outcomes to train on.*at least 40") as error:
        check_enough(rows, split)
    assert "3 that converted and 4 others in the train part" in str(error.value)
    check_enough(rows, split, minimum=1)


def test_leads_are_counted_once_however_often_they_were_looked_at():
    rows = pd.concat([snapshots(4)] * 30, ignore_index=True)
    with pytest.raises(NotEnoughEvidence, match="2 that converted and 2 others"):
        check_enough(rows, random_split(rows, test_share=0.3, seed=0))


@pytest.mark.parametrize(
    ("spoil", "law"),
    [
        (lambda rows, split: rows.__setitem__("as_of", rows["as_of"].iloc[-1]), "settled before"),
        (lambda rows, split: rows.__setitem__("mature", False), "mature label"),
        (
            lambda rows, split: rows.__setitem__("lead_id", "L0") or rows.__setitem__("as_of", rows["as_of"].iloc[0]),
            "one row",
        ),
        (lambda rows, split: split.train.__setitem__(0, split.test[0]), "both sides"),
    ],
)
def test_check_split_sees_each_broken_law(spoil, law):
    rows = snapshots(40)
    split = temporal_split(rows, test_share=0.3, gap_days=90)
    check_split(rows, split, horizon_days=90)
    spoil(rows, split)
    with pytest.raises(DataError, match=law):
        check_split(rows, split, horizon_days=90)
