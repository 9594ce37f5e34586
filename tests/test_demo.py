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
    with pytest.raises(ParameterError, match="from 1 to 5000"):
        crm.truth.p_convert(["L000001"], "2024-01-01", horizon_days=10_000)
    with pytest.raises(ParameterError, match="must be a time"):
        crm.truth.p_convert(["L000001"], "last Monday", horizon_days=90)
    with pytest.raises(ParameterError, match="one per row"):
        crm.truth.p_convert(["L000001"] * 3, ["2024-01-01"] * 2, horizon_days=90)


def test_truth_is_missing_where_a_lead_is_not_open(crm):
    leads = crm.tables["leads"]
    lead = leads[leads["converted_at"].notna()].iloc[0]
    times = [lead["created_at"], lead["created_at"] + pd.Timedelta("1s"), lead["converted_at"]]
    after = [lead["converted_at"] + pd.Timedelta("1s"), END + pd.Timedelta("1D")]
    p = crm.truth.p_convert([lead["lead_id"]] * 5, times + after, horizon_days=90)
    assert np.isnan(p).tolist() == [True, False, False, True, True]


def test_truth_tells_the_level_at_the_start_of_the_day(crm):
    levels = crm.truth.table("truth_leads_levels")
    first = levels["lead_id"].ne(levels["lead_id"].shift())
    moved = levels[~first & (levels["day"] < END)]
    before = levels["level"].shift()[moved.index]
    assert len(moved) > 10_000
    np.testing.assert_array_equal(crm.truth.level("lead", moved["lead_id"], moved["day"]), moved["level"])
    found = crm.truth.level("lead", moved["lead_id"], moved["day"] - pd.Timedelta("1D"))
    known = np.isfinite(found)  # missing where the lead was created later on that day
    np.testing.assert_array_equal(found[known], before[known])


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


def test_deals_are_told_in_order(crm):
    deals, changes = crm.tables["opportunities"].set_index("opportunity_id"), crm.tables["changes"]
    quotes = crm.tables["quotes"].merge(deals, on="opportunity_id", validate="m:1", suffixes=("_quote", ""))
    assert (quotes["sent_at"] > quotes["created_at"]).all()
    assert not (quotes["sent_at"] >= quotes["closed_at"]).any()
    first = quotes.groupby("opportunity_id")["sent_at"].min().reindex(deals.index)
    pd.testing.assert_series_equal(first, deals["first_quote_at"], check_names=False)
    revisions = quotes.sort_values("sent_at").groupby("opportunity_id")["revision"].apply(list)
    assert all(r == list(range(1, len(r) + 1)) for r in revisions)
    of_deals = changes[changes["entity"] == "opportunity"].sort_values("changed_at", kind="stable")
    for field in ("stage", "owner_id", "competitor"):
        last = of_deals[of_deals["field"] == field].groupby("entity_id")["new_value"].last()
        pd.testing.assert_series_equal(last.reindex(deals.index), deals[field], check_names=False)
    for field in ("amount", "owner_probability", "margin_rate"):
        last = of_deals[of_deals["field"] == field].groupby("entity_id")["new_value"].last().astype(float)
        pd.testing.assert_series_equal(last.reindex(deals.index), deals[field], check_names=False)
    after = of_deals.merge(deals, left_on="entity_id", right_index=True, validate="m:1")
    late = after[after["changed_at"] > after["closed_at"]]
    assert set(late["field"]) == {"amount"}


def test_every_converted_lead_has_its_deal_from_the_same_instant(crm):
    leads = crm.tables["leads"]
    came = leads[leads["status"] == "converted"]
    deals = crm.tables["opportunities"].set_index("opportunity_id").loc[came["opportunity_id"]]
    assert (deals["lead_id"].to_numpy() == came["lead_id"].to_numpy()).all()
    assert (deals["created_at"].to_numpy() == came["converted_at"].to_numpy()).all()
    assert leads.loc[leads["status"] != "converted", "opportunity_id"].isna().all()


def test_contracts_follow_each_other_until_the_churn(crm):
    contracts = crm.tables["contracts"].sort_values(["account_id", "started_at"])
    following = contracts.groupby("account_id")["started_at"].shift(-1)
    inside = following.notna()
    assert (contracts.loc[inside, "ended_at"] == following[inside]).all()
    assert set(contracts.loc[inside, "end_reason"]) == {"renewed", "expanded"}
    assert set(contracts.loc[~inside, "end_reason"].dropna()) == {"churned"}
    kind = contracts.groupby("account_id")["kind"].shift(-1)[inside]
    expected = contracts.loc[inside, "end_reason"].map({"renewed": "renewal", "expanded": "expansion"})
    assert (kind == expected).all()
    assert (contracts.groupby("account_id")["kind"].first() == "new").all()
    since = crm.tables["accounts"].set_index("account_id")["customer_since"]
    assert (contracts["started_at"].to_numpy() > since[contracts["account_id"]].to_numpy()).all()


def test_no_contact_after_the_end_but_late_entries(crm):
    log = crm.tables["interactions"]
    ends = crm.tables["leads"].set_index("lead_id")["converted_at"]
    of_leads = log[log["lead_id"].notna()]
    assert not (of_leads["ts"] >= of_leads["lead_id"].map(ends)).any()
    ends = crm.tables["opportunities"].set_index("opportunity_id")["closed_at"]
    of_deals = log[log["opportunity_id"].notna()]
    assert not (of_deals["ts"] >= of_deals["opportunity_id"].map(ends)).any()
    assert (log["known_at"] >= log["ts"]).all()


def test_owners_work_for_the_firm_while_they_own(crm):
    reps = crm.tables["reps"].set_index("rep_id")
    handed = crm.tables["changes"].query("field == 'owner_id'")
    assert (handed["changed_at"] >= handed["new_value"].map(reps["hired_at"]).dt.normalize()).all()
    assert not (handed["changed_at"] >= handed["new_value"].map(reps["left_at"])).any()


def test_usage_and_tickets_belong_to_customers_under_contract(crm):
    spans = crm.tables["contracts"].groupby("account_id").agg(first=("started_at", "min"))
    for name, column in (("usage", "day"), ("tickets", "opened_at"), ("surveys", "answered_at")):
        rows = crm.tables[name].merge(spans, left_on="account_id", right_index=True, how="left", validate="m:1")
        assert len(rows) > 100
        assert (rows[column] >= rows["first"]).all(), name


def test_quiet_seasons_show_in_the_arrivals():
    leads = make_crm(n_leads=4_000, seed=1).tables["leads"]["created_at"]
    assert (leads.dt.month == 8).mean() < 0.75 / 12
    assert (leads.dt.day_of_week >= 5).mean() < 0.2
