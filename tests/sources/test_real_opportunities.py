"""Real deals of four public sets keep the figures of their documentation and hide what came later."""

import pandas as pd
import pytest

from crmlab.features import build_features, refused_columns
from crmlab.snapshots import build_snapshots, censoring_table
from crmlab.sources import check_source, describe_source, open_crm

PROCESS = {
    "Elapsed Days In Sales Stage",
    "Sales Stage Change Count",
    "Total Days Identified Through Closing",
    "Total Days Identified Through Qualified",
    "Ratio Days Identified To Total Days",
    "Ratio Days Validated To Total Days",
    "Ratio Days Qualified To Total Days",
}
FINAL = {"entity": "opportunity", "label": "final_status", "horizon_days": 0, "every": "creation"}


@pytest.fixture(scope="module")
def ibm(public_data):
    return open_crm("ibm", as_of="")


@pytest.fixture(scope="module")
def ibm_created(public_data):
    return open_crm("ibm_created", as_of="")


@pytest.fixture(scope="module")
def copper(public_data):
    return open_crm("copper", as_of="2021-04-02")


@pytest.fixture(scope="module")
def marketstar(public_data):
    return open_crm("marketstar", as_of="2022-09-30")


@pytest.fixture(scope="module")
def bpi(public_data):
    return open_crm("bpi2012", as_of="2012-03-14")


@pytest.mark.parametrize("name", ["ibm", "ibm_created", "copper", "marketstar"])
def test_no_error_and_no_column_forgotten(public_data, name):
    found = check_source(name, today="2026-01-01")
    assert not (found["severity"] == "error").any()
    assert not found["problem"].str.contains("not used|names a column that the file lacks", regex=True).any()


def test_ibm_deals_and_their_repeats(public_data, ibm):
    deals = ibm["opportunities"]
    assert len(deals) == 78_025 - 196
    assert deals["outcome"].value_counts().to_dict() == {"lost": 60_281, "won": 17_548}
    assert deals["created_at"].isna().all()
    found = check_source("ibm", today="2026-01-01")
    repeats = found[found["problem"].str.contains("repeat")].set_index("table")["rows"].to_dict()
    assert sorted(repeats.values()) == [55, 196]


def test_ibm_numbers_run_with_time(ibm):
    """Why the newest numbers are tested: what the longest deal took falls from each fifteenth to the next."""
    deals = ibm["opportunities"]
    part = pd.qcut(deals["sequence"].rank(method="first"), 15, labels=False)
    longest = deals.groupby(part)["x_days_to_closing"].max()
    assert longest.is_monotonic_decreasing
    assert (longest.iloc[0], longest.iloc[-1]) == (208, 16)


def test_ibm_none_is_a_competitor_of_its_own(ibm_created):
    competitor = ibm_created["opportunities"]["x_competitor"]
    assert competitor.notna().all()
    assert set(competitor) == {"Known", "Unknown", "None"}


def test_ibm_before_the_sale_knows_nothing_of_the_sale(ibm, ibm_created):
    left_out = describe_source("ibm_created").left_out
    assert set(left_out["column"]) == PROCESS
    assert describe_source("ibm").left_out.empty
    every, early = (build_features(crm, build_snapshots(crm, **FINAL, as_of="")) for crm in (ibm, ibm_created))
    assert set(every) - set(early) == {
        "x_days_in_stage",
        "x_stage_changes",
        "x_days_to_closing",
        "x_days_to_qualified",
        "x_share_identified",
        "x_share_validated",
        "x_share_qualified",
    }
    assert len(early.columns) == 10
    assert "sequence" not in every
    pd.testing.assert_frame_equal(every[list(early)], early)


def test_ibm_rows(ibm_created):
    rows = build_snapshots(ibm_created, **FINAL, as_of="")
    assert rows["mature"].all()
    assert rows["as_of"].isna().all()
    assert round(rows["label"].astype("float64").mean(), 4) == round(17_548 / 77_829, 4)


def test_copper_counts_open_quotes_as_neither_won_nor_lost(copper):
    rows = build_snapshots(copper, **FINAL, as_of="2021-04-02")
    assert len(rows) == 36_333
    assert rows["label"].value_counts().to_dict() == {True: 23_158, False: 6_828}
    assert (~rows["mature"]).sum() == 3_965 + 877 + 849 + 641 + 11 + 4
    assert (rows["as_of"].min(), rows["as_of"].max()) == (pd.Timestamp("2020-07-03"), pd.Timestamp("2021-04-02"))


def test_copper_leaves_out_price_and_delivery(copper):
    left_out = set(describe_source("copper").left_out["column"])
    assert left_out == {"selling_price", "delivery_day", "delivery_month", "delivery_year"}
    features = build_features(copper, build_snapshots(copper, **FINAL, as_of="2021-04-02").head(100))
    own = {"x_quantity", "x_country", "x_application", "x_thickness", "x_width", "x_product_ref"}
    assert set(features) == {"product", "age_days", "month", "quarter_days_left"} | own
    assert isinstance(features["x_product_ref"].dtype, pd.StringDtype)  # a code, not a quantity


def test_marketstar_acceptance_knows_its_lead_and_no_amount(marketstar):
    rows = build_snapshots(marketstar, **FINAL, as_of="2022-09-30")
    deals = marketstar["opportunities"].set_index("opportunity_id")
    used = deals.loc[rows.loc[rows["mature"], "opportunity_id"]]
    assert deals["outcome"].value_counts().to_dict() == {"won": 697, "lost": 364}
    assert (used["closed_at"] < pd.Timestamp("2022-09-30")).all()
    assert rows.loc[~rows["mature"], "label"].isna().all()
    features = build_features(marketstar, rows)
    assert {"source", "x_lead_industry", "x_lead_employees", "x_lead_region", "x_lead_position"} <= set(features)
    assert not {"amount", "owner_id", "amount_at_creation"} & set(features)
    assert features["lead_to_opportunity_days"].median() == 71
    leads = marketstar["leads"].set_index("lead_id")
    its_lead = leads.loc[deals.loc[rows["opportunity_id"], "lead_id"]]
    assert features["x_lead_employees"].notna().sum() == its_lead["employees"].notna().sum() == 622
    same = (features["x_lead_industry"].to_numpy() == its_lead["industry"].to_numpy()) | its_lead["industry"].isna()
    assert same.all()
    assert {"amount", "owner_id", "outcome"} <= set(
        refused_columns(marketstar, dated=True, entity="opportunity")["column"]
    )


def test_bpi_is_cut_at_the_first_offer(bpi):
    asked = {"label": "within_horizon", "as_of": "2012-03-14", "horizon_days": 30}
    rows = build_snapshots(bpi, entity="opportunity", every="first_quote", **asked)
    assert (len(rows), int(rows["mature"].sum()), int(rows["label"].sum())) == (5_013, 4_264, 1_806)
    found = censoring_table(bpi, rows).set_index("what")["opportunities"]
    assert found["left out: closed without a quote"] == 8_000
    assert found["left out: no quote was sent yet"] == 72
    assert found["never open at a snapshot: closed before it, or created or quoted too late"] == 2
    some = rows.iloc[::50].reset_index(drop=True)
    features = build_features(bpi, some)
    assert features["quotes_n_ever"].eq(1).all()  # the first one only, whatever came later
    assert set(features["stage"].dropna()) <= {"qualified", "needs", "quoted"}
