"""The model benchmark's own parts: sets without leaks, honest splits, and ties called ties."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crmlab.metrics import log_loss
from crmlab.schema import DataError
from models_bench import __main__ as front
from models_bench import page, records, sets
from models_bench.runner import Failure, Run, digest, run_set
from models_bench.sets import LEFT_OUT, SETS, BenchmarkSet, Part, load_set, shuffled
from models_bench.task import read_test, read_train, small_train, write_task
from models_bench.ways import OWN, PACKAGES, PEERS, WAYS, find_way

SMALL = ("x-education", "marketstar", "marketstar-gap", "marketstar-accepted", "ficzon", "telco", "maven")
"""Sets that load within a second. IBM's and copper's are loaded once, the simulated and BPI's by the benchmark only."""
BASE_RATES = {  # log loss of the base rate: on these the split is that of the known bars
    "x-education": 0.674,
    "marketstar": 0.110,
    "ficzon": 0.415,
    "telco": 0.579,
    "maven": 0.6635,
}


@pytest.fixture(scope="module")
def loaded(public_data) -> dict[str, BenchmarkSet]:
    return {name: load_set(name, public_data) for name in SMALL}


def _made(n: int = 400, *, name: str = "made", signal: float = 2.0, seed: int = 0) -> BenchmarkSet:
    """Dated rows of n // 2 entities with one number that tells the outcome, one that does not, and a level."""
    generator = np.random.default_rng(seed)
    number = generator.normal(size=n)
    X = pd.DataFrame({"number": number, "noise": generator.normal(size=n), "level": generator.choice(["a", "b"], n)})
    X = X.astype({"level": "str"})
    y = (generator.random(n) < 1 / (1 + np.exp(-signal * number))).astype("int64")
    order = np.datetime64("2024-01-01") + np.arange(n).astype("timedelta64[D]")
    return BenchmarkSet(name, "made up", X, y, np.arange(n) // 2, sets._oldest_newest(order), order)


def _run(way: str, p: np.ndarray) -> Run:
    return Run(way, p, 1.0, 0.1, 1.0, "1.0", [{}])


@pytest.mark.parametrize("name", SMALL)
def test_no_column_tells_the_outcome(loaded, name):
    one = loaded[name]
    left_out = LEFT_OUT["marketstar" if name == "marketstar-gap" else name]
    assert not set(one.X.columns) & set(left_out)
    for column in one.X:
        values = one.X[column]
        # A column whose values alone say the outcome of nearly every row would be the outcome by another name.
        codes = (
            pd.factorize(values)[0] if values.dtype != "float64" else pd.qcut(values, 50, duplicates="drop").cat.codes
        )
        table = pd.crosstab(np.asarray(codes), one.y)
        told = table.max(axis=1).sum() / len(one.y)
        assert told < max(one.y.mean(), 1 - one.y.mean()) + 0.15, column


@pytest.mark.parametrize("name", SMALL)
def test_splits_are_disjoint_and_ordered(loaded, name):
    one = loaded[name]
    for train, test in one.folds:
        assert len(np.intersect1d(train, test)) == 0
        assert not set(one.groups[train]) & set(one.groups[test])
        assert min(one.y[train].sum(), one.y[test].sum(), (1 - one.y[test]).sum()) >= 40
        if one.order is not None:
            assert one.order[train].max() < one.order[test].min()
            assert 0.27 < len(test) / len(one.y) < 0.33
    if len(one.folds) == 5:
        assert np.array_equal(np.sort(one.tested), np.arange(len(one.y)))


def test_gap_keeps_labels_of_training_rows_before_the_test(loaded):
    one, without = loaded["marketstar-gap"], loaded["marketstar"]
    train, test = one.folds[0]
    assert one.gap_days == one.part().gap_days == 90
    assert (one.order[test].min() - one.order[train].max()) / np.timedelta64(1, "D") >= 90
    assert np.array_equal(test, without.folds[0][1])
    assert len(train) < len(without.folds[0][0])


@pytest.mark.parametrize("name", BASE_RATES)
def test_base_rate_is_that_of_the_known_bars(loaded, name):
    parts = list(loaded[name].parts())
    y = np.concatenate([part.y_test for part in parts])
    p = np.concatenate([np.full(len(part.y_test), part.y_train.mean()) for part in parts])
    assert log_loss(y, p) == pytest.approx(BASE_RATES[name], abs=0.0007)


def test_ibm_keeps_one_opportunity_on_one_side(public_data):
    everything, creation = load_set("ibm", public_data), load_set("ibm-creation", public_data)
    train, test = everything.folds[0]
    assert not set(everything.groups[train]) & set(everything.groups[test])
    assert pd.Series(everything.groups).duplicated().sum() == 196
    assert set(everything.X.columns) - set(creation.X.columns) == set(sets.IBM_PROCESS)
    # "None" is a kind of competitor and not a gap.
    assert (everything.X["Competitor Type"] == "None").sum() == 9257
    assert everything.y[test].mean() == pytest.approx(everything.y.mean(), abs=0.001)


def test_columns_are_numbers_or_text_and_tell_rows_apart(loaded):
    for one in loaded.values():
        part = one.part()
        assert {str(kind) for kind in part.X_train.dtypes} <= {"float64", "str"}
        assert list(part.X_train.columns) == list(part.X_test.columns)
        assert all(len(column.unique()) > 1 for _, column in part.X_train.items())


def test_a_constant_column_of_the_training_rows_is_left_out():
    one = _made()
    later = np.where(np.arange(len(one.y)) < 300, 1.0, 2.0)
    part = replace(one, X=one.X.assign(later=later)).part()
    assert list(part.X_train.columns) == list(part.X_test.columns) == ["number", "noise", "level"]


def test_missing_files_and_unknown_sets_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match="CRMLAB_DATASETS"):
        load_set("ficzon", tmp_path)
    with pytest.raises(DataError, match="no such set"):
        load_set("fizcon", tmp_path)


def test_shuffled_outcomes_are_the_same_ones_elsewhere():
    one = _made()
    by_lot = shuffled(one, seed=0)
    assert by_lot.y.sum() == one.y.sum()
    assert abs(np.corrcoef(by_lot.y, one.X["number"])[0, 1]) < 0.15 < np.corrcoef(one.y, one.X["number"])[0, 1]
    assert digest(by_lot) != digest(one) == digest(_made())


def test_every_way_can_be_found_by_its_name_and_version():
    assert set(PACKAGES) == set(WAYS) > PEERS
    assert [way for way in WAYS if way.startswith(OWN)] == ["crmlab"]
    assert all(callable(find_way(way)) for way in WAYS)


@pytest.mark.parametrize("way", [way for way in WAYS if way not in PEERS])
def test_ways_learn_from_few_rows(way):
    few = small_train()
    predict, _ = find_way(way)(few, 1.0, 0)
    unseen = few.X.assign(level="never seen", number=few.X["number"].where(few.X.index % 7 > 0))
    p = predict(unseen)
    assert p.shape == (len(few.X),)
    assert np.isfinite(p).all()
    assert 0 <= p.min() <= p.max() <= 1
    if way not in ("base rate", "Odoo's method"):
        assert np.corrcoef(p, few.X["number"])[0, 1] > 0.2


def test_the_files_of_a_task_hold_no_tested_outcome(tmp_path):
    part = _made().part()
    write_task(tmp_path, part)
    train = read_train(tmp_path)
    pd.testing.assert_frame_equal(train.X, part.X_train)
    pd.testing.assert_frame_equal(read_test(tmp_path), part.X_test)
    assert np.array_equal(train.y, part.y_train)
    assert np.array_equal(train.order, part.order_train)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.parquet", "train.npz", "train.parquet"]
    write_task(tmp_path, Part(part.X_train, part.y_train, None, part.groups_train, part.X_test, part.y_test, None))
    assert read_train(tmp_path).order is None


def test_figures_say_what_is_the_best_and_what_is_a_tie():
    one = _made(2000)
    y, number = one.y[one.tested], one.X["number"].to_numpy()[one.tested]
    good = 1 / (1 + np.exp(-2.0 * number))
    near = 1 / (1 + np.exp(-2.05 * number))
    runs = [_run("crmlab", near), _run("base rate", np.full(len(y), 0.5)), _run("good", good), _run("bad", 1 - good)]
    lines = {line["way"]: line for line in records.figures(one, runs, n_bootstrap=200, seed=0)}
    best = min(lines.values(), key=lambda line: line["log_loss"])["way"]
    assert {line["best"] for line in lines.values()} == {best} <= {"crmlab", "good"}
    assert lines["good"]["tied"]
    assert lines["crmlab"]["tied"]
    assert not lines["bad"]["tied"]
    assert not lines["base rate"]["tied"]
    for way, run in zip(lines, runs, strict=True):
        line = lines[way]
        assert line["log_loss"] == pytest.approx(log_loss(y, run.p), rel=1e-4)
        assert line["log_loss_low"] <= line["log_loss"] <= line["log_loss_high"]
    assert lines["crmlab"]["other"] == "good"
    assert lines["crmlab"]["from_other_low"] <= 0 <= lines["crmlab"]["from_other_high"]
    assert lines["crmlab"]["refused"] is False
    assert lines["base rate"]["ece_tied"] is False
    text = page.page(list(lines.values()), {})
    rows = {row.split("|")[1].strip(" *"): row for row in text.splitlines() if row.startswith("| ")}
    assert sum("*tie*" in row for row in rows.values()) == 1
    assert "*tie*" not in rows["bad"]
    assert f"| **{best}** |" in text


def test_what_a_known_difference_is_called():
    own = {"from_other": -0.01, "from_other_low": -0.02, "from_other_high": -0.001}
    assert page._verdict(own) == "**better**"
    assert page._verdict(own | {"from_other_high": 0.001}) == "tie, lower"
    assert page._verdict({"from_other": 0.01, "from_other_low": -0.02, "from_other_high": 0.03}) == "tie, higher"
    assert page._verdict({"from_other": 0.01, "from_other_low": 0.002, "from_other_high": 0.03}) == "behind"


def test_a_model_that_is_no_better_than_the_base_rate_is_refused():
    one = shuffled(_made(1000), seed=1)
    share = one.y[one.folds[0][0]].mean()
    p = np.full(len(one.tested), share)
    tests = records.null_test(one, [_run("crmlab", p), _run("base rate", p)], n_bootstrap=100, seed=0)
    assert [test["refused"] for test in tests] == [True]
    assert tests[0]["from_other"] == 0
    assert "in 1 of 1." in page.page([], {"null_tests": tests})


def test_a_later_run_renews_its_own_lines_and_leaves_the_others():
    def line(way: str, value: float, name: str = "made") -> dict[str, object]:
        return {"set": name, "way": way, "log_loss": value}

    old = [line("XGBoost (defaults)", 1), line("crmlab", 2), line("crmlab", 3, "other")]
    merged = records.merge(old, [line("crmlab", 4)])
    assert merged == [line("crmlab", 4), line("XGBoost (defaults)", 1), line("crmlab", 3, "other")]


def test_lines_of_an_earlier_run_are_not_called_ties():
    one = _made(600)
    p = np.clip(one.X["number"].to_numpy()[one.tested] / 6 + 0.5, 0.01, 0.99)
    old = records.figures(one, [_run("FLAML", p), _run("base rate", np.full(len(p), 0.5))], n_bootstrap=50, seed=0)
    sure = np.where(one.y[one.tested] == 1, 0.95, 0.05)
    new = records.figures(one, [_run("crmlab", sure), _run("base rate", np.full(len(p), 0.5))], n_bootstrap=50, seed=0)
    row = next(row for row in page.page(records.merge(old, new), {}).splitlines() if row.startswith("| FLAML"))
    assert "not compared in one run" in row


def test_a_small_set_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setitem(SETS, "made", lambda _folder: _made(600))
    monkeypatch.setattr(front, "PEERS_PYTHON", tmp_path / "nowhere")
    words = ["--sets", "made", "--ways", "base,logistic,LightGBM", "--resamples", "50", "--no-null"]
    words += ["--out", str(tmp_path / "out"), "--folder", str(tmp_path / "kept")]
    assert front.main(words) == 0
    lines = json.loads((tmp_path / "out" / "models.json").read_text("utf-8"))
    wanted = {"set", "protocol", "way", "log_loss", "log_loss_low", "log_loss_high", "roc_auc", "ece", "fit_cpu_s"}
    wanted |= {"predict_cpu_s", "n_test", "wall_s", "version"}
    assert [line["way"] for line in lines] == ["base rate", "logistic regression"]
    assert all(wanted <= set(line) for line in lines)
    assert lines[1]["log_loss"] < 0.6 < lines[0]["log_loss"]
    assert lines[1]["roc_auc"] > 0.75
    assert lines[1]["fit_cpu_s"] > 0
    about = json.loads((tmp_path / "out" / "models_machine.json").read_text("utf-8"))
    assert [(failure["way"], failure["set"]) for failure in about["not_finished"]] == [("LightGBM (defaults)", "made")]
    text = (tmp_path / "out" / "models.md").read_text("utf-8")
    assert "| LightGBM (defaults) | failed: there is no .venv-models" in text
    # A second call finds the results and measures nothing.
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*-*.npz")}
    assert len(kept) == 2
    assert front.main([*words, "--ways", "logistic"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*-*.npz")} == kept
    again = json.loads((tmp_path / "out" / "models.json").read_text("utf-8"))
    assert again == lines


def test_a_set_without_files_is_left_out_with_its_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CRMLAB_DATASETS", str(tmp_path))
    out = ["--out", str(tmp_path / "out"), "--folder", str(tmp_path / "kept")]
    assert front.main(["--sets", "ficzon,maven", *out]) == 0
    assert "ficzon is left out" in capsys.readouterr().out


def test_a_way_that_fails_or_takes_too_long_says_why(tmp_path):
    one = replace(_made(), y=np.zeros(400, dtype="int64"))
    common = {"folder": tmp_path, "budget_s": 1.0, "seed": 0}
    failed = next(iter(run_set(one, ["logistic regression"], limit_s=60, **common)))
    assert isinstance(failed, Failure)
    assert "ValueError" in failed.why
    late = next(iter(run_set(_made(), ["logistic regression"], limit_s=0.2, **common)))
    assert late == Failure("logistic regression", "stopped after 0 s")
    assert not list(tmp_path.rglob("draft-*"))


def test_a_null_test_that_fails_is_named():
    failed = {"set": "made, shuffled", "way": "crmlab", "why": "ValueError: a | b"}
    assert "crmlab on made, shuffled failed: ValueError: a / b." in page.page([], {"not_finished": [failed]})


def test_a_constant_has_no_rank_in_calibration():
    one = _made(600)
    share = np.full(len(one.tested), one.y[one.tested].mean())
    p = np.clip(share + one.X["number"].to_numpy()[one.tested] / 10, 0.01, 0.99)
    lines = records.figures(
        one, [_run("crmlab", share), _run("base rate", share), _run("p", p)], n_bootstrap=50, seed=0
    )
    assert [line["ece_ranked"] for line in lines] == [False, False, True]
    assert {line["ece_best"] for line in lines} == {"p"}
    assert "no rank: the base rate" in page.page(lines, {})
