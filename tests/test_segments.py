"""Segments: an own model where effects truly differ, the pooled one where they do not, and everywhere else."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from crmlab.models import segments
from crmlab.models.segments import SegmentModel
from crmlab.schema import DataError, NotEnoughEvidence, ParameterError


def logistic():
    """Quick: numbers only, so that the pooled model cannot tell segments apart."""
    return make_pipeline(FunctionTransformer(_numbers), LogisticRegression(C=1.0, solver="newton-cholesky"))


def _numbers(X):
    return X.select_dtypes("number").to_numpy()


def leads(n: int, effects: dict[str, float], *, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Calls work in each segment as strongly as `effects` says."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"sector": draw.choice(list(effects), n), "calls": draw.normal(size=n)})
    frame["visits"] = draw.normal(size=n)
    logit = -1 + frame["sector"].map(effects) * frame["calls"] + 0.5 * frame["visits"]
    return frame.astype({"sector": "str"}), (draw.random(n) < expit(logit.to_numpy())).astype(int)


def test_segments_with_effects_of_their_own_get_their_model():
    X, y = leads(3000, {"retail": 2.0, "public": -2.0, "other": 0.1}, seed=1)
    dates = pd.date_range("2023-01-01", periods=3000, freq="6h").to_numpy()
    model = SegmentModel(logistic, "sector").fit(X, y, order=dates, groups=np.arange(3000), gap_days=30)
    table = model.table_.set_index("segment")
    assert set(model.models_) >= {"retail", "public"}
    assert (table.loc[["retail", "public"], "own_loss"] < table.loc[["retail", "public"], "pooled_loss"] - 0.1).all()
    new, outcome = leads(3000, {"retail": 2.0, "public": -2.0, "other": 0.1}, seed=2)
    p, pooled = model.predict_proba(new)[:, 1], model.pooled_.predict_proba(new)[:, 1]
    here = (new["sector"] == "public").to_numpy()
    assert (
        -np.log(np.where(outcome, p, 1 - p)[here]).mean() < -np.log(np.where(outcome, pooled, 1 - pooled)[here]).mean()
    )
    assert p[here].tolist() == model.models_["public"].predict_proba(new[here])[:, 1].tolist()


def test_at_least_95_of_100_segments_without_effects_of_their_own_get_none():
    used = compared = 0
    for seed in range(25):
        X, y = leads(1200, dict.fromkeys("abcd", 0.8), seed=seed)
        table = SegmentModel(logistic, "sector", seed=seed).fit(X, y).table_
        used, compared = used + table["used"].sum(), compared + table["own_loss"].notna().sum()
    assert compared == 100
    assert used <= 5


def test_what_convinces_of_one_segment_does_not_convince_of_one_among_many(monkeypatch):
    monkeypatch.setattr(segments, "log_loss_difference", lambda *_, **__: (-0.1, -0.199, -0.001))
    one = leads(800, {"a": 1.0}, seed=1)
    many = leads(2400, dict.fromkeys("abcdefgh", 1.0), seed=1)
    assert SegmentModel(logistic, "sector").fit(*one).table_["used"].to_list() == [True]
    assert not SegmentModel(logistic, "sector").fit(*many).table_["used"].any()


def test_few_outcomes_unseen_segments_and_gaps_get_the_pooled_model():
    X, y = leads(2000, {"retail": 2.0, "public": -2.0}, seed=3)
    rare = np.flatnonzero(X["sector"] == "public")[60:]
    X, y = X.drop(index=rare).reset_index(drop=True), np.delete(y, rare)
    X.loc[X.index[-300:], "sector"] = None
    model = SegmentModel(logistic(), "sector").fit(X, y)
    table = model.table_.set_index("segment")
    assert table.loc["public", ["pooled_loss", "own_loss"]].isna().all()
    assert not table.loc[["public", "(missing)"], "used"].any()
    new = X.tail(4).assign(sector=pd.Series(["never seen", "public", None, "(missing)"], X.index[-4:], dtype="str"))
    assert model.predict_proba(new).tolist() == model.pooled_.predict_proba(new).tolist()
    asked = SegmentModel(logistic(), "sector", min_outcomes=5).fit(X, y).table_.set_index("segment")
    assert asked.loc["public", "own_loss"] > 0


def test_rows_without_a_segment_are_no_segment():
    X, y = leads(2500, {"retail": 2.0, "public": -2.0}, seed=6)
    X.loc[X["sector"] == "public", "sector"] = None
    model = SegmentModel(logistic, "sector").fit(X, y)
    assert set(model.models_) == {"retail"}


def test_outcomes_are_counted_by_entity():
    X, y = leads(300, {"a": 1.0, "b": 1.0}, seed=4)
    groups = np.repeat(np.arange(30), 10)
    X["sector"] = pd.Series(np.where(groups < 15, "a", "b"), dtype="str")
    y = np.repeat(np.arange(30) % 3 == 0, 10).astype(int) & (np.arange(300) % 10 > 4)
    table = SegmentModel(logistic, "sector").fit(X, y, groups=groups).table_
    assert table[["rows", "with_outcome", "without_outcome"]].to_numpy().tolist() == [[150, 5, 10], [150, 5, 10]]
    assert not table["used"].any()


def test_repeats_itself_and_needs_its_column_and_both_outcomes():
    X, y = leads(800, {"a": 1.0, "b": -1.0}, seed=5)
    first, second = (SegmentModel(logistic, "sector", seed=7).fit(X, y) for _ in range(2))
    pd.testing.assert_frame_equal(first.table_, second.table_)
    assert first.predict_proba(X).tolist() == second.predict_proba(X).tolist()
    with pytest.raises(DataError, match="no column `region`"):
        SegmentModel(logistic, "region").fit(X, y)
    with pytest.raises(NotEnoughEvidence):
        SegmentModel(logistic, "sector").fit(X, np.zeros(800))
    with pytest.raises(ParameterError, match="at least 1"):
        SegmentModel(logistic, "sector", min_outcomes=0).fit(X, y)
