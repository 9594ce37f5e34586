"""A small project in a temporary folder, with a helper that writes a CSV and its mapping."""

from collections.abc import Callable
from pathlib import Path

import pytest

MAPPING = """
title: Test CRM
time_zone: Europe/Rome
files:
  leads: {path: leads.csv}
tables:
  leads:
    file: leads
    columns:
      lead_id: Id
      created_at: {from: Created, format: "%d/%m/%Y %H:%M"}
      source: Source
      status: {from: Status, values: {Open: new, Won: converted, Lost: disqualified}}
"""

LEADS = """Id,Created,Source,Status
A1,03/04/2024 10:00,Web,Open
A2,13/04/2024 11:30,Fair,Open
A3,14/04/2024 09:15,None,Open
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty project folder that crmlab takes as its own."""
    for folder in ("params/sources", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("CRMLAB_HOME", str(tmp_path))
    monkeypatch.setenv("CRMLAB_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("CRMLAB_DATASETS", raising=False)
    return tmp_path


@pytest.fixture
def source(project: Path) -> Callable[..., str]:
    """Return a function that writes `leads.csv` and its mapping, and gives the source's name."""

    def write(
        leads: str | bytes = LEADS, mapping: str = MAPPING, *, file: str = "leads.csv", name: str = "shop"
    ) -> str:
        folder = project / "params" / "sources"
        raw = leads.encode() if isinstance(leads, str) else leads
        (folder / file).write_bytes(raw)
        (folder / f"{name}.yaml").write_text(mapping, encoding="utf-8")
        return name

    return write


@pytest.fixture
def mapping() -> str:
    """Return the mapping that `source` writes when it is given none."""
    return MAPPING
