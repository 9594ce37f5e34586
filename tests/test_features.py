"""Features by hand: each measure, the edges of windows, late entries, ties, and what a source may lack."""

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
    OwnFields,
    Ratio,
    Total,
    build_features,
    declared,
)
from crmlab.schema import TABLES
from crmlab.snapshots import build_snapshots
from crmlab.store import Store

HERE = Path(__file__)
cases = SimpleNamespace(**runpy.run_path(str(HERE.with_name("feature_cases.py"))))
reference = SimpleNamespace(**runpy.run_path(str(HERE.with_name("reference_features.py"))))
AS_OF, DAY, MICRO = cases.AS_OF, cases.DAY, cases.MICRO  # AS_OF is a Sunday
at, contact, lead, make_crm, numbered, values = (
    cases.at,
    cases.contact,
    cases.lead,
    cases.make_crm,
    cases.numbered,
    cases.values,
)
CALLS = {"where": {"type": "call"}}


def measured(rows: list[dict], *features: Feature, dates: tuple = (AS_OF,), windows: tuple = (7, 30)) -> pd.DataFrame:
    """Features of lead L0 with some interactions."""
    crm = make_crm(leads=[lead()], interactions=numbered("interactions", rows))
    return build_features(crm, at(*dates), features=features, windows=windows)


# Each measure


def test_window_reaches_from_its_first_instant_to_just_before_as_of() -> None:
    """[as_of − 7 days, as_of)"""
    times = [AS_OF - 7 * DAY - MICRO, AS_OF - 7 * DAY, AS_OF - MICRO, AS_OF, AS_OF + MICRO]
    dates = (AS_OF - MICRO, AS_OF, AS_OF + MICRO, AS_OF + 2 * MICRO)
    found = measured([contact(t) for t in times], Feature("calls", "interactions", **CALLS), dates=dates, windows=(7,))
    assert values(found, "calls_n_7d") == [2, 2, 2, 3]
    assert found["calls_n_7d"].dtype == np.int32


def test_sum_and_mean_are_exact_and_leave_out_missing_values() -> None:
    rows = [contact(AS_OF - DAY, duration=d) for d in (0.1, 0.2, None, 0.30049)]
    rows += [contact(AS_OF - 20 * DAY, duration=None), contact(AS_OF - DAY, duration=50.0, kind="meeting")]
    found = measured(rows, Feature("calls", "interactions", "n sum mean", of="duration", **CALLS))
    assert values(found, "calls_n_7d") == [4]
    assert values(found, "calls_duration_sum_7d") == [0.6]
    assert values(found, "calls_duration_mean_7d") == [0.6 / 3]
    assert values(found, "calls_n_30d") == [5]
    earlier = measured(rows, Feature("calls", "interactions", "sum mean", of="duration"), dates=(AS_OF - 5 * DAY,))
    assert values(earlier, "calls_duration_sum_30d") == [0]
    assert values(earlier, "calls_duration_mean_30d") == [None]


def test_active_days_are_calendar_days_in_utc() -> None:
    midnight = AS_OF - 2 * DAY
    rows = [contact(t) for t in (midnight - MICRO, midnight, midnight + 0.5 * DAY, midnight + DAY - MICRO)]
    found = measured(rows, Feature("calls", "interactions", "n days"), windows=(1, 2, 7))
    assert found.iloc[0].to_dict() == {
        "calls_n_1d": 0,
        "calls_n_2d": 3,
        "calls_n_7d": 4,
        "calls_days_1d": 0,
        "calls_days_2d": 1,
        "calls_days_7d": 2,
    }


def test_a_day_that_the_window_cuts_is_active_only_while_an_event_of_it_is_inside() -> None:
    morning = pd.Timestamp("2024-03-10 08:00")
    rows = [contact(morning), contact(morning + pd.Timedelta(hours=8))]
    dates = (morning + 7 * DAY, morning + 7 * DAY + MICRO, morning + 7.5 * DAY)
    found = measured(rows, Feature("calls", "interactions", "n days"), dates=dates, windows=(7,))
    assert values(found, "calls_n_7d") == [2, 1, 0]
    assert values(found, "calls_days_7d") == [1, 1, 0]


def test_recency_is_that_of_the_newest_event_not_of_the_one_entered_last() -> None:
    rows = [contact(AS_OF - 2 * DAY), contact(AS_OF - 9 * DAY, AS_OF - DAY)]
    found = measured(rows, Feature("calls", "interactions", "recency first"), dates=(AS_OF - DAY, AS_OF))
    assert values(found, "calls_recency_days") == [1, 2]
    assert values(found, "calls_since_first_days") == [1, 9]


def test_smoothed_weeks_run_from_monday_and_leave_out_the_current_one() -> None:
    monday = pd.Timestamp("2024-03-04")
    rows = [contact(monday), contact(monday + 7 * DAY - MICRO), contact(monday + 21 * DAY)]
    dates = (monday + 7 * DAY - MICRO, monday + 7 * DAY, monday + 14 * DAY, monday + 27 * DAY, monday + 28 * DAY)
    found = measured(rows, Feature("calls", "interactions", "smoothed"), dates=dates)
    first = 0.7 * 0.0 + 0.3 * 2
    second = 0.7 * first + 0.3 * 0
    third = 0.7 * second + 0.3 * 0
    assert values(found, "calls_smoothed_weekly") == [0, first, second, third, 0.7 * third + 0.3 * 1]


def test_smoothed_values_are_sums_of_a_column() -> None:
    rows = [contact("2024-03-20", duration=d) for d in (10.0, 2.5, None)]
    found = measured(rows, Feature("calls", "interactions", "smoothed", of="duration"))
    assert values(found, "calls_duration_smoothed_weekly") == [0.3 * 12.5]


def test_event_entered_weeks_later_changes_the_smoothed_past_from_then_on() -> None:
    rows = [contact("2024-03-01"), contact("2024-03-05", "2024-03-26")]
    found = measured(rows, Feature("calls", "interactions", "smoothed"), dates=("2024-03-26", "2024-03-27"))
    one, none = 0.7 * 0.3 + 0.3 * 1, 0.7 * 0.3 + 0.3 * 0
    assert values(found, "calls_smoothed_weekly") == [0.7 * (0.7 * none + 0) + 0, 0.7 * (0.7 * one + 0) + 0]


def test_trend_compares_neighbouring_windows() -> None:
    rows = [contact(AS_OF - k * DAY) for k in (1, 2, 20)]
    found = measured(rows, Feature("calls", "interactions", "trend"), dates=(AS_OF, AS_OF + 40 * DAY), windows=(30, 7))
    assert values(found, "calls_trend_7d_30d") == [(2 / 7) / (3 / 30), None]


def test_rates_per_week_and_per_day_of_exposure() -> None:
    created = AS_OF - 14 * DAY
    rows = [contact(AS_OF - k * DAY) for k in (1, 2, 20)]
    crm = make_crm(
        leads=[lead(created_at=created), lead("L1", created_at=pd.NaT)],
        interactions=numbered("interactions", [*rows, contact(AS_OF - DAY, lead_id="L1")]),
    )
    features = (Feature("calls", "interactions", "per_week per_day", windows=(7, 30)),)
    found = build_features(crm, at(AS_OF, created + 0.5 * DAY, created), features=features)
    assert values(found, "calls_per_week") == [3 * 7 / 14, 1 * 7 / 7, None]
    assert values(found, "calls_per_day_7d") == [2 / 7, 1 / 1, None]
    assert values(found, "calls_per_day_30d") == [3 / 14, 1 / 1, None]
    assert values(build_features(crm, at(AS_OF, who="L1"), features=features), "calls_per_day_7d") == [None]


def test_last_value_is_the_newest_one_that_is_told_and_the_larger_identifier_wins_a_tie() -> None:
    when = pd.Timestamp("2024-03-01")
    log = [
        cases.change("status", when, "new", change_id="C2"),
        cases.change("status", when, "working", change_id="C3"),
        cases.change("status", when, "lost", change_id="C1"),
        cases.change("status", when + 2 * DAY, None, change_id="C4"),
    ]
    features = (Feature("status", "changes", "last recency", of="value", where={"field": "status"}),)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]):
        crm = make_crm(leads=[lead()], changes=[log[k] for k in order])
        found = build_features(crm, at(when, when + MICRO, when + 3 * DAY), features=features)
        assert values(found, "status") == [None, "working", None]  # emptied in the end
        assert found["status"].dtype == "str"
        assert values(found, "status_recency_days") == [None, MICRO / DAY, 1]


def test_late_entry_of_an_older_value_does_not_become_the_newest() -> None:
    rows = [contact(AS_OF - 9 * DAY, AS_OF - DAY, duration=9.0), contact(AS_OF - 3 * DAY, duration=3.0)]
    feature = Feature("minutes", "interactions", "last", of="duration")
    assert values(measured(rows, feature), "minutes") == [3]
    assert values(measured(rows[:1], feature, dates=(AS_OF - DAY, AS_OF)), "minutes") == [None, 9]


def test_days_until_a_planned_time_may_be_over() -> None:
    contracts = [{"contract_id": "K", "account_id": "A0", "started_at": AS_OF, "term_end_at": AS_OF + 10 * DAY}]
    crm = make_crm(accounts=[cases.account()], contracts=contracts)
    features = (Feature("term_end", "contracts", "until", of="term_end_at"),)
    found = build_features(crm, at(AS_OF, AS_OF + DAY, AS_OF + 12 * DAY, entity="account"), features=features)
    assert values(found, "term_end_days") == [None, 9, -2]


def test_formulas() -> None:
    rows = [contact(AS_OF - DAY), contact(AS_OF - DAY, kind="meeting"), contact(AS_OF - 8 * DAY, kind="meeting")]
    features = (
        Feature("all", "interactions", hidden=True),
        Feature("meetings", "interactions", where={"type": "meeting"}),
        Feature("faxes", "interactions", where={"type": "fax"}),
        Ratio("share", "meetings_n_7d", "all_n_7d"),
        Difference("others", "all_n_30d", "meetings_n_30d"),
        Total("twice", "all_n_30d", "meetings_n_30d"),
        Difference("all_without_faxes", "all_n_30d", "faxes_n_30d"),
        Ratio("no_share", "faxes_n_30d", "all_n_30d"),
    )
    found = measured(rows, *features, dates=(AS_OF, AS_OF + 60 * DAY))
    assert list(found) == ["meetings_n_7d", "meetings_n_30d", "share", "others", "twice", "all_without_faxes"]
    assert values(found, "share") == [0.5, None]
    assert values(found, "others") == [1, 0]
    assert values(found, "twice") == [5, 0]
    assert values(found, "all_without_faxes") == [3, 0]


def test_count_of_a_line_does_not_depend_on_what_else_is_declared() -> None:
    """A count is of events, told a value or not, whichever filters other lines need."""
    rows = [contact(AS_OF - DAY, duration=5.0), contact(AS_OF - DAY, kind="email_sent")]
    line = Feature("all", "interactions", "n sum", of="duration", windows=(7,))
    alone = measured(rows, line)
    beside = measured(rows, line, Feature("{}", "interactions", each="type"), Feature("mails", "interactions", **CALLS))
    assert values(alone, "all_n_7d") == values(beside, "all_n_7d") == [2]


def test_events_whose_amount_nobody_fills_are_counted_all_the_same() -> None:
    calls = [contact(AS_OF - DAY, duration=None), contact(AS_OF - 2 * DAY, duration=None)]
    feature = Feature("calls", "interactions", "n recency sum", of="duration", **CALLS)
    found = measured(calls, feature, windows=(7,))
    assert list(found) == ["calls_n_7d", "calls_recency_days"]
    assert values(found, "calls_n_7d") == [2]


def test_each_value_of_the_filter_only() -> None:
    rows = [contact(AS_OF - DAY, kind=k) for k in ("call", "meeting", "fax")]
    few = Feature("{}", "interactions", each="type", where={"type": ("fax", "call")}, windows=(7,))
    assert list(measured(rows, few)) == ["calls_n_7d", "fax_n_7d"]


def test_comparisons_leave_out_gaps() -> None:
    rows = [contact(AS_OF - DAY, duration=d) for d in (30.0, 29.9, None)]
    features = [Feature(n, "interactions", where={"duration": c}, windows=(7,)) for n, c in COMPARED.items()]
    assert measured(rows, *features).iloc[0].to_dict() == {"long_n_7d": 1, "short_n_7d": 1, "any_n_7d": 2}


COMPARED = {"long": ">= 30", "short": "< 30", "any": "> 0", "none": "<= -1"}


# Times


def test_interaction_entered_late_counts_from_then_on_in_the_window_of_its_own_day() -> None:
    rows = [contact(AS_OF - 6 * DAY, AS_OF)]
    dates = (AS_OF, AS_OF + MICRO, AS_OF + DAY, AS_OF + DAY + MICRO)
    found = measured(rows, Feature("calls", "interactions", "n days recency"), dates=dates, windows=(7,))
    assert values(found, "calls_n_7d") == [0, 1, 1, 0]
    assert values(found, "calls_days_7d") == [0, 1, 1, 0]
    assert values(found, "calls_recency_days")[:3] == [None, 6 + MICRO / DAY, 7]


def test_interaction_entered_after_its_window_has_passed_never_counts_but_is_the_last_one() -> None:
    rows = [contact(AS_OF - 20 * DAY, AS_OF - DAY)]
    found = measured(rows, Feature("calls", "interactions", "n days recency"), dates=(AS_OF - 5 * DAY, AS_OF))
    assert values(found, "calls_n_7d") == [0, 0]
    assert values(found, "calls_n_30d") == [0, 1]
    assert values(found, "calls_days_7d") == [0, 0]
    assert values(found, "calls_recency_days") == [None, 20]


def test_planned_meeting_counts_only_once_it_has_taken_place() -> None:
    rows = [contact(AS_OF, AS_OF - 5 * DAY, kind="meeting")]
    dates = (AS_OF - DAY, AS_OF, AS_OF + MICRO)
    found = measured(rows, Feature("meetings", "interactions", "n recency"), dates=dates, windows=(7,))
    assert values(found, "meetings_n_7d") == [0, 0, 1]
    assert values(found, "meetings_recency_days") == [None, None, MICRO / DAY]


@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27"])
def test_windows_are_multiples_of_24_hours_on_days_when_the_clock_changes(day: str) -> None:
    """Nine o'clock in Rome a day apart is 23 or 25 hours apart: in a window of one day or out of it."""
    rome = pd.DatetimeIndex([f"{pd.Timestamp(day) - DAY:%Y-%m-%d} 09:00", f"{day} 09:00"]).tz_localize("Europe/Rome")
    before, after = rome.tz_convert("UTC").tz_localize(None).as_unit("us")
    assert (after - before) / pd.Timedelta(hours=1) == (23 if day < "2024-06" else 25)
    found = measured([contact(before)], Feature("calls", "interactions", "n recency"), dates=(after,), windows=(1,))
    assert values(found, "calls_n_1d") == [1 if day < "2024-06" else 0]
    assert values(found, "calls_recency_days") == [23 / 24 if day < "2024-06" else 25 / 24]


def test_rows_far_apart_share_nothing() -> None:
    """Days that fall on the same place of a ring must not be taken for one another."""
    times = [AS_OF + k * DAY - MICRO for k in range(0, 400, 9)]
    features = (Feature("calls", "interactions", "n days"),)
    found = measured([contact(t) for t in times], *features, dates=tuple(t + MICRO for t in times), windows=(7, 30))
    assert values(found, "calls_n_7d") == values(found, "calls_days_7d") == [1] * len(times)
    assert values(found, "calls_days_30d") == [min(k + 1, 4) for k in range(len(times))]


# Whose events


def test_equal_events_count_each_and_other_leads_not_at_all() -> None:
    rows = [*[contact(AS_OF - DAY)] * 3, contact(AS_OF - DAY, lead_id="L1"), contact(AS_OF - DAY, lead_id=None)]
    crm = make_crm(leads=[lead(), lead("L1"), lead("L2")], interactions=numbered("interactions", rows))
    snapshots = pd.concat([at(AS_OF, who=k) for k in ("L2", "L0", "L1")])
    found = build_features(crm, snapshots, windows=[7])
    assert values(found, "calls_n_7d") == [0, 3, 1]
    assert values(found, "calls_recency_days") == [None, 1, 1]


def test_types_come_in_their_documented_order_then_the_sources_own() -> None:
    kinds = ("Webinar [EU]", "webinar EU", "meeting", "Call", "fax", "Interactions", "?!")
    rows = [contact(AS_OF - DAY, kind=k) for k in kinds]
    found = measured(rows, Feature("{}", "interactions", each="type", windows=(7,)))
    assert found.iloc[0].to_dict() == {
        "calls_n_7d": 1,
        "meetings_n_7d": 1,
        "fax_n_7d": 1,
        "interactions_type_n_7d": 1,
        "other_n_7d": 1,
        "webinar_eu_n_7d": 2,
    }
    assert list(found)[:3] == ["calls_n_7d", "meetings_n_7d", "fax_n_7d"]


# What a source may lack


def test_entity_without_events_has_zeros_and_gaps() -> None:
    features = (Feature("calls", "interactions", "n sum mean days recency first smoothed trend", of="duration"),)
    crm = make_crm(
        leads=[lead(), lead("L1")], interactions=numbered("interactions", [contact(AS_OF - DAY, duration=1)])
    )
    found = build_features(crm, at(AS_OF, who="L1"), features=features, windows=(7, 30))
    empty = {c: found[c].isna().item() for c in found}
    assert {c for c, gap in empty.items() if gap} == {
        "calls_duration_mean_7d",
        "calls_duration_mean_30d",
        "calls_recency_days",
        "calls_since_first_days",
        "calls_trend_7d_30d",
    }
    assert (found[[c for c, gap in empty.items() if not gap]] == 0).all(axis=None)


@pytest.mark.parametrize("entity", ["lead", "opportunity", "account", "rep", "team"])
def test_empty_tables_give_dates_alone(entity: str) -> None:
    found = build_features(make_crm(), at(AS_OF, entity=entity))
    assert set(found) <= {"age_days", "month", "quarter_days_left"}
    assert len(found) == 1


def test_source_without_interactions_or_owners_has_no_such_columns() -> None:
    found = build_features(make_crm(leads=[lead(source="web")]), at(AS_OF))
    assert list(found) == ["source", "age_days", "month", "quarter_days_left"]


def test_no_rows_give_the_columns_of_many() -> None:
    crm = make_crm(
        leads=[lead(source="web", account_id="A0", x_then="a")],
        accounts=[cases.account(industry="C")],
        reps=[cases.rep()],
        interactions=numbered("interactions", [contact(AS_OF - DAY, duration=1.0)]),
        changes=numbered("changes", [cases.change("owner_id", "2024-01-01", "R0")]),
    )
    some, none = build_features(crm, at(AS_OF)), build_features(crm, at(AS_OF)[:0])
    assert none.empty
    assert none.dtypes.equals(some.dtypes)


def test_cut_crm_has_the_columns_of_the_whole_one() -> None:
    crm = make_crm(
        leads=[lead(), lead("L1", source="web", created_at=AS_OF)],
        interactions=numbered("interactions", [contact(AS_OF), contact(AS_OF, kind="fax")]),
        changes=numbered("changes", [cases.change("owner_id", AS_OF, "R1")]),
    )
    found = build_features(crm.cut(as_of=AS_OF), at(AS_OF))
    pd.testing.assert_frame_equal(found, build_features(crm, at(AS_OF)))
    assert {"source", "owner_id", "fax_n_7d", "calls_recency_days"} < set(found)
    assert values(found, "fax_n_7d") == [0]


def test_rows_keep_their_order_and_index() -> None:
    crm = make_crm(leads=[lead(), lead("L1")], interactions=numbered("interactions", [contact(AS_OF - DAY)]))
    rows = pd.concat([at(AS_OF, who="L1"), at(AS_OF, AS_OF - DAY), at(AS_OF)]).set_axis(["b", "a", "a", "c"])
    found = build_features(crm, rows, features=(Feature("calls", "interactions", windows=(EVER,)),))
    assert found["calls_n_ever"].tolist() == [0, 1, 0, 1]
    assert found.index.tolist() == ["b", "a", "a", "c"]


# Fields, calendar, links


def test_empty_fields_are_taken_from_an_account_that_was_known_by_then() -> None:
    accounts = [
        {"account_id": "A", "industry": "C", "employees": 50.0, "created_at": pd.Timestamp("2024-02-01")},
        {"account_id": "B", "industry": "G"},  # nobody knows since when
    ]
    leads = [lead(account_id="A", industry="J"), lead("L1", account_id="A"), lead("L2", account_id="B"), lead("L3")]
    crm = make_crm(leads=leads, accounts=accounts)
    rows = pd.concat([at("2024-02-01", "2024-02-02", who=f"L{k}") for k in range(4)])
    features = (Field("industry", fallback=True), Field("employees", fallback=True))
    found = build_features(crm, rows, features=features)
    assert values(found, "industry") == ["J", "J", None, "C", None, None, None, None]
    assert values(found, "employees") == [None, 50, None, 50, None, None, None, None]


def test_fields_and_own_columns_have_plain_types() -> None:
    own = {
        "x_flag": pd.Series([True, None], dtype="boolean"),
        "x_time": pd.Series(pd.to_datetime(["2024-01-01", None]), dtype="datetime64[us]"),
        "x_text": ["a", None],
        "x_number": [1.5, None],
    }
    leads = pd.DataFrame([lead(source="web", employees=7.0), lead("L1")]).assign(**own)
    crm = make_crm({c: {"known": "creation"} for c in own}, leads=leads)
    found = build_features(crm, pd.concat([at(AS_OF), at(AS_OF, who="L1")]))
    assert found.dtypes.astype(str).to_dict() == {
        "source": "str",
        "employees": "float64",
        "x_flag": "float64",
        "x_text": "str",
        "x_number": "float64",
        "age_days": "float64",
        "month": "float64",
        "quarter_days_left": "float64",
    }
    assert values(found, "x_flag") == [1, None]


def test_study_without_dates_has_fields_and_own_columns_of_unknown_date_but_never_todays() -> None:
    own = {"x_then": {"known": "creation"}, "x_now": {"known": "today"}, "x_odd": {"known": "unknown"}}
    leads = [lead(source="web", created_at=pd.NaT, x_then="a", x_now="b", x_odd="c", x_bare="d", account_id="A0")]
    changes = numbered("changes", [cases.change("owner_id", "2024-01-01", "R1")])
    crm = make_crm(
        own,
        leads=leads,
        accounts=[{"account_id": "A0", "region": "Veneto"}],
        interactions=numbered("interactions", [contact(AS_OF - DAY)]),
        changes=changes,
    )
    found = build_features(crm, at(pd.NaT))
    assert found.iloc[0].to_dict() == {"source": "web", "region": "Veneto", "x_then": "a", "x_odd": "c", "x_bare": "d"}
    dated = build_features(crm, at(AS_OF), windows=[7])
    assert [c for c in dated if c.startswith("x_")] == ["x_then"]


def test_calendar() -> None:
    crm = make_crm(
        leads=[lead(created_at=pd.Timestamp("2024-01-01"))],
        opportunities=[cases.deal(created_at=pd.Timestamp("2024-02-01"), lead_id="L0")],
        accounts=[cases.account(customer_since=pd.Timestamp("2024-02-10"))],
    )
    dates = ("2024-01-01", "2024-01-01 06:00", "2024-02-29", "2024-12-31")
    features = (Calendar("age_days"), Calendar("month"), Calendar("quarter_days_left"))
    found = build_features(crm, at(*dates), features=features)
    assert values(found, "age_days") == [None, 0.25, 59, 365]
    assert values(found, "month") == [1, 1, 2, 12]
    assert values(found, "quarter_days_left") == [91, 90.75, 32, 1]
    deals = build_features(crm, at(*dates[1:], entity="opportunity"), features=(Calendar("lead_to_opportunity_days"),))
    assert values(deals, "lead_to_opportunity_days") == [None, 31, 31]
    customers = build_features(
        crm, at("2024-02-10", "2024-02-11", entity="account"), features=(Calendar("customer_days"),)
    )
    assert values(customers, "customer_days") == [None, 1]


def test_linked_features_are_those_of_the_other_at_the_same_date() -> None:
    crm = make_crm(
        leads=[lead(account_id="A0"), lead("L1")],
        accounts=[cases.account()],
        interactions=numbered("interactions", [contact(AS_OF - DAY, account_id="A0"), contact(AS_OF, account_id="A0")]),
    )
    link = Linked("company", "account", "account_id", (Feature("calls", "interactions", "n recency", windows=(7,)),))
    rows = pd.concat([at(AS_OF - DAY, AS_OF, AS_OF + MICRO), at(AS_OF, who="L1")])
    found = build_features(crm, rows, features=(link,))
    assert values(found, "company_calls_n_7d") == [0, 1, 2, None]
    assert values(found, "company_calls_recency_days") == [None, 1, MICRO / DAY, None]
    assert found["company_calls_n_7d"].dtype == np.float64


def test_owner_of_today_is_never_taken_for_the_owner_of_the_date() -> None:
    """Without a history of owners there is no owner at a date, so there are no features of one."""
    crm = make_crm(
        leads=[lead(owner_id="R0", opportunity_id="O0", converted_at=AS_OF + DAY)],
        opportunities=[cases.deal()],
        reps=[cases.rep()],
        interactions=numbered("interactions", [contact(AS_OF - DAY, opportunity_id="O0", lead_id="L0")]),
    )
    assert not [c for c in build_features(crm, at(AS_OF)) if c.startswith("owner")]
    later = Linked("deal", "opportunity", "opportunity_id", (Feature("calls", "interactions"),))
    assert build_features(crm, at(AS_OF), features=(later,)).shape == (1, 0)


def test_hired_later_is_not_yet_known() -> None:
    crm = make_crm(
        leads=[lead()],
        reps=[cases.rep(hired_at=AS_OF)],
        changes=numbered("changes", [cases.change("owner_id", AS_OF - DAY, "R0")]),
    )
    found = build_features(crm, at(AS_OF, AS_OF + DAY))
    assert values(found, "owner_age_days") == [None, 1]


def test_from_the_store_to_the_features(tmp_path: Path) -> None:
    """The whole way, through the store, with snapshots as a study makes them."""
    leads = [lead(source="web"), lead("L1", converted_at=pd.Timestamp("2024-02-20"), status="converted")]
    rows = [contact("2024-02-12 12:00"), contact("2024-02-12", "2024-02-20", lead_id="L1")]
    store = Store(tmp_path / "crm.duckdb")
    store.load({"leads": pd.DataFrame(leads), "interactions": numbered("interactions", rows)}, fingerprint="f")
    crm = cases.Crm(store)
    snapshots = build_snapshots(
        crm, entity="lead", label="within_horizon", as_of="2024-02-19", horizon_days=7, every="weekly"
    )
    found = build_features(crm, snapshots, windows=[7, 30])
    tables = {name: crm[name] for name in TABLES}
    expected = reference.reference_features(tables, snapshots, declared("lead"), (7, 30))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    last = snapshots["as_of"].eq(pd.Timestamp("2024-02-19"))
    assert values(found[last], "calls_n_7d") == [1, 0]
    assert values(found[last], "calls_recency_days") == [6.5, None]


def test_own_fields_come_once_and_in_their_own_order() -> None:
    crm = make_crm(leads=[lead(x_then="a", x_now="b", source="web")])
    assert list(build_features(crm, at(AS_OF), features=(OwnFields(), Field("source")))) == ["x_then", "source"]
