"""Exports: nothing runs in a spreadsheet, nothing changes, nothing personal leaves."""

import csv
import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crmlab.schema import DataError, RunError
from crmlab.scores.export import export_scores, plain_text, read_csv_export, safe_text

HOSTILE = st.text(alphabet="'\"=+-@\t\r\n;,| aM1\uff1dé0", max_size=9)
FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


def frame(ids: list[str]) -> pd.DataFrame:
    n = len(ids)
    return pd.DataFrame(
        {
            "entity_id": pd.Series(ids, dtype="str"),
            "as_of": pd.Series(pd.Timestamp("2025-01-06"), index=range(n), dtype="datetime64[us]"),
            "p": np.linspace(0.1, 0.9, n),
            "owner_gap": np.linspace(-0.5, 0.5, n),
            "class_1_5": pd.array([None, *range(1, n)], dtype="Int64"),
            "band": pd.Series([None, *["Low"] * (n - 1)], dtype="str"),
        }
    )


@settings(max_examples=400, deadline=None)
@given(HOSTILE, st.booleans())
@example('"=1', True)
@example("'=\t'=", False)
def test_text_comes_back_as_it_was(text: str, identifier: bool) -> None:
    assert plain_text(safe_text(text, identifier=identifier)) == text


@settings(max_examples=400, deadline=None)
@given(HOSTILE)
def test_no_cell_begins_a_formula_under_any_separator(text: str) -> None:
    safe = safe_text(text)
    for separator in ",;|\t":
        for part in safe.replace("\r", "\n").split("\n"):
            for cell in part.split(separator):
                inside = cell.lstrip('"')
                assert not inside or inside[0] not in FORMULA.replace("\t", "").replace("\r", "").replace("\n", "")


@pytest.mark.parametrize("text", ["=1+1", "+39", "-2", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "=cmd|'/C calc'!A0"])
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert safe_text(text).startswith("'")


@pytest.mark.parametrize("text", ["00123", "1E5", "MAR1", "mar-1", "TRUE", "vero", "2-1", " 7", "12/3"])
def test_identifiers_that_a_spreadsheet_would_change_get_an_apostrophe(text: str) -> None:
    assert safe_text(text, identifier=True) == "'" + text
    assert safe_text("L00123", identifier=True) == "L00123"
    assert safe_text("Margherita", identifier=True) == "Margherita"


def test_csv_is_what_the_module_says(tmp_path) -> None:
    found = export_scores(frame(["L1", "=2", "003"]), tmp_path)
    raw = found.csv.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\r\n") == 4
    assert b'"L1","2025-01-06 00:00:00",0.1,-0.5,,""' in raw  # text in quotes, numbers bare
    with found.csv.open(encoding="utf-8-sig", newline="") as file:
        header, first, second, third = list(csv.reader(file))
    assert header == ["entity_id", "as_of", "p", "owner_gap", "class_1_5", "band"]
    assert first == ["L1", "2025-01-06 00:00:00", "0.1", "-0.5", "", ""]  # a negative number is no formula
    assert second[0] == "'=2"
    assert third[0] == "'003"
    assert third[4] == "2"


@settings(max_examples=40, deadline=None)
@given(st.lists(HOSTILE.filter(bool), min_size=1, max_size=6))
def test_round_trips(tmp_path_factory, ids: list[str]) -> None:
    folder, scores = tmp_path_factory.mktemp("export"), frame(ids)
    found = export_scores(scores, folder)
    assert read_csv_export(found.csv)["entity_id"].tolist() == ids
    back = pd.read_parquet(found.parquet)
    pd.testing.assert_frame_equal(back, scores)  # text without apostrophes, numbers as numbers, gaps as gaps


def test_checksums_and_repeats(tmp_path) -> None:
    first = export_scores(frame(["L1", "L2"]), tmp_path / "a")
    again = export_scores(frame(["L1", "L2"]), tmp_path / "b")
    assert first.sha256 == again.sha256
    assert hashlib.sha256(first.csv.read_bytes()).hexdigest() == first.sha256["scores.csv"]
    assert first.checksums.read_text().split()[1] == "scores.csv"
    assert not list((tmp_path / "a").glob(".*"))


@pytest.mark.parametrize("column", ["first_name", "email", "notes", "contact_id", "contact_status"])
def test_personal_columns_are_refused(tmp_path, column: str) -> None:
    personal = frame(["L1", "L2"]).assign(**{column: "x"})
    if column == "contact_status":  # not declared personal
        export_scores(personal, tmp_path)
        return
    with pytest.raises(DataError, match=f"column `{column}`"):
        export_scores(personal, tmp_path)


def test_an_address_in_a_cell_is_refused_and_not_shown(tmp_path) -> None:
    with pytest.raises(DataError, match="e-mail address in column `entity_id`") as error:
        export_scores(frame(["L1", "anna.rossi@example.com"]), tmp_path)
    assert "rossi" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_leaves_the_file_before(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot be written"):
        export_scores(frame(["L1"]), tmp_path / "file")


def test_an_export_without_rows_has_its_columns(tmp_path) -> None:
    found = export_scores(frame(["L1"]).head(0), tmp_path)
    assert list(read_csv_export(found.csv)) == list(frame(["L1"]))
    assert len(pd.read_parquet(found.parquet)) == 0
