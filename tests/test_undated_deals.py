"""Deals of a CRM that keeps no dates: what may be asked of them, what they know, and what the loader says."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from crmlab.crm import Crm
from crmlab.features import build_features, refused_columns
from crmlab.schema import TABLES, CrmlabError, DataError, ParameterError, conform_table, empty_table
from crmlab.snapshots import Question, build_snapshots, censoring_table, open_rows
from crmlab.sources import check_source, open_crm
from crmlab.store import Store

FINAL = {"entity": "opportunity", "label": "final_status", "as_of": "", "horizon_days": 0, "every": "creation"}
UNDATED = [
    {"opportunity_id": "O3", "sequence": 30, "outcome": "won", "product": "A", "x_seen": 3.0, "x_size": 1.0},
    {"opportunity_id": "O1", "sequence": 10, "outcome": "lost", "product": "B", "x_seen": 1.0, "x_size": 2.0},
    {"opportunity_id": "O2", "sequence": 20, "outcome": None, "product": "B", "x_seen": 2.0, "x_size": 5.0},
    {"opportunity_id": "O4", "sequence": 40, "outcome": None, "stage": "lost", "product": "A", "x_seen": 9.0},
]
MAPPING = """
title: Deals only
files:
  deals: {path: deals.csv}
tables:
  opportunities:
    file: deals
    columns:
      opportunity_id: Id
      outcome: {from: Result, values: {Won: won, Lost: lost, "": ""}}
"""
DEALS = "Id,Result,Number,Opened\nD1,Won,1,2024-01-05\nD2,Lost,2,2024-01-06\nD3,,3,2024-01-07\n"


def crm_of(deals: list[dict], **tables: list[dict]) -> Crm:
    read = {name: empty_table(name) for name in TABLES}
    for name, rows in {"opportunities": deals, **tables}.items():
        frame = pd.DataFrame(rows)
        for column in (c for c in TABLES[name].of_kind("time") if c in frame):
            frame[column] = pd.to_datetime(frame[column], format="ISO8601").astype("datetime64[us]")
        read[name] = conform_table(name, frame)
    own = {"x_seen": {"known": "unknown"}, "x_size": {"known": "creation"}}
    crm = Crm(Store("never read"), "Test CRM", own_columns=own, _read=read)
    return replace(crm, _whole=crm)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes a mapping and its file, and gives the source's name."""
    (tmp_path / "params" / "sources").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("CRMLAB_HOME", str(tmp_path))
    monkeypatch.setenv("CRMLAB_DATA", str(tmp_path / "data"))

    def write(columns: str = "", deals: str = DEALS) -> str:
        (tmp_path / "params" / "sources" / "deals.csv").write_text(deals, encoding="utf-8")
        (tmp_path / "params" / "sources" / "deals.yaml").write_text(MAPPING + columns, encoding="utf-8")
        return "deals"

    return write


def test_every_deal_has_one_row_without_a_date_and_open_ones_no_label() -> None:
    rows = build_snapshots(crm_of(UNDATED), **FINAL)
    assert rows["opportunity_id"].tolist() == ["O1", "O2", "O3", "O4"]
    assert rows["as_of"].isna().all()
    assert rows["as_of"].dtype == "datetime64[us]"
    assert rows["label"].tolist() == [False, pd.NA, True, False]  # O4 says only by its stage that it was lost
    assert rows["mature"].tolist() == [True, False, True, True]
    assert rows["label"].dtype == "boolean"


def test_nothing_is_dropped_in_silence() -> None:
    crm = crm_of(UNDATED)
    table = censoring_table(crm, build_snapshots(crm, **FINAL)).set_index("what")
    assert table["opportunities"].iloc[0] == 4
    assert table["opportunities"].iloc[1:].sum() == 4
    assert table.loc["with a censored label: kept apart", "opportunities"] == 1
    assert table["rows"].iloc[1:].sum() == 4


def test_who_has_no_result_yet_is_scored() -> None:
    asked = Question("x", "opportunity", "final_status", 0, "creation")
    assert open_rows(crm_of(UNDATED), asked, as_of="")["opportunity_id"].tolist() == ["O2"]


def test_features_are_what_stands_in_the_table_and_no_order_of_entry() -> None:
    crm = crm_of(UNDATED)
    features = build_features(crm, build_snapshots(crm, **FINAL))
    assert list(features) == ["product", "x_seen", "x_size"]
    assert features["x_seen"].tolist() == [1, 2, 3, 9]
    refused = refused_columns(crm, dated=False, entity="opportunity")
    assert "sequence" not in set(refused["column"])
    assert {"outcome", "stage"} <= set(refused["column"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"as_of": "2024-01-01"}, "has no creation dates, so nothing can be cut"),
        ({"every": "first_quote"}, "cannot be looked at on a date"),
    ],
)
def test_no_date_can_be_asked_for(change: dict, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        build_snapshots(crm_of(UNDATED), **FINAL | change)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, "cannot be looked at on a date"),
        ({"label": "within_horizon", "horizon_days": 1}, "does not say when deals were created and won"),
    ],
)
def test_deals_without_dates_beside_dated_leads_are_refused(change: dict, problem: str) -> None:
    crm = crm_of(UNDATED, leads=[{"lead_id": "L", "status": "new", "created_at": "2024-01-01"}])
    with pytest.raises(DataError, match=problem):
        build_snapshots(crm, **FINAL | {"as_of": "2024-01-02"} | change)


def test_a_source_with_dates_still_needs_an_as_of() -> None:
    with pytest.raises(ParameterError, match="as_of"):
        build_snapshots(crm_of([UNDATED[0] | {"created_at": "2024-01-01"}]), **FINAL)


def test_a_deal_without_a_date_among_dated_ones_is_left_out_and_counted() -> None:
    dated = [d | {"created_at": f"2024-01-0{i + 1}"} for i, d in enumerate(UNDATED[:3])]
    crm = crm_of([*dated, UNDATED[3]])
    rows = build_snapshots(crm, **FINAL | {"as_of": "2024-01-04"})
    assert rows["opportunity_id"].tolist() == ["O1", "O2", "O3"]
    table = censoring_table(crm, rows).set_index("what")["opportunities"]
    assert table["left out: nobody knows when they were created"] == 1
    assert table.iloc[1:].sum() == 4


def test_at_the_first_quote_deals_without_one_are_counted_by_whether_they_closed() -> None:
    deals = [
        {"opportunity_id": "Q", "created_at": "2024-01-01 10:00", "first_quote_at": "2024-01-03 09:00"},
        {"opportunity_id": "C", "created_at": "2024-01-01", "closed_at": "2024-01-05", "outcome": "lost"},
        {"opportunity_id": "D", "created_at": "2024-01-02", "first_quote_at": "2024-01-02 23:59:59"},  # midnight
        {"opportunity_id": "N", "created_at": "2024-01-02"},
        {"opportunity_id": "M", "created_at": "2024-01-02"},
        {
            "opportunity_id": "late",
            "created_at": "2024-01-02",
            "closed_at": "2024-01-03",
            "outcome": "won",
            "first_quote_at": "2024-01-04",
        },
    ]
    crm = crm_of(deals)
    asked = FINAL | {"as_of": "2024-01-06", "label": "within_horizon", "horizon_days": 2}
    rows = build_snapshots(crm, **asked | {"every": "first_quote"})
    assert rows["opportunity_id"].tolist() == ["D", "Q"]
    found = censoring_table(crm, rows).set_index("what")["opportunities"]
    assert found["left out: closed without a quote"] == 1
    assert found["left out: no quote was sent yet"] == 2
    assert found["never open at a snapshot: closed before it, or created or quoted too late"] == 1
    assert found.iloc[1:].sum() == 6
    at_creation = censoring_table(crm, build_snapshots(crm, **asked | {"every": "creation"}))
    assert not at_creation["what"].str.contains("closed without a quote|no quote").any()


def test_the_loader_takes_deals_without_dates_and_says_so(load) -> None:
    found = check_source(load("      sequence: Number\n"), today="2026-01-01")
    told = found[found["column"] == "created_at"].iloc[0]
    assert (told["severity"], told["rows"]) == ("warning", 3)
    assert "only how deals ended can be studied" in told["problem"]
    assert told["what_to_do"] == "Map one if the CRM keeps it."
    crm = open_crm("deals", as_of="")
    assert crm["opportunities"]["sequence"].tolist() == [1, 2, 3]
    assert build_snapshots(crm, **FINAL)["mature"].tolist() == [True, True, False]


def test_the_loader_proposes_a_running_number(load) -> None:
    found = check_source(load(), today="2026-01-01")
    assert "running number" in found.loc[found["column"] == "created_at", "what_to_do"].iloc[0]


def test_the_loader_refuses_deals_that_have_a_date_only_in_part(load) -> None:
    deals = DEALS.replace("2024-01-06", "")
    found = check_source(load("      created_at: {from: Opened, format: iso}\n", deals), today="2026-01-01")
    told = found[found["column"] == "created_at"].iloc[0]
    assert (told["severity"], told["rows"]) == ("error", 1)
    assert "skip_missing" in told["what_to_do"]
    with pytest.raises(CrmlabError, match="no date of creation"):
        open_crm("deals", as_of="2024-01-08")
