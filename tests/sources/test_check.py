"""`check_source` tells everything wrong at once, with counts and without personal data."""

import pytest

from crmlab.sources import PROBLEM_COLUMNS, check_source, format_problems
from crmlab.sources.problems import Problems, mask_text, safe_header, safe_value

TODAY = "2024-06-30"
HEAD = "Id,Created,Source,Status\n"
FULL = """
title: Test CRM
files:
  leads: {path: leads.csv}
  deals: {path: deals.csv}
tables:
  leads:
    file: leads
    columns:
      lead_id: Id
      created_at: {from: Created, format: iso}
      converted_at: {from: Converted, format: iso}
      status: Status
      owner_id: Owner
      opportunity_id: Deal
      employees: Size
  opportunities:
    file: deals
    columns:
      opportunity_id: Id
      created_at: {from: Created, format: iso}
      closed_at: {from: Closed, format: iso}
      outcome: Outcome
      stage: Stage
"""


def rows(frame, *, column=None, severity=None):
    if column:
        frame = frame[frame["column"] == column]
    if severity:
        frame = frame[frame["severity"] == severity]
    return frame.to_dict("records")


def the(frame, text):
    """Return the only problem whose text holds `text`."""
    (found,) = [r for r in frame.to_dict("records") if text in r["problem"]]
    return found


@pytest.fixture
def check(source):
    def run(leads: str, **options: str):
        return check_source(source(leads, **options), today=TODAY)

    return run


@pytest.fixture
def check_full(project, source):
    def run(leads: str, deals: str):
        source(deals, FULL, file="deals.csv")
        return check_source(source(leads, FULL), today=TODAY)

    return run


def test_a_clean_source_has_no_problem(source):
    found = check_source(source(), today=TODAY)
    assert found.empty
    assert list(found) == PROBLEM_COLUMNS
    assert format_problems(found) == "Nothing wrong found."


def test_an_own_column_that_nobody_dates_is_named_because_no_feature_uses_it(source):
    mapping = """
title: Test CRM
files:
  leads: {path: leads.csv}
tables:
  leads:
    file: leads
    columns:
      lead_id: Id
      created_at: {from: Created, format: iso}
      status: {from: Status, values: {Open: new}}
      x_channel: {from: Source, meaning: where it came from%s}
"""
    leads = HEAD + "A1,2024-04-03 10:00,Web,Open\n"
    (note,) = rows(check_source(source(leads, mapping % ""), today=TODAY), column="x_channel")
    assert note["severity"] == "note"
    assert "No feature uses this column" in note["problem"]
    for told in ("creation", "unknown"):
        found = check_source(source(leads, mapping % f", known: {told}"), today=TODAY)
        assert not rows(found, column="x_channel")


def test_everything_at_once(check):
    found = check("Id,Created,Channel,Status\nA1,03/04/2024 10:00,Web,Open\nA1,2024-04-03,Fair,Stale\n")
    assert set(found.loc[found["severity"] == "error", "column"]) == {"Source", "created_at", "status", "lead_id"}
    assert the(found, "has no column `Source`")["what_to_do"].startswith("Correct the name; ")
    assert rows(found, column="Channel")[0]["problem"] == "This column is not used."


def test_mapping_faults_are_problems_too(source):
    found = check_source(source(mapping="titel: T"), today=TODAY)
    assert (found["severity"] == "error").all()
    assert "did you mean `title`" in found["problem"].iloc[0]


def test_unreadable_file_is_a_problem(check):
    found = check(b"Id,Created,Source,Status\nA1,x,Citt\xe0,Open\n")
    assert the(found, "not utf-8 text")["table"] == "file leads"


def test_unparsed_dates_say_which_formats_would_fit(check):
    found = check(
        HEAD + "A1,03/04/2024 10:00,W,Open\nA2,2024-04-13,W,Open\nA3,2024-13-45,W,Open\nA4,14.04.2024,W,Open\n"
    )
    problem = the(found, "does not fit the date format")
    assert (problem["rows"], problem["share"]) == (3, 0.75)
    assert problem["example"] == "row 3: 2024-04-13, row 4: 2024-13-45, row 5: 14.04.2024"
    assert "The column mixes formats" in problem["what_to_do"]
    assert "`iso` fits 1" in problem["what_to_do"]
    assert "`%d.%m.%Y` fits 1" in problem["what_to_do"]
    assert "none fits 1" in problem["what_to_do"]


def test_a_wholly_wrong_format_is_told_as_such(check):
    found = check(HEAD + "A1,2024-04-13,W,Open\nA2,2024-04-14,W,Open\n")
    assert the(found, "date format")["what_to_do"] == "State the right `format:`: of 2 such values, `iso` fits 2."


def test_contradictory_formats(check, mapping):
    mapping = mapping.replace('"%d/%m/%Y %H:%M"', '["%d/%m/%Y", "%m/%d/%Y"]')
    found = check(HEAD + "A1,03/04/2024,W,Open\nA2,13/04/2024,W,Open\n", mapping=mapping)
    assert the(found, "fits two of the formats")["rows"] == 1


def test_future_dates_are_errors_relative_to_the_given_day(source):
    name = source(HEAD + "A1,01/07/2024 10:00,W,Open\nA2,02/07/2024 10:00,W,Open\nA3,01/01/2042 10:00,W,Open\n")
    problem = the(check_source(name, today=TODAY), "later than today (2024-06-30)")
    assert problem["rows"] == 2  # a day and 14 hours are allowed for time zones
    assert problem["example"] == "row 3; the latest is 2042-01-01"
    assert check_source(name, today="2042-01-02").empty


def test_duplicates_identical_and_conflicting(check):
    line = "A1,03/04/2024 10:00,W,Open\n"
    problem = the(check(HEAD + line * 2 + "A1,03/04/2024 10:00,W,Won\nA2,03/04/2024 10:00,W,Won\n"), "share their key")
    assert problem["rows"] == 3
    assert "1 of the repeats are identical" in problem["problem"]
    assert problem["example"] == "row 2, row 3, row 4: A•"


@pytest.mark.parametrize(
    ("rule", "kept", "severities"),
    [("drop_identical", 2, {"warning", "error"}), ("keep_first", 1, {"warning"}), ("keep_last", 1, {"warning"})],
)
def test_duplicate_rules(source, mapping, rule, kept, severities):
    mapping = mapping.replace("    file: leads", f"    file: leads\n    duplicates: {rule}")
    line = "A1,03/04/2024 10:00,W,Open\n"
    found = check_source(source(HEAD + line * 2 + "A1,03/04/2024 10:00,W,Won\n", mapping), today=TODAY)
    assert set(found["severity"]) == severities
    assert the(found, "were left out")["rows"] == 3 - kept


def test_unmapped_values_are_counted(check):
    body = "".join(f"A{i},03/04/2024 10:00,W,Paused\n" for i in range(6))
    found = check(
        HEAD + body + "B1,03/04/2024 10:00,W,Opem\nB2,03/04/2024 10:00,W,\nB3,03/04/2024 10:00,W,Mario Rossi\n"
    )
    problem = the(found, "that `values:` does not map")
    assert problem["rows"] == 8
    assert problem["example"] == "row 2: P••••• (6), row 8: 'Opem' (1), row 10: M•••• ••••• (1)"
    assert the(found, "is empty")["rows"] == 1


def test_numbers_hint_at_the_decimal_comma(check_full):
    deals = "Id,Created,Closed,Outcome,Stage\nO1,2024-01-01,,,\n"
    found = check_full(
        'Id,Created,Converted,Status,Owner,Deal,Size\nL1,2024-01-01,,new,,,"1.200,5"\nL2,2024-01-01,,new,,,-4\n', deals
    )
    problem = the(found, "is not a number")
    assert problem["what_to_do"] == 'Most look like decimal commas: write `decimal: ","` and `thousands: "."`.'
    assert problem["example"] == "row 2: •.•••,•"
    assert the(found, "must be at least 0")["rows"] == 1


def test_tables_are_checked_against_each_other(check_full):
    leads = (
        "Id,Created,Converted,Status,Owner,Deal,Size\n"
        "L1,2024-02-01,2024-01-01,converted,,O1,5\n"
        "L2,2024-02-01,,converted,,O9,5\n"
        "L3,2024-02-01,2024-03-01,new,,,5\n"
        "L4,1900-01-01,,new,,,5\n"
    )
    deals = (
        "Id,Created,Closed,Outcome,Stage\n"
        "O1,2024-02-01,2024-01-01,won,won\n"
        "O2,2024-02-01,,lost,lost\n"
        "O3,2024-02-01,2024-03-01,,quoted\n"
        "O4,2024-02-01,2024-03-01,won,lost\n"
    )
    found = check_full(leads, deals)
    assert not (found["severity"] == "error").any()
    expected = {
        "converted_at lies before created_at.": "row 2: 2024-01-01 before 2024-02-01",
        "closed_at lies before created_at.": "row 2: 2024-01-01 before 2024-02-01",
        "Some leads that were converted have no date": "row 3",
        "converted_at is given, but the status is not converted.": "row 4",
        "opportunity_id names rows that the table opportunities does not hold.": "row 3: O•",
        "Dates before 1970": "row 5",
        "Deals are won or lost without a date of closing.": "row 3",
        "Deals have a date of closing, but neither won nor lost.": "row 4",
        "The stage says won or lost, the outcome something else.": "row 5",
        "The column is empty in every row.": "",
    }
    assert {text: the(found, text)["example"] for text in expected} == expected
    assert all(the(found, text)["rows"] == 1 for text in list(expected)[:9])


PEOPLE = [
    ("Mario Rossi", "mario.rossi@example.com", "+39 347 1234567", "RSSMRA80A01H501U"),
    ("Anna D'Amico", "anna@example.org", "0039 02 1234567", "DMCNNA75B41F205X"),
    ("Jürgen Groß", "j.gross@example.net", "02 123 4567", "GRSJGN70C01Z112Q"),
]


@pytest.mark.parametrize(
    ("position", "kind"),
    [(1, "e-mail addresses"), (2, "telephone numbers"), (3, "Italian tax codes of persons")],
)
def test_personal_data_in_a_column_for_reports_is_told(check, position, kind):
    body = "".join(f"A{i},03/04/2024 10:00,{p[position]},Open\n" for i, p in enumerate(PEOPLE))
    assert kind in the(check(HEAD + body), "looks like personal data")["problem"]


@pytest.mark.parametrize("column", ["Id", "Created", "Source", "Status"])
@pytest.mark.parametrize("repeats", [1, 8])
def test_no_problem_shows_personal_data_wherever_it_stands(check, mapping, column, repeats):
    header = HEAD.strip().split(",")
    base = {"Id": "A{i}", "Created": "03/04/2024 10:00", "Source": "Web", "Status": "Open"}
    people = [value for person in PEOPLE for value in person]
    lines = [
        ",".join((base | {column: v})[h].replace("{i}", str(i)) for h in header) for i, v in enumerate(people * repeats)
    ]
    found = check(
        HEAD + "\n".join(lines) + "\n", mapping=mapping.replace("from: Status", 'from: Status, missing: ["-"]')
    )
    text = format_problems(found) + found.to_csv()
    assert not [p for p in people if p in text]


def test_spreadsheet_damage_is_told(check):
    found = check(HEAD + "1.2346E+11,03/04/2024 10:00,#VALUE!,Open\nA2,03/04/2024 10:00,SocietÃ\u00a0,Open\n")
    assert the(found, "spreadsheet error")["example"] == "row 2"
    assert the(found, "digits are lost")["column"] == "Id"
    assert the(found, "Letters look broken")["example"] == "row 3"


def test_lookup_problems(project, source):
    mapping = """
title: T
files: {leads: {path: leads.csv}, deals: {path: deals.csv}}
tables:
  leads:
    file: leads
    columns:
      lead_id: Id
      status: {constant: converted}
      converted_at: {from: Created, lookup: {file: deals, by: {Deal: Id}}, format: iso}
"""
    source("Id,Created\nO1,2024-01-01\nO1,2024-01-02\n" + "O2,2024-01-03\n" * 2, mapping, file="deals.csv")
    found = check_source(source("Id,Deal\nL1,O1\nL2,O9\nL3,O2\n", mapping), today=TODAY)
    assert the(found, "keys repeat with different values")["rows"] == 2
    assert the(found, "names rows that the file `deals` does not hold")["rows"] == 1


def test_text_fits_a_terminal_of_100_columns(check):
    found = check("Id,Created,Channel,Status\nA1,03/04/2024 10:00,Web,Open\nA1,2024-04-03,Fair,Stale\n")
    text = format_problems(found)
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith("ERROR   ")
    assert text.endswith("Errors stop the load.")
    assert "4 errors, 1 warning, 0 notes." in text


def test_masks():
    assert mask_text("anna@example.com") == "a•••@•••••••.•••"
    assert mask_text("2021-13-45") == "2021-13-45"
    assert mask_text("333-12-4567") == "3••-••-••••"
    assert mask_text("+39 347 1234567") == "+•• ••• •••••••"
    assert mask_text("x" * 50) == "x" + "•" * 22 + "…"
    assert safe_header("anna@example.com") == "a•••@•••••••.•••"
    assert safe_header("Lead Source") == "Lead Source"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Opne", "'Opne'"), (" OPEN", "' OPEN'"), ("Paused", "P•••••"), ("Mario Rossi", "M•••• •••••"), ("", "")],
)
def test_only_misspellings_of_known_values_are_shown(text, shown):
    assert safe_value(text, ["Open", "In Progress"]) == shown


def test_problems_are_ordered_by_severity():
    problems = Problems()
    for severity in ("note", "error", "warning", "error"):
        problems.add(severity, "leads", "x", severity, rows=1, of=3)
    frame = problems.frame()
    assert frame["severity"].tolist() == ["error", "error", "warning", "note"]
    assert frame["share"].round(3).unique().tolist() == [0.333]
    assert problems.count("error") == 2
