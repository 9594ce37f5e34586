"""Files as they come: CSV, Excel, folders; and every way in which they cannot be read."""

import gzip
import hashlib
import http.server
import threading
import zipfile
from datetime import date, datetime
from functools import partial
from pathlib import Path

import openpyxl
import pytest

from crmlab.schema import SourceError
from crmlab.sources.fetch import find_files
from crmlab.sources.specs import FileSpec
from crmlab.sources.tabular import read_texts


def read(path: Path, **options: object):
    return read_texts([path], FileSpec("f", path.name, **options))


def write(folder: Path, raw: bytes | str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path


def workbook(folder: Path, rows: list[list], *, name: str = "a.xlsx", sheet: str = "Data") -> Path:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    book.save(folder / name)
    return folder / name


# --- CSV ---


def test_cells_are_text_exactly_as_written(tmp_path):
    text = '\ufeffId, Name ,Note\r\n007,None,"a, ""b""\nc"\r\n1.10,NA,\r\n\r\n'
    table = read(write(tmp_path, text))
    assert table.frame.to_dict("list") == {"Id": ["007", "1.10"], "Name": ["None", "NA"], "Note": ['a, "b"\nc', ""]}
    assert table.where(1) == "row 3"


def test_hostile_text_stays_text(tmp_path):
    cells = ["=HYPERLINK(1)", "<script>alert(1)</script>", "'; DROP TABLE leads; --", "\u202eabc"]
    table = read(write(tmp_path, "Id\n" + "\n".join(cells)))
    assert table.frame["Id"].tolist() == cells


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16", "latin-1"])
def test_encodings(tmp_path, encoding):
    table = read(write(tmp_path, "Città;N\nForlì;1\n".encode(encoding)), encoding=encoding, delimiter=";")
    assert table.frame.to_dict("list") == {"Città": ["Forlì"], "N": ["1"]}


def test_wrong_encoding_names_the_byte_and_shows_no_text(tmp_path):
    path = write(tmp_path, "Id,Name\n1,Rossi\n2,Nicolò\n".encode("cp1252"))
    with pytest.raises(SourceError, match="not utf-8 text") as caught:
        read(path)
    assert "byte 23 " in str(caught.value)  # 8 of the header, 8 of the first row, then "2,Nicol"
    assert "cp1252" in caught.value.remedy
    assert "Nicol" not in str(caught.value)


def test_wrong_encoding_far_into_a_file(tmp_path):
    path = write(tmp_path, b"Id\n" + b"abc\n" * 600_000 + b"\xe8\n")
    with pytest.raises(SourceError, match="byte 2,400,003 "):
        read(path)


def test_a_character_across_two_chunks_is_no_fault(tmp_path):
    text = b"Id\n" + b"a" * ((1 << 20) - 4) + "è\nb\n".encode()
    assert read(write(tmp_path, text)).frame["Id"].tolist()[1] == "b"
    with pytest.raises(SourceError, match=f"byte {len(text):,} "):
        read(write(tmp_path, text + b"\xe8\n"))


@pytest.mark.parametrize(
    ("raw", "options", "told"),
    [
        (b"", {}, "is empty"),
        (b"Id,Name\n", {}, "without any row"),
        (b"\n\n", {}, "no row 1 to take the column names"),
        (b"Id,Name\n1,a\n2\n3,b,c\n", {}, "2 row.s. with more or fewer fields than the 2"),
        (b"Id;Name\n1;a\n", {}, 'write `delimiter: ";"`'),
        (b"Id,Name,Id\n1,2,3\n", {}, "two columns of one name"),
        (b'Id,Name\n1,"a\n2,b\n3,c\n', {}, "unclosed quotation mark"),
        (b"PK\x03\x04rest", {}, "not CSV text"),
        ("Id\n1\n".encode("utf-16"), {}, "write `encoding: utf-16`"),
        (b"Id\n1\x002\n", {}, "a zero byte at byte 4"),
    ],
)
def test_unreadable_csv(tmp_path, raw, options, told):
    with pytest.raises(SourceError, match=told):
        read(write(tmp_path, raw), **options)


def test_uneven_row_is_named_by_its_number(tmp_path):
    with pytest.raises(SourceError, match=r"3 field.s. in row 3"):
        read(write(tmp_path, "Id,Name\n1,a\n2,b,Mario\n"))
    with pytest.raises(SourceError, match=r"1 field.s. in row 5"):
        read(write(tmp_path, "Report of May\n\nId,Name\n1,a\n2\n"), header_row=3)


def test_header_may_stand_lower(tmp_path):
    table = read(write(tmp_path, "Report of May\n\nId,Name\n1,a\n"), header_row=3)
    assert table.frame.to_dict("list") == {"Id": ["1"], "Name": ["a"]}
    assert table.where(0) == "row 4"


def test_nameless_columns_are_called_by_their_place(tmp_path):
    assert list(read(write(tmp_path, "Id,,\n1,2,3\n")).frame) == ["Id", "(column 2)", "(column 3)"]


def test_a_header_that_looks_like_data_is_masked(tmp_path):
    with pytest.raises(SourceError) as caught:
        read(write(tmp_path, "anna@example.com,anna@example.com\nb,c\n"))
    assert "anna" not in str(caught.value)


def test_damaged_gzip(tmp_path):
    path = write(tmp_path, gzip.compress(b"Id\n" + b"1\n" * 9999)[:-20], "a.csv.gz")
    with pytest.raises(SourceError, match="cannot be unpacked"):
        read(path)


# --- Excel ---


def test_excel_cells(tmp_path):
    path = workbook(
        tmp_path,
        [
            ["Id", "N", "When", "Day", "Ok"],
            ["00123", 5, datetime(2024, 1, 5, 10, 30), date(2024, 1, 5), True],
            [7, 2.5, datetime(2024, 1, 6), None, False],
            [None, None, None, None, None],
            [8.0, 1e15, None, None, None],
        ],
    )
    table = read(path)
    assert table.frame["Id"].tolist() == ["00123", "7", "8"]
    assert table.frame["N"].tolist()[:2] == ["5", "2.5"]
    assert table.frame["When"].tolist() == ["2024-01-05 10:30:00", "2024-01-06 00:00:00", ""]
    assert table.frame["Day"].tolist() == ["2024-01-05", "", ""]
    assert table.frame["Ok"].tolist() == ["true", "false", ""]
    assert table.where(2) == "row 5"


def test_excel_sheets(tmp_path):
    path = workbook(tmp_path, [["Id"], [1]], sheet="Leads 2024")
    assert read(path, sheet="Leads 2024").frame["Id"].tolist() == ["1"]
    with pytest.raises(SourceError, match="did you mean `Leads 2024`"):
        read(path, sheet="Leads 2023")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 not a zip", "cannot be read as an Excel workbook"),
        (b"\xd0\xcf\x11\xe0old", "a password or the old Excel format"),
        (b"Id,Name\n1,a\n", "cannot be read as an Excel workbook"),
    ],
)
def test_unreadable_excel(tmp_path, raw, told):
    with pytest.raises(SourceError, match=told):
        read(write(tmp_path, raw, "a.xlsx"))


def test_truncated_excel(tmp_path):
    path = workbook(tmp_path, [["Id"], *([i] for i in range(500))])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match="Excel workbook"):
        read(path)


def test_a_sheet_larger_than_it_says_is_read_whole(tmp_path):
    path = workbook(tmp_path, [["Id", "Name"], [1, "a"], [2, "b"]])
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1:A2"')
    assert parts["xl/worksheets/sheet1.xml"] != sheet
    with zipfile.ZipFile(path, "w") as packed:
        for name, raw in parts.items():
            packed.writestr(name, raw)
    assert read(path).frame.to_dict("list") == {"Id": ["1", "2"], "Name": ["a", "b"]}


def test_empty_sheet(tmp_path):
    with pytest.raises(SourceError, match="no row 1"):
        read(workbook(tmp_path, []))


# --- folders ---


def test_a_folder_of_files_is_one_table(tmp_path):
    write(tmp_path, "Id,Name\n1,a\n", "2024-01.csv")
    write(tmp_path, "Name,Id\nb,2\n", "2024-02.csv")
    write(tmp_path, "not ours", "notes.md")
    spec = FileSpec("f", str(tmp_path))
    paths = find_files(spec, mapping=tmp_path / "m.yaml")
    table = read_texts(paths, spec)
    assert table.frame.to_dict("list") == {"Id": ["1", "2"], "Name": ["a", "b"]}
    assert table.where(1) == "2024-02.csv row 2"


def test_a_pattern_finds_files_beside_the_mapping(tmp_path, project):
    (tmp_path / "exports").mkdir()
    for name in ("a-1.csv", "a-2.csv", "b.csv"):
        write(tmp_path / "exports", "Id\n1\n", name)
    found = find_files(FileSpec("f", "exports/a-*.csv"), mapping=tmp_path / "m.yaml")
    assert [p.name for p in found] == ["a-1.csv", "a-2.csv"]


def test_files_of_a_folder_must_have_the_same_columns(tmp_path):
    paths = [write(tmp_path, "Id,Name\n1,a\n", "1.csv"), write(tmp_path, "Id,Nome\n1,a\n", "2.csv")]
    with pytest.raises(SourceError, match="lacking Name; extra Nome"):
        read_texts(paths, FileSpec("f", "*.csv"))


def test_one_empty_file_among_others_is_fine(tmp_path):
    paths = [write(tmp_path, "Id\n1\n", "1.csv"), write(tmp_path, "Id\n", "2.csv")]
    assert len(read_texts(paths, FileSpec("f", "*.csv")).frame) == 1


def test_missing_file_suggests_a_near_one(tmp_path, project):
    write(tmp_path, "Id\n1\n", "leads.csv")
    with pytest.raises(SourceError, match=r"did you mean `leads.csv`"):
        find_files(FileSpec("f", "lead.csv"), mapping=tmp_path / "m.yaml")


# --- public sets ---

RAW = b"Id,Name\n1,a\n"
SHA = hashlib.sha256(RAW).hexdigest()


@pytest.fixture
def served(tmp_path):
    """Serve a folder on this machine; give (folder, address)."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.csv").write_bytes(RAW)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/a.csv"
        server.shutdown()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def public(url: str, *sums: str) -> FileSpec:
    return FileSpec("f", "set/a.csv", url=url, sha256=sums or (SHA,))


@pytest.mark.parametrize(
    ("name", "raw"), [("a.csv", RAW), ("a.csv.gz", gzip.compress(RAW, mtime=0))], ids=["plain", "packed"]
)
def test_local_data_sets_plain_or_packed(project, monkeypatch, name, raw):
    monkeypatch.setenv("CRMLAB_DATASETS", str(project))
    (project / "set").mkdir()
    write(project / "set", raw, name)
    (path,) = find_files(public("https://example.com/a.csv", "0" * 64, SHA), mapping=project / "m.yaml")
    assert read(path).frame["Id"].tolist() == ["1"]


def test_local_data_set_with_another_checksum(project, monkeypatch):
    monkeypatch.setenv("CRMLAB_DATASETS", str(project))
    (project / "set").mkdir()
    write(project / "set", RAW + b"2,b\n")
    with pytest.raises(SourceError, match="its checksum differs"):
        find_files(public("https://example.com/a.csv"), mapping=project / "m.yaml")


def test_local_data_set_that_is_not_there(project, monkeypatch):
    monkeypatch.setenv("CRMLAB_DATASETS", str(project))
    with pytest.raises(SourceError, match="unset CRMLAB_DATASETS"):
        find_files(public("https://example.com/a.csv"), mapping=project / "m.yaml")


def test_download_once_and_keep(project, served, capfd):
    folder, url = served
    (first,) = find_files(public(url), mapping=project / "m.yaml")
    (folder / "a.csv").unlink()
    (second,) = find_files(public(url), mapping=project / "m.yaml")
    assert first == second == project / "data/downloads/set/a.csv"
    assert first.read_bytes() == RAW
    assert capfd.readouterr() == ("", "")


def test_download_with_another_checksum_keeps_nothing(project, served):
    with pytest.raises(SourceError, match="checksum differs"):
        find_files(public(served[1], "0" * 64), mapping=project / "m.yaml")
    assert list((project / "data/downloads/set").iterdir()) == []


@pytest.mark.parametrize("page", ["gone.csv", None])
def test_download_fails_without_the_page_or_the_network(project, served, page):
    url = served[1].replace("a.csv", page) if page else "http://127.0.0.1:9/a.csv"
    with pytest.raises(SourceError, match="could not be downloaded") as caught:
        find_files(public(url), mapping=project / "m.yaml")
    assert "CRMLAB_DATASETS" in caught.value.remedy
    assert "put it at" in caught.value.remedy
    assert list((project / "data/downloads/set").iterdir()) == []


def test_full_disk_during_a_download(project, served, monkeypatch):
    import errno

    import pooch

    def full(*args: object, **kw: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch, "retrieve", full)
    with pytest.raises(SourceError, match="the disk is full"):
        find_files(public(served[1]), mapping=project / "m.yaml")
