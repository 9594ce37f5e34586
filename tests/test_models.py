"""Estimators: floors by hand, gaps and unseen levels survived, same seed same scores."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crmlab.metrics import roc_auc
from crmlab.models import FLOORS, LevelOneHot, RateTable, SignedLog, XGBoostRounds, make_models


@pytest.fixture(scope="module")
def leads():
    """Conversion depends on the calls and on the source; gaps and rare levels as in life."""
    generator = np.random.default_rng(3)
    n = 1200
    source = generator.choice(["web", "fair", "list", "rare"], n, p=[0.5, 0.3, 0.197, 0.003])
    calls = generator.poisson(2, n).astype(float)
    logit = -3 + 1.0 * calls + np.where(source == "fair", 1.0, 0.0)
    y = (generator.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    frame = pd.DataFrame({"source": source, "calls_n_30d": calls, "employees": generator.lognormal(3, 1, n)})
    frame.loc[::7, "employees"] = np.nan
    frame.loc[::11, "source"] = None
    return frame.astype({"source": "str"}), y


def test_rate_table_by_hand():
    frame = pd.DataFrame({"source": ["a", "a", "b", "b"]})
    table = RateTable("source", strength=2).fit(frame, [1, 1, 0, 1])
    # Prior 3/4 worth two rows: a (2 + 1.5) / 4, b (1 + 1.5) / 4; a level never seen gets the prior.
    scores = table.predict_proba(pd.DataFrame({"source": ["a", "b", "new", None]}))[:, 1]
    assert scores.tolist() == pytest.approx([0.875, 0.625, 0.75, 0.75])


def test_rate_table_treats_missing_as_a_level_and_a_missing_column_as_the_base_rate():
    frame = pd.DataFrame({"source": ["a", None, None, "a"]}, dtype="str")
    table = RateTable("source", strength=0.001).fit(frame, [1, 0, 0, 1])
    assert table.predict_proba(frame)[1, 1] < 0.01
    base = RateTable("source").fit(pd.DataFrame({"other": [1.0, 2.0]}), [0, 1])
    assert base.predict_proba(pd.DataFrame({"other": [5.0]}))[0, 1] == pytest.approx(0.5)


def test_signed_log_keeps_gaps_and_signs():
    result = SignedLog().fit_transform(np.array([[np.e - 1, -(np.e - 1), 0.0, np.nan]]))
    assert result[0, :3].tolist() == pytest.approx([1, -1, 0])
    assert np.isnan(result[0, 3])


def test_one_hot_merges_rare_and_unseen_levels_and_keeps_missing_apart():
    frame = pd.DataFrame({"source": ["b", "a", "a", None, None, "rare"], "size": ["x"] * 6}, dtype="str")
    encoder = LevelOneHot(min_rows=2).fit(frame)
    names = ["source=(missing)", "source=a", "source=(other)", "size=x", "size=(other)"]
    assert encoder.get_feature_names_out().tolist() == names
    new = pd.DataFrame({"source": ["a", None, "b", "never seen"], "size": ["x", "y", "x", None]}, dtype="str")
    expected = [[0, 1, 0, 1, 0], [1, 0, 0, 0, 1], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1]]
    assert encoder.transform(new).tolist() == expected


def test_one_hot_is_scikit_learns(leads):
    from sklearn.preprocessing import OneHotEncoder

    text = leads[0][["source"]].fillna("(missing)")
    peer = OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist", sparse_output=False).fit(text)
    ours, theirs = LevelOneHot(min_rows=10).fit_transform(text), peer.transform(text)
    assert ours.tolist() == theirs.tolist()


def test_one_hot_without_categories_has_no_columns():
    assert LevelOneHot().fit_transform(pd.DataFrame(index=range(3))).shape == (3, 0)


def test_floors_come_first(leads):
    assert tuple(make_models(leads[0], seed=0))[: len(FLOORS)] == FLOORS


@pytest.mark.parametrize("name", ["base rate", "source table", "logistic regression", "random forest", "XGBoost"])
def test_every_model_scores_gaps_and_unseen_levels_and_repeats_itself(leads, name):
    frame, y = leads
    before = frame.copy()
    make = make_models(frame, seed=5)[name]
    model, twin = make().fit(frame, y), make().fit(frame, y)
    new = frame.head(20).assign(source=pd.Series(["never seen"] * 20, dtype="str"), employees=np.nan)
    scores = model.predict_proba(new)[:, 1]
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores.tolist() == twin.predict_proba(new)[:, 1].tolist()
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("name", ["logistic regression", "random forest", "XGBoost"])
def test_learned_models_find_the_planted_signal(leads, name):
    frame, y = leads
    model = make_models(frame, seed=5)[name]().fit(frame[:800], y[:800])
    scores = model.predict_proba(frame[800:])[:, 1]
    assert roc_auc(y[800:], scores) > 0.7


def test_rounds_are_chosen_on_the_newer_rows_given(leads):
    frame, y = leads
    X = frame[["calls_n_30d", "employees"]].to_numpy()
    noise = y.copy()
    noise[600:] = np.random.default_rng(0).permutation(noise[600:])
    good = XGBoostRounds(seed=1).fit(X, y, inner=(np.arange(600), np.arange(600, 1200)))
    spoiled = XGBoostRounds(seed=1).fit(X, noise, inner=(np.arange(600), np.arange(600, 1200)))
    assert 1 <= spoiled.n_rounds_ < good.n_rounds_ <= 300


def test_estimators_follow_scikit_learn():
    model = clone(XGBoostRounds(seed=3, max_depth=2))
    assert (model.seed, model.max_depth) == (3, 2)
    with pytest.raises(Exception, match="not fitted"):
        model.predict_proba(np.zeros((1, 2)))
    with pytest.raises(Exception, match="not fitted"):
        RateTable().predict_proba(pd.DataFrame({"source": ["a"]}))
