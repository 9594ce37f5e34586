"""Snapshots and labels: grids and edges by hand, a plain loop as the reference, and the laws of time."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmlab.crm import Crm, as_instant
from crmlab.schema import DataError, ParameterError, conform_table, empty_table
from crmlab.snapshots import (
    EVERY,
    LABELS,
    build_snapshots,
    censoring_table,
    label_snapshots,
    open_snapshots,
    snapshot_dates,
)
from crmlab.snapshots.leads import timeline_of
from crmlab.store import Store

AS_OF = "2024-03-04"  # a Monday
LAST = "2024-03-10"  # the newest fact, so that AS_OF lies inside the data
SECOND = pd.Timedelta(seconds=1)
MICRO = pd.Timedelta(microseconds=1)


def times(*values: object) -> pd.Series:
    return pd.Series([pd.Timestamp(v) if v is not None else pd.NaT for v in values], dtype="datetime64[us]")


def lead(created: object, converted: object = None, disqualified: object = None) -> dict:
    status = "converted" if converted is not None else "disqualified" if disqualified is not None else "working"
    return {"created_at": created, "converted_at": converted, "disqualified_at": disqualified, "status": status}


def make_leads(*rows: dict) -> pd.DataFrame:
    """Canonical leads L0, L1, … from rows of `lead`."""
    columns = {c: times(*(r[c] for r in rows)) for c in ("created_at", "converted_at", "disqualified_at")}
    ids = pd.Series([f"L{k}" for k in range(len(rows))], dtype="str")
    status = pd.Series([r["status"] for r in rows], dtype="str")
    return conform_table("leads", pd.DataFrame({"lead_id": ids, "status": status} | columns))


def make_crm(folder: Path, leads: pd.DataFrame, **tables: pd.DataFrame) -> Crm:
    store = Store(folder / f"crm{len(list(folder.iterdir()))}.duckdb")
    store.load({"leads": leads} | tables, fingerprint="f")
    return Crm(store, "Test CRM")


def until(day: str) -> pd.DataFrame:
    """One account whose creation makes the data reach to a day."""
    return pd.DataFrame({"account_id": ["A"], "created_at": times(day)})


def build(folder: Path, *rows: dict, every: str = "weekly", as_of: str = AS_OF, horizon_days: int = 14) -> pd.DataFrame:
    crm = make_crm(folder, make_leads(*rows), accounts=until(LAST))
    return build_snapshots(
        crm, entity="lead", label="within_horizon", as_of=as_of, horizon_days=horizon_days, every=every
    )


def dates_of(rows: pd.DataFrame, lead_id: str = "L0") -> list[str]:
    return rows.loc[rows["lead_id"] == lead_id, "as_of"].dt.strftime("%m-%d").tolist()


def labels_of(rows: pd.DataFrame, lead_id: str = "L0") -> list[object]:
    """Labels in the order of their dates; None where censored."""
    return [None if pd.isna(v) else bool(v) for v in rows.loc[rows["lead_id"] == lead_id, "label"]]


# Grids


def test_weekly_dates_run_back_from_as_of_to_the_last_one_after_the_first_creation() -> None:
    found = snapshot_dates(pd.Timestamp("2024-02-12"), as_of=AS_OF, every="weekly")
    assert found.strftime("%Y-%m-%d").tolist() == ["2024-02-19", "2024-02-26", "2024-03-04"]
    assert found.dtype == "datetime64[us]"
    one_more = snapshot_dates(pd.Timestamp("2024-02-12") - MICRO, as_of=AS_OF, every="weekly")
    assert one_more[0] == pd.Timestamp("2024-02-12")


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("2024-05-31", ["2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31"]),
        ("2023-03-30", ["2022-12-30", "2023-01-30", "2023-02-28", "2023-03-30"]),
        ("2024-02-29", ["2023-12-29", "2024-01-29", "2024-02-29"]),
        ("2024-01-01", ["2023-12-01", "2024-01-01"]),
    ],
)
def test_monthly_dates_keep_the_day_or_take_the_last_one_of_the_month(as_of: str, expected: list[str]) -> None:
    first = pd.Timestamp(expected[0]) - SECOND
    found = snapshot_dates(first, as_of=as_of, every="monthly")
    assert found.strftime("%Y-%m-%d").tolist() == expected


@settings(max_examples=200, deadline=None)
@given(
    end=st.datetimes(pd.Timestamp("2000-01-01"), pd.Timestamp("2100-12-31")),
    days=st.integers(-40, 900),
    every=st.sampled_from(EVERY[:2]),
)
def test_dates_rise_without_repeats_lie_after_the_first_and_leave_no_room(end: object, days: int, every: str) -> None:
    first = pd.Timestamp(end) - pd.Timedelta(days=days)
    found = snapshot_dates(first, as_of=pd.Timestamp(end), every=every)
    step = pd.Timedelta(days=7) if every == "weekly" else pd.DateOffset(months=1)
    assert found.is_monotonic_increasing
    assert found.is_unique
    assert (found > first).all()
    if len(found):
        assert found[-1] == end
        assert found[0] - step <= first + (pd.Timedelta(0) if every == "weekly" else pd.Timedelta(days=3))
    else:
        assert first >= end


@pytest.mark.parametrize("every", ["daily", "creation", "Weekly"])
def test_dates_of_other_grids_are_refused(every: str) -> None:
    with pytest.raises(
        ParameterError, match=rf"`every` must be one of weekly, monthly.\n  Found: '{every}'\n  To do: "
    ):
        snapshot_dates(pd.Timestamp("2024-01-01"), as_of=AS_OF, every=every)


# When a lead is open


def test_lead_is_open_from_strictly_after_its_creation(tmp_path: Path) -> None:
    rows = build(tmp_path, lead("2024-02-19"), lead(pd.Timestamp("2024-02-19") - MICRO), lead("2024-03-04"))
    assert dates_of(rows, "L0") == ["02-26", "03-04"]
    assert dates_of(rows, "L1") == ["02-19", "02-26", "03-04"]
    assert dates_of(rows, "L2") == []


@pytest.mark.parametrize("closing", ["converted", "disqualified"])
def test_lead_is_open_until_strictly_before_its_closing(tmp_path: Path, closing: str) -> None:
    at = pd.Timestamp("2024-02-26")
    rows = build(tmp_path, lead("2024-02-12", **{closing: at}), lead("2024-02-12", **{closing: at - MICRO}))
    assert dates_of(rows, "L0") == ["02-19", "02-26"]
    assert dates_of(rows, "L1") == ["02-19"]


def test_lead_that_closes_in_between_or_before_its_creation_has_no_rows(tmp_path: Path) -> None:
    rows = build(
        tmp_path,
        lead("2024-02-13", converted="2024-02-14"),
        lead("2024-02-13", disqualified="2024-01-01"),
        lead("2024-02-13"),
    )
    assert rows["lead_id"].unique().tolist() == ["L2"]


def test_lead_with_both_closings_closes_at_the_earlier_one(tmp_path: Path) -> None:
    rows = build(tmp_path, lead("2024-02-05", converted="2024-02-25", disqualified="2024-02-14"), lead("2024-02-05"))
    assert dates_of(rows, "L0") == ["02-12"]
    assert labels_of(rows, "L0") == [True]  # it was given up, yet it converted within the fortnight


def test_month_ends_on_a_31st(tmp_path: Path) -> None:
    crm = make_crm(tmp_path, make_leads(lead("2024-01-01", converted="2024-04-30")), accounts=until("2024-06-05"))
    rows = build_snapshots(
        crm, entity="lead", label="within_horizon", as_of="2024-05-31", horizon_days=31, every="monthly"
    )
    assert dates_of(rows) == ["01-31", "02-29", "03-31", "04-30"]
    assert labels_of(rows) == [False, False, True, None]  # on 30 April it converts at that very instant


def test_at_creation_a_lead_is_looked_at_once_at_the_end_of_its_first_day(tmp_path: Path) -> None:
    rows = build(
        tmp_path,
        lead("2024-02-12"),  # midnight: a whole day of its own
        lead("2024-02-12 23:59:59"),  # a date without a time of day
        lead("2024-02-12", converted="2024-02-12 12:00"),  # closed before anyone looks
        lead("2024-02-12", converted="2024-02-13"),  # at the very instant
        lead("2024-03-03 08:00"),  # the day ends with the study
        lead("2024-03-04 00:00:01"),  # and this one after it
        every="creation",
    )
    assert rows["lead_id"].tolist() == ["L0", "L1", "L3", "L4"]
    assert dates_of(rows, "L0") == dates_of(rows, "L1") == dates_of(rows, "L3") == ["02-13"]
    assert dates_of(rows, "L4") == ["03-04"]
    assert [labels_of(rows, k) for k in ("L0", "L1", "L3", "L4")] == [[False], [False], [None], [None]]


def test_dates_without_a_time_of_day_close_at_the_end_of_their_day(tmp_path: Path) -> None:
    """As MarketStar's: everything of a day is known at 23:59:59, one second before the next midnight."""
    rows = build(
        tmp_path,
        lead("2024-02-04 23:59:59", converted="2024-02-18 23:59:59"),
        lead("2024-02-04 23:59:59", converted="2024-02-19 23:59:59"),
        every="creation",
    )
    assert rows["as_of"].eq(pd.Timestamp("2024-02-05")).all()
    assert labels_of(rows, "L0") == [True]
    assert labels_of(rows, "L1") == [False]  # 23:59:59 after the fortnight


def test_rows_come_by_lead_and_date_with_plain_types(tmp_path: Path) -> None:
    leads = make_leads(lead("2024-02-20"), lead("2024-02-12")).assign(lead_id=["b", "a"])
    crm = make_crm(tmp_path, leads, accounts=until(LAST))
    rows = build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=7, every="weekly")
    assert list(zip(rows["lead_id"], rows["as_of"].dt.day, strict=True)) == [
        ("a", 19),
        ("a", 26),
        ("a", 4),
        ("b", 26),
        ("b", 4),
    ]
    assert rows.dtypes.astype(str).to_dict() == {
        "lead_id": "str",
        "as_of": "datetime64[us]",
        "label": "boolean",
        "mature": "bool",
    }
    assert rows.index.equals(pd.RangeIndex(5))


@pytest.mark.parametrize("every", EVERY[:3])
def test_no_lead_gives_no_row_of_the_same_types(every: str) -> None:
    some = open_snapshots(timeline_of(make_leads(lead("2024-02-12"))), as_of=AS_OF, every=every)
    for leads in (empty_table("leads"), make_leads(lead(None)), make_leads(lead(AS_OF))):
        rows = open_snapshots(timeline_of(leads), as_of=AS_OF, every=every)
        assert rows.empty
        assert rows.dtypes.equals(some.dtypes)
        assert label_snapshots(rows, timeline_of(leads), as_of=AS_OF, horizon_days=7)["mature"].dtype == "bool"


def test_lead_without_creation_is_never_open(tmp_path: Path) -> None:
    rows = build(tmp_path, lead(None), lead("2024-02-20"))
    assert rows["lead_id"].unique().tolist() == ["L1"]


# Labels


@pytest.mark.parametrize(
    ("converted", "label"),
    [
        (pd.Timestamp("2024-02-19") + MICRO, True),
        ("2024-03-04", True),  # exactly at the end of the window
        (pd.Timestamp("2024-03-04") + MICRO, False),
        (None, False),
    ],
)
def test_label_counts_conversions_after_as_of_up_to_and_with_the_end_of_the_window(
    converted: object, label: bool
) -> None:
    leads = make_leads(lead("2024-01-01", converted=converted))
    row = pd.DataFrame({"lead_id": ["L0"], "as_of": times("2024-02-19")})
    found = label_snapshots(row, timeline_of(leads), as_of="2024-03-10", horizon_days=14)
    assert labels_of(found) == [label]
    assert found["mature"].tolist() == [True]


@pytest.mark.parametrize(("horizon_days", "mature"), [(13, True), (14, True), (15, False)])
def test_label_is_mature_once_the_window_has_passed(horizon_days: int, mature: bool) -> None:
    row = pd.DataFrame({"lead_id": ["L0"], "as_of": times("2024-02-19")})
    leads = make_leads(lead("2024-01-01", converted="2024-02-20"))
    found = label_snapshots(row, timeline_of(leads), as_of=AS_OF, horizon_days=horizon_days)
    assert found["mature"].tolist() == [mature]
    assert labels_of(found) == [True if mature else None]  # what is censored is never counted, not even a success


def test_conversion_at_the_very_instant_of_a_row_is_censored_not_dropped(tmp_path: Path) -> None:
    rows = build(tmp_path, lead("2024-02-01", converted="2024-02-12"))
    assert dates_of(rows) == ["02-05", "02-12"]
    assert labels_of(rows) == [True, None]
    assert rows["mature"].tolist() == [True, False]


def test_conversion_at_the_very_end_of_the_study_is_not_seen(tmp_path: Path) -> None:
    """`known < as_of` is strict: what happens at the study's own instant belongs to the next study."""
    rows = build(tmp_path, lead("2024-02-15", converted=AS_OF))
    assert dates_of(rows) == ["02-19", "02-26", "03-04"]
    assert labels_of(rows) == [False, None, None]


def test_labels_keep_the_order_index_and_columns_of_the_rows() -> None:
    leads = make_leads(lead("2024-01-01", converted="2024-02-20"), lead("2024-01-01"))
    rows = pd.DataFrame(
        {"lead_id": ["L1", "L0", "L1"], "as_of": times(*["2024-02-19"] * 3).to_numpy(), "kept": 1}, index=[9, 9, 2]
    )
    before = rows.copy(deep=True)
    found = label_snapshots(rows, timeline_of(leads), as_of=AS_OF, horizon_days=7)
    assert found["label"].tolist() == [False, True, False]
    assert list(found.index) == [9, 9, 2]
    pd.testing.assert_frame_equal(found[["lead_id", "as_of", "kept"]], before)
    pd.testing.assert_frame_equal(rows, before)


def test_rows_of_unknown_leads_are_refused() -> None:
    rows = pd.DataFrame({"lead_id": ["L0", "L7"], "as_of": times("2024-02-19", "2024-02-19")})
    with pytest.raises(DataError, match=r"leads that the CRM does not hold.\n  Found: 1 of 2 rows"):
        label_snapshots(rows, timeline_of(make_leads(lead("2024-01-01"))), as_of=AS_OF, horizon_days=7)


# Against a plain loop, and the laws

HOURS = 6
START = pd.Timestamp("2024-01-01")
END = START + pd.Timedelta(days=70)
instants = st.integers(-8, 71 * 24 // HOURS).map(lambda n: START + n * pd.Timedelta(hours=HOURS))
some_leads = st.lists(
    st.builds(lead, instants, st.none() | instants, st.none() | instants), min_size=1, max_size=6
).map(lambda rows: make_leads(*rows))


def plain_rows(leads: pd.DataFrame, *, as_of: pd.Timestamp, every: str) -> list[tuple[str, pd.Timestamp]]:
    """The definition of an open lead, one lead and one date after the other."""
    rows = []
    for row in leads.sort_values("lead_id").itertuples():
        if every == "creation":
            dates = [row.created_at.normalize() + pd.Timedelta(days=1)]
        elif every == "weekly":
            dates = [as_of - k * pd.Timedelta(days=7) for k in range(60, -1, -1)]
        else:
            dates = [as_of - pd.DateOffset(months=k) for k in range(14, -1, -1)]
        closings = [t for t in (row.converted_at, row.disqualified_at) if not pd.isna(t)]
        open_dates = [d for d in dates if row.created_at < d <= as_of and not any(t < d for t in closings)]
        rows += [(row.lead_id, d) for d in open_dates if row.created_at < as_of]
    return rows


def plain_label(converted: pd.Timestamp, date: pd.Timestamp, *, as_of: pd.Timestamp, horizon_days: int) -> object:
    if date + pd.Timedelta(days=horizon_days) > as_of or converted == date:
        return None
    return not pd.isna(converted) and date < converted <= date + pd.Timedelta(days=horizon_days)


@settings(max_examples=150, deadline=None)
@given(leads=some_leads, every=st.sampled_from(EVERY[:3]), horizon_days=st.sampled_from([1, 7, 14, 30]))
def test_rows_and_labels_are_those_of_the_plain_loop(leads: pd.DataFrame, every: str, horizon_days: int) -> None:
    rows = open_snapshots(timeline_of(leads), as_of=END, every=every)
    assert list(zip(rows["lead_id"], rows["as_of"], strict=True)) == plain_rows(leads, as_of=END, every=every)
    found = label_snapshots(rows, timeline_of(leads), as_of=END, horizon_days=horizon_days)
    converted = leads.set_index("lead_id")["converted_at"]
    expected = [
        plain_label(converted[r.lead_id], r.as_of, as_of=END, horizon_days=horizon_days) for r in rows.itertuples()
    ]
    assert [None if pd.isna(v) else bool(v) for v in found["label"]] == expected
    assert found["mature"].tolist() == [v is not None for v in expected]


@settings(max_examples=50, deadline=None)
@given(leads=some_leads, every=st.sampled_from(EVERY[:3]), seed=st.integers(0, 9))
def test_row_order_and_index_change_nothing_and_the_argument_is_left(
    leads: pd.DataFrame, every: str, seed: int
) -> None:
    mixed = leads.sample(frac=1, random_state=seed)
    before = mixed.copy(deep=True)
    expected = open_snapshots(timeline_of(leads), as_of=END, every=every)
    pd.testing.assert_frame_equal(open_snapshots(timeline_of(mixed), as_of=END, every=every), expected)
    pd.testing.assert_frame_equal(
        label_snapshots(expected, timeline_of(mixed), as_of=END, horizon_days=7),
        label_snapshots(expected, timeline_of(leads), as_of=END, horizon_days=7),
    )
    pd.testing.assert_frame_equal(mixed, before)


def the_study(crm: Crm, every: str) -> pd.DataFrame:
    return build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=20, every=every)


@pytest.mark.parametrize("every", EVERY[:3])
def test_facts_at_or_after_as_of_change_nothing(tmp_path: Path, every: str) -> None:
    past = [
        lead("2024-01-08"),
        lead("2024-01-15", converted="2024-02-20"),
        lead("2024-02-01", disqualified="2024-02-22"),
    ]
    expected = the_study(make_crm(tmp_path, make_leads(*past), accounts=until(LAST)), every)
    assert expected["label"].sum() >= (every != "creation")
    at, after = pd.Timestamp(AS_OF), pd.Timestamp(AS_OF) + MICRO
    for instant in (at, after):
        future = [
            past[0] | {"converted_at": instant, "status": "converted"},
            past[1] | {"disqualified_at": instant},
            past[2] | {"converted_at": instant},
            lead(instant),
            lead(instant, converted=instant + SECOND),
        ]
        crm = make_crm(tmp_path, make_leads(*future).assign(owner_id="R9", crm_score=9.0), accounts=until(LAST))
        pd.testing.assert_frame_equal(the_study(crm, every), expected)


def test_inputs_come_back_untouched(tmp_path: Path) -> None:
    crm = make_crm(tmp_path, make_leads(lead("2024-01-08"), lead("2024-01-15", converted="2024-02-20")))
    before = crm["leads"].copy(deep=True)
    rows = build_snapshots(
        crm, entity="lead", label="within_horizon", as_of="2024-02-20", horizon_days=7, every="weekly"
    )
    pd.testing.assert_frame_equal(crm["leads"], before)
    kept = rows.copy(deep=True)
    censoring_table(crm, rows)
    pd.testing.assert_frame_equal(rows, kept)


# Studies without dates of closing


def with_status(*statuses: str, created: list[object]) -> pd.DataFrame:
    return make_leads(*(lead(c) for c in created)).assign(status=list(statuses))


def test_final_status_has_one_row_a_lead_open_ones_censored(tmp_path: Path) -> None:
    leads = with_status("converted", "disqualified", "new", "working", created=[None] * 4)
    crm = make_crm(tmp_path, leads.iloc[::-1])
    rows = build_snapshots(crm, entity="lead", label="final_status", as_of="", horizon_days=0, every="creation")
    assert rows["lead_id"].tolist() == ["L0", "L1", "L2", "L3"]
    assert [None if pd.isna(v) else bool(v) for v in rows["label"]] == [True, False, None, None]
    assert rows["mature"].tolist() == [True, True, False, False]
    assert rows["as_of"].isna().all()
    assert rows.dtypes.astype(str).tolist() == ["str", "datetime64[us]", "boolean", "bool"]


def test_final_status_with_dates_takes_the_leads_created_before_as_of(tmp_path: Path) -> None:
    created = ["2024-02-01", "2024-03-03 23:59:59", AS_OF, LAST]
    crm = make_crm(tmp_path, with_status("converted", "new", "converted", "new", created=created))
    rows = build_snapshots(crm, entity="lead", label="final_status", as_of=AS_OF, horizon_days=0, every="creation")
    assert rows["lead_id"].tolist() == ["L0", "L1"]
    assert rows["as_of"].tolist() == times("2024-02-02", "2024-03-04").tolist()  # the end of the first day


# Nothing dropped in silence


def test_censoring_table_tells_what_became_of_every_lead(tmp_path: Path) -> None:
    leads = make_leads(
        lead("2024-01-20"),  # mature and censored rows: used
        lead("2024-02-27"),  # censored only
        lead("2024-02-13", converted="2024-02-14"),  # never open at a snapshot
        lead("2024-03-05"),  # created too late
        lead("2024-02-13", disqualified="2024-02-01"),  # closed before it was created
    )
    crm = make_crm(tmp_path, leads)
    rows = build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=14, every="weekly")
    found = censoring_table(crm, rows).set_index("what")
    assert found["leads"].tolist() == [5, 1, 1, 2, 1, 0]
    assert found["rows"].fillna(-1).tolist() == [-1, 5, 3, 0, 0, 0]
    assert found["rows"].dtype == "Int64"
    assert found.index[1:3].tolist() == ["with a mature label: used", "with a censored label: kept apart"]


@settings(max_examples=60, deadline=None)
@given(leads=some_leads, every=st.sampled_from(EVERY[:3]), horizon_days=st.sampled_from([1, 14, 50]))
def test_censoring_table_adds_up(leads: pd.DataFrame, every: str, horizon_days: int) -> None:
    crm = Crm(Store("never read"), _read={"leads": leads})
    rows = label_snapshots(
        open_snapshots(timeline_of(leads), as_of=END, every=every),
        timeline_of(leads),
        as_of=END,
        horizon_days=horizon_days,
    )
    found = censoring_table(crm, rows)
    assert found["leads"].iloc[1:].sum() == found["leads"].iloc[0] == len(leads)
    assert found["rows"].iloc[1:].sum() == len(rows)


def test_censoring_table_of_a_study_without_dates_adds_up(tmp_path: Path) -> None:
    crm = make_crm(tmp_path, with_status("converted", "new", "new", created=[None] * 3))
    rows = build_snapshots(crm, entity="lead", label="final_status", as_of="", horizon_days=0, every="creation")
    assert censoring_table(crm, rows)["leads"].tolist() == [3, 1, 2, 0, 0, 0]


@pytest.mark.parametrize(("every", "status"), [("weekly", "disqualified"), ("creation", "converted")])
def test_a_few_closings_without_a_date_are_left_out_and_counted(tmp_path: Path, every: str, status: str) -> None:
    closing = {"converted" if status == "converted" else "disqualified": "2024-02-10"}
    leads = make_leads(*(lead("2024-01-20", **closing) for _ in range(40)), lead(LAST))
    leads["status"] = [status] * 40 + ["new"]
    column = "converted_at" if status == "converted" else "disqualified_at"
    few = leads.assign(**{column: leads[column].where(leads.index != 7)})
    crm = make_crm(tmp_path, few)
    rows = build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=14, every=every)
    assert set(leads["lead_id"][:40]) - set(rows["lead_id"]) == {few["lead_id"][7]}
    found = censoring_table(crm, rows).set_index("what")["leads"]
    assert found["left out: closed, but nobody knows when"] == 1
    assert found.iloc[1:].sum() == 41


# Refusals


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"label": "within_horizn"},
            rf"`label` must be one of {', '.join(LABELS)}.\n  Found: .*\n  To do: did you mean",
        ),
        ({"every": "daily"}, rf"`snapshots` must be one of {', '.join(EVERY)}.\n  Found: 'daily'"),
        ({"horizon_days": 0}, r"`horizon_days` must be positive.\n  Found: 0\n  To do: write the days ahead"),
        ({"horizon_days": -7}, r"`horizon_days` must be positive.\n  Found: -7"),
        ({"as_of": "2023-01-01"}, r"`as_of` lies outside the data"),
        ({"as_of": "tomorrow"}, r"`as_of` must be an ISO date"),
        ({"label": "final_status"}, r"With `label: final_status` there is no horizon.\n  Found: 90\n  To do: write"),
    ],
)
def test_impossible_parameters_are_refused(tmp_path: Path, change: dict, expected: str) -> None:
    crm = make_crm(tmp_path, make_leads(lead("2024-01-01"), lead("2024-03-05")))
    right = {"entity": "lead", "label": "within_horizon", "as_of": AS_OF, "horizon_days": 90, "every": "weekly"}
    build_snapshots(crm, **right)
    with pytest.raises(ParameterError, match=expected):
        build_snapshots(crm, **right | change)


def test_source_that_does_not_say_when_leads_convert_needs_the_final_status(tmp_path: Path) -> None:
    crm = make_crm(tmp_path, with_status("converted", "new", created=["2024-01-01", LAST]))
    expected = r"does not say when leads were created and converted(.|\n)*To do: write `label: final_status`"
    with pytest.raises(DataError, match=expected):
        build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=7, every="creation")


@pytest.mark.parametrize("every", ["weekly", "monthly"])
def test_leads_given_up_at_an_unknown_date_allow_only_the_creation(tmp_path: Path, every: str) -> None:
    crm = make_crm(tmp_path, with_status("disqualified", "new", created=["2024-01-01", LAST]))
    expected = rf"Snapshots `{every}` would count closed leads as open.\n  Found: 1 of 1 closed .*\n  To do: .*creation"
    with pytest.raises(DataError, match=expected):
        build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=7, every=every)
    rows = build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=7, every="creation")
    assert labels_of(rows) == [False]


def test_leads_converted_at_an_unknown_date_are_never_counted_as_failures(tmp_path: Path) -> None:
    leads = make_leads(lead("2024-01-01"), lead("2024-01-01", converted="2024-01-05"), lead(LAST))
    crm = make_crm(tmp_path, leads.assign(status=["converted", "converted", "new"]))
    with pytest.raises(
        DataError, match=r"would count as not converted.\n  Found: 1 of 2 converted leads(.|\n)*map `converted_at`"
    ):
        build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=7, every="creation")


def test_instants_of_the_study_may_have_a_time_of_day(tmp_path: Path) -> None:
    rows = build(tmp_path, lead("2024-02-26 11:59:59"), lead("2024-02-26 12:00"), as_of="2024-03-04T12:00")
    assert rows["as_of"].eq(as_instant("2024-03-04T12:00")).sum() == 2
    assert dates_of(rows, "L0") == ["02-26", "03-04"]
    assert dates_of(rows, "L1") == ["03-04"]
