"""The worked example of docs/own_data.md runs as written, and its reference knows every key."""

import re
from pathlib import Path

import pandas as pd
import pytest

from crmlab.sources import check_source, column_mapping, format_problems, mapping, open_crm

BLOCK = re.compile(r"`([\w./]+)`\n\n```(?:csv|yaml)\n(.*?)```", re.DOTALL)


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "own_data.md").read_text(encoding="utf-8")


@pytest.fixture
def officina(page: str, project: Path) -> str:
    """Write the files of the page where it says they are; give the source's name."""
    blocks = dict(BLOCK.findall(page))
    assert set(blocks) == {"leads.csv", "offerte.csv", "params/sources/officina.yaml"}
    for name, text in blocks.items():
        (project / name).write_text(text, encoding="utf-8")
    return "officina"


def test_the_check_says_what_the_page_says(officina, page):
    shown = re.search(r"```text\n(.*?)```", page, re.DOTALL).group(1).strip()
    assert format_problems(check_source(officina, today="2024-04-08")) == shown


def test_the_example_loads_as_meant(officina):
    crm = open_crm(officina, as_of="2024-04-09")
    leads = crm["leads"].set_index("lead_id")
    assert leads["status"].to_dict() == {"0001": "converted", "0002": "disqualified", "0003": "working", "0004": "new"}
    assert leads.loc["0001", "created_at"] == pd.Timestamp("2024-01-12 08:30")
    assert leads.loc["0001", "converted_at"] == pd.Timestamp("2024-02-19 22:59:59")
    assert leads["employees"].tolist()[:2] == [1250, 80]
    assert leads["x_budget"].fillna(-1).tolist() == [12_500, -1, 7_000, -1]
    assert leads.loc["0003", "industry"] == "None"
    assert leads.loc[["0003"], "region"].isna().all()
    assert crm["opportunities"]["amount"].tolist() == [11_800]
    assert crm.known_of("x_last_contact") == "today"


def test_the_reference_names_every_key(page):
    keys = {*mapping._TOP, *mapping._FILE, *mapping._TABLE, *column_mapping._ALL_KEYS, *mapping.DUPLICATES}
    assert not {key for key in keys if f"`{key}`" not in page}
