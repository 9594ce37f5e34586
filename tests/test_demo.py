"""The demo CRM as a whole: deterministic, canonical, consistent, and inside its period."""

import numpy as np
import pandas as pd
import pytest

from crmlab.demo import Truth, iter_crm, make_crm
from crmlab.schema import TABLES, DataError, ParameterError, conform_table

END = pd.Timestamp("2025-01-06")


@pytest.fixture(scope="module")
def pieces():
    return list(iter_crm(n_leads=9_000, seed=5, chunk_leads=1))


@pytest.fixture(scope="module")
def crm():
    return make_crm(n_leads=9_000, seed=5)


def test_tables_are_canonical_and_conforming_changes_nothing(crm):
    for name, frame in crm.tables.items():
        pd.testing.assert_frame_equal(conform_table(name, frame), frame)


def test_pieces_are_the_whole(crm, pieces):
    assert sum(name == "leads" for name, _ in pieces) == 3
    for name, frame in crm.tables.items():
        parts = [piece for piece_name, piece in pieces if piece_name == name]
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), frame)


def test_same_seed_same_crm_and_another_seed_another_one():
    first, again, other = (make_crm(n_leads=300, seed=seed).tables for seed in (3, 3, 4))
    for name, frame in first.items():
        pd.testing.assert_frame_equal(again[name], frame)
    assert not first["leads"]["source"].equals(other["leads"]["source"])


def test_keys_are_unique_across_pieces(crm):
    for name, frame in crm.tables.items():
        assert not frame.duplicated(list(TABLES[name].key)).any(), name


def test_references_resolve(crm):
    for name, frame in crm.tables.items():
        for column, target in TABLES[name].references.items():
            known = crm.tables[target][TABLES[target].key[0]]
            assert frame[column].dropna().isin(known).all(), (name, column)


def test_nothing_becomes_known_at_or_after_the_extraction(crm):
    for name, frame in crm.tables.items():
        for column in {TABLES[name].known_at} | {c.known for c in TABLES[name].columns if c.as_of_safe}:
            assert not (frame[column] >= END).any(), (name, column)


@pytest.mark.parametrize("wrong", [{"n_leads": 0}, {"seed": -1}, {"start": "03/01/2022"}, {"end": "2021-01-01"}])
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(ParameterError):
        next(iter_crm(**({"n_leads": 10, "seed": 1} | wrong)))


def test_tiny_and_short_demos_work():
    for n_leads, end in ((1, "2025-01-06"), (30, "2022-01-12")):
        tables = make_crm(n_leads=n_leads, seed=1, end=end).tables
        assert len(tables["leads"]) == n_leads
        for name, frame in tables.items():
            conform_table(name, frame)


def test_today_is_the_last_value_of_the_history(crm):
    changes, leads = crm.tables["changes"], crm.tables["leads"].set_index("lead_id")
    of_leads = changes[changes["entity"] == "lead"].sort_values("changed_at", kind="stable")
    for field in ("status", "owner_id"):
        last = of_leads[of_leads["field"] == field].groupby("entity_id")["new_value"].last()
        pd.testing.assert_series_equal(last.reindex(leads.index), leads[field], check_names=False)


def test_truth_refuses_what_it_does_not_know(crm):
    with pytest.raises(DataError, match="1 of 2 identifiers are unknown"):
        crm.truth.p_convert(["L000001", "nobody"], "2024-01-01", horizon_days=90)
    with pytest.raises(ParameterError, match="horizon_days"):
        crm.truth.p_convert(["L000001"], "2024-01-01", horizon_days=0)
    with pytest.raises(ParameterError, match="one per row"):
        crm.truth.p_convert(["L000001"] * 3, ["2024-01-01"] * 2, horizon_days=90)


def test_truth_is_missing_where_a_lead_is_not_open(crm):
    leads = crm.tables["leads"]
    lead = leads[leads["converted_at"].notna()].iloc[0]
    times = [lead["created_at"], lead["created_at"] + pd.Timedelta("1s"), lead["converted_at"]]
    after = [lead["converted_at"] + pd.Timedelta("1s"), END + pd.Timedelta("1D")]
    p = crm.truth.p_convert([lead["lead_id"]] * 5, times + after, horizon_days=90)
    assert np.isnan(p).tolist() == [True, False, False, True, True]


def test_truth_reads_from_its_tables_alone(crm, pieces):
    tables = {}
    for name, frame in pieces:
        if name.startswith("truth_"):
            tables.setdefault(name, []).append(frame)
    again = Truth.read({name: pd.concat(frames) for name, frames in tables.items()})
    ids = crm.tables["leads"]["lead_id"]
    expected = crm.truth.p_convert(ids, "2024-05-06", horizon_days=90)
    assert np.isfinite(expected).sum() > 300
    np.testing.assert_array_equal(again.p_convert(ids, "2024-05-06", horizon_days=90), expected)
