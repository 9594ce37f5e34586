"""Points card: known effects found, whole points that add up, nothing learned from noise, cards given by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from crmlab.metrics import log_loss, roc_auc
from crmlab.models.points_card import PointsCard
from crmlab.schema import DataError, NotEnoughEvidence, ParameterError


@pytest.fixture(scope="module")
def leads():
    """Source and calls count, the rest does not; a true log-odds step of ln 2 between `web` and `fair`."""
    draw = np.random.default_rng(5)
    n = 8000
    frame = pd.DataFrame(
        {
            "source": draw.choice(["web", "fair", "list"], n),
            "calls": draw.poisson(0.7, n).astype(float),
            "owner_id": draw.choice(["r1", "r2"], n),
            **{f"noise{k}": draw.normal(size=n) for k in range(20)},
            "constant": 1.0,
            "empty": np.nan,
        }
    ).astype({"source": "str", "owner_id": "str"})
    frame.loc[::9, "calls"] = np.nan
    effect = frame["source"].map({"web": 0.0, "fair": np.log(2), "list": -1.0}) + 0.8 * frame["calls"].fillna(0)
    y = (draw.random(n) < expit(-1.5 + effect.to_numpy())).astype(int)
    return frame, y


def test_the_card_holds_what_counts_and_nothing_else(leads):
    card = PointsCard().fit(*leads)
    assert set(card.features_) == {"source", "calls"}
    points = card.card().query("feature == 'source'").set_index("level")["points"]
    assert points["list"] == 0  # the worst level
    assert points["fair"] - points["web"] == pytest.approx(20, abs=4)  # twice the odds
    assert points["web"] == pytest.approx(20 / np.log(2), abs=4)


def test_the_card_can_be_read(leads):
    frame, y = leads
    card = PointsCard().fit(frame, y).card()
    assert list(card) == ["feature", "level", "points", "rows", "rate"]
    calls = card.query("feature == 'calls'").set_index("level")
    assert list(calls.index) == ["below 1", "1 to below 2", "2 or more", "(missing)"]
    assert calls.loc["below 1", "rows"] == (frame["calls"] == 0).sum()
    assert calls.loc["2 or more", "rate"] == pytest.approx(y[frame["calls"] >= 2].mean())
    assert card.groupby("feature")["rows"].sum().eq(len(frame)).all()
    assert pd.api.types.is_integer_dtype(card["points"])


def test_points_add_up_to_the_probability_exactly(leads):
    frame, y = leads
    model = PointsCard(points_to_double=10).fit(frame, y)
    points = model.points(frame)
    p = model.predict_proba(frame)[:, 1]
    assert p == pytest.approx(expit(model.intercept_ + points.sum(axis=1) * np.log(2) / 10), abs=1e-12)
    base, parts = model.log_odds_contributions(frame)
    assert (base + parts.sum(axis=1)).to_numpy() == pytest.approx(logit(p), abs=1e-12)
    assert parts.mean().abs().max() < 1e-9
    assert p.mean() == pytest.approx(y.mean(), abs=1e-9)


def test_more_points_never_mean_a_lower_probability(leads):
    model = PointsCard().fit(*leads)
    order = np.argsort(model.points(leads[0]).sum(axis=1).to_numpy(), kind="stable")
    assert (np.diff(model.predict_proba(leads[0])[order, 1]) >= 0).all()


def test_the_card_beats_the_base_rate_on_new_leads(leads):
    frame, y = leads
    model = PointsCard().fit(frame[:5000], y[:5000])
    p = model.predict_proba(frame[5000:])[:, 1]
    base = np.full(len(p), y[:5000].mean())
    assert log_loss(y[5000:], p) < log_loss(y[5000:], base) - 0.04
    assert roc_auc(y[5000:], p) > 0.68


def test_noise_gives_an_empty_card_nineteen_times_of_twenty():
    draw = np.random.default_rng(8)
    empty = 0
    for _ in range(60):
        frame = (
            pd.DataFrame(draw.normal(size=(400, 20)))
            .add_prefix("f")
            .assign(g=pd.Series(draw.choice(list("abcdefgh"), 400), dtype="str"))
        )
        y = draw.random(400) < 0.25
        model = PointsCard().fit(frame, y)
        empty += not model.features_
        if not model.features_:
            assert model.predict_proba(frame)[:, 1] == pytest.approx(y.mean())
            assert model.card().empty
    assert empty >= 52  # 57 expected; 51 or fewer would come about once in a hundred times


def test_repeated_rows_of_one_lead_are_no_evidence():
    draw = np.random.default_rng(9)
    n = 120
    frame = pd.DataFrame(draw.normal(size=(n, 15))).add_prefix("f")
    y = (draw.random(n) < 0.3).astype(int)
    often = frame.loc[np.repeat(np.arange(n), 40)].reset_index(drop=True)
    fooled = PointsCard().fit(often, np.repeat(y, 40))
    knows = PointsCard().fit(often, np.repeat(y, 40), groups=np.repeat(np.arange(n), 40))
    assert len(fooled.features_) > 3
    assert not knows.features_


def test_at_most_so_many_features():
    draw = np.random.default_rng(10)
    frame = pd.DataFrame(draw.normal(size=(4000, 6))).add_prefix("f")
    y = draw.random(4000) < expit(frame.sum(axis=1).to_numpy())
    assert len(PointsCard().fit(frame, y).features_) == 6
    assert len(PointsCard(max_features=2).fit(frame, y).features_) == 2


def test_better_bins_never_have_fewer_points():
    """`both` is chosen first; with its two halves on the card it would only counterbalance them."""
    draw = np.random.default_rng(13)
    first, second, noise = draw.normal(size=(3, 6000))
    frame = pd.DataFrame({"first": first, "second": second, "both": first + second + noise / 2})
    y = draw.random(6000) < expit(first + second - noise / 2)
    model = PointsCard().fit(frame, y)
    assert model.features_[0] == "both"
    for _, bins in model.card().groupby("feature"):
        assert bins["points"].corr(bins["rate"]) > 0.9


def test_levels_and_gaps_never_seen_get_average_points(leads):
    frame, y = leads
    seen = frame.assign(source=frame["source"], calls=frame["calls"].fillna(0))
    model = PointsCard().fit(seen, y)
    new = seen.head(2).assign(source=pd.Series(["new", pd.NA], dtype="str"), calls=np.nan)
    assert (model.points(new)["source"] == round(model.mean_points_["source"])).all()
    assert (model.points(new)["calls"] == round(model.mean_points_["calls"])).all()


def test_a_card_given_by_hand_keeps_its_points_and_learns_its_link(leads):
    frame, y = leads
    fixed = {"source": {"fair": 15, "web": 5}, "calls": {0: 1, 1: 10, 3: 30}}
    model = PointsCard(fixed=fixed).fit(frame, y)
    new = pd.DataFrame({"source": ["fair", "list", None], "calls": [2.0, 3.0, np.nan]}).astype({"source": "str"})
    assert model.points(new).to_numpy().tolist() == [[15, 10], [0, 30], [0, 0]]
    below = pd.DataFrame({"source": ["web"], "calls": [-1.0]})
    assert model.points(below).to_numpy().tolist() == [[5, 0]]
    p = model.predict_proba(frame)[:, 1]
    assert p.mean() == pytest.approx(y.mean(), abs=1e-6)
    assert log_loss(y, p) < log_loss(y, np.full(len(y), y.mean())) - 0.02


def test_a_card_that_points_the_wrong_way_says_nothing(leads):
    frame, y = leads
    wrong = PointsCard(fixed={"calls": {0: 50, 1: 10, 2: 0}}).fit(frame.fillna({"calls": 0}), y)
    assert wrong.slope_ == 0
    assert wrong.predict_proba(frame)[:, 1] == pytest.approx(y.mean())


def test_what_cannot_be_a_card(leads):
    frame, y = leads
    with pytest.raises(DataError, match="not there: meetings"):
        PointsCard(fixed={"meetings": {1: 5}}).fit(frame, y)
    with pytest.raises(ParameterError, match="words for calls"):
        PointsCard(fixed={"calls": {"many": 5}}).fit(frame, y)
    with pytest.raises(NotEnoughEvidence):
        PointsCard().fit(frame, np.ones(len(y)))
    model = PointsCard().fit(frame, y)
    with pytest.raises(DataError, match="no column `source`"):
        model.predict_proba(frame.drop(columns="source"))
