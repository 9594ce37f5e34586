"""The proofs see every planted leak and nothing else; the probe of values ranks columns that knew the outcome."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmlab import demo, leakage
from crmlab.crm import Crm
from crmlab.features import build_features
from crmlab.schema import TABLES, TODAY, DataError, ParameterError, empty_table
from crmlab.snapshots import build_snapshots
from crmlab.store import Store

DAY = pd.Timedelta(days=1)
EMPTY = {name: empty_table(name) for name in TABLES}


def canonical(name: str, rows: list[dict]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    own = [c for c in frame if c not in EMPTY[name]]
    return frame.reindex(columns=[*EMPTY[name], *own]).astype(dict(EMPTY[name].dtypes))


def in_memory(tables: dict[str, pd.DataFrame], own_columns: dict | None = None) -> Crm:
    return Crm(Store("never read"), "Test CRM", own_columns or {}, _read=EMPTY | tables)


def call(k: int, lead_id: str, ts: str, known_at: str) -> dict:
    times = {"ts": pd.Timestamp(ts), "known_at": pd.Timestamp(known_at)}
    return {"interaction_id": str(k), "lead_id": lead_id, "type": "call"} | times


@pytest.fixture
def crm() -> Crm:
    """Two leads, three calls, one of them logged two days late; one lead will convert."""
    created = pd.Timestamp("2024-01-01")
    leads = [
        {"lead_id": "A", "status": "converted", "source": "web", "created_at": created, "owner_id": "R2"},
        {"lead_id": "B", "status": "working", "source": "fair", "created_at": created + DAY, "owner_id": "R1"},
    ]
    leads[0]["converted_at"] = pd.Timestamp("2024-02-01")
    calls = [
        call(1, "A", "2024-01-05", "2024-01-05"),
        call(2, "A", "2024-01-09", "2024-01-11"),
        call(3, "B", "2024-01-09", "2024-01-09"),
    ]
    change = {"entity": "lead", "entity_id": "A", "field": "owner_id"}
    changes = [
        change | {"change_id": "1", "new_value": "R1", "changed_at": created},
        change | {"change_id": "2", "old_value": "R1", "new_value": "R2", "changed_at": pd.Timestamp("2024-01-12")},
    ]
    reps = [{"rep_id": r, "hired_at": pd.Timestamp("2023-01-01")} for r in ("R1", "R2")]
    tables = {"leads": leads, "interactions": calls, "changes": changes, "reps": reps}
    return in_memory({name: canonical(name, rows) for name, rows in tables.items()})


@pytest.fixture
def rows() -> pd.DataFrame:
    dates = pd.to_datetime(["2024-01-10", "2024-01-17", "2024-01-10", "2024-01-17"]).as_unit("us")
    label = pd.array([True, True, False, False], dtype="boolean")
    return pd.DataFrame({"lead_id": ["A", "A", "B", "B"], "as_of": dates, "label": label, "mature": True})


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Crm, pd.DataFrame, pd.DataFrame]:
    store = Store(tmp_path_factory.mktemp("leakage") / "demo.duckdb")
    store.load(demo.iter_crm(n_leads=2500, seed=5), fingerprint="demo")
    crm = Crm(store, "demo")
    rows = build_snapshots(
        crm, entity="lead", label="within_horizon", as_of="2025-01-06", horizon_days=90, every="monthly"
    )
    return crm, rows, build_features(crm, rows)


def calls_before(crm: Crm, rows: pd.DataFrame, *, column: str = "known_at", at: bool = False) -> pd.DataFrame:
    """Calls of each row's lead before its date by one of their times; a plain loop, honest by default."""
    calls = crm["interactions"]
    found = []
    for row in rows.itertuples():
        mine = calls[(calls["lead_id"] == row.lead_id) & (calls["ts"] < row.as_of)]
        times = calls.loc[mine.index, column]
        found.append(float(((times <= row.as_of) if at else (times < row.as_of)).sum()))
    return pd.DataFrame({"calls": found}, index=rows.index)


def includes_the_instant(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
    """The mistake of `<=`: what is entered at the very instant counts."""
    return calls_before(crm, rows, at=True)


def ignores_entry(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
    return calls_before(crm, rows, column="ts")


def owner_of_today(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {"owner": crm["leads"].set_index("lead_id")["owner_id"].reindex(rows["lead_id"]).set_axis(rows.index)}
    )


def knows_conversion(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
    converted = crm["leads"].set_index("lead_id")["converted_at"].reindex(rows["lead_id"])
    return pd.DataFrame({"converted": converted.notna().to_numpy().astype(float)}, index=rows.index)


LEAKY = [includes_the_instant, ignores_entry, owner_of_today, knows_conversion]


# --- Computing again without the future ---


def test_honest_features_do_not_change_when_the_future_is_deleted(crm, rows):
    table = leakage.truncation_table(crm, rows, build_features(crm, rows), n_dates=5)
    assert table["as_of"].tolist() == [pd.Timestamp("2024-01-10"), pd.Timestamp("2024-01-17")]
    assert table["rows"].tolist() == [2, 2]
    assert table["changed"].sum() == 0
    assert table["changed_features"].tolist() == ["", ""]


def test_a_planted_leak_is_counted_and_named(crm, rows):
    features = calls_before(crm, rows)
    features.loc[0, "calls"] += 1  # as if the call logged on 11 January had been known on the 10th
    table = leakage.truncation_table(crm, rows, features, n_dates=5, build=calls_before)
    assert table["changed"].tolist() == [1, 0]
    assert table["changed_features"].tolist() == ["calls", ""]


def test_a_feature_from_todays_value_is_counted(crm, rows):
    features = build_features(crm, rows).assign(status=["working"] * 4)
    table = leakage.truncation_table(crm, rows, features, n_dates=5)
    assert table["changed"].tolist() == [2, 2]
    assert table["changed_features"].tolist() == ["status", "status"]


def test_the_last_bit_counts(crm, rows):
    features = calls_before(crm, rows)
    features["calls"] = np.nextafter(features["calls"], np.inf)
    assert leakage.truncation_table(crm, rows, features, n_dates=5, build=calls_before)["changed"].sum() == 4


def test_a_column_that_only_the_cut_has_counts(crm, rows):
    def more(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
        return calls_before(crm, rows).assign(extra=1.0)

    table = leakage.truncation_table(crm, rows, calls_before(crm, rows), n_dates=1, build=more)
    assert table["changed_features"].tolist() == ["extra"]


def test_dates_of_few_rows_are_checked_with_those_before(crm):
    dates = pd.date_range("2024-01-03", periods=120, freq="h").as_unit("us")
    rows = pd.DataFrame({"lead_id": "A", "as_of": dates[::-1]})
    features = calls_before(crm, rows)
    table = leakage.truncation_table(crm, rows, features, n_dates=3, build=calls_before)
    assert table["rows"].tolist() == [1, 50, 50]
    assert table["changed"].sum() == 0
    assert leakage.truncation_table(crm, rows, features + 1, n_dates=3, build=calls_before)["changed"].sum() == 101


def test_nothing_to_prove_without_dates(crm, rows):
    undated = rows.assign(as_of=pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us]"))
    features = pd.DataFrame(index=rows.index)
    assert leakage.truncation_table(crm, undated, features, n_dates=5).empty
    assert leakage.permuted_future_table(crm, undated, features, n_dates=5, seed=0).empty


def test_rows_and_features_must_belong_together(crm, rows):
    with pytest.raises(DataError, match="do not belong together"):
        leakage.truncation_table(crm, rows, calls_before(crm, rows)[:3], n_dates=2)
    with pytest.raises(DataError, match="do not belong together"):
        leakage.permuted_future_table(crm, rows, calls_before(crm, rows).iloc[::-1], n_dates=2, seed=0)
    with pytest.raises(ParameterError, match="positive"):
        leakage.truncation_table(crm, rows, calls_before(crm, rows), n_dates=0)


# --- Another future ---


def assert_same_past(crm: Crm, other: Crm, as_of: pd.Timestamp) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(other.at(name, as_of=as_of), crm.at(name, as_of=as_of))


def test_another_future_has_the_same_past_and_misleads_about_the_rest(study):
    crm, as_of = study[0], pd.Timestamp("2023-09-04")
    other = leakage.misleading_future(crm, as_of=as_of, seed=3)
    assert_same_past(crm, other, as_of)
    for name, spec in TABLES.items():
        frame, true = other[name], crm[name]
        assert (frame.dtypes == true.dtypes).all()
        assert not frame.duplicated(list(spec.key)).any()
        assert len(frame) > len(true)
        late = frame[~(frame[spec.known_at] < as_of)]
        assert (late[spec.known_at] == as_of).mean() == pytest.approx(0.25, abs=0.17), name
    deals = crm["opportunities"].merge(other["opportunities"], on="opportunity_id", suffixes=("", "_other"))
    ahead = deals[(deals["created_at"] < as_of) & ~(deals["closed_at"] < as_of) & deals["outcome"].notna()]
    assert (ahead["outcome"] != ahead["outcome_other"]).all()
    assert (ahead["amount"] != ahead["amount_other"]).all()
    backdated = other["interactions"]["known_at"].ge(as_of) & other["interactions"]["ts"].lt(as_of)
    assert backdated.sum() > 100


def test_the_true_future_is_left_alone_and_the_seed_decides(crm):
    before = {name: crm[name].copy() for name in TABLES}
    first, second = (leakage.misleading_future(crm, as_of="2024-01-10", seed=1) for _ in range(2))
    third = leakage.misleading_future(crm, as_of="2024-01-10", seed=2)
    for name in TABLES:
        pd.testing.assert_frame_equal(crm[name], before[name])
        pd.testing.assert_frame_equal(first[name], second[name])
    assert not first["interactions"].equals(third["interactions"])


def test_a_fact_at_the_very_instant_belongs_to_the_future(crm):
    other = leakage.misleading_future(crm, as_of="2024-01-11", seed=0)["interactions"]
    true = crm["interactions"].set_index("interaction_id")
    kept = other[other["interaction_id"].isin(true.index)].set_index("interaction_id").reindex(true.index)
    assert (kept["ts"] == true["ts"]).tolist() == [True, False, True]


def test_there_are_misleading_facts_where_the_true_future_holds_none(crm):
    other = leakage.misleading_future(crm, as_of="2025-01-01", seed=0)
    assert len(other["interactions"]) >= 53
    assert set(other["leads"].loc[other["leads"]["lead_id"].isin(["A", "B"]), "owner_id"]) == {"R1", "R2"}
    assert other["leads"].set_index("lead_id").loc["A", "owner_id"] == "R1"


def test_own_columns_known_at_creation_stay_and_others_change(crm):
    leads = crm["leads"].assign(x_then=["a", "b"], x_now=["a", "b"])
    own = {"x_then": {"known": "creation"}, "x_now": {"known": TODAY}}
    other = leakage.misleading_future(in_memory({"leads": leads}, own), as_of="2024-01-10", seed=0)["leads"]
    other = other.set_index("lead_id").loc[["A", "B"]]
    assert other["x_then"].tolist() == ["a", "b"]
    assert other["x_now"].tolist() == ["b", "a"]


def test_honest_features_do_not_change_with_another_future(crm, rows):
    table = leakage.permuted_future_table(crm, rows, n_dates=5, seed=0)
    assert table["rows"].tolist() == [2, 2]
    assert (table["features"] > 5).all()
    assert table["changed"].sum() == 0


@pytest.mark.parametrize("build", LEAKY, ids=lambda build: build.__name__)
def test_every_leaky_feature_changes_with_another_future(crm, rows, build):
    assert leakage.permuted_future_table(crm, rows, n_dates=5, seed=0, build=build)["changed"].sum() > 0
    assert leakage.permuted_future_table(crm, rows, n_dates=5, seed=0, build=calls_before)["changed"].sum() == 0


def test_deleting_alone_would_not_see_a_fact_at_the_instant(crm, rows):
    """Why the second proof exists: no call was entered exactly at a date, so deletion has nothing to take away."""
    features = includes_the_instant(crm, rows)
    assert leakage.truncation_table(crm, rows, features, n_dates=5, build=includes_the_instant)["changed"].sum() == 0


@st.composite
def small_crms(draw: st.DrawFn) -> Crm:
    """A few leads, deals and calls on few days, so that many facts fall on the dates themselves."""
    days = st.integers(0, 12).map(lambda d: pd.Timestamp("2024-01-01") + d * DAY)
    maybe = st.one_of(st.none(), days)
    n_leads = draw(st.integers(1, 4))
    ids = [f"L{k}" for k in range(n_leads)]
    leads = [
        {"lead_id": i, "status": "working", "created_at": draw(days), "converted_at": draw(maybe), "source": "web"}
        for i in ids
    ]
    calls = [
        call(k, draw(st.sampled_from([*ids, "unknown"])), draw(days), draw(days))
        for k in range(draw(st.integers(1, 8)))
    ]
    deals = [
        {"opportunity_id": f"O{k}", "lead_id": draw(st.sampled_from(ids)), "created_at": draw(days)}
        | {"closed_at": draw(maybe), "outcome": draw(st.sampled_from(["won", "lost", None]))}
        for k in range(draw(st.integers(0, 3)))
    ]
    tables = {"leads": leads, "interactions": calls} | ({"opportunities": deals} if deals else {})
    return in_memory({name: canonical(name, rows) for name, rows in tables.items()})


@given(small_crms(), st.integers(0, 12), st.integers(0, 99))
@settings(deadline=None, max_examples=12)
def test_any_other_future_has_the_same_past(crm, day, seed):
    as_of = pd.Timestamp("2024-01-01") + day * DAY
    other = leakage.misleading_future(crm, as_of=as_of, seed=seed)
    assert_same_past(crm, other, as_of)
    rows = pd.DataFrame({"lead_id": crm["leads"]["lead_id"], "as_of": as_of})
    table = leakage.permuted_future_table(crm, rows, n_dates=1, seed=seed, build=honest_and_leaky)
    assert table["changed_features"].tolist() == ["instant"]


def honest_and_leaky(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
    return calls_before(crm, rows).assign(instant=includes_the_instant(crm, rows)["calls"])


@given(small_crms(), st.integers(0, 12), st.integers(0, 99))
@settings(deadline=None, max_examples=8)
def test_the_engine_does_not_see_any_future(crm, day, seed):
    as_of = pd.Timestamp("2024-01-01") + day * DAY
    leads = crm["leads"].loc[crm["leads"]["created_at"] < as_of, "lead_id"]
    rows = pd.DataFrame({"lead_id": leads, "as_of": as_of}).reset_index(drop=True)
    if len(rows):
        assert leakage.permuted_future_table(crm, rows, n_dates=1, seed=seed)["changed"].sum() == 0


def test_the_engine_sees_no_future_of_a_whole_crm(study):
    crm, rows, features = study
    assert leakage.truncation_table(crm, rows, features, n_dates=2)["changed"].sum() == 0
    assert leakage.permuted_future_table(crm, rows, features, n_dates=2, seed=1)["changed"].sum() == 0


@pytest.mark.parametrize("proof", ["permuted", "truncation"])
def test_an_engine_that_includes_the_instant_is_caught(crm, rows, monkeypatch, proof):
    """The real engine with `<=` for `<`: asked a microsecond later, it sees what is known at the very instant."""

    def inclusive(crm: Crm, rows: pd.DataFrame) -> pd.DataFrame:
        return build_features(crm, rows.assign(as_of=rows["as_of"] + pd.Timedelta(microseconds=1)))

    monkeypatch.setattr("crmlab.leakage.proofs.build_features", inclusive)
    if proof == "permuted":
        table = leakage.permuted_future_table(crm, rows, n_dates=5, seed=0)
    else:
        rows = rows.assign(as_of=pd.Timestamp("2024-01-11"))[::2]  # a call was entered at that very instant
        table = leakage.truncation_table(crm, rows, inclusive(crm, rows), n_dates=5)
    assert "calls_n_30d" in ", ".join(table["changed_features"]).split(", ")


# --- Planted leaks ---


def test_every_plant_is_named_and_no_honest_feature(study):
    crm, rows, features = study
    table = leakage.planted_leak_table(crm, rows, features, n_dates=2, seed=0).set_index("plant")
    assert set(leakage.PLANTS) == set(table.index) - {"no plant"}
    assert (table.loc[list(leakage.PLANTS), "named_by"] != "nobody").all()
    wrong_declarations = ["status_after_close", "outcome_amount", "filled_after_close", "owner_if_worked"]
    assert (table.loc[wrong_declarations, "named_by"] == "suspicion").all()
    assert (table.loc[["future_window", "late_entry"], "permuted_future"] > 0).all()
    assert table.loc["future_window", "truncation"] > 0
    assert table.loc["no plant", "suspicion"] == "none"
    assert table.loc["no plant", "explanation"] == "None of them is flagged."


def test_a_plant_becomes_a_feature_of_the_engine_and_deletion_cannot_see_it(study):
    crm, rows, _ = study
    planted = leakage.plant(crm, "status_after_close", entity="lead", seed=0)
    some = rows.tail(300)
    features = build_features(planted.crm, some)
    assert planted.column in features
    assert leakage.truncation_table(planted.crm, some, features, n_dates=1)["changed"].sum() == 0
    assert planted.column not in crm["leads"]


@pytest.mark.parametrize(("entity", "n_plants"), [("opportunity", 6), ("customer", 5), ("rep", 2)])
def test_plants_among_features_of_other_entities(study, entity, n_plants):
    crm = study[0]
    question = {"label": "within_horizon", "as_of": "2025-01-06", "horizon_days": 90, "every": "monthly"}
    rows = build_snapshots(crm, entity=entity, **question)
    table = leakage.planted_leak_table(crm, rows, n_dates=2, seed=0).set_index("plant")
    assert len(table) == n_plants
    assert (table.loc[["future_window", "late_entry"], "permuted_future"] > 0).all()
    if entity == "opportunity":  # a gap in 190 of 480 deals is too little for its interval
        assert table.index[table["named_by"] == "nobody"].tolist() == ["owner_if_worked"]


def test_plants_without_dates(study):
    crm, rows, _ = study
    undated = rows.drop_duplicates("lead_id").assign(as_of=pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us]"))
    table = leakage.planted_leak_table(crm, undated, n_dates=2, seed=0)
    assert len(table) == 4
    assert (table["named_by"] == "suspicion").all()


def test_a_source_without_closings_and_interactions_has_nothing_to_plant():
    accounts = [{"account_id": f"A{k}", "created_at": pd.Timestamp("2024-01-01")} for k in range(40)]
    crm = in_memory({"accounts": canonical("accounts", accounts)})
    asked = pd.DataFrame({"account_id": [a["account_id"] for a in accounts], "as_of": pd.Timestamp("2024-03-01")})
    asked = asked.assign(label=pd.array([True, False] * 20, dtype="boolean"), mature=True)
    features = pd.DataFrame({"n": [float(k % 7) for k in range(40)]})
    assert leakage.planted_leak_table(crm, asked, n_dates=1, seed=0).empty
    table = leakage.planted_leak_table(crm, asked, features, n_dates=1, seed=0)
    assert table["plant"].tolist() == ["no plant"]
    assert table["named_by"].tolist() == ["nobody"]


def test_what_cannot_be_planted(crm):
    with pytest.raises(DataError, match="no planted leak `owner`"):
        leakage.plant(crm, "owner", entity="lead", seed=0)
    nothing_closed = in_memory({"leads": crm["leads"].assign(status="working")})
    with pytest.raises(DataError, match="ever closed"):
        leakage.plant(nothing_closed, "outcome_amount", entity="lead", seed=0)


# --- Suspicion ---


def labelled(n: int = 2000, *, rate: float = 0.3, seed: int = 0, dated: bool = False) -> pd.DataFrame:
    label = pd.array(np.random.default_rng(seed).random(n) < rate, dtype="boolean")
    as_of = pd.Series(pd.Timestamp("2024-06-01") if dated else pd.NaT, index=range(n), dtype="datetime64[us]")
    return pd.DataFrame({"lead_id": [f"L{k}" for k in range(n)], "as_of": as_of, "label": label, "mature": True})


def honest_columns(rows: pd.DataFrame) -> pd.DataFrame:
    generator, y = np.random.default_rng(1), rows["label"].to_numpy(dtype=float)
    n = len(rows)
    return pd.DataFrame(
        {
            "noise": generator.normal(size=n),
            "moves": generator.normal(size=n) + y,
            "level": generator.choice(["a", "b", "c"], n),
            "gaps": np.where(generator.random(n) < 0.4, np.nan, generator.normal(size=n)),
            "id": [f"id {k}" for k in range(n)],
        }
    )


def suspicion(rows: pd.DataFrame, **columns: object) -> pd.DataFrame:
    return leakage.suspicion_table(honest_columns(rows).assign(**columns), rows).set_index("column")


def test_honest_columns_are_not_suspect():
    table = suspicion(labelled())
    assert (table["verdict"] == "none").all()
    assert table.index[0] == "moves"
    assert table.loc["id", "auc"] == 0.5
    assert table.loc["noise", "explanation"].startswith("Nothing found; alone")


def test_a_column_that_is_the_outcome_leaks():
    rows = labelled()
    y = rows["label"].to_numpy(dtype=float)
    table = suspicion(rows, answer=y + np.random.default_rng(2).normal(size=len(y)) / 5)
    assert table.index[0] == "answer"
    assert table.loc["answer", "verdict"] == "leak"
    assert "near-perfect alone" in table.loc["answer", "evidence"]


def test_a_u_shape_is_seen():
    rows = labelled()
    y = rows["label"].to_numpy(dtype=float)
    sides = np.random.default_rng(3).choice([-1.0, 1.0], len(y)) * (1 + 3 * y)
    assert suspicion(rows, sides=sides).loc["sides", "verdict"] == "leak"


def test_missing_for_one_outcome_only_leaks():
    """As MarketStar's owner: empty for those never worked on, of whom none converts."""
    rows = labelled(4000)
    y = rows["label"].to_numpy(dtype=bool)
    owner = np.where(~y & (np.random.default_rng(4).random(len(y)) < 0.4), None, "R1")
    table = suspicion(rows, owner=pd.Series(owner, dtype="str"))
    missing = int(pd.isna(pd.Series(owner)).sum())
    assert table.loc["owner", "verdict"] == "leak"
    assert table.loc["owner", "evidence"] == "missing for one outcome"
    expected = (
        f"Where it is empty ({missing:,} rows), none has the outcome; {missing * y.mean():,.0f} would be expected."
    )
    assert table.loc["owner", "explanation"] == expected


def test_zero_for_one_outcome_only_leaks():
    """As Maven's close_value: zero for every lost deal."""
    rows = labelled(4000)
    y = rows["label"].to_numpy(dtype=bool)
    table = suspicion(rows, value=np.where(y, np.random.default_rng(5).lognormal(8, 1, len(y)), 0.0))
    assert table.index[0] == "value"
    assert " 0 (" in table.loc["value", "explanation"]
    assert "value of one outcome" in table.loc["value", "evidence"]


def test_small_groups_cannot_flag():
    rows = labelled(2000)
    y = rows["label"].to_numpy(dtype=bool)
    first = np.flatnonzero(y)[:25]
    rare = pd.Series("usual", index=rows.index)
    rare.iloc[first] = "only converted"
    assert suspicion(rows, rare=rare).loc["rare", "verdict"] == "none"
    rare.iloc[np.flatnonzero(y)[:400]] = "only converted"
    assert suspicion(rows, rare=rare).loc["rare", "verdict"] == "leak"


def test_rows_of_one_entity_are_no_support():
    """Ten leads seen two hundred times each say no more than ten leads."""
    rows = labelled(2000).assign(lead_id=np.repeat([f"L{k}" for k in range(10)], 200))
    y = rows["label"].to_numpy(dtype=bool)
    table = suspicion(rows, value=np.where(y, 1.0, 0.0))
    assert (table["verdict"] == "none").all()
    assert table["explanation"].str.contains("Too few outcomes").all()


def test_many_rows_of_few_entities_cannot_flag():
    rows = pd.concat([labelled(80, rate=0.5)] * 50, ignore_index=True)
    empty = rows["lead_id"].isin(rows.loc[~rows["label"], "lead_id"].unique()[:12])
    assert suspicion(rows, owner=pd.Series("R1", index=rows.index).mask(empty)).loc["owner", "verdict"] == "none"


def test_shuffled_outcomes_make_nothing_suspect():
    rows = labelled(3000)
    value = np.where(rows["label"].to_numpy(dtype=bool), 1.0, 0.0)
    shuffled = rows.assign(label=rows["label"].sample(frac=1, random_state=0).array)
    assert (suspicion(shuffled, value=value)["verdict"] == "none").all()


def test_censored_rows_tell_nothing():
    rows = labelled(2000)
    rows.loc[1000:, "mature"] = False
    full = leakage.suspicion_table(honest_columns(rows), rows)
    settled = leakage.suspicion_table(honest_columns(rows)[:1000], rows[:1000])
    pd.testing.assert_frame_equal(full, settled)


def test_times_after_the_row_are_doubtful():
    rows = labelled(500, dated=True)
    times = rows["as_of"] + pd.to_timedelta(np.arange(500) % 40, unit="D")
    table = suspicion(rows, closing=times, before=times - 60 * DAY)
    assert table.loc["closing", "evidence"] == "later than the row"
    assert table.loc["closing", "verdict"] == "doubtful"
    assert table.loc["before", "verdict"] == "none"


def test_a_name_is_a_hint_only_where_nothing_is_dated():
    rows = labelled()
    moves = honest_columns(rows)["moves"]
    assert suspicion(rows, **{"Last Stage": moves}).loc["Last Stage", "evidence"] == "name"
    assert suspicion(rows, blast=moves).loc["blast", "verdict"] == "none"
    dated = labelled(dated=True)
    assert suspicion(dated, **{"Last Stage": moves}).loc["Last Stage", "verdict"] == "none"


def test_an_owner_of_today_is_seen_in_the_log(crm, rows):
    many = pd.concat([rows] * 50, ignore_index=True)
    today = pd.DataFrame({"owner_id": np.where(many["lead_id"] == "A", "R2", "R1")})
    then = today.assign(owner_id=np.where(many["as_of"] < "2024-01-12", "R1", today["owner_id"]))
    found = leakage.suspicion_table(today, many, crm=crm)
    assert found["verdict"].tolist() == ["leak"]
    assert found["explanation"].str.startswith("In 50 of 200 rows it holds a value that was entered only after").all()
    assert leakage.suspicion_table(then, many, crm=crm)["verdict"].tolist() == ["none"]


def test_an_owner_who_came_back_is_no_leak(crm, rows):
    back = {"change_id": "3", "old_value": "R2", "new_value": "R1", "changed_at": pd.Timestamp("2024-01-15")}
    log = crm["changes"].to_dict("records")
    returned = replace(crm, _read=crm._read | {"changes": canonical("changes", [*log, log[1] | back])})
    held = pd.DataFrame({"owner_id": ["R1"] * 4})
    assert leakage.suspicion_table(held, rows, crm=returned)["verdict"].tolist() == ["none"]


def test_known_times_and_missing_history_are_told(crm, rows):
    values = crm["leads"].set_index("lead_id").loc[rows["lead_id"], ["converted_at", "crm_score"]].set_axis(rows.index)
    table = leakage.suspicion_table(values.assign(crm_score=5.0), rows, crm=crm).set_index("column")
    assert table.loc["converted_at", "evidence"] == "entered later"
    assert table.loc["crm_score", "verdict"] == "doubtful"
    assert table.loc["crm_score", "evidence"] == "no history"


def test_changes_after_closing_count_where_rows_have_no_dates(study):
    crm = study[0]
    leads = crm["leads"]
    rows = pd.DataFrame({"lead_id": leads["lead_id"], "as_of": pd.Series(pd.NaT, index=leads.index)})
    rows = rows.astype({"as_of": "datetime64[us]"}).assign(label=leads["status"].eq("converted"), mature=True)
    table = leakage.suspicion_table(leads[["status", "source"]], rows, crm=crm).set_index("column")
    assert "changed after close" in table.loc["status", "evidence"]
    assert table.loc["source", "verdict"] == "none"


def test_values_of_personal_columns_are_not_shown(study):
    crm = study[0]
    deals = crm["opportunities"][crm["opportunities"]["outcome"].notna()].reset_index(drop=True)
    won = deals["outcome"].eq("won")
    rows = pd.DataFrame({"opportunity_id": deals["opportunity_id"], "as_of": deals["created_at"] + DAY})
    rows = rows.assign(label=won.astype("boolean"), mature=True)
    values = pd.DataFrame({"contact_id": np.where(won, "Mario Rossi", "Anna Bianchi")})
    table = leakage.suspicion_table(values, rows)
    assert table["verdict"].tolist() == ["leak"]
    assert not table["explanation"].str.contains("Rossi|Bianchi").any()
    assert table["explanation"].str.contains("one value").all()


def test_suspicion_needs_labels_and_matching_rows():
    rows = labelled(100)
    with pytest.raises(DataError, match="labelled"):
        leakage.suspicion_table(honest_columns(rows), rows.drop(columns="label"))
    with pytest.raises(DataError, match="do not belong together"):
        leakage.suspicion_table(honest_columns(rows)[:50], rows)


def test_inputs_come_back_unchanged():
    rows = labelled(500)
    values = honest_columns(rows)
    before = values.copy(), rows.copy()
    leakage.suspicion_table(values, rows)
    pd.testing.assert_frame_equal(values, before[0])
    pd.testing.assert_frame_equal(rows, before[1])


# --- Suspicion on public data: what is found, what is missed (docs/leakage.md) ---


def public_suspicion(values: pd.DataFrame, ids: pd.Series, label: pd.Series, as_of: object = None) -> dict[str, list]:
    """Return the columns of each verdict but `none`, most suspect first."""
    dates = pd.Series(pd.NaT if as_of is None else as_of, index=values.index, dtype="datetime64[us]")
    rows = pd.DataFrame({"opportunity_id": ids.astype("str"), "as_of": dates, "label": label.astype("boolean")})
    table = leakage.suspicion_table(values, rows.assign(mature=True))
    return {v: table.loc[table["verdict"] == v, "column"].tolist() for v in ("leak", "doubtful")}


def test_marketstar(public_data):
    leads = pd.read_csv(public_data / "marketstar-b2b-leads/Leads.csv.gz")
    values, label = leads.drop(columns="LeadId"), leads["ConvertedOpportunityId"].notna()
    found = public_suspicion(values, leads["LeadId"], label)
    assert set(found["leak"]) == {"ConvertedOpportunityId", "Stage", "DisqualifiedReason", "OwnerEmployeeId"}
    assert found["doubtful"] == []


def test_x_education(public_data):
    leads = pd.read_csv(public_data / "x-education-leads/Leads.csv.gz").replace("Select", np.nan)
    found = public_suspicion(leads.drop(columns=["Converted", "Prospect ID"]), leads["Prospect ID"], leads["Converted"])
    assert found["leak"] == ["Tags"]
    assert set(found["doubtful"]) == {"Lead Quality", "Lead Source", "Last Activity", "Last Notable Activity"}


def test_maven(public_data):
    deals = pd.read_csv(public_data / "maven-crm-sales/sales_pipeline.csv", parse_dates=["engage_date", "close_date"])
    deals = deals[deals["deal_stage"].isin(["Won", "Lost"])].reset_index(drop=True)
    values, label = deals.drop(columns="opportunity_id"), deals["deal_stage"] == "Won"
    found = public_suspicion(values, deals["opportunity_id"], label, deals["engage_date"] + DAY)
    assert set(found["leak"]) == {"deal_stage", "close_value"}
    assert found["doubtful"] == ["close_date"]


def test_ibm_win_loss(public_data):
    file = public_data / "ibm-sales-win-loss/WA_Fn-UseC_-Sales-Win-Loss.csv.gz"
    deals = pd.read_csv(file, keep_default_na=False)
    values, label = deals.drop(columns="Opportunity Result"), deals["Opportunity Result"] == "Won"
    found = public_suspicion(values, deals["Opportunity Number"], label)
    assert found["leak"] == []
    assert set(found["doubtful"]) == {
        "Elapsed Days In Sales Stage",
        "Sales Stage Change Count",
        "Total Days Identified Through Closing",
    }


def test_copper(public_data):
    quotes = pd.read_excel(public_data / "copper-quotes/test.xlsx")
    quotes = quotes[quotes["status"].isin(["Won", "Lost"])].reset_index(drop=True)
    for name in ("item", "delivery"):
        parts = {part: quotes[f"{name}_{part}"] for part in ("year", "month", "day")}
        quotes[f"{name}_date"] = pd.to_datetime(pd.DataFrame(parts), errors="coerce")
    quotes = quotes[quotes["item_date"].notna()].reset_index(drop=True)
    values, label = quotes.drop(columns="status"), quotes["status"] == "Won"
    ids = pd.Series(range(len(quotes)))
    found = public_suspicion(values, ids, label, quotes["item_date"] + DAY)
    assert found["leak"] == []
    assert set(found["doubtful"]) == {"delivery_date", "thickness", "item type"}


def test_telco(public_data):
    customers = pd.read_csv(public_data / "ibm-telco-churn/WA_Fn-UseC_-Telco-Customer-Churn.csv")
    customers["TotalCharges"] = pd.to_numeric(customers["TotalCharges"], errors="coerce")
    values, label = customers.drop(columns=["Churn", "customerID"]), customers["Churn"] == "Yes"
    assert public_suspicion(values, customers["customerID"], label) == {"leak": [], "doubtful": []}


# --- Verdict and history ---


def proof(changed: int, names: str = "") -> pd.DataFrame:
    row = {
        "as_of": pd.Timestamp("2024-01-10"),
        "rows": 10,
        "features": 3,
        "changed": changed,
        "changed_features": names,
    }
    return pd.DataFrame([row])


def suspects(**verdicts: str) -> pd.DataFrame:
    return pd.DataFrame({"column": list(verdicts), "verdict": list(verdicts.values()), "explanation": "Because."})


def test_verdict_passes_and_says_what_was_looked_at():
    refused = pd.DataFrame({"column": ["status"], "filled": [1.0], "why": ["holds only today's value"]})
    verdict = leakage.leak_verdict(proof(0), proof(0), suspects(a="none", b="doubtful"), refused=refused)
    assert verdict.passed
    assert verdict.proven
    assert verdict.n_checked == 60
    assert (verdict.flagged, verdict.doubtful, verdict.reasons) == ((), ("b",), ("b: Because.",))
    assert verdict.table()["found"].tolist() == ["not one changed", "not one changed", "doubtful: b", "status"]


def test_any_probe_stops():
    assert leakage.leak_verdict(proof(2, "a, b")).flagged == ("a", "b")
    assert leakage.leak_verdict(proof(0), proof(1, "c")).flagged == ("c",)
    verdict = leakage.leak_verdict(proof(1, "a"), None, suspects(a="doubtful", d="leak"))
    assert not verdict.passed
    assert verdict.flagged == ("a", "d")
    assert verdict.doubtful == ()
    assert verdict.reasons == ("a: its values change when computed without the future.", "d: Because.")
    assert not leakage.leak_verdict(proof(1).drop(columns="changed_features")).passed


def test_without_dates_nothing_is_proven():
    verdict = leakage.leak_verdict(proof(0)[:0], None, suspects(a="none"))
    assert verdict.passed
    assert not verdict.proven
    assert verdict.table()["found"].tolist() == ["nothing can be proven", "nothing suspect"]


def test_history_tells_what_is_known_of_the_past(crm):
    leads = crm["leads"].assign(crm_score=1.0, x_then="a", x_now="b", x_untold="c")
    own = {"x_then": {"known": "creation"}, "x_now": {"known": TODAY}}
    table = leakage.history_table(replace(crm, own_columns=own, _read=crm._read | {"leads": leads}), "lead")
    history = table.set_index("column")["history"]
    assert history["source"] == history["x_then"] == "since creation"
    assert history["owner_id"] == "change log"
    assert history["converted_at"] == "a time of its own"
    assert history["crm_score"] == history["status"] == history["x_now"] == "none"
    assert history["x_untold"] == "not declared"
    assert table.set_index("column")["changes"]["owner_id"] == 2
    assert set(table.loc[~table["usable"], "column"]) == {"status", "crm_score", "x_now", "x_untold"}
    assert leakage.history_table(crm, "customer").empty
    with pytest.raises(ParameterError):
        leakage.history_table(crm, "planet")
