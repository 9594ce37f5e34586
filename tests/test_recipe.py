"""The default recipe: everything decided inside, formula exact, signal found, noise refused, bad input named."""

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmlab.metrics import log_loss, roc_auc
from crmlab.models import (
    ElasticNetLogistic,
    HistogramBoosting,
    QuantileBins,
    ScoreModel,
    TunedBoosting,
    XGBoostRounds,
    make_models,
    search_boosting,
)
from crmlab.models.blend import BASE_RATE, beats_base_rate, blend, blend_weights, logit
from crmlab.models.folds import inner_folds, newest_enough
from crmlab.models.selection import learnable_columns, strongest_columns
from crmlab.schema import DataError, NotEnoughEvidence

N = 1_500


def simulated(seed: int, rows: int = N) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Frame with gaps, rare levels and noise; outcomes; true probabilities; days."""
    generator = np.random.default_rng(seed)
    source = generator.choice(["web", "fair", "list", "rare"], rows, p=[0.5, 0.3, 0.197, 0.003])
    calls = generator.poisson(2, rows).astype("float64")
    size = generator.lognormal(3, 1, rows)
    truth = 1 / (1 + np.exp(3 - 0.8 * calls - 1.0 * (source == "fair") - 1.0 * ((size > 10) & (size < 40))))
    frame = pd.DataFrame({"source": source, "calls": calls, "size": size, "noise": generator.normal(size=rows)})
    frame.loc[::7, "size"] = np.nan
    frame.loc[::11, "source"] = None
    days = np.datetime64("2024-01-01") + np.sort(generator.integers(0, 400, rows)).astype("timedelta64[D]")
    return frame.astype({"source": "str"}), (generator.random(rows) < truth).astype(int), truth, days


@pytest.fixture(scope="module")
def data():
    return simulated(1)


@pytest.fixture(scope="module")
def model(data):
    X, y, _, days = data
    return ScoreModel(seed=3).fit(X, y, order=days)


def test_the_blend_beats_the_base_rate_on_new_rows_and_nears_the_truth(model):
    X, y, truth, _ = simulated(2)
    loss, best = log_loss(y, model.predict_proba(X)[:, 1]), log_loss(y, truth)
    base = log_loss(y, np.full(len(y), model.base_rate_))
    assert (base - loss) / (base - best) > 0.75


def test_the_formula_is_exact_and_weights_add_up_to_one(model, data):
    X = data[0].head(200)
    members = model.member_probabilities(X)
    total = sum(w * logit(members.get(name, model.base_rate_)) for name, w in model.weights_.items())
    assert logit(model.raw_probability(X)) == pytest.approx(total, abs=1e-9)
    assert set(members) == {"logistic regression", "random forest", "XGBoost"}
    assert sum(model.weights_.values()) == pytest.approx(1)
    assert min(model.weights_.values()) > 0
    assert model.inner_["model"].tolist() == [*members, BASE_RATE, "blend"]


def test_the_inner_blend_is_no_worse_than_any_member(model):
    inner = model.inner_.set_index("model")["inner log loss"]
    assert inner["blend"] <= inner.min() + 1e-4


def test_same_seed_same_bits_and_input_untouched(model, data):
    X, y, _, days = data
    before = X.copy()
    twin = ScoreModel(seed=3).fit(X, y, order=days)
    assert twin.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    pd.testing.assert_frame_equal(X, before)


def test_column_order_of_new_frames_does_not_matter_and_more_columns_are_allowed(model, data):
    X = data[0].head(50)
    shuffled = X.assign(more=1.0)[["more", "noise", "size", "source", "calls"]]
    assert model.predict_proba(shuffled).tolist() == model.predict_proba(X).tolist()


def test_unseen_levels_and_gaps_are_scored(model, data):
    new = data[0].head(5).assign(source=pd.Series(["never seen"] * 5, dtype="str"), size=np.nan, calls=np.nan)
    p = model.predict_proba(new)
    assert np.isfinite(p).all()
    assert ((p > 0) & (p < 1)).all()


@pytest.mark.parametrize("dated", [True, False])
def test_noise_gets_the_base_rate(dated):
    refused = 0
    for seed in range(3):
        X, y, _, days = simulated(seed, 600)
        y = np.random.default_rng(seed).permutation(y)
        model = ScoreModel().fit(X, y, order=days if dated else None)
        refused += model.weights_ == {BASE_RATE: 1.0}
    assert refused >= 2


def test_a_base_rate_model_scores_the_base_rate():
    X, y, _, _ = simulated(0, 600)
    model = ScoreModel().fit(X[["noise"]], np.random.default_rng(0).permutation(y))
    assert model.predict_proba(X)[:, 1] == pytest.approx(y.mean())


def test_nothing_after_the_fitted_rows_decides(data):
    """Scores of a model on old rows do not know of newer ones that are not given to it."""
    X, y, _, days = data
    old = np.arange(900)
    first = ScoreModel().fit(X.iloc[old], y[old], order=days[old]).predict_proba(X)
    spoiled = X.copy()
    spoiled.loc[900:, "calls"] = 1e6
    second = ScoreModel().fit(spoiled.iloc[old], y[old], order=days[old]).predict_proba(X)
    assert first.tolist() == second.tolist()


def test_one_class_is_not_enough_and_few_are_flagged(data):
    X = data[0]
    with pytest.raises(NotEnoughEvidence, match="only one kind of outcome"):
        ScoreModel().fit(X, np.zeros(len(X)))
    few = ScoreModel().fit(X.head(60), np.r_[np.ones(15), np.zeros(45)])
    assert few.few_
    assert np.isfinite(few.predict_proba(X)).all()
    tiny = ScoreModel().fit(X.head(6), np.array([1, 0, 0, 1, 0, 0]))
    assert tiny.predict_proba(X.head(2))[:, 1] == pytest.approx(1 / 3)


def test_constant_and_empty_columns_are_ignored(data):
    X, y, _, days = data
    junk = X.assign(same=1.0, gaps=np.nan, word=pd.Series(["x"] * len(X), dtype="str"))
    junk["nothing"] = pd.Series([None] * len(X), dtype="str")
    plain, dirty = (ScoreModel().fit(frame, y, order=days).predict_proba(junk)[:, 1] for frame in (X, junk))
    assert plain.tolist() == dirty.tolist()
    empty = ScoreModel().fit(junk[["same", "gaps", "word", "nothing"]], y)
    assert empty.members_ == {}
    assert empty.predict_proba(junk)[:, 1] == pytest.approx(y.mean())


def test_bad_frames_are_named(model, data):
    X, y, _, days = data
    with pytest.raises(DataError, match="infinite: calls"):
        ScoreModel().fit(X.assign(calls=np.inf), y)
    with pytest.raises(DataError, match="twice: size"):
        ScoreModel().fit(X.rename(columns={"noise": "size"}), y)
    with pytest.raises(DataError, match="not there: calls"):
        model.predict_proba(X.drop(columns="calls"))
    with pytest.raises(DataError, match="infinite: size"):
        model.predict_proba(X.assign(size=-np.inf))
    with pytest.raises(DataError, match="0 or 1"):
        ScoreModel().fit(X, y[:-1])
    with pytest.raises(DataError, match="order"):
        ScoreModel().fit(X, y, order=np.r_[days[:-1], np.datetime64("NaT")])


# --- blend --------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(30, 200))
def test_weights_are_shares_and_never_worse_than_one_member(seed, rows):
    generator = np.random.default_rng(seed)
    y = np.r_[0, 1, generator.integers(0, 2, rows)]
    p = {name: generator.uniform(0.01, 0.99, len(y)) for name in ("a", "b")} | {BASE_RATE: np.full(len(y), y.mean())}
    weights = blend_weights(p, y)
    assert min(weights.values()) >= 0
    assert sum(weights.values()) == pytest.approx(1)
    assert log_loss(y, blend(p, weights)) <= min(log_loss(y, q) for q in p.values()) + 1e-3


def test_a_perfect_member_gets_the_weight():
    generator = np.random.default_rng(5)
    truth = generator.uniform(0.02, 0.98, 5_000)
    y = (generator.random(5_000) < truth).astype(int)
    noisy = 1 / (1 + np.exp(-(logit(truth) + generator.normal(0, 2, 5_000))))
    weights = blend_weights({"truth": truth, "noisy": noisy, BASE_RATE: np.full(5_000, y.mean())}, y)
    assert weights["truth"] > 0.93


def test_noise_is_weighed_as_the_base_rate():
    generator = np.random.default_rng(6)
    y = (generator.random(5_000) < 0.2).astype(int)
    noise = 1 / (1 + np.exp(-(logit(0.2) + generator.normal(0, 1, 5_000))))
    p = {"noise": noise, BASE_RATE: np.full(5_000, 0.2)}
    assert blend_weights(p, y)[BASE_RATE] > 0.9
    assert not beats_base_rate(p, y, np.arange(5_000), seed=0)


def test_rows_of_one_entity_count_once_in_the_check():
    """A gain on one entity of many equal rows is no evidence; on as many entities it is."""
    y = np.tile([0, 1], 650)
    entity = np.repeat(np.arange(13), 100)
    p = {"eight of 13 right": np.where(entity < 8, 0.3 + 0.4 * y, 0.7 - 0.4 * y), BASE_RATE: np.full(1300, 0.5)}
    assert beats_base_rate(p, y, np.arange(1300), seed=1)
    assert not any(beats_base_rate(p, y, entity, seed=seed) for seed in range(20))


# --- folds and columns --------------------------------------------------------------------------------------------


def test_forward_folds_keep_the_gap_and_part_entities():
    days = np.datetime64("2024-01-01") + np.arange(1_000).astype("timedelta64[D]")
    groups = np.arange(1_000) // 7
    y = np.tile([0, 1], 500)
    folds = inner_folds(y, order=days, groups=groups, gap_days=30, seed=0)
    assert len(folds) == 3
    for fit, ahead in folds:
        assert days[ahead].min() - days[fit].max() >= np.timedelta64(30, "D")
        assert not set(groups[fit]) & set(groups[ahead])
    newest = newest_enough(folds, y, rows=100, outcomes=20)
    assert [ahead.max() for _, ahead in newest] == [999]


def test_an_entity_on_both_sides_leaves_its_newer_rows_out():
    y = np.tile([0, 1], 100)
    groups = np.r_[0, np.arange(1, 199), 0]
    folds = inner_folds(y, order=np.arange(200), groups=groups, gap_days=90, seed=0)
    assert all(0 in fit for fit, _ in folds)
    assert all(199 not in ahead for _, ahead in folds)


def test_undated_folds_predict_every_row_once():
    groups = np.repeat(np.arange(100), 3)
    folds = inner_folds(np.tile([0, 1, 0], 100), order=None, groups=groups, gap_days=0, seed=0)
    assert np.sort(np.concatenate([ahead for _, ahead in folds])).tolist() == list(range(300))
    assert all(not set(groups[fit]) & set(groups[ahead]) for fit, ahead in folds)


def test_a_gap_that_leaves_too_little_is_dropped():
    days = np.datetime64("2024-01-01") + np.arange(200).astype("timedelta64[D]")
    assert inner_folds(np.tile([0, 1], 100), order=days, groups=None, gap_days=300, seed=0)


def test_clocks_and_constants_are_not_learned_from():
    generator = np.random.default_rng(0)
    order = np.arange(400)
    X = pd.DataFrame({"clock": order + generator.normal(0, 5, 400), "honest": generator.normal(size=400), "same": 1.0})
    assert learnable_columns(X, order=order) == ["honest"]
    assert learnable_columns(X, order=None) == ["clock", "honest"]


def test_of_a_wide_frame_the_strongest_columns_stay():
    generator = np.random.default_rng(0)
    X = pd.DataFrame(generator.normal(size=(800, 80)), columns=[f"x{k}" for k in range(80)])
    X["source"] = pd.Series(generator.choice(["a", "b"], 800), dtype="str")
    y = (generator.random(800) < 1 / (1 + np.exp(-2 * X["x7"] - 2 * (X["source"] == "a")))).to_numpy().astype(int)
    kept = strongest_columns(X, y, seed=0)
    assert {"x7", "source"} <= set(kept)
    assert len(kept) == 40
    assert strongest_columns(X[["x1", "x2"]], y, seed=0) == ["x1", "x2"]


def test_ranges_by_hand():
    bins = QuantileBins(n_bins=2).fit(pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, np.nan]}))
    assert bins.edges_["a"].tolist() == [3.0]
    assert bins.transform(pd.DataFrame({"a": [-5.0, 3.0, np.nan]})).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert bins.shares_["a"].tolist() == pytest.approx([0.4, 0.4, 0.2])
    assert QuantileBins().fit_transform(pd.DataFrame({"a": [np.nan, np.nan]})).tolist() == [[0, 1], [0, 1]]


# --- members ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [0.03, 1.0])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_elastic_net_is_scikit_learns(C, l1_ratio):
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(1)
    X = generator.normal(size=(300, 8))
    y = (generator.random(300) < 1 / (1 + np.exp(-X[:, 0] + X[:, 1]))).astype(int)
    ours = ElasticNetLogistic(C, l1_ratio).fit(X, y)
    peer = LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", max_iter=5_000, tol=1e-8, random_state=0).fit(X, y)
    assert ours.coef_ == pytest.approx(peer.coef_, abs=2e-4)
    assert ours.intercept_ == pytest.approx(peer.intercept_, abs=2e-4)


def test_elastic_net_of_many_rows_reaches_the_optimum_with_a_sampled_curvature():
    generator = np.random.default_rng(2)
    X = generator.normal(size=(15_000, 5))
    X[:, 4] = np.isin(np.arange(15_000), [7_001, 7_004, 7_007])  # a level that the sample does not hold
    y = (generator.random(15_000) < 1 / (1 + np.exp(2 - X[:, 0]))).astype(int)
    model = ElasticNetLogistic(1.0, 0.0).fit(X, y)
    slope = (model.predict_proba(X)[:, 1] - y) @ X + model.coef_[0]
    assert np.abs(slope).max() / len(y) < 2e-6


def test_boosting_state_is_plain_and_comes_back_bit_by_bit(data):
    X, y, _, _ = data
    numbers = X[["calls", "size", "noise"]].to_numpy()
    model = XGBoostRounds(seed=1, n_rounds=20).fit(numbers, y)
    state = model.__getstate__()
    assert isinstance(state["booster_"], bytes)
    assert {type(v) for v in state.values()} <= {bytes, int, float, str, np.ndarray, type(None)}
    assert copy.deepcopy(model).predict_proba(numbers).tobytes() == model.predict_proba(numbers).tobytes()
    assert model.n_rounds_ == 20


@pytest.mark.parametrize("kind", [HistogramBoosting(seed=1), TunedBoosting(n_trials=3, seed=1)])
def test_comparison_models_find_the_signal(data, kind):
    X, y, _, days = data
    model = kind.fit(X[:1_000], y[:1_000], order=days[:1_000])
    assert roc_auc(y[1_000:], model.predict_proba(X[1_000:])[:, 1]) > 0.72
    with pytest.raises(NotEnoughEvidence):
        kind.fit(X, np.zeros(len(X)))


def test_search_is_repeatable_and_the_best_went_on(data):
    X, y, _, days = data
    (table, best), (again, _) = (search_boosting(X, y, order=days, n_trials=5, seed=4) for _ in range(2))
    pd.testing.assert_frame_equal(table, again)
    assert table["heat"].value_counts().to_dict() == {1: 6, 2: 2}
    final = table[table["heat"] == 2]
    assert final["inner log loss"].is_monotonic_increasing
    assert best["n_rounds"] == final["n_rounds"].iloc[0]


def test_extra_models_come_last(data):
    assert list(make_models(data[0], seed=0, extra=True))[-2:] == ["sklearn boosting", "XGBoost tuned"]


def test_histogram_boosting_takes_a_column_that_older_rows_leave_empty():
    generator = np.random.default_rng(3)
    n = 300
    X = pd.DataFrame(
        {"calls": generator.normal(size=n), "new": np.r_[np.full(270, np.nan), np.ones(30)], "gone": np.nan}
    )
    y = (X["calls"] + generator.normal(size=n) > 0).astype(int).to_numpy()
    model = HistogramBoosting(seed=1).fit(X, y, order=np.arange(n))
    assert log_loss(y, model.predict_proba(X)[:, 1]) < log_loss(y, np.full(n, y.mean()))
