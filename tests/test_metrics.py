"""Measurements against scikit-learn, by hand, and by their laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from crmlab.metrics import (
    METRICS,
    average_precision,
    bootstrap_metrics,
    bootstrap_weights,
    brier,
    brier_parts,
    brier_skill,
    calibration_error,
    calibration_error_corrected,
    calibration_line,
    calibration_offset,
    calibration_table,
    lift,
    lift_table,
    log_loss,
    log_loss_difference,
    reliability_table,
    roc_auc,
)
from crmlab.schema import ParameterError


@pytest.fixture(scope="module")
def scored():
    generator = np.random.default_rng(0)
    p = np.round(generator.beta(1, 6, 2000), 2)  # rounding makes ties
    y = (generator.random(2000) < p).astype(float)
    return y, p, generator.integers(0, 4, 2000).astype(float)


def test_equal_to_scikit_learn_with_ties_and_weights(scored):
    y, p, w = scored
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    assert log_loss(y, p, w) == pytest.approx(sk.log_loss(y, clipped, sample_weight=w), rel=1e-12)
    assert brier(y, p, w) == pytest.approx(sk.brier_score_loss(y, p, sample_weight=w), rel=1e-12)
    assert roc_auc(y, p, w) == pytest.approx(sk.roc_auc_score(y, p, sample_weight=w), rel=1e-12)
    assert average_precision(y, p, w) == pytest.approx(sk.average_precision_score(y, p, sample_weight=w), rel=1e-12)


@given(
    arrays(float, 12, elements=st.sampled_from([0.1, 0.2, 0.5, 0.9])),
    st.lists(st.integers(0, 3), min_size=12, max_size=12),
)
def test_weights_are_repetitions(p, counts):
    y = np.tile([0.0, 1.0, 1.0], 4)
    w = np.array(counts, dtype=float)
    if w[y == 1].sum() == 0 or w[y == 0].sum() == 0:
        return
    repeated = np.repeat(np.arange(12), counts)
    for name in ("log loss", "Brier", "ROC AUC", "average precision", "lift at 10 %"):
        measure = METRICS[name]
        assert measure(y, p, w) == pytest.approx(measure(y[repeated], p[repeated]), rel=1e-9), name


def test_lift_by_hand():
    y = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0.0])
    p = np.linspace(1, 0.1, 10)
    assert lift(y, p, share=0.1) == pytest.approx(5.0)  # 1 of 1 called, against 2 of 10
    assert lift(y, p, share=0.2) == pytest.approx(5.0)
    assert lift(y, p, share=1.0) == pytest.approx(1.0)
    assert lift(y, np.full(10, 0.2)) == pytest.approx(1.0)  # all tied: as good as chance


def test_lift_table_captures_everything_at_the_end():
    y = np.array([1, 0, 1, 0, 0.0])
    table = lift_table(y, np.array([0.9, 0.1, 0.8, 0.2, 0.3]), shares=(0.4, 1.0))
    assert table["captured"].tolist() == pytest.approx([1.0, 1.0])
    assert table["n"].tolist() == [2, 5]


def test_calibration_error_by_hand():
    y = np.array([0, 0, 1, 1.0])
    assert calibration_error(y, np.array([0, 0, 1, 1.0])) == 0
    assert calibration_error(y, np.full(4, 0.9)) == pytest.approx(0.4)
    assert calibration_error(y, np.array([0.2, 0.2, 0.7, 0.7])) == pytest.approx((0.2 * 2 + 0.3 * 2) / 4)


def test_calibration_table_counts_every_row_and_holds_its_share(scored):
    y, p, _ = scored
    table = calibration_table(y, p)
    assert table["n"].sum() == len(y)
    assert (table["low"] <= table["observed"]).all()
    assert (table["observed"] <= table["high"]).all()
    assert (table["observed"] * table["n"]).sum() == pytest.approx(y.sum())


def test_wilson_interval_of_zero_of_ten():
    table = calibration_table(np.zeros(10), np.full(10, 0.3))
    assert table["low"].item() == pytest.approx(0, abs=1e-12)
    assert table["high"].item() == pytest.approx(0.27753, abs=1e-5)  # Wilson: z²/(n + z²)


def test_one_class_has_no_order():
    y, p = np.zeros(5), np.linspace(0, 1, 5)
    assert np.isnan([roc_auc(y, p), average_precision(y, p), lift(y, p)]).all()


def test_resamples_draw_whole_leads():
    groups = np.array(["a", "a", "b", "c"])
    drawn = np.stack(list(bootstrap_weights(groups, n=50, seed=1)))
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert drawn[:, 0].std() > 0


def test_intervals_widen_when_rows_share_a_lead(scored):
    y, p, _ = scored
    single = bootstrap_metrics(y, {"m": p}, np.arange(2000), reference="m", n=100, seed=1)
    shared = bootstrap_metrics(
        np.repeat(y, 10), {"m": np.repeat(p, 10)}, np.repeat(np.arange(2000), 10), reference="m", n=100, seed=1
    )
    naive = bootstrap_metrics(np.repeat(y, 10), {"m": np.repeat(p, 10)}, np.arange(20000), reference="m", n=100, seed=1)
    width = [(t["high"] - t["low"])[0] for t in (single, shared, naive)]
    assert width[1] == pytest.approx(width[0], rel=1e-9)
    assert width[2] < 0.5 * width[0]


def test_bootstrap_is_paired_and_holds_the_value(scored):
    y, p, _ = scored
    table = bootstrap_metrics(
        y, {"base": np.full(2000, y.mean()), "m": p}, np.arange(2000), reference="base", n=200, seed=3
    )
    assert set(table["metric"]) == set(METRICS)
    base = table[table["model"] == "base"]
    assert (base[["difference", "difference_low", "difference_high"]] == 0).all().all()
    loss = table[(table["model"] == "m") & (table["metric"] == "log loss")].iloc[0]
    assert loss["low"] < loss["value"] < loss["high"]
    assert loss["difference_high"] < 0
    # Paired: the difference is known better than either of its parts.
    assert loss["difference_high"] - loss["difference_low"] < loss["high"] - loss["low"]


def test_log_loss_difference_agrees_with_its_parts(scored):
    y, p, _ = scored
    base = np.full(2000, y.mean())
    value, low, high = log_loss_difference(y, p, base, np.arange(2000), n=200, seed=3)
    assert value == pytest.approx(log_loss(y, p) - log_loss(y, base))
    assert low < value < high < 0


def test_arguments_are_left_alone(scored):
    y, p, _ = (x.copy() for x in scored)
    before = pd.util.hash_array(np.concatenate([y, p])).sum()
    bootstrap_metrics(y, {"m": p}, np.arange(2000), reference="m", n=20, seed=0)
    calibration_table(y, p)
    assert pd.util.hash_array(np.concatenate([y, p])).sum() == before


def test_too_few_resamples_for_an_interval_are_refused():
    with pytest.raises(ParameterError, match="at least 20"):
        next(bootstrap_weights(np.arange(3), n=19, seed=0))


def test_no_rows_have_no_order():
    assert np.isnan(roc_auc(np.empty(0), np.empty(0)))


# Reliability


@given(
    arrays(float, 30, elements=st.floats(0, 1)),
    arrays(int, 30, elements=st.integers(0, 1)),
    arrays(int, 30, elements=st.integers(0, 3)),
    st.integers(1, 12),
)
def test_the_parts_of_the_brier_score_add_up_exactly(p, y, w, bins):
    if not w.sum():
        return
    parts = brier_parts(y, p, w.astype(float), bins=bins)
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within"]
    assert total == pytest.approx(brier(y, p, w), abs=1e-12)
    assert min(parts["reliability"], parts["resolution"]) >= 0


def test_the_parts_of_the_brier_score_by_hand():
    """Two scores: 0.2 (1 of 4 converted) and 0.6 (3 of 4)."""
    p, y = np.repeat([0.2, 0.6], 4), np.array([1, 0, 0, 0, 1, 1, 1, 0])
    parts = brier_parts(y, p, bins=2)
    assert parts["reliability"] == pytest.approx((0.05**2 + 0.15**2) / 2)
    assert parts["resolution"] == pytest.approx(0.25**2)
    assert parts["uncertainty"] == 0.25
    assert parts["within"] == pytest.approx(0, abs=1e-15)
    assert brier_skill(y, p) == pytest.approx(1 - brier(y, p) / 0.25)
    assert np.isnan(brier_skill(np.ones(3), np.full(3, 0.5)))


def test_the_calibration_line_against_scikit_learn_and_by_its_laws():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(4)
    p = generator.beta(2, 5, 4000)
    odds = np.log(p / (1 - p))
    y, w = (
        (generator.random(4000) < 1 / (1 + np.exp(-(0.5 * odds - 0.3)))).astype(float),
        generator.integers(0, 3, 4000),
    )
    theirs = LogisticRegression(C=1e12, tol=1e-10).fit(odds[:, None], y, sample_weight=w)
    assert calibration_line(y, p, w) == pytest.approx([theirs.intercept_[0], theirs.coef_[0, 0]], abs=1e-4)
    moved = 1 / (1 + np.exp(-(odds + calibration_offset(y, p, w))))
    assert np.average(moved, weights=w) == pytest.approx(np.average(y, weights=w), abs=1e-9)


@pytest.mark.parametrize(("y", "p"), [([1, 1], [0.2, 0.3]), ([0, 1], [0.3, 0.3]), ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])])
def test_without_a_line_there_is_none(y, p):
    """One class, one score, classes that part completely."""
    assert np.isnan(calibration_line(np.array(y), np.array(p))).all()


def test_the_corrected_error_removes_the_bias_of_chance():
    """Perfect scores seem off by a tenth of their mean in 300 rows; off by 0.1 is found as 0.1."""
    plain, corrected, off = [], [], []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        p = generator.uniform(0.1, 0.6, 300)
        y = (generator.random(300) < p).astype(float)
        plain.append(calibration_error(y, p))
        corrected.append(calibration_error_corrected(y, p))
        off.append(calibration_error_corrected(y, p + 0.1))
    assert np.mean(plain) > 0.055
    assert np.mean(corrected) < 0.65 * np.mean(plain)
    assert np.mean(off) == pytest.approx(0.1, abs=0.012)


def test_the_corrected_error_counts_entities():
    """Rows repeated ten times carry no new evidence: the corrected error stays what it was."""
    generator = np.random.default_rng(3)
    p = generator.uniform(0.1, 0.6, 400)
    y = (generator.random(400) < p).astype(float)
    again = np.tile(np.arange(400), 10)
    once = calibration_error_corrected(y, p)
    assert calibration_error_corrected(y[again], p[again], groups=again) == pytest.approx(once, abs=2e-3)
    assert calibration_error_corrected(y[again], p[again]) > once + 0.01


def test_reliability_table_has_an_interval_around_every_measure():
    generator = np.random.default_rng(5)
    p = np.repeat(generator.uniform(0.05, 0.6, 700), 2)
    truth = 1 / (1 + (1 / p - 1) ** 2 * 1.5)  # slope 2, intercept -log(1.5)
    y, groups = (generator.random(1400) < truth).astype(float), np.repeat(np.arange(700), 2)
    table = reliability_table(y, p, groups, n=60, seed=0).set_index("measure")
    assert table.loc["calibration error, corrected", "value"] <= table.loc["calibration error", "value"]
    assert ((table["low"] <= table["high"]) & table["value"].notna()).all()
    assert table.loc["calibration slope", "low"] > 1  # too timid
    assert table.loc["calibration offset", "high"] < 0  # too high
    assert table.loc["calibration error, corrected", "low"] > 0
