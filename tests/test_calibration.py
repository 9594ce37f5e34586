"""Calibration maps against scikit-learn and brute force, the rule that chooses them, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression, isotonic_regression

from crmlab.calibration import (
    CALIBRATORS,
    Beta,
    BootstrapInterval,
    Isotonic,
    ScoreInterval,
    Shift,
    Sigmoid,
    VennAbers,
    choose_calibration,
    expit,
    logit,
    score_interval,
)
from crmlab.schema import DataError, NotEnoughEvidence, ParameterError


def outcomes(truth: np.ndarray, *, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(truth)) < truth).astype(int)


def scores(n: int, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).beta(1.5, 5, n)


def platt_targets(y: np.ndarray) -> np.ndarray:
    n1 = y.sum()
    n0 = len(y) - n1
    return np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))


def test_shift_moves_the_mean_to_the_observed_share():
    p = scores(3000)
    y = outcomes(expit(logit(p) + 0.7))
    shift = Shift().fit(p, y)
    assert shift.transform(p).mean() == pytest.approx(y.mean(), abs=1e-9)
    assert shift.intercept_ == pytest.approx(0.7, abs=0.12)


def test_sigmoid_is_the_optimum_of_platts_targets():
    p = scores(800)
    y = outcomes(expit(0.6 * logit(p) - 0.3))
    target, x = platt_targets(y), logit(p)
    loss = lambda ab: np.sum(np.logaddexp(0, ab[0] * x + ab[1]) - target * (ab[0] * x + ab[1]))  # noqa: E731
    best = minimize(loss, [1.0, 0.0], tol=1e-12).x
    fitted = Sigmoid().fit(p, y)
    assert [fitted.slope_, fitted.intercept_] == pytest.approx(best, abs=1e-4)


def test_platts_targets_by_hand():
    """Four rows with one score, one of them converted: the mean of (1+1)/(1+2) and three times 1/(3+2)."""
    assert Sigmoid().fit(np.full(4, 0.3), np.array([1, 0, 0, 0])).transform(np.array([0.3])) == pytest.approx(
        (2 / 3 + 3 / 5) / 4
    )


def test_beta_recovers_its_own_family_and_is_the_optimum():
    p = scores(60_000)
    truth = expit(1.4 * np.log(p) - 0.5 * np.log1p(-p) + 0.4)
    y = outcomes(truth)
    beta = Beta().fit(p, y)
    assert [beta.a_, beta.b_, beta.c_] == pytest.approx([1.4, 0.5, 0.4], abs=0.12)
    logs, target = np.column_stack([np.log(p), -np.log1p(-p), np.ones(len(p))]), platt_targets(y)
    slope = logs.T @ (expit(logs @ [beta.a_, beta.b_, beta.c_]) - target)
    assert np.abs(slope).max() < 1e-5 * len(p)


@pytest.mark.parametrize("seed", range(5))
def test_beta_bounds_bind_at_the_best_point(seed):
    """Against a bounded optimiser, on outcomes that call for a coefficient below 0."""
    p = scores(400, seed=seed)
    y = outcomes(expit(1.2 * np.log(p) + 1.5 * np.log1p(-p) + 1.5), seed=seed)
    logs, target = np.column_stack([np.log(p), -np.log1p(-p), np.ones(len(p))]), platt_targets(y)
    loss = lambda c: np.sum(np.logaddexp(0, logs @ c) - target * (logs @ c))  # noqa: E731
    best = minimize(loss, [1, 1, 0], bounds=[(0, None), (0, None), (None, None)], method="L-BFGS-B", tol=1e-13)
    beta = Beta().fit(p, y)
    assert beta.b_ == 0
    assert loss([beta.a_, beta.b_, beta.c_]) <= best.fun + 1e-6


def test_isotonic_is_scikit_learns_but_never_certain():
    p, w = np.round(scores(500), 2), np.random.default_rng(2).integers(0, 3, 500).astype(float)
    y = outcomes(p)
    new = np.linspace(0, 1, 301)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(p, y, sample_weight=w).predict(new)
    edge = 1 / (w.sum() + 2)
    assert Isotonic().fit(p, y, w).transform(new) == pytest.approx(np.clip(theirs, edge, 1 - edge), abs=1e-12)


@pytest.mark.parametrize("kind", CALIBRATORS.values())
@settings(max_examples=40, deadline=None)
@given(
    p=arrays(float, 12, elements=st.floats(0, 1)),
    y=arrays(int, 12, elements=st.integers(0, 1)).filter(lambda y: 0 < y.sum() < 12),
)
def test_every_map_is_monotone_finite_and_inside(kind, p, y):
    grid = np.r_[0.0, np.linspace(1e-9, 1 - 1e-9, 101), 1.0]
    q = kind().fit(p, y).transform(grid)
    assert np.isfinite(q).all()
    assert (np.diff(q) >= -1e-12).all()
    assert q.min() > 0
    assert q.max() < 1


@pytest.mark.parametrize("kind", CALIBRATORS.values())
def test_weights_are_repetitions_and_order_does_not_matter(kind):
    p = np.round(scores(300), 2)
    y, w = outcomes(p), np.random.default_rng(3).integers(0, 4, 300)
    weighted, repeated = kind().fit(p, y, w).transform(p), np.repeat(np.arange(300), w)
    assert weighted == pytest.approx(kind().fit(p[repeated], y[repeated]).transform(p), abs=1e-7)
    turned = np.random.default_rng(4).permutation(300)
    assert weighted == pytest.approx(kind().fit(p[turned], y[turned], w[turned]).transform(p), abs=1e-7)


def test_a_falling_map_is_refused():
    p = scores(500)
    flat = Sigmoid().fit(p, outcomes(1 - p)).transform(np.array([0.1, 0.9]))
    assert flat[0] == flat[1]


@pytest.mark.parametrize("kind", CALIBRATORS.values())
def test_fitted_maps_hold_plain_numbers_only(kind):
    p = scores(200)
    fitted = kind().fit(p, outcomes(p))
    assert vars(fitted)
    assert all(isinstance(v, (float, int, np.ndarray)) for v in vars(fitted).values())
    again = object.__new__(kind)
    vars(again).update(vars(fitted))
    assert (again.transform(p) == fitted.transform(p)).all()
    assert repr(fitted).startswith(kind.__name__)


@pytest.mark.parametrize(
    ("p", "y", "error", "match"),
    [
        ([0.1, np.nan], [0, 1], DataError, "between 0 and 1"),
        ([0.1, 1.1], [0, 1], DataError, "between 0 and 1"),
        ([0.1, 0.2], [0, 2], DataError, "0 or 1"),
        ([0.1, 0.2], [0, 1, 1], DataError, "row for row"),
        ([0.1, 0.2], [1, 1], NotEnoughEvidence, "both kinds"),
        ([[0.1], [0.2]], [0, 1], DataError, "one number per row"),
    ],
)
def test_bad_input_is_named(p, y, error, match):
    with pytest.raises(error, match=match):
        Sigmoid().fit(np.array(p), np.array(y))


# The choice


def test_calibrated_scores_are_left_alone_and_distorted_ones_mended():
    truth = scores(8000)
    y, order = outcomes(truth), np.arange(8000)
    assert choose_calibration(truth, y, order=order).calibrator is None
    chosen = choose_calibration(expit(2 * logit(truth) + 1), y, order=order)
    assert chosen.name == "sigmoid"
    assert chosen.calibrator.transform(expit(2 * logit(truth) + 1)) == pytest.approx(truth, abs=0.03)
    assert chosen.table.set_index("calibrator").loc["sigmoid", "kept"]
    assert choose_calibration(expit(logit(truth) + 0.5), y, order=order).name == "shift"


def test_a_moved_base_rate_is_not_learned_from_the_past():
    """The older rows call for a map that harms on the newer ones."""
    p = scores(6000)
    moved = np.where(np.arange(6000) < 3500, 0.8, -0.4)
    y = outcomes(expit(logit(p) + moved))
    assert choose_calibration(p, y, order=np.arange(6000)).calibrator is None
    assert choose_calibration(p, y, seed=1).calibrator is not None  # folds mix the periods and see nothing of it


def test_the_rule_keeps_noise_out_nearly_always():
    kept = [
        choose_calibration(p := scores(1500, seed=k), outcomes(p, seed=k), order=np.arange(1500)).calibrator
        for k in range(40)
    ]
    assert sum(c is not None for c in kept) <= 8


def test_isotonic_needs_a_hundred_outcomes():
    p = scores(1000)
    y = outcomes(p * 0.6)
    assert 30 < y[:600].sum() < 100
    assert "isotonic" not in set(choose_calibration(p, y, order=np.arange(1000)).table["calibrator"])
    assert "isotonic" in set(choose_calibration(p, outcomes(p), order=np.arange(1000)).table["calibrator"])


def test_too_few_outcomes_choose_nothing_and_say_so():
    p = scores(60)
    chosen = choose_calibration(p, outcomes(p, seed=2), order=np.arange(60))
    assert chosen.calibrator is None
    assert "too few" in chosen.reason
    assert len(chosen.table) == 0


def test_the_gap_keeps_unsettled_rows_out():
    p, dates = scores(4000), np.datetime64("2024-01-01") + np.arange(4000) // 20
    y = outcomes(expit(logit(p) + 1), seed=5)
    assert choose_calibration(p, y, order=dates, gap_days=30).calibrator is not None
    assert choose_calibration(p, y, order=dates, gap_days=150).calibrator is None  # nothing is left to fit on


def test_rows_of_one_entity_do_not_testify_many_times():
    """A gain of few entities, each repeated: by rows it looks certain, by entities it is chance."""
    generator = np.random.default_rng(11)
    p = np.repeat(np.full(160, 0.3), 60)
    y = np.repeat((generator.random(160) < 0.3).astype(int), 60)
    groups = np.repeat(np.arange(160), 60)
    table = [choose_calibration(p, y, order=groups, groups=g).table for g in (None, groups)]
    by_row, by_entity = (t.set_index("calibrator").loc["shift", "standard_error"] for t in table)
    assert by_entity == pytest.approx(by_row * np.sqrt(60), rel=0.02)


def test_an_entity_stands_on_one_side_of_the_check():
    """Every entity has old and new rows: nothing independent is left to fit on."""
    p = scores(2000)
    y = outcomes(expit(logit(p) + 1))
    chosen = choose_calibration(p, y, order=np.arange(2000), groups=np.arange(2000) % 500)
    assert chosen.calibrator is None
    assert "too few" in chosen.reason


# Intervals


def test_venn_abers_equals_refitting_with_each_label():
    generator = np.random.default_rng(1)
    for trial in range(60):
        n = int(generator.integers(2, 30))
        p = generator.integers(0, 12, n) / 12 if trial % 2 else generator.random(n)
        y = generator.integers(0, 2, n)
        if y.min() == y.max():
            continue
        new = np.unique(np.r_[p, generator.random(6), 0, 1])
        low, high = VennAbers().fit(p, y).interval(new)
        for label, found in ((0, low), (1, high)):
            assert found == pytest.approx([_refitted(p, y, s, label) for s in new], abs=1e-12)
        assert (low <= high).all()


def _refitted(p: np.ndarray, y: np.ndarray, score: float, label: int) -> float:
    levels, code = np.unique(np.r_[p, score], return_inverse=True)
    mass, hits = np.bincount(code).astype(float), np.bincount(code, np.r_[y, label])
    return isotonic_regression(hits / mass, sample_weight=mass)[np.searchsorted(levels, score)]


def test_venn_abers_point_lies_between():
    p = scores(300)
    predictor = VennAbers().fit(p, outcomes(p))
    low, high = predictor.interval(p)
    assert (low <= predictor.point(p)).all()
    assert (predictor.point(p) <= high).all()


def simulated_coverage(moves: float, *, dated: bool, worlds: int = 50) -> dict[str, float]:
    """How often the true share at some scores lies inside, in a period after those learned from; level 0.9."""
    hits = {"score": [], "bootstrap": []}
    points = np.array([0.05, 0.15, 0.3, 0.5])
    for seed in range(worlds):
        generator = np.random.default_rng(seed)
        n, periods = 2000, 3
        p, order = generator.beta(1.5, 5, n), np.sort(generator.integers(0, periods, n))
        offsets = generator.normal(0, moves, periods + 1)
        groups = np.arange(n) // 4  # rows of one entity share its luck
        luck = np.repeat(generator.random(n // 4), 4)
        p = np.repeat(p[::4], 4)
        y = (luck < expit(logit(p) + offsets[order])).astype(int)
        truth = expit(logit(points) + offsets[-1])
        dates = order if dated else None
        for name, (low, high) in {
            "score": score_interval(points, p_ref=p, y_ref=y, groups=groups, order=dates),
            "bootstrap": BootstrapInterval(n_bootstrap=40).fit(p, y, groups).interval(points),
        }.items():
            hits[name] += list((low <= truth) & (truth <= high))
    return {name: float(np.mean(h)) for name, h in hits.items()}


def test_score_intervals_cover_when_rates_move_where_a_bootstrap_does_not():
    covered = simulated_coverage(0.3, dated=True)
    assert 0.85 <= covered["score"] <= 0.99
    assert covered["bootstrap"] < 0.75


def test_intervals_cover_when_nothing_moves():
    covered = simulated_coverage(0.0, dated=False)
    assert covered["score"] >= 0.87
    assert covered["bootstrap"] >= 0.8


def test_entities_and_level_widen_an_interval():
    p = np.repeat(scores(500), 6)
    y, groups = np.repeat(outcomes(p[::6]), 6), np.repeat(np.arange(500), 6)
    at = np.array([0.1, 0.4])

    def width(**of: object) -> np.ndarray:
        low, high = ScoreInterval(of.pop("level", 0.9)).fit(p, y, **of).interval(at)
        return high - low

    own, shared = (ScoreInterval().fit(p, y, groups=g).covariance_ for g in (None, groups))
    assert np.diag(shared) == pytest.approx(6 * np.diag(own), rel=0.05)
    assert (width(groups=groups) > width()).all()
    assert (width(groups=groups, level=0.99) > width(groups=groups)).all()
    assert (width(groups=groups, order=groups) > width(groups=groups)).all()


def test_intervals_hold_their_score_and_plain_numbers():
    p = scores(2000)
    interval = ScoreInterval().fit(p, outcomes(expit(logit(p) + 0.5)), order=np.arange(2000))
    new = np.r_[0.0, np.linspace(0, 1, 101), 1.0]
    low, high = interval.interval(new)
    assert ((low <= new) & (new <= high) & (low >= 0) & (high <= 1)).all()
    assert all(isinstance(v, (float, np.ndarray)) for v in vars(interval).values())


@pytest.mark.parametrize("level", [0, 1, 90])
def test_levels_must_be_shares(level):
    with pytest.raises(ParameterError, match="level"):
        ScoreInterval(level).fit(np.array([0.1, 0.2]), np.array([0, 1]))


def test_gaps_in_the_order_and_too_few_entities_are_named():
    p = scores(100)
    y = outcomes(p)
    with pytest.raises(DataError, match="date or number"):
        ScoreInterval().fit(p, y, order=np.full(100, np.nan))
    with pytest.raises(DataError, match="one entity per row"):
        ScoreInterval().fit(p, y, groups=np.arange(3))
    with pytest.raises(DataError, match="every row"):
        choose_calibration(p, y, order=np.full(100, np.datetime64("NaT")))
