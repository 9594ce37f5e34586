"""The canonical schema: what is accepted, in which types it comes back, and what every refusal says."""

import datetime as dt
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from crmlab.schema import (
    CHANGE_ENTITIES,
    INTERACTION_TYPES,
    LEAD_CLOSED,
    LEAD_STATUSES,
    TABLES,
    TODAY,
    CrmlabError,
    DataError,
    NotEnoughEvidence,
    ParameterError,
    RunError,
    SourceError,
    conform_table,
    dictionary_markdown,
    did_you_mean,
    empty_table,
    pandera_schema,
    table,
)
from crmlab.schema.checks import _cast
from crmlab.schema.columns import column

SECRET = "mario.rossi@example.com"


def leads(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"lead_id": ["L1", "L2"], "status": ["new", "converted"]} | columns)


def contacts(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"contact_id": ["C1", "C2"]} | columns)


def quotes(**columns: object) -> pd.DataFrame:
    fixed = {"quote_id": ["Q1", "Q2"], "opportunity_id": "O1", "sent_at": pd.Timestamp("2024-01-01")}
    return pd.DataFrame(fixed | columns)


def lead_column(name: str, values: object) -> pd.Series:
    return conform_table("leads", leads(**{name: values}))[name]


def objects(*values: object) -> pd.Series:
    return pd.Series(list(values), dtype=object)


# The declarations themselves


@pytest.mark.parametrize("name", TABLES)
def test_every_declaration_refers_only_to_what_exists(name: str) -> None:
    spec = table(name)
    assert spec.name == name
    assert spec.meaning.endswith(".")
    assert len(set(spec.names)) == len(spec.names)
    assert spec[spec.known_at].kind == "time"
    assert all(spec[k].required for k in spec.key)
    for c in spec.columns:
        assert c.known == TODAY or spec[c.known].kind == "time", c.name
        assert c.meaning.endswith("."), c.name
        assert c.kind == "number" or c.kind == "integer" or (c.low is None and c.high is None), c.name
    for own, other in spec.references.items():
        assert spec[own].kind == "id"
        assert other in TABLES


def test_constants_are_those_that_the_tables_allow() -> None:
    assert set(LEAD_CLOSED) < set(LEAD_STATUSES) == set(table("leads")["status"].values)
    assert table("changes")["entity"].values == CHANGE_ENTITIES
    assert len(set(INTERACTION_TYPES)) == len(INTERACTION_TYPES)


@pytest.mark.parametrize(
    ("name", "personal"),
    [
        ("accounts", {"name"}),
        (
            "contacts",
            {"contact_id", "first_name", "last_name", "email", "phone", "tags", "consent"},
        ),
        ("leads", {"contact_id", "notes"}),
        ("opportunities", {"contact_id", "notes"}),
        ("changes", {"old_value", "new_value"}),
        ("reps", {"rep_id", "first_name", "last_name", "contract_status"}),
    ],
)
def test_personal_columns_are_marked(name: str, personal: set[str]) -> None:
    assert {c.name for c in table(name).columns if c.personal} == personal


def test_columns_of_today_are_not_as_of_safe() -> None:
    unsafe = {c.name for c in table("leads").columns if not c.as_of_safe}
    assert unsafe == {"owner_id", "status", "crm_score", "notes"}


def test_of_kind_lists_columns_in_their_order() -> None:
    assert table("quotes").of_kind("time", "integer") == ["sent_at", "revision"]


def test_unknown_table_is_refused_with_a_suggestion() -> None:
    with pytest.raises(DataError, match=r"no canonical table `laeds`.\n  To do: did you mean `leads`\?"):
        table("laeds")


def test_unknown_kind_of_column_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kind 'date' is not one of"):
        column("day", "date", "A day.")


# What comes back


@pytest.mark.parametrize("name", TABLES)
def test_empty_table_conforms_to_itself(name: str) -> None:
    pd.testing.assert_frame_equal(conform_table(name, empty_table(name)), empty_table(name))


def test_empty_frame_with_only_the_required_columns_gets_all_types() -> None:
    found = conform_table("quotes", pd.DataFrame(columns=["sent_at", "quote_id", "opportunity_id"]))
    pd.testing.assert_frame_equal(found, empty_table("quotes"))


def test_columns_come_in_their_documented_order_and_missing_ones_are_empty() -> None:
    given = pd.DataFrame({"x_b": [1.0], "status": ["new"], "lead_id": ["L1"], "x_a": [2.0]})
    found = conform_table("leads", given)
    assert list(found) == [*table("leads").names, "x_b", "x_a"]
    assert found["created_at"].isna().all()
    assert found["created_at"].dtype == "datetime64[us]"
    assert found["employees"].isna().all()
    assert found["employees"].dtype == "float64"
    assert found["source"].isna().all()
    assert found["source"].dtype == "str"


def test_types_of_every_kind() -> None:
    found = conform_table("quotes", quotes(revision=[1.0, 2.0], amount=[1, 2]))
    assert found.dtypes.astype(str).to_dict() == {
        "quote_id": "str",
        "opportunity_id": "str",
        "sent_at": "datetime64[us]",
        "revision": "Int64",
        "amount": "float64",
        "discount_rate": "float64",
    }
    assert conform_table("contacts", contacts(consent=[True, None]))["consent"].dtype == "boolean"


def test_argument_is_left_as_it_was_and_its_index_is_dropped() -> None:
    given = leads(created_at=pd.to_datetime(["2024-01-01", "2024-01-02"]), x_own=pd.Categorical(["a", None]))
    given.index = [7, 7]
    before = given.copy(deep=True)
    found = conform_table("leads", given)
    pd.testing.assert_frame_equal(given, before)
    assert list(found.index) == [0, 1]
    found.loc[0, "status"] = "working"
    pd.testing.assert_frame_equal(given, before)


def test_conforming_twice_changes_nothing() -> None:
    once = conform_table("leads", leads(employees=[1, None], x_flag=[True, None], account_id=[1, None]))
    pd.testing.assert_frame_equal(conform_table("leads", once), once)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 22], ["1", "22"]),
        (pd.Series([1, None], dtype="Int64"), ["1", None]),
        ([1.0, None], ["1", None]),  # how pandas reads a column of whole numbers with a gap
        (objects(1, "A7"), ["1", "A7"]),
        (objects(1.0, "A7"), ["1", "A7"]),
        (pd.Categorical([1, None]), ["1", None]),
        (pd.Categorical(["a", None]), ["a", None]),
        (["007", " 7"], ["007", " 7"]),
        (["None", "NA"], ["None", "NA"]),
        (objects(None, pd.NA), [None, None]),
        ([np.nan, np.nan], [None, None]),
    ],
)
def test_identifiers_become_the_text_a_person_would_write(values: object, expected: list) -> None:
    found = lead_column("account_id", values)
    assert found.dtype == "str"
    assert [None if pd.isna(v) else v for v in found] == expected


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([1.5, 2.0], "float64 values; numbers with decimals"),
        ([2.0**53 + 2, 1.0], "too long to be exact"),
        ([float("inf"), 1.0], "numbers with decimals"),
        (objects(b"A1", "A2"), "bytes values"),
        (objects(["A1"], "A2"), "list values"),
    ],
)
def test_identifiers_that_are_no_text_are_refused(values: object, why: str) -> None:
    with pytest.raises(DataError, match=rf"`leads.account_id` must hold text.\n  Found: .*{why}"):
        lead_column("account_id", values)


def test_identifiers_that_only_look_different_are_the_same_key() -> None:
    with pytest.raises(DataError, match=r"one row per lead_id"):
        conform_table("leads", leads(lead_id=objects(1, "1")))


@pytest.mark.parametrize(
    "values",
    [
        pd.to_datetime(["2024-01-01 10:00", "2024-07-01 10:00"]).tz_localize("Europe/Rome"),
        pd.to_datetime(["2024-01-01 09:00", "2024-07-01 08:00"]),
        pd.to_datetime(["2024-01-01 09:00", "2024-07-01 08:00"]).as_unit("ns"),
        pd.to_datetime(["2024-01-01 09:00", "2024-07-01 08:00"]).as_unit("s"),
        objects(dt.datetime(2024, 1, 1, 9), dt.datetime(2024, 7, 1, 8)),
        objects(pd.Timestamp("2024-01-01 10:00", tz="Europe/Rome"), dt.datetime(2024, 7, 1, 8, tzinfo=dt.UTC)),
        pd.Categorical(pd.to_datetime(["2024-01-01 09:00", "2024-07-01 08:00"])),
    ],
)
def test_times_become_naive_utc_in_microseconds(values: object) -> None:
    found = lead_column("created_at", values)
    assert found.dtype == "datetime64[us]"
    assert list(found) == [pd.Timestamp("2024-01-01 09:00"), pd.Timestamp("2024-07-01 08:00")]


def test_time_objects_with_gaps_keep_their_microseconds() -> None:
    found = lead_column("created_at", objects(dt.datetime(2024, 1, 1, 0, 0, 0, 1), None))
    assert found[0] == pd.Timestamp("2024-01-01 00:00:00.000001")
    assert pd.isna(found[1])


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_times_outside_the_range_of_nanoseconds_are_kept(year: str) -> None:
    instant = pd.Timestamp(f"{year}-01-01").as_unit("s")
    assert lead_column("created_at", pd.Series([instant, instant])).dt.year.eq(int(year)).all()


@pytest.mark.parametrize(
    "values",
    [["2024-01-01", "2024-01-02"], [1704067200, 1704067201], [20240101.0, None], objects(dt.date(2024, 1, 1), None)],
)
def test_what_only_looks_like_a_time_is_refused(values: object) -> None:
    with pytest.raises(DataError, match=r"`leads.created_at` must hold timestamps.\n  Found: .* not timestamps"):
        lead_column("created_at", values)


@pytest.mark.parametrize(
    "values",
    [["1", "2.5"], objects(1, "2.5"), objects(Decimal(1), Decimal("2.5")), pd.Categorical([1.0, 2.5]), [1, 2.5]],
)
def test_numbers_are_read_from_text_and_objects(values: object) -> None:
    found = lead_column("employees", values)
    assert found.dtype == "float64"
    assert list(found) == [1.0, 2.5]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["1", "1.000,5"], r"1 of 2 rows, such as '1.000,5'"),
        ([np.inf, 1], "not finite"),
        (["inf", "1"], "not finite"),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), "not numbers"),
        ([1j, 2j], "not finite real numbers"),
    ],
)
def test_what_is_no_number_is_refused(values: object, found: str) -> None:
    with pytest.raises(
        DataError, match=rf"`leads.employees` must hold numbers.\n  Found: .*{found}.*\n  To do: correct"
    ):
        lead_column("employees", values)


@pytest.mark.parametrize("values", [[1, None], [1.0, None], ["1", None], pd.Series([1, None], dtype="Int64")])
def test_whole_numbers(values: object) -> None:
    found = conform_table("quotes", quotes(revision=values))["revision"]
    assert found.dtype == "Int64"
    assert found[0] == 1
    assert pd.isna(found[1])


def test_long_whole_numbers_keep_every_digit() -> None:
    found = conform_table("quotes", quotes(revision=pd.Series([2**60 + 1, 1], dtype="Int64")))["revision"]
    assert found[0] == 2**60 + 1


@pytest.mark.parametrize("values", [[1.5, 2], ["1.5", "2"], [np.inf, 1]])
def test_numbers_with_decimals_are_no_whole_numbers(values: object) -> None:
    with pytest.raises(DataError, match=r"`quotes.revision` must hold whole numbers"):
        conform_table("quotes", quotes(revision=values))


@pytest.mark.parametrize("values", [[True, None], [1, None], [1.0, None], objects(True, None)])
def test_true_or_false(values: object) -> None:
    found = conform_table("contacts", contacts(consent=values))["consent"]
    assert found.dtype == "boolean"
    assert found[0] is np.True_
    assert found[1] is pd.NA


@pytest.mark.parametrize("values", [["true", "false"], ["yes", "no"], [1, 2]])
def test_words_are_not_true_or_false(values: object) -> None:
    with pytest.raises(DataError, match=r"`contacts.consent` must hold true or false"):
        conform_table("contacts", contacts(consent=values))


# Own columns


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "float64"),
        (objects(1, None), "float64"),
        ([True, False], "boolean"),
        (objects(True, None), "boolean"),
        (["a", None], "str"),
        (objects("a", 1), "str"),
        (pd.Categorical(["a", None]), "str"),
        (pd.Categorical([1, 2]), "float64"),
        (objects(None, None), "str"),
        (pd.to_datetime(["2024-01-01", None]), "datetime64[us]"),
        (objects(dt.datetime(2024, 1, 1), None), "datetime64[us]"),
        (pd.to_datetime(["2024-01-01", None]).tz_localize("Asia/Kolkata"), "datetime64[us]"),
    ],
)
def test_own_columns_get_one_of_four_types(values: object, dtype: str) -> None:
    assert lead_column("x_own", values).dtype == dtype


@pytest.mark.parametrize("values", [pd.to_timedelta([1, 2], unit="D"), objects(dt.date(2024, 1, 1), None), [1j, 2j]])
def test_own_columns_of_other_types_are_refused(values: object) -> None:
    with pytest.raises(DataError, match=r"`leads.x_own` must hold text"):
        lead_column("x_own", values)


@pytest.mark.parametrize("name", ["x_Own", "x-own", "x_", "own", "x_ö", 'x_a"; DROP TABLE leads; --', "x_a\n", 7])
def test_own_columns_have_plain_names(name: object) -> None:
    with pytest.raises(DataError, match=r"has no column `(.|\n)*Own columns begin with `x_`, in lower case."):
        conform_table("leads", leads().assign(tmp=1).rename(columns={"tmp": name}))


def test_tables_that_are_not_open_take_no_own_columns() -> None:
    with pytest.raises(DataError, match=r"Table `quotes` has no column `x_own`") as caught:
        conform_table("quotes", quotes(x_own=1))
    assert "Own columns" not in str(caught.value)


# Refusals


def test_missing_required_columns_are_all_named() -> None:
    with pytest.raises(DataError, match=r"lacks the required column.s. lead_id, status.\n  Found: columns none"):
        conform_table("leads", pd.DataFrame())


def test_unknown_column_gets_a_suggestion() -> None:
    with pytest.raises(
        DataError, match=r"no column `statsu`.\n  Found: 2 unknown .*\n  To do: did you mean `status`\?"
    ):
        conform_table("leads", leads(statsu=1, zzz=2))


def test_column_that_comes_twice_is_refused() -> None:
    twice = pd.DataFrame([["L1", "new", "new"]], columns=["lead_id", "status", "status"])
    with pytest.raises(DataError, match=r"Table `leads` has the column `status` twice"):
        conform_table("leads", twice)


def test_empty_required_value_is_refused_before_the_key_is_looked_at() -> None:
    with pytest.raises(DataError, match=r"`leads.lead_id` may not be empty.\n  Found: 2 of 2 rows without a value"):
        conform_table("leads", leads(lead_id=[None, None]))


def test_repeated_key_tells_how_many_rows_and_the_first() -> None:
    given = pd.DataFrame({"lead_id": ["b", "a", "c", "a"], "status": "new"})
    expected = r"one row per lead_id.\n  Found: 2 of 4 rows share their key with another; the first is row 2\n  To do: "
    with pytest.raises(DataError, match=expected):
        conform_table("leads", given)


def test_composite_key() -> None:
    day = pd.Timestamp("2024-01-01")
    given = pd.DataFrame({"account_id": ["A", "A"], "day": day, "known_at": day})
    with pytest.raises(DataError, match=r"one row per account_id and day"):
        conform_table("usage", given)
    apart = conform_table("usage", given.assign(day=[day, day + pd.Timedelta(days=1)]))
    assert len(apart) == 2


def test_value_outside_the_list_is_shown_with_the_allowed_ones() -> None:
    with pytest.raises(
        DataError, match=r"one of new, working, .*\n  Found: 1 of 2 rows with another value, such as 'wno'"
    ):
        conform_table("leads", leads(status=["new", "wno"]))


@pytest.mark.parametrize(
    ("values", "allowed"), [([-0.01, 0.5], "at least 0 and at most 1"), ([1.01, 2], "at least 0 and at most 1")]
)
def test_number_outside_its_range_is_refused(values: list[float], allowed: str) -> None:
    with pytest.raises(DataError, match=f"`quotes.discount_rate` must be {allowed}.\n  Found: . of 2 rows"):
        conform_table("quotes", quotes(discount_rate=values))


def test_ends_of_a_range_and_gaps_are_allowed() -> None:
    assert list(conform_table("quotes", quotes(discount_rate=[0, 1]))["discount_rate"]) == [0.0, 1.0]
    assert conform_table("quotes", quotes(discount_rate=[None, 1]))["discount_rate"].isna().sum() == 1


def test_whole_number_outside_its_range_is_refused() -> None:
    with pytest.raises(DataError, match=r"`quotes.revision` must be at least 1.\n  Found: 1 of 2 rows"):
        conform_table("quotes", quotes(revision=[0, None]))


def _everything_shown(error: BaseException) -> str:
    """What a notebook's traceback would show: the error and, unless suppressed, its cause and context."""
    shown = str(error)
    if error.__cause__ is not None:
        return shown + _everything_shown(error.__cause__)
    if error.__context__ is not None and not error.__suppress_context__:
        return shown + _everything_shown(error.__context__)
    return shown


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("contacts", contacts(consent=[SECRET, "x"])),
        ("contacts", contacts(email=objects([SECRET], None))),
        ("contacts", contacts(contact_id=[SECRET, SECRET])),
        ("contacts", contacts(x_own=objects([SECRET], None))),
        ("reps", pd.DataFrame({"rep_id": [SECRET, SECRET]})),
        ("leads", leads(x_own=objects({SECRET}, None))),
        ("leads", leads(status=["new", None], notes=[SECRET, SECRET])),
    ],
)
def test_no_value_of_a_personal_or_own_column_is_ever_shown(name: str, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        conform_table(name, frame)
    assert SECRET not in _everything_shown(caught.value)
    assert str(caught.value).count("\n  ") == 2  # what is wrong, what was found, what to do


@pytest.mark.parametrize(
    ("name", "frame", "culprit"),
    [("contacts", contacts(email="x"), "email"), ("leads", leads(x_own="x"), "x_own")],
)
def test_not_even_the_cause_shows_a_personal_value(
    name: str, frame: pd.DataFrame, culprit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever pandas may quote in an error of its own."""

    def cast(values: pd.Series, kind: str) -> pd.Series:
        if values.name == culprit:
            raise ValueError(f"cannot convert {SECRET}")
        return _cast(values, kind)

    monkeypatch.setattr("crmlab.schema.checks._cast", cast)
    with pytest.raises(
        DataError, match=rf"`{name}.{culprit}` must hold text.\n  Found: str values that do not"
    ) as caught:
        conform_table(name, frame)
    assert SECRET not in _everything_shown(caught.value)


# The pandera schema and the data dictionary


@pytest.mark.parametrize("name", TABLES)
def test_pandera_schema_describes_every_column(name: str) -> None:
    schema = pandera_schema(name)
    assert list(schema.columns) == table(name).names
    assert schema.unique == list(table(name).key)
    assert all(schema.columns[c.name].nullable != c.required for c in table(name).columns)


def test_pandera_schema_alone_refuses_bad_rows() -> None:
    good = conform_table("quotes", quotes(discount_rate=[0.1, 0.2]))
    pandera_schema("quotes").validate(good)
    with pytest.raises(pa.errors.SchemaError, match=r"less_than_or_equal_to"):
        pandera_schema("quotes").validate(good.assign(discount_rate=1.5))
    with pytest.raises(pa.errors.SchemaError, match=r"not unique"):
        pandera_schema("quotes").validate(good.assign(quote_id="Q1"))


def test_data_dictionary_is_current(root: Path) -> None:
    written = (root / "docs" / "data_dictionary.md").read_text(encoding="utf-8")
    assert written == dictionary_markdown(), "write docs/data_dictionary.md anew from dictionary_markdown()"


def test_data_dictionary_names_every_column_in_a_whole_table_row() -> None:
    text = dictionary_markdown()
    for spec in TABLES.values():
        section = text.split(f"## {spec.name}\n")[1].split("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert [re.match(r"\| `(\w+)`", row)[1] for row in rows] == spec.names
        assert {row.count(" | ") for row in rows} == {5}, spec.name  # no value holds a column separator
    assert "| `status` | category, required |  | Status today. One of `new`, `working`" in text
    assert "| **today only** | yes |" in text


# Errors


@pytest.mark.parametrize("kind", [DataError, SourceError, ParameterError, NotEnoughEvidence, RunError])
def test_errors_say_what_is_wrong_what_was_found_and_what_to_do(kind: type[CrmlabError]) -> None:
    error = kind("It broke.", found="a crack", remedy="mend it.")
    assert isinstance(error, CrmlabError)
    assert str(error) == "It broke.\n  Found: a crack\n  To do: mend it."
    assert (error.problem, error.found, error.remedy) == ("It broke.", "a crack", "mend it.")
    assert str(kind("It broke.")) == "It broke."


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("horizon_day", ["as_of", "horizon_days"], "did you mean `horizon_days`?"),
        ("zzz", ("b", "a"), "known are: a, b."),
        ("zzz", [], "known are: none."),
    ],
)
def test_did_you_mean(word: str, known: list[str], expected: str) -> None:
    assert did_you_mean(word, known) == expected
