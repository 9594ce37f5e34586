"""Battle cards: a planted weakness is found, noise is not, and figures stand without data."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from crmlab import plots, sources
from crmlab.features import build_features
from crmlab.forecast import battle_cards
from crmlab.forecast.backtest import Backtest
from crmlab.forecast.cards import _believed, _contrasts, _distinct, _entries, _shrunk
from crmlab.forecast.sentences import cards_sentence
from crmlab.models.hazard import outcome_times
from crmlab.schema import ParameterError
from crmlab.snapshots import build_snapshots

AS_OF = "2025-01-06"


@pytest.fixture(scope="module")
def small():
    crm = sources.open_crm("demo_small", as_of=AS_OF)
    question = dict(entity="opportunity", label="within_horizon", as_of=AS_OF, horizon_days=90)
    rows = build_snapshots(crm, every="monthly", **question)
    return crm, rows, build_features(crm, rows)


def planted(crm, rows, features, *, share_won):
    """Products by lot, but `Trap` takes few of the won deals; wins against it had a gift more often."""
    rng = np.random.default_rng(5)
    ended = outcome_times(crm, rows, as_of=AS_OF)["event"].to_numpy()
    event = pd.Series(ended, index=rows["opportunity_id"]).groupby(level=0).first()
    chance = np.where(event == "won", share_won, 0.5)
    trap = pd.Series(rng.random(len(event)) < chance, index=event.index)
    gift = pd.Series(rng.random(len(event)) < np.where(event == "won", 0.9, 0.1), index=event.index)
    ids = rows["opportunity_id"]
    product = pd.array(np.where(trap.loc[ids], "Trap", "Other"), dtype="str")
    few = features[["amount", "age_days", "stage", "interactions_n_30d"]]
    return few.assign(product=product, gifts=gift.loc[ids].to_numpy().astype(float) + rng.random(len(ids)) / 10)


def test_a_planted_weakness_and_its_difference_are_found(small):
    crm, rows, features = small
    X = planted(crm, rows, features, share_won=0.2).drop(columns="gifts")
    cards = battle_cards(crm, rows, X, as_of=AS_OF, seed=0)
    trap = cards.groups.set_index("group").loc["Trap"]
    assert trap["harder"]
    assert trap["ratio"][2] < 1
    assert trap["won"] < trap["expected"]
    assert "Trap" in cards_sentence(cards)
    assert not cards.groups.set_index("group").loc["Other", "harder"]


def test_what_distinguishes_the_wins_is_named(small):
    crm, rows, features = small
    X = planted(crm, rows, features, share_won=0.25)
    entries = {"product": _entries(crm, rows, X, "product", pd.Timestamp(AS_OF))}
    groups = pd.DataFrame({"field": ["product"], "group": ["Trap"], "harder": [True]})
    contrasts, n_compared = _contrasts(groups, entries, X)
    assert contrasts["feature"].tolist()[0] == "gifts"
    assert contrasts["order"].iloc[0][1] > 0.5
    assert contrasts["words"].iloc[0] == "more gifts among the wins"
    assert n_compared > 3
    # The expectation knows the gifts: what they explain is no weakness of the product.
    assert not battle_cards(crm, rows, X, as_of=AS_OF, seed=0).groups["harder"].any()


def test_nothing_is_found_where_nothing_is(small):
    crm, rows, features = small
    cards = battle_cards(
        crm, rows, planted(crm, rows, features, share_won=0.5).drop(columns="gifts"), as_of=AS_OF, seed=0
    )
    assert not cards.groups["harder"].any()
    assert cards.contrasts.empty
    assert "no evidence" in cards_sentence(cards)
    none = battle_cards(crm, rows, features[["amount"]], as_of=AS_OF, seed=0)
    assert none.groups.empty
    assert "not enough evidence" in cards_sentence(none)
    with pytest.raises(ParameterError, match="up to their date"):
        battle_cards(crm, rows, features, as_of="2024-01-06", seed=0)


def test_shrinkage_pulls_small_groups_to_the_expected():
    alike = _shrunk(np.array([1.0, 100, 95, 105]), np.array([3.0, 100, 100, 100]))
    assert alike[0, 0] > 0.9  # one of three expected is no evidence among groups that are alike
    far = _shrunk(np.array([20.0, 160, 150, 40]), np.array([60.0, 100, 100, 100]))
    assert far[0, 2] < 1
    assert 20 / 60 < far[0, 0] < 0.6
    assert (far[:, 1] < far[:, 0]).all()
    assert (far[:, 0] < far[:, 2]).all()


def test_false_findings_are_held_down():
    """Benjamini and Hochberg at 0.1: of (0.01, 0.03, 0.07, 0.5) the bounds are 0.025, 0.05, 0.075, 0.1."""
    assert _believed(np.array([0.5, 0.03, 0.01, 0.07])).tolist() == [False, True, True, True]
    assert _believed(np.array([0.5, 0.03, 0.01, 0.08])).tolist() == [False, True, True, False]
    rng = np.random.default_rng(1)
    assert np.mean([_believed(rng.random(200)).any() for _ in range(200)]) < 0.2


def test_the_same_thing_is_not_said_twice():
    x = np.random.default_rng(2).standard_normal(60)
    table = pd.DataFrame({"feature": ["a", "copy", "other"], "p_value": [0.001, 0.002, 0.003]})
    table["values"] = [x, 2 * x + 0.01, np.random.default_rng(3).standard_normal(60)]
    assert _distinct(table)["feature"].tolist() == ["a", "other"]


def test_figures_stand_with_and_without_data():
    three = (2e6, 1e6, 3e6)
    table = pd.DataFrame(
        {"period": ["2025-01"], "when": ["this month"], "closed": [1e5], "existing": [1e6], "new": [5e5]}
        | {"expected": [three], "independent": [three]}
    )
    goal = pd.DataFrame({"level": ["total"], "period": ["2025-01"], "target": [1.5e6]})
    ax = plots.plot_outlook(table, targets=goal)
    assert "target" in [t.get_text() for t in ax.get_legend().get_texts()]
    empty = pd.DataFrame(columns=["group", "attainment", "chance"])
    assert plots.plot_targets(empty).texts
    own = pd.DataFrame({"group": ["R$1"], "attainment": [(1.2, 0.8, 1.5)], "chance": [(0.7, 0.6, 0.8)]})
    assert r"R\$1" in plots.plot_targets(own).get_yticklabels()[0].get_text()
    assert plots.plot_backtest(Backtest(pd.DataFrame(), pd.DataFrame(), None).results).texts
    plt.close("all")
