"""Small firms: formulas by hand, laws of shrinkage, and hundreds of simulated firms of 10 to 40 cases."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from crmlab.metrics import log_loss
from crmlab.models.floors import RateTable
from crmlab.models.shrinkage import HierarchicalLogistic, ShrunkenRates
from crmlab.schema import DataError, NotEnoughEvidence, ParameterError

_NEW = 300


def firm(n: int, *, effects: float, draw: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A firm with n closed deals and 300 to come: features, outcomes, true log odds."""
    rows = n + _NEW
    source, owner = draw.integers(0, 4, rows), draw.integers(0, 3, rows)
    numbers = draw.normal(size=(rows, 3))
    part = draw.normal(0, 0.7, 4)[source] + draw.normal(0, 0.3, 3)[owner] + numbers @ draw.normal(0, 0.4, 3)
    truth = draw.normal(-1, 0.5) + effects * part
    X = pd.DataFrame(numbers, columns=["calls", "visits", "employees"])
    X["source"], X["owner_id"] = pd.Series(source).astype("str"), pd.Series(owner).astype("str")
    return X, (draw.random(rows) < expit(truth)).astype(int), truth


def firms(n_firms: int, n: int, *, effects: float, seed: int) -> list[tuple]:
    draw = np.random.default_rng(seed)
    made = (firm(n, effects=effects, draw=draw) for _ in range(2 * n_firms))
    return [m for m in made if 0 < m[1][:n].mean() < 1][:n_firms]


def future_loss(p: np.ndarray, y: np.ndarray) -> float:
    return log_loss(y[-_NEW:], np.clip(p, 0.01, 0.99))


def plain_logistic(X: pd.DataFrame, y: np.ndarray, n: int, *, C: float) -> np.ndarray:
    design = pd.get_dummies(X).to_numpy("float64")
    model = LogisticRegression(C=C, max_iter=5000).fit(design[:n], y[:n])
    return model.predict_proba(design[n:])[:, 1]


def test_rates_follow_the_formula():
    X = pd.DataFrame({"source": ["a"] * 10 + ["b"] * 20 + [None] * 2}, dtype="str")
    y = np.r_[np.ones(7), np.zeros(3), np.ones(2), np.zeros(18), [0, 1]]
    model = ShrunkenRates().fit(X, y)
    a, b = model.alpha_, model.beta_
    new = pd.DataFrame({"source": ["a", "b", None, "new"]}, dtype="str")
    expected = [(a + 7) / (a + b + 10), (a + 2) / (a + b + 20), (a + 1) / (a + b + 2), a / (a + b)]
    assert model.predict_proba(new)[:, 1].tolist() == pytest.approx(expected)
    low, high = model.interval(new)
    assert ((low > 0) & (low < expected) & (expected < high) & (high < 1)).all()
    assert high[3] - low[3] > high[0] - low[0]  # of a level never seen less is known
    assert high[2] - low[2] > high[1] - low[1]  # of two cases less than of twenty


def test_the_prior_maximises_the_beta_binomial_likelihood():
    from scipy.stats import betabinom

    draw = np.random.default_rng(0)
    rows = draw.integers(20, 60, 30)
    hits = draw.binomial(rows, draw.beta(2, 6, 30))
    level = np.repeat([f"s{k}" for k in range(30)], rows)
    y = np.concatenate([np.arange(n) < k for n, k in zip(rows, hits, strict=True)])
    model = ShrunkenRates().fit(pd.DataFrame({"source": level}, dtype="str"), y)
    best = betabinom.logpmf(hits, rows, model.alpha_, model.beta_).sum()
    for a, b in ((2, 6), (1, 3), (4, 12), (2, 4), (3, 6), (20, 60)):
        assert betabinom.logpmf(hits, rows, a, b).sum() <= best + 0.3  # as fine as the grid is
    assert 3 < model.alpha_ + model.beta_ < 25  # truth: 8


def test_levels_that_do_not_differ_share_one_rate():
    X = pd.DataFrame({"source": list("abcd") * 50}, dtype="str")
    y = np.tile(np.r_[np.ones(4), np.zeros(12)], 13)[:200]  # each level one in four
    p = ShrunkenRates().fit(X, y).predict_proba(X)[:, 1]
    assert np.ptp(p) < 0.02
    assert p.mean() == pytest.approx(y.mean(), abs=0.02)


def test_rates_of_small_firms_beat_raw_rates_and_cover_the_truth():
    gains, covered = [], []
    for X, y, _ in firms(40, 20, effects=1.0, seed=1):
        model, raw = ShrunkenRates().fit(X[:20], y[:20]), RateTable(strength=1e-9).fit(X[:20], y[:20])
        new = X[20:]
        gains.append(future_loss(raw.predict_proba(new)[:, 1], y) - future_loss(model.predict_proba(new)[:, 1], y))
        truth = pd.Series(y[20:]).groupby(new["source"].to_numpy()).transform("mean").to_numpy()
        low, high = model.interval(new)
        covered.append(((low <= truth) & (truth <= high)).mean())
    assert np.mean(gains) > 0.05
    assert 0.88 < np.mean(covered) <= 1


def test_without_cases_of_both_kinds_a_prior_is_needed():
    X, y = pd.DataFrame({"source": ["a"] * 6, "calls": range(6)}), np.zeros(6)
    for model in (ShrunkenRates(), HierarchicalLogistic()):
        with pytest.raises(NotEnoughEvidence, match="only one kind"):
            model.fit(X, y)
    for model in (ShrunkenRates(prior=0.3), HierarchicalLogistic(prior=0.3)):
        p = model.fit(X, y).predict_proba(X)[:, 1]
        low, high = model.interval(X)
        assert (low > 0).all()
        assert ((low <= p) & (p < 0.3) & (high < 1)).all()
    for wrong in (0.0, 1.0, 30.0):
        for model in (ShrunkenRates(prior=wrong), HierarchicalLogistic(prior=wrong)):
            with pytest.raises(ParameterError, match="between 0 and 1"):
                model.fit(X, y)


def test_the_fewer_cases_the_nearer_the_prior():
    X = pd.DataFrame({"source": ["a"] * 40})
    for kind in (ShrunkenRates, HierarchicalLogistic):
        p = [kind(prior=0.2).fit(X[:n], np.ones(n)).predict_proba(X[:1])[0, 1] for n in (1, 3, 10, 40)]
        assert 0.2 < p[0] < 0.35
        assert p == sorted(p)
        assert p[-1] < 1
    sure = HierarchicalLogistic(prior=0.2, prior_sd=0.01).fit(X[:10], np.ones(10)).predict_proba(X[:1])[0, 1]
    assert sure == pytest.approx(0.2, abs=0.001)


def test_before_any_telling_case_the_expected_rate_is_the_prior():
    """Two cases that cancel, a wide prior: what remains is its mean."""
    draw = np.random.default_rng(3)
    sd = 1.5
    shifted = logit(0.2) * np.sqrt(1 + np.pi * sd**2 / 8)
    assert expit(draw.normal(shifted, sd, 400_000)).mean() == pytest.approx(0.2, abs=0.01)
    X = pd.DataFrame({"source": ["a"]})
    model = HierarchicalLogistic(prior=0.2, prior_sd=sd)
    assert model.fit(X, [0])._offset(X)[0] == pytest.approx(shifted)


@pytest.mark.parametrize("n", [10, 20, 40])
def test_small_firms_are_predicted_better_than_by_raw_rates_or_plain_regression(n):
    """Thirty firms with real effects: lower loss of the deals to come, and intervals that hold the truth."""
    losses, covered = {name: [] for name in ("ours", "raw", "free", "ridge", "base")}, []
    for X, y, truth in firms(30, n, effects=1.0, seed=n):
        model = HierarchicalLogistic().fit(X[:n], y[:n])
        p = model.predict_proba(X[n:])[:, 1]
        losses["ours"].append(future_loss(p, y))
        losses["raw"].append(future_loss(RateTable(strength=1e-9).fit(X[:n], y[:n]).predict_proba(X[n:])[:, 1], y))
        losses["free"].append(future_loss(plain_logistic(X, y, n, C=1e4), y))
        losses["ridge"].append(future_loss(plain_logistic(X, y, n, C=1.0), y))
        losses["base"].append(future_loss(np.full(_NEW, y[:n].mean()), y))
        low, high = model.interval(X[n:])
        assert ((low > 0) & (low <= p) & (p <= high) & (high < 1)).all()
        covered.append(((low <= expit(truth[n:])) & (expit(truth[n:]) <= high)).mean())
    mean = {name: np.mean(values) for name, values in losses.items()}
    assert mean["ours"] < mean["raw"] - 0.03
    assert mean["ours"] < mean["free"] - 0.1
    assert mean["ours"] < mean["ridge"] - 0.005
    assert mean["ours"] < mean["base"] + 0.002
    assert 0.8 < np.mean(covered) <= 1


def test_the_probability_is_expected_over_what_is_not_known():
    X, y, _ = firm(15, effects=1.0, draw=np.random.default_rng(21))
    model = HierarchicalLogistic().fit(X[:15], y[:15])
    weight, mean, sd = model._log_odds(X[:5])
    draw = np.random.default_rng(22)
    chosen = draw.choice(len(weight), 200_000, p=weight)
    drawn = expit(mean[chosen] + sd[chosen] * draw.normal(size=(200_000, 5))).mean(axis=0)
    assert model.predict_proba(X[:5])[:, 1] == pytest.approx(drawn, abs=0.003)
    assert weight.sum() == pytest.approx(1)


def test_without_effects_it_stays_near_the_base_rate():
    gap = []
    for X, y, _ in firms(40, 20, effects=0.0, seed=9):
        p = HierarchicalLogistic().fit(X[:20], y[:20]).predict_proba(X[20:])[:, 1]
        gap.append(future_loss(p, y) - future_loss(np.full(_NEW, y[:20].mean()), y))
    assert np.mean(gap) < 0.01


def test_a_pooled_model_as_prior_helps_a_new_firm():
    """What holds for all firms is learned from the others; ten cases of its own only correct it."""
    draw = np.random.default_rng(12)

    def rows(n, shift):
        X = pd.DataFrame(draw.normal(size=(n, 2)), columns=["calls", "visits"])
        p = expit(-1 + shift + X["calls"] - X["visits"]).to_numpy()
        return X, (draw.random(n) < p).astype(int)

    X, y = rows(2000, 0.0)
    pooled, gains = LogisticRegression().fit(X, y), []
    for _ in range(30):
        X, y = rows(10 + _NEW, 0.5)
        if 0 < y[:10].mean() < 1:
            prior = HierarchicalLogistic(prior=pooled, prior_sd=0.5).fit(X[:10], y[:10])
            alone = HierarchicalLogistic().fit(X[:10], y[:10])
            gains.append([future_loss(m.predict_proba(X[10:])[:, 1], y) for m in (alone, prior, pooled)])
    alone, with_prior, pooled_only = np.mean(gains, axis=0)
    assert with_prior < alone - 0.03
    assert with_prior < pooled_only + 0.002


def test_more_columns_than_cases_is_the_same_as_in_full():
    """The short way through the informed directions changes nothing."""
    draw = np.random.default_rng(4)
    X = pd.DataFrame(draw.normal(size=(25, 60))).add_prefix("f")
    y = (draw.random(25) < expit(X["f0"])).to_numpy()
    model = HierarchicalLogistic().fit(X, y)
    p, (low, high) = model.predict_proba(X)[:, 1], model.interval(X)
    for fit in model.fits_:
        assert fit["basis"].shape == (61, 25)
        design = np.column_stack([np.full(25, 2.0), model._parts(X)["numbers"] * fit["spreads"]["numbers"]])
        mean, sd = model._moments(fit, model._parts(X), model._offset(X))
        w = _newton(design, y, model._offset(X))
        q = expit(model._offset(X) + design @ w)
        precision = design.T @ (design * (q * (1 - q))[:, None]) + np.eye(61)
        assert mean == pytest.approx(model._offset(X) + design @ w, abs=1e-6)
        assert sd**2 == pytest.approx(np.einsum("ij,ji->i", design, np.linalg.solve(precision, design.T)), abs=1e-6)
    assert ((low < p) & (p < high)).all()


def _newton(design, y, offset):
    w = np.zeros(design.shape[1])
    for _ in range(100):
        p = expit(offset + design @ w)
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + np.eye(len(w))
        w = w + 0.5 * np.linalg.solve(hessian, design.T @ (y - p) - w)
    return w


def test_gaps_constants_unseen_levels_and_wild_values_are_survived():
    X, y, _ = firm(30, effects=1.0, draw=np.random.default_rng(6))
    X, y = X[:30].assign(empty=np.nan, constant=3.0), y[:30]
    X.loc[::4, "calls"] = np.nan
    X.loc[::5, "source"] = None
    model = HierarchicalLogistic().fit(X, y)
    assert set(model.numbers_) == {"calls", "visits", "employees"}
    new = X.head(3).assign(source=pd.Series(["never seen", "0", None], dtype="str"), calls=[1e300, -1e300, np.nan])
    low, high = model.interval(new)
    assert ((low > 0) & (low < high) & (high < 1)).all()
    seen = model.interval(X.head(1).assign(source="0"))
    unseen = model.interval(X.head(1).assign(source="never seen"))
    assert logit(unseen[1]) - logit(unseen[0]) > 0.9 * (logit(seen[1]) - logit(seen[0]))
    with pytest.raises(DataError, match="lacks features"):
        model.predict_proba(new.drop(columns="source"))
    with pytest.raises(DataError, match="finite"):
        model.predict_proba(new.assign(calls=np.inf))


def test_two_hundred_features_of_forty_deals_take_seconds_and_repeat_themselves():
    draw = np.random.default_rng(7)
    X = pd.DataFrame(draw.normal(size=(40, 200))).add_prefix("f")
    y = draw.random(40) < 0.3
    first, second = (HierarchicalLogistic().fit(X, y).predict_proba(X) for _ in range(2))
    assert first.tolist() == second.tolist()
    assert np.ptp(first[:, 1]) < 0.5  # noise is not believed


def test_order_of_rows_does_not_matter_and_input_stays():
    X, y, _ = firm(30, effects=1.0, draw=np.random.default_rng(8))
    before, order = X.copy(), np.random.default_rng(1).permutation(len(X))
    for kind in (ShrunkenRates, HierarchicalLogistic):
        p = kind().fit(X, y).predict_proba(X)[:, 1]
        q = kind().fit(X.iloc[order], y[order]).predict_proba(X)[:, 1]
        assert p == pytest.approx(q, abs=1e-8)
    pd.testing.assert_frame_equal(X, before)
