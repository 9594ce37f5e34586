"""The truth of the demo CRM against what really happened in it: calibrated, discriminating, and fair to reps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from crmlab.demo import Truth, iter_crm, make_crm
from crmlab.demo.process import exit_probability
from crmlab.store import Store

SEED = 20
END = pd.Timestamp("2025-01-06")


@pytest.fixture(scope="module")
def crm():
    return make_crm(n_leads=20_000, seed=SEED)


def open_snapshots(
    frame: pd.DataFrame, key: str, *, opened: str, closed: str, event: str, horizon_days: int, weeks: int = 16
) -> pd.DataFrame:
    """Return each entity once, at a random week of its age if still open then, with whether the event came in time.

    One row each, and a week drawn blindly: rows are independent given their probabilities, standard errors exact.
    A week drawn among those on which an entity was open would look into its future.
    """
    age = pd.to_timedelta(7 * np.random.default_rng(SEED).integers(0, weeks, len(frame)), unit="D")
    as_of, horizon = frame[opened].dt.normalize() + pd.Timedelta("1D") + age, pd.Timedelta(days=horizon_days)
    rows = pd.DataFrame({"id": frame[key], "as_of": as_of})
    rows["happened"] = ((frame[event] >= as_of) & (frame[event] < as_of + horizon)).astype(float)
    return rows[~(frame[closed] < as_of) & (as_of + horizon <= END)].reset_index(drop=True)


def standard_score(rows: pd.DataFrame) -> float:
    """Return (observed - expected) / standard error of independent rows."""
    return (rows["happened"] - rows["p"]).sum() / np.sqrt((rows["p"] * (1 - rows["p"])).sum())


@pytest.fixture(scope="module")
def lead_snapshots(crm):
    truth = crm.truth.table("truth_leads")[["lead_id", "closed_at"]]
    leads = crm.tables["leads"].merge(truth, on="lead_id", validate="1:1")
    rows = open_snapshots(
        leads, "lead_id", opened="created_at", closed="closed_at", event="converted_at", horizon_days=90
    )
    return rows.assign(p=crm.truth.p_convert(rows["id"], rows["as_of"], horizon_days=90))


@pytest.fixture(scope="module")
def deal_snapshots(crm):
    deals = crm.tables["opportunities"]
    deals = deals.assign(won_at=deals["closed_at"].where(deals["outcome"] == "won"))
    rows = open_snapshots(
        deals, "opportunity_id", opened="created_at", closed="closed_at", event="won_at", horizon_days=60
    )
    return rows.assign(p=crm.truth.p_win(rows["id"], rows["as_of"], horizon_days=60))


@pytest.fixture(scope="module")
def customer_snapshots(crm):
    terms = crm.tables["contracts"].sort_values("started_at").groupby("account_id")
    customers = terms.agg(start=("started_at", "min"), end=("ended_at", "last"), reason=("end_reason", "last"))
    customers = customers.assign(churned_at=customers["end"].where(customers["reason"] == "churned")).reset_index()
    rows = open_snapshots(
        customers, "account_id", opened="start", closed="churned_at", event="churned_at", horizon_days=180, weeks=100
    )
    return rows.assign(p=crm.truth.p_churn(rows["id"], rows["as_of"], horizon_days=180))


@pytest.mark.parametrize(
    ("snapshots", "n_groups"), [("lead_snapshots", 10), ("deal_snapshots", 5), ("customer_snapshots", 5)]
)
def test_true_probabilities_come_true_overall_and_in_every_group(snapshots, n_groups, request):
    rows = request.getfixturevalue(snapshots)
    assert rows["p"].notna().all()
    assert abs(standard_score(rows)) < 3
    group = pd.qcut(rows["p"].rank(method="first"), n_groups, labels=False)
    scores = rows.groupby(group)[["happened", "p"]].apply(standard_score)
    assert scores.abs().max() < 3, scores.tolist()


def test_a_probability_that_is_wrong_by_a_tenth_would_be_noticed(lead_snapshots):
    assert abs(standard_score(lead_snapshots.assign(p=1.1 * lead_snapshots["p"]))) > 3


def test_leads_are_neither_hopeless_nor_trivial(crm, lead_snapshots):
    assert 0.08 < lead_snapshots["happened"].mean() < 0.16
    assert 0.80 < roc_auc_score(lead_snapshots["happened"], lead_snapshots["p"]) < 0.89
    leads = crm.tables["leads"]
    mature = leads[leads["created_at"] < "2024-01-01"]
    assert 0.17 < (mature["status"] == "converted").mean() < 0.26
    true = crm.truth.table("truth_leads")
    assert 38 < (true["closed_at"] - true["opened_at"]).dt.days.median() < 72


def test_deals_won_ever_come_true(crm):
    deals = crm.tables["opportunities"]
    old = deals[deals["created_at"] < "2023-10-01"]
    p = crm.truth.p_win(old["opportunity_id"], (old["created_at"].dt.normalize() + pd.Timedelta("1D")))
    won = (old["outcome"] == "won").to_numpy(dtype=float)
    assert (old["outcome"].isna()).mean() < 0.01
    assert abs((won - p).sum()) < 3 * np.sqrt((p * (1 - p)).sum())


def test_ever_is_the_limit_of_long_horizons(crm):
    ids = crm.tables["opportunities"]["opportunity_id"].iloc[:200]
    day = crm.tables["opportunities"]["created_at"].iloc[:200].dt.normalize() + pd.Timedelta("1D")
    ever = crm.truth.p_win(ids, day)
    longer = crm.truth.p_win(ids, day, horizon_days=3_000)
    np.testing.assert_allclose(ever, longer, atol=1e-6)
    horizons = [crm.truth.p_win(ids, day, horizon_days=h) for h in (1, 30, 90, 400)]
    assert all((np.diff(np.stack([*horizons, ever]), axis=0) >= 0).ravel())


def test_a_time_within_the_day_counts_as_its_start(crm):
    ids = crm.tables["leads"]["lead_id"].iloc[:2_000]
    midnight = crm.truth.p_convert(ids, "2022-06-01", horizon_days=90)
    evening = crm.truth.p_convert(ids, "2022-06-01T23:00", horizon_days=90)
    both = np.isfinite(midnight) & np.isfinite(evening)
    assert both.sum() > 100
    np.testing.assert_array_equal(midnight[both], evening[both])


def test_truth_read_back_from_a_store_is_bit_identical(tmp_path):
    store = Store(tmp_path / "demo.duckdb")
    store.load(iter_crm(n_leads=400, seed=9, start="2023-01-02"), fingerprint="demo")
    again, whole = Truth.read(store), make_crm(n_leads=400, seed=9, start="2023-01-02")
    for name, key, call in (
        ("leads", "lead_id", "p_convert"),
        ("opportunities", "opportunity_id", "p_win"),
        ("contracts", "account_id", "p_churn"),
    ):
        ids = whole.tables[name][key].drop_duplicates()
        ours = getattr(whole.truth, call)(ids, "2024-03-04", horizon_days=120)
        assert np.isfinite(ours).any()
        np.testing.assert_array_equal(getattr(again, call)(ids, "2024-03-04", horizon_days=120), ours)
    pd.testing.assert_frame_equal(again.dirt, whole.truth.dirt, check_dtype=False)


def test_email_opens_go_with_conversion_and_do_nothing(crm):
    effects = crm.truth.interaction_effects.query("entity == 'lead'").set_index("type")
    assert effects.loc["email_open", "effect"] == 0
    assert (effects["effect"].drop("email_open") > 0).all()
    leads = crm.tables["leads"].query("created_at < '2024-01-01'")
    log = crm.tables["interactions"]
    early = log[log["type"] == "email_open"].merge(leads[["lead_id", "created_at"]], on="lead_id", validate="m:1")
    early = early[early["ts"] < early["created_at"] + pd.Timedelta("21D")]
    opens = early["lead_id"].value_counts().reindex(leads["lead_id"], fill_value=0).to_numpy()
    converted = (leads["status"] == "converted").to_numpy()
    assert converted[opens >= 3].mean() > 2 * converted[opens == 0].mean()


def test_raw_conversion_rates_mislead_about_skill(crm):
    """Reps are ranked much better by observed over expected (at equal skill) than by their raw rates."""
    entity = crm.truth._entity("lead")
    rows = np.flatnonzero(entity.opened < np.datetime64("2024-01-01"))
    cells = entity.cells.take(rows)
    equal = replace(cells, rep_first=np.ones_like(cells.rep_first))
    expected = exit_probability(
        crm.truth._ladder("lead"),
        crm.truth._calendars,
        equal,
        level=entity.level_at(rows, cells.start_day),
        day=cells.start_day,
        horizon_days=365,
    )
    ids = entity.ids[rows]
    status = crm.tables["leads"].set_index("lead_id")["status"].reindex(ids)
    owner = crm.truth.table("truth_leads_owners").query("spell == 0").set_index("lead_id")["rep_id"].reindex(ids)
    leads = pd.DataFrame({"won": (status == "converted").to_numpy(), "expected": expected})
    reps = leads.groupby(owner.to_numpy()).agg(n=("won", "size"), won=("won", "sum"), expected=("expected", "sum"))
    reps = reps.join(crm.truth.rep_skill.set_index("rep_id")).query("n >= 100")
    raw = spearmanr(reps["won"] / reps["n"], reps["skill"]).statistic
    adjusted = spearmanr(reps["won"] / reps["expected"], reps["skill"]).statistic
    assert len(reps) >= 25
    assert adjusted > 0.55
    assert raw < adjusted - 0.2
