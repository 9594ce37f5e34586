"""A canonical table written as CSV in any odd way and mapped back is the same table."""

import csv
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmlab.schema import LEAD_STATUSES, conform_table
from crmlab.sources.build import build_tables
from crmlab.sources.mapping import read_mapping
from crmlab.sources.problems import Problems
from crmlab.sources.tabular import read_texts

MAPPING = """
title: T
time_zone: {zone}
files: {{leads: {{path: leads.csv, encoding: {encoding}, delimiter: "{delimiter}"}}}}
tables:
  leads:
    file: leads
    columns:
      lead_id: Id
      created_at: {{from: Created, format: "%d.%m.%Y %H:%M:%S"}}
      source: Source
      employees: {{from: Size, decimal: ","}}
      status:
        from: Status
        values: {{S-new: new, S-working: working, S-converted: converted, S-disqualified: disqualified}}
      notes: Notes
      x_flag: {{from: Flag, type: boolean, known: creation, meaning: A flag.}}
      x_score: {{from: Score, type: number, known: today, meaning: A score.}}
"""

# Text without lone surrogates or zero bytes; a blank cell is a missing value, so blank texts cannot come back.
plain = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=12)
texts = st.one_of(plain, st.sampled_from(["None", "NA", "NO", "nan", "=1+1", '"', ",;\t", "a\nb", "\ufeffx"]))
texts = texts.map(lambda t: t.replace("\r", "\n")).filter(lambda t: t.strip() != "")
times = st.datetimes(pd.Timestamp("1971-01-01"), pd.Timestamp("2100-01-01")).map(lambda t: t.replace(microsecond=0))
numbers = st.integers(0, 10**9).map(lambda n: n / 16)

rows = st.lists(
    st.fixed_dictionaries(
        {
            "created_at": st.none() | times,
            "source": st.none() | texts,
            "employees": st.none() | numbers,
            "status": st.sampled_from(LEAD_STATUSES),
            "notes": st.none() | texts,
            "x_flag": st.none() | st.booleans(),
            "x_score": st.none() | numbers,
        }
    ),
    min_size=1,
    max_size=8,
)


def canonical(values: list[dict]) -> pd.DataFrame:
    frame = pd.DataFrame(values).assign(lead_id=[f"{i:03d}" for i in range(len(values))])
    own = {"x_flag": "boolean", "x_score": "float64"}
    times = pd.to_datetime(frame["created_at"]).astype("datetime64[us]")
    return conform_table("leads", frame.assign(created_at=times).astype(own))


def write(frame: pd.DataFrame, path: Path, *, zone: str, encoding: str, delimiter: str) -> None:
    """Write the frame as a foreign CRM would: local times, decimal commas, words for flags."""
    local = frame["created_at"].dt.tz_localize("UTC").dt.tz_convert(zone)
    columns = {
        "Id": frame["lead_id"],
        "Created": local.dt.strftime("%d.%m.%Y %H:%M:%S"),
        "Source": frame["source"],
        "Size": frame["employees"].map(lambda v: f"{v:.4f}".replace(".", ","), na_action="ignore"),
        "Status": "S-" + frame["status"],
        "Notes": frame["notes"],
        "Flag": frame["x_flag"].map({True: "Yes", False: "no"}),
        "Score": frame["x_score"].map(repr, na_action="ignore"),
    }
    cells = pd.DataFrame(columns).astype(object).where(lambda f: f.notna(), "")
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerows([list(cells), *cells.itertuples(index=False)])


@given(
    values=rows,
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "Asia/Tokyo"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    delimiter=st.sampled_from([",", ";", "|"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_comes_back(tmp_path, values, zone, encoding, delimiter):
    frame = canonical(values)
    options = {"zone": zone, "encoding": encoding, "delimiter": delimiter}
    write(frame, tmp_path / "leads.csv", **options)
    (tmp_path / "m.yaml").write_text(MAPPING.format(**options), encoding="utf-8")
    source = read_mapping(tmp_path / "m.yaml", name="m")
    problems = Problems()
    read = {"leads": read_texts([tmp_path / "leads.csv"], source.files["leads"])}
    built = build_tables(source, read, problems)
    assert problems.rows == []
    found = conform_table("leads", built["leads"].frame)
    pd.testing.assert_frame_equal(found[list(frame)], frame)
