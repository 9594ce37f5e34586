"""Stores of sources: built once, rebuilt when anything changed, and never half written."""

import errno
import multiprocessing
import os
import time
from datetime import datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from crmlab.schema import ParameterError, SourceError
from crmlab.sources import open_crm, prepare, prepare_source
from crmlab.store import Store


@pytest.fixture
def builds(monkeypatch):
    """Count the builds of stores."""
    count = []
    original = prepare._build
    monkeypatch.setattr(prepare, "_build", lambda *args: (count.append(1), original(*args)))
    return count


def leads(name: str) -> pd.DataFrame:
    return open_crm(name, as_of="").__getitem__("leads")


def test_rows_arrive_typed_and_in_utc(source):
    found = leads(source())
    assert found["lead_id"].tolist() == ["A1", "A2", "A3"]
    assert found["created_at"].tolist()[0] == pd.Timestamp("2024-04-03 08:00")
    assert found["source"].tolist() == ["Web", "Fair", "None"]
    assert found["status"].tolist() == ["new"] * 3
    assert found["converted_at"].isna().all()


def test_a_store_is_built_once(source, builds):
    name = source()
    first = prepare_source(name)
    assert prepare_source(name) == first == open_crm(name, as_of="").fingerprint
    assert len(builds) == 1


def test_any_changed_byte_rebuilds_it(source, builds, project):
    name = source()
    before = prepare_source(name)
    file = project / "params/sources/leads.csv"
    file.write_bytes(file.read_bytes().replace(b"Fair", b"Fete"))
    assert prepare_source(name) != before
    assert leads(name)["source"].tolist()[1] == "Fete"
    mapping = project / "params/sources/shop.yaml"
    mapping.write_text(mapping.read_text().replace("Europe/Rome", "UTC"), encoding="utf-8")
    assert leads(name)["created_at"].tolist()[0] == pd.Timestamp("2024-04-03 10:00")
    assert len(builds) == 3


def test_changed_code_rebuilds_it(source, builds, monkeypatch, tmp_path):
    name = source()
    code = tmp_path / "code"
    (code / "schema").mkdir(parents=True)
    monkeypatch.setattr(prepare, "_CODE", code)
    before = prepare_source(name)
    (code / "schema" / "tables.py").write_text("changed")
    assert prepare_source(name) != before


def test_errors_stop_the_load_and_warnings_do_not(source, mapping):
    bad = "Id,Created,Source,Status\nA1,yesterday,Web,Open\n"
    with pytest.raises(SourceError, match="does not fit the date format") as caught:
        prepare_source(source(bad))
    assert "row 2" in caught.value.found
    crm = open_crm(source("Id,Created,Source,Status,Extra\nA1,03/04/2024 10:00,Web,Open,x\n"), as_of="")
    assert crm.counts() == {"leads": 1}
    assert crm.store.meta()["warnings"] == 1


def test_many_errors_are_told_together(source):
    bad = "Id,Created,Source,Status\nA1,yesterday,Web,Open\nA1,03/04/2024 10:00,Web,Gone\n"
    with pytest.raises(SourceError, match="3 errors; nothing was loaded") as caught:
        prepare_source(source(bad))
    assert "crmlab check shop" in caught.value.remedy


def test_a_failed_rebuild_leaves_the_old_store(source, project):
    name = source()
    before = prepare_source(name)
    source("Id,Created,Source,Status\nA1,yesterday,Web,Open\n")
    with pytest.raises(SourceError):
        prepare_source(name)
    store = Store(project / "data/shop.duckdb")
    assert store.fingerprint() == before
    assert store.counts() == {"leads": 3}
    assert sorted(p.name for p in (project / "data").iterdir()) == ["shop.duckdb", "shop.lock"]


def test_a_full_disk_leaves_nothing_half_written(source, project, monkeypatch):
    def full(self: Store, *args: object, **kw: object) -> None:
        self.path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "load", full)
    with pytest.raises(SourceError, match="the disk is full"):
        prepare_source(source())
    assert [p.name for p in (project / "data").iterdir()] == ["shop.lock"]


def test_remains_of_a_killed_build_are_cleared(source, project):
    (project / "data").mkdir()
    (project / "data" / ".shop.99999.building").write_bytes(b"half")
    prepare_source(source())
    assert sorted(p.name for p in (project / "data").iterdir()) == ["shop.duckdb", "shop.lock"]


def test_a_damaged_store_is_rebuilt(source, project):
    name = source()
    prepare_source(name)
    (project / "data/shop.duckdb").write_bytes(b"not a database")
    assert len(leads(name)) == 3


def _slow_prepare(name: str, log: str) -> None:
    original = prepare._build

    def build(*args: object) -> None:
        with Path(log).open("a") as stream:
            stream.write("built\n")
        time.sleep(0.5)
        original(*args)

    prepare._build = build
    prepare_source(name)


@pytest.mark.skipif(os.name == "nt", reason="starts its processes by forking")
def test_two_notebooks_at_once_build_once(source, tmp_path):
    name, log = source(), tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_slow_prepare, args=(name, str(log))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0]
    assert log.read_text() == "built\n"


def test_as_of_may_not_lie_beyond_what_is_complete(source, mapping):
    name = source(mapping=mapping + 'complete_until: "2024-04-14"\n')
    assert open_crm(name, as_of="2024-04-14").counts() == {"leads": 3}
    with pytest.raises(ParameterError, match="complete until 2024-04-14"):
        open_crm(name, as_of="2024-04-15")


def test_facts_after_the_export_are_errors(source, mapping):
    assert prepare_source(source(mapping=mapping + 'extracted_at: "2024-04-14"\n'))
    with pytest.raises(SourceError, match="Dates later than the day of the export"):
        prepare_source(source(mapping=mapping + 'extracted_at: "2024-04-01"\n'))
    with pytest.raises(SourceError, match="Dates later than today"):
        prepare_source(source(), today="2024-04-01")


def test_own_columns_say_when_they_are_known(source, mapping):
    own = "      x_source: {from: Source, known: today, meaning: Channel as edited.}\n"
    crm = open_crm(source(mapping=mapping.replace("      source: Source\n", own)), as_of="")
    assert crm.known_of("x_source") == "today"
    assert crm["leads"]["x_source"].tolist() == ["Web", "Fair", "None"]
    assert "x_source" not in crm.at("leads", as_of="2025-01-01")
    assert crm.store.meta()["own_columns"]["x_source"]["meaning"] == "Channel as edited."


TARGETS = """
title: T
files: {a: {path: leads.csv}}
tables:
  targets:
    file: a
    only: {Kind: [deals]}
    columns:
      target_id: {from: [Team, From], join: /}
      team: Team
      measure: {constant: won_deals}
      period_start_at: {from: From, format: iso}
      period_end_at: {from: Until, format: iso}
      set_at: {from: From, format: iso}
      value: {from: Value, scale: 1000}
"""

QUOTAS = """Team,From,Until,Value,Kind
Nord,2024-01-01,2025-01-01,5,deals
Sud,2024-01-01,2025-01-01,6,other
,2024-01-01,2025-01-01,7,deals
"""


def test_rows_composite_keys_constants_and_scales(source):
    name = source(QUOTAS, TARGETS.replace("    only:", "    skip_missing: [Team]\n    only:"))
    (found,) = open_crm(name, as_of="")["targets"].to_dict("records")
    assert found["target_id"] == "Nord/2024-01-01"
    assert (found["measure"], found["value"]) == ("won_deals", 5000)
    assert found["period_start_at"] == pd.Timestamp("2024-01-01")
    assert found["set_at"] == pd.Timestamp("2024-01-01 23:59:59")


def test_a_composite_key_with_an_empty_part_is_an_error(source):
    with pytest.raises(SourceError, match=r"Team \+ From is empty"):
        prepare_source(source(QUOTAS, TARGETS))


def test_entries_of_one_table_may_not_share_keys(source):
    entry = "    - {file: a, columns: {lead_id: Id, status: {constant: new}}}\n"
    mapping = "title: T\nfiles: {a: {path: leads.csv}}\ntables:\n  leads:\n" + entry * 2
    with pytest.raises(SourceError, match="two entries of the mapping share their key"):
        prepare_source(source("Id\n1\n2\n", mapping))


def test_row_numbers_tell_the_files_of_a_folder_apart(source, project):
    mapping = (
        "title: T\nfiles: {a: {path: m}}\ntables: {leads: {file: a, columns: {lead_id: {row_number: true}, status: S}}}"
    )
    name = source(mapping=mapping)
    (project / "params/sources/m").mkdir()
    for month in ("1.csv", "2.csv"):
        (project / "params/sources/m" / month).write_text("S\nnew\nworking\n")
    assert leads(name)["lead_id"].tolist() == ["1.csv:2", "1.csv:3", "2.csv:2", "2.csv:3"]


def test_excel_export_needs_no_date_format(source, project, mapping):
    book = openpyxl.Workbook()
    for row in (
        ["Id", "Created", "Source", "Status"],
        ["007", datetime(2024, 4, 3, 10), "Web", "Open"],
        [8, datetime(2024, 4, 4, 10), "NA", "Won"],
    ):
        book.active.append(row)
    name = source(mapping=mapping.replace("leads.csv", "leads.xlsx").replace(', format: "%d/%m/%Y %H:%M"', ""))
    book.save(project / "params/sources/leads.xlsx")
    found = leads(name)
    assert found["lead_id"].tolist() == ["007", "8"]
    assert found["created_at"].tolist()[0] == pd.Timestamp("2024-04-03 08:00")
    assert found["source"].tolist() == ["Web", "NA"]


def test_the_demo_is_a_source_like_any_other(source, builds):
    demo = "title: Demo\nkind: demo\nn_leads: 60\nseed: 3\n"
    own = "own_columns: {leads: {x_next_step: {type: category, known: today, meaning: Next step.}}}\n"
    name = source(mapping=demo + own)
    crm = open_crm(name, as_of="2025-01-06")
    assert crm.counts()["leads"] == 60
    assert crm.known_of("x_next_step") == "today"
    p = crm.truth.p_convert(crm["leads"]["lead_id"], "2024-06-03", horizon_days=90)
    assert ((p >= 0) & (p <= 1))[~pd.isna(p)].all()
    before = crm.fingerprint
    source(mapping=demo.replace("seed: 3", "seed: 4") + own)
    assert open_crm(name, as_of="2025-01-06").fingerprint != before
    assert len(builds) == 2


@pytest.mark.parametrize("name", ["demo", "demo_small"])
def test_the_demo_declares_its_own_columns(name, monkeypatch, root, tmp_path):
    from crmlab.demo import make_crm
    from crmlab.sources import read_source

    monkeypatch.setenv("CRMLAB_HOME", str(root))
    tables = make_crm(n_leads=30, seed=1).tables
    found = {(t, c) for t, frame in tables.items() for c in frame if c.startswith("x_")}
    assert found == {(c.table, c.name) for c in read_source(name).own_columns}
