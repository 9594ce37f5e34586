"""The mapping file: what is allowed, and what a person is told about a fault."""

import pytest

from crmlab.schema import SourceError
from crmlab.sources import MappingError, describe_source, read_source

GOOD = """
title: T
files:
  leads: {path: leads.csv, left_out: {Secret: not needed}}
tables:
  leads:
    file: leads
    columns:
      lead_id: Id
      status: {from: Status, values: {NO: disqualified, TRUE: converted, 1.10: new}}
      x_size: {from: Size, type: number, known: creation, meaning: Size of the site.}
"""


def faults(source, mapping: str) -> str:
    with pytest.raises(MappingError) as caught:
        read_source(source(mapping=mapping))
    return "\n".join(caught.value.faults)


def test_scalars_stay_text_as_written(source):
    columns = {c.name: c for c in read_source(source(mapping=GOOD)).tables[0].columns}
    assert columns["status"].values == {"NO": "disqualified", "TRUE": "converted", "1.10": "new"}


def test_short_spelling_is_a_rename(source):
    (lead_id, *_) = read_source(source(mapping=GOOD)).tables[0].columns
    assert (lead_id.name, lead_id.columns, lead_id.kind) == ("lead_id", ("Id",), "id")


def test_own_column_says_when_it_is_known(source):
    found = read_source(source(mapping=GOOD))
    assert found.known_of("x_size") == "creation"
    with pytest.raises(SourceError, match="did you mean `x_size`"):
        found.known_of("x_sise")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("title: T", "titel: T", "titel: unknown key; did you mean `title`?"),
        ("title: T", "title: T\ntime_zone: Europe/Roma", "time_zone: unknown time zone `Europe/Roma`; did you mean"),
        ("title: T", "title: T\ncomplete_until: 31/12/2024", "must be an ISO date"),
        ("    file: leads", "    file: lead", "there is no file `lead`; did you mean `leads`?"),
        ("  leads:\n    file", "  leeds:\n    file", "there is no canonical table `leeds`; did you mean `leads`?"),
        ("      lead_id: Id", "      lead_ident: Id", "has no column `lead_ident`; did you mean `lead_id`?"),
        ("      lead_id: Id\n", "", "lacks the required column(s) lead_id"),
        ("      lead_id: Id", "      lead_id: {fro: Id}", "lead_id.fro: unknown key; did you mean `from`?"),
        ("      lead_id: Id", "      lead_id: {from: Id, constant: x}", "from and constant: only one"),
        ("      lead_id: Id", "      lead_id: {trim: true}", "says nothing about where its values come from"),
        (
            "      lead_id: Id",
            "      lead_id: {from: Id, format: iso}",
            "lead_id.format: has no effect on a column of type id",
        ),
        ("      lead_id: Id", "      lead_id: {from: Id, invalid: missing}", "a required column cannot be set missing"),
        ("      lead_id: Id", "      lead_id: Id\n      created_at: When", "created_at: needs `format:`"),
        (
            "      lead_id: Id",
            '      lead_id: Id\n      created_at: {from: When, format: "%d/%Q/%Y"}',
            "holds %Q, which is not a known date part",
        ),
        ("      lead_id: Id", "      lead_id: Id\n      created_at: {from: When, format: is}", "did you mean `iso`?"),
        (
            "NO: disqualified",
            "NO: disqualifed",
            "`disqualifed` is not a value of this column; did you mean `disqualified`?",
        ),
        ("known: creation", "known: created", "`created` is not allowed; did you mean `creation`?"),
        (", meaning: Size of the site.", "", "lacks the key `meaning`"),
        ("x_size:", "x_Größe:", "own columns are named `x_` and lower-case letters"),
        ("from: Size", "from: Secret", "`Secret` is both mapped (table leads) and left out"),
        ("Secret: not needed", "Secret: ''", "left_out.Secret: give the reason"),
        (
            "      lead_id: Id",
            "      lead_id: Id\n      source: Ch\n      region: Ch",
            "`Ch` is mapped twice, to source and to region",
        ),
        ("path: leads.csv", "path: leads.csv, encoding: utf-99", "unknown encoding `utf-99`"),
        ("path: leads.csv", "path: leads.csv, delimiter: ';;'", "delimiter: must be one character"),
        ("path: leads.csv", "path: a.csv, url: https://example.com/a.csv", "needs its `sha256`"),
        ("path: leads.csv", f"path: ../a.csv, url: https://e.com/a, sha256: {'a' * 64}", "must lie below the folder"),
        ("type: number", "type: number, unit: furlongs", "`furlongs` does not convert here"),
        ("type: number", "type: number, scale: 0", "scale: must be a finite number other than 0"),
        (
            "type: number",
            "type: number, decimal: '.', thousands: '.'",
            "one character other than a digit and the decimal sign",
        ),
        ("type: number", "type: nombre", "`nombre` is not allowed; did you mean `number`?"),
    ],
)
def test_a_fault_is_told_with_its_place(source, old, new, told):
    assert old in GOOD
    assert told in faults(source, GOOD.replace(old, new, 1))


def test_all_faults_are_told_at_once(source):
    text = faults(
        source,
        GOOD.replace("title: T", "titel: T").replace("file: leads", "file: led").replace("TRUE", "FALSE: no, TRUE"),
    )
    assert "titel" in text
    assert "`led`" in text
    assert "`no`" in text


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ("a: [1\nb", "line 2: not valid YAML"),
        ("title: T\ntitle: U", 'line 2: not valid YAML: the key "title" stands twice'),
        ("just text", "must hold `key: value` lines"),
        ("", "must hold `key: value` lines"),
    ],
)
def test_what_is_not_a_mapping(source, mapping, told):
    assert told in faults(source, mapping)


def test_a_mapping_that_is_not_utf8(source, project):
    name = source()
    (project / "params/sources/shop.yaml").write_bytes("title: Società".encode("cp1252"))
    with pytest.raises(MappingError, match="not UTF-8 text: byte 13"):
        read_source(name)


def test_unknown_source_suggests_a_known_one(source):
    source(name="salesforce")
    with pytest.raises(SourceError, match="did you mean `salesforce`"):
        read_source("salesfroce")


def test_a_source_may_be_a_path(source, project):
    source(mapping=GOOD)
    elsewhere = project / "mine.yaml"
    elsewhere.write_text(GOOD, encoding="utf-8")
    assert read_source("shop").name == "shop"
    assert read_source(str(elsewhere)).name.startswith("mine-")
    with pytest.raises(SourceError, match="no mapping file"):
        read_source(str(project / "other.yaml"))


def test_units_convert_to_the_canonical_one(source):
    mapping = """
title: T
currency: CHF
files: {deals: {path: d.csv}, calls: {path: c.csv}}
tables:
  opportunities:
    file: deals
    columns:
      opportunity_id: Id
      created_at: {from: Created, format: iso}
      amount: {from: Value, unit: thousand CHF}
      margin_rate: {from: Margin, unit: percent}
  interactions:
    file: calls
    columns:
      interaction_id: Id
      ts: {from: At, format: unix_s}
      known_at: {from: At, format: unix_s}
      type: {constant: call}
      duration: {from: Length, unit: days}
"""
    deals, calls = read_source(source(mapping=mapping)).tables
    scales = {c.name: c.scale for c in (*deals.columns, *calls.columns)}
    assert (scales["amount"], scales["margin_rate"], scales["duration"]) == (1000.0, 0.01, 1440.0)
    assert "did you mean" in faults(source, mapping.replace("thousand CHF", "thousand CHE"))


def test_dates_mean_the_end_of_the_day_only_where_they_tell_when_something_was_known(source):
    mapping = """
title: T
files: {targets: {path: t.csv}}
tables:
  targets:
    file: targets
    columns:
      target_id: Id
      measure: {constant: won_deals}
      period_start_at: {from: From, format: iso}
      period_end_at: {from: To, format: iso}
      set_at: {from: From, format: iso}
"""
    (entry,) = read_source(source(mapping=mapping)).tables
    ends = {c.name: c.end_of_day for c in entry.columns if c.kind == "time"}
    assert ends == {"period_start_at": False, "period_end_at": False, "set_at": True}


def test_demo_mapping(source):
    demo = read_source(source(mapping="title: D\nkind: demo\nn_leads: 50\nseed: 3\nstart: 2022-01-03\nend: 2023-01-02"))
    assert (demo.demo.n_leads, demo.demo.seed, demo.demo.end) == (50, 3, "2023-01-02")
    text = faults(source, "title: D\nkind: demo\nn_leads: many\nend: 2021-01-01\nfiles: {}")
    assert "n_leads: must be a whole number" in text
    assert "end: must be later than start" in text
    assert "files: unknown key" in text


def test_describe_lists_what_was_left_out_and_added(source):
    found = describe_source(source(mapping=GOOD))
    assert found.left_out.to_dict("records") == [{"file": "leads", "column": "Secret", "reason": "not needed"}]
    assert found.own_columns["column"].tolist() == ["x_size"]
    assert found.columns.set_index("column")["from"].to_dict() == {
        "lead_id": "Id",
        "status": "Status",
        "x_size": "Size",
    }


def test_an_own_column_means_one_thing_in_all_tables(source):
    deals = """
  opportunities:
    file: leads
    columns:
      opportunity_id: Id
      created_at: {from: When, format: iso}
      x_size: {from: Size, type: number, known: creation, meaning: Size.}
"""
    assert len(read_source(source(mapping=GOOD + deals)).own_columns) == 2
    text = faults(source, GOOD + deals.replace("known: creation", "known: today"))
    assert "declared twice with different `type` or `known`" in text
