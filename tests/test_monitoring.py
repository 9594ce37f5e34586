"""Monitoring: settled scores, tiers tested again, drift with known answers, the retraining rule."""

import numpy as np
import pandas as pd
import pytest

from crmlab.intervals import share_interval
from crmlab.monitoring import (
    GIVEN,
    KEEP,
    RETRAIN,
    REVIEW,
    Importance,
    RetrainRule,
    Settled,
    clustered_share,
    feature_drift,
    holm,
    kpi_table,
    month_table,
    overall,
    prior_shift,
    psi,
    realised_table,
    score_drift,
    since_when,
    tier_table,
)
from crmlab.monitoring.realised import KEPT, REVERSED
from crmlab.schema import NotEnoughEvidence, ParameterError
from crmlab.scores import CutPoints

DAY = pd.Timedelta(days=1)


def settled(p: np.ndarray, y: np.ndarray, ids: np.ndarray | None = None, cuts: CutPoints | None = None) -> Settled:
    n = len(p)
    rows = pd.DataFrame(
        {
            "entity_id": pd.Series(np.arange(n) if ids is None else ids).astype("str"),
            "as_of": pd.Timestamp("2024-01-01") + np.arange(n) % 26 * 7 * DAY,
            "p": p,
            "label": np.asarray(y, float),
            "band": pd.Series(None, index=range(n), dtype="str"),
            "grade": pd.Series(None, index=range(n), dtype="str"),
            "class_1_5": pd.Series(pd.NA, index=range(n), dtype="Int64"),
        }
    )
    if cuts is not None:
        rows = rows.assign(grade=cuts.grade(p), class_1_5=cuts.class_1_5(p))
    return Settled(rows, GIVEN, cuts=cuts)


@pytest.fixture(scope="module")
def honest() -> Settled:
    draw = np.random.default_rng(0)
    p = draw.beta(1, 3, 4000)
    return settled(p, draw.random(4000) < p, cuts=CutPoints.from_scores(p))


# ---- shares and losses


def test_a_share_of_independent_rows_has_wilsons_interval():
    y = np.array([1.0] * 20 + [0.0] * 80)
    found = clustered_share(y, np.arange(100))
    assert found[0] == 0.2
    assert found[1:] == pytest.approx(share_interval(20, 100), abs=2e-3)


def test_rows_of_one_entity_count_once():
    y, ids = np.array([1.0] * 20 + [0.0] * 80), np.arange(100)
    once, ten = clustered_share(y, ids), clustered_share(np.repeat(y, 10), np.repeat(ids, 10))
    assert ten == pytest.approx(once, abs=1e-9)


def test_a_share_without_variation_keeps_an_interval_of_its_entities():
    share, low, high = clustered_share(np.zeros(50), np.repeat(np.arange(10), 5))
    assert (share, low) == (0.0, 0.0)
    assert high == pytest.approx(share_interval(0, 10)[1], abs=1e-6)
    assert np.isnan(clustered_share(np.zeros(0), np.zeros(0))).all()


def test_scores_that_are_right_lose_what_they_promise(honest):
    found = realised_table(honest, base_rate=0.25, n_bootstrap=100, seed=0).set_index("measure")
    gap = found.loc["log loss less promised"]
    assert gap["low"] < 0 < gap["high"]
    assert found.loc["log loss less base rate", "high"] < 0
    assert found.loc["calibration error", "value"] < 0.02


def test_scores_too_high_are_seen(honest):
    high = settled(np.clip(honest.p * 1.6, 0, 0.99), honest.y)
    found = realised_table(high, base_rate=0.25, n_bootstrap=100, seed=0).set_index("measure")
    assert found.loc["observed less expected", "high"] < 0
    assert found.loc["calibration error", "low"] > 0.05


def test_months_hold_every_row_once(honest):
    months = month_table(honest)
    assert months["n"].sum() == len(honest.rows)
    assert (months["observed"] * months["n"]).sum() == pytest.approx(honest.y.sum())
    assert months["month"].tolist() == sorted(months["month"])


# ---- tiers


def test_tiers_of_honest_scores_come_true_in_order(honest):
    tiers = tier_table(honest).set_index(["kind", "tier"])
    assert tiers.loc["grade", "came_true"].all()
    assert (tiers.loc["grade", "order"].head(3) == KEPT).all()
    assert tiers.loc[("grade", "A"), "p_from"] == honest.cuts.grades[2]
    assert tiers.loc["grade", "n"].sum() == len(honest.rows)
    assert tiers.loc[("priority", "High"), "n"] == 0
    assert pd.isna(tiers.loc[("priority", "High"), "came_true"])


def test_a_tier_that_breaks_its_promise_and_its_order_is_named(honest):
    grade = honest.rows["grade"]
    draw = np.random.default_rng(1)
    y = np.where(grade == "A", draw.random(len(grade)) < 0.05, honest.y)
    broken = tier_table(settled(honest.p, y, cuts=honest.cuts)).set_index(["kind", "tier"])
    assert not broken.loc[("grade", "A"), "came_true"]
    assert broken.loc[("grade", "A"), "order"] == REVERSED
    assert broken.loc[("grade", "B"), "came_true"]


def test_order_of_dates_and_rows_does_not_matter(honest):
    shuffled = Settled(honest.rows.sample(frac=1, random_state=0).reset_index(drop=True), GIVEN, cuts=honest.cuts)
    pd.testing.assert_frame_equal(tier_table(honest), tier_table(shuffled))


# ---- worth of the ranking


def test_hits_are_those_of_the_best_of_each_week():
    p = np.array([0.9, 0.8, 0.1, 0.2] * 3)
    y = np.array([1, 0, 0, 1] * 3)
    rows = settled(p, y).rows.assign(as_of=np.repeat(pd.to_datetime(["2024-01-01", "2024-01-08", "2024-04-01"]), 4))
    found = kpi_table(Settled(rows, GIVEN), capacity=1)
    assert found["quarter"].tolist() == ["2024 Q1", "2024 Q2"]
    assert found["called"].tolist() == [2, 1]
    assert found["hit_rate"].tolist() == [1.0, 1.0]
    assert found["top_quarter"].tolist() == [0.5, 0.5]
    assert kpi_table(Settled(rows, GIVEN), capacity=2)["hit_rate"].tolist() == [0.5, 0.5]
    assert kpi_table(Settled(rows, GIVEN), capacity=8, share=0.25)["called"].tolist() == [4, 2]


# ---- drift


def test_psi_by_hand():
    """Shares 1/2, 1/2 against 1/4, 3/4: −1/4 · ln(1/2) + 1/4 · ln(3/2)."""
    assert psi(np.array([5e6, 5e6]), np.array([2.5e6, 7.5e6])) == pytest.approx(0.25 * np.log(3), abs=1e-5)


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.02, 0.5])).tolist() == pytest.approx([0.03, 0.04, 0.5])


def world(seed: int, n: int = 250, per: int = 6, features: int = 30) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Entities seen several times: values of an entity hang together, and periods differ a little."""
    draw = np.random.default_rng(seed)
    ids, period = np.repeat(np.arange(n), per), np.tile(np.arange(per), n) + 2 * (np.repeat(np.arange(n), per) % 4)
    own, moved = draw.normal(size=(n, features)), draw.normal(scale=0.2, size=(20, features))
    X = pd.DataFrame(own[ids] + moved[period] + 0.3 * draw.normal(size=(n * per, features))).add_prefix("f")
    X["level"] = pd.Series(draw.choice(list("abcd"), n)[ids], dtype="str")
    X["gaps"] = np.where(draw.random(n)[ids] < 0.2, np.nan, own[ids, 0])
    return X, ids, period


def look(seed: int, change=lambda X, draw: X, **more) -> pd.DataFrame:
    X, ids, period = world(seed)
    now = period == seed % 12
    changed = change(X[now].reset_index(drop=True), np.random.default_rng(seed))
    return feature_drift(X[~now], changed, groups=ids[~now], groups_now=ids[now], periods=period[~now], **more)


def test_without_drift_one_look_in_twenty_alarms_at_most():
    """Any alarm among 32 features, whatever its size; 40 looks of 0.05 would give more than 6 in one of a hundred."""
    significant = [bool((look(seed)["p_adjusted"] <= 0.05).any()) for seed in range(40)]
    assert sum(significant) <= 5
    assert not any(look(seed)["alarm"].any() for seed in range(10))


def test_planted_drifts_are_found_and_named():
    def number(X: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
        return X.assign(f3=X["f3"] + 1.5)

    def emptied(X: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
        return X.assign(gaps=X["gaps"].where(draw.random(len(X)) < 0.3))

    def new(X: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
        return X.assign(level=X["level"].mask(draw.random(len(X)) < 0.2, "e"))

    for change, feature, kind in ((number, "f3", "number"), (emptied, "gaps", "stopped being filled")):
        found = look(4, change)
        assert found.loc[found["alarm"], "feature"].tolist() == [feature]
        assert found.loc[0, "kind"] == kind
    found = look(4, new)
    assert found.loc[0, ["feature", "kind", "alarm"]].tolist() == ["level", "new value", True]


def test_what_the_model_does_not_use_gives_no_alarm():
    share = pd.Series({f"f{i}": 0.1 for i in range(10) if i != 3})
    found = look(4, lambda X, _: X.assign(f3=X["f3"] + 1.5), importance=Importance(share, share * 0))
    row = found.set_index("feature").loc["f3"]
    assert row["moved"]
    assert not row["alarm"]
    assert row["importance"] == 0


def test_what_all_share_on_a_date_is_one_observation():
    """A value of the whole team moves every period; that it has moved again is no news."""
    X, ids, period = world(0)
    team = np.random.default_rng(5).normal(size=20)
    X = X.assign(team=team[period])
    now = period == 11
    found = feature_drift(X[~now], X[now], groups=ids[~now], groups_now=ids[now], periods=period[~now])
    row = found.set_index("feature").loc["team"]
    assert row["psi"] > 0.25
    assert not row["moved"]


def test_what_owners_share_is_as_many_observations_as_owners():
    X, ids, period = world(1)
    now = period == 5
    owner = np.random.default_rng(2).integers(0, 6, int(now.sum()))
    changed = X[now].assign(f0=np.array([-1.0, 0.2, 1.1, 1.3, 1.5, 1.7])[owner])
    setup = {"groups": ids[~now], "groups_now": ids[now]}
    alone = feature_drift(X[~now], changed, **setup).set_index("feature")
    told = feature_drift(X[~now], changed, shared_now=owner, **setup).set_index("feature")
    assert alone.loc["f0", "moved"]
    assert not told.loc["f0", "moved"]


def test_many_rare_new_spellings_are_no_new_value():
    reference = pd.DataFrame({"level": pd.Series(["a", "b"] * 200, dtype="str")})
    now = pd.DataFrame({"level": pd.Series(["a", "b"] * 48 + ["A", "B", "a ", "b "], dtype="str")})
    found = feature_drift(reference, now, groups=np.arange(400), groups_now=np.arange(100))
    assert found.loc[0, "kind"] == "category"


def test_seasons_and_too_few_cases_are_left_alone():
    X, ids, _ = world(0)
    found = feature_drift(X.assign(month=1.0), X.assign(month=7.0), groups=ids, groups_now=ids)
    assert "month" not in set(found["feature"])
    with pytest.raises(NotEnoughEvidence, match="drift"):
        feature_drift(X, X.head(50), groups=ids, groups_now=ids[:50])


def test_frames_come_back_unchanged():
    X, ids, period = world(3)
    before = X.copy()
    feature_drift(X, X, groups=ids, groups_now=ids, periods=period)
    pd.testing.assert_frame_equal(X, before)


def test_since_when_goes_back_to_the_break():
    draw = np.random.default_rng(0)
    starts = [pd.Timestamp("2024-12-01") - 28 * k * DAY for k in range(6)]
    periods = np.repeat(np.arange(6), 100)
    recent = pd.Series(draw.normal(size=600) + 2.0 * (periods <= 2))
    reference = pd.Series(draw.normal(size=1000))
    assert since_when(reference, recent, periods, starts, psi_bound=0.25) == starts[2]


def test_scores_that_moved():
    draw = np.random.default_rng(0)
    a, b = draw.beta(1, 3, 800), draw.beta(2, 2, 200)
    same = score_drift(a[:400], a[400:], groups=np.arange(400), groups_now=np.arange(400)).iloc[0]
    moved = score_drift(a, b, groups=np.arange(800), groups_now=np.arange(200)).iloc[0]
    assert same["psi"] < 0.1 < 0.25 < moved["psi"]
    assert moved["p"] < 1e-6
    assert score_drift(a[:5], b, groups=np.arange(5), groups_now=np.arange(200)).empty


# ---- rate of the outcome


def outcomes(rate_of: object) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    days = np.repeat(np.arange(0, 1092, 7), 40)
    when = pd.Timestamp("2022-01-03") + pd.to_timedelta(days, unit="D")
    label = draw.random(len(days)) < np.vectorize(rate_of)(days)
    return pd.DataFrame({"lead_id": np.arange(len(days)), "as_of": when, "label": label.astype(float)})


def test_a_rate_that_fell_is_an_alarm_and_one_that_stays_is_none():
    still, fell = outcomes(lambda d: 0.25), outcomes(lambda d: 0.25 if d < 1001 else 0.12)
    assert not prior_shift(still, still, key="lead_id").alarm(0.3)
    found = prior_shift(fell, fell, key="lead_id")
    assert found.alarm(0.3)
    assert found.now[0] == pytest.approx(0.12, abs=0.04)
    assert found.log_odds < -0.5


def test_a_season_is_no_shift():
    rows = outcomes(lambda d: 0.12 if d % 364 >= 273 else 0.25)
    found = prior_shift(rows, rows, key="lead_id")
    assert abs(found.log_odds) > 0.3
    assert not found.alarm(0.3)


# ---- the rule


def test_the_rule_checks_its_bounds_and_knows_events():
    rule = RetrainRule(events="2025-03-01, 2024-12-01")
    assert rule.events == ("2024-12-01", "2025-03-01")
    assert rule.events_between("2024-12-01", "2025-03-01") == ("2025-03-01",)
    with pytest.raises(ParameterError, match="bounds"):
        RetrainRule(review_days=200)
    with pytest.raises(ParameterError, match="bounds"):
        RetrainRule(psi_bound=0)
    with pytest.raises(ParameterError, match="ISO"):
        RetrainRule(events="soon")


def test_the_gravest_line_decides():
    table = pd.DataFrame({"verdict": [KEEP, REVIEW, RETRAIN, "cannot be judged yet"]})
    assert overall(table) == RETRAIN
    assert overall(table.head(2)) == REVIEW
    assert overall(table.tail(1)) == "cannot be judged yet"
