"""The pipeline forecast: calendar, facts, the shared shock, draws, targets, and honesty on a simulated past."""

import numpy as np
import pandas as pd
import pytest

from crmlab import sources
from crmlab.features import build_features
from crmlab.forecast import (
    Forecast,
    NewDeals,
    Residuals,
    Situation,
    at_risk,
    backtest_forecast,
    estimate_shock,
    forecast_edges,
    forecast_periods,
    forecast_pipeline,
    known_deals,
    must_win,
    simulate,
)
from crmlab.forecast.backtest import OURS, crps
from crmlab.forecast.facts import value_at
from crmlab.forecast.sentences import (
    backtest_sentence,
    bias_sentence,
    forecast_sentence,
    independence_sentence,
    rules_sentence,
    shock_sentence,
    targets_sentence,
)
from crmlab.schema import NotEnoughEvidence, empty_table
from crmlab.snapshots import build_snapshots

AT = pd.Timestamp("2025-01-06")


def situation(n=40, *, win=0.2, lose=0.1, amount=100_000.0, new=0.0):
    """A pipeline of equal deals of two owners in two teams."""
    edges = forecast_edges(AT)
    k = len(edges) - 1
    deals = pd.DataFrame(
        {
            "opportunity_id": [f"O{i}" for i in range(n)],
            "owner": ["A", "B"] * (n // 2),
            "team": ["North", "South"] * (n // 2),
            "product": "press",
            "amount": amount,
        }
    )
    won = pd.DataFrame({"closed_at": [pd.Timestamp("2025-01-03")], "amount": [50_000.0], "owner": ["A"]})
    coming = NewDeals(
        np.full(k, new), 0.0, np.array([10_000.0]), np.array(["A", "B"], dtype=object), np.array([0.5, 0.5])
    )
    return Situation(
        AT,
        edges,
        deals,
        np.full((n, k), win),
        np.full((n, k), lose),
        np.zeros(1),
        {"": np.array([30_000.0])},
        coming,
        won,
        {"A": "North", "B": "South"},
    )


def forecast(here, *, shock=None, n=4000, targets=None):
    targets = empty_table("targets") if targets is None else targets
    shock = shock or estimate_shock([])
    drawn, alone = simulate(here, shock, n_draws=n, seed=1), simulate(here, None, n_draws=n, seed=1)
    return Forecast(here, drawn, alone, shock, None, targets)


def target(value, **which):
    row = {"target_id": "T1", "measure": "won_amount", "value": value, "set_at": pd.Timestamp("2024-12-20")}
    row |= {"period_start_at": pd.Timestamp("2025-01-01"), "period_end_at": pd.Timestamp("2025-04-01")}
    return pd.DataFrame([row | {"rep_id": None, "team": None} | which])


def test_periods_and_edges():
    assert [(p.role, p.name) for p in forecast_periods("2025-01-06")] == [
        ("this month", "2025-01"),
        ("next month", "2025-02"),
        ("this quarter", "2025 Q1"),
        ("next quarter", "2025 Q2"),
    ]
    edges = forecast_edges("2025-03-31")
    assert [f"{e:%m-%d}" for e in edges] == ["03-31", "04-01", "05-01", "06-01", "07-01"]
    assert forecast_periods("2025-02-15")[2].elapsed(pd.Timestamp("2025-02-15")) == pytest.approx(0.5)
    here = situation()
    month, _, quarter, later = here.periods
    assert here.steps(month).tolist() == [0]
    assert here.steps(quarter).tolist() == [0, 1, 2]
    assert here.steps(later).tolist() == [3, 4, 5]


def test_draws_agree_with_the_arithmetic_when_deals_are_independent():
    """40 deals of 100,000: won in the quarter with 0.2·(1 + 0.7 + 0.49) = 0.438 each."""
    here = situation()
    assert here.won_in_step()[0, :3] == pytest.approx([0.2, 0.14, 0.098])
    drawn = forecast(here).amounts(here.periods[2], independent=True)
    p = 0.438
    assert drawn.mean() == pytest.approx(50_000 + 40 * p * 1e5, rel=0.01)
    assert drawn.std() == pytest.approx(1e5 * np.sqrt(40 * p * (1 - p)), rel=0.05)


def test_a_shared_shock_widens_and_makes_deals_move_together():
    here = situation()
    wide = estimate_shock(
        [Residuals(*(np.array([x]) for x in (gap, 10.0, 5.0, 6.0))) for gap in (20.0, 2.0, 17.0, 1.0)]
    )
    outlook = forecast(here, shock=wide)
    quarter = here.periods[2]
    assert outlook.amounts(quarter).std() > 1.5 * outlook.amounts(quarter, independent=True).std()
    teams = [outlook.amounts(quarter, {owner}) for owner in ("A", "B")]
    assert np.corrcoef(*teams)[0, 1] > 0.3
    alone = [outlook.amounts(quarter, {owner}, independent=True) for owner in ("A", "B")]
    assert abs(np.corrcoef(*alone)[0, 1]) < 0.06


def test_the_shock_is_learned():
    rng = np.random.default_rng(3)

    def past(size):
        found = []
        for _ in range(40):
            u = size * rng.standard_normal()
            mean = 50 * np.exp(u)
            found.append(Residuals(*(np.array([x]) for x in (rng.poisson(mean), 50.0, 50.0, 50.0))))
        return estimate_shock(found)

    calm, wild, none = past(0.0), past(0.5), estimate_shock([])
    assert calm.size[0] < 0.15
    assert 0.35 < wild.size[0] < 0.7
    assert none.n_dates == 0
    assert none.size[2] - none.size[1] > wild.size[2] - wild.size[1]
    assert wild.weight.sum() == pytest.approx(1.0)


def test_parts_add_up_at_every_level():
    outlook = forecast(situation(new=3.0))
    total, teams, owners = (outlook.table(level) for level in ("total", "team", "owner"))
    for part in ("open_deals", "closed", "existing", "new"):
        by_team = teams.groupby("when", sort=False)[part].sum().to_numpy()
        assert by_team == pytest.approx(total[part].to_numpy(), rel=1e-4)
        assert owners.groupby("when", sort=False)[part].sum().to_numpy() == pytest.approx(by_team, rel=1e-4)
    assert total["closed"].tolist() == [50_000, 0, 50_000, 0]
    assert total.loc[2, "new"] == pytest.approx(3 * 3 * 10_000, rel=0.15)
    assert set(teams["group"]) == {"North", "South"}


def test_missing_amounts_are_drawn_from_won_deals():
    here = situation(win=1.0, lose=0.0, amount=np.nan)
    drawn = forecast(here).amounts(here.periods[0], independent=True)
    assert np.unique(drawn).tolist() == [50_000 + 40 * 30_000]
    assert here.amount_moments()[0].tolist() == [30_000.0] * 40


def test_targets_come_from_the_firm_then_its_teams_then_its_reps():
    here = situation(win=1.0, lose=0.0)
    reps = pd.concat([target(1e6, rep_id="A"), target(2e6, rep_id="B")])
    table = forecast(here, targets=reps).target_table().set_index(["level", "group"])
    assert table["target"].to_dict() == {
        ("total", "all"): 3e6,
        ("team", "North"): 1e6,
        ("team", "South"): 2e6,
        ("owner", "A"): 1e6,
        ("owner", "B"): 2e6,
    }
    assert table.loc[("total", "all"), "chance"][0] == 1.0
    assert table.loc[("owner", "A"), "attainment"][0] == pytest.approx(2.05)
    gone = (AT - pd.Timestamp("2025-01-01")) / pd.Timedelta(days=90)
    assert table.loc[("owner", "A"), "pace"] == pytest.approx(0.05 / gone)
    both = pd.concat([reps, target(9e6)])
    assert forecast(here, targets=both).target_table(["total"])["target"].tolist() == [9e6]
    assert forecast(here).target_table().empty
    assert "No target" in targets_sentence(forecast(here).target_table())
    assert "of 2 owner targets, 2 are likely" in targets_sentence(table.reset_index())


def test_must_win_deals_are_those_that_the_target_hangs_on():
    here = situation(n=4, win=0.3, lose=0.1)
    here.deals["amount"] = [10_000.0, 10_000.0, 900_000.0, 10_000.0]
    must = must_win(forecast(here, targets=target(800_000.0)))
    assert must["deal"].iloc[0] == "O2"
    assert must["chance_if_won"].iloc[0] == 1.0
    assert must["chance_if_not"].iloc[0] == 0.0
    assert must["difference"].iloc[1:].abs().max() == 0.0
    without = must_win(forecast(here))
    assert without["deal"].iloc[0] == "O2"


def test_value_at_takes_the_newest_value_until_then():
    changes = pd.DataFrame(
        {
            "change_id": ["1", "2", "3"],
            "entity": "opportunity",
            "entity_id": ["O1", "O1", "O2"],
            "field": "amount",
            "new_value": ["10", "20", "30"],
            "changed_at": pd.to_datetime(["2024-01-01", "2024-02-01", "2024-01-01"]).astype("datetime64[us]"),
        }
    )
    ids = pd.Series(["O1", "O2", "O1", "O3"], index=[7, 8, 9, 10])
    at = pd.Series(pd.to_datetime(["2024-03-01", "2023-12-31", "2024-01-31", "2024-03-01"]), index=ids.index)
    found = value_at(changes, "opportunity", "amount", ids, at)
    assert found.fillna("none").to_dict() == {7: "20", 8: "none", 9: "10", 10: "none"}


def test_crps_golden():
    assert crps(np.array([5.0]), 2.0) == 3.0  # of a single number: the absolute error
    draws = np.random.default_rng(4).standard_normal(20_000)
    assert crps(draws, 0.0) == pytest.approx(2 / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi), abs=0.005)


@pytest.fixture(scope="module")
def small():
    crm = sources.open_crm("demo_small", as_of="2025-01-06")
    question = dict(entity="opportunity", label="within_horizon", as_of="2025-01-06", horizon_days=90)
    rows = build_snapshots(crm, every="monthly", **question)
    return crm, rows, build_features(crm, rows)


@pytest.fixture(scope="module")
def past(small):
    return backtest_forecast(*small, as_of="2025-01-06", seed=0, n_draws=600, n_fits=2)


def test_facts_are_those_of_the_closing(small):
    crm, *_ = small
    facts = known_deals(crm, as_of="2025-01-06")
    deals = crm["opportunities"].set_index("opportunity_id")
    won = facts.won(before=AT).set_index("opportunity_id")
    assert len(won) > 80
    positive = deals.loc[won.index, "amount"] > 0
    assert (won["amount"] == deals.loc[won.index, "amount"])[positive].mean() > 0.98
    early = known_deals(crm, as_of="2024-01-06")
    assert (early.deals["closed_at"].dropna() < "2024-01-06").all()
    assert set(early.won(before=AT)["opportunity_id"]) <= set(won.index)


def test_the_future_changes_no_forecast(small):
    """Everything from the date on is deleted; the forecast at the date stays as it was."""
    crm, rows, features = small
    at = "2024-07-06"
    before = (rows["as_of"] <= at).to_numpy()
    setup = dict(as_of=at, n_draws=300, seed=2)
    whole = forecast_pipeline(crm, rows[before], features[before], **setup)
    cut = forecast_pipeline(crm.cut(as_of=at), rows[before], features[before], **setup)
    pd.testing.assert_frame_equal(whole.table("owner"), cut.table("owner"))
    with_later = forecast_pipeline(crm, rows, features, **setup)
    pd.testing.assert_frame_equal(whole.table(), with_later.table())


def test_the_back_test_uses_the_past_and_covers(small, past):
    assert past.n_dates >= 12
    table = past.coverage_table().set_index(["when", "level"])
    # Few and overlapping dates: the interval of the share must hold 80 %.
    low, high = table.loc[("this quarter", "total"), "covered"][1:]
    assert low <= 0.8 <= high
    assert (past.results["low"] <= past.results["median"]).all()
    width = past.results["high"] - past.results["low"]
    alone = past.results["independent_high"] - past.results["independent_low"]
    assert (width[past.results["level"] == "total"].mean()) > alone[past.results["level"] == "total"].mean()
    held = past.results["inside"] == past.results["realised"].between(past.results["low"], past.results["high"])
    assert held.all()
    errors = past.error_table()
    assert (errors[OURS] < errors["same period last year"]).all()


def test_realised_amounts_are_those_of_the_tables(small, past):
    crm, *_ = small
    row = past.results[(past.results["level"] == "total") & (past.results["period"] == "2024 Q2")].iloc[0]
    deals = crm["opportunities"]
    won = deals[(deals["outcome"] == "won") & deals["closed_at"].between("2024-04-01", "2024-06-30 23:59:59")]
    assert row["realised"] == pytest.approx(won["amount"].sum(), rel=0.05)
    teams = past.results[(past.results["level"] == "team") & (past.results["period"] == "2024 Q2")]
    assert teams.groupby("as_of")["realised"].sum().iloc[0] == pytest.approx(row["realised"])


def test_too_little_history_is_said(small):
    crm, rows, features = small
    early = (rows["as_of"] <= "2022-06-06").to_numpy()
    short = backtest_forecast(crm, rows[early], features[early], as_of="2022-06-06", seed=0)
    assert short.n_dates == 0
    assert "too short" in backtest_sentence(short)
    assert short.coverage_table().empty
    assert short.error_table().empty
    assert bias_sentence(short)
    assert "rule of thumb" in rules_sentence(short)
    with pytest.raises(NotEnoughEvidence, match="No deal is open"):
        forecast_pipeline(crm, rows, features, as_of="2024-07-09", n_draws=10, seed=0)


def test_deals_at_risk_say_why(small):
    crm, rows, features = small
    outlook = forecast_pipeline(crm, rows, features, as_of="2025-01-06", n_draws=200, seed=0)
    now = (rows["as_of"] == AT).to_numpy()
    quiet = features.assign(
        interactions_recency_days=0.0,
        expected_close_days=30.0,
        close_date_moves_later_n_ever=0,
        stage_moves_back_n_ever=0,
        owner_probability=0.0,
    )
    loud = quiet.copy()
    first = np.flatnonzero(now)[outlook.situation.deals["amount"].to_numpy().argmax()]
    loud.iloc[first, loud.columns.get_loc("interactions_recency_days")] = 40.0
    loud.iloc[first, loud.columns.get_loc("expected_close_days")] = -3.2
    loud.iloc[first, loud.columns.get_loc("owner_probability")] = 0.99
    deal = rows["opportunity_id"].iloc[first]
    found = at_risk(outlook, rows, loud).set_index("deal")
    assert "no contact for 40 days" in found.loc[deal, "reasons"]
    assert "expected closing overdue by 4 days" in found.loc[deal, "reasons"]
    assert "its owner says 99 %" in found.loc[deal, "reasons"]
    calm = at_risk(outlook, rows, quiet)
    assert calm["reasons"].str.startswith("probability fell").all()
    bare = features[["amount", "stage", "age_days"]]
    plain = forecast_pipeline(crm, rows, bare, as_of="2025-01-06", n_draws=50, seed=0)
    assert list(at_risk(plain, rows, bare)) == list(found.reset_index())
    assert set(plain.situation.deals["owner"]) == {"(nobody)"}


def test_sentences_follow_the_numbers(small, past):
    crm, rows, features = small
    outlook = forecast_pipeline(crm, rows, features, as_of="2025-01-06", n_draws=500, seed=0, shock=past.shock)
    key = outlook.key_numbers()
    text, tone = forecast_sentence(outlook, past)
    assert text.startswith("2025 Q1 will bring €")
    assert tone in ("good", "caution", "bad")
    assert f"{100 * key['chance']:.0f}" in text
    assert key["low"] < key["median"] < key["high"]
    assert "independent" in independence_sentence(outlook)
    assert f"{past.n_dates} earlier dates" in backtest_sentence(past)
    assert f"{past.shock.n_dates} earlier dates" in shock_sentence(outlook)
    assert "assumed" in shock_sentence(forecast(situation()))
    no_target, plain = forecast_sentence(forecast(situation()), past)
    assert "No target" in no_target
    assert plain in ("plain", "caution")
