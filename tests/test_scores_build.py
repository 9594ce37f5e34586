"""Scores of rows, expected margin, effort of won cases, owners beside the score."""

import numpy as np
import pandas as pd
import pytest

from crmlab.crm import Crm
from crmlab.schema import DataError, NotEnoughEvidence, conform_table, empty_table
from crmlab.scores.bands import CutPoints
from crmlab.scores.build import closed_won, deal_values, margin_ranking, score_rows
from crmlab.scores.effort import learn_effort
from crmlab.scores.overrides import disagreements, who_was_right, with_overrides

NOW = pd.Timestamp("2025-01-06")


class Fake:
    """A model whose probability is the feature `signal`; before calibration it is half of it."""

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        p = X["signal"].to_numpy(float)
        return np.column_stack([1 - p, p])

    def raw_probability(self, X: pd.DataFrame) -> np.ndarray:
        return X["signal"].to_numpy(float) / 2


class Around:
    """An interval that does not always hold its score."""

    def interval(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(p), 0.2), np.full(len(p), 0.4)


class Tables:
    """Conformed tables in memory: what `Crm` needs of a store."""

    def __init__(self, tables: dict[str, pd.DataFrame]) -> None:
        self.tables = {name: conform_table(name, frame) for name, frame in tables.items()}

    def read(self, name: str) -> pd.DataFrame:
        return self.tables[name] if name in self.tables else empty_table(name)

    def counts(self) -> dict[str, int]:
        return {name: len(frame) for name, frame in self.tables.items()}


def deals(n: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = pd.DataFrame({"opportunity_id": [f"O{k}" for k in range(n)], "as_of": NOW})
    X = pd.DataFrame(
        {
            "signal": [0.3, 0.9, 0.0, 0.1],
            "amount": [100.0, 10.0, 1000.0, np.nan],
            "amount_at_creation": [1.0, 1.0, 1.0, 500.0],
            "margin_rate": [0.5, 0.5, 0.5, np.nan],
            "owner_probability": [0.25, 0.1, np.nan, 0.95],
        }
    )
    return X, rows


def test_one_row_by_hand() -> None:
    X, rows = deals()
    found = score_rows(Fake(), X, rows, interval=Around())
    first = found.iloc[0]
    assert (first["entity"], first["entity_id"], first["as_of"]) == ("opportunity", "O0", NOW)
    assert (first["p"], first["p_raw"], first["percent"]) == (0.3, 0.15, 30.0)
    assert first["expected_margin"] == pytest.approx(15.0)  # 0.3 x 100 x 0.5
    assert first["owner_gap"] == pytest.approx(0.05)
    assert found["amount"].tolist() == [100.0, 10.0, 1000.0, 500.0]  # the newest known amount
    assert found["expected_margin"].isna().tolist() == [False, False, False, True]  # nothing is assumed of margins
    assert found["margin_rank"].fillna(-1).tolist() == [1, 2, 3, -1]
    assert found["score_rank"].tolist() == [2, 1, 4, 3]
    assert found["band"].isna().all()  # four rows have no quarters
    assert found["grade"].isna().all()


def test_intervals_are_widened_to_hold_their_score() -> None:
    X, rows = deals()
    found = score_rows(Fake(), X, rows, interval=Around())
    assert found["p_low"].tolist() == [0.2, 0.2, 0.0, 0.1]
    assert found["p_high"].tolist() == [0.4, 0.9, 0.4, 0.4]
    assert score_rows(Fake(), X, rows)["p_low"].isna().all()


def test_the_owner_never_changes_the_score() -> None:
    X, rows = deals()
    other = X.assign(owner_probability=0.99)
    assert score_rows(Fake(), other, rows)["p"].tolist() == score_rows(Fake(), X, rows)["p"].tolist()


def test_leads_are_worth_what_a_conversion_brings() -> None:
    rows = pd.DataFrame({"lead_id": ["L0", "L1"], "as_of": NOW})
    X = pd.DataFrame({"signal": [0.2, 0.4]})
    assert score_rows(Fake(), X, rows, conversion_value=1000.0)["expected_margin"].tolist() == [200.0, 400.0]
    assert score_rows(Fake(), X, rows)["expected_margin"].isna().all()
    assert score_rows(Fake(), X, rows, conversion_value=0.0)["expected_margin"].isna().all()


def test_a_hundred_rows_get_every_word() -> None:
    p = np.linspace(0.005, 0.995, 100)
    rows = pd.DataFrame({"lead_id": [f"L{k}" for k in range(100)], "as_of": NOW})
    found = score_rows(Fake(), pd.DataFrame({"signal": p}), rows, cuts=CutPoints.from_scores(p))
    assert found["band"].value_counts().tolist() == [25] * 4
    assert found["class_1_5"].value_counts().tolist() == [20] * 5
    assert found.loc[99, ["band", "grade", "class_1_5"]].tolist() == ["Very high", "A", 5]


def test_one_row_no_row_and_wrong_rows() -> None:
    X, rows = deals()
    assert len(score_rows(Fake(), X.head(1), rows.head(1), interval=Around())) == 1
    empty = score_rows(Fake(), X.head(0), rows.head(0), interval=Around(), cuts=None)
    assert list(empty) == list(score_rows(Fake(), X, rows))
    assert empty.empty
    with pytest.raises(DataError, match="4 rows of features, 3 entities"):
        score_rows(Fake(), X, rows.head(3))
    with pytest.raises(DataError, match="1 of them repeated"):
        score_rows(Fake(), X, rows.assign(opportunity_id=["O1", "O1", "O2", "O3"]))
    with pytest.raises(DataError, match="outside 0 to 1"):
        score_rows(Fake(), X.assign(signal=22.0), rows)


def test_order_of_rows_does_not_matter_and_inputs_stay() -> None:
    X, rows = deals()
    before = X.copy()
    straight = score_rows(Fake(), X, rows, interval=Around()).set_index("entity_id")
    turned = score_rows(Fake(), X.iloc[::-1], rows.iloc[::-1], interval=Around()).set_index("entity_id")
    pd.testing.assert_frame_equal(straight, turned.loc[straight.index])
    pd.testing.assert_frame_equal(X, before)


def test_ranking_by_margin_puts_the_unknown_last() -> None:
    X, rows = deals()
    ranking = margin_ranking(score_rows(Fake(), X, rows))
    assert ranking["entity_id"].tolist() == ["O0", "O1", "O2", "O3"]
    assert deal_values(pd.DataFrame({"signal": [1.0]})).isna().all(axis=None)


def crm_of(**tables: pd.DataFrame) -> Crm:
    return Crm(Tables(tables), "test")


def test_customers_are_persons_with_a_won_deal() -> None:
    day = pd.Timestamp("2024-01-01")
    opportunities = pd.DataFrame(
        {
            "opportunity_id": ["O1", "O2", "O3"],
            "contact_id": ["C1", "C2", "C3"],
            "lead_id": ["L9", None, None],
            "created_at": day,
            "outcome": ["won", "lost", "won"],
            "closed_at": [day, day, pd.Timestamp("2025-06-01")],
        }
    )
    leads = pd.DataFrame(
        {
            "lead_id": ["L1", "L2", "L3", "L4"],
            "contact_id": ["C1", "C2", "C3", None],
            "status": "new",
            "created_at": day,
        }
    )
    crm = crm_of(leads=leads, opportunities=opportunities)
    rows = pd.DataFrame({"lead_id": ["L4", "L3", "L2", "L1"], "as_of": NOW})
    mask, apart = closed_won(crm, rows, as_of="2025-01-06")
    assert mask.tolist() == [False, False, False, True]  # C3 wins only later, C2 lost, nobody is nobody
    assert apart == 1
    assert closed_won(crm, pd.DataFrame({"opportunity_id": ["O2"]}), as_of="2025-01-06")[1] == 1


def won_history(n: int = 40) -> tuple[Crm, pd.DataFrame, pd.DataFrame]:
    """Deals won 20 days after a look in `quoted`, 60 after one in `qualified`; an own call every 10 days."""
    start = pd.Timestamp("2024-01-01")
    ids = [f"O{k:03d}" for k in range(n)]
    rows = pd.DataFrame(
        {"opportunity_id": np.repeat(ids, 2), "as_of": np.tile([start, start + pd.Timedelta(days=40)], n)}
    )
    X = pd.DataFrame({"stage": np.tile(["qualified", "quoted"], n), "age_days": np.tile([1.0, 41.0], n)})
    end = start + pd.Timedelta(days=60)
    opportunities = pd.DataFrame(
        {"opportunity_id": ids, "created_at": start - pd.Timedelta(days=1), "outcome": "won", "closed_at": end}
    )
    times = [start + pd.Timedelta(days=d) for d in (5, 15, 25, 35, 45, 55, 65)]
    calls = pd.DataFrame({"opportunity_id": np.repeat(ids, 7), "ts": times * n}).assign(type="call", direction="out")
    noise = calls.assign(direction="in", type="email_open")
    events = pd.concat([calls, noise], ignore_index=True).assign(known_at=lambda d: d["ts"])
    events["interaction_id"] = [f"I{k}" for k in range(len(events))]
    return crm_of(opportunities=opportunities, interactions=events), rows, X


def test_effort_by_hand() -> None:
    crm, rows, X = won_history()
    history = learn_effort(crm, rows, X, as_of="2025-01-06")
    found = history.estimate(X.head(2))
    assert found["days_left"].tolist() == [60.0, 20.0]
    assert found["contacts_left"].tolist() == [6.0, 2.0]  # own calls up to the closing; opens are not effort
    assert found["days_low"].tolist() == found["days_high"].tolist() == [60.0, 20.0]
    assert found["n"].tolist() == [40, 40]  # cases, not rows
    new = pd.DataFrame({"stage": ["negotiation"], "age_days": [1.0]})
    assert history.estimate(new)["like"].tolist() == ["all won"]
    assert history.estimate(new)["days_left"].tolist() == [40.0]  # the median of each case's own median


def test_effort_knows_nothing_later_and_nothing_too_young() -> None:
    crm, rows, X = won_history()
    with pytest.raises(NotEnoughEvidence, match="0 won cases"):
        learn_effort(crm, rows, X, as_of="2024-02-20")  # nobody has won yet
    with pytest.raises(NotEnoughEvidence, match="0 won cases"):
        learn_effort(crm, rows, X, as_of="2024-04-01")  # won, but only the quick ones could be known
    assert learn_effort(crm, rows, X, as_of="2024-04-01", follow_days=30).cells["n"].max() == 40
    with pytest.raises(NotEnoughEvidence, match="20 won cases"):
        learn_effort(crm, rows.head(40), X.head(40), as_of="2025-01-06")


def test_effort_without_interactions_gives_days_alone() -> None:
    crm, rows, X = won_history()
    bare = crm_of(opportunities=crm["opportunities"])
    found = learn_effort(bare, rows, X, as_of="2025-01-06").estimate(X.head(1))
    assert found["days_left"].tolist() == [60.0]
    assert found["contacts_left"].isna().all()


def test_disagreements_are_ordered_and_say_whether_they_are_outside() -> None:
    X, rows = deals()
    found = disagreements(score_rows(Fake(), X, rows, interval=Around()), limit=2)
    assert found["entity_id"].tolist() == ["O3", "O1"]
    assert found["outside"].tolist() == [True, True]
    assert disagreements(score_rows(Fake(), X, rows))["outside"].isna().all()


def test_who_was_right_by_hand() -> None:
    y = np.array([0, 0, 1, 1, np.nan])
    p = np.array([0.1, 0.2, 0.9, 0.5, 0.5])
    owner = np.array([0.9, 0.8, 0.1, 0.55, 0.5])
    found = who_was_right(y, p, owner, np.array(["a", "a", "b", "c", "d"])).set_index("who_expected_more")
    owners = found.loc["owner"]
    assert (owners["rows"], owners["cases"], owners["observed"]) == (2, 1, 0.0)
    assert owners["brier_score"] == pytest.approx((0.01 + 0.04) / 2)
    assert owners["brier_owner"] == pytest.approx((0.81 + 0.64) / 2)
    assert owners["score_closer"] == 1.0
    assert found.loc["score", "observed"] == 1.0
    assert found.loc["neither", "score_closer"] == 0.0
    assert found.loc["all", "rows"] == 4
    assert owners["observed_high"] == pytest.approx(0.793, abs=0.001)  # Wilson over one case, not two rows
    nobody = who_was_right(y, p, np.full(5, np.nan), np.arange(5))
    assert nobody["rows"].sum() == 0


def test_overrides_stand_beside_the_score() -> None:
    X, rows = deals()
    scores = score_rows(Fake(), X, rows)
    typed = pd.DataFrame({"entity_id": ["O1"], "override": [0.5], "given_by": ["R1"], "reason": ["budget"]})
    found = with_overrides(scores, typed)
    assert found["p"].tolist() == scores["p"].tolist()
    assert found["override"].fillna(-1).tolist() == [-1, 0.5, -1, -1]
