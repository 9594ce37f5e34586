"""Competing risks: golden curves, laws, a simulated truth, and what training on closed deals only gets wrong."""

import numpy as np
import pandas as pd
import pytest

from crmlab import sources
from crmlab.features import build_features
from crmlab.models.closed_only import CLOSED_ONLY, EVERY_DEAL, closed_only_table
from crmlab.models.hazard import CompetingRisks, incidence_at, outcome_times
from crmlab.models.person_periods import Shape, _Loss, lay_out
from crmlab.schema import NotEnoughEvidence, ParameterError
from crmlab.snapshots import build_snapshots


def aalen_johansen(days, event, grid):
    """Return the textbook estimate (Aalen and Johansen 1978), tied times together."""
    stay, curve, at = 1.0, {"won": 0.0, "lost": 0.0}, {}
    for t in grid:
        at_risk = (days >= t).sum()
        for cause in curve:
            curve[cause] += stay * ((days == t) & (event == cause)).sum() / max(at_risk, 1)
        stay *= 1 - ((days == t) & (event != "open")).sum() / max(at_risk, 1)
        at[t] = dict(curve)
    return at


def simulated(n, seed, *, slope=0.8, censor=True):
    """Deals whose chance of a win per week is 4 % at x = 0 and rises with x; of a loss 6 %, falling with x."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    odds = np.exp(np.stack([np.log(0.04 / 0.9) + slope * x, np.log(0.06 / 0.9) - 0.5 * slope * x]))
    won, lost = odds / (1 + odds.sum(axis=0))
    week = rng.geometric(won + lost)
    event = np.where(rng.random(n) < won / (won + lost), "won", "lost").astype(object)
    follow = rng.integers(4, 40, n) if censor else np.full(n, 10_000)
    days = 7.0 * np.minimum(week, follow)
    event[week > follow] = "open"
    # The design takes signed logarithms; this is what becomes x by them.
    X = pd.DataFrame({"x": np.sign(x) * np.expm1(np.abs(x)), "noise": rng.standard_normal(n)})
    return X, days, event, won, lost


def test_without_features_it_is_aalen_johansen():
    X, days, event, *_ = simulated(400, 1)
    grid = np.arange(7, 7 * 35, 7)
    model = CompetingRisks(max_days=7 * 40, learner="linear", smoothness=0.0).fit(X[[]], days, event)
    curve = model.cumulative_incidence(X[[]].head(1), grid)
    expected = aalen_johansen(days, event, grid)
    for cause in ("won", "lost"):
        assert np.abs(curve[cause][0] - [expected[t][cause] for t in grid]).max() < 1e-6


def test_golden_curve_by_hand():
    """Four deals: won at 7, lost at 14, censored at 14, won at 21. F_won(7) = 1/4, F_lost(14) = 3/4 · 1/3 = 1/4."""
    days, event = np.array([7.0, 14, 14, 21]), ["won", "lost", "open", "won"]
    X = pd.DataFrame(index=range(4))
    model = CompetingRisks(max_days=21, learner="linear", smoothness=0.0).fit(X, days, event)
    curve = model.cumulative_incidence(X.head(1), [3.5, 7, 14, 21])
    assert curve["won"][0] == pytest.approx([0.125, 0.25, 0.25, 0.75], abs=1e-6)
    assert curve["lost"][0] == pytest.approx([0, 0, 0.25, 0.25], abs=1e-6)


@pytest.mark.parametrize("learner", ["linear", "boosting"])
def test_curves_rise_and_stay_below_one(learner):
    X, days, event, *_ = simulated(600, 2)
    model = CompetingRisks(max_days=140, learner=learner, strength=10.0).fit(X, days, event)
    grid = [1, 7, 30, 90, 140, 200, 1000, np.inf]
    curve = model.cumulative_incidence(X, grid)
    assert (np.diff(curve["won"], axis=1) >= -1e-12).all()
    assert (np.diff(curve["lost"], axis=1) >= -1e-12).all()
    total = curve["won"] + curve["lost"]
    assert (total <= 1 + 1e-9).all()
    assert total[:, -1] == pytest.approx(1.0, abs=1e-6)
    assert model.p_won(X) == pytest.approx(curve["won"][:, -1])
    assert model.predict_proba(X)[:, 1] == pytest.approx(curve["won"][:, 3])


def test_a_simulated_truth_is_found_also_under_censoring():
    X, days, event, won, lost = simulated(6_000, 3)
    model = CompetingRisks(max_days=210, learner="linear", strength=1.0).fit(X, days, event)
    ever = won / (won + lost)
    within = ever * (1 - (1 - won - lost) ** 10)
    assert np.abs(model.p_won(X, within_days=70) - within).mean() < 0.015
    assert np.abs(model.p_won(X) - ever).mean() < 0.03
    # Closed deals only would say too much: they are those that ended early.
    closed = event != "open"
    short = CompetingRisks(max_days=210, learner="linear", strength=1.0).fit(X[closed], days[closed], event[closed])
    assert short.p_won(X, within_days=70).mean() > model.p_won(X, within_days=70).mean() + 0.02


def test_censoring_at_random_changes_nothing_but_noise():
    X, days, event, *_ = simulated(6_000, 4, censor=False)
    cut = 7.0 * np.random.default_rng(5).integers(3, 30, len(days))
    early = days > cut
    whole = CompetingRisks(max_days=140, learner="linear", strength=1.0).fit(X, days, event)
    part = CompetingRisks(max_days=140, learner="linear", strength=1.0).fit(
        X, np.minimum(days, cut), np.where(early, "open", event)
    )
    assert np.abs(whole.p_won(X, within_days=90) - part.p_won(X, within_days=90)).mean() < 0.02


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(6)
    X, days, event, *_ = simulated(60, 6)
    code = np.array([["open", "won", "lost"].index(e) for e in event])
    cells = lay_out(days + 2.0, code, age_days=rng.uniform(0, 60, 60), period_days=7, n_periods=12, n_ages=15)
    loss = _Loss(cells, X.to_numpy(), Shape(12, 15, 2.0, 3.0))
    at = 0.3 * rng.standard_normal(2 * (12 + 15 + 2))
    gradient = loss(at)[1]
    for j in range(0, len(at), 5):
        step = np.zeros(len(at))
        step[j] = 1e-3
        slope = (loss(at + step)[0] - loss(at - step)[0]) / 2e-3
        assert gradient[j] == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_cells_count_what_was_at_risk():
    cells = lay_out(
        np.array([7.0, 10.0, 40.0]), np.array([1, 0, 2]), age_days=None, period_days=7, n_periods=4, n_ages=0
    )
    assert cells.case.tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert cells.event.tolist() == [1, 0, 0, 0, 0, 0, 0]  # the third deal was lost beyond the fourth week
    assert cells.exposure == pytest.approx([1, 1, 3 / 7, 1, 1, 1, 1])


def test_extrapolation_keeps_the_last_hazards():
    hazards = np.stack([np.full((1, 8), 0.1), np.full((1, 8), 0.3)])
    curve = incidence_at(hazards, np.array([8.0, 12.0, np.inf]))
    assert curve["won"][0] == pytest.approx([0.25 * (1 - 0.6**8), 0.25 * (1 - 0.6**12), 0.25])


def test_order_of_rows_does_not_matter_and_inputs_stay():
    X, days, event, *_ = simulated(300, 7)
    before = X.copy()
    model = CompetingRisks(max_days=140, learner="linear").fit(X, days, event)
    turned = np.arange(300)[::-1]
    other = CompetingRisks(max_days=140, learner="linear").fit(X.iloc[turned], days[turned], event[turned])
    assert model.p_won(X, within_days=60) == pytest.approx(other.p_won(X, within_days=60), abs=1e-3)
    pd.testing.assert_frame_equal(X, before)


def test_trees_are_chosen_only_where_they_help():
    X, days, event, *_ = simulated(1_500, 8)
    straight = CompetingRisks(max_days=140, strength=5.0, n_rounds=40).fit(X, days, event)
    assert straight.learner_ == "linear"
    twisted = X.assign(x=np.random.default_rng(9).uniform(-2, 2, len(X)))
    rng = np.random.default_rng(10)
    middle = twisted["x"].abs() < 1
    event = np.where(middle == (rng.random(len(X)) < 0.9), "won", "lost")
    bent = CompetingRisks(max_days=140, strength=5.0, n_rounds=40).fit(twisted, days, event)
    assert bent.learner_ == "boosting"
    few = CompetingRisks(max_days=140).fit(X[:150], days[:150], event[:150])
    assert few.learner_ == "linear"


def test_bad_input_is_refused():
    X, days, event, *_ = simulated(60, 11)
    with pytest.raises(NotEnoughEvidence, match="were won"):
        CompetingRisks().fit(X, days, ["lost"] * 60)
    with pytest.raises(ParameterError, match="must be one of open, won, lost"):
        CompetingRisks().fit(X, days, ["sold"] * 60)
    with pytest.raises(ParameterError, match="open for some time"):
        CompetingRisks().fit(X, days * 0, event)
    with pytest.raises(ParameterError, match="`learner`"):
        CompetingRisks(learner="oracle").fit(X, days, event)


def test_odd_columns_are_taken():
    X, days, event, *_ = simulated(200, 12)
    X = X.assign(none=np.nan, one=1.0, word=pd.array(["a", None] * 100, dtype="str"), age_days=np.arange(200.0))
    model = CompetingRisks(max_days=140).fit(X, days, event)
    new = X.head(3).assign(word=pd.array(["never seen"] * 3, dtype="str"), x=np.nan)
    assert np.isfinite(model.predict_proba(new)).all()


@pytest.fixture(scope="module")
def small():
    crm = sources.open_crm("demo_small", as_of="2025-01-06")
    question = dict(entity="opportunity", label="within_horizon", as_of="2025-01-06", horizon_days=90)
    rows = build_snapshots(crm, every="monthly", **question)
    return crm, rows, build_features(crm, rows)


def test_outcome_times_agree_with_the_labels(small):
    crm, rows, _ = small
    times = outcome_times(crm, rows, as_of="2025-01-06")
    won = (times["event"] == "won") & (times["days"] <= 90) & (times["days"] > 0)
    settled = rows["mature"].to_numpy()
    assert (won[settled] == rows["label"][settled].astype(bool)).all()
    assert settled.sum() > 300
    early = outcome_times(crm, rows, as_of="2024-01-06")
    assert (early["days"] <= times["days"] + 1e-9).all()
    assert (early.loc[rows["as_of"] >= "2024-01-06", "days"] <= 0).all()
    # What ended later was still open then.
    later = times["days"] > early["days"] + 1e-9
    assert (early.loc[later, "event"] == "open").all()


def test_closed_only_training_promises_too_much(small):
    crm, rows, features = small
    table = closed_only_table(
        crm, rows, features, tested_at="2024-03-01", horizon_days=90, seed=0, learner="linear", max_days=196
    )
    both = table[table["deals"] == "all"].set_index("model")
    assert both.loc[CLOSED_ONLY, "predicted"] > both.loc[EVERY_DEAL, "predicted"] + 0.02
    assert abs(both.loc[EVERY_DEAL, "predicted"] - both.loc[EVERY_DEAL, "true_within"]) < 0.1
    assert both.loc[EVERY_DEAL, "true_ever"] >= both.loc[EVERY_DEAL, "true_within"]
    assert table.groupby("model")["n"].apply(lambda n: n.iloc[0] == n.iloc[1:].sum()).all()
    late = closed_only_table(crm, rows, features, tested_at="2024-12-30", horizon_days=90, seed=0)
    assert late.empty
    assert list(late) == list(table)
