"""Figures show what they are given: the axis is looked at, not the picture."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from crmlab import plots


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def labels(axis) -> list[str]:
    return [t.get_text() for t in axis.get_ticklabels()]


def test_shares_are_labelled_with_their_n_and_start_at_zero():
    shares = pd.DataFrame(
        {"group": ["web", "fair"], "n": [1200, 30], "share": [0.2, 0.1], "low": [0.1, 0.0], "high": [0.3, 0.3]}
    )
    ax = plots.plot_shares(shares, overall=0.15)
    assert labels(ax.yaxis) == ["web  (n = 1,200)", "fair  (n = 30)"]
    assert ax.get_xlim()[0] == 0
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # first row on top


def test_text_from_the_crm_cannot_become_a_formula():
    shares = pd.DataFrame(
        {"group": ["$\\frac{1}{0}$" + "x" * 60], "n": [1], "share": [0.2], "low": [0.1], "high": [0.3]}
    )
    label = labels(plots.plot_shares(shares).yaxis)[0]
    assert "\\$" in label
    assert len(label) < 60
    plots.plot_shares(shares).figure.canvas.draw()


@pytest.mark.parametrize(("metric", "first"), [("log loss", "good"), ("ROC AUC", "bad")])
def test_models_stand_best_first(metric, first):
    metrics = pd.DataFrame({"model": ["bad", "good"], "metric": metric, "value": [0.6, 0.4], "low": 0.3, "high": 0.7})
    assert labels(plots.plot_model_intervals(metrics, metric=metric).yaxis)[0] == first


def test_split_gap_draws_both_dots_of_each_model():
    gap = pd.DataFrame({"model": ["a", "b"], "metric": "ROC AUC", "honest": [0.6, 0.7], "random": [0.8, 0.7]})
    honest, random = plots.plot_split_gap(gap, metric="ROC AUC").collections[-2:]
    assert honest.get_offsets()[:, 0].tolist() == [0.6, 0.7]
    assert random.get_offsets()[:, 0].tolist() == [0.8, 0.7]


def test_calibration_has_the_diagonal_and_room_for_every_interval():
    table = pd.DataFrame(
        {"predicted": [0.1, 0.5], "observed": [0.2, 0.4], "low": [0.1, 0.3], "high": [0.3, 0.9], "n": 10}
    )
    ax = plots.plot_calibration({"model": table})
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_ylim()[1] > 0.9


def test_capture_begins_at_nothing_and_ends_at_everything():
    table = pd.DataFrame({"share": [0.1, 0.5], "captured": [0.3, 0.8]})
    line = plots.plot_capture({"model": table}).lines[1]
    assert line.get_xdata().tolist() == [0, 0.1, 0.5, 1]
    assert line.get_ydata().tolist() == [0, 0.3, 0.8, 1]


def test_curves_keep_the_order_of_groups_and_no_more_than_asked():
    days = np.arange(5.0)
    curves = pd.concat(
        pd.DataFrame({"group": g, "days": days, "share": days / 10, "low": 0.0, "high": 0.9}) for g in ("b", "a", "c")
    )
    ax = plots.plot_curves(curves, days=3, max_groups=2)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["b", "a"]
    assert ax.get_xlim() == (0, 3)


def test_triangle_leaves_unobserved_cells_empty():
    triangle = pd.DataFrame({"30d": [0.1, 0.2], "60d": [0.3, np.nan]}, index=["2024 Q1", "2024 Q2"])
    ax = plots.plot_triangle(triangle)
    assert [t.get_text() for t in ax.texts] == ["10", "30", "20"]
    assert labels(ax.yaxis) == ["2024 Q1", "2024 Q2"]


def test_association_shows_periods_only():
    table = pd.DataFrame(
        {"feature": ["a", "b"], "n": 5, "auc": 0.6, "auc_low": 0.5, "auc_high": 0.7, "same_direction": 1.0}
    )
    ax = plots.plot_association(table.assign(**{"2024 Q1": 0.6, "2024 Q2": 0.7}), top=1)
    assert labels(ax.xaxis) == ["2024 Q1", "2024 Q2"]
    assert labels(ax.yaxis) == ["a"]


def test_nothing_to_draw_is_said():
    triangle = pd.DataFrame({"30d": [np.nan]}, index=["2024 Q1"])
    assert plots.plot_triangle(triangle).texts[0].get_text() == "No cohort is old enough yet."
    table = pd.DataFrame(
        {"feature": ["a"], "n": 0, "auc": np.nan, "auc_low": np.nan, "auc_high": np.nan, "same_direction": np.nan}
    )
    assert plots.plot_association(table).texts[0].get_text() == "No label is settled yet."
