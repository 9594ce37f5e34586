"""The benchmark's own parts, on small logs: every way gives what the plain loops give; no figure is ever lost."""

import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from features_bench import __main__ as front
from features_bench import records
from features_bench.compare import differences, differences_of_files, has_rows
from features_bench.edge import DATES, write_edges
from features_bench.generate import END, GROUP, START, generate
from features_bench.reference import reference, sample_rows
from features_bench.runner import Failure, Outcome, Run, run_once
from features_bench.task import DAY, FEATURES, INTEGERS, TYPES, WINDOWS, Task
from features_bench.ways import WAYS, find_way

PEERS = ("numpy", "polars", "duckdb (as-of joins)", "duckdb (window frames)", "pandas")
OWN = ("crmlab (in memory)", "crmlab (out of core)")


@pytest.fixture(scope="module")
def edges(tmp_path_factory) -> Task:
    folder = tmp_path_factory.mktemp("edges")
    write_edges(folder)
    return Task(folder)


@pytest.fixture(scope="module")
def wanted(edges) -> list[dict[str, float]]:
    return reference(edges)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Task:
    folder = tmp_path_factory.mktemp("small")
    generate(folder, events=6_000)
    return Task(folder)


@pytest.mark.parametrize("way", [*PEERS, *OWN])
def test_way_gives_what_the_plain_loops_give(way, edges, wanted, tmp_path):
    if way == "polars":
        pytest.importorskip("polars", reason="only in the benchmark's environment")
    _, run = find_way(way)
    run(edges, tmp_path / "edges.parquet")
    assert differences(tmp_path / "edges.parquet", wanted) == []
    assert has_rows(tmp_path / "edges.parquet", edges.rows)


@pytest.mark.parametrize("way", ["numpy", *OWN])
def test_way_gives_the_same_on_a_log_like_the_measured_ones(way, small, tmp_path):
    _, run = find_way(way)
    run(small, tmp_path / "small.parquet")
    assert differences(tmp_path / "small.parquet", reference(small, sample_rows(small, leads=30))) == []


def test_own_ways_agree_to_the_last_bit(small, tmp_path):
    for way in OWN:
        find_way(way)[1](small, tmp_path / f"{way}.parquet")
    first, second = (tmp_path / f"{way}.parquet" for way in OWN)
    assert differences_of_files(first, second, exact=True) == []


@pytest.mark.parametrize("way", ["crmlab (newest snapshot after one appended day)", "crmlab (one lead, live)"])
def test_way_that_goes_on_from_a_state_gives_the_same(way, small, tmp_path):
    module, run = find_way(way)
    module.lay_out(small)
    prepared = module.prepare(small) if way.endswith("live)") else None
    run(small, tmp_path / "some.parquet", prepared)
    find_way(OWN[0])[1](small, tmp_path / "all.parquet")
    assert differences_of_files(tmp_path / "some.parquet", tmp_path / "all.parquet", exact=True) == []


def test_reference_counts_from_the_windows_edge_to_just_before_the_date(wanted):
    row = next(row for row in wanted if (row["lead_id"], row["as_of"]) == (1, DATES[-1]))
    # Lead 1 has one event at the date itself and one at each window's edge: the former is not seen, the latter are in.
    assert [row[f"interactions_n_{w}d"] for w in WINDOWS] == [1, 2, 3]
    assert row["emails_sent_recency_days"] == 7.0
    assert row["calls_n_90d"] == 0
    assert row["interactions_smoothed_weekly"] > 0
    assert np.isnan(row["calls_trend_30d_90d"])
    assert row["interactions_duration_sum_90d"] == 0.0


def test_reference_smooths_by_hand(wanted):
    row = next(row for row in wanted if (row["lead_id"], row["as_of"]) == (4, DATES[0]))
    assert row["web_visits_smoothed_weekly"] == pytest.approx(0.3 * 0.7**9)


def test_work_is_that_of_the_69_features(wanted):
    assert len(FEATURES) == len(set(FEATURES)) == 69
    assert set(wanted[0]) == {"lead_id", "as_of", *FEATURES}
    assert set(INTEGERS) < set(FEATURES)


def test_difference_is_named(edges, wanted, tmp_path):
    find_way("numpy")[1](edges, tmp_path / "right.parquet")
    table = pq.read_table(tmp_path / "right.parquet")
    at = table.column_names.index("calls_n_7d")
    changed = table.set_column(at, "calls_n_7d", [np.asarray(table["calls_n_7d"]) + np.int32(1)])
    pq.write_table(changed, tmp_path / "wrong.parquet")
    assert differences(tmp_path / "wrong.parquet", wanted)[0].startswith("calls_n_7d: 61 rows")
    pq.write_table(table.drop_columns(["age_days"]).slice(1), tmp_path / "short.parquet")
    assert differences(tmp_path / "short.parquet", wanted) == ["age_days is missing"]
    assert not has_rows(tmp_path / "short.parquet", edges.rows)


def test_log_is_in_time_order_skewed_and_as_long_as_asked(tmp_path):
    counts = generate(tmp_path / "a", events=GROUP + 50_000)
    log = pq.read_table(tmp_path / "a" / "log.parquet")
    ts = log["ts"].cast("int64").to_numpy()
    assert counts["events"] == log.num_rows == GROUP + 50_000
    assert pq.read_metadata(tmp_path / "a" / "log.parquet").row_group(0).num_rows == GROUP
    assert (np.diff(ts) >= 0).all()
    assert START <= ts[0] <= ts[-1] < END
    per_lead = np.bincount(log["lead_id"].to_numpy())
    assert np.percentile(per_lead, 99) > 5 * per_lead.mean()
    measured = np.isin(log["type"].to_pylist(), ["call", "meeting"])
    assert (log["duration"].is_valid().to_numpy() == measured).all()
    assert set(log["type"].unique().to_pylist()) == set(TYPES)


def test_rows_are_asked_for_while_leads_are_open(small):
    leads, rows = pq.read_table(small.leads), pq.read_table(small.rows)
    lead = rows["lead_id"].to_numpy()
    as_of = rows["as_of"].cast("int64").to_numpy()
    created = leads["created_at"].cast("int64").to_numpy()
    closed = leads["closed_at"].cast("int64").fill_null(END + DAY).to_numpy()
    assert (created[lead] < as_of).all()
    assert (closed[lead] >= as_of).all()
    assert ((as_of - START) % (28 * DAY) == 0).all()


def test_same_seed_gives_the_same_log(tmp_path, small):
    generate(tmp_path, events=6_000)
    assert (tmp_path / "log.parquet").read_bytes() == small.log.read_bytes()


def test_every_way_is_known_by_its_module():
    own = [way for way in WAYS if way.startswith("crmlab")]
    assert len(own) >= 2
    assert "floor" in WAYS


def outcome(*seconds: tuple[str, list[float]]) -> Outcome:
    made = Outcome(differences={way: [] for way, _ in seconds})
    for number in range(len(seconds[0][1])):
        made.runs.append([Run(way, 1000, 2 * s[number], s[number], s[number], 100.0) for way, s in seconds])
    return made


def test_ratio_is_taken_within_each_round():
    made = outcome(("floor", [1.0, 4.0, 2.0]), ("numpy", [3.0, 6.0, 4.0]))
    line = records.rows_of(made, events=1000, equal_on_edges={"numpy": True})[1]
    assert line == {
        "way": "numpy",
        "events": 1000,
        "wall_s": 8.0,
        "cpu_s": 4.0,
        "stage_cpu_s": 4.0,
        "peak_mb": 100.0,
        "ratio_to_limit": 2.0,  # the median of 3, 1.5 and 2
        "equal_to_reference": True,
    }


def test_way_that_differs_on_edges_or_log_is_not_equal():
    made = outcome(("floor", [1.0]), ("numpy", [1.0]), ("polars", [1.0]))
    made.differences["polars"] = ["age_days is missing"]
    lines = records.rows_of(made, events=1000, equal_on_edges={"numpy": False, "polars": True})
    assert [line["equal_to_reference"] for line in lines] == [None, False, False]


def test_partial_run_renews_its_lines_and_keeps_the_others(tmp_path):
    old = records.rows_of(outcome(("floor", [1.0]), ("numpy", [3.0])), events=1000, equal_on_edges={"numpy": True})
    new = records.rows_of(outcome(("floor", [1.0]), ("polars", [2.0])), events=1000, equal_on_edges={})
    more = records.rows_of(outcome(("numpy", [33.0])), events=10_000, equal_on_edges={"numpy": True})
    lines = records.merge(records.merge(old, new), more)
    assert [(line["way"], line["events"]) for line in lines] == [
        ("floor", 1000),
        ("numpy", 1000),
        ("polars", 1000),
        ("numpy", 10_000),
    ]
    assert records.growth(lines) == {"numpy": {"1,000 to 10,000": 1.041}}
    records.write_all(tmp_path, lines, {"rounds": 1, "not_finished": [vars(Failure("pandas", 1000, "not done"))]})
    assert json.loads((tmp_path / "features.json").read_text()) == lines
    table = (tmp_path / "features.md").read_text()
    assert "| numpy | 6.00 s | 3.00 s | 3.00 s | 3.00 | 0.10 GB | yes |" in table
    assert "pandas: not done." in table


def test_table_says_how_far_the_goals_are():
    full, newest, more = (
        "crmlab (out of core)",
        "crmlab (newest snapshot after one appended day)",
        "crmlab (all declared lead features)",
    )
    made = outcome(("floor", [1.0]), (full, [1.2]), (newest, [0.3]), (more, [1.44]), ("polars", [9.0]))
    lines = records.rows_of(made, events=1000, equal_on_edges={})
    table = records.table(lines, {"told": {f"{more}, 1,000 events": {"features": 89}}})
    assert "polars 7.5 times" in table
    assert "25% of a full recompute" in table
    assert "a feature costs 1.0% of that (89 features)" in table


def test_way_runs_in_its_own_process_and_says_what_it_took(edges, tmp_path):
    write_edges(tmp_path / "edges")
    run = run_once("numpy", tmp_path / "edges", events=0, limit_s=120, python=sys.executable)
    assert isinstance(run, Run)
    assert 0 < run.stage_cpu_s < run.cpu_s
    assert run.peak_mb > 20


def test_way_that_takes_too_long_is_stopped(tmp_path):
    write_edges(tmp_path / "edges")
    run = run_once("numpy", tmp_path / "edges", events=0, limit_s=0.05, python=sys.executable)
    assert run == Failure("numpy", 0, "not done after 0 s")


def test_ways_are_chosen_by_the_beginning_of_their_name():
    assert front._chosen("duckdb") == ["duckdb (as-of joins)", "duckdb (window frames)"]
    assert front._chosen("") == list(WAYS)
