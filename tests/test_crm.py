"""A CRM as of a date: what is visible, what is emptied, and which dates a study may ask for."""

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crmlab.crm import Crm, as_instant, check_as_of, cut_table, data_span
from crmlab.schema import TABLES, TODAY, DataError, ParameterError, conform_table, table
from crmlab.store import Store

AS_OF = "2024-03-01"
JUST_BEFORE = "2024-02-29 23:59:59.999999"
JUST_AFTER = "2024-03-01 00:00:00.000001"


def times(*values: str | None) -> pd.Series:
    return pd.Series(pd.to_datetime(pd.Series(values, dtype="str"), format="ISO8601"), dtype="datetime64[us]")


def make_crm(folder: Path, *, own_columns: dict | None = None, **tables: pd.DataFrame) -> Crm:
    store = Store(folder / "crm.duckdb")
    store.load(tables, fingerprint="f")
    return Crm(store, "Test CRM", own_columns or {})


def leads(*created: str | None, **columns: object) -> pd.DataFrame:
    fixed = {"lead_id": [f"L{k}" for k in range(len(created))], "created_at": times(*created), "status": "working"}
    return conform_table("leads", pd.DataFrame(fixed | columns))


# The instant


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-06-30", "2024-06-30 00:00"),
        ("2024-06-30T10:00", "2024-06-30 10:00"),
        ("2024-06-30 10:00:00.000001", "2024-06-30 10:00:00.000001"),
        ("2024-06-30T10:00+02:00", "2024-06-30 08:00"),
        ("2024-06-30T23:00Z", "2024-06-30 23:00"),
        (pd.Timestamp("2024-06-30"), "2024-06-30 00:00"),
        (pd.Timestamp("2024-06-30").as_unit("ns"), "2024-06-30 00:00"),
        (pd.Timestamp("2024-06-30", tz="Europe/Rome"), "2024-06-29 22:00"),
        (dt.datetime(2024, 6, 30, 1), "2024-06-30 01:00"),
        (dt.date(2024, 6, 30), "2024-06-30 00:00"),
    ],
)
def test_instant_is_naive_utc_in_microseconds(given: object, expected: str) -> None:
    found = as_instant(given)
    assert found == pd.Timestamp(expected)
    assert found.tzinfo is None
    assert found.unit == "us"


@pytest.mark.parametrize(
    "given",
    # "now" and "today" would read the clock; a year or month alone may be meant as its end.
    ["now", "today", "", "2024", "2024-06", "30/06/2024", "2024-02-30", "2024-W05", "2024-06-30 ", "2024-06-30x"],
)
def test_what_is_no_iso_date_is_refused(given: object) -> None:
    with pytest.raises(
        ParameterError, match=r"`as_of` must be an ISO date such as 2024-06-30.\n  Found: .*\n  To do: "
    ):
        as_instant(given)


@pytest.mark.parametrize("given", [None, 20240630, 1.5, float("nan"), True, ["2024-06-30"], pd.NaT])
def test_what_is_no_text_or_time_is_refused(given: object) -> None:
    with pytest.raises(ParameterError, match=r"`as_of` must be an ISO date"):
        as_instant(given)


# Cutting a table


def test_row_is_visible_only_strictly_after_it_became_known() -> None:
    frame = leads(JUST_BEFORE, AS_OF, JUST_AFTER, None)
    assert cut_table("leads", frame, as_of=AS_OF)["lead_id"].tolist() == ["L0"]
    assert cut_table("leads", frame, as_of=JUST_AFTER)["lead_id"].tolist() == ["L0", "L1"]


def test_values_known_later_than_their_row_are_emptied_from_their_own_time_on() -> None:
    frame = leads(
        *["2024-01-01"] * 4,
        converted_at=times(JUST_BEFORE, AS_OF, JUST_AFTER, None),
        opportunity_id=["O0", "O1", "O2", "O3"],
    )
    found = cut_table("leads", frame, as_of=AS_OF)
    assert found["converted_at"].notna().tolist() == [True, False, False, False]
    assert found["opportunity_id"].fillna("-").tolist() == ["O0", "-", "-", "-"]  # undated: nobody knows since when


def test_every_table_empties_what_it_declares() -> None:
    before, after = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-06-01")
    values = {"id": "a", "text": "a", "category": "a", "number": 1.0, "integer": 1, "boolean": True, "time": before}
    for name, spec in TABLES.items():
        row = {c.name: c.values[0] if c.values else values[c.kind] for c in spec.columns}
        row |= {c.known: after for c in spec.columns if c.known not in (TODAY, spec.known_at)}
        found = cut_table(name, conform_table(name, pd.DataFrame([row])), as_of=AS_OF)
        filled = {c for c in found if found[c].notna().all()}
        assert filled == {c.name for c in spec.columns if c.known == spec.known_at}, name


def test_columns_of_today_are_emptied_and_keep_their_type() -> None:
    frame = leads("2024-01-01", owner_id=["R1"], crm_score=[5.0], notes=["text"])
    found = cut_table("leads", frame, as_of=AS_OF)
    today = ["owner_id", "status", "crm_score", "notes"]
    assert found[today].isna().all(axis=None)
    assert found.dtypes.equals(frame.dtypes)


@pytest.mark.parametrize("name", TABLES)
def test_nothing_visible_leaves_an_empty_table_of_the_same_types(name: str) -> None:
    spec = table(name)
    late = pd.Timestamp("2025-01-01")
    values = {"id": "a", "text": "a", "category": "a", "number": 1.0, "integer": 1, "boolean": True, "time": late}
    frame = pd.DataFrame([{c.name: c.values[0] if c.values else values[c.kind] for c in spec.columns}])
    frame = conform_table(name, frame)
    found = cut_table(name, frame, as_of=AS_OF)
    assert found.empty
    assert found.dtypes.equals(frame.dtypes)


def test_argument_is_left_as_it_was_and_its_index_does_not_matter() -> None:
    frame = leads(JUST_AFTER, "2024-01-01", "2024-01-02", converted_at=times(None, JUST_AFTER, "2024-02-01"))
    expected = cut_table("leads", frame, as_of=AS_OF)
    frame.index = [5, 5, 5]
    before = frame.copy(deep=True)
    pd.testing.assert_frame_equal(cut_table("leads", frame, as_of=AS_OF), expected)
    pd.testing.assert_frame_equal(frame, before)
    assert list(expected.index) == [0, 1]


def test_cutting_twice_is_cutting_at_the_earlier_instant() -> None:
    frame = leads("2024-01-01", "2024-02-01", "2024-04-01", converted_at=times("2024-02-15", "2024-05-01", None))
    twice = cut_table("leads", cut_table("leads", frame, as_of="2024-06-01"), as_of=AS_OF)
    pd.testing.assert_frame_equal(twice, cut_table("leads", frame, as_of=AS_OF))


def test_unknown_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"no canonical table `laeds`"):
        cut_table("laeds", pd.DataFrame(), as_of=AS_OF)


# The CRM


def test_tables_are_read_once_and_those_never_loaded_are_empty(tmp_path: Path) -> None:
    crm = make_crm(tmp_path, leads=leads("2024-01-01"))
    assert crm["leads"] is crm["leads"]
    assert crm["invoices"].empty
    assert (crm.fingerprint, crm.title, crm.truth) == ("f", "Test CRM", None)
    with pytest.raises(DataError, match=r"The store has no table `laeds`.\n  To do: did you mean `leads`"):
        crm["laeds"]


def test_fingerprint_of_a_crm_never_loaded_is_empty_text(tmp_path: Path) -> None:
    assert Crm(Store(tmp_path / "none.duckdb")).fingerprint == ""


def test_counts_name_the_canonical_tables_that_hold_rows(tmp_path: Path) -> None:
    truth = pd.DataFrame({"a": [1]})
    crm = make_crm(
        tmp_path,
        leads=leads("2024-01-01", "2024-04-01"),
        accounts=conform_table("accounts", pd.DataFrame(columns=["account_id"])),
        truth_a=truth,
    )
    assert crm.counts() == {"leads": 2}
    assert crm.cut(as_of=AS_OF).counts() == {"leads": 1}
    assert crm.cut(as_of="2020-01-01").counts() == {}


def test_only_own_columns_known_at_creation_pass_the_cut(tmp_path: Path) -> None:
    own = {"x_then": {"known": "creation"}, "x_now": {"known": "today"}, "x_odd": {"known": "unknown"}, "x_bare": {}}
    frame = leads("2024-01-01", **dict.fromkeys([*own, "x_undeclared"], 1.0))
    crm = make_crm(tmp_path, own_columns=own, leads=frame)
    assert {c: crm.known_of(c) for c in [*own, "x_undeclared"]} == {
        "x_then": "creation",
        "x_now": "today",
        "x_odd": "unknown",
        "x_bare": "unknown",
        "x_undeclared": "unknown",
    }
    assert [c for c in crm.at("leads", as_of=AS_OF) if c.startswith("x_")] == ["x_then"]
    assert "x_now" in crm["leads"]


def test_cut_crm_holds_nothing_newer_and_leaves_the_whole_one_as_it_was(tmp_path: Path) -> None:
    crm = make_crm(tmp_path, leads=leads("2024-01-01", JUST_AFTER, converted_at=times(AS_OF, None)))
    before = crm["leads"].copy(deep=True)
    cut = crm.cut(as_of=AS_OF)
    pd.testing.assert_frame_equal(cut["leads"], crm.at("leads", as_of=AS_OF))
    assert cut["leads"]["lead_id"].tolist() == ["L0"]
    assert cut["leads"]["converted_at"].isna().all()
    pd.testing.assert_frame_equal(crm["leads"], before)
    assert crm.whole is crm
    assert cut.whole is crm
    assert cut.cut(as_of="2024-01-01").whole is crm


# The span of the data


def test_span_runs_from_the_first_creation_to_the_newest_fact(tmp_path: Path) -> None:
    day = times("2024-05-06 07:08:09")
    contracts = pd.DataFrame({"contract_id": ["C"], "account_id": "A", "started_at": times("2023-01-01")})
    crm = make_crm(
        tmp_path,
        leads=leads("2024-02-01", "2024-03-01"),
        opportunities=pd.DataFrame({"opportunity_id": ["O"], "created_at": times("2024-01-15")}),
        contracts=contracts.assign(term_end_at=times("2030-01-01")),  # agreed, not a fact
        interactions=pd.DataFrame({"interaction_id": ["I"], "ts": day, "known_at": day, "type": "call"}),
    )
    assert data_span(crm) == (pd.Timestamp("2024-01-15"), day[0])


def test_span_of_a_source_without_leads_and_deals_begins_with_its_first_fact(tmp_path: Path) -> None:
    invoices = pd.DataFrame(
        {"invoice_id": ["1", "2"], "account_id": "A", "issued_at": times("2023-02-01", "2023-03-01")}
    )
    invoices["due_at"] = times("2022-01-01", "2030-01-01")  # planned, not a fact
    crm = make_crm(tmp_path, accounts=pd.DataFrame({"account_id": ["A"]}), invoices=invoices)
    assert data_span(crm) == (pd.Timestamp("2023-02-01"), pd.Timestamp("2023-03-01"))
    check_as_of(crm, "2023-02-15")


def test_span_without_any_date_is_empty(tmp_path: Path) -> None:
    first, last = data_span(make_crm(tmp_path, leads=leads(None, None)))
    assert first is pd.NaT
    assert last is pd.NaT


@pytest.mark.parametrize("as_of", ["2024-01-01T00:00:00.000001", "2024-02-01", "2024-02-10T12:00", "2024-02-11"])
def test_as_of_inside_the_data_is_right(tmp_path: Path, as_of: str) -> None:
    check_as_of(make_crm(tmp_path, leads=leads("2024-01-01", "2024-02-10 12:00")), as_of)


@pytest.mark.parametrize("as_of", ["2023-12-31", "2024-01-01", "2024-02-11T00:00:01", "2024-02-12", "2999-01-01"])
def test_as_of_outside_the_data_is_refused_with_the_dates_that_are_right(tmp_path: Path, as_of: str) -> None:
    crm = make_crm(tmp_path, leads=leads("2024-01-01", "2024-02-10 12:00"))
    expected = (
        r"outside the data.\n  Found: .*from 2024-01-01 to 2024-02-10\n  To do: .*after 2024-01-01 .* 2024-02-11\."
    )
    with pytest.raises(ParameterError, match=expected):
        check_as_of(crm, as_of)


def test_source_without_dates_takes_no_as_of_and_others_need_one(tmp_path: Path) -> None:
    crm = make_crm(tmp_path, leads=leads(None))
    check_as_of(crm, "")
    with pytest.raises(
        DataError, match=r"Test CRM has no creation dates(.|\n)*Found: as_of: '2024-01-01'(.|\n)*final_status"
    ):
        check_as_of(crm, "2024-01-01")
    with pytest.raises(ParameterError, match=r"must be an ISO date"):
        check_as_of(make_crm(tmp_path, leads=leads("2024-01-01")), "")


def test_own_columns_are_of_no_type_that_a_cut_could_lose(tmp_path: Path) -> None:
    own = {"x_flag": [True, None], "x_time": times("2024-01-01", None), "x_text": ["a", None], "x_number": [1, np.nan]}
    crm = make_crm(
        tmp_path, own_columns={c: {"known": "creation"} for c in own}, leads=leads(*["2024-01-01"] * 2, **own)
    )
    found = crm.at("leads", as_of=AS_OF)
    pd.testing.assert_frame_equal(found[list(own)], crm["leads"][list(own)])
