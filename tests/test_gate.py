"""The gate: what passes, what does not, and who would be seen cheating."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from crmlab import gate
from crmlab.calibration import ScoreInterval
from crmlab.leakage import LeakVerdict
from crmlab.metrics import calibration_error
from crmlab.models import make_models
from crmlab.registry import Registry
from crmlab.schema import NotEnoughEvidence, ParameterError, RunError
from crmlab.snapshots import Question
from crmlab.splits import Split

QUESTION = Question("demo", "lead", "within_horizon", 90, "creation")
CLEAN = LeakVerdict(True, True, (), (), (), 1000)
BOUNDS = gate.Thresholds(floors=("base rate", "source table"), n_bootstrap=100)
CONTEXT = {"code_version": "abc123", "fingerprint": "f00d"}
N, N_TEST = 2000, 600


@pytest.fixture
def registry(tmp_path) -> Registry:
    return Registry(QUESTION, tmp_path)


def window(start: str = "2024-03-01", end: str = "2024-06-01", rows: int = N_TEST, **kwargs) -> gate.TestWindow:
    facts = {"as_of": "2024-09-01", "rows_digest": f"{start} {end}"} | kwargs
    return gate.TestWindow(test_start=start, test_end=end, n_rows=rows, **facts)


def opened(registry, bounds=BOUNDS, **kwargs) -> gate.OpenedWindow:
    return gate.open_window(registry, thresholds=bounds, window=window(**kwargs), context=CONTEXT)


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    """Rows with a strong signal in x0; p is the true probability."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(N, 5))
    p = 1 / (1 + np.exp(1.0 - 1.5 * x[:, 0]))
    frame = pd.DataFrame(x, columns=[f"x{k}" for k in range(5)])
    return frame.assign(p=p, y=(generator.random(N) < p).astype(int), source=generator.choice(list("abc"), N))


def measured(truth: pd.DataFrame, *, p: np.ndarray | None = None, y: np.ndarray | None = None) -> dict:
    """Arguments of `judge` for probabilities of the newest rows; the true ones unless told."""
    y = truth["y"].to_numpy() if y is None else y
    train, test = np.arange(N - N_TEST), np.arange(N - N_TEST, N)
    table = make_models(truth, seed=0)["source table"]().fit(truth.iloc[train][["source"]], y[train])
    predictions = {
        "base rate": np.full(N_TEST, y[train].mean()),
        "source table": table.predict_proba(truth.iloc[test][["source"]])[:, 1],
        "model": truth["p"].to_numpy()[test] if p is None else p,
    }
    sides = {"y": y[test], "groups": test, "y_train": y[train], "groups_train": train}
    return {**sides, "predictions": predictions, "chosen": "model", "leaks": CLEAN, "seed": 5}


def failed(verdict: gate.Verdict) -> list[str]:
    return verdict.checks.loc[verdict.checks["passed"].eq(False), "check"].to_list()


# -- what passes and what does not


def test_a_strong_signal_passes(registry, truth):
    verdict = gate.judge(opened(registry), **measured(truth))
    assert verdict.passed, verdict.reasons
    assert verdict.outcome == "passed"
    assert verdict.published_as == "probability"
    assert set(verdict.checks["check"]) == {
        "enough outcomes to train on",
        "enough outcomes to test on",
        "a learned model was chosen",
        "log loss below base rate",
        "log loss below source table",
        "calibration error",
        "no leak flagged",
        "not worse than the best ever",
        "thresholds untouched",
    }
    difference = verdict.checks.set_index("check").loc["log loss below base rate"]
    assert difference["low"] < difference["value"] < difference["high"] < 0


def test_shuffled_labels_fail_at_least_95_times_in_100(registry, truth):
    X, generator, at = truth[[f"x{k}" for k in range(5)]].to_numpy(), np.random.default_rng(11), opened(registry)
    passed = 0
    for _ in range(100):
        y = generator.permutation(truth["y"].to_numpy())
        model = LogisticRegression(C=0.1).fit(X[: N - N_TEST], y[: N - N_TEST])
        p = model.predict_proba(X[N - N_TEST :])[:, 1]
        passed += gate.judge(at, **measured(truth, p=p, y=y)).passed
    assert passed <= 5


def test_without_an_overfitted_model_the_error_is_still_small(registry, truth):
    """The hardest null: slopes drawn by lot, so small that nothing is lost by them."""
    X, generator, at = truth[[f"x{k}" for k in range(5)]].to_numpy(), np.random.default_rng(12), opened(registry)
    passed = 0
    for _ in range(100):
        y = generator.permutation(truth["y"].to_numpy())
        base = y[: N - N_TEST].mean()
        p = 1 / (1 + np.exp(-np.log(base / (1 - base)) - X[N - N_TEST :] @ generator.normal(0, 0.02, 5)))
        passed += gate.judge(at, **measured(truth, p=p, y=y)).passed
    assert passed <= 8  # 2.5 in the mean; 9 or more would come once in 1,000


@pytest.mark.parametrize("side", ["y", "y_train"])
def test_one_class_is_not_enough_evidence(registry, truth, side):
    evidence = measured(truth)
    with pytest.raises(NotEnoughEvidence, match="only one kind of outcome"):
        gate.judge(opened(registry), **evidence | {side: np.zeros_like(evidence[side])})


def test_every_floor_has_to_be_beaten(registry, truth):
    evidence = measured(truth)
    evidence["predictions"]["source table"] = evidence["predictions"]["model"]
    verdict = gate.judge(opened(registry), **evidence)
    assert failed(verdict) == ["log loss below source table"]
    assert verdict.outcome == "not enough evidence"
    assert "not help" in verdict.missing[0]


def test_a_floor_named_but_not_measured_fails(registry, truth):
    bounds = replace(BOUNDS, floors=("base rate", "Odoo"))
    assert failed(gate.judge(opened(registry, bounds), **measured(truth))) == ["log loss below Odoo"]
    told = gate.judge(opened(registry, bounds), **measured(truth), unavailable={"Odoo": "it has no stages"})
    assert told.passed
    assert "it has no stages" in told.table().set_index("check").loc["log loss below Odoo", "found"]


def test_a_floor_that_was_measured_counts_whatever_is_said(registry, truth):
    evidence = measured(truth)
    evidence["predictions"]["source table"] = evidence["predictions"]["model"]
    verdict = gate.judge(opened(registry), **evidence, unavailable={"source table": "we would rather not"})
    assert failed(verdict) == ["log loss below source table"]


def test_a_floor_is_no_learned_model(registry, truth):
    verdict = gate.judge(opened(registry), **measured(truth) | {"chosen": "source table"})
    assert "a learned model was chosen" in failed(verdict)
    assert not verdict.passed


@pytest.mark.parametrize(("kept", "passed"), [(40, True), (39, False)])
def test_entities_are_counted_not_rows(registry, truth, kept, passed):
    evidence = measured(truth)
    won = evidence["y"] == 1
    # All rows with the outcome belong to `kept` entities, all others to one each.
    evidence["groups"] = np.where(won, np.arange(N_TEST) % kept, 1000 + np.arange(N_TEST))
    verdict = gate.judge(opened(registry), **evidence)
    line = verdict.checks.set_index("check").loc["enough outcomes to test on"]
    assert (line["value"], line["passed"]) == (kept, passed)
    if not passed:
        assert "1 more entities with the outcome" in line["missing"]


def test_an_entity_that_had_the_outcome_once_is_none_without_it():
    y, groups = np.array([0, 0, 1, 0, 0]), np.array(["a", "a", "a", "b", "b"])
    assert gate.outcome_counts(y, groups) == (1, 1)
    assert gate.outcome_counts(y, groups, groups == "b") == (0, 1)


def test_only_entities_with_a_history_count_where_there_is_one(registry, truth):
    counted = np.zeros(N_TEST, dtype=bool)
    counted[:50] = True
    verdict = gate.judge(opened(registry), **measured(truth), counted=counted)
    assert failed(verdict) == ["enough outcomes to test on"]
    assert "at least 2 stages noted while open" in verdict.reasons[0]


def test_a_model_out_of_calibration_fails(registry, truth):
    odds = np.log(truth["p"] / (1 - truth["p"])).to_numpy()[-N_TEST:]
    verdict = gate.judge(opened(registry), **measured(truth, p=1 / (1 + np.exp(-odds - 0.6))))
    assert failed(verdict) == ["calibration error"]


def test_chance_alone_is_no_error_of_calibration():
    generator = np.random.default_rng(0)
    p = generator.uniform(0.1, 0.5, (50, 300))
    y = (generator.random(p.shape) < p).astype(float)
    found = [gate.calibration_error_beyond_chance(a, b, np.arange(300)) for a, b in zip(y, p, strict=True)]
    plain = [calibration_error(a, b) for a, b in zip(y, p, strict=True)]
    assert np.mean(plain) > BOUNDS.max_calibration_error  # a perfect model would be refused
    assert np.mean(found) < 0.5 * np.mean(plain)
    off = [gate.calibration_error_beyond_chance(a, b + 0.15, np.arange(300)) for a, b in zip(y, p, strict=True)]
    assert np.median(off) == pytest.approx(0.15, abs=0.03)


def test_a_perfect_model_is_not_refused_for_few_rows(registry, truth):
    evidence = measured(truth)
    few = slice(0, 200)
    for name in ("y", "groups"):
        evidence[name] = evidence[name][few]
    evidence["predictions"] = {k: v[few] for k, v in evidence["predictions"].items()}
    verdict = gate.judge(opened(registry, rows=200), **evidence)
    line = verdict.checks.set_index("check").loc["calibration error"]
    assert line["value"] > BOUNDS.max_calibration_error
    assert line["passed"] is True


def test_rows_of_one_entity_are_not_taken_for_many():
    """Ten equal rows an entity: the square without its variance is 0 in the mean only when clusters are known."""
    generator = np.random.default_rng(3)
    squares = {"clusters": [], "rows": []}
    for _ in range(60):
        p = np.repeat(generator.uniform(0.2, 0.4, 80), 10)
        y = np.repeat((generator.random(80) < p[::10]).astype(float), 10)
        squares["clusters"].append(gate.calibration_error_beyond_chance(y, p, np.repeat(np.arange(80), 10)) ** 2)
        squares["rows"].append(gate.calibration_error_beyond_chance(y, p, np.arange(800)) ** 2)
    assert np.mean(squares["clusters"]) < 0.5 * np.mean(squares["rows"])


def test_leaks_stop_and_so_does_not_looking(registry, truth):
    flagged = LeakVerdict(False, True, ("closing_call",), (), ("it knows",), 1000)
    for leaks, words in ((flagged, "closing_call"), (None, "Not checked")):
        verdict = gate.judge(opened(registry), **measured(truth) | {"leaks": leaks})
        assert failed(verdict) == ["no leak flagged"]
        assert words in verdict.reasons[0]


def test_a_final_status_passes_with_a_reservation_at_most(registry, truth):
    verdict = gate.judge(opened(registry), **measured(truth), label="final_status")
    assert (verdict.passed, verdict.outcome) == (True, "passed with reservation")
    assert verdict.published_as == "final status, an upper bound"


def test_rows_drawn_by_lot_do_not_count_unless_that_was_written_down(registry, truth):
    by_lot = window(split="random", rows_digest="lot")
    for bounds, passed in ((BOUNDS, False), (replace(BOUNDS, out_of_time=False), True)):
        at = gate.open_window(registry, thresholds=bounds, window=by_lot, context=CONTEXT)
        verdict = gate.judge(at, **measured(truth))
        assert verdict.passed is passed
        assert verdict.reservations == ("Tested on rows drawn by lot, not on newer ones.",)


def test_what_is_missing_is_said_in_cases(registry, truth):
    """A small lead on few rows: the same lead on as many more cases as are asked for stands clear of 0."""
    odds = np.log(truth["p"] / (1 - truth["p"])).to_numpy()[-N_TEST:]
    noise = np.random.default_rng(4).normal(0, 0.2, N_TEST)
    p = 1 / (1 + np.exp(-(np.log(0.33 / 0.67) + 0.02 * odds + noise)))
    evidence = measured(truth, p=p)
    few = slice(0, 200)
    for name in ("y", "groups"):
        evidence[name] = evidence[name][few]
    evidence["predictions"] = {k: v[few] for k, v in evidence["predictions"].items()}
    verdict = gate.judge(opened(registry, replace(BOUNDS, floors=("base rate",)), rows=200), **evidence)
    line = verdict.checks.set_index("check").loc["log loss below base rate"]
    assert line["value"] < 0 < line["high"]
    assert line["passed"] is False  # a lead that may be chance is none
    error = (line["high"] - line["low"]) / 3.92
    having = evidence["y"].sum()
    more = int(line["missing"].split()[1].replace(",", ""))
    assert line["value"] + 1.96 * error * np.sqrt(having / (having + more)) == pytest.approx(0, abs=1e-4)


def test_wrong_sizes_and_missing_models_are_refused(registry, truth):
    evidence = measured(truth)
    with pytest.raises(ParameterError, match="rows of the opened window"):
        gate.judge(opened(registry, rows=599), **evidence)
    with pytest.raises(ParameterError, match="none of other"):
        gate.judge(opened(registry), **evidence | {"chosen": "other"})
    evidence["predictions"]["model"] = np.full(N_TEST, np.nan)
    with pytest.raises(ParameterError, match="wrong: model"):
        gate.judge(opened(registry), **evidence)


@pytest.mark.parametrize(
    "wrong",
    [{"floors": ()}, {"min_outcomes": 0}, {"max_calibration_error": 2.0}, {"n_bootstrap": 5}, {"min_history_rows": -1}],
)
def test_impossible_thresholds_are_refused(wrong):
    with pytest.raises(ParameterError):
        gate.Thresholds(**wrong)


def test_the_window_is_known_by_its_rows_not_by_their_order():
    rows = pd.DataFrame({"lead_id": list("abcd"), "as_of": pd.date_range("2024-01-01", periods=4)})
    split = Split("temporal", np.array([0]), np.array([2, 3]), pd.Timestamp("2024-01-03"), 1)
    found = gate.TestWindow.of(rows, split, as_of="2024-02-01")
    assert (found.test_start, found.test_end, found.n_rows) == ("2024-01-03", "2024-01-04", 2)
    turned = gate.TestWindow.of(rows, replace(split, test=np.array([3, 2])), as_of="2024-02-01")
    assert turned == found
    other = gate.TestWindow.of(rows, replace(split, test=np.array([1, 3])), as_of="2024-02-01")
    assert other.rows_digest != found.rows_digest
    undated = gate.TestWindow.of(rows.assign(as_of=pd.NaT), split, as_of="2024-02-01")
    assert (undated.test_start, undated.test_end) == ("", "")


# -- thresholds stay as they were written down


def test_thresholds_are_written_before_anything_is_measured(registry):
    first, again = opened(registry), opened(registry)
    assert first.number == again.number == 1
    entry = registry.log.entries()[0]
    assert entry.content["thresholds"]["max_calibration_error"] == 0.05
    assert entry.context == CONTEXT


def loose(registry, truth, **changes) -> gate.Verdict:
    """Judge and note a verdict, then open the same window with other thresholds and judge again."""
    gate.record_verdict(registry, gate.judge(opened(registry), **measured(truth)), context=CONTEXT)
    return gate.judge(opened(registry, replace(BOUNDS, **changes)), **measured(truth))


@pytest.mark.parametrize(
    "changes",
    [{"max_calibration_error": 0.2}, {"max_calibration_error": 0.04}, {"floors": ("base rate",)}, {"n_bootstrap": 101}],
)
def test_thresholds_changed_after_the_verdict_fail_and_both_are_seen(registry, truth, changes):
    verdict = loose(registry, truth, **changes)
    assert failed(verdict) == ["thresholds untouched"]
    assert next(iter(changes)) in verdict.reasons[0]
    assert len(registry.log.entries("thresholds")) == 2
    gate.record_verdict(registry, verdict, context=CONTEXT)
    assert [e.content["tampered"] for e in registry.log.entries("verdict")] == [False, True]
    with pytest.raises(RunError, match="Only a model that passed"):
        gate.publish(registry, verdict=verdict, **models(truth))


def test_more_floors_to_beat_are_no_change_of_thresholds(registry, truth):
    """A column that is mapped later brings a floor of its own; nothing became easier."""
    fewer = replace(BOUNDS, floors=BOUNDS.floors[:1])
    gate.record_verdict(registry, gate.judge(opened(registry, fewer), **measured(truth)), context=CONTEXT)
    verdict = gate.judge(opened(registry), **measured(truth))
    assert verdict.passed
    assert "There are more floors to beat than in entry 1" in verdict.table()["found"].iloc[-1]
    eased = replace(BOUNDS, max_calibration_error=0.2)
    assert failed(gate.judge(opened(registry, eased), **measured(truth))) == ["thresholds untouched"]


def test_the_first_thresholds_still_count_after_an_attempt(registry, truth):
    gate.record_verdict(registry, loose(registry, truth, max_calibration_error=0.2), context=CONTEXT)
    assert gate.judge(opened(registry), **measured(truth)).passed


def test_thresholds_without_a_verdict_may_change_and_it_is_told(registry, truth):
    opened(registry)
    verdict = gate.judge(opened(registry, replace(BOUNDS, max_calibration_error=0.04)), **measured(truth))
    assert verdict.passed
    assert "Other thresholds stand in the log" in verdict.table()["found"].iloc[-1]


@pytest.mark.parametrize(
    ("changes", "start", "tampered"),
    [
        ({"max_calibration_error": 0.2}, "2024-03-08", True),
        ({"max_calibration_error": 0.2}, "2024-06-02", False),
        ({"max_calibration_error": 0.03}, "2024-03-08", False),
        ({"floors": ("base rate",)}, "2024-03-08", True),
        ({"non_inferiority_margin": 0.02}, "2024-03-08", True),
        ({"min_outcomes": 39}, "2024-03-08", True),
        ({"out_of_time": False}, "2024-03-08", True),
    ],
)
def test_a_day_later_nothing_may_be_easier(registry, truth, changes, start, tampered):
    """A window moved by a week has rows that were looked at; one after the last row has none."""
    gate.record_verdict(registry, gate.judge(opened(registry), **measured(truth)), context=CONTEXT)
    later = opened(registry, replace(BOUNDS, **changes), start=start, end="2024-08-01")
    assert later.tampered is tampered


def test_an_attempt_binds_nobody_on_later_windows(registry, truth):
    """Stricter thresholds that came too late are no verdict that later ones would have to keep to."""
    gate.record_verdict(registry, loose(registry, truth, max_calibration_error=0.01), context=CONTEXT)
    assert not opened(registry, start="2024-03-08", end="2024-08-01").tampered


def test_an_edited_log_stops_everything(registry, truth):
    gate.record_verdict(registry, gate.judge(opened(registry), **measured(truth)), context=CONTEXT)
    text = registry.log.path.read_text()
    registry.log.path.write_text(text.replace('"max_calibration_error": 0.05', '"max_calibration_error": 0.5', 1))
    for use in (lambda: opened(registry), lambda: gate.require_published(registry), registry.history):
        with pytest.raises(RunError, match="broken at line 1:"):
            use()


def test_a_verdict_of_another_log_is_refused(registry, truth, tmp_path):
    other = Registry(QUESTION, tmp_path / "other")
    verdict = gate.judge(opened(other), **measured(truth))
    with pytest.raises(RunError, match="does not hold the thresholds"):
        gate.record_verdict(registry, verdict, context=CONTEXT)


def test_looks_at_the_same_rows_are_counted(registry, truth):
    for noise in (0.0, 0.001, 0.002):
        p = np.clip(truth["p"].to_numpy()[-N_TEST:] + noise, 0.001, 0.999)
        verdict = gate.judge(opened(registry), **measured(truth, p=p))
        gate.record_verdict(registry, verdict, context=CONTEXT)
    assert verdict.looks == 2
    assert "judged 2 times before" in gate.verdict_sentence(verdict)


# -- publication


def models(truth: pd.DataFrame) -> dict:
    """Arguments of `publish` beside the verdict."""
    X, y = truth[["x0", "x1"]], truth["y"].to_numpy()
    tested = make_models(X, seed=0)["logistic regression"]().fit(X[: N - N_TEST], y[: N - N_TEST])
    refit = make_models(X, seed=0)["logistic regression"]().fit(X, y)
    return {
        "model_tested": tested,
        "model_refit": refit,
        "card": gate.ModelCard({"model": "A model"}),
        "meta": {"as_of": "2024-09-01", "fingerprint": "f00d"},
        "trained_tested": {"from": "2023-01-01", "to": "2023-11-30", "rows": N - N_TEST},
        "trained_refit": {"from": "2023-01-01", "to": "2024-06-01", "rows": N},
        "context": CONTEXT,
    }


def test_scores_before_the_gate_are_refused_with_the_reasons(registry, truth):
    with pytest.raises(NotEnoughEvidence, match="before a model has passed the gate"):
        gate.require_published(registry)
    verdict = gate.judge(opened(registry), **measured(truth) | {"leaks": None})
    gate.record_verdict(registry, verdict, context=CONTEXT)
    with pytest.raises(NotEnoughEvidence, match="Not checked") as refused:
        gate.require_published(registry)
    assert "leak checks" in refused.value.remedy


def test_what_passed_is_published_once_and_comes_back(registry, truth):
    verdict = gate.judge(opened(registry), **measured(truth))
    interval = ScoreInterval().fit(truth["p"].to_numpy(), truth["y"].to_numpy())
    parts = models(truth)
    first = gate.publish(registry, verdict=verdict, interval=interval, **parts)
    again = gate.publish(registry, verdict=verdict, interval=interval, **parts)
    assert first == again == gate.require_published(registry) == registry.published()
    assert [e.kind for e in registry.log.entries()] == ["thresholds", "verdict", "publication"]
    X = truth[["x0", "x1"]]
    assert np.array_equal(first.load().predict_proba(X), parts["model_refit"].predict_proba(X))
    assert np.array_equal(first.load_tested().predict_proba(X), parts["model_tested"].predict_proba(X))
    assert np.array_equal(registry.tested(first.model_id).predict_proba(X), parts["model_tested"].predict_proba(X))
    p = np.linspace(0.05, 0.95, 9)
    assert np.array_equal(np.column_stack(first.load_interval().interval(p)), np.column_stack(interval.interval(p)))
    assert first.meta["train"]["to"] == "2024-06-01"
    assert first.card.read_text().startswith("# A model")
    assert registry.history()["outcome"].to_list() == ["opened", "passed", "published"]


def test_only_models_of_that_day_count_on_a_day(registry, truth):
    verdict = gate.judge(opened(registry), **measured(truth))
    gate.publish(registry, verdict=verdict, **models(truth))
    assert registry.published(as_of="2024-08-31") is None
    assert registry.published(as_of="2024-09-01") is not None
    with pytest.raises(NotEnoughEvidence):
        gate.require_published(registry, as_of="2024-08-31")


def test_an_older_model_published_again_counts_again_and_none_is_lost(registry, truth):
    verdict, parts = gate.judge(opened(registry), **measured(truth)), models(truth)
    first = gate.publish(registry, verdict=verdict, **parts)
    second = gate.publish(registry, verdict=verdict, **parts | {"model_refit": parts["model_tested"]})
    assert registry.published() == second != first
    third = gate.publish(registry, verdict=verdict, **parts)
    assert (third.model_id, third.number) == (first.model_id, second.number + 1)
    assert len(registry.publications()) == 3


# -- champion and challenger


def champion(truth: pd.DataFrame, weight: float, *, fair: np.ndarray | None = None) -> gate.ChampionTest:
    """A model between the base rate (0) and the truth (1)."""
    odds = np.log(truth["p"] / (1 - truth["p"])).to_numpy()[-N_TEST:]
    p = 1 / (1 + np.exp(-(weight * odds - (1 - weight) * 0.6)))
    return gate.ChampionTest(f"w{weight}", p, np.ones(N_TEST, dtype=bool) if fair is None else fair)


def test_better_than_the_current_but_worse_than_the_best_ever_is_refused(registry, truth):
    best, current, challenger = (champion(truth, w) for w in (1.0, 0.4, 0.7))
    evidence = measured(truth, p=challenger.p)
    bounds = replace(BOUNDS, max_calibration_error=0.2)
    verdict = gate.judge(opened(registry, bounds), **evidence, champions=[best, current])
    assert failed(verdict) == ["not worse than the best ever"]
    assert "against w1.0" in verdict.reasons[0]
    assert gate.judge(opened(registry, bounds), **evidence, champions=[current]).passed


def test_a_model_is_not_worse_than_itself(registry, truth):
    assert gate.judge(opened(registry), **measured(truth), champions=[champion(truth, 1.0)]).passed


def test_too_few_common_rows_are_said_not_failed(registry, truth):
    fair = np.arange(N_TEST) < 60
    verdict = gate.judge(opened(registry), **measured(truth, p=None), champions=[champion(truth, 1.0, fair=fair)])
    assert verdict.passed
    line = verdict.table().set_index("check").loc["not worse than the best ever"]
    assert line["passed"] == "–"
    assert "too few test rows are newer" in line["found"]


def test_earlier_models_are_tested_on_rows_they_have_not_seen(registry, truth):
    published = gate.publish(registry, verdict=gate.judge(opened(registry), **measured(truth)), **models(truth))
    X = truth[["x0", "x1"]].tail(N_TEST).reset_index(drop=True)
    order = pd.date_range("2023-11-01", periods=N_TEST).to_numpy()
    [found] = gate.champion_tests(registry, X, order=order, gap_days=90)
    assert found.model_id == published.model_id
    assert order[found.fair].min() == np.datetime64("2024-02-28")  # training ended on 2023-11-30
    assert np.isnan(found.p[~found.fair]).all()
    assert np.array_equal(found.p[found.fair], published.load_tested().predict_proba(X[found.fair])[:, 1])


def test_an_earlier_model_that_cannot_be_read_is_told(registry, truth):
    published = gate.publish(registry, verdict=gate.judge(opened(registry), **measured(truth)), **models(truth))
    (registry.models / published.tested_id / "model.skops").unlink()
    X = truth[["x0", "x1"]].tail(N_TEST).reset_index(drop=True)
    tests = gate.champion_tests(registry, X, order=pd.date_range("2024-06-01", periods=N_TEST).to_numpy(), gap_days=90)
    verdict = gate.judge(opened(registry), **measured(truth), champions=tests)
    assert verdict.passed
    assert "missing" in verdict.table()["found"].iloc[-2]


# -- the card


def card(verdict: gate.Verdict, **kwargs) -> gate.ModelCard:
    facts = {"data": {"source": "demo", "fingerprint": "0049123456789abc"}, "versions": {"crmlab": "0.1.0"}}
    trained = {"from": "2023-01-01", "to": "2023-11-30", "rows": 1400}
    return gate.model_card(
        question=QUESTION, verdict=verdict, model=LogisticRegression(), trained=trained, leaks=CLEAN, **facts | kwargs
    )


def test_the_card_says_what_was_tested_and_what_it_is_not_for(registry, truth):
    verdict = gate.judge(opened(registry), **measured(truth))
    found = card(verdict)
    text = found.markdown()
    for part in ("conversion within 90 days", "Must not be used for", "Rating, paying or dismissing", "2023-11-30"):
        assert part in text
    assert found.facts["thresholds"]["min_outcomes"] == 40
    assert found.facts["data"]["fingerprint"] == "0049123456789abc"
    figures = pd.DataFrame(found.facts["figures"])
    loss = figures[figures["model"].eq("model") & figures["metric"].eq("log loss")].iloc[0]
    assert loss["low"] < loss["value"] < loss["high"]
    assert set(figures["model"]) == {"model", "base rate", "source table"}
    assert json.loads(found.json())["verdict"] == "passed"
    refused = card(gate.judge(opened(registry), **measured(truth) | {"leaks": None}))
    assert refused.facts["may_be_taken_for"].startswith("nothing")


def test_the_card_holds_no_people_and_no_markup(registry, truth):
    slices = pd.DataFrame(
        {
            "column": ["source", "source", "owner_id"],
            "level": ["<script>alert(1)</script>", "ada@firma.example | x", "U17"],
            "n": [10, 20, 30],
        }
    )
    found = card(gate.judge(opened(registry), **measured(truth)), slices=slices)
    for text in (found.markdown(), found.json()):
        assert "ada@firma.example" not in text
        assert "U17" not in text
    assert "<script>" not in found.markdown()
    assert [row["n"] for row in found.facts["slices"]] == [10, 20]


def test_the_sentence_says_the_verdict(registry, truth):
    good = gate.judge(opened(registry), **measured(truth))
    assert "passed the gate and may be published as probability" in gate.verdict_sentence(good)
    bad = gate.judge(opened(registry), **measured(truth) | {"leaks": None})
    assert gate.verdict_sentence(bad).startswith("Not enough evidence to publish model")
    assert "Needed: the leak checks" in gate.verdict_sentence(bad)
