"""Cohorts: durations, Kaplan–Meier shares and their intervals, owners against their case mix."""

import numpy as np
import pandas as pd
import pytest

from crmlab.cohorts import (
    cohort_triangle,
    conversion_by,
    conversion_curve,
    conversion_table,
    estimator_table,
    fit_curve,
    lead_durations,
    left_out_table,
    owner_table,
)
from crmlab.crm import Crm
from crmlab.intervals import difference_interval, rate_interval, share_interval
from crmlab.schema import DataError, ParameterError, conform_table, empty_table

AS_OF = "2024-07-01"


class Tables:
    """Conformed tables in memory, in the order given: what `Crm` needs of a store."""

    def __init__(self, tables: dict[str, pd.DataFrame]) -> None:
        self.tables = {name: conform_table(name, frame) for name, frame in tables.items()}

    def extremes(self, name: str, column: str) -> tuple[pd.Timestamp, pd.Timestamp]:
        times = self.read(name)[column]
        return times.min(), times.max()

    def read(self, name: str) -> pd.DataFrame:
        return self.tables[name] if name in self.tables else empty_table(name)

    def counts(self) -> dict[str, int]:
        return {name: len(frame) for name, frame in self.tables.items()}


def make_crm(**tables: pd.DataFrame) -> Crm:
    return Crm(Tables(tables), "test")


def times(*values: str | None) -> pd.Series:
    return pd.Series(pd.to_datetime(pd.Series(values), format="ISO8601"), dtype="datetime64[us]")


def make_leads(n: int, **columns: object) -> pd.DataFrame:
    """n leads created on 2024-01-01, open, source web; columns replace these values."""
    base = {"lead_id": [f"L{k}" for k in range(n)], "status": "working", "source": "web"}
    frame = pd.DataFrame(base | {"created_at": times(*["2024-01-01"] * n)})
    return frame.assign(**columns)


def make_durations(days: list[float], converted: list[bool], followed: list[float] | None = None, **columns: object):
    """Durations as `lead_durations` returns them; a lead is followed for `followed` days (default: 100)."""
    followed = followed or [100.0 if hit else day for day, hit in zip(days, converted, strict=True)]
    as_of = pd.Timestamp(AS_OF)
    frame = pd.DataFrame(
        {
            "lead_id": [f"L{k:05d}" for k in range(len(days))],
            "created_at": (as_of - pd.to_timedelta(followed, unit="D")).astype("datetime64[us]"),
            "as_of": pd.Series([as_of] * len(days), dtype="datetime64[us]"),
            "days": np.asarray(days, dtype="float64"),
            "converted": np.asarray(converted, dtype=bool),
            "disqualified_days": np.nan,
            "owner_id": pd.Series([None] * len(days), dtype="str"),
            "source": pd.Series(["web"] * len(days), dtype="str"),
        }
    )
    own = {name: pd.Series(value) for name, value in columns.items()}
    return frame.assign(**own)


def random_durations(n: int, seed: int = 0) -> pd.DataFrame:
    """Exponential competing exits with staggered entry; conversions need 200 days on average, giving up 100."""
    rng = np.random.default_rng(seed)
    convert, give_up, followed = rng.exponential(200, n), rng.exponential(100, n), rng.uniform(1, 400, n)
    first = np.minimum(convert, give_up)
    hit = (convert < give_up) & (convert < followed)
    frame = make_durations(list(np.where(hit, convert, followed)), list(hit), list(followed))
    lost = (give_up < convert) & (give_up < followed)
    return frame.assign(disqualified_days=np.where(lost, first, np.nan))


# ── durations ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_durations_by_hand() -> None:
    leads = make_leads(
        4,
        created_at=times("2024-01-01", "2024-01-01", "2024-04-01 12:00", "2024-07-01"),
        converted_at=times("2024-01-31", None, None, None),
        disqualified_at=times(None, "2024-01-11", "2024-03-01", None),  # the second one is impossible
        status=["converted", "disqualified", "disqualified", "new"],
    )
    result = lead_durations(make_crm(leads=leads, interactions=late_fact()), as_of=AS_OF)
    assert list(result["lead_id"]) == ["L0", "L1", "L2"]  # L3 was created at as_of: not yet visible
    assert list(result["days"]) == [30.0, 182.0, 90.5]  # given up or open: followed until as_of
    assert list(result["converted"]) == [True, False, False]
    assert list(result["disqualified_days"].fillna(-1)) == [-1, 10.0, -1]
    assert list(result["cohort"]) == ["2024 Q1", "2024 Q1", "2024 Q2"]
    assert list(result["month"]) == ["01 Jan", "01 Jan", "04 Apr"]
    monthly = lead_durations(make_crm(leads=leads, interactions=late_fact()), as_of=AS_OF, period="month")
    assert list(monthly["cohort"]) == ["2024-01", "2024-01", "2024-04"]


def late_fact() -> pd.DataFrame:
    """A fact long after as_of, so that as_of lies inside the data."""
    when = times("2024-12-01")
    return pd.DataFrame({"interaction_id": ["I1"], "lead_id": ["L0"], "ts": when, "known_at": when, "type": ["call"]})


def test_facts_after_as_of_row_order_and_arguments_change_nothing() -> None:
    leads = make_leads(
        30,
        created_at=times(*[f"2024-0{1 + k % 6}-1{k % 9}" for k in range(30)]),
        converted_at=times(*["2024-06-30 23:00" if k % 4 == 0 else None for k in range(30)]),
        status=["converted" if k % 4 == 0 else "new" for k in range(30)],
    )
    later = leads.assign(
        converted_at=leads["converted_at"].fillna(pd.Timestamp(AS_OF)),
        status="converted",
        disqualified_at=times(*["2024-09-01"] * 30),
    )
    extra = make_leads(3, lead_id=["Z1", "Z2", "Z3"], created_at=times(*["2024-08-01"] * 3))
    known = make_crm(leads=leads, interactions=late_fact())
    more = make_crm(leads=pd.concat([later, extra]).sample(frac=1, random_state=1), interactions=late_fact())
    before = known["leads"].copy()
    expected = lead_durations(known, as_of=AS_OF)
    pd.testing.assert_frame_equal(lead_durations(more, as_of=AS_OF), expected)
    pd.testing.assert_frame_equal(known["leads"], before)
    copy = expected.copy()
    table = conversion_table(expected, "cohort", horizons=(30, 90))
    pd.testing.assert_frame_equal(expected, copy)
    shuffled = expected.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(conversion_table(shuffled, "cohort", horizons=(30, 90)), table)
    pd.testing.assert_frame_equal(conversion_curve(shuffled, "source"), conversion_curve(expected, "source"))
    pd.testing.assert_frame_equal(cohort_triangle(shuffled), cohort_triangle(expected))
    pd.testing.assert_frame_equal(
        estimator_table(shuffled, horizon_days=90), estimator_table(expected, horizon_days=90)
    )


def test_leads_without_a_place_in_time_are_counted_and_left_out() -> None:
    leads = make_leads(
        6,
        created_at=times("2024-01-01", None, "2024-02-01", "2024-03-01", "2024-08-01", "2024-01-05 23:59:59"),
        converted_at=times("2024-01-02", None, "2024-01-01", None, None, "2024-01-05 10:00"),
        status=["converted", "new", "converted", "converted", "new", "converted"],
    )
    crm = make_crm(leads=leads, interactions=late_fact())
    durations = lead_durations(crm, as_of=AS_OF)
    # A creation kept as the end of its day and a conversion on that day are no contradiction.
    assert dict(zip(durations["lead_id"], durations["days"], strict=True)) == {"L0": 1.0, "L5": 0.0}
    table = left_out_table(crm, as_of=AS_OF)
    assert list(table["leads"]) == [2, 1, 1, 1, 1]
    assert table["leads"].sum() == len(leads)
    assert table["share"].sum() == pytest.approx(1)


def test_undated_sources_are_refused_with_the_way_out() -> None:
    no_conversion_date = make_leads(2, status=["converted", "new"])
    with pytest.raises(DataError, match=r"how long it takes[\s\S]*final_status"):
        lead_durations(make_crm(leads=no_conversion_date), as_of="2024-01-02")
    undated = make_leads(2, created_at=times(None, None))
    with pytest.raises(DataError, match="no creation dates"):
        lead_durations(make_crm(leads=undated), as_of=AS_OF)
    with pytest.raises(DataError, match="how long it takes"):
        lead_durations(make_crm(leads=undated), as_of="")
    with pytest.raises(ParameterError, match="`period` must be one of month, quarter"):
        lead_durations(make_crm(leads=make_leads(2)), as_of="2024-01-02", period="week")


def owner_change(lead: str, when: str, new: str | None, old: str | None = None) -> dict:
    row = {"entity": "lead", "entity_id": lead, "field": "owner_id"}
    return row | {"old_value": old, "new_value": new, "changed_at": when}


def make_changes(*rows: dict) -> pd.DataFrame:
    frame = pd.DataFrame(rows).assign(change_id=[f"H{k}" for k in range(len(rows))])
    return frame.assign(changed_at=times(*frame["changed_at"]))


def test_owner_is_the_one_at_creation_and_never_todays() -> None:
    changes = make_changes(
        owner_change("L0", "2024-01-01 00:00", "R1"),
        owner_change("L0", "2024-01-02 00:00", "R9", "R1"),  # the next day: no longer at creation
        owner_change("L1", "2024-01-01 08:00", "R1"),
        owner_change("L1", "2024-01-01 09:00", "R2", "R1"),  # on the day of creation: counts
        owner_change("L2", "2024-05-01", "R9", "R3"),  # the log begins later and tells who it was before
        owner_change("L3", "2024-05-01", "R9"),  # first owner months later: none at creation
        owner_change("L5", "2024-09-01", "R9", "R5"),  # after as_of: nobody knew
    )
    leads = make_leads(6, owner_id="R9")
    result = lead_durations(make_crm(leads=leads, changes=changes), as_of=AS_OF)
    assert list(result["owner_id"].fillna("-")) == ["R1", "R2", "R3", "-", "-", "-"]
    assert not result["owner_is_today"].any()


def test_a_source_that_knows_only_todays_owner_gets_no_owner_comparison() -> None:
    leads = make_leads(40, owner_id="R9", status=["converted", "disqualified"] * 20)
    leads["converted_at"] = times(*["2024-02-01", None] * 20)
    crm = make_crm(leads=leads, interactions=late_fact())
    durations = lead_durations(crm, as_of=AS_OF)
    assert durations["owner_id"].isna().all()
    assert durations["owner_is_today"].all()
    assert owner_table(durations, horizon_days=90).empty
    assert conversion_table(durations, "owner_id").empty
    for label, horizon in (("within_horizon", 90), ("final_status", 0)):
        assert conversion_by(crm, "owner_id", label=label, as_of=AS_OF, horizon_days=horizon).empty


def test_fields_come_from_the_account_known_by_then() -> None:
    accounts = pd.DataFrame(
        {
            "account_id": ["A1", "A2"],
            "industry": ["Metal", "Food"],
            "employees": [9.0, 250.0],
            "created_at": times("2024-01-01", "2024-08-01"),
        }
    )
    leads = make_leads(3, account_id=["A1", "A2", "A1"], industry=[None, None, "Wood"], employees=[np.nan, np.nan, 50])
    result = lead_durations(make_crm(leads=leads, accounts=accounts, interactions=late_fact()), as_of=AS_OF)
    assert list(result["industry"].fillna("-")) == ["Metal", "-", "Wood"]
    assert list(result["size"].fillna("-")) == ["0–9", "-", "50–249"]


# ── curves and intervals ─────────────────────────────────────────────────────────────────────────────────────────────


def test_kaplan_meier_by_hand() -> None:
    # Five leads: conversions on days 10 and 30, one followed for 20 days, two for 50.
    durations = make_durations([10, 20, 30, 50, 50], [True, False, True, False, False])
    curve = conversion_curve(durations).set_index("days")
    assert curve["share"][[0, 9, 10, 29, 30, 50]].tolist() == pytest.approx([0, 0, 1 / 5, 1 / 5, 7 / 15, 7 / 15])
    assert curve["at_risk"][[0, 10, 11, 21, 31]].tolist() == [5, 5, 4, 3, 2]
    assert set(curve["group"]) == {"all leads"}
    assert ((curve["low"] <= curve["share"]) & (curve["share"] <= curve["high"])).all()
    # Exponential Greenwood by hand at day 10: S = 4/5, variance sum = 1/(5·4).
    width = 1.959964 * np.sqrt(1 / 20) / abs(np.log(0.8))
    assert curve.loc[10, ["low", "high"]].tolist() == pytest.approx(
        [1 - 0.8 ** np.exp(-width), 1 - 0.8 ** np.exp(width)]
    )


def test_equals_lifelines() -> None:
    from lifelines import KaplanMeierFitter

    durations = random_durations(500, seed=4).assign(days=lambda d: d["days"].round())  # with ties, some at day 0
    peer = KaplanMeierFitter().fit(durations["days"], durations["converted"])
    days = np.arange(0, 350)
    curve = fit_curve(durations["days"].to_numpy(), durations["converted"].to_numpy(), reach=400)
    some = (peer.predict(days).to_numpy() < 1) & (days <= 350)
    bounds = peer.confidence_interval_.reindex(days, method="ffill").to_numpy()
    share, low, high = curve.at(days)
    np.testing.assert_allclose(share, 1 - peer.predict(days), atol=1e-12)
    np.testing.assert_allclose(low[some], 1 - bounds[some, 1], atol=1e-7)
    np.testing.assert_allclose(high[some], 1 - bounds[some, 0], atol=1e-7)
    at_risk = peer.event_table["at_risk"]
    assert curve.at_risk(at_risk.index).tolist() == at_risk.tolist()


def test_a_share_is_missing_where_nobody_was_followed_that_long() -> None:
    durations = make_durations([10, 20, 40], [True, False, False], [40, 20, 40])
    row = conversion_table(durations, None, horizons=(40, 41)).iloc[0]
    assert row["share_40d"] == pytest.approx(1 / 3)
    assert np.isnan(row["share_41d"])
    assert np.isnan(row["low_41d"])
    assert row["at_risk_41d"] == 0
    # Everybody converted early, but had been followed for 100 days: the share at 60 days is known.
    assert conversion_table(make_durations([5, 6], [True, True]), None, horizons=(60,))["share_60d"].tolist() == [1.0]


def test_full_follow_up_gives_the_plain_share() -> None:
    rng = np.random.default_rng(5)
    convert = rng.exponential(120, 400)
    hit = convert < 100
    durations = make_durations(list(np.where(hit, convert, 100.0)), list(hit), [100.0] * 400)
    table = conversion_table(durations, None, horizons=(30, 90))
    for days in (30, 90):
        assert table[f"share_{days}d"][0] == pytest.approx((convert <= days).mean())


def test_equals_aalen_johansen_when_nobody_is_censored() -> None:
    from lifelines import AalenJohansenFitter

    rng = np.random.default_rng(1)
    convert, give_up = rng.exponential(200, 300), rng.exponential(100, 300)
    hit = (convert < give_up) & (convert < 5_000)
    durations = make_durations(list(np.where(hit, convert, 5_000.0)), list(hit), [5_000.0] * 300)
    code = np.where(hit, 1, 2)
    peer = AalenJohansenFitter(calculate_variance=False).fit(np.minimum(convert, give_up), code, event_of_interest=1)
    ours = conversion_curve(durations, max_days=365)
    theirs = peer.cumulative_density_.iloc[:, 0]
    expected = theirs.iloc[np.searchsorted(theirs.index, ours["days"], side="right") - 1]
    np.testing.assert_allclose(ours["share"], expected, atol=1e-12)


def test_agrees_with_aalen_johansen_under_staggered_entry() -> None:
    from lifelines import AalenJohansenFitter

    durations = random_durations(4_000)
    code = np.where(durations["converted"], 1, np.where(durations["disqualified_days"].notna(), 2, 0))
    ends = durations["days"].where(durations["disqualified_days"].isna(), durations["disqualified_days"])
    peer = AalenJohansenFitter(calculate_variance=False).fit(ends, code, event_of_interest=1).cumulative_density_
    table = conversion_table(durations, None, horizons=(30, 90, 180)).iloc[0]
    for days in (30, 90, 180):
        theirs = peer.iloc[peer.index.searchsorted(days, side="right") - 1, 0]
        true = 1 / 3 * (1 - np.exp(-0.015 * days))  # competing exponentials: rates 1/200 and 1/100
        assert table[f"share_{days}d"] == pytest.approx(theirs, abs=0.004)
        assert table[f"low_{days}d"] < true < table[f"high_{days}d"]


def test_intervals_keep_their_promise() -> None:
    """The 95 % interval of the 90-day share covers the truth in about 95 of 100 samples."""
    true = 1 / 3 * (1 - np.exp(-0.015 * 90))
    tables = [conversion_table(random_durations(150, seed), None, horizons=(90,)).iloc[0] for seed in range(200)]
    covered = np.mean([t["low_90d"] <= true <= t["high_90d"] for t in tables])
    assert 0.90 <= covered <= 0.99


def test_nobody_or_everybody_converted_still_has_an_interval() -> None:
    none = conversion_table(make_durations([50] * 30 + [10] * 70, [False] * 100), None, horizons=(50,)).iloc[0]
    z2 = 1.959964**2
    assert (none["share_50d"], none["low_50d"]) == (0, 0)
    assert none["high_50d"] == pytest.approx(z2 / (30 + z2))  # Wilson with the 30 leads followed for 50 days
    everybody = conversion_table(make_durations([5] * 30, [True] * 30), None, horizons=(50,)).iloc[0]
    assert (everybody["share_50d"], everybody["high_50d"]) == (1, 1)
    assert everybody["low_50d"] == pytest.approx(30 / (30 + z2))


def test_known_intervals() -> None:
    # Newcombe (1998), method 10, example (a): 56/70 against 48/80.
    first, second = (56 / 70, *share_interval(56, 70)), (48 / 80, *share_interval(48, 80))
    assert difference_interval(first, second) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert rate_interval(0, 2.0) == pytest.approx((0.0, 3.688879 / 2), rel=1e-6)
    assert rate_interval(10, 5.0) == pytest.approx((4.795389 / 5, 18.390356 / 5), rel=1e-6)
    assert np.isnan(rate_interval(0, 0.0)).all()
    assert np.isnan(share_interval(0, 0)).all()
    assert share_interval(0, 10)[0] == 0


def test_mean_days_among_those_who_convert() -> None:
    curve = fit_curve(np.array([10.0, 20.0, 60.0, 100.0]), np.array([True, True, True, False]), reach=100.0)
    assert curve.mean_until(90) == pytest.approx(30)  # (10 + 20 + 60) / 3
    assert curve.mean_until(30) == pytest.approx(15)
    assert np.isnan(curve.mean_until(5))
    assert curve.quantile(0.5) == 20
    assert np.isnan(curve.quantile(0.9))


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_conversion_table_by_group() -> None:
    hits = [True] * 30 + [False] * 10 + [True] * 10 + [False] * 50
    durations = make_durations([20.0] * 100, hits, [100.0] * 100)
    durations = durations.assign(
        days=np.where(hits, 20.0, 100.0), source=pd.Series(["fair"] * 40 + ["web"] * 60, dtype="str")
    )
    table = conversion_table(durations, "source", horizons=(10, 90)).set_index("group")
    assert list(table.index) == ["web", "fair"]
    assert table["share_90d"].tolist() == pytest.approx([1 / 6, 3 / 4])
    assert table["share_10d"].tolist() == [0, 0]
    assert table["converted"].tolist() == [10, 30]
    assert table.loc["fair", "median_days"] == 20
    assert np.isnan(table.loc["web", "median_days"])
    assert table.loc["fair", "difference"] == pytest.approx(3 / 4 - 1 / 6)
    assert table.loc["fair", "difference_low"] > 0.3
    assert table.loc["web", "difference_high"] == pytest.approx(-table.loc["fair", "difference_low"])
    early = conversion_table(durations, "source", horizons=(90, 10, 90), compare_at=10)
    assert [c for c in early if c.startswith("share_")] == ["share_10d", "share_90d"]
    assert early["difference"].tolist() == [0, 0]


def test_groups_unite_spellings_pool_small_ones_and_name_gaps() -> None:
    sources = ["Web form"] * 25 + ["web-form "] * 3 + ["fair"] * 5 + ["phone"] * 4 + [None] * 11 + ["mail"] * 22
    durations = make_durations([50.0] * 70, [False] * 70, source=pd.Series(sources, dtype="str"))
    table = conversion_table(durations, "source")
    assert dict(zip(table["group"], table["n"], strict=True)) == {
        "Web form": 28,
        "mail": 22,
        "(missing)": 11,
        "other (2 groups)": 9,
    }
    assert list(table["group"])[:2] == ["Web form", "mail"]
    assert list(table["small"]) == [n < 20 for n in table["n"]]
    assert set(conversion_curve(durations, "source")["group"]) == set(table["group"])


def test_ordered_groups_keep_their_order_and_are_never_pooled() -> None:
    sizes = pd.Series(["250 and more"] * 3 + ["0–9"] * 30 + [None] * 2, dtype="str")
    months = pd.Series(["02 Feb"] * 3 + ["11 Nov"] * 30 + ["01 Jan"] * 2, dtype="str")
    durations = make_durations([50.0] * 35, [False] * 35, size=sizes, month=months)
    assert list(conversion_table(durations, "size")["group"]) == ["0–9", "250 and more", "(missing)"]
    assert list(conversion_table(durations, "month")["group"]) == ["01 Jan", "02 Feb", "11 Nov"]


def test_what_cannot_be_grouped_by() -> None:
    durations = make_durations([50.0], [False], x_pages=[3.0], x_newsletter=pd.Series([True], dtype="boolean"))
    with pytest.raises(ParameterError, match=r"by `sorce`[\s\S]*did you mean `source`"):
        conversion_table(durations, "sorce")
    with pytest.raises(ParameterError, match="float64 values"):
        conversion_curve(durations, "x_pages")
    with pytest.raises(ParameterError, match="by `days`"):
        conversion_table(durations, "days")
    with pytest.raises(ParameterError, match="positive numbers of days"):
        conversion_table(durations, "source", horizons=(30, 0))
    assert list(conversion_table(durations, "x_newsletter")["group"]) == ["yes"]


def test_triangle_by_hand() -> None:
    created = times("2024-01-10", "2024-01-20", "2024-04-02", "2024-06-30", "2024-01-05")
    days = [20.0, 40.0, 50.0, 1.0, 178.0]
    hit = [True, True, True, False, False]
    durations = make_durations(days, hit).assign(created_at=created)
    table = cohort_triangle(durations, period="month", step_days=30, max_days=90)
    assert list(table.index) == ["2024-01", "2024-04", "2024-06"]
    assert list(table["n"]) == [3, 1, 1]
    np.testing.assert_allclose(table.loc["2024-01", ["30d", "60d", "90d"]].astype(float), [1 / 3, 2 / 3, 2 / 3])
    # April ended on 1 May: 60 days later is 30 June, 90 days later lies ahead.
    np.testing.assert_allclose(table.loc["2024-04", ["30d", "60d", "90d"]].astype(float), [0, 1, np.nan])
    assert table.loc["2024-06", ["30d", "60d", "90d"]].isna().all()
    quarters = cohort_triangle(durations, period="quarter", step_days=90, max_days=360)
    assert list(quarters.index) == ["2024 Q1", "2024 Q2"]
    assert list(quarters.columns) == ["n", "90d"]  # columns that nothing is known of are left out


def test_three_estimators_bracket_the_truth() -> None:
    table = estimator_table(random_durations(3_000), horizon_days=90).set_index("method")
    right, censored, naive = table["share"]
    assert right == pytest.approx(1 / 3 * (1 - np.exp(-0.015 * 90)), abs=0.02)
    assert censored == pytest.approx(1 - np.exp(-90 / 200), abs=0.03)  # a world without giving up
    assert naive < right - 0.02 < censored
    assert table["mean_days"].iloc[2] < table["mean_days"].iloc[0]
    # Given up on day 10, and converted on day 30 all the same: in the second world it had left by then.
    durations = make_durations([30, 40, 100], [True, True, False]).assign(disqualified_days=[10, np.nan, np.nan])
    assert estimator_table(durations, horizon_days=90)["share"].tolist() == pytest.approx([2 / 3, 1 / 2, 2 / 3])
    unknown = random_durations(100).assign(disqualified_days=np.nan)
    assert estimator_table(unknown, horizon_days=90)["share"].isna().tolist() == [False, True, False]


def test_conversion_by_for_both_kinds_of_study() -> None:
    leads = make_leads(
        50,
        source=["web"] * 30 + ["fair"] * 20,
        status=["converted"] * 12 + ["disqualified"] * 12 + ["working"] * 6 + ["converted"] * 5 + ["disqualified"] * 15,
        converted_at=times(
            *["2024-02-01"] * 10, "2024-06-01", "2024-06-02", *[None] * 18, *["2024-03-01"] * 5, *[None] * 15
        ),
    )
    later = make_leads(30, lead_id=[f"Z{k}" for k in range(30)], created_at=times(*[AS_OF] * 30), status="converted")
    later["converted_at"] = times(*["2024-08-01"] * 30)
    crm = make_crm(leads=pd.concat([leads, later]), interactions=late_fact())
    closed = conversion_by(crm, "source", label="final_status", as_of=AS_OF, horizon_days=0)
    assert closed[["group", "n", "converted", "share"]].to_numpy().tolist() == [
        ["web", 24, 12, 0.5],
        ["fair", 20, 5, 0.25],
    ]
    assert closed.loc[1, ["low", "high"]].tolist() == pytest.approx(share_interval(5, 20))
    within = conversion_by(crm, "source", label="within_horizon", as_of=AS_OF, horizon_days=90)
    assert within[["n", "converted"]].to_numpy().tolist() == [[30, 10], [20, 5]]  # all leads, open ones too
    assert within["share"].tolist() == pytest.approx([1 / 3, 1 / 4])
    assert list(within.columns) == list(closed.columns)
    season = conversion_by(crm, "month", label="within_horizon", as_of=AS_OF, horizon_days=90)
    assert season["group"].tolist() == ["01 Jan"]
    with pytest.raises(ParameterError, match="within_horizon, final_status"):
        conversion_by(crm, "source", label="ever", as_of=AS_OF, horizon_days=90)


def test_conversion_by_without_any_dates() -> None:
    leads = make_leads(40, created_at=times(*[None] * 40), status=["converted", "disqualified"] * 20, x_page=["a"] * 40)
    crm = make_crm(leads=leads)
    assert conversion_by(crm, "source", label="final_status", as_of="", horizon_days=0)["share"].tolist() == [0.5]
    assert conversion_by(crm, "x_page", label="final_status", as_of="", horizon_days=0)["n"].tolist() == [40]
    assert conversion_by(crm, "month", label="final_status", as_of="", horizon_days=0).empty
    assert conversion_by(crm, "region", label="final_status", as_of="", horizon_days=0).empty


def test_empty_input_gives_empty_tables_of_the_same_shape() -> None:
    full = random_durations(100).assign(owner_id=pd.Series(["R1"] * 100, dtype="str"))
    none = full.iloc[:0]
    makers = (
        lambda d: conversion_curve(d, "source"),
        lambda d: conversion_table(d, "source"),
        lambda d: conversion_table(d, None),
        lambda d: owner_table(d, horizon_days=90, case_mix=("source",)),
        lambda d: estimator_table(d, horizon_days=90),
    )
    for make in makers:
        empty, filled = make(none), make(full)
        assert empty.empty
        assert not filled.empty
        assert empty.dtypes.to_dict() == filled.dtypes.to_dict()
    assert cohort_triangle(none).empty
    assert list(cohort_triangle(none).columns) == ["n"]


# ── owners ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def owners_with_unequal_leads(seed: int, skill: float = 1.0) -> pd.DataFrame:
    """R1 gets 80 % referrals, R2 20 %; referrals convert four times as often, leads of R2 `skill` times as often."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(["R1", "R2"], 500)
    referral = rng.random(1_000) < np.where(owner == "R1", 0.8, 0.2)
    hazard = np.where(referral, 0.004, 0.001) * np.where(owner == "R2", skill, 1.0)
    convert, followed = rng.exponential(1 / hazard), rng.uniform(50, 300, 1_000)
    frame = make_durations(list(np.minimum(convert, followed)), list(convert < followed), list(followed))
    source = pd.Series(np.where(referral, "referral", "web"), dtype="str")
    return frame.assign(owner_id=pd.Series(owner, dtype="str"), source=source)


def test_case_mix_explains_what_raw_shares_blame_on_owners() -> None:
    table = owner_table(owners_with_unequal_leads(1), horizon_days=180, case_mix=("source",)).set_index("owner_id")
    assert table.loc["R1", "low"] > table.loc["R2", "high"]  # raw shares: R1 seems far better
    assert ((table["ratio_low"] < 1) & (table["ratio_high"] > 1)).all()  # both are as good as their leads
    blind = owner_table(owners_with_unequal_leads(1), horizon_days=180, case_mix=()).set_index("owner_id")
    assert blind.loc["R1", "ratio_low"] > 1


def test_a_truly_better_owner_stands_out() -> None:
    table = owner_table(owners_with_unequal_leads(2, skill=2.5), horizon_days=180, case_mix=("source",))
    better = table.set_index("owner_id").loc["R2"]
    assert better["ratio_low"] > 1
    assert better["ratio"] == pytest.approx(better["observed"] / better["expected"])


def test_expected_adds_up_to_observed_and_is_right_by_hand() -> None:
    durations = owners_with_unequal_leads(3)
    table = owner_table(durations, horizon_days=90, case_mix=("source",))
    assert table["expected"].sum() == pytest.approx(table["observed"].sum())
    assert table["observed"].sum() == ((durations["days"] <= 90) & durations["converted"]).sum()
    # Three leads: conversions on days 10 and 20, one followed for 30. Hazards: 1/3, then 1/2.
    small = make_durations([10, 20, 30], [True, True, False]).assign(owner_id=pd.Series(["a", "b", "b"], dtype="str"))
    by_hand = owner_table(small, horizon_days=25, case_mix=("source",)).set_index("owner_id")
    assert by_hand.loc["a", "expected"] == pytest.approx(1 / 3)
    assert by_hand.loc["b", "expected"] == pytest.approx(2 * (1 / 3 + 1 / 2))
    assert by_hand["observed"].to_dict() == {"a": 1, "b": 1}


@pytest.mark.truth
def test_what_is_said_early_comes_true() -> None:
    """The share estimated while many leads have had little time is the share that the same leads reach later."""
    from crmlab.demo import make_crm as simulate

    crm = Crm(Tables(simulate(n_leads=4_000, seed=5).tables), "demo")
    early = lead_durations(crm, as_of="2023-07-01")
    later = lead_durations(crm, as_of="2025-01-06").set_index("lead_id").loc[early["lead_id"]]
    assert early["days"].lt(180).mean() > 0.2  # that many had converted, or had not been followed for 180 days
    came_true = (later["converted"] & (later["days"] <= 180)).mean()
    share, low, high = conversion_table(early, None, horizons=(180,)).iloc[0][["share_180d", "low_180d", "high_180d"]]
    naive = (early["converted"] & (early["days"] <= 180)).mean()
    # The interval allows for which leads came; the same leads are compared here, so the estimate must be much nearer.
    assert abs(share - came_true) < (high - low) / 2
    assert naive < came_true
    assert abs(share - came_true) < abs(naive - came_true)


def test_forty_groups_are_quick() -> None:
    """Not a benchmark: a slip to a quadratic way of counting would take minutes."""
    import time

    durations = random_durations(10_000).assign(region=pd.Series([f"g{k % 40}" for k in range(10_000)], dtype="str"))
    start = time.perf_counter()
    assert len(conversion_table(durations, "region")) == 40
    assert time.perf_counter() - start < 3
