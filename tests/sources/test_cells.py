"""Texts to values: missing, mapped, numbers, true and false, dates."""

import numpy as np
import pandas as pd
import pytest

from crmlab.sources.cells import map_values, parse_booleans, parse_numbers, present
from crmlab.sources.dates import is_date_only, parse_dates, suggest_formats
from crmlab.sources.units import unit_factor


def texts(*values: str | None) -> pd.Series:
    return pd.Series(list(values), dtype="str")


def instants(*values: str | None) -> list[pd.Timestamp]:
    return [pd.Timestamp(v) if v else pd.NaT for v in values]


def read(*values: str | None, formats: tuple[str, ...] = ("iso",), zone: str = "UTC", end: bool = False):
    return parse_dates(texts(*values), formats=formats, time_zone=zone, end_of_day=end)


def test_none_na_and_no_are_values_unless_the_mapping_says_otherwise():
    given = texts("None", "NA", "NO", "nan", "", "  ", "Select")
    assert present(given, missing=(), trim=False).notna().tolist() == [True] * 4 + [False, False, True]
    assert present(given, missing=("Select",), trim=False).notna().tolist() == [True] * 4 + [False] * 3


def test_blanks_are_kept_unless_trimmed():
    assert present(texts(" a "), missing=(), trim=False).tolist() == [" a "]
    assert present(texts(" a "), missing=(), trim=True).tolist() == ["a"]


def test_values_are_mapped_and_unknown_ones_told():
    mapped, unknown = map_values(texts("Won ", "won", None, "Lost"), {"Won": "W"}, others="", ignore_case=False)
    assert mapped.tolist()[0] == "W"
    assert mapped.isna().tolist() == [False, True, True, True]
    assert unknown.tolist() == [False, True, False, True]


def test_values_may_ignore_case_and_keep_or_replace_others():
    given = texts("WON", "straße", "Other", None)
    assert map_values(given, {"won": "W", "STRASSE": "S"}, others="keep", ignore_case=True)[0].tolist()[:3] == [
        "W",
        "S",
        "Other",
    ]
    assert map_values(given, {"WON": "W"}, others="rest", ignore_case=False)[0].tolist()[:3] == ["W", "rest", "rest"]
    mapped, unknown = map_values(given, {"WON": ""}, others="missing", ignore_case=False)
    assert mapped.isna().all()
    assert not unknown.any()


@pytest.mark.parametrize(
    ("text", "options", "value"),
    [
        ("1234.5", {}, 1234.5),
        ("-.5", {}, -0.5),
        ("1e3", {}, 1000.0),
        ("1.234,50", {"decimal": ",", "thousands": "."}, 1234.5),
        ("1\u00a0234\u202f567,8", {"decimal": ",", "thousands": " "}, 1234567.8),
        ("$200,000 ", {"thousands": ",", "strip": "$"}, 200000.0),
        ("-€ 5", {"strip": "€"}, -5.0),
        ("12 %", {"strip": "%"}, 12.0),
    ],
)
def test_numbers(text, options, value):
    found, unread = parse_numbers(texts(text), **({"decimal": ".", "thousands": "", "strip": ""} | options))
    assert found.tolist() == [value]
    assert not unread.any()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("1,5", {"thousands": ","}),
        ("1,23,456", {"thousands": ","}),
        ("1,5", {}),
        ("1.234,5", {}),
        ("nan", {}),
        ("inf", {}),
        ("12 k", {}),
        ("٣", {"strip": "x", "decimal": ","}),
        ("--1", {}),
    ],
)
def test_what_is_not_a_number(text, options):
    found, unread = parse_numbers(texts(text), **({"decimal": ".", "thousands": "", "strip": ""} | options))
    assert unread.tolist() == [True]
    assert found.isna().all()


def test_booleans():
    found, unread = parse_booleans(texts("Yes", "n", "TRUE", "0", None, "forse"))
    assert found.tolist()[:4] == [True, False, True, False]
    assert found.isna().tolist()[4:] == [True, True]
    assert unread.tolist() == [False] * 5 + [True]


def test_a_date_without_a_time_ends_its_day_in_its_zone():
    got = read("2024-01-10", "2024-07-10", "2024-01-10 08:00", zone="Europe/Rome", end=True)
    assert got.values.tolist() == instants("2024-01-10 22:59:59", "2024-07-10 21:59:59", "2024-01-10 07:00")


def test_without_end_of_day_it_begins_it():
    assert read("2024-01-10", zone="Europe/Rome").values.tolist() == instants("2024-01-09 23:00")


def test_the_hour_that_happens_twice_is_the_later_one_and_counted():
    got = read("2021-10-31 02:30", "2021-10-31 03:30", zone="Europe/Rome")
    assert got.values.tolist() == instants("2021-10-31 01:30", "2021-10-31 02:30")
    assert got.twice.tolist() == [True, False]


def test_the_hour_that_never_happens_is_the_next_instant_and_counted():
    got = read("2021-03-28 02:30", "2021-03-28 03:00", zone="Europe/Rome")
    assert got.values.tolist() == instants("2021-03-28 01:00", "2021-03-28 01:00")
    assert got.never.tolist() == [True, False]


def test_offsets_in_the_text_win_over_the_zone():
    got = read("2024-01-10T10:00:00+0100", "2024-01-10 10:00Z", "2024-01-10T10:00:00.250", zone="Asia/Tokyo")
    assert got.values.tolist() == instants("2024-01-10 09:00", "2024-01-10 10:00", "2024-01-10 01:00:00.250")


def test_formats_are_strict():
    got = read("2024-1", "2024-13-45", "20240110", "10/01/2024", "2024-01-10 25:00")
    assert got.unread.all()
    assert read("2024015", "20240105", formats=("%Y%m%d",)).unread.tolist() == [True, False]
    assert read("1/5/2024", "01/05/2024", formats=("%m/%d/%Y",)).values.tolist() == instants("2024-01-05", "2024-01-05")


def test_several_formats_are_tried_but_never_guessed_between():
    got = read("13/04/2024", "2024-04-13", "03/04/2024", formats=("%d/%m/%Y", "%m/%d/%Y", "iso"))
    assert got.values.tolist()[:2] == instants("2024-04-13", "2024-04-13")
    assert got.contradictory.tolist() == [False, False, True]
    assert got.values.isna().tolist() == [False, False, True]


def test_a_literal_midnight_is_a_date():
    assert is_date_only("%m/%d/%Y 0:00")
    got = read("1/18/2021 0:00", "1/18/2021", formats=("%m/%d/%Y", "%m/%d/%Y 0:00"), end=True)
    assert got.values.tolist() == instants("2021-01-18 23:59:59", "2021-01-18 23:59:59")


def test_numbers_as_dates():
    assert read("45292", "45292.5", formats=("excel_serial",)).values.tolist() == instants(
        "2024-01-01", "2024-01-01 12:00"
    )
    assert read("1704067200", formats=("unix_s",), zone="Asia/Tokyo").values.tolist() == instants("2024-01-01")
    assert read("1704067200500", formats=("unix_ms",)).values.tolist() == instants("2024-01-01 00:00:00.5")


def test_formats_are_suggested_for_what_does_not_fit():
    mixed = texts("13/04/2024", "14/04/2024", "2024-05-06", "rubbish")
    assert suggest_formats(mixed) == [("`%d/%m/%Y`", 2), ("`iso`", 1)]
    assert suggest_formats(texts("03/04/2024")) == [("`%d/%m/%Y` or `%m/%d/%Y`", 1)]
    assert suggest_formats(texts("rubbish")) == []


def test_the_machine_clock_and_zone_play_no_part():
    assert read("2024-01-10 08:00", zone="America/New_York").values.tolist() == instants("2024-01-10 13:00")
    assert read(None).values.isna().all()
    assert not read(None).unread.any()


def test_arguments_are_left_as_they_were():
    given = texts(" a", None, "1,5")
    before = given.copy()
    present(given, missing=("a",), trim=True)
    map_values(given, {"a": "b"}, others="keep", ignore_case=True)
    parse_numbers(given, decimal=",", thousands="", strip="")
    pd.testing.assert_series_equal(given, before)


def test_units_that_do_not_convert():
    assert unit_factor("hours", canonical="minutes", currency="EUR") == 60
    assert unit_factor("USD", canonical="EUR", currency="EUR") is None
    assert np.isclose(unit_factor("months", canonical="years", currency="EUR"), 1 / 12)
