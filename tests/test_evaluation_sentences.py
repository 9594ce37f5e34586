"""Sentences and figures of the evaluation say what their tables hold."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from crmlab.evaluation.decisions import ORDER_NOT_EFFECT, RANDOM_ORDER, net_benefit_table
from crmlab.evaluation.origins import Origins
from crmlab.evaluation.sentences import (
    capacity_sentence,
    coverage_sentence,
    fairness_sentence,
    origins_sentence,
    slices_sentence,
)
from crmlab.evaluation_plots import plot_capacity, plot_net_benefit, plot_origins, plot_slices


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def slices() -> pd.DataFrame:
    rows = {"column": "source", "slice": ["web", "fair"], "n": [1000, 500], "predicted": [0.2, 0.3]}
    rows |= {"observed": [0.1, 0.31], "gap": [-0.1, 0.01], "gap_low": [-0.15, -0.04], "gap_high": [-0.05, 0.06]}
    rows |= {"p_value": [0.001, 0.6], "flagged": [True, False], "ratio": [0.5, 1.2], "missed": [0.8, 0.3]}
    return pd.DataFrame(rows)


@pytest.fixture
def capacity() -> pd.DataFrame:
    rows = {"way": ["score", RANDOM_ORDER], "calls": [10.0, 10.0], "conversions": [5.0, 2.0], "profit": [4000.0, 900]}
    rows |= {
        "low": [3000.0, 500],
        "high": [5000.0, 1300],
        "difference_low": [2000.0, 0],
        "difference_high": [4000.0, 0],
    }
    return pd.DataFrame(rows)


@pytest.fixture
def origins() -> Origins:
    rows = {"origin": [1, 2, 3], "model": "m", "metric": "log loss", "value": [0.5, 0.4, 0.35], "base": 0.45}
    rows |= {"low": 0.3, "high": 0.6, "test_from": pd.date_range("2024-01-01", periods=3, freq="90D")}
    return Origins(pd.DataFrame(rows), pd.DataFrame())


def test_slices_in_words(slices):
    said = slices_sentence(slices)
    assert "In 1 of 2 slices" in said
    assert "source = web" in said
    assert "In none of 2" in slices_sentence(slices.assign(flagged=False))
    assert "80\u00a0%" in fairness_sentence(slices)
    assert "In none of 2" in fairness_sentence(slices.assign(ratio=1.5))  # favoured is not left out


def test_capacity_in_words_says_order_and_not_effect(capacity):
    said = capacity_sentence(capacity, way="score")
    assert "more than the 900" in said
    assert said.endswith(ORDER_NOT_EFFECT)
    assert "not certainly" in capacity_sentence(capacity.assign(difference_low=-1.0), way="score")


def test_coverage_and_origins_in_words(origins):
    rates = pd.DataFrame(
        {"what": ["score bands", "single cases"], "nominal": 0.9, "share": [0.91, 0.27], "n": [240, 9000]}
    )
    assert "90\u00a0% of true shares held 91\u00a0%" in coverage_sentence(rates)
    assert "27\u00a0% of the true probabilities of single cases" in coverage_sentence(rates)
    assert "beat the base rate at 2;" in origins_sentence(origins, model="m")
    assert "no trend" in origins_sentence(origins, model="m")


def test_figures_show_their_tables(slices, capacity, origins):
    assert [t.get_text() for t in plot_slices(slices, column="source").get_yticklabels()] == [
        "web  (n = 1,000)",
        "fair  (n = 500)",
    ]
    assert len(plot_capacity(capacity).get_yticklabels()) == 2
    assert len(plot_origins(origins.table).get_legend().get_texts()) == 2
    y, p = np.array([1, 0, 0, 1] * 20), np.tile([0.8, 0.2, 0.3, 0.6], 20)
    curve = net_benefit_table(y, {"score": p}, np.arange(80), thresholds=np.array([0.1, 0.4]), n_bootstrap=20, seed=0)
    assert len(plot_net_benefit(curve).get_lines()) == 3
