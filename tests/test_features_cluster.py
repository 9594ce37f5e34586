"""A Dask cluster gives the bits of one machine."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crmlab.features.cluster import cluster_features
from crmlab.features.stream import stream_features
from crmlab.schema import DataError, ParameterError, SourceError

cases = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("log_cases.py"))))


@pytest.fixture(scope="module")
def client():
    """Two worker processes of this machine, on ports that are free."""
    distributed = pytest.importorskip("dask.distributed")
    import dask

    with (
        dask.config.set({"distributed.admin.system-monitor.gil.enabled": False}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_two_workers_give_the_bits_of_one_machine(client, tmp_path):
    log, rows, leads = (
        make(1, text_ids=True)
        for make in (cases.make_log, cases.make_rows, lambda _, text_ids: cases.make_leads(text_ids=text_ids))
    )
    a, b = cases.write(tmp_path, a=log.slice(0, 250), b=log.slice(250))
    arguments = dict(features=cases.FEATURES, entities=leads, windows=cases.WINDOWS)
    report = cluster_features(client, [a, b], rows, out=tmp_path / "out", partitions=5, **arguments)
    wanted = stream_features([a, b], rows, in_memory=True, **arguments)
    found = pa.concat_tables([pq.read_table(file) for file in report.files])
    cases.assert_same_bits(found, wanted.table)
    assert len(report.files) == 5
    assert (report.rows, report.features, report.events) == (wanted.rows, wanted.features, wanted.events)


def test_what_is_wrong_on_a_worker_is_named_here(client, tmp_path):
    (log,) = cases.write(tmp_path, log=cases.make_log(0).drop(["type"]))
    arguments = dict(features=cases.FEATURES, entities=cases.make_leads(), windows=cases.WINDOWS)
    with pytest.raises(DataError, match="no column `type`"):
        cluster_features(client, [log], cases.make_rows(0), out=tmp_path / "out", **arguments)
    with pytest.raises(SourceError, match="cannot be read"):
        cluster_features(client, [tmp_path / "none"], cases.make_rows(0), out=tmp_path / "out", **arguments)
    (tmp_path / "out" / "part-00000.parquet").touch()
    with pytest.raises(SourceError, match="holds features already"):
        cluster_features(client, [log], cases.make_rows(0), out=tmp_path / "out", **arguments)


def test_without_dask_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(ParameterError, match="Dask is not installed"):
        cluster_features(None, [], None, features=(), entities=None, out=tmp_path)


def test_the_client_is_checked(tmp_path):
    pytest.importorskip("dask.distributed")
    with pytest.raises(ParameterError, match="must be a"):
        cluster_features("tcp://127.0.0.1:1", [], None, features=(), entities=None, out=tmp_path)
