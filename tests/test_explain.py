"""Scores taken apart: exact for every kind of model, and true where the truth is known."""

from copy import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.dummy import DummyClassifier
from sklearn.tree import DecisionTreeClassifier

from crmlab.calibration import Beta, Isotonic, Sigmoid
from crmlab.explain import contributions, importance, importance_sentence
from crmlab.explain.layout import centres, source_columns
from crmlab.explain.rescale import log_odds
from crmlab.models import PointsCard, RateTable, ScoreModel, make_models
from crmlab.schema import DataError, NotEnoughEvidence, ParameterError, RunError


def firm(n: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return features, outcomes and the true log odds of each column: calls help, size hurts."""
    generator = np.random.default_rng(seed)
    calls, size = generator.poisson(4, n).astype("float64"), generator.lognormal(3, 1, n)
    source = generator.choice(["fair", "web", "partner"], n, p=[0.2, 0.5, 0.3])
    truth = pd.DataFrame(
        {
            "calls_n_30d": 0.6 * (calls - 4),
            "employees": -0.7 * (np.log(size) - 3),
            "source": pd.Series(source).map({"fair": 1.2, "web": -0.4, "partner": 0.0}),
            "noise": 0.0,
        }
    )
    y = (generator.random(n) < expit(truth.sum(axis=1) - 0.5)).astype(int)
    X = pd.DataFrame({"calls_n_30d": calls, "employees": size, "source": source, "noise": generator.normal(size=n)})
    X.loc[generator.random(n) < 0.1, "employees"] = np.nan
    return X.astype({"source": "str"}), y, truth.to_numpy()


def assert_adds_up(model, X):
    found = contributions(model, X)
    expected = log_odds(np.clip(model.predict_proba(X)[:, 1], 1e-6, 1 - 1e-6))
    assert found.base + found.values.sum(axis=1).to_numpy() == pytest.approx(expected, abs=1e-9)
    assert found.logit == pytest.approx(expected, abs=1e-9)
    assert found.points().sum(axis=1).to_numpy() == pytest.approx(expit(expected) - found.base_p, abs=1e-12)
    assert list(found.values.columns) == list(X.columns)
    return found


@pytest.fixture(scope="module")
def data():
    return firm(500)


@pytest.fixture(scope="module")
def fitted(data):
    X, y, _ = data
    return ScoreModel(seed=0).fit(X, y)


@pytest.fixture(scope="module")
def unseen():
    """Rows with gaps, levels and numbers that training has not seen."""
    X, _, _ = firm(80, seed=5)
    X.loc[:9, "source"] = "a level never seen"
    X.loc[10:19, "source"] = None
    X.loc[20:29, ["calls_n_30d", "noise"]] = np.nan
    X.loc[30:39, "employees"] = 1e9
    return X


def test_every_member_adds_up(fitted, unseen):
    assert set(fitted.members_) >= {"logistic regression", "random forest", "XGBoost"}
    for member in fitted.members_.values():
        found = assert_adds_up(member, unseen)
        assert found.values.to_numpy().std() > 0


def test_the_blend_adds_up_in_any_order_of_columns(fitted, unseen):
    found = assert_adds_up(fitted, unseen)
    turned = contributions(fitted, unseen[unseen.columns[::-1]].assign(more=1.0))
    pd.testing.assert_frame_equal(found.values, turned.values)


@pytest.mark.parametrize("calibrator", [Sigmoid(), Isotonic(), Beta()], ids=lambda c: type(c).__name__)
def test_a_calibrated_blend_adds_up(data, fitted, unseen, calibrator):
    (X, y, _), model = data, copy(fitted)
    model.calibrator_ = calibrator.fit(model.raw_probability(X), y)
    found = assert_adds_up(model, unseen)
    model.calibrator_ = None
    raw = contributions(model, unseen)
    assert np.abs(found.values.to_numpy()).max() < 10 * np.abs(raw.values.to_numpy()).max()
    # The same factor for all columns of a row: the order of the columns stays, where the calibration is not flat.
    if not isinstance(calibrator, Isotonic):
        assert (np.sign(found.values) == np.sign(raw.values)).to_numpy().all()


def test_a_step_in_the_calibration_does_not_blow_contributions_up(fitted, data):
    """Between two near rows a step function jumps: the jump is shared out by size, not multiplied through."""

    class Step:
        def transform(self, p):
            return np.where(p > model_base, 0.6, 0.2)

    X, model = data[0], copy(fitted)
    model.calibrator_ = None
    raw = contributions(model, X)
    model_base = raw.base_p
    model.calibrator_ = Step()
    found = contributions(model, X)
    near = np.abs(raw.logit - raw.base) < 0.02
    assert near.any()
    assert np.abs(found.values.to_numpy()).max() <= 10 * np.abs(raw.values.to_numpy()).max() + 2
    assert found.base + found.values.sum(axis=1).to_numpy() == pytest.approx(log_odds(model.predict_proba(X)[:, 1]))


def test_floors_add_up(data, unseen):
    X, y, _ = data
    assert (assert_adds_up(DummyClassifier().fit(X, y), X).values == 0).all(axis=None)
    found = assert_adds_up(RateTable("source").fit(X, y), unseen)
    assert (found.values.drop(columns="source") == 0).all(axis=None)
    assert found.values.loc[:9, "source"].abs().max() < 1e-12, "a level never seen says nothing"
    card = PointsCard().fit(X, y)
    parts = contributions(card, unseen)
    assert parts.base + parts.values.sum(axis=1).to_numpy() == pytest.approx(log_odds(card.predict_proba(unseen)[:, 1]))
    assert set(parts.values) <= set(X)


def test_the_logistic_part_is_the_coefficient_times_the_distance_from_the_mean(data):
    X, y, _ = data
    member = make_models(X, seed=0)["logistic regression"]().fit(X, y)
    found = contributions(member, X)
    numbers = ["calls_n_30d", "noise"]
    assert found.values[numbers].mean().to_numpy() == pytest.approx(0, abs=1e-9)
    one = X.head(1).copy()
    more = one.assign(calls_n_30d=one["calls_n_30d"] + 2)
    moved = contributions(member, more)
    same = ["employees", "source", "noise"]
    pd.testing.assert_frame_equal(moved.values[same], contributions(member, one).values[same])
    assert moved.logit[0] - found.logit[0] == pytest.approx(
        moved.values["calls_n_30d"].item() - found.values["calls_n_30d"].iloc[0]
    )


def test_every_column_behind_the_steps_is_known_by_its_input(data):
    """Numbers, then their missing indicators, then levels; worked by hand."""
    X, y, _ = data
    X = X[["noise", "source", "employees"]].assign(gaps=X["employees"], empty=np.nan)
    member = make_models(X, seed=0)["logistic regression"]().fit(X, y)
    columns = member.steps[0][1]
    names = X.columns[source_columns([columns], X)].to_list()
    said = [name.split("__")[1] for name in columns.get_feature_names_out()]
    expected = [next(c for c in X if c in name.removeprefix("missingindicator_")) for name in said]
    assert names == expected
    assert names.count("employees") >= 2, "the number and its indicator"
    assert names.count("source") == 4, "three levels and the shared one"


def test_levels_without_shares_count_alike(data):
    X, y, _ = data
    columns = make_models(X, seed=0)["logistic regression"]().fit(X, y).steps[0][1]
    levels = columns.named_transformers_["levels"]
    vars(levels).pop("shares_", None)
    assert centres([columns], X)[-4:] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    levels.shares_ = {"source": np.array([0.2, 0.3, 0.5, 0.0])}
    assert centres([columns], X)[-4:] == pytest.approx([0.2, 0.3, 0.5, 0.0])


def test_background_moves_the_start_and_nothing_else(data):
    X, y, _ = data
    member = make_models(X, seed=0)["logistic regression"]().fit(X, y)
    plain, moved = contributions(member, X), contributions(member, X, background=X)
    assert moved.values.mean().to_numpy() == pytest.approx(0, abs=1e-9)
    assert moved.base == pytest.approx(plain.logit.mean())
    assert plain.values.sub(moved.values).std().max() < 1e-9


@pytest.mark.truth
def test_contributions_recover_known_effects():
    X, y, truth = firm(1_500, seed=1)
    model = ScoreModel(seed=1).fit(X, y)
    values = contributions(model, X).values
    for place, column in enumerate(["calls_n_30d", "employees", "source"]):
        known = X[column].notna().to_numpy()
        found, effect = values[column].to_numpy()[known], truth[known, place]
        assert np.corrcoef(found, effect)[0, 1] > 0.9, column
        assert 0.6 < np.polyfit(effect, found, 1)[0] < 1.3, column
    assert values["noise"].abs().mean() < 0.25 * values[["calls_n_30d", "employees", "source"]].abs().mean().min()


@pytest.mark.truth
def test_contributions_are_stable_over_seeds(data, fitted):
    X, y, _ = data
    first, second = (contributions(model, X).values for model in (fitted, ScoreModel(seed=1).fit(X, y)))
    for column in ("calls_n_30d", "employees", "source"):
        assert np.corrcoef(first[column], second[column])[0, 1] > 0.95, column


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0, 0.9))
def test_random_frames_add_up(seed, n_columns, missing):
    """Gaps, constant and empty columns, rare and unseen levels: whatever can be fitted can be taken apart."""
    generator = np.random.default_rng(seed)
    kinds = generator.integers(0, 4, n_columns)
    train, new = (_frame(generator, rows, kinds, missing) for rows in (60, 15))
    y = np.r_[0, 1, generator.integers(0, 2, 58)]
    for name in ("logistic regression", "random forest", "XGBoost"):
        assert_adds_up(make_models(train, seed=0)[name]().fit(train, y), new)


def _frame(generator, rows, kinds, missing):
    made = {}
    for k, kind in enumerate(kinds):
        level = pd.Series(generator.choice(list("abcdefgh"), rows), dtype="str")
        column = [pd.Series(generator.normal(size=rows)) * 10.0 ** generator.integers(-3, 7), level, level, level][kind]
        column = [column, column, pd.Series(np.ones(rows)), pd.Series(np.full(rows, np.nan))][kind]
        made[f"c{k}"] = column.mask(generator.random(rows) < missing)
    return pd.DataFrame(made)


def test_no_rows(fitted, unseen):
    found = contributions(fitted, unseen.head(0))
    assert found.values.shape == (0, 4)
    assert np.isfinite(found.base)


def test_only_the_base_rate(data, fitted):
    """A model that found nothing has a start and no reasons."""
    (X, y, _), model = data, copy(fitted)
    model.weights_, model.calibrator_ = {"base rate": 1.0}, None
    found = assert_adds_up(model, X)
    assert found.base_p == pytest.approx(y.mean())
    assert found.values.abs().max(axis=None) < 1e-12
    table = importance(found, X, seed=0, n_bootstrap=20)
    assert (table["share"] < 1e-9).all() or table["mean"].max() < 1e-12


def test_missing_features_and_unknown_models_are_refused(fitted, data):
    X = data[0]
    with pytest.raises(DataError, match="not there: source"):
        contributions(fitted, X.drop(columns="source"))

    class Oracle:
        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

    with pytest.raises(ParameterError, match="Oracle"):
        contributions(Oracle(), X)

    class Liar(Oracle):
        def log_odds_contributions(self, X):
            return 1.0, pd.DataFrame(0.0, index=X.index, columns=X.columns)

    with pytest.raises(RunError, match="do not add up"):
        contributions(Liar(), X)


def test_a_bare_tree(data):
    X, y, _ = data
    numbers = X[["calls_n_30d", "noise"]]
    assert_adds_up(DecisionTreeClassifier(max_depth=3).fit(numbers, y), numbers)


def test_importance_ranks_topics_and_says_directions(data):
    X, y, _ = data
    member = make_models(X, seed=0)["logistic regression"]().fit(X, y)
    table = importance(contributions(member, X), X, groups=np.arange(len(X)) // 2, n_bootstrap=40, seed=0)
    assert table["topic"].tolist()[-1] == "noise"
    assert set(table["topic"]) == {"calls", "size of the company", "source", "noise"}
    assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()
    assert table["share"].sum() == pytest.approx(1)
    said = table.set_index("topic")["direction"]
    assert said["calls"] == "more, higher score"
    assert said["size of the company"] == "more, lower score"
    assert said["source"] == "highest for fair, lowest for web"
    assert table["topic"][0] in importance_sentence(table)
    again = importance(contributions(member, X), X, groups=np.arange(len(X)) // 2, n_bootstrap=40, seed=0)
    pd.testing.assert_frame_equal(table, again)


def test_importance_needs_more_than_one_entity(data):
    X, y, _ = data
    found = contributions(DummyClassifier().fit(X, y), X)
    with pytest.raises(NotEnoughEvidence, match="One entity"):
        importance(found, X, groups=np.zeros(len(X)), seed=0)
