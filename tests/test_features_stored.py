"""A stored CRM streamed gives what build_features gives, to the last bit."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from crmlab.crm import Crm
from crmlab.demo import make_crm
from crmlab.features import Feature, build_features
from crmlab.features import stream as stream_module
from crmlab.features.stored import stream_crm
from crmlab.schema import ENTITY_KEYS, DataError, ParameterError
from crmlab.store import Store

DATES = pd.Series(pd.to_datetime(["2022-03-07 00:00", "2022-09-01 12:00", "2024-01-01 00:00"])).astype("datetime64[us]")


@pytest.fixture(scope="module")
def crm(tmp_path_factory) -> Crm:
    store = Store(tmp_path_factory.mktemp("store") / "demo.duckdb")
    store.load(make_crm(n_leads=300, seed=4).tables, fingerprint="demo")
    return Crm(store, title="demo")


def rows_of(crm: Crm, entity: str, n: int = 40) -> pd.DataFrame:
    tables = {"lead": "leads", "opportunity": "opportunities", "account": "accounts", "rep": "reps"}
    if entity == "team":
        ids = pd.Series(sorted(crm["changes"].query("field == 'team'")["new_value"].dropna().unique()), dtype="str")
    else:
        ids = crm[tables[entity]][ENTITY_KEYS[entity]]
    ids = ids.sample(min(n, len(ids)), random_state=1)
    return pd.DataFrame({ENTITY_KEYS[entity]: ids}).merge(pd.DataFrame({"as_of": DATES}), how="cross")


@pytest.mark.parametrize("entity", ["lead", "opportunity", "account", "rep", "team"])
def test_every_declared_feature_has_the_bits_of_build_features(crm, entity, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_module, "_BLOCK_ROWS", 8)
    rows = rows_of(crm, entity)
    report = stream_crm(crm, rows, out=tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet").to_pandas()
    asked = found[[ENTITY_KEYS[entity], "as_of"]].astype({ENTITY_KEYS[entity]: "str", "as_of": "datetime64[us]"})
    assert sorted(map(tuple, asked.to_numpy())) == sorted(map(tuple, rows.to_numpy()))
    wanted = build_features(crm, asked)
    assert report.features == list(wanted)
    for name in wanted:
        a, b = found[name], wanted[name]
        if b.dtype == "str":
            pd.testing.assert_series_equal(a.astype("str"), b, check_names=False)
        else:
            assert a.dtype == b.dtype, name
            assert a.to_numpy().tobytes() == b.to_numpy().tobytes(), name


def test_interactions_are_never_read_whole(crm):
    fresh = Crm(crm.store)
    report = stream_crm(fresh, rows_of(crm, "lead"))
    assert "interactions" not in fresh._read
    assert report.events["events"] == crm.store.counts()["interactions"]
    assert report.table.num_rows == report.rows == 120


def test_bad_input_is_named(crm):
    rows = rows_of(crm, "lead")
    with pytest.raises(ParameterError, match="was cut"):
        stream_crm(crm.cut(as_of="2023-01-01"), rows)
    with pytest.raises(DataError, match="which date"):
        stream_crm(crm, rows.assign(as_of=pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us]")))
    with pytest.raises(DataError, match="not among"):
        stream_crm(crm, rows.assign(lead_id="nobody"))
    with pytest.raises(ParameterError, match="no column"):
        stream_crm(crm, rows, features=[Feature("a", "interactions", where={"colour": "red"})])
    assert np.isfinite(rows["as_of"].astype("int64")).all()
