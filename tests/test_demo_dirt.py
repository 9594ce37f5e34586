"""The planted dirt: at its rates, where the truth says it is, and never where it would spoil a label."""

import numpy as np
import pandas as pd
import pytest

from crmlab.demo import make_crm
from crmlab.demo.dirt import RATES
from crmlab.demo.frames import history
from crmlab.demo.interactions import Log
from crmlab.demo.market import SOURCES
from crmlab.demo.notes import HOSTILE, note_history

END = pd.Timestamp("2025-01-06")


@pytest.fixture(scope="module")
def crm():
    return make_crm(n_leads=8_000, seed=13)


@pytest.fixture(scope="module")
def dirty(crm):
    """Return the identifiers of the dirty rows by (kind, table)."""
    rows = crm.truth.dirty_rows
    found = rows.groupby(["kind", "table"])["row_id"].agg(set).to_dict()
    return {key: found.get(key, set()) for key in RATES}


def test_every_kind_is_planted_at_its_rate(crm):
    dirt = crm.truth.dirt
    assert set(zip(dirt["kind"], dirt["table"], strict=True)) == set(RATES)
    expected = dirt["eligible"] * dirt["rate_intended"]
    error = np.sqrt(expected * (1 - dirt["rate_intended"]))
    assert ((dirt["rows"] - expected).abs() <= 3.5 * error + 1).all()
    assert (dirt["rows"] > 0).all()


def test_the_list_of_dirty_rows_agrees_with_the_counts(crm, dirty):
    counts = crm.truth.dirt.set_index(["kind", "table"])["rows"]
    assert {key: len(ids) for key, ids in dirty.items()} == counts.to_dict()


@pytest.mark.parametrize(
    ("table", "column"), [(t, k.removeprefix("missing_")) for k, t in RATES if k[:8] == "missing_"]
)
def test_missing_values_are_the_planted_ones(crm, dirty, table, column):
    frame = crm.tables[table]
    gaps = frame.loc[frame[column].isna()].iloc[:, 0]
    assert set(gaps) == dirty[f"missing_{column}", table]


def test_conversions_and_deal_outcomes_stay_right(crm):
    true = crm.truth.table("truth_leads").set_index("lead_id")["closed_at"]
    leads = crm.tables["leads"].set_index("lead_id")
    converted = leads["status"] == "converted"
    pd.testing.assert_series_equal(
        leads.loc[converted, "converted_at"], true[leads.index[converted]], check_names=False
    )
    assert leads.loc[~converted, "converted_at"].isna().all()
    assert true[leads.index[leads["status"].isin(["new", "working"])]].isna().all()
    deals = crm.tables["opportunities"].set_index("opportunity_id")
    closed = crm.truth.table("truth_opportunities").set_index("opportunity_id")["closed_at"]
    pd.testing.assert_series_equal(deals["closed_at"], closed.reindex(deals.index), check_names=False)
    assert (deals["closed_at"].isna() == deals["outcome"].isna()).all()


def test_disqualified_times_are_wrong_exactly_where_planted(crm, dirty):
    leads = crm.tables["leads"].merge(crm.truth.table("truth_leads"), on="lead_id", validate="1:1")
    lost = leads[leads["status"] == "disqualified"]
    wrong = lost[lost["disqualified_at"] != lost["closed_at"]]
    assert set(wrong["lead_id"]) == dirty["disqualified_before_created", "leads"]
    assert (wrong["disqualified_at"] < wrong["created_at"]).all()


def test_duplicates_repeat_a_person_within_days_and_never_convert(crm, dirty):
    leads = crm.tables["leads"].sort_values("created_at", kind="stable")
    repeated = leads[leads.duplicated("contact_id")]
    assert set(repeated["lead_id"]) == dirty["duplicate_lead", "leads"]
    first = leads.drop_duplicates("contact_id").set_index("contact_id")["created_at"]
    days = (repeated["created_at"] - repeated["contact_id"].map(first)).dt.days
    assert days.between(0, 21).all()
    assert not (repeated["status"] == "converted").any()
    assert (repeated["disqualified_reason"].dropna() == "duplicate").all()
    p = crm.truth.p_convert(repeated["lead_id"], repeated["created_at"] + pd.Timedelta("1s"), horizon_days=365)
    assert (p == 0).all()


def test_spellings_are_those_of_a_known_source(crm, dirty):
    source = crm.tables["leads"].set_index("lead_id")["source"].dropna()
    known = {s.name for s in SOURCES}
    odd = source[~source.isin(known)]
    assert set(odd.index) == dirty["source_spelling", "leads"]
    tidy = odd.str.strip().str.replace("_", " ").str.capitalize()
    assert set(tidy) <= known
    assert odd.str.contains("  |_| $").any()


def test_only_calls_are_logged_late_and_only_first_contacts_predate_their_lead(crm, dirty):
    log = crm.tables["interactions"].set_index("interaction_id")
    late = log.loc[list(dirty["call_logged_late", "interactions"])]
    assert set(late["type"]) == {"call"}
    assert ((late["known_at"] - late["ts"]).dt.days.between(1, 32)).all()
    created = log["lead_id"].map(crm.tables["leads"].set_index("lead_id")["created_at"])
    early = log[log["ts"] < created]
    assert set(early.index) == dirty["interaction_before_lead", "interactions"]
    assert (early["known_at"] >= created[early.index]).all()


def test_payments_predate_their_invoice_only_where_planted(crm, dirty):
    invoices = crm.tables["invoices"]
    wrong = invoices.loc[invoices["paid_at"] < invoices["issued_at"], "invoice_id"]
    assert set(wrong) == dirty["paid_before_issued", "invoices"]


def test_edits_after_the_close_would_give_the_answer_away(crm, dirty):
    leads = crm.tables["leads"].set_index("lead_id")
    edited = leads.loc[list(dirty["crm_score_edited_after_close", "leads"])]
    assert (edited["crm_score"] >= 90).all()
    assert (edited["status"] == "converted").all()
    assert (leads["crm_score"].drop(edited.index) < 90).all()
    assert set(leads.index[leads["x_next_step"] == "prepare offer"]) <= dirty["next_step_edited_after_close", "leads"]
    deals = crm.tables["opportunities"].set_index("opportunity_id")
    emptied = dirty["amount_edited_after_close", "opportunities"]
    assert set(deals.index[deals["amount"] == 0]) == emptied
    last = crm.tables["changes"].query("entity == 'opportunity' and field == 'amount'").groupby("entity_id").last()
    assert (last.loc[list(emptied), "new_value"] == "0").all()
    assert (last.loc[list(emptied), "changed_at"] > deals.loc[list(emptied), "closed_at"]).all()


def test_hostile_text_and_outliers_are_where_the_truth_says(crm, dirty):
    leads, accounts = crm.tables["leads"].set_index("lead_id"), crm.tables["accounts"].set_index("account_id")
    assert set(leads.index[leads["notes"].isin(HOSTILE)]) == dirty["hostile_text", "leads"]
    assert set(accounts.index[accounts["name"].isin(HOSTILE)]) == dirty["hostile_text", "accounts"]
    for frame, table in ((leads, "leads"), (accounts, "accounts")):
        wrong = frame.loc[list(dirty["outlier_employees", table]), "employees"]
        assert (wrong % 1_000 == 0).all()


def test_notes_hold_personal_data_of_the_lead_s_own_contact(crm, dirty):
    leads = crm.tables["leads"].merge(crm.tables["contacts"], on="contact_id", validate="m:1", suffixes=("", "_c"))
    named = leads[leads["lead_id"].isin(dirty["personal_data_in_notes", "leads"])]
    shown = [
        any(str(row[c]) in row["notes"] for c in ("first_name", "last_name", "email", "phone"))
        for row in named[["notes", "first_name", "last_name", "email", "phone"]].to_dict("records")
    ]
    assert len(shown) > 1_000
    assert all(shown)
    others = leads[~leads["lead_id"].isin(dirty["personal_data_in_notes", "leads"])]
    assert not others["notes"].str.contains("@", na=False).any()


@pytest.fixture(scope="module")
def noted(crm):
    """Return the history of all notes, with the creation and the end of what they belong to."""
    changes = crm.tables["changes"].query("field == 'notes'").sort_values("changed_at", kind="stable")
    spans = [
        crm.tables[table].set_index(key)["created_at"].to_frame().join(truth.set_index(key)["closed_at"])
        for table, key in (("leads", "lead_id"), ("opportunities", "opportunity_id"))
        for truth in [crm.truth.table(f"truth_{table}")[[key, "closed_at"]]]
    ]
    return changes.merge(pd.concat(spans), left_on="entity_id", right_index=True, validate="m:1")


def test_the_history_of_the_notes_ends_in_today_s_text(crm, noted):
    last = noted.groupby("entity_id")["new_value"].last()
    for table, key in (("leads", "lead_id"), ("opportunities", "opportunity_id")):
        today = crm.tables[table].set_index(key)["notes"]
        pd.testing.assert_series_equal(last.reindex(today.index), today, check_names=False)
    assert set(noted["entity"]) == {"lead", "opportunity"}
    before = noted.groupby("entity_id")["new_value"].shift()
    pd.testing.assert_series_equal(noted["old_value"], before, check_names=False)


def test_notes_begin_on_the_day_of_creation_and_end_before_the_close(noted):
    first = noted.drop_duplicates("entity_id")
    assert (first["changed_at"] > first["created_at"]).all()
    assert (first["changed_at"].dt.normalize() == first["created_at"].dt.normalize()).all()
    assert not (noted["changed_at"] >= noted["closed_at"]).any()
    assert noted["entity_id"].duplicated().mean() > 0.3


def test_what_a_note_says_does_not_tell_whether_it_is_the_last_one(crm, noted):
    """Otherwise the text would tell how long the lead stays open, which no one knows yet when it is written."""
    leads = noted[noted["entity"] == "lead"]
    several = leads[leads["entity_id"].duplicated(keep=False)]
    last = ~several["entity_id"].duplicated(keep="last")
    for sign in (several["new_value"].str.contains("@"), several["new_value"].str.contains("stabilimento|Budget")):
        share, n = sign.groupby(last).mean(), sign.groupby(last).size()
        error = np.sqrt(share.mean() * (1 - share.mean()) * (1 / n).sum())
        assert share.mean() > 0.02
        assert abs(share[True] - share[False]) < 3.5 * error
    personal = several["new_value"].str.contains(r"@|\+\d\d ")
    share = personal.groupby(several["entity_id"]).mean()
    assert share.isin([0.0, 1.0]).all()
    hostile = leads["new_value"].isin(HOSTILE)
    assert set(leads.loc[hostile, "entity_id"]).isdisjoint(leads.loc[~hostile, "entity_id"])


def test_a_note_that_would_come_after_the_end_is_not_written():
    n = 2_000
    opened_at = np.full(n, np.datetime64("2024-03-04T09:00:00", "us"))
    closed_at = opened_at + np.timedelta64(2, "D")
    log = Log(np.arange(n), np.full(n, "meeting", dtype=object), closed_at - np.timedelta64(20, "m"), np.zeros(n, int))
    told = note_history(
        "lead",
        np.arange(n).astype("U5"),
        pd.Series(["Richiamare dopo la fiera."] * (n // 2) + [None] * (n // 2), dtype="str"),
        contacts=pd.DataFrame("x", index=range(n), columns=["first_name", "last_name", "email", "phone"]),
        language=np.zeros(n, int),
        opened_at=opened_at,
        closed_at=closed_at,
        log=log,
        rng=np.random.default_rng(1),
    )
    later = told[told["changed_at"] > opened_at[0] + np.timedelta64(1, "D")]
    assert 100 < len(later) < 500
    assert (told["changed_at"] < closed_at[0]).all()
    assert told["entity_id"].astype(int).max() < n // 2
    assert (told.groupby("entity_id")["new_value"].last() == "Richiamare dopo la fiera.").all()


def test_notes_shift_no_other_number(crm, monkeypatch):
    def none(entity, ids, final, *, contacts, rng, **rest):
        rng.random(1_000)
        return history(entity, ids, "notes", row=np.zeros(0, int), at=np.zeros(0, "datetime64[us]"), value=[])

    monkeypatch.setattr("crmlab.demo.records.note_history", none)
    without = make_crm(n_leads=8_000, seed=13).tables
    for name, frame in crm.tables.items():
        if name == "changes":
            kept = frame[frame["field"] != "notes"].drop(columns="change_id").reset_index(drop=True)
            pd.testing.assert_frame_equal(without[name].drop(columns="change_id"), kept)
        else:
            pd.testing.assert_frame_equal(without[name], frame)


def test_addresses_belong_to_nobody(crm):
    assert crm.tables["contacts"]["email"].str.endswith(".example").all()
