"""Low scores that smell of wrong data: each sign by hand, the what-if, and the dirt planted in the demo."""

import numpy as np
import pandas as pd
import pytest

from crmlab import sources
from crmlab.crm import Crm
from crmlab.features import build_features
from crmlab.schema import conform_table, empty_table
from crmlab.scores.wrong_data import SIGNS, find_signs, typical_values, wrong_data_list
from crmlab.snapshots import build_snapshots

NOW = pd.Timestamp("2025-01-06")


class Nothing:
    """A store without tables."""

    def read(self, name: str) -> pd.DataFrame:
        return conform_table(name, empty_table(name))

    def counts(self) -> dict[str, int]:
        return {}


class ByAmount:
    """Probability 0.1, and 0.3 more with a usual amount, 0.2 more with a source, 0.1 more with contacts."""

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        usual = (X["amount"] > 10) & (X["amount"] < 1e5)
        p = 0.1 + 0.3 * usual + 0.2 * X["source"].notna() + 0.1 * (X["interactions_n_ever"] > 0)
        return np.column_stack([1 - p, p])


def reference() -> pd.DataFrame:
    n = 200
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "source": pd.Series(np.where(np.arange(n) % 4, "Trade fair", "Web form"), dtype="str"),
            "stage": pd.Series("quoted", index=range(n), dtype="str"),
            "product": pd.Series("Robot", index=range(n), dtype="str"),
            "amount": np.exp(rng.normal(9, 0.5, n)),
            "amount_at_creation": np.exp(rng.normal(9, 0.5, n)),
            "margin_rate": rng.normal(0.3, 0.05, n),
            "employees": np.exp(rng.normal(4, 0.7, n)),
            "age_days": 50.0,
            "stage_recency_days": 40.0,
            "stage_moves_forward_n_ever": 1,
            "interactions_n_ever": 10,
            "interactions_recency_days": 5.0,
            "interactions_since_first_days": 45.0,
            "quotes_n_ever": 1,
            "expected_close_days": 20.0,
            "lead_to_opportunity_days": 30.0,
        }
    )


def good(n: int = 1) -> pd.DataFrame:
    base = reference().head(n).assign(amount=8000.0, amount_at_creation=8000.0, margin_rate=0.3, employees=60.0)
    return base.assign(source=pd.Series("Trade fair", index=base.index, dtype="str"))


def signs_of(**values: object) -> set[tuple[str, str]]:
    X = good().assign(**values)
    rows = pd.DataFrame({"opportunity_id": ["O1"], "as_of": NOW})
    found = find_signs(Crm(Nothing(), "test"), rows, X, reference=reference()).found
    return set(zip(found["sign"], found["detail"], strict=True))


def test_a_usual_row_has_no_sign() -> None:
    assert signs_of() == set()


@pytest.mark.parametrize(
    ("values", "sign"),
    [
        ({"interactions_n_ever": 0}, "no contact recorded"),
        ({"quotes_n_ever": 0}, "no quote recorded"),
        ({"stage_recency_days": 3.0, "interactions_recency_days": 61.0}, "moved without contact"),
        ({"amount": 0.0}, "no amount"),
        ({"amount": np.nan}, "no amount"),
        ({"amount": 800_000.0}, "odd amount"),
        ({"amount_at_creation": 80.0}, "odd amount"),
        ({"margin_rate": -0.01}, "odd margin"),
        ({"margin_rate": 0.95}, "odd margin"),
        ({"employees": 60_000.0}, "odd size"),
        ({"expected_close_days": -1.0}, "closing date passed"),
        ({"interactions_since_first_days": 52.0}, "contact before creation"),
        ({"source": pd.Series(["trade_fair"], dtype="str")}, "other spelling"),
        ({"source": pd.Series([None], dtype="str")}, "missing"),
        ({"employees": np.nan}, "missing"),
    ],
)
def test_each_sign_alone(values: dict, sign: str) -> None:
    found = signs_of(**values)
    assert {s for s, _ in found} == {sign}
    assert sign in SIGNS


@pytest.mark.parametrize(
    "values",
    [
        {"interactions_n_ever": 0, "age_days": 10.0, "interactions_since_first_days": np.nan},  # too young to be silent
        {"interactions_n_ever": 0, "lead_interactions_n_ever": 4},  # they talked while it was a lead
        {"source": pd.Series([None], dtype="str"), "lead_to_opportunity_days": np.nan},  # a direct deal has no source
        {"stage": pd.Series(["qualified"], dtype="str"), "quotes_n_ever": 0},
        {"stage_recency_days": 31.0, "interactions_recency_days": 61.0},
        {"expected_close_days": 0.0},
    ],
)
def test_what_is_no_sign(values: dict) -> None:
    assert signs_of(**values) == set()


def test_signs_do_not_depend_on_the_others_that_are_scored() -> None:
    rows = pd.DataFrame({"opportunity_id": [f"O{k}" for k in range(50)], "as_of": NOW})
    X = pd.concat([good(), good(49).assign(amount=900_000.0)], ignore_index=True)
    found = find_signs(Crm(Nothing(), "test"), rows, X, reference=reference()).found
    assert 0 not in set(found["row"])
    assert len(found) == 49


def test_the_list_by_hand() -> None:
    rows = pd.DataFrame({"opportunity_id": ["fine", "odd", "both", "bare"], "as_of": NOW})
    X = pd.concat([good()] * 4, ignore_index=True)
    X.loc[1, "amount"] = 800_000.0
    X.loc[2, ["amount", "interactions_n_ever"]] = [0.0, 0]
    X.loc[3, "source"] = None
    before = X.copy()
    found = wrong_data_list(ByAmount(), Crm(Nothing(), "test"), rows, X, reference=reference())
    assert found["entity_id"].tolist() == ["both", "odd", "bare"]  # by what a correction could change
    assert found["p"].round(6).tolist() == [0.3, 0.4, 0.5]
    assert found["p_if_typical"].round(6).tolist() == [0.7, 0.7, 0.7]
    assert found["could_gain"].round(6).tolist() == [0.4, 0.3, 0.2]
    assert found["signs"].tolist() == [2, 1, 1]
    assert found["main_sign"].tolist() == ["no amount", "odd amount", "missing"]
    assert found["check"][0].startswith("enter the amount; log the calls")
    assert found["looks_wrong"][2] == "no source is entered"
    pd.testing.assert_frame_equal(X, before)
    assert wrong_data_list(ByAmount(), Crm(Nothing(), "test"), rows.head(1), X.head(1), reference=reference()).empty


def test_typical_values_are_medians_and_most_frequent_levels() -> None:
    frame = pd.DataFrame({"n": [1.0, 3.0, 9.0], "gap": [np.nan] * 3, "word": pd.Series(["b", "b", "a"], dtype="str")})
    found = typical_values(frame.assign(none=pd.Series([None] * 3, dtype="str")))
    assert (found["n"], found["word"], found["none"]) == (3.0, "b", None)
    assert np.isnan(found["gap"])


@pytest.fixture(scope="module")
def demo() -> tuple[Crm, pd.DataFrame, pd.DataFrame]:
    crm = sources.open_crm("demo_small", as_of="2025-01-06")
    rows = build_snapshots(
        crm, entity="lead", label="within_horizon", as_of="2025-01-06", horizon_days=90, every="creation"
    )
    return crm, rows, build_features(crm, rows)


@pytest.mark.parametrize(
    ("kind", "sign", "detail"),
    [
        ("source_spelling", "other spelling", "source"),
        ("missing_source", "missing", "source"),
        ("outlier_employees", "odd size", ""),
        ("duplicate_lead", "probably a duplicate", ""),
    ],
)
def test_signs_find_the_dirt_that_was_planted(demo: tuple, kind: str, sign: str, detail: str) -> None:
    crm, rows, X = demo
    dirty = crm.truth.dirty_rows
    planted = rows["lead_id"].isin(set(dirty.loc[(dirty["kind"] == kind) & (dirty["table"] == "leads"), "row_id"]))
    found = find_signs(crm, rows, X, reference=X).found
    flagged = found.loc[(found["sign"] == sign) & (found["detail"] == detail), "row"].to_numpy()
    hits = planted.to_numpy()[flagged]
    assert planted.sum() >= 2
    assert hits.sum() / planted.sum() >= 0.9  # recall
    assert hits.mean() >= 0.7 > 10 * planted.mean()  # precision, against drawing by lot
