"""How numbers look: decimals, separators, units, what is missing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmlab import report
from crmlab.report.formats import KINDS, format_values
from crmlab.schema import ParameterError


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1234, "12.3 %"),
        (0.0987, "9.9 %"),
        (0.00412, "0.41 %"),
        (0.00001, "<0.01 %"),
        (0.99999, ">99.9 %"),
        (0, "0.0 %"),
        (1, "100.0 %"),
        (-0.05, "−5.0 %"),
        (float("nan"), "–"),
        (None, "–"),
        (pd.NA, "–"),
        (np.float64(0.5), "50.0 %"),
    ],
)
def test_percent(value, expected):
    assert plain(report.percent(value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1234567, "1,234,567"),
        (12345.678, "12,346"),
        (123.456, "123.5"),
        (3.14159, "3.14"),
        (0.25123, "0.251"),
        (0.0000123, "0.0000123"),
        (-0.0000000001, "0.00000000"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
        (np.int64(7), "7"),
        (pd.NaT, "–"),
    ],
)
def test_number(value, expected):
    assert report.number(value) == expected


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert report.number(-0.0004, 2) == "0.00"
    assert format_values([-0.0004, 0.0004], "signed:2") == ["0.00", "0.00"]


def test_money_has_cents_only_below_a_hundred():
    assert [report.money(x) for x in (12345.6, 99.5, -20, 0)] == ["€12,346", "€99.50", "−€20", "€0"]


def test_an_interval_writes_its_unit_once_and_never_two_dashes_in_a_row():
    assert plain(report.interval(0.11, 0.138, "percent")) == "11.0–13.8 %"
    assert report.interval(-1, 2.5) == "−1.00 to 2.50"
    assert plain(report.estimate(0.123, 0.11, 0.138, "percent")) == "12.3 % (11.0–13.8)"
    assert report.estimate(1234, 1000, 1500, "money") == "€1,234 (1,000–1,500)"
    assert report.estimate(0.5, None, None, "number:2") == "0.50"
    assert report.estimate(None, 0.1, 0.2) == "–"
    assert report.interval(None, None) == "–"


def test_one_column_has_one_number_of_decimals():
    assert [plain(x) for x in format_values([0.004, 0.25, None], "percent")] == ["0.4 %", "25.0 %", "–"]
    assert format_values([0.5, 120.25], "number") == ["0.5", "120.2"]
    assert format_values([(0.28, 0.27, 0.29), None], "estimate:number:3") == ["0.280 (0.270–0.290)", "–"]


def test_dates_are_iso():
    assert report.date(pd.Timestamp("2025-01-06 23:59:59")) == "2025-01-06"
    assert format_values([pd.Timestamp("2025-01-06 08:30"), pd.NaT], "datetime") == ["2025-01-06 08:30", "–"]


@pytest.mark.parametrize("kind", ["percnt", "number:x", "percent:percent", "interval:text", "a:b:c", ""])
def test_an_unknown_format_is_refused(kind):
    with pytest.raises(ParameterError, match="format"):
        format_values([1.0], kind)


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-(10**15), 10**15)), max_size=6))
def test_every_number_can_be_written_in_every_numeric_format(values):
    for kind in ("number", "count", "signed", "percent", "points", "money"):
        assert kind in KINDS
        assert len(format_values(values, kind)) == len(values)


@given(st.floats(min_value=1e-9, max_value=1, exclude_max=True))
def test_a_probability_strictly_between_never_reads_as_never_or_always(p):
    assert plain(report.percent(p)) not in ("0.0 %", "0.00 %", "100.0 %", "100.00 %")
