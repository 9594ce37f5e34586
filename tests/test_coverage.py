"""Coverage tables by hand, and the intervals of scores on the demo's known truth."""

import numpy as np
import pandas as pd
import pytest

from crmlab.evaluation.coverage import band_edges, coverage_rates, coverage_table
from crmlab.schema import DataError


def test_by_hand():
    p = np.array([0.1, 0.1, 0.5, 0.5])
    truth = np.array([0.0, 0.2, 0.9, 0.7])
    table = coverage_table(p - 0.05, p + 0.05, truth, p, np.array(["a", "a", "b", "c"]), bands=2)
    assert table["n"].to_list() == [2, 2]
    assert table["entities"].to_list() == [1, 2]
    assert table["true"].to_numpy() == pytest.approx([0.1, 0.8])
    assert table["covered"].to_list() == [True, False]  # the mean of the first band lies inside, no single one does
    assert table["single"].to_list() == [0, 0]
    rates = coverage_rates([table, table], level=0.9).set_index("what")
    assert rates.loc["score bands", ["share", "n"]].to_list() == [0.5, 4]
    assert rates.loc["single cases", ["share", "n"]].to_list() == [0, 8]


def test_single_cases_count_rows_in_their_own_interval():
    p = np.linspace(0.1, 0.9, 100)
    high = np.where(np.arange(100) % 4 == 0, p - 0.01, 1.0)
    rates = coverage_rates([coverage_table(np.zeros(100), high, p, p)], level=0.9).set_index("what")
    assert rates.loc["single cases", "share"] == pytest.approx(0.75)


def test_equal_scores_are_one_band():
    assert len(band_edges(np.full(50, 0.2))) == 1
    table = coverage_table(np.zeros(50), np.ones(50), np.full(50, 0.2), np.full(50, 0.2))
    assert table["n"].to_list() == [50]


def test_what_does_not_fit_is_named():
    with pytest.raises(DataError, match="row for row"):
        coverage_table(np.zeros(2), np.ones(2), np.zeros(3), np.zeros(3))
    with pytest.raises(DataError, match="true probability"):
        coverage_table(np.zeros(2), np.ones(2), np.array([0.1, np.nan]), np.zeros(2))


@pytest.mark.truth
def test_score_intervals_hold_the_truth_of_the_demo_out_of_time():
    """Weekly leads of a simulated firm, scored by source and age alone: far from the truth of single leads."""
    from crmlab.calibration import BootstrapInterval, ScoreInterval
    from crmlab.demo import make_crm

    covered = {"score": [], "bootstrap": []}
    for seed in (3, 4):
        rows, truth = _lead_months(make_crm(n_leads=4000, seed=seed))
        third = rows["as_of"].rank(pct=True).to_numpy()
        fitted, learned, tested = third < 0.4, (third >= 0.4) & (third < 0.7), third >= 0.75
        y = rows["converted"].to_numpy()
        rate = pd.Series(y[fitted]).groupby([rows["source"][fitted].to_numpy(), rows["age"][fitted].to_numpy()]).mean()
        p = rate.reindex(pd.MultiIndex.from_frame(rows[["source", "age"]])).fillna(y[fitted].mean()).to_numpy()
        p = np.clip(p, 0.01, 0.9)
        ids = rows["lead_id"].to_numpy()
        known = (p[learned], y[learned], ids[learned])
        ways = {
            "score": ScoreInterval().fit(*known, order=rows["as_of"].to_numpy()[learned]),
            "bootstrap": BootstrapInterval(n_bootstrap=100).fit(*known),
        }
        for name, way in ways.items():
            covered[name].append(coverage_table(*way.interval(p[tested]), truth[tested], p[tested], ids[tested]))
    rates = {name: coverage_rates(tables, level=0.9).set_index("what")["share"] for name, tables in covered.items()}
    assert rates["score"]["score bands"] >= 0.8
    assert rates["score"]["single cases"] < rates["score"]["score bands"]
    assert rates["score"]["score bands"] >= rates["bootstrap"]["score bands"]


def _lead_months(crm: object) -> tuple[pd.DataFrame, np.ndarray]:
    """Open leads every four weeks of their first twelve, with what became of them in 90 days and its probability."""
    leads = crm.tables["leads"]
    closed = crm.truth.table("truth_leads")[["lead_id", "closed_at"]]
    leads = leads[["lead_id", "source", "created_at", "converted_at"]].merge(closed, on="lead_id", validate="1:1")
    weeks = pd.DataFrame({"age": [0, 4, 8]})
    rows = leads.merge(weeks, how="cross")
    rows["as_of"] = rows["created_at"].dt.normalize() + pd.to_timedelta(1 + 7 * rows["age"], unit="D")
    horizon = pd.Timedelta("90D")
    rows = rows[~(rows["closed_at"] < rows["as_of"]) & (rows["as_of"] + horizon <= pd.Timestamp("2025-01-06"))]
    rows = rows.assign(source=rows["source"].fillna("?")).reset_index(drop=True)
    happened = (rows["converted_at"] >= rows["as_of"]) & (rows["converted_at"] < rows["as_of"] + horizon)
    truth = crm.truth.p_convert(rows["lead_id"], rows["as_of"], horizon_days=90)
    return rows.assign(converted=happened.astype(int)), truth
