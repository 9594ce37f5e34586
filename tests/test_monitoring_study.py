"""A look at a published model end to end on the small demo CRM: history, replay, nothing published, planted breaks."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from crmlab import monitoring, plots, sources
from crmlab.crm import Crm
from crmlab.features import build_features
from crmlab.gate import training_span
from crmlab.models import make_models
from crmlab.monitoring import GIVEN, REPLAY, RETRAIN, REVIEW, UNKNOWN, Monitor, RetrainRule, open_monitor
from crmlab.registry import Registry, save_model
from crmlab.scores import ScoreHistory, score_open
from crmlab.snapshots import Question, build_snapshots

AS_OF = "2025-01-06"
LEADS = Question("demo_small", "lead", "within_horizon", 90, "monthly")
RULE = RetrainRule(min_outcomes=10)


@pytest.fixture(scope="module")
def crm() -> Crm:
    return sources.open_crm("demo_small", as_of=AS_OF)


def publish(crm: Crm, question: Question, home: object, *, as_of: str) -> Registry:
    """Store a quick model as if it had passed the gate: what is tested here is what becomes of it."""
    span = {"label": "within_horizon", "as_of": as_of, "horizon_days": 90, "every": question.snapshots}
    rows = build_snapshots(crm, entity=question.entity, **span)
    rows = rows[rows["mature"]].reset_index(drop=True)
    X, y = build_features(crm, rows), rows["label"].astype(int).to_numpy()
    train = (rows["as_of"] < rows["as_of"].quantile(0.6) - pd.Timedelta(days=91)).to_numpy()
    make = make_models(X, seed=0)["logistic regression"]
    registry, every = Registry(question, home), np.ones(len(rows), bool)
    ids = {
        name: save_model(
            make().fit(X[part], y[part]),
            registry.models,
            meta={"question": question.slug, "role": name, "train": training_span(rows[part])},
        )
        for name, part in {"tested_id": train, "model_id": every}.items()
    }
    loss = {"log_loss": 0.4, "log_loss_low": 0.35, "log_loss_high": 0.45}
    kept = {"interval_id": "", "as_of": as_of, "published_as": "probability", "card": "none"}
    registry.log.append("publication", {**ids, **loss, **kept}, context={})
    return registry


def open_(crm: Crm, registry: Registry, history: ScoreHistory, *, as_of: str = AS_OF, **more) -> Monitor:
    setup = {"rule": RULE, "n_bootstrap": 40, "seed": 0, **more}
    return open_monitor(crm, registry.question, as_of=as_of, registry=registry, history=history, **setup)


@pytest.fixture(scope="module")
def young(crm: Crm, tmp_path_factory: pytest.TempPathFactory) -> Monitor:
    home = tmp_path_factory.mktemp("young")
    registry = publish(crm, LEADS, home, as_of=AS_OF)
    return open_(crm, registry, ScoreHistory(home / "h.duckdb"))


@pytest.fixture(scope="module")
def aged(crm: Crm, tmp_path_factory: pytest.TempPathFactory) -> Monitor:
    """Published in spring, scored on three dates of which two have settled, looked at in January."""
    home = tmp_path_factory.mktemp("aged")
    history = ScoreHistory(home / "h.duckdb")
    registry = publish(sources.open_crm("demo_small", as_of="2024-04-06"), LEADS, home, as_of="2024-04-06")
    for date in ("2024-04-06", "2024-07-06", "2024-12-06"):
        then = sources.open_crm("demo_small", as_of=date)
        assert score_open(then, LEADS, as_of=date, registry=registry, seed=0).append_to(history)
    return open_(crm, registry, history)


def test_a_young_history_is_replayed_and_says_so(young: Monitor):
    assert young.told.basis == REPLAY
    assert young.nothing_new
    trained = pd.Timestamp(young.scoring.published.tested_meta["train"]["to"])
    assert (young.told.rows["as_of"] > trained + pd.Timedelta(days=90)).all()
    assert "replay" in monitoring.basis_sentence(young)
    lines = young.rules.set_index("rule")["verdict"]
    assert (lines[["loss as promised", "calibration", "better than one number for all"]] == UNKNOWN).all()
    assert monitoring.monitor_tone(young) != "good"


def test_scores_given_are_settled_by_what_came_of_them(crm: Crm, aged: Monitor):
    given = aged.given
    assert given.basis == GIVEN
    assert aged.told is given
    dates = given.rows["as_of"].dt.strftime("%Y-%m-%d").value_counts()
    assert set(dates.index) == {"2024-04-06", "2024-07-06"}
    leads = crm["leads"].set_index("lead_id").loc[given.rows["entity_id"]]
    days = (leads["converted_at"].to_numpy() - given.rows["as_of"].to_numpy()) / np.timedelta64(1, "D")
    assert given.y.tolist() == ((days > 0) & (days <= 90)).astype(float).tolist()
    assert given.n_waiting > 0
    assert (given.rows["model_id"] == aged.scoring.published.model_id).all()
    assert "really given" in monitoring.basis_sentence(aged)


def test_scores_dated_after_the_look_do_not_count(aged: Monitor):
    history = ScoreHistory(aged.scoring.registry.folder.parent / "h.duckdb")
    then = sources.open_crm("demo_small", as_of="2024-10-06")
    found = monitoring.settled_scores(then, LEADS, history, as_of="2024-10-06")
    assert set(found.rows["as_of"].dt.strftime("%m-%d")) == {"04-06", "07-06"}
    assert found.n_waiting == 0


def test_the_rule_trains_an_old_model_again(aged: Monitor):
    lines = aged.rules.set_index("rule")
    assert lines.loc["age of the model", ["value", "verdict"]].tolist() == [275, RETRAIN]
    assert aged.verdict == RETRAIN
    assert "age of the model" in monitoring.monitor_sentence(aged)
    younger = replace(aged, rule=replace(RULE, update_days=400, review_days=200))
    assert younger.rules.set_index("rule").loc["age of the model", "verdict"] == REVIEW
    told = replace(aged, rule=replace(RULE, events=("2024-04-06", "2024-10-01")))
    line = told.rules.set_index("rule").loc["announced events"]
    assert line["value"] == 1  # what was announced before the model was published is in it
    assert line["verdict"] == RETRAIN


def test_scores_far_too_high_are_trained_again(aged: Monitor):
    wrong = aged.given.rows.assign(p=np.clip(aged.given.p + 0.5, 0, 0.99))
    broken = replace(aged, given=replace(aged.given, rows=wrong))
    lines = broken.rules.set_index("rule")["verdict"]
    assert (lines[["loss as promised", "calibration", "better than one number for all"]] == RETRAIN).all()
    assert monitoring.monitor_tone(broken) == "bad"
    assert "beyond chance" in monitoring.monitor_sentence(broken)


def test_a_single_look_counts_once_and_only_if_scored_soon(crm: Crm, tmp_path):
    question = replace(LEADS, snapshots="creation")
    history = ScoreHistory(tmp_path / "h.duckdb")
    leads = crm["leads"].sort_values("created_at").query("created_at > '2024-05-01'").head(4)
    looks = (leads["created_at"].dt.normalize() + pd.Timedelta(days=1)).to_numpy()
    first = pd.DataFrame({"entity": "lead", "entity_id": leads["lead_id"].to_numpy(), "as_of": looks, "p": 0.3})
    late = first.assign(as_of=np.where(np.arange(4) < 3, looks, looks - np.timedelta64(30, "D")))
    day = pd.Timestamp(looks.max()) + pd.Timedelta(days=1)
    for date in (day, day + pd.Timedelta(days=7)):
        history.append(late, question=question.slug, as_of=str(date)[:10], model_id="m", data_fingerprint="d")
    found = monitoring.settled_scores(crm, question, history, as_of=AS_OF)
    assert len(found.rows) == 3
    assert found.n_late == 1


def test_cases_gone_from_the_crm_are_counted(crm: Crm, tmp_path):
    history = ScoreHistory(tmp_path / "h.duckdb")
    day = pd.Timestamp("2024-05-06")
    row = pd.DataFrame({"entity": ["lead"], "entity_id": ["L-none"], "as_of": [day], "p": [0.2]})
    history.append(row, question=LEADS.slug, as_of="2024-05-06", model_id="m", data_fingerprint="d")
    found = monitoring.settled_scores(crm, LEADS, history, as_of=AS_OF)
    assert (len(found.rows), found.n_gone) == (0, 1)


def test_nothing_is_monitored_without_a_model(crm: Crm, tmp_path):
    monitor = open_(crm, Registry(LEADS, tmp_path), ScoreHistory(tmp_path / "h.duckdb"))
    assert monitor.rules.empty
    assert monitor.drift.empty
    assert monitor.keep().empty
    assert monitoring.monitor_sentence(monitor).startswith("Nothing to monitor yet: not enough evidence.")
    assert not monitor.paths
    show_everything(monitor)


def test_every_sentence_view_and_figure_of_a_look(young: Monitor, aged: Monitor):
    for monitor in (young, aged):
        show_everything(monitor)


def show_everything(monitor: Monitor) -> None:
    plain = ["basis", "challenger", "drift", "monitor", "rate", "records", "rule", "tier"]
    said = [getattr(monitoring, f"{name}_sentence")(monitor) for name in plain]
    said.append(monitoring.kpi_sentence(monitor, capacity=5))
    assert all(isinstance(text, str) and text.strip() for text in said)
    assert not any("nan" in text.lower().split() for text in said)
    views = [getattr(monitoring, f"{name}_view")(monitor) for name in ("rule", "tier", "month", "drift", "rate", "dry")]
    for view in (*views, monitoring.kpi_view(monitor, capacity=5)):
        assert set(monitoring.formats_of(view)) <= set(view)
    plots.plot_months(monitor.months)
    plots.plot_tiers(monitor.tiers)
    plt.close("all")


def test_bounds_changed_under_a_model_leave_a_trace(tmp_path, young: Monitor):
    registry, model = Registry(LEADS, tmp_path), "m"
    assert monitoring.write_rule(registry, RULE, model_id=model, as_of=AS_OF) == ()
    assert monitoring.write_rule(registry, replace(RULE, events=("2025-01-01",)), model_id=model, as_of=AS_OF) == ()
    changed = monitoring.write_rule(registry, replace(RULE, psi_bound=0.9), model_id=model, as_of=AS_OF)
    assert changed == ("psi_bound",)
    assert "psi bound" in monitoring.rule_sentence(replace(young, loosened=changed))


def test_a_look_is_kept_once(young: Monitor):
    first, again = young.keep(), young.keep()
    assert len(first) == len(again) == 1
    assert again.loc[0, ["as_of", "basis", "verdict"]].tolist() == [AS_OF, REPLAY, young.verdict]


def test_a_telephone_system_that_was_disconnected_is_seen(crm: Crm):
    calls = crm["interactions"]["type"].eq("call") & (crm["interactions"]["known_at"] >= "2024-12-09")
    broken = replace(crm, _read={**crm._read, "interactions": crm["interactions"][~calls]})
    found = monitoring.dried_up(broken, as_of=AS_OF).set_index("kind")
    assert found.loc["call", "alarm"]
    assert found.loc["call", "last_seen"] < pd.Timestamp("2024-12-09")
    assert not monitoring.dried_up(crm, as_of=AS_OF)["alarm"].any()


def test_a_challenger_that_had_to_learn_a_new_world_wins(aged: Monitor):
    """From April on the label is turned round: only newer rows can know."""
    rows = aged.scoring.reference_rows
    turned = (rows["as_of"] >= pd.Timestamp("2024-01-01")).to_numpy()
    label = rows["label"].astype("float64")
    broken = replace(aged.scoring, reference_rows=rows.assign(label=np.where(turned, 1 - label, label)))
    setup = {"min_outcomes": 10, "n_bootstrap": 40, "seed": 0}
    found = monitoring.challenge(broken, aged.twin, **setup)
    assert found.outcome == "newer is better"
    assert found.newer_to > found.trained_to
    assert found.tested_from >= found.newer_to + pd.Timedelta(days=90)
    assert monitoring.challenge(aged.scoring, aged.twin, **setup).outcome != "newer is better"


def test_too_few_outcomes_cannot_be_compared(aged: Monitor):
    found = monitoring.challenge(aged.scoring, aged.twin, min_outcomes=10_000, n_bootstrap=40, seed=0)
    assert found.outcome == "cannot be compared yet"
    assert "10000" in found.why


def test_a_capacity_is_scaled_to_a_sample(young: Monitor):
    assert young.sampled_share == 1.0
    half = replace(young.scoring, reference_rows=young.scoring.reference_rows.iloc[::2])
    assert replace(young, scoring=half).sampled_share == pytest.approx(0.5, abs=0.03)
