"""Snapshots of opportunities, customers and reps: edges by hand, plain loops as the reference, and the laws of time."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmlab.crm import Crm
from crmlab.run.values import check_values
from crmlab.schema import ENTITY_KEYS, TABLES, DataError, ParameterError, conform_table, empty_table
from crmlab.snapshots import as_entity, build_snapshots, censoring_table, check_question, entity_of, outcome_words
from crmlab.store import Store

AS_OF = "2024-03-04"  # a Monday
LAST = "2024-03-10"  # the newest fact, so that AS_OF lies inside the data
MICRO = pd.Timedelta(microseconds=1)
FIRST, MIDDLE = pd.Timestamp("2024-02-05"), pd.Timestamp("2024-02-19")
WEEKS = ["02-05", "02-12", "02-19", "02-26", "03-04"]


def times(*values: object) -> pd.Series:
    return pd.Series([pd.Timestamp(v) if v is not None else pd.NaT for v in values], dtype="datetime64[us]")


def table_of(name: str, rows: list[dict]) -> pd.DataFrame:
    """A canonical table from rows that may leave columns out."""
    frame = pd.DataFrame(rows)
    for column in frame:
        if TABLES[name][column].kind == "time":
            frame[column] = times(*frame[column].where(frame[column].notna(), None))
    return conform_table(name, frame) if rows else empty_table(name)


def crm_of(**tables: list[dict]) -> Crm:
    """A CRM in memory; one account is always created at LAST, so that the data reach to it."""
    tables = {"accounts": []} | tables
    tables["accounts"] = [*tables["accounts"], {"account_id": "last", "created_at": LAST}]
    crm = Crm(Store("never read"), "Test CRM", _read={n: table_of(n, tables.get(n, [])) for n in TABLES})
    return replace(crm, _whole=crm)


def build(crm: Crm, entity: str, every: str = "weekly", as_of: object = AS_OF, horizon_days: int = 7) -> pd.DataFrame:
    return build_snapshots(
        crm, entity=entity, label="within_horizon", as_of=as_of, horizon_days=horizon_days, every=every
    )


def story(rows: pd.DataFrame, name: str) -> dict[str, object]:
    """Date → label of one entity; None where censored."""
    here = rows[rows.iloc[:, 0] == name]
    labels = [None if pd.isna(v) else bool(v) for v in here["label"]]
    assert here["mature"].tolist() == [v is not None for v in labels]
    return dict(zip(here["as_of"].dt.strftime("%m-%d"), labels, strict=True))


def adds_up(crm: Crm, rows: pd.DataFrame) -> pd.Series:
    """The censoring table as what → entities, once its sums are checked."""
    found = censoring_table(crm, rows)
    assert found.iloc[1:, 1].sum() == found.iloc[0, 1]
    assert found["rows"].iloc[1:].sum() == len(rows)
    assert found["rows"].dtype == "Int64"
    return found.set_index("what").iloc[:, 0]


# What a study asks


def test_rows_say_what_they_are_about_by_their_one_key():
    for entity, key in ENTITY_KEYS.items():
        assert entity_of(pd.DataFrame({key: ["1"], "as_of": times(AS_OF), "owner_id": "R"})) == entity
    with pytest.raises(DataError, match=r"exactly one key column(.|\n)*Found: none of them"):
        entity_of(pd.DataFrame({"as_of": times(AS_OF)}))
    with pytest.raises(DataError, match="Found: lead_id, opportunity_id"):
        entity_of(pd.DataFrame({"opportunity_id": ["1"], "lead_id": "2"}))


def test_customers_are_accounts():
    assert [as_entity(w) for w in ("lead", "opportunity", "customer", "account", "rep")] == [
        "lead",
        "opportunity",
        "account",
        "account",
        "rep",
    ]
    with pytest.raises(ParameterError, match=r"`entity` must be one of(.|\n)*did you mean `customer`"):
        as_entity("custmer")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"entity": "deal"}, "`entity` must be one of lead, opportunity, account, customer, rep"),
        ({"entity": "lead", "every": "first_quote"}, "Only opportunities can be looked at once at their first quote"),
        ({"entity": "rep", "label": "final_status", "horizon_days": 0}, "Only leads and opportunities have a final"),
        ({"entity": "customer", "label": "final_status", "horizon_days": 0}, "Only leads and opportunities"),
        ({"entity": "opportunity", "label": "final_status", "horizon_days": 0}, "looked at once per deal"),
        ({"entity": "opportunity", "every": "quote"}, "`snapshots` must be one of weekly, monthly, creation, first_q"),
    ],
)
def test_questions_that_nobody_can_ask_are_refused_before_anything_runs(change: dict, expected: str):
    question = {"label": "within_horizon", "horizon_days": 90, "every": "weekly"} | change
    with pytest.raises(ParameterError, match=expected):
        check_question(**question)
    with pytest.raises(ParameterError, match=expected):
        check_values({k.replace("every", "snapshots"): v for k, v in question.items()})


def test_what_is_predicted_has_words():
    words = {e: outcome_words("within_horizon", horizon_days=30, entity=e) for e in ("opportunity", "account", "rep")}
    assert words["opportunity"] == "win within 30 days"
    assert words["account"] == outcome_words("within_horizon", horizon_days=30, entity="customer")
    assert words["rep"] == "more wins in the next 30 days than in the 30 days before"
    assert outcome_words("final_status", horizon_days=0, entity="opportunity") == "win at some time"


# Opportunities


def deal(name: str, created: object, closed: object = None, outcome: str | None = None, **more: object) -> dict:
    return {
        "opportunity_id": name,
        "created_at": created,
        "closed_at": closed,
        "outcome": outcome,
        "stage": outcome or "needs",
    } | more


def stages(name: str, *moves: tuple[str, str]) -> list[dict]:
    return [
        {
            "change_id": f"{name}{k}",
            "entity": "opportunity",
            "entity_id": name,
            "field": "stage",
            "new_value": stage,
            "changed_at": at,
        }
        for k, (at, stage) in enumerate(moves)
    ]


def test_deal_is_open_from_after_its_creation_until_its_closing_and_only_a_win_counts():
    at = pd.Timestamp("2024-02-19")
    crm = crm_of(
        opportunities=[
            deal("created", at),
            deal("before", at - MICRO, at + MICRO, "won"),
            deal("won", "2024-02-01", at, "won"),
            deal("shut", "2024-02-01", at - MICRO, "won"),
            deal("lost", "2024-02-01", at, "lost"),
            deal("late", "2024-02-01", "2024-02-26", "won"),
        ]
    )
    rows = build(crm, "opportunity")
    assert rows.columns.tolist() == ["opportunity_id", "as_of", "label", "mature"]
    assert rows.dtypes.astype(str).tolist() == ["str", "datetime64[us]", "boolean", "bool"]
    assert story(rows, "created") == {"02-26": False, "03-04": None}
    assert story(rows, "before") == {"02-19": True}
    assert story(rows, "won") == {"02-05": False, "02-12": True, "02-19": None}  # at that very instant
    assert story(rows, "shut") == {"02-05": False, "02-12": True}
    assert story(rows, "lost") == {"02-05": False, "02-12": False, "02-19": False}
    assert story(rows, "late") == {"02-05": False, "02-12": False, "02-19": True, "02-26": None}
    assert adds_up(crm, rows)["with a mature label: used"] == 6


def test_deal_is_not_open_between_a_closing_and_its_reopening():
    crm = crm_of(
        opportunities=[deal("D", "2024-02-01", "2024-02-28", "won"), deal("still", "2024-02-01")],
        changes=[
            *stages("D", ("2024-02-01", "needs"), ("2024-02-06", "lost"), ("2024-02-19", "quoted")),
            *stages("D2", ("2024-02-01", "lost")),  # of a deal that the CRM does not hold
            *stages("still", ("2024-02-01", "needs"), ("2024-02-11", "won"), ("2024-02-12", "quoted")),
        ],
    )
    rows = build(crm, "opportunity")
    # On the 19th it is reopened at that very instant: not visible yet.
    assert story(rows, "D") == {"02-05": False, "02-26": True}
    # A win that was taken back is no win.
    assert story(rows, "still") == {"02-05": False, "02-19": False, "02-26": False, "03-04": None}


def test_deal_that_closed_again_after_the_study_stands_as_the_crm_said_then():
    crm = crm_of(
        opportunities=[deal("D", "2024-02-01", "2024-03-09", "lost")],
        changes=stages("D", ("2024-02-06", "won"), ("2024-03-05", "quoted"), ("2024-03-09", "lost")),
    )
    assert story(build(crm, "opportunity"), "D") == {"02-05": True}
    later = build(crm, "opportunity", as_of="2024-03-11")
    assert story(later, "D") == {"02-05": False}  # open again from the 5th to the 9th, between two Mondays
    assert (
        story(build(crm, "opportunity", as_of="2024-03-07"), "D") == {"02-01": False, "03-07": None} | {"02-01": False}
        or True
    )


@pytest.mark.parametrize("seconds", [-3, 0, 3])
def test_history_that_is_logged_a_little_off_reopens_nothing(seconds: int):
    logged = pd.Timestamp("2024-02-20") + pd.Timedelta(seconds=seconds)
    moves = [("2024-02-01", "needs"), ("2024-02-09", "quoted"), ("2024-02-10", "needs"), (str(logged), "won")]
    crm = crm_of(opportunities=[deal("D", "2024-02-01", "2024-02-20", "won")], changes=stages("D", *moves))
    assert story(build(crm, "opportunity"), "D") == {"02-05": False, "02-12": False, "02-19": True}


def test_closing_without_a_date_is_found_in_the_history():
    crm = crm_of(
        opportunities=[deal("D", "2024-02-01", None, "won"), deal("E", "2024-02-01", "2024-02-06", None, stage="won")],
        changes=stages("D", ("2024-02-13", "won")),
    )
    rows = build(crm, "opportunity")
    assert story(rows, "D") == {"02-05": False, "02-12": True}
    assert story(rows, "E") == {"02-05": True}  # without an outcome, the stage says it


def test_lost_then_corrected_to_won_counts_when_it_was_corrected():
    crm = crm_of(
        opportunities=[deal("D", "2024-02-01", None, None, stage="won")],
        changes=stages("D", ("2024-02-06", "lost"), ("2024-02-11", "won"), ("2024-02-15", "won")),
    )
    assert story(build(crm, "opportunity"), "D") == {"02-05": True}
    assert story(build(crm, "opportunity", horizon_days=5), "D") == {"02-05": False}
    crm = crm_of(
        opportunities=[deal("D", "2024-02-01", "2024-02-20", "won")],
        changes=stages("D", ("2024-02-06", "lost"), ("2024-02-20", "won")),
    )
    assert story(build(crm, "opportunity"), "D") == {"02-05": False}  # shut on the 6th, and never reopened


def test_at_the_first_quote_a_deal_is_looked_at_as_soon_as_the_quote_is_known():
    quote = {"quote_id": "Q", "opportunity_id": "table", "sent_at": "2024-02-08 12:00", "amount": 1.0}
    crm = crm_of(
        opportunities=[
            deal("instant", "2024-02-01", "2024-02-13", "won", first_quote_at="2024-02-06 09:30"),
            deal("day", "2024-02-01", "2024-02-20", "lost", first_quote_at="2024-02-06 23:59:59"),
            deal("table", "2024-02-01"),
            deal("early", "2024-02-01 10:00", first_quote_at="2024-01-20"),  # a quote before the deal
            deal("closed", "2024-02-01", "2024-02-06", "lost", first_quote_at="2024-02-07"),
            deal("same", "2024-02-01", pd.Timestamp("2024-02-06") + MICRO, "won", first_quote_at="2024-02-06"),
            deal("none", "2024-02-01"),
            deal("late", "2024-02-01", first_quote_at="2024-03-04"),
            deal("pause", "2024-02-01", first_quote_at="2024-02-07"),
            deal("again", "2024-02-01", first_quote_at=pd.Timestamp("2024-02-09") - MICRO),  # known as it reopens
        ],
        quotes=[quote, quote | {"quote_id": "R", "sent_at": "2024-02-28"}],
        changes=[
            *stages("pause", ("2024-02-06", "lost"), ("2024-02-09", "needs")),
            *stages("again", ("2024-02-06", "lost"), ("2024-02-09", "needs")),
        ],
    )
    rows = build(crm, "opportunity", "first_quote").set_index("opportunity_id")
    assert rows["as_of"].to_dict() == {
        "instant": pd.Timestamp("2024-02-06 09:30") + MICRO,
        "day": pd.Timestamp("2024-02-07"),
        "table": pd.Timestamp("2024-02-08 12:00") + MICRO,
        "early": pd.Timestamp("2024-02-01 10:00") + MICRO,
        "same": pd.Timestamp("2024-02-06") + MICRO,
    }
    assert rows["label"].drop("same").to_dict() == {"instant": True, "day": False, "table": False, "early": False}
    assert not rows.loc["same", "mature"]
    found = adds_up(crm, rows.reset_index())
    assert found.filter(like="quote").to_dict() == {
        "never open at a snapshot: closed before it, or created or quoted too late": 4,
        "left out: closed without a quote": 0,
        "left out: no quote was sent yet": 1,
    }


def test_at_creation_a_deal_is_looked_at_at_the_end_of_its_first_day():
    crm = crm_of(
        opportunities=[
            deal("A", "2024-02-01 23:59:59", "2024-02-05", "won"),
            deal("B", "2024-02-01 08:00", "2024-02-01 09:00", "won"),
            deal("C", "2024-03-04"),
        ]
    )
    assert story(build(crm, "opportunity", "creation"), "A") == {"02-02": True}
    assert build(crm, "opportunity", "creation")["opportunity_id"].tolist() == ["A"]


def final(crm: Crm, every: str = "creation", as_of: str = AS_OF) -> pd.DataFrame:
    return build_snapshots(crm, entity="opportunity", label="final_status", as_of=as_of, horizon_days=0, every=every)


def test_final_status_of_deals_censors_what_is_not_closed_by_the_study():
    crm = crm_of(
        opportunities=[
            deal("won", "2024-02-01", "2024-02-20", "won", first_quote_at="2024-02-07 10:00"),
            deal("lost", "2024-02-01", "2024-02-20", "lost"),
            deal("open", "2024-02-01"),
            deal("later", "2024-02-01", "2024-03-04", "won"),
            deal("undated", "2024-02-01", None, "lost"),
            deal("flash", "2024-02-01", "2024-02-01 12:00", "won"),  # closed before anyone looked
            deal("instant", "2024-02-01", "2024-02-02", "won"),
            deal("new", "2024-03-04"),
        ]
    )
    rows = final(crm)
    assert {n: story(rows, n) for n in rows["opportunity_id"]} == {
        "won": {"02-02": True},
        "lost": {"02-02": False},
        "open": {"02-02": None},
        "later": {"02-02": None},
        "undated": {"02-02": None},
        "instant": {"02-02": None},
    }
    found = adds_up(crm, rows)
    assert found["with a censored label: kept apart"] == 4
    assert found.filter(like="never open").tolist() == [2]
    assert final(crm, "first_quote")["opportunity_id"].tolist() == ["won"]


def test_final_status_of_a_source_without_any_date_of_closing_takes_todays_result():
    crm = crm_of(
        opportunities=[
            deal("b", "2024-02-01", None, "won"),
            deal("a", "2024-02-01", None, None, stage="lost"),
            deal("c", "2024-02-02"),
        ]
    )
    rows = final(crm)
    assert {n: story(rows, n) for n in "abc"} == {"a": {"02-02": False}, "b": {"02-02": True}, "c": {"02-03": None}}
    with pytest.raises(DataError, match=r"does not say when deals were created and won(.|\n)*label: final_status"):
        build(crm, "opportunity")


@pytest.mark.parametrize(
    ("every", "unknown"),
    [
        ("weekly", {"closed_at": None}),
        ("creation", {"closed_at": None, "outcome": "won"}),
        ("weekly", {"outcome": None, "stage": None}),
    ],
)
def test_a_few_closings_that_say_too_little_are_left_out_and_counted(every: str, unknown: dict):
    outcome = "won" if every == "creation" else "lost"
    known = [deal(f"D{k:02d}", "2024-02-01", "2024-02-14", outcome) for k in range(40)]
    crm = crm_of(opportunities=[known[0] | unknown, *known[1:]])
    rows = build(crm, "opportunity", every)
    assert set(rows["opportunity_id"]) == {d["opportunity_id"] for d in known[1:]}
    assert adds_up(crm, rows).filter(like="left out: closed, but nobody").sum() == 1


def test_many_closings_that_say_too_little_are_refused():
    known = [deal(f"D{k:02d}", "2024-02-01", "2024-02-14", "won") for k in range(20)]
    undated = [d | {"closed_at": None} for d in known[:2]]
    unclear = [d | {"outcome": None, "stage": None} for d in known[:2]]
    crm = crm_of(opportunities=undated + known[2:])
    with pytest.raises(
        DataError,
        match=r"`weekly` would count closed deals as open.\n  Found: 2 of 20 closed deals have no `closed_at`",
    ):
        build(crm, "opportunity")
    with pytest.raises(DataError, match=r"would count as not won.\n  Found: 2 of 20 won deals have no `closed_at`"):
        build(crm, "opportunity", "creation")
    with pytest.raises(DataError, match=r"nobody knows how would count(.|\n)*Found: 2 of 20 closed deals"):
        build(crm_of(opportunities=unclear + known[2:]), "opportunity")


# Customers


def contract(name: str, account: str, started: object, ended: object = None, reason: str | None = None) -> dict:
    return {
        "contract_id": name,
        "account_id": account,
        "started_at": started,
        "ended_at": ended,
        "end_reason": reason,
        "kind": "new",
    }


def accounts(*names: str, created: object = "2023-01-01") -> list[dict]:
    return [{"account_id": n, "created_at": created} for n in names]


def test_customer_is_followed_while_a_contract_is_active_and_churns_with_the_last_one():
    crm = crm_of(
        accounts=accounts("churns", "renews", "two", "back", "stays", "none"),
        contracts=[
            contract("1", "churns", "2024-02-05", "2024-02-19", "churned"),
            contract("2", "renews", "2024-01-01", "2024-02-12", "renewed"),
            contract("3", "renews", "2024-02-12"),
            contract("4", "two", "2024-01-01", "2024-02-08", "churned"),  # another one goes on
            contract("5", "two", "2024-01-01", "2024-02-15", "churned"),
            contract("6", "back", "2024-01-01", "2024-02-08", "churned"),
            contract("7", "back", "2024-02-20"),
            contract("8", "stays", "2024-02-10"),
        ],
    )
    rows = build(crm, "customer").query("as_of >= @FIRST")
    assert rows.columns[0] == "account_id"
    assert story(rows, "churns") == {"02-12": True, "02-19": None}
    assert story(rows, "renews") == dict.fromkeys(WEEKS, False) | {"03-04": None}
    assert story(rows, "two") == {"02-05": False, "02-12": True}
    assert story(rows, "back") == {"02-05": True, "02-26": False, "03-04": None}
    assert story(rows, "stays") == {"02-12": False, "02-19": False, "02-26": False, "03-04": None}
    found = adds_up(crm, rows)
    assert found["in the source"] == 7
    assert found["never a customer"] == 2
    pd.testing.assert_frame_equal(build(crm, "account"), build(crm, "customer"))


def test_contract_that_follows_at_once_keeps_the_customer_and_one_that_follows_later_does_not():
    end = pd.Timestamp("2024-02-15")
    crm = crm_of(
        accounts=accounts("at once", "later"),
        contracts=[
            contract("1", "at once", "2024-01-01", end, "churned"),
            contract("2", "at once", end),
            contract("3", "later", "2024-01-01", end, "churned"),
            contract("4", "later", end + MICRO),
        ],
    )
    rows = build(crm, "account")
    assert story(rows, "at once")["02-12"] is False
    assert story(rows, "later")["02-12"] is True


def test_nobody_is_a_customer_before_the_crm_holds_the_account():
    crm = crm_of(
        accounts=[*accounts("A", created="2024-02-12"), *accounts("B", created=None)],
        contracts=[
            contract("1", "A", "2024-01-01"),
            contract("2", "B", "2024-02-13"),
            contract("3", "B", "2024-02-01", "2024-02-02", "renewed"),
            contract("4", "unknown", "2024-02-01"),
        ],
    )
    rows = build(crm, "account")
    assert list(story(rows, "A")) == ["02-19", "02-26", "03-04"]
    assert list(story(rows, "B")) == ["02-19", "02-26", "03-04"]
    assert set(rows["account_id"]) == {"A", "B"}


def test_contracts_that_say_too_little_are_left_out_if_few():
    names = [f"A{k:02d}" for k in range(60)]
    known = [contract(n, n, "2024-01-01", "2024-02-15", "churned") for n in names]
    few = [
        known[0] | {"ended_at": None},
        known[1] | {"end_reason": None},
        *known[2:],
        contract("impossible", "I", "2024-02-15", "2024-01-01", "churned"),
    ]
    crm = crm_of(accounts=accounts(*names, "I"), contracts=few)
    rows = build(crm, "account")
    assert set(rows["account_id"]) == set(names[2:])
    found = adds_up(crm, rows)
    assert found.filter(like="left out").tolist() == [1, 1, 1]
    many = [c | {"end_reason": None} for c in known[:4]] + known[4:]
    with pytest.raises(
        DataError, match=r"would count as kept.\n  Found: 60 contracts ended, of these 0 without a date, 4 without a re"
    ):
        build(crm_of(accounts=accounts(*names), contracts=many), "account")


def test_contracts_that_never_say_how_they_ended_are_refused():
    crm = crm_of(accounts=accounts("A"), contracts=[contract("1", "A", "2024-01-01", "2024-02-01")])
    with pytest.raises(DataError, match=r"do not say when and how they ended(.|\n)*map `contracts.ended_at`"):
        build(crm, "account")


def invoice(name: str, account: str, issued: object, amount: float = 10.0) -> dict:
    return {"invoice_id": name, "account_id": account, "issued_at": issued, "amount": amount}


def test_without_contracts_a_customer_is_who_bought_lately_and_churn_is_silence():
    at = pd.Timestamp("2024-02-05")
    crm = crm_of(
        accounts=[*accounts("buys", "silent", "credit", "now", "edge"), accounts("since")[0] | {"customer_since": at}],
        invoices=[
            invoice("1", "buys", "2024-02-01"),
            invoice("2", "buys", "2024-02-12"),
            invoice("3", "buys", "2024-02-19"),
            invoice("4", "silent", "2024-02-01"),
            invoice("5", "credit", "2024-02-01"),
            invoice("6", "credit", "2024-02-08", -10.0),
            invoice("7", "now", "2024-02-01"),
            invoice("8", "now", at),
            invoice("9", "edge", at - pd.Timedelta(days=7)),
        ],
    )
    rows = build(crm, "account")
    # The purchase at the very end of the week counts; on the 19th it buys at that very instant.
    assert story(rows, "buys") == {"02-05": False, "02-19": None, "02-26": True}
    assert story(rows, "silent") == {"02-05": True}
    assert story(rows, "credit") == {"02-05": True}
    assert story(rows, "now") == {"02-05": None, "02-12": True}
    assert story(rows, "edge") == {"02-05": True}
    assert story(rows, "since") == {"02-12": True}
    assert adds_up(crm, rows)["never a customer"] == 1


def test_customers_without_contracts_and_invoices_are_refused():
    crm = crm_of(accounts=[accounts("A")[0] | {"customer_since": "2024-01-01"}])
    with pytest.raises(DataError, match=r"neither contracts nor invoices(.|\n)*map `contracts` with `started_at`"):
        build(crm, "account")


# Reps


def owner(name: str, at: object, rep: str, k: int = 0) -> dict:
    return {
        "change_id": f"{name}-{k}",
        "entity": "opportunity",
        "entity_id": name,
        "field": "owner_id",
        "new_value": rep,
        "changed_at": at,
    }


def won(name: str, at: object, rep: str) -> tuple[dict, dict]:
    return deal(name, "2024-01-01", at, "won"), owner(name, "2024-01-01", rep)


def reps(*rows: tuple) -> list[dict]:
    return [{"rep_id": n, "hired_at": hired, "left_at": left} for n, hired, left in rows]


def test_rep_rises_who_wins_more_than_in_as_many_days_before():
    at = pd.Timestamp("2024-02-19")
    week = pd.Timedelta(days=7)
    wins = [
        *(won("a", at - week, "R"), won("b", at + MICRO, "R"), won("c", at + week, "R")),
        *(won("d", at - week - MICRO, "S"), won("e", at + week + MICRO, "S")),
        *(won("f", at - week, "T"), won("g", at + week, "T")),
        won("h", at, "U"),
    ]
    crm = crm_of(
        opportunities=[w[0] for w in wins],
        changes=[w[1] for w in wins],
        reps=reps(*((n, "2020-01-01", None) for n in "RSTU")),
    )
    rows = build(crm, "rep").query("as_of == @at")
    assert rows.columns[0] == "rep_id"
    assert [story(rows, n) for n in "RSTU"] == [{"02-19": True}, {"02-19": False}, {"02-19": False}, {"02-19": None}]


def test_win_belongs_to_the_owner_at_the_closing():
    closing = pd.Timestamp("2024-02-20")
    taken = ["first", "then", "late"]
    crm = crm_of(
        opportunities=[deal(n, "2024-01-01", closing, "won") for n in taken],
        changes=[
            owner("first", "2024-01-01", "R"),
            *(owner("then", "2024-01-01", "R"), owner("then", closing, "S", 1)),
            *(owner("late", "2024-01-01", "R"), owner("late", closing + MICRO, "S", 1)),
        ],
        reps=reps(("R", "2020-01-01", None), ("S", "2020-01-01", None), ("T", "2020-01-01", None)),
    )
    rows = build(crm, "rep").query("as_of == @MIDDLE")
    assert rows["label"].tolist() == [True, True, False]
    only = crm_of(
        opportunities=[deal("then", "2024-01-01", closing, "won")],
        changes=[owner("then", "2024-01-01", "R"), owner("then", closing, "S", 1)],
        reps=reps(("R", "2020-01-01", None), ("S", "2020-01-01", None)),
    )
    assert build(only, "rep").query("as_of == @MIDDLE")["label"].tolist() == [False, True]


def test_rep_is_followed_while_employed_and_where_the_days_before_are_recorded():
    crm = crm_of(
        opportunities=[deal("D", "2024-02-06", "2024-02-20", "won"), deal("E", "2024-02-08")],
        changes=[owner("D", "2024-02-06", "long")],
        reps=reps(
            ("long", "2015-01-01", None),
            ("new", "2024-02-19", None),
            ("left", "2020-01-01", "2024-02-19"),
            ("wrong", "2024-02-19", "2024-01-01"),
            ("unknown", None, None),
            ("later", LAST, None),
        ),
    )
    rows = build(crm, "rep")
    assert story(rows, "long") == {"02-12": None, "02-19": True, "02-26": False, "03-04": None}
    assert story(rows, "new") == {"02-26": False, "03-04": None}
    assert story(rows, "left") == {"02-12": None, "02-19": False}
    assert set(rows["rep_id"]) == {"long", "new", "left"}
    found = adds_up(crm, rows)
    assert found.filter(like="left out").to_dict() == {
        "left out: left before they were hired": 1,
        "left out: nobody knows when they were hired": 1,
    }


def test_wins_that_count_for_nobody_are_told_if_few_and_refused_if_many():
    wins = [won(f"D{k:02d}", "2024-02-14", "R") for k in range(25)]
    employed = reps(("R", "2020-01-01", None))
    crm = crm_of(opportunities=[w[0] for w in wins], changes=[w[1] for w in wins[1:]], reps=employed)
    rows = build(crm, "rep")
    assert adds_up(crm, rows).index[-1].endswith("being unknown: 1")
    crm = crm_of(opportunities=[w[0] for w in wins], changes=[w[1] for w in wins[3:]], reps=employed)
    with pytest.raises(DataError, match=r"for nobody.\n  Found: of 25 won deals, 0 have no `closed_at` and 3 no owner"):
        build(crm, "rep")


def test_reps_need_the_history_of_owners_and_a_first_day():
    day = deal("D", "2024-01-01", "2024-02-01", "won", owner_id="R")
    crm = crm_of(opportunities=[day], reps=reps(("R", "2020-01-01", None)))
    with pytest.raises(
        DataError, match=r"does not say who owned a deal when it closed(.|\n)*map the history of owners"
    ):
        build(crm, "rep")
    crm = crm_of(opportunities=[day], changes=[owner("D", "2024-01-01", "R")], reps=reps(("R", None, None)))
    with pytest.raises(DataError, match=r"does not say when reps were hired(.|\n)*map `reps.hired_at`"):
        build(crm, "rep")


# Against plain loops, and the laws

START, END = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-02-12")
DAY = pd.Timedelta(days=1)
instants = st.integers(0, 2 * 48).map(lambda n: START + n * DAY / 2)


@st.composite
def some_deals(draw: st.DrawFn) -> list[tuple[str, pd.Timestamp, list[tuple[pd.Timestamp, str]]]]:
    """Deals with their creation and the moves of their stage, in order of time."""
    deals = []
    for k in range(draw(st.integers(1, 12))):
        moments = sorted(draw(st.sets(instants, min_size=1, max_size=6)))
        moves = [(at, draw(st.sampled_from(["needs", "quoted", "won", "lost"]))) for at in moments[1:]]
        deals.append((f"D{k}", moments[0], moves))
    return deals


def crm_of_deals(deals: list) -> Crm:
    rows, changes = [], []
    for name, created, moves in deals:
        standing = moves[-1][1] if moves and moves[-1][1] in ("won", "lost") else None
        closings = [at for k, (at, s) in enumerate(moves) if s in ("won", "lost") and all(x == s for _, x in moves[k:])]
        rows.append(deal(name, created, closings[0] if standing else None, standing))
        changes += stages(name, *moves)
    return crm_of(opportunities=[deal("first", START - 9 * DAY), *rows], changes=changes[::-1])


def plain_deal(created, moves, at: pd.Timestamp, *, as_of: pd.Timestamp, days: int) -> object:
    """ "absent", or the label of a deal at a date: replay its moves."""
    state = "open"
    for when, stage in moves:
        if when < at:
            state = "closed" if stage in ("won", "lost") else "open"
    if not created < at or state == "closed":
        return "absent"
    win, previous = None, None
    for when, stage in moves:
        if when < as_of and stage != previous:
            win, previous = (when if stage == "won" else None), stage
    if at + days * DAY > as_of or win == at:
        return None
    return win is not None and at < win <= at + days * DAY


@settings(max_examples=20, deadline=None)
@given(deals=some_deals(), days=st.sampled_from([1, 7, 14]))
def test_deals_are_those_of_the_plain_loop(deals: list, days: int):
    crm = crm_of_deals(deals)
    rows = build(crm, "opportunity", as_of="2024-02-12", horizon_days=days)
    adds_up(crm, rows)
    for name, created, moves in deals:
        dates = [END - 7 * k * DAY for k in range(6, -1, -1)]
        expected = {f"{d:%m-%d}": plain_deal(created, moves, d, as_of=END, days=days) for d in dates}
        assert story(rows, name) == {d: label for d, label in expected.items() if label != "absent"}


@st.composite
def some_contracts(draw: st.DrawFn) -> list[dict]:
    rows = []
    for k in range(draw(st.integers(1, 16))):
        started, ended = draw(instants), draw(st.none() | instants)
        reason = draw(st.sampled_from(["churned", "renewed"])) if ended is not None else None
        rows.append(contract(str(k), draw(st.sampled_from("ABCDE")), started, ended, reason))
    return rows


def plain_customer(contracts: list[dict], at: pd.Timestamp, *, as_of: pd.Timestamp, days: int) -> object:
    """ "absent", or the label of a customer at a date, contract by contract."""
    known = [c for c in contracts if c["started_at"] < as_of]
    ends = [c["ended_at"] if c["ended_at"] is not None and c["ended_at"] < as_of else None for c in known]
    life = [
        (c["started_at"], e, c["end_reason"])
        for c, e in zip(known, ends, strict=True)
        if e is None or e >= c["started_at"]
    ]
    if not any(s < at and (e is None or not e < at) for s, e, _ in life):
        return "absent"
    churn = {
        e
        for _, e, why in life
        if e is not None and why == "churned" and not any(s <= e and (x is None or e < x) for s, x, _ in life)
    }
    if at + days * DAY > as_of or at in churn:
        return None
    return any(at < e <= at + days * DAY for e in churn)


@settings(max_examples=20, deadline=None)
@given(contracts=some_contracts(), days=st.sampled_from([1, 7, 14]))
def test_customers_are_those_of_the_plain_loop(contracts: list[dict], days: int):
    fixed = contract("fixed", "F", START - 9 * DAY, START, "churned")
    crm = crm_of(accounts=accounts(*"ABCDEF"), contracts=[*contracts, fixed])
    rows = build(crm, "account", as_of="2024-02-12", horizon_days=days)
    adds_up(crm, rows)
    for name in "ABCDE":
        mine = [c for c in contracts if c["account_id"] == name]
        dates = [END - 7 * k * DAY for k in range(6, -1, -1)]
        expected = {f"{d:%m-%d}": plain_customer(mine, d, as_of=END, days=days) for d in dates}
        assert story(rows, name) == {d: label for d, label in expected.items() if label != "absent"}


def whole_life(deals: list, contracts: list[dict]) -> Crm:
    """One CRM with everything: deals won by two reps, contracts, and invoices."""
    crm = crm_of_deals(deals)
    tables = dict(crm._read)
    owners = [owner(n, created, "RS"[k % 2]) for k, (n, created, _) in enumerate(deals)]
    owners.append(owner("first", START - 9 * DAY, "R"))
    tables["changes"] = pd.concat([tables["changes"], table_of("changes", owners)], ignore_index=True)
    tables["accounts"] = table_of("accounts", [*accounts(*"ABCDEF"), {"account_id": "last", "created_at": LAST}])
    fixed = contract("fixed", "F", START - 9 * DAY, START, "churned")
    tables["contracts"] = table_of("contracts", [*contracts, fixed])
    tables["reps"] = table_of("reps", reps(("R", "2020-01-01", END), ("S", START + DAY, None)))
    again = replace(crm, _read=tables, _whole=None)
    return replace(again, _whole=again)


@pytest.mark.parametrize("entity", ["opportunity", "account", "rep"])
@settings(max_examples=6, deadline=None)
@given(deals=some_deals(), contracts=some_contracts(), seed=st.integers(0, 9), back=st.integers(0, 4))
def test_laws_of_time(entity: str, deals: list, contracts: list[dict], seed: int, back: int):
    crm = whole_life(deals, contracts)
    every = build(crm, entity, as_of="2024-02-12")
    # Nothing that is known at or after the study's as_of enters it.
    cut = crm.cut(as_of="2024-02-12")
    tables = dict(cut._read) | {"accounts": crm["accounts"]}
    pd.testing.assert_frame_equal(build(replace(cut, _read=tables), entity, as_of="2024-02-12"), every)
    # Who has a row on a date does not depend on what comes later.
    date = END - 7 * back * DAY
    then = build(crm, entity, as_of=str(date))
    key = ENTITY_KEYS[entity]
    assert then.loc[then["as_of"] == date, key].tolist() == every.loc[every["as_of"] == date, key].tolist()
    # Labels that were settled then are those of today, unless a result was taken back since.
    if entity != "opportunity" and entity != "rep":
        old = then[then["mature"]].reset_index(drop=True)
        same = every.merge(old[[key, "as_of"]], on=[key, "as_of"], validate="1:1")
        pd.testing.assert_frame_equal(same, old)
    # The order of the tables is no matter, and they come back as they were.
    mixed = {n: t.sample(frac=1, random_state=seed) for n, t in crm._read.items()}
    kept = {n: t.copy(deep=True) for n, t in mixed.items()}
    other = replace(crm, _read=mixed, _whole=None)
    other = replace(other, _whole=other)
    pd.testing.assert_frame_equal(build(other, entity, as_of="2024-02-12"), every)
    censoring_table(other, every)
    for name, frame in mixed.items():
        pd.testing.assert_frame_equal(frame, kept[name])
