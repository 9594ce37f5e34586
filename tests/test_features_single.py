"""One entity's features from plain records have the bits of the batch."""

import datetime as dt
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from crmlab import demo
from crmlab.crm import Crm
from crmlab.features import WINDOWS, Feature, build_features, declared, feature_catalog, plan_features
from crmlab.features.build import Study
from crmlab.features.events import encode_events, read_vocabulary
from crmlab.features.fields import own_table
from crmlab.features.kernel import MISSING
from crmlab.features.partition import Rows, compute_partition
from crmlab.features.plan import plan_view
from crmlab.features.single import LiveFeatures, instant
from crmlab.features.stream import stream_features
from crmlab.schema import ENTITY_KEYS, DataError, ParameterError
from crmlab.snapshots import build_snapshots
from crmlab.store import Store

cases = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("log_cases.py"))))


def bits(value):
    return np.float64(value).tobytes() if isinstance(value, float) else value


@pytest.mark.parametrize("seed", range(2))
def test_every_row_has_the_bits_of_the_batch(seed):
    log, rows, leads = cases.make_log(seed), cases.make_rows(seed), cases.make_leads()
    batch = stream_features(log, rows, features=cases.FEATURES, entities=leads, windows=cases.WINDOWS, in_memory=True)
    live = LiveFeatures([batch.plan], cases.FEATURES)
    records = [e for e in log.to_pylist() if e["lead_id"] is not None]
    since = dict(zip(leads["lead_id"].to_pylist(), leads["created_at"].to_pylist(), strict=True))
    for row in batch.table.to_pylist():
        lead, as_of = row.pop("lead_id"), row.pop("as_of")
        own = [e for e in records if e["lead_id"] == lead]
        found = live.features({"interactions": own}, as_of=as_of, since=since[lead])
        assert {k: bits(v) for k, v in found.items()} == {k: bits(v) for k, v in row.items()}
        assert list(found) == list(row)
        assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in row.items()}


CHANGES = (
    Feature("stage", "changes", "last recency", of="value", where={"field": "stage"}),
    Feature("close", "changes", "until", of="time", where={"field": "expected_close_at"}),
    Feature("amount", "changes", "last", of="number", where={"field": "amount"}),
)


def changes() -> pd.DataFrame:
    day = pd.Timestamp("2024-03-04").as_unit("us")
    return pd.DataFrame(
        {
            "opportunity_id": "O1",
            "ts": pd.Series([day, day, day + pd.Timedelta(days=1), day, day]).astype("datetime64[us]"),
            "field": ["stage", "stage", "stage", "amount", "expected_close_at"],
            "move": ["first", "forward", "back", "first", "first"],
            "value": ["New", "Proposal", None, "5.5", "2024-05-01"],
            "number": [np.nan, np.nan, np.nan, 5.5, np.nan],
            "time": pd.Series([pd.NaT] * 4 + [pd.Timestamp("2024-05-01")]).astype("datetime64[us]"),
        }
    )


def test_shown_values_and_words_are_those_of_the_batch():
    frame = changes()
    vocabulary = read_vocabulary("changes", list(CHANGES), frame, "opportunity_id")
    plan = plan_view("changes", "opportunity", CHANGES, vocabulary, windows=(7,))
    as_of = dt.datetime(2024, 3, 6)
    rows = Rows(np.array([0, 1]), np.array([instant(as_of)]), np.array([MISSING]))
    batch = compute_partition([plan], rows, {"changes": encode_events(plan, frame, pd.Index(["O1"]), "opportunity_id")})
    found = LiveFeatures([plan]).features({"changes": frame.to_dict("records")}, as_of=as_of)
    assert batch["stage"][0] == -1  # it was emptied
    assert found["stage"] is None
    before = LiveFeatures([plan]).features({"changes": frame.to_dict("records")}, as_of=dt.datetime(2024, 3, 5))
    assert before["stage"] == "Proposal"
    assert found["amount"] == batch["amount"][0] == 5.5
    assert found["close_days"] == batch["close_days"][0] == 56.0
    assert LiveFeatures([plan]).features({}, as_of=as_of)["stage"] is None


def test_a_stage_that_nobody_had_seen_is_not_the_one_before_it():
    frame = changes()
    vocabulary = read_vocabulary("changes", list(CHANGES), frame, "opportunity_id")
    live = LiveFeatures([plan_view("changes", "opportunity", CHANGES, vocabulary, windows=(7,))])
    new = [*frame.iloc[:2].to_dict("records"), frame.iloc[2].to_dict() | {"value": "Renamed"}]
    assert live.features({"changes": new}, as_of=dt.datetime(2024, 3, 6))["stage"] is None


@pytest.fixture(scope="module")
def crm(tmp_path_factory) -> Crm:
    store = Store(tmp_path_factory.mktemp("live") / "demo.duckdb")
    store.load(demo.iter_crm(n_leads=250, seed=3), fingerprint="live")
    return Crm(store, "demo")


@pytest.mark.parametrize("entity", ["lead", "opportunity", "account", "rep"])
def test_every_declared_feature_live_has_the_bits_of_the_notebook(crm, entity):
    """What is made of events is computed live; the rest comes as context, and formulas use both."""
    every = {"lead": "weekly", "opportunity": "weekly"}.get(entity, "monthly")
    question = dict(label="within_horizon", as_of="2025-01-06", horizon_days=90, every=every)
    rows = build_snapshots(crm, entity=entity, **question).sample(25, random_state=0)
    batch, declarations = build_features(crm, rows), declared(entity)
    live = LiveFeatures(plan_features(crm, entity, declarations), declarations)
    key, home, begins = ENTITY_KEYS[entity], own_table(entity)[0], own_table(entity)[2]
    since = crm[home].set_index(key)[begins]
    study = Study(crm, windows=WINDOWS)
    views = {plan.view: study.events(plan.view, entity) for plan in live.plans}
    families = feature_catalog(batch, crm, entity=entity).set_index("feature")["family"]
    given = [n for n, family in families.items() if family in ("field", "own column", "linked", "text")]
    given += [n for n in ("customer_days", "lead_to_opportunity_days") if n in batch]
    for (_, row), (_, expected) in zip(rows.iterrows(), batch.astype(object).iterrows(), strict=True):
        own = {name: events[events[key] == row[key]].to_dict("records") for name, events in views.items()}
        found = live.features(own, as_of=row["as_of"], since=since[row[key]], context=expected[given].to_dict())
        assert set(found) == set(batch)
        for name, value in expected.items():
            both = pd.isna(value) and pd.isna(found[name])
            assert both or bits(found[name]) == bits(value), name
    assert len(given) < 0.5 * batch.shape[1]


def test_instants_of_any_zone_and_type_are_the_same():
    vienna = dt.timezone(dt.timedelta(hours=2))
    same = {
        instant(dt.datetime(2024, 7, 1, 10)),
        instant(dt.datetime(2024, 7, 1, 12, tzinfo=vienna)),
        instant(pd.Timestamp("2024-07-01 12:00", tz="Europe/Vienna")),
        instant(np.datetime64("2024-07-01T10:00", "s")),
        instant(1_719_828_000_000_000),
    }
    assert same == {1_719_828_000_000_000}
    assert instant(None) == instant(pd.NaT) == MISSING


def live() -> LiveFeatures:
    log, leads = cases.make_log(0), cases.make_leads()
    report = stream_features(
        log, cases.make_rows(0), features=cases.FEATURES, entities=leads, windows=cases.WINDOWS, in_memory=True
    )
    return LiveFeatures([report.plan], cases.FEATURES)


def test_a_lead_without_events_and_with_context():
    found = live().features({}, as_of=dt.datetime(2024, 1, 1), context={"owner_rate": 0.5})
    assert found["interactions_n_7d"] == 0
    assert np.isnan(found["interactions_recency_days"])
    assert found["owner_rate"] == 0.5


def test_records_come_back_unchanged():
    records = [{"ts": dt.datetime(2024, 1, 1), "type": "call", "duration": -1.0}]
    live().features({"interactions": records}, as_of=dt.datetime(2024, 2, 1))
    assert records == [{"ts": dt.datetime(2024, 1, 1), "type": "call", "duration": -1.0}]


@pytest.mark.parametrize(
    ("events", "as_of", "error", "words"),
    [
        ({"quotes": []}, dt.datetime(2024, 1, 1), ParameterError, "no feature asks for"),
        ({}, None, DataError, "no `as_of`"),
        ({"interactions": [{"ts": "yesterday"}]}, dt.datetime(2024, 1, 1), DataError, "time cannot be read"),
        (
            {"interactions": [{"ts": dt.datetime(2024, 1, 1), "duration": {}}]},
            dt.datetime(2024, 2, 1),
            DataError,
            "`duration` is no number",
        ),
    ],
)
def test_bad_input_is_named(events, as_of, error, words):
    with pytest.raises(error, match=words):
        live().features(events, as_of=as_of)


def test_values_that_come_together_for_the_first_time_count():
    """A call with a direction that only meetings had in training is still a call."""
    day = dt.datetime(2024, 1, 1)
    frame = pd.DataFrame(
        {
            "lead_id": [1, 1],
            "ts": pd.Series([day, day]).astype("datetime64[us]"),
            "type": ["call", "meeting"],
            "direction": ["outbound", "inbound"],
        }
    )
    features = (
        Feature("{}", "interactions", each="type", windows=(7,)),
        Feature("inbound", "interactions", where={"direction": "inbound"}, windows=(7,)),
    )
    plan = plan_view(
        "interactions",
        "lead",
        features,
        read_vocabulary("interactions", list(features), frame, "lead_id"),
        windows=(7,),
    )
    record = {"ts": day, "type": "call", "direction": "inbound"}
    found = LiveFeatures([plan]).features({"interactions": [record]}, as_of=dt.datetime(2024, 1, 2))
    assert found == {"calls_n_7d": 1, "meetings_n_7d": 0, "inbound_n_7d": 1}
