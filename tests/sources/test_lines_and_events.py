"""Files that are finer than the tables, event logs, and histories that the mapping states."""

import gzip

import numpy as np
import pandas as pd
import pytest

from crmlab.schema import SourceError
from crmlab.sources import MappingError, check_source, open_crm, read_source
from crmlab.sources.specs import FileSpec
from crmlab.sources.tabular import read_texts
from crmlab.sources.text_checks import _repeated

LINES = """
title: Shop
files:
  lines: {path: lines.csv}
tables:
  invoices:
    file: lines
    duplicates: combine
    columns:
      invoice_id: No
      account_id: Customer
      issued_at: {from: Date, format: iso, combine: max}
      amount: {from: Quantity, times: Price, combine: sum}
      cost: {from: Cost, combine: sum}
"""
ROWS = """No,Customer,Date,Quantity,Price,Cost
1,A,2024-01-02 10:00,2,1.5,1
2,B,2024-01-03 09:00,1,10,
1,A,2024-01-02 10:01,-1,0.5,0.25
"""

DEALS = """
title: Deals
files:
  deals: {path: deals.csv}
  log: {path: log.csv}
tables:
  opportunities:
    file: deals
    columns:
      opportunity_id: Id
      created_at: {from: Created, format: iso}
      owner_id: {from: Agent, since: created_at}
      stage: {from: Stage, values: {Q: qualified, W: won}}
  changes:
    file: log
    states: true
    columns:
      change_id: {from: [Id, When]}
      entity: {constant: opportunity}
      entity_id: Id
      field: {constant: stage}
      new_value: {from: Stage, values: {Q: qualified, W: won}}
      changed_at: {from: When, format: iso}
"""
DEAL_ROWS = "Id,Created,Agent,Stage\nD1,2024-01-01,R1,W\nD2,2024-02-01,,Q\n"
LOG_ROWS = """Id,When,Stage
D1,2024-01-09T00:00:00,W
D1,2024-01-01T00:00:00,Q
D1,2024-01-05T00:00:00,Q
D2,2024-02-01T00:00:00,Q
"""

XES = """<?xml version='1.0'?>
<log xmlns="http://www.xes-standard.org/">
  <string key="about" value="the whole log"/>
  <trace>
    <string key="concept:name" value="C1"/>
    <event>
      <string key="concept:name" value="call"/><string key="lifecycle:transition" value="START"/>
      <date key="time:timestamp" value="2024-01-01T10:00:00.000+01:00"/>
    </event>
    <event>
      <string key="concept:name" value="check"/><string key="lifecycle:transition" value="COMPLETE"/>
      <date key="time:timestamp" value="2024-01-01T10:03:00.000+01:00"/>
      <list key="parts"><string key="inner" value="unread"/></list>
    </event>
    <event>
      <string key="concept:name" value="call"/><string key="lifecycle:transition" value="COMPLETE"/>
      <date key="time:timestamp" value="2024-01-01T10:05:30.000+01:00"/><string key="org:resource" value="R7"/>
    </event>
    <event>
      <string key="concept:name" value="call"/><string key="lifecycle:transition" value="COMPLETE"/>
      <date key="time:timestamp" value="2024-01-01T11:00:00.000+01:00"/>
    </event>
  </trace>
  <trace><string key="concept:name" value="C2"/></trace>
</log>
"""


@pytest.fixture
def shop(source):
    def write(rows: str = ROWS, mapping: str = LINES) -> str:
        return source(rows, mapping, file="lines.csv")

    return write


@pytest.fixture
def deals(source):
    def write(log: str = LOG_ROWS, mapping: str = DEALS, rows: str = DEAL_ROWS) -> str:
        source(log, mapping, file="log.csv")
        return source(rows, mapping, file="deals.csv")

    return write


def table(name: str, which: str) -> pd.DataFrame:
    return open_crm(name, as_of="")[which]


def checked(name: str) -> pd.DataFrame:
    return check_source(name, today="2026-01-01")


def the(found: pd.DataFrame, text: str) -> dict:
    (row,) = [r for r in found.to_dict("records") if text in r["problem"]]
    return row


def faults(source, mapping: str) -> str:
    with pytest.raises(MappingError) as caught:
        read_source(source("", mapping, file="lines.csv"))
    return "\n".join(caught.value.faults)


# Rows that share their key


def test_lines_become_an_invoice(shop):
    found = table(shop(), "invoices").set_index("invoice_id")
    assert found["amount"].to_dict() == {"1": 2.5, "2": 10}
    assert found["issued_at"].tolist() == [pd.Timestamp("2024-01-02 10:01"), pd.Timestamp("2024-01-03 09:00")]
    assert found["cost"].fillna(-1).tolist() == [1.25, -1]  # a sum of no value is missing, not 0
    told = the(checked("shop"), "were combined")
    assert (told["severity"], told["rows"], told["share"]) == ("note", 1, pytest.approx(1 / 3))


def test_the_order_of_lines_does_not_matter_to_sums(shop):
    head, *lines = ROWS.splitlines()
    one = table(shop(), "invoices")
    other = table(shop("\n".join([head, *reversed(lines)])), "invoices")
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("first", 2), ("last", 7), ("min", 2), ("max", 9), ("sum", 18), ("count", 3), ("distinct", 3)],
)
def test_every_rule(shop, rule, expected):
    mapping = LINES.replace("{from: Cost, combine: sum}", f"{{from: Cost, combine: {rule}}}")
    rows = "No,Customer,Date,Quantity,Price,Cost\n" + "".join(f"1,A,2024-01-02,1,1,{c}\n" for c in ("", 2, 9, 7))
    assert table(shop(rows, mapping), "invoices")["cost"].tolist() == [expected]


def test_counts_of_texts(source):
    mapping = """
title: Use
files: {use: {path: lines.csv}}
tables:
  usage:
    file: use
    duplicates: combine
    columns:
      account_id: A
      day: {from: D, format: iso}
      known_at: {from: D, format: iso}
      features_used: {from: F, combine: distinct}
      logins: {from: F, combine: count}
"""
    rows = "A,D,F\nx,2024-01-01,f1\nx,2024-01-01,f2\nx,2024-01-01,f1\nx,2024-01-01,\ny,2024-01-01,\n"
    found = table(source(rows, mapping, file="lines.csv"), "usage")
    assert found["features_used"].tolist() == [2, 0]
    assert found["logins"].tolist() == [3, 0]
    assert found["known_at"].tolist() == [pd.Timestamp("2024-01-01 23:59:59")] * 2


def test_values_that_should_agree_and_do_not(shop):
    rows = ROWS.replace("1,A,2024-01-02 10:01", "1,C,2024-01-02 10:01")
    told = the(checked(shop(rows)), "hold different values of Customer")
    assert (told["severity"], told["column"], told["rows"]) == ("error", "account_id", 1)
    assert told["example"].startswith("row 2 and row 4")
    mapping = LINES.replace("account_id: Customer", "account_id: {from: Customer, combine: last}")
    assert table(shop(rows, mapping), "invoices")["account_id"].tolist() == ["C", "B"]
    assert the(checked("shop"), "the last was taken")["severity"] == "note"


def test_a_row_without_its_key_is_told(shop):
    rows = ROWS.replace("2,B", ",B").replace("\n1,A,2024-01-02 10:01", "\n,A,2024-01-02 10:01")
    told = the(checked(shop(rows)), "No is empty")
    assert (told["severity"], told["rows"]) == ("error", 2)


def test_a_required_value_may_stand_in_one_of_the_rows(shop):
    rows = ROWS.replace("1,A,2024-01-02 10:01", "1,,2024-01-02 10:01")
    assert table(shop(rows), "invoices")["account_id"].tolist() == ["A", "B"]


def test_a_required_value_that_no_row_has_is_told_once(shop):
    mapping = LINES.replace("combine: max}", "combine: max, only: {Quantity: [2]}}")
    told = the(checked(shop(mapping=mapping)), "needs a value in every row")
    assert (told["column"], told["rows"], told["example"]) == ("issued_at", 1, "row 3")


def test_the_range_is_that_of_the_sum(source):
    mapping = """
title: Use
files: {use: {path: lines.csv}}
tables:
  usage:
    file: use
    duplicates: combine
    columns:
      account_id: A
      day: {from: D, format: iso}
      known_at: {from: D, format: iso}
      minutes: {from: M, unit: hours, combine: sum}
"""
    name = source("A,D,M\nx,2024-01-01,2\nx,2024-01-01,-1\n", mapping, file="lines.csv")
    assert table(name, "usage")["minutes"].tolist() == [60]
    name = source("A,D,M\nx,2024-01-01,2\nx,2024-01-01,-3\n", mapping, file="lines.csv")
    assert the(checked(name), "must be at least 0")["severity"] == "error"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    duplicates: combine\n", "", "amount.combine: needs `duplicates: combine` on the table"),
        ("invoice_id: No", "invoice_id: {from: No, combine: first}", "the key is what combined rows share"),
        ("combine: max", "combine: sum", "`sum` has no meaning for a column of type time; use same, first"),
        ("combine: max", "combine: maximum", "`maximum` is not allowed; did you mean `max`?"),
        ("account_id: Customer", "account_id: {from: Customer, times: Price}", "no effect on a column of type id"),
        ("{from: Cost, combine: sum}", "{between: [Date]}", "must name two columns"),
        ("{from: Cost, combine: sum}", "{between: [Date, Date], format: iso}", "a time has no meaning for a column in"),
        ("    file: lines\n", "    file: lines\n    states: true\n", "belongs to the table `changes`"),
        ("account_id: Customer", "account_id: {from: Customer, since: issued_at}", "have a history in `changes`"),
        ("account_id: Customer", "account_id: {from: Customer, only: {Price: []}}", "name at least one value"),
        ("{from: Quantity, times: Price", "{constant: 1, times: Price", "needs `from:` with one column"),
        ("format: iso, combine", "format: iso, not_before: {format: iso}, combine", "not_before: lacks the key `from`"),
    ],
)
def test_what_cannot_be_meant(source, old, new, told):
    assert old in LINES
    assert told in faults(source, LINES.replace(old, new, 1))


def test_a_column_that_the_file_lacks(shop):
    found = checked(shop(mapping=LINES.replace("times: Price", "times: Prize")))
    assert "did you mean `Price`" in the(found, "no column `Prize`")["what_to_do"]
    found = checked(shop(mapping=LINES.replace("{from: Cost,", "{from: Cost, only: {Kind: [a]},")))
    assert the(found, "no column `Kind`")["severity"] == "error"


# Values of some rows, products, times between


def test_only_takes_the_value_of_some_rows(deals):
    mapping = DEALS.replace("stage: {from: Stage", "amount: {from: Id, only: {Stage: [X]}}\n      stage: {from: Stage")
    assert table(deals(mapping=mapping), "opportunities")["amount"].isna().all()  # D1 is no number, but never read
    mapping = DEALS.replace(
        "      stage: {from: Stage", "      outcome: {constant: won, only: {Stage: [W]}}\n      stage: {from: Stage"
    )
    assert table(deals(mapping=mapping), "opportunities")["outcome"].fillna("-").tolist() == ["won", "-"]


def test_time_between_two_columns(source):
    mapping = """
title: Calls
files: {calls: {path: lines.csv}}
tables:
  interactions:
    file: calls
    columns:
      interaction_id: Id
      ts: {from: Begin, format: iso}
      known_at: {from: End, format: iso}
      type: {constant: call}
      duration: {between: [Begin, End], format: iso}
"""
    rows = "Id,Begin,End\n1,2024-01-01 10:00,2024-01-01 10:02:30\n2,,2024-01-01 10:00\n"
    found = checked(source(rows, mapping, file="lines.csv"))
    assert the(found, "Begin is empty")["severity"] == "error"
    rows = rows.replace("2,,", "2,2024-01-01 10:05,")
    told = the(checked(source(rows, mapping, file="lines.csv")), "time from Begin to End must be at least 0")
    assert (told["severity"], told["rows"]) == ("error", 1)
    name = source(rows, mapping.replace("format: iso}\n", "format: iso, invalid: missing}\n", 9), file="lines.csv")
    assert "required column cannot be set missing" in "".join(checked(name)["problem"])
    name = source(rows, mapping.replace("End], format: iso", "End], format: iso, invalid: missing"), file="lines.csv")
    assert table(name, "interactions")["duration"].fillna(-1).tolist() == [2.5, -1]


def test_a_lookup_by_another_spelling(deals):
    mapping = DEALS.replace(
        "since: created_at}", "since: created_at, lookup: {file: log, by: {Stage: Stage}, values: {Q: W}}}"
    ).replace("from: Agent", "from: When")
    told = the(checked(deals("Id,When,Stage\nD1,2024-01-09,W\n", mapping)), "spelt otherwise")
    assert (told["severity"], told["rows"], told["column"]) == ("note", 1, "owner_id")
    assert table("shop", "opportunities")["owner_id"].tolist() == ["2024-01-09"] * 2


# Histories


def test_a_value_held_since_creation_has_a_history(deals):
    changes = table(deals(), "changes")
    owner = changes[changes["field"] == "owner_id"]
    assert owner[["change_id", "entity", "entity_id", "new_value"]].values.tolist() == [
        ["opportunity:owner_id:D1", "opportunity", "D1", "R1"]
    ]
    assert owner["old_value"].isna().all()
    assert owner["changed_at"].tolist() == [pd.Timestamp("2024-01-01 23:59:59")]  # when the deal itself is known


def test_a_value_held_since_a_day(deals):
    mapping = DEALS.replace("since: created_at", 'since: "2023-05-01"')
    changes = table(deals(mapping=mapping), "changes").query("field == 'owner_id'")
    assert changes["changed_at"].tolist() == [pd.Timestamp("2023-05-01 23:59:59")]


def test_a_value_without_its_date_has_no_history_and_is_told(deals):
    mapping = DEALS.replace("since: created_at", "since: closed_at").replace(
        "      stage: {from: Stage", "      closed_at: {from: Closed, format: iso}\n      stage: {from: Stage"
    )
    rows = "Id,Created,Agent,Stage,Closed\nD1,2024-01-01,R1,W,\nD2,2024-02-01,R2,Q,2024-02-09\n"
    told = the(checked(deals(mapping=mapping, rows=rows)), "No history of owner_id")
    assert (told["severity"], told["rows"], told["example"]) == ("warning", 1, "row 2")
    assert table("shop", "changes").query("field == 'owner_id'")["entity_id"].tolist() == ["D2"]


def test_own_values_of_today_have_a_history_too(source):
    mapping = """
title: T
files: {leads: {path: lines.csv}}
tables:
  leads:
    file: leads
    columns:
      lead_id: Id
      created_at: {from: Day, format: iso}
      status: {constant: new}
      x_vip: {from: Vip, type: boolean, known: today, since: created_at, meaning: An important one.}
      x_size: {from: Size, type: number, known: today, since: created_at, meaning: Its size.}
"""
    name = source("Id,Day,Vip,Size\nL1,2024-01-01,yes,3\nL2,2024-01-01,,2.5\n", mapping, file="lines.csv")
    changes = table(name, "changes")
    assert sorted(changes["new_value"]) == ["2.5", "3", "true"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("since: created_at", "since: closed_at", "must be a time column that this table maps (created_at)"),
        (
            "created_at: {from: Created, format: iso}",
            "created_at: {from: Created, format: iso, since: created_at}",
            "has no effect: created_at is known from created_at on anyway",
        ),
        (
            "stage: {from: Stage, values: {Q: qualified, W: won}}\n  changes",
            "x_a: {from: Stage, known: creation, since: created_at, meaning: A.}\n  changes",
            "has an effect only with `known: today`",
        ),
    ],
)
def test_histories_that_cannot_be_meant(source, old, new, told):
    assert old in DEALS
    assert told in faults(source, DEALS.replace(old, new, 1))


def test_states_become_changes(deals):
    changes = table(deals(), "changes").query("field == 'stage'").sort_values(["entity_id", "changed_at"])
    assert changes[["entity_id", "old_value", "new_value"]].fillna("-").values.tolist() == [
        ["D1", "-", "qualified"],
        ["D1", "qualified", "won"],
        ["D2", "-", "qualified"],
    ]
    told = the(checked("shop"), "repeat the one before")
    assert (told["severity"], told["rows"]) == ("note", 1)


def test_a_state_that_empties_the_field_is_a_change(deals):
    log = "Id,When,Stage\nD1,2024-01-01,Q\nD1,2024-01-02,\nD1,2024-01-03,\nD1,2024-01-04,Q\n"
    changes = table(deals(log), "changes").query("field == 'stage'")
    assert changes[["old_value", "new_value"]].fillna("-").values.tolist() == [
        ["-", "qualified"],
        ["qualified", "-"],
        ["-", "qualified"],
    ]


def test_states_go_on_from_a_value_held_since(deals):
    mapping = DEALS.replace("W: won}}\n  changes", "W: won}, since: created_at}\n  changes")
    changes = table(deals("Id,When,Stage\nD2,2024-02-09,W\nD1,2024-02-09,W\n", mapping), "changes")
    found = changes[(changes["field"] == "stage") & (changes["entity_id"] == "D2")].sort_values("changed_at")
    assert found["old_value"].fillna("-").tolist() == ["-", "qualified"]


def test_changes_keep_their_own_old_values(deals):
    mapping = DEALS.replace("    states: true\n", "").replace(
        "new_value: {from", "old_value: {constant: was}\n      new_value: {from"
    )
    changes = table(deals(mapping=mapping), "changes").query("field == 'stage'")
    assert changes["old_value"].tolist() == ["was"] * 4


# What the check says about dates, links and histories


def test_a_date_before_the_one_it_follows(deals):
    mapping = DEALS.replace(
        "created_at: {from: Created, format: iso}",
        "created_at: {from: Created, format: iso, "
        "not_before: {from: When, lookup: {file: log, by: {Id: Id}}, format: iso}}",
    )
    log = "Id,When,Stage\nD1,2024-01-09,W\nD2,2024-02-01,Q\n"
    told = the(checked(deals(log, mapping)), "Created lies before log: When (by Id)")
    assert (told["severity"], told["rows"], told["share"]) == ("warning", 1, 0.5)
    assert told["example"] == "row 2: 2024-01-01 before 2024-01-09"
    assert table("shop", "opportunities")["created_at"].notna().all()


def test_a_value_that_its_history_contradicts(deals):
    log = LOG_ROWS.replace("D2,2024-02-01T00:00:00,Q", "D2,2024-02-01T00:00:00,W")
    told = the(checked(deals(log)), "newest change logged")
    assert (told["table"], told["column"], told["rows"], told["example"]) == ("opportunities", "stage", 1, "row 3")
    assert not checked(deals())["problem"].str.contains("newest change").any()
    without_history = DEAL_ROWS + "D3,2024-02-01,,W\n"
    assert not checked(deals(rows=without_history))["problem"].str.contains("newest change").any()


def test_events_before_their_account(source):
    mapping = """
title: T
files: {accounts: {path: lines.csv}, tickets: {path: tickets.csv}}
tables:
  accounts: {file: accounts, columns: {account_id: Id, created_at: {from: Day, format: iso}}}
  tickets:
    file: tickets
    columns: {ticket_id: T, account_id: Id, opened_at: {from: At, format: iso}}
"""
    source("T,Id,At\n1,A,2024-01-01 08:00\n2,A,2023-12-31 23:00\n3,B,2023-01-01 00:00\n", mapping, file="tickets.csv")
    told = the(checked(source("Id,Day\nA,2024-01-01\n", mapping, file="lines.csv")), "before the account")
    assert (told["rows"], told["share"], told["example"]) == (1, 0.5, "row 3: 2023-12-31 before 2024-01-01")


def test_a_link_that_only_open_deals_lack_is_told(source):
    mapping = """
title: T
files: {deals: {path: lines.csv}}
tables:
  opportunities:
    file: deals
    columns:
      opportunity_id: {row_number: true}
      created_at: {constant: "2024-01-01"}
      account_id: A
      closed_at: {constant: "2024-02-01", only: {O: [won]}}
      outcome: O
"""
    rows = "A,O\n" + "x,won\n" * 25 + ",\n" * 30
    told = the(checked(source(rows, mapping, file="lines.csv")), "Rows have no account_id")
    assert (told["severity"], told["rows"]) == ("warning", 30)
    assert "being empty tells the outcome" in told["problem"]
    told = the(checked(source(rows + ",won\n", mapping, file="lines.csv")), "Rows have no account_id")
    assert told["severity"] == "note"


def test_repeated_rows_of_a_file(shop):
    head, *lines = ROWS.splitlines()
    told = the(checked(shop("\n".join([head, *lines, lines[0], lines[0]]))), "repeat an earlier row in every column")
    assert (told["severity"], told["rows"], told["example"]) == ("warning", 2, "row 5")


def test_repeated_rows_are_those_that_pandas_finds():
    rng = np.random.default_rng(0)
    for size in (1, 2, 30, 300):
        frame = pd.DataFrame(rng.integers(0, 4, (size, 4)).astype("str"), columns=list("abcd"))
        assert (_repeated(frame) == frame.duplicated().to_numpy()).all()


# Event logs


@pytest.mark.parametrize("packed", [False, True])
def test_an_event_log(tmp_path, packed):
    path = tmp_path / ("log.xes.gz" if packed else "log.xes")
    path.write_bytes(gzip.compress(XES.encode()) if packed else XES.encode())
    texts = read_texts([path], FileSpec("log", path.name))
    assert list(texts.frame) == [
        "concept:name",
        "lifecycle:transition",
        "time:timestamp",
        "org:resource",
        "case:concept:name",
        "start_timestamp",
    ]
    assert texts.frame["case:concept:name"].tolist() == ["C1"] * 4 + ["C2"]  # a case without events stays
    assert texts.frame["org:resource"].tolist() == ["", "", "R7", "", ""]
    # `check` was never started; the second completion of `call` has no start of its own.
    assert texts.frame["start_timestamp"].tolist() == ["", "", "2024-01-01T10:00:00.000+01:00", "", ""]
    assert texts.where(2) == "row 3"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Id,When\n1,2\n", "is no event log"),
        (XES[:-30], "is not valid XML"),
        ("<log>\n</log>", "holds no case"),
        ("<!DOCTYPE log [<!ENTITY a 'b'>]>\n<log></log>", "declares document types"),
    ],
)
def test_what_is_no_event_log(tmp_path, text, told):
    path = tmp_path / "log.xes"
    path.write_text(text)
    with pytest.raises(SourceError, match=told):
        read_texts([path], FileSpec("log", path.name))


def test_deals_from_an_event_log(source):
    mapping = """
title: Log
files: {events: {path: log.xes}}
tables:
  opportunities:
    file: events
    duplicates: combine
    columns:
      opportunity_id: case:concept:name
      created_at: {from: time:timestamp, format: iso, combine: min}
      first_quote_at: {from: time:timestamp, only: {concept:name: [check]}, format: iso, combine: min}
  interactions:
    file: events
    only: {concept:name: [call], lifecycle:transition: [COMPLETE]}
    columns:
      interaction_id: {row_number: true}
      opportunity_id: case:concept:name
      ts: {from: time:timestamp, format: iso}
      known_at: {from: time:timestamp, format: iso}
      type: concept:name
      duration: {between: [start_timestamp, time:timestamp], format: iso}
"""
    name = source(XES.replace('<trace><string key="concept:name" value="C2"/></trace>', ""), mapping, file="log.xes")
    crm = open_crm(name, as_of="")
    assert crm["opportunities"]["created_at"].tolist() == [pd.Timestamp("2024-01-01 09:00")]
    assert crm["opportunities"]["first_quote_at"].tolist() == [pd.Timestamp("2024-01-01 09:03")]
    assert crm["interactions"]["duration"].fillna(-1).tolist() == [5.5, -1]
    assert crm["interactions"]["interaction_id"].tolist() == ["3", "4"]


def test_a_public_file_that_is_published_packed(source, monkeypatch, tmp_path):
    import hashlib

    packed = gzip.compress(XES.encode())
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "log.xes.gz").write_bytes(packed)
    monkeypatch.setenv("CRMLAB_DATASETS", str(tmp_path / "sets"))
    mapping = f"""
title: Log
files:
  events: {{path: log.xes.gz, url: https://example.com/log.xes.gz, sha256: {hashlib.sha256(packed).hexdigest()}}}
tables:
  reps: {{file: events, skip_missing: ["org:resource"], columns: {{rep_id: "org:resource"}}}}
"""
    assert table(source("", mapping), "reps")["rep_id"].tolist() == ["R7"]
    (tmp_path / "sets" / "log.xes.gz").write_bytes(gzip.compress(XES.encode() + b" "))
    assert the(checked("shop"), "checksum differs")["severity"] == "error"
