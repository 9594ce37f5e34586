"""Who is open today: one row each, dated as the study's rows are, and nobody who is closed."""

import pandas as pd
import pytest

from crmlab import demo
from crmlab.crm import Crm
from crmlab.schema import ParameterError
from crmlab.snapshots import Question, build_snapshots, open_rows
from crmlab.store import Store

AS_OF = "2024-06-03"


@pytest.fixture(scope="module")
def crm(tmp_path_factory) -> Crm:
    store = Store(tmp_path_factory.mktemp("open") / "demo.duckdb")
    store.load(demo.iter_crm(n_leads=600, seed=3), fingerprint="open")
    return Crm(store, "demo")


def closed_by(deals: pd.DataFrame, as_of: str) -> set[str]:
    return set(deals.loc[deals["closed_at"] < pd.Timestamp(as_of), "opportunity_id"])


def test_weekly_rows_are_the_newest_rows_of_the_study(crm):
    rows = open_rows(crm, Question("demo", "lead", "within_horizon", 90, "weekly"), as_of=AS_OF)
    study = build_snapshots(crm, entity="lead", label="within_horizon", as_of=AS_OF, horizon_days=90, every="weekly")
    newest = study[study["as_of"] == pd.Timestamp(AS_OF)]
    assert list(rows["lead_id"]) == list(newest["lead_id"])
    assert (rows["as_of"] == pd.Timestamp(AS_OF)).all()
    assert len(rows) > 20


def test_deals_at_creation_are_the_open_ones_as_they_stood_then(crm):
    rows = open_rows(crm, Question("demo", "opportunity", "within_horizon", 90, "creation"), as_of=AS_OF)
    deals = crm["opportunities"].set_index("opportunity_id")
    assert rows["opportunity_id"].is_unique
    assert not closed_by(crm["opportunities"], AS_OF) & set(rows["opportunity_id"])
    created = deals.loc[rows["opportunity_id"], "created_at"]
    expected = created.dt.normalize() + pd.Timedelta(days=1)
    assert (rows["as_of"].to_numpy() == expected.to_numpy()).all()


def test_without_a_quote_there_is_no_row_at_the_first_quote(crm):
    rows = open_rows(crm, Question("demo", "opportunity", "within_horizon", 90, "first_quote"), as_of=AS_OF)
    deals = crm["opportunities"].set_index("opportunity_id")
    assert (deals.loc[rows["opportunity_id"], "first_quote_at"] < pd.Timestamp(AS_OF)).all()
    at_creation = open_rows(crm, Question("demo", "opportunity", "within_horizon", 90, "creation"), as_of=AS_OF)
    assert 0 < len(rows) < len(at_creation)


def test_with_a_final_status_the_open_ones_have_no_result_yet(crm):
    rows = open_rows(crm, Question("demo", "opportunity", "final_status", 0, "creation"), as_of=AS_OF)
    assert list(rows.columns) == ["opportunity_id", "as_of"]
    assert not closed_by(crm["opportunities"], AS_OF) & set(rows["opportunity_id"])
    assert len(rows)


def test_a_question_names_its_files_and_two_paths_never_share_them():
    slugs = {Question(p, "lead", "final_status", 0, "creation").slug for p in ("a/b.yaml", "a-b.yaml", "demo")}
    assert len(slugs) == 3
    assert all("/" not in s and "." not in s for s in slugs)


def test_a_wrong_word_is_refused(crm):
    with pytest.raises(ParameterError, match="snapshots"):
        open_rows(crm, Question("demo", "lead", "within_horizon", 90, "dayly"), as_of=AS_OF)
