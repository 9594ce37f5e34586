"""Declarations: one line makes a feature, and everything that speaks of features follows from it."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from crmlab.features import (
    Calendar,
    Difference,
    Feature,
    Field,
    Linked,
    OwnFields,
    Ratio,
    build_features,
    declared,
    declared_lines,
    feature_catalog,
    feature_groups,
    features_markdown,
    refused_columns,
)
from crmlab.leakage import truncation_table
from crmlab.schema import TABLES, DataError

cases = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("feature_cases.py"))))
AS_OF, DAY = cases.AS_OF, cases.DAY
at, change, contact, lead, make_crm, numbered = (
    cases.at,
    cases.change,
    cases.contact,
    cases.lead,
    cases.make_crm,
    cases.numbered,
)
ENTITIES = ("lead", "opportunity", "account", "rep", "team")
NEW = Feature("long_calls", "interactions", where={"type": "call", "duration": ">= 30"}, noun="long calls", ids="R11")


@pytest.fixture
def crm() -> cases.Crm:
    """A CRM that fills a bit of everything that features of a lead are made of."""
    rows = [contact(AS_OF - k * DAY, kind=kind, duration=20.0 * k) for k, kind in enumerate(("call", "form", "call"))]
    log = [change("owner_id", "2024-01-01", "R0"), change("status", "2024-01-01", "new")]
    team = change("team", "2024-01-01", "north", entity="rep", entity_id="R0")
    return make_crm(
        leads=[lead(source="web", account_id="A0", x_then="a", x_now="b", owner_id="R0")],
        accounts=[cases.account(industry="C")],
        reps=[cases.rep()],
        interactions=numbered("interactions", rows),
        changes=numbered("changes", [*log, team]),
    )


# One line


def test_one_line_is_a_feature_everywhere(crm: cases.Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the features, the catalog, the proof that nothing leaks, and the dictionary."""
    declarations = (*declared("lead"), NEW)
    found = build_features(crm, at(AS_OF), features=declarations)
    names = ["long_calls_n_7d", "long_calls_n_30d", "long_calls_n_90d"]
    assert list(found)[-3:] == names
    assert found[names].iloc[0].tolist() == [1, 1, 1]

    catalog = feature_catalog(found, crm, declarations=declarations).set_index("feature").loc[names]
    assert catalog["family"].tolist() == ["count"] * 3
    assert catalog["window_days"].tolist() == [7, 30, 90]
    assert catalog["meaning"].iloc[0] == "Number of long calls in the last 7 days."
    assert set(catalog["ids"]) == {"R11"}

    proof = truncation_table(crm, at(AS_OF), found, n_dates=1, declarations=declarations)
    assert proof["features"].tolist() == [found.shape[1]]
    assert proof["changed"].tolist() == [0]

    assert "long_calls" not in features_markdown()
    monkeypatch.setitem(features_markdown.__globals__, "declared", lambda entity: (*declared(entity), NEW))
    assert "`long_calls_n_7d`" in features_markdown()


def test_one_line_that_leaks_is_named(crm: cases.Crm) -> None:
    """The proof looks at every column that is there, also at one that nobody declared."""
    rows = at(AS_OF)
    honest = build_features(crm, rows)

    def with_leak(crm: cases.Crm, rows: pd.DataFrame) -> pd.DataFrame:
        return build_features(crm, rows).assign(ever=float(len(crm["interactions"])))

    proof = truncation_table(crm, rows, with_leak(crm, rows), n_dates=1, build=with_leak)
    assert proof["changed_features"].tolist() == ["ever"]
    assert proof["features"].tolist() == [honest.shape[1] + 1]


# Names


def test_names_say_source_measure_and_window() -> None:
    every = "n sum mean days recency first smoothed trend per_week per_day"
    feature = Feature("calls", "interactions", every, of="duration", windows=(30, 7))
    assert feature.names() == [
        "calls_n_30d",
        "calls_n_7d",
        "calls_duration_sum_30d",
        "calls_duration_sum_7d",
        "calls_duration_mean_30d",
        "calls_duration_mean_7d",
        "calls_days_7d",
        "calls_days_30d",
        "calls_recency_days",
        "calls_since_first_days",
        "calls_duration_smoothed_weekly",
        "calls_trend_7d_30d",
        "calls_per_week",
        "calls_per_day_7d",
        "calls_per_day_30d",
    ]


@pytest.mark.parametrize("entity", ENTITIES)
def test_declared_names_come_once(entity: str) -> None:
    names = [line.name for line in declared_lines(entity, declared(entity))]
    assert names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("windows", [(7,), (14, 60, 180), (1, 7, 30)])
def test_declared_features_take_any_windows(entity: str, windows: tuple) -> None:
    found = build_features(make_crm(), at(AS_OF, entity=entity), windows=windows)
    assert len(found) == 1


# The catalog


def test_catalog_describes_every_column_of_every_kind(crm: cases.Crm) -> None:
    extra = (Difference("few", "long_calls_n_30d", "long_calls_n_7d", "calls of 8 to 30 days"),)
    declarations = (*declared("lead"), NEW, *extra)
    features = build_features(crm, at(AS_OF), features=declarations)
    found = feature_catalog(features, crm, declarations=declarations)
    assert list(found) == ["feature", "family", "table", "window_days", "meaning", "ids", "line"]
    assert found["feature"].tolist() == list(features)
    assert found["meaning"].str.fullmatch(r"[A-Z].*\.").all()
    assert set(found["table"]) <= {*TABLES, "features"}
    families = found.set_index("feature")["family"]
    assert families[["source", "x_then", "age_days", "owner_id", "owner_team", "few"]].tolist() == [
        "field",
        "own column",
        "calendar",
        "state",
        "linked",
        "difference",
    ]
    assert families[["forms_n_7d", "forms_recency_days", "interactions_trend_7d_30d"]].tolist() == [
        "count",
        "recency",
        "trend",
    ]
    assert found.set_index("feature").loc["x_then", "meaning"] == "Told at creation."


def test_catalog_of_an_own_column_without_a_meaning() -> None:
    crm = make_crm({"x_a": {"known": "creation"}}, leads=[lead(x_a="a")])
    found = feature_catalog(build_features(crm, at(AS_OF)), crm).set_index("feature")
    assert found.loc["x_a", "meaning"] == "A column of the source's own."


@pytest.mark.parametrize("entity", ENTITIES)
def test_dictionary_and_catalog_speak_in_sentences(entity: str) -> None:
    for line in declared_lines(entity, declared(entity)):
        assert line.meaning[0].isupper(), line
        assert line.meaning.endswith("."), line
        assert "  " not in line.meaning, line
        assert "None" not in line.meaning, line


def test_feature_groups_hold_every_feature_once(crm: cases.Crm) -> None:
    features = build_features(crm, at(AS_OF))
    catalog = feature_catalog(features, crm)
    groups = feature_groups(catalog)
    assert groups["n"].sum() == features.shape[1]
    lines = [name for names in groups["features"] for name in names.split(", ")]
    assert len(lines) == len(set(lines))
    assert set(lines) == set(catalog["line"])
    by_names = groups.set_index("features")["n"]
    assert by_names["interactions_days_7d, interactions_days_30d, interactions_days_90d"] == 3
    assert by_names["{}_n_7d, {}_n_30d, {}_n_90d"] == 6  # calls and forms


# What is refused


def test_refused_columns_are_those_that_a_field_refuses(crm: cases.Crm) -> None:
    found = refused_columns(crm, dated=True).set_index("column")
    assert found["filled"].to_dict() == {"owner_id": 1.0, "status": 1.0, "x_now": 1.0}
    assert found.loc["owner_id", "why"].endswith("that of the date is taken from changes")
    for name in found.index:
        with pytest.raises(DataError, match=r"cannot be a feature"):
            build_features(crm, at(AS_OF), features=(Field(name),))


@pytest.mark.parametrize("entity", ["opportunity", "account", "rep"])
def test_refused_columns_of_other_entities(entity: str) -> None:
    rows = {
        "opportunity": {"opportunities": [cases.deal(stage="needs", amount=5.0)]},
        "account": {"accounts": [cases.account(name="Rossi", customer_since=AS_OF)]},
        "rep": {"reps": [cases.rep(team="north")]},
    }[entity]
    expected = {"opportunity": {"stage", "amount"}, "account": {"customer_since"}, "rep": {"team"}}[entity]
    assert set(refused_columns(make_crm(**rows), dated=True, entity=entity)["column"]) == expected


def test_hidden_declarations_only_serve_others(crm: cases.Crm) -> None:
    declarations = (
        Feature("calls", "interactions", where={"type": "call"}, windows=(7,), hidden=True),
        Feature("all", "interactions", windows=(7,), hidden=True),
        Ratio("calls_share", "calls_n_7d", "all_n_7d"),
        Calendar("month", hidden=True),
        OwnFields(hidden=True),
        Linked("owner", "rep", "account_id", (Feature("x", "interactions"),), hidden=True),
    )
    assert list(build_features(crm, at(AS_OF), features=declarations)) == ["calls_share"]
    assert [line.name for line in declared_lines("lead", declarations)] == ["calls_share"]
