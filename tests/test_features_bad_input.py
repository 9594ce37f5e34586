"""Bad input to features: an error that says what to do, or behaviour that is documented and counted. No silent drop."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from crmlab.features import (
    EVER,
    Calendar,
    Difference,
    Feature,
    Field,
    Linked,
    Ratio,
    build_features,
    declared,
    event_accounts,
)
from crmlab.schema import TABLES, DataError, ParameterError, conform_table, table

cases = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("feature_cases.py"))))
AS_OF, DAY = cases.AS_OF, cases.DAY
at, contact, lead, make_crm, numbered, values = (
    cases.at,
    cases.contact,
    cases.lead,
    cases.make_crm,
    cases.numbered,
    cases.values,
)
COUNT = (Feature("calls", "interactions", windows=(7, EVER)),)


def small_crm(*rows: dict) -> cases.Crm:
    """Lead L0 of account A0, one status and some interactions."""
    log = numbered("changes", [cases.change("status", "2024-01-01", "new")])
    return make_crm(
        leads=[lead(account_id="A0", source="web")],
        accounts=[cases.account()],
        changes=log,
        interactions=numbered("interactions", [*rows] or [contact(AS_OF - DAY, duration=3.0)]),
    )


def build(*features: object, rows: pd.DataFrame | None = None, **rest: object) -> pd.DataFrame:
    """Features of lead L0 on AS_OF."""
    return build_features(small_crm(), at(AS_OF) if rows is None else rows, features=features or COUNT, **rest)


# Events


def test_events_that_cannot_be_used_are_counted() -> None:
    rows = [
        contact(AS_OF - DAY),
        contact(AS_OF - DAY),  # the same fact twice counts twice: a call has no other sign than its identifier
        contact(AS_OF - DAY, lead_id=None),
        contact(AS_OF - DAY, lead_id="gone"),
        contact(pd.NaT, AS_OF),
        contact(AS_OF - DAY, pd.NaT),
        contact(AS_OF),
        contact(AS_OF - DAY, AS_OF),
        contact("9999-12-31"),
        contact(AS_OF - 2 * DAY, duration=-5.0),
    ]
    crm = small_crm(*rows)
    counted = event_accounts(crm, "lead", as_of=AS_OF).set_index("events").loc["interactions"]
    expected = {"total": 10, "used": 3, "without_entity": 1, "unknown_entity": 1, "without_time": 2, "after_as_of": 3}
    assert counted[[*expected, "negative_values"]].to_dict() == expected | {"negative_values": 1}
    assert build_features(crm, at(AS_OF), features=COUNT).iloc[0].tolist() == [3, 3]


@pytest.mark.parametrize("entity", ["lead", "opportunity", "account", "rep"])
def test_accounts_of_events_add_up(entity: str) -> None:
    rows = [contact(AS_OF - DAY), contact(AS_OF, account_id="A0"), contact(AS_OF, rep_id="R9"), contact(pd.NaT, AS_OF)]
    counted = event_accounts(small_crm(*rows), entity, as_of=AS_OF)
    parts = ["used", "without_entity", "unknown_entity", "without_time", "after_as_of"]
    assert (counted[parts].sum(axis=1) == counted["total"]).all()
    assert counted.set_index("events").loc["interactions", "total"] == 4


def test_negative_durations_count_as_missing_values_of_events_that_count() -> None:
    rows = [contact(AS_OF - DAY, duration=d) for d in (-5.0, 10.0, None)]
    features = (Feature("calls", "interactions", "n sum mean last", of="duration", windows=(7,)),)
    found = build_features(small_crm(*rows), at(AS_OF), features=features)
    assert found.iloc[0].tolist() == [3, 10, 10, 10]


@pytest.mark.parametrize("when", ["0001-01-01", "1677-09-21", "2262-04-12", "9999-12-31 23:59:59.999999"])
def test_times_far_away_are_times(when: str) -> None:
    when = pd.Timestamp(when)
    features = (Feature("calls", "interactions", "n days recency smoothed trend", windows=(1, 7)),)
    found = build_features(small_crm(contact(when), contact(AS_OF - DAY)), at(AS_OF, when), features=features)
    assert found["calls_n_7d"].tolist() == [1, 0]
    assert found["calls_recency_days"].iloc[0] == 1
    later = (when - AS_OF + DAY) / DAY if when > AS_OF else None
    assert values(found, "calls_recency_days")[1] == (None if later is None else pytest.approx(later, rel=1e-12))


@pytest.mark.parametrize("value", [1e300, np.inf, -np.inf])
def test_values_too_large_to_be_summed_exactly_are_refused(value: float) -> None:
    crm = make_crm(
        accounts=[cases.account()],
        invoices=[{"invoice_id": "I", "account_id": "A0", "issued_at": AS_OF - DAY, "amount": value}],
    )
    with pytest.raises(DataError, match=r"`invoices.amount` are too large to be summed exactly.\n  Found: up to "):
        build_features(crm, at(AS_OF, entity="account"), features=(Feature("billed", "invoices", "sum", of="amount"),))


def test_too_many_kinds_of_events_are_refused() -> None:
    rows = [contact(AS_OF - DAY, kind=f"kind {k}", outcome=f"outcome {k}") for k in range(300)]
    features = (Feature("a_{}", "interactions", each="type"), Feature("b_{}", "interactions", each="outcome"))
    with pytest.raises(DataError, match=r"told apart in too many ways.\n  Found: 90,601 combinations of type, outcome"):
        build_features(small_crm(*rows), at(AS_OF), features=features)


@pytest.mark.parametrize("name", list(TABLES))
def test_events_without_time_and_repeated_identifiers_do_not_pass_the_door(name: str) -> None:
    """Loading refuses them, so that the engine need not choose among them."""
    spec = table(name)
    filled = {c.name: _some_value(c) for c in spec.columns}
    assert len(conform_table(name, pd.DataFrame([filled]))) == 1
    with pytest.raises(DataError, match=r"(?i)repeat|twice|more than once|duplicate"):
        conform_table(name, pd.DataFrame([filled, filled]))
    if spec[spec.known_at].required:
        with pytest.raises(DataError, match=spec.known_at):
            conform_table(name, pd.DataFrame([filled | {spec.known_at: None}]))


def _some_value(column: object) -> object:
    texts = {"time": AS_OF, "number": 0.5, "integer": 1, "boolean": True}
    if column.low is not None and column.kind == "number":
        return column.low
    return column.values[0] if column.values else texts.get(column.kind, "a")


def test_entities_given_twice_are_refused() -> None:
    crm = make_crm(leads=[lead(source="a"), lead(source="b")])
    with pytest.raises(DataError, match=r"`lead_id` stand in their table more than once.\n  Found: 1 repeated"):
        build_features(crm, at(AS_OF))


# Rows


def test_unsorted_and_repeated_rows_are_answered_each() -> None:
    found = build(rows=at(AS_OF, AS_OF - 5 * DAY, AS_OF, AS_OF + DAY))
    assert values(found, "calls_n_7d") == [1, 0, 1, 1]


def test_entity_that_the_crm_does_not_hold_has_gaps() -> None:
    found = build_features(small_crm(), at(AS_OF, who="nobody"))
    assert found[["source", "age_days", "status", "interactions_recency_days"]].isna().all(axis=None)
    assert values(found, "interactions_n_7d") == [0]


NO_TIMES = "must hold times in UTC without a time zone"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda r: r.drop(columns="as_of"), "must say at which date"),
        (lambda r: r.drop(columns="lead_id"), "exactly one key column"),
        (lambda r: r.assign(rep_id="R0"), "exactly one key column"),
        (lambda r: r.assign(as_of=[pd.NaT, AS_OF]), "1 of 2 rows without `as_of`"),
        (lambda r: r.assign(as_of="2024-01-01"), NO_TIMES),
        (lambda r: r.assign(as_of=r["as_of"].dt.tz_localize("Europe/Rome")), NO_TIMES),
        (
            lambda r: r.assign(lead_id=pd.Series(["L0", None], dtype="str")),
            "Some rows have no `lead_id`.\n  Found: 1 of 2",
        ),
        (lambda r: r.assign(lead_id=[1, 2]), "`lead_id` must hold text"),
    ],
)
def test_rows_that_do_not_say_whose_or_when_are_refused(rows: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(rows=rows(at(AS_OF, AS_OF + DAY)))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_of_any_resolution_are_the_same(unit: str) -> None:
    rows = at(AS_OF).astype({"as_of": f"datetime64[{unit}]"})
    pd.testing.assert_frame_equal(build_features(small_crm(), rows), build_features(small_crm(), at(AS_OF)))


# Windows


@pytest.mark.parametrize(
    "windows", [[0], [7, -1], [0.5], [True], [float("nan")], [float("inf")], ["7"], ["week"], [None], [7, 7], [10**12]]
)
def test_windows_are_positive_whole_days_each_once(windows: list) -> None:
    with pytest.raises(
        ParameterError, match=r"positive whole numbers of days, each once and at most 36,525.\n  Found: "
    ):
        build(windows=windows)
    with pytest.raises(ParameterError, match=r"positive whole numbers of days"):
        Feature("calls", "interactions", windows=(*windows, -1))


def test_ever_is_a_window_of_a_declaration_only() -> None:
    assert Feature("calls", "interactions", windows=(EVER,)).names() == ["calls_n_ever"]
    with pytest.raises(ParameterError, match="positive whole"):
        build(windows=[EVER])


# Declarations


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Feature("a", "interactions", "cont"), "unknown measure.\n  Found: cont"),
        (lambda: Feature("a", "interactions", ""), "measures nothing"),
        (lambda: Feature("a", "interactions", "sum"), "measure `sum` needs a column"),
        (lambda: Feature("a", "interactions", each="type"), "one needs the other"),
        (lambda: Feature("a_{}", "interactions"), "one needs the other"),
    ],
)
def test_declarations_that_make_no_sense_cannot_be_written(make: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


INTERACTIONS = {"view": "interactions"}


@pytest.mark.parametrize(
    ("error", "declaration", "message"),
    [
        (ParameterError, Feature("a", "interaction"), "events that nobody knows(.|\n)*did you mean `interactions`"),
        (ParameterError, Feature("a", "quotes"), "do not belong to this kind of entity.\n  Found: lead"),
        (ParameterError, Feature("a", **INTERACTIONS, where={"typ": "call"}), "no column `typ`(.|\n)*`type`"),
        (ParameterError, Feature("a_{}", **INTERACTIONS, each="tipe"), "no column `tipe`(.|\n)*`type`"),
        (ParameterError, Feature("a", **INTERACTIONS, measure="sum", of="time"), "no column `time`"),
        (ParameterError, Feature("a_{}", **INTERACTIONS, each="duration"), "no category"),
        (ParameterError, Feature("a", **INTERACTIONS, where={"type": ">= 3"}), "filter on `type` cannot be read"),
        (ParameterError, Feature("a", **INTERACTIONS, where={"type": None}), "filter on `type` cannot be read"),
        (ParameterError, Feature("a", **INTERACTIONS, where={"type": ()}), "filter on `type` cannot be read"),
        (ParameterError, Feature("a", **INTERACTIONS, where={"duration": 30}), "filter on `duration` cannot be read"),
        (ParameterError, Feature("a", **INTERACTIONS, where={"duration": "30"}), "filter on `duration` cannot be read"),
        (ParameterError, Feature("a", **INTERACTIONS, where={"duration": ">= x"}), "comparison cannot be read"),
        (ParameterError, Feature("a", "changes", where={"time": ">= 3"}), "filter on `time` cannot be read"),
        (DataError, Feature("a", **INTERACTIONS, measure="sum", of="type"), "holds no amounts.*\n(.|\n)*duration"),
        (DataError, Feature("a", "changes", "mean", of="number"), "holds no amounts"),
        (DataError, Feature("a", "changes", "smoothed", of="value"), "holds no amounts"),
        (DataError, Feature("a", "changes", "last", of="time"), "cannot show `time` by `last`"),
        (DataError, Feature("a", "changes", "until", of="number"), "cannot show `number` by `until`"),
        (ParameterError, Ratio("a", "calls_n_7d", "cals_n_7d"), "which nothing before it declares(.|\n)*calls_n_7d"),
        (ParameterError, Difference("a", "", "calls_n_7d"), "which nothing before it declares"),
        (ParameterError, Linked("a", "account", "acount_id", COUNT), "linked by `acount_id`, which nothing"),
        (ParameterError, Linked("a", "acount", "account_id", COUNT), "do not belong to this kind of entity"),
        (DataError, Field("sorce"), "`leads` has no column `sorce`(.|\n)*`source`"),
        (DataError, Field("industry", "acounts"), "no canonical table `acounts`"),
        (ParameterError, Calendar("agedays"), "no such calendar feature(.|\n)*age_days"),
        (ParameterError, Calendar("customer_days"), "does not exist for this kind of entity"),
        (ParameterError, Calendar("lead_to_opportunity_days"), "does not exist for this kind of entity"),
        (ParameterError, "calls", "no declaration of a feature"),
    ],
)
def test_declarations_that_lead_nowhere_are_refused(error: type, declaration: object, message: str) -> None:
    with pytest.raises(error, match=message):
        build(*COUNT, declaration)


def test_words_are_no_part_of_a_formula() -> None:
    status = Feature("status", "changes", "last", of="value", where={"field": "status"})
    with pytest.raises(DataError, match="`a` cannot be computed from words"):
        build(status, *COUNT, Ratio("a", "calls_n_7d", "status"))


def test_two_features_of_one_name_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"same name.\n  Found: calls_n_7d, calls_n_ever"):
        build(*COUNT, Feature("calls", "interactions", where={"type": "call"}, windows=(7, EVER)))


def test_one_declaration_without_brackets_is_refused() -> None:
    with pytest.raises(ParameterError, match="must be a list of declarations"):
        build_features(small_crm(), at(AS_OF), features=COUNT[0])


def test_unknown_entity_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"Found: customer\n  To do: kinds are: lead, opportunity, account, rep"):
        declared("customer")


@pytest.mark.parametrize("name", [c.name for c in table("leads").columns if c.known != "created_at"])
def test_column_that_was_filled_or_changed_after_creation_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=rf"`leads.{name}` cannot be a feature: what it held .* not known.\n  Found: "):
        build(Field(name))


@pytest.mark.parametrize("name", ["lead_id", "account_id", "contact_id", "created_at"])
def test_identifiers_and_times_are_no_features(name: str) -> None:
    with pytest.raises(DataError, match=rf"`leads.{name}` cannot be a feature: it names or dates something"):
        build(Field(name))


@pytest.mark.parametrize("name", ["x_now", "x_undeclared"])
def test_own_column_without_a_date_is_refused(name: str) -> None:
    crm = make_crm(leads=[lead(x_now="a", x_undeclared="b")])
    with pytest.raises(DataError, match=rf"`leads.{name}` cannot be a feature: what it held"):
        build_features(crm, at(AS_OF), features=(Field(name),))


def test_team_has_no_table_and_so_no_fields() -> None:
    for declaration in (Field("source"), Calendar("age_days")):
        with pytest.raises(ParameterError, match="does not exist for this kind of entity"):
            build_features(small_crm(), at(AS_OF, entity="team"), features=(declaration,))
