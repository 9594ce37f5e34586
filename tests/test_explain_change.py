"""Why a score changed: parts that add up exactly, and nothing for what did not change."""

from copy import copy

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from crmlab.explain import PARTS, ScoreState, change, change_parts, change_sentence, changes_sentence
from crmlab.schema import DataError, RunError

CATALOG = pd.DataFrame(
    [
        ("calls_n_30d", "count", "Number of calls in the last 30 days."),
        ("source", "field", "Channel that brought the lead."),
        ("owner_id", "state", "Rep who owned the lead, as last entered."),
    ],
    columns=["feature", "family", "meaning"],
)
LOG_ODDS = [f"{part} (log odds)" for part in PARTS]


class Linear:
    """A model whose contributions can be worked by hand: weight × calls, plus one for a fair, minus one for rep R1."""

    def __init__(self, weight=0.1, start=-1.0, calibrator=None):
        self.weight, self.start, self.calibrator_ = weight, start, calibrator

    def log_odds_contributions(self, X):
        parts = {
            "calls_n_30d": self.weight * X["calls_n_30d"],
            "source": (X["source"] == "fair") * 1.0,
            "owner_id": (X["owner_id"] == "R1") * -1.0,
        }
        found = pd.DataFrame(parts, index=X.index)
        return (self.start, found) if self.calibrator_ is None else self._calibrated(found)

    def _calibrated(self, found):
        z = self.start + found.sum(axis=1).to_numpy()
        total = logit(self.calibrator_.transform(expit(z)))
        factor = (total - self.start) / (z - self.start)
        return self.start, found.mul(factor, axis=0)

    def raw_probability(self, X):
        plain = Linear(self.weight, self.start)
        base, parts = plain.log_odds_contributions(X)
        return expit(base + parts.sum(axis=1).to_numpy())

    def predict_proba(self, X):
        p = self.raw_probability(X)
        p = p if self.calibrator_ is None else self.calibrator_.transform(p)
        return np.column_stack([1 - p, p])


class Shrink:
    def __init__(self, factor):
        self.factor = factor

    def transform(self, p):
        return expit(self.factor * logit(p))


@pytest.fixture
def rows():
    X = pd.DataFrame({"calls_n_30d": [2.0, 5.0, 9.0], "source": ["web", "fair", "web"], "owner_id": ["R2", "R1", "R2"]})
    return X.set_axis(["D1", "D2", "D3"])


@pytest.fixture
def later(rows):
    return rows.assign(calls_n_30d=[13.0, 5.0, 3.0], source=["web", "web", "web"], owner_id=["R1", "R1", "R2"])


def p(model, X):
    return model.predict_proba(X)[:, 1]


def assert_adds_up(parts, lines=None):
    assert parts[list(PARTS)].sum(axis=1).to_numpy() == pytest.approx(
        100 * (parts["p_new"] - parts["p_old"]).to_numpy(), abs=1e-12
    )
    moved = logit(parts["p_new"]) - logit(parts["p_old"])
    assert parts[LOG_ODDS].sum(axis=1).to_numpy() == pytest.approx(moved.to_numpy(), abs=1e-12)
    if lines is not None:
        sums = lines.groupby("row")[["log_odds", "points"]].sum().reindex(parts.index, fill_value=0.0)
        assert sums["log_odds"].to_numpy() == pytest.approx(moved.to_numpy(), abs=1e-12)
        assert sums["points"].to_numpy() == pytest.approx(100 * (parts["p_new"] - parts["p_old"]).to_numpy(), abs=1e-12)


def test_all_parts_together_add_up(rows, later):
    old = ScoreState(Linear(calibrator=Shrink(0.8)), rows, p=np.array([0.3, 0.5, 0.6]))
    new = ScoreState(Linear(0.25, -0.5, Shrink(1.1)), later)
    parts = change_parts(old, new)
    assert (parts[list(PARTS)].abs() > 0.01).all(axis=None)
    for n in (0, 1, 5):
        assert_adds_up(parts, change(old, new, CATALOG, n=n))
    assert parts["p_old"].to_list() == [0.3, 0.5, 0.6]


@pytest.mark.parametrize("part", PARTS)
def test_only_what_changed_gets_anything(rows, later, part):
    model = Linear(calibrator=Shrink(0.8))
    old, new = ScoreState(model, rows, p(model, rows)), ScoreState(model, rows)
    changed = {
        "features": (old, ScoreState(model, later)),
        "model": (old, ScoreState(Linear(0.3, calibrator=model.calibrator_), rows)),
        "calibration": (old, ScoreState(Linear(calibrator=Shrink(1.2)), rows)),
        "data revisions": (ScoreState(model, rows, p(model, rows) + 0.05), new),
    }[part]
    parts = change_parts(*changed)
    others = [q for q in PARTS if q != part]
    assert (parts[others] == 0).all(axis=None)
    assert (parts[[f"{q} (log odds)" for q in others]] == 0).all(axis=None)
    assert (parts[part].abs() > 0.1).all()
    lines = change(*changed, CATALOG)
    assert set(lines["part"]) == {part}
    assert_adds_up(parts, lines)


def test_nothing_changed(rows):
    state = ScoreState(Linear(), rows, p(Linear(), rows))
    lines = change(state, state, CATALOG)
    assert lines.empty
    assert change_sentence(lines) == "The score did not change."
    assert changes_sentence(change_parts(state, state)) == "None of the 3 scores changed."


def test_model_and_features_share_their_interaction(rows, later):
    """Weight 0.1 → 0.3, calls 2 → 13 (D1): in log odds the features get the mean weight times 11, worked by hand."""
    later = later.assign(owner_id="R2", source="web")
    rows = rows.assign(owner_id="R2", source="web")
    parts = change_parts(ScoreState(Linear(0.1), rows), ScoreState(Linear(0.3), later)).loc["D1"]
    assert parts["features (log odds)"] == pytest.approx(0.2 * 11)
    assert parts["model (log odds)"] == pytest.approx(0.2 * (2 + 13) / 2)


def test_changing_back_reverses_every_part(rows, later):
    old, new = ScoreState(Linear(calibrator=Shrink(0.8)), rows), ScoreState(Linear(0.2), later)
    there, back = change_parts(old, new), change_parts(new, old)
    assert there[list(PARTS)].to_numpy() == pytest.approx(-back[list(PARTS)].to_numpy(), abs=1e-12)


def test_features_are_told_in_words_with_the_value_before(rows, later):
    lines = change(ScoreState(Linear(), rows), ScoreState(Linear(), later), CATALOG)
    told = {
        (row, topic): reason for row, topic, reason in zip(lines["row"], lines["topic"], lines["reason"], strict=True)
    }
    assert told["D1", "calls"] == "13 calls in the last 30 days (before: 2)"
    assert told["D2", "source"] == "source: web (before: fair)"
    owner = "who owns it and how busy the team is"
    assert told["D1", owner] == owner
    assert not lines.astype("str").apply(lambda c: c.str.contains(r"\bR[12]\b")).any(axis=None)
    effects = lines.set_index(["row", "topic"])["log_odds"]
    assert effects["D1", "calls"] == pytest.approx(1.1)
    assert effects["D1", owner] == pytest.approx(-1.0)
    assert effects["D2", "source"] == pytest.approx(-1.0)
    assert set(lines["row"]) == {"D1", "D2", "D3"}


def test_topics_that_cancel_each_other_are_still_told(rows):
    """Ten calls more and the other owner: the score stays, and both are said, in points too."""
    later = rows.assign(calls_n_30d=rows["calls_n_30d"] + 10, owner_id="R1").loc[["D1"]]
    old, new = ScoreState(Linear(), rows.loc[["D1"]]), ScoreState(Linear(), later)
    lines = change(old, new, CATALOG)
    assert lines["log_odds"].to_list() == pytest.approx([1.0, -1.0])
    slope = p(Linear(), later).item() * (1 - p(Linear(), later).item())
    assert lines["points"].to_list() == pytest.approx([100 * slope, -100 * slope])


def test_only_entities_scored_both_times_are_compared(rows, later):
    stored = p(Linear(), rows) + np.array([0.0, 0.1, 0.2])
    old, new = ScoreState(Linear(), rows, stored), ScoreState(Linear(), later.iloc[[2, 0]].rename({"D1": "D9"}))
    parts = change_parts(old, new)
    assert parts.index.to_list() == ["D3"]
    assert parts["p_old"].item() == pytest.approx(stored[2])
    assert_adds_up(parts, change(old, new, CATALOG))
    nobody = change_parts(old, ScoreState(Linear(), later.rename(lambda k: f"new {k}")))
    assert nobody.empty
    assert "no change to explain" in changes_sentence(nobody)


def test_no_common_entity_has_no_lines(rows, later):
    other = ScoreState(Linear(), later.rename(lambda k: f"new {k}"))
    assert change(ScoreState(Linear(), rows), other, CATALOG).empty


def test_an_entity_twice_is_refused(rows):
    twice = pd.concat([rows, rows.head(1)])
    with pytest.raises(DataError, match=r"twice in the old state[\s\S]*D1"):
        change_parts(ScoreState(Linear(), twice), ScoreState(Linear(), rows))


def test_a_model_whose_parts_do_not_give_its_probability_is_refused(rows):
    class Other(Linear):
        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

    with pytest.raises(RunError, match="raw probability"):
        change_parts(ScoreState(Linear(), rows), ScoreState(Other(), rows))


def test_a_fitted_score_model(rows):
    from crmlab.calibration import Sigmoid
    from crmlab.models import ScoreModel

    generator = np.random.default_rng(0)
    n = 300
    X = pd.DataFrame({"calls_n_30d": generator.poisson(5, n).astype("float64"), "age_days": generator.normal(size=n)})
    X["source"] = pd.Series(generator.choice(["fair", "web"], n), dtype="str")
    y = (generator.random(n) < expit(0.5 * X["calls_n_30d"] - 3)).astype(int).to_numpy()
    first = ScoreModel(seed=0).fit(X, y)
    second = copy(first)
    second.weights_ = {name: 0.8 * weight for name, weight in first.weights_.items()}
    second.calibrator_ = Sigmoid().fit(second.raw_probability(X), y)
    before, after = X.head(60), X.tail(60).set_axis(X.index[:60])
    old, new = ScoreState(first, before, p(first, before) * 0.9), ScoreState(second, after)
    parts, lines = change_parts(old, new), change(old, new, CATALOG)
    assert_adds_up(parts, lines)
    assert (parts[list(PARTS)].abs().mean() > 0.05).all()
    assert "The 60 scores given both times moved by" in changes_sentence(parts)
