"""Features of a log beyond memory have the bits of those in memory; errors are named, and nothing is left half done."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crmlab.features import Calendar, Feature, Notes, Ratio
from crmlab.features import spill as spill_module
from crmlab.features import stream as stream_module
from crmlab.features.events import encode_events, read_vocabulary
from crmlab.features.kernel import MISSING, group_by_entity, sort_within
from crmlab.features.partition import compute_partition, sort_rows
from crmlab.features.plan import plan_view
from crmlab.features.stream import LinkedLog, stream_features
from crmlab.schema import DataError, ParameterError, SourceError

cases = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("log_cases.py"))))
DAY, FEATURES, MONDAY, N_LEADS, WINDOWS = cases.DAY, cases.FEATURES, cases.MONDAY, cases.N_LEADS, cases.WINDOWS
as_frame, assert_same_bits, write = cases.as_frame, cases.assert_same_bits, cases.write
make_leads, make_log, make_rows = cases.make_leads, cases.make_log, cases.make_rows


def run(events, rows, leads, **changes):
    return stream_features(
        events, rows, **(dict(features=FEATURES, entities=leads, windows=WINDOWS, in_memory=True) | changes)
    )


def whole(log, rows, leads):
    """The same through frames, all at once: no ranges, no batches."""
    measured = [f for f in FEATURES if isinstance(f, Feature)]
    frame = as_frame(log)
    frame["duration"] = frame["duration"].where(~(frame["duration"] < 0))
    plan = plan_view(
        "interactions", "lead", measured, read_vocabulary("interactions", measured, frame, "lead_id"), windows=WINDOWS
    )
    ids = pd.Index(leads["lead_id"].to_pandas())
    asked = as_frame(rows)
    since = as_frame(leads)["created_at"].to_numpy("datetime64[us]").view(np.int64)
    entity = ids.get_indexer(asked["lead_id"])
    as_of = asked["as_of"].to_numpy("datetime64[us]").view(np.int64)
    # What has not begun by then has no beginning yet.
    begun = np.where(since[entity] < as_of, since[entity], MISSING)
    sorted_rows, _ = sort_rows(entity, as_of, begun, len(ids))
    return compute_partition([plan], sorted_rows, {"interactions": encode_events(plan, frame, ids, "lead_id")})


@pytest.mark.parametrize("text_ids", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ranges_give_the_bits_of_the_whole(seed, text_ids):
    log, rows, leads = (
        make_log(seed, text_ids=text_ids),
        make_rows(seed, text_ids=text_ids),
        make_leads(text_ids=text_ids),
    )
    found = run(log, rows, leads).table
    wanted = whole(log, rows, leads)
    shown = [name for name in wanted if name != "long_n_30d"]
    assert set(found.schema.names) == {"lead_id", "as_of", *shown, "long_share", "not_long", "age_days"}
    for name in shown:
        assert found[name].to_numpy().tobytes() == wanted[name].tobytes(), name


def test_disk_memory_blocks_and_threads_give_the_same_bits(tmp_path, monkeypatch):
    log, rows, leads = make_log(1), make_rows(1), make_leads()
    wanted = run(log, rows, leads).table
    paths = write(tmp_path, log=log, rows=rows, leads=leads)
    monkeypatch.setattr(stream_module, "_BLOCK_EVENTS", 30)
    monkeypatch.setattr(spill_module, "_MOST_RANGES", 8)
    for threads in (1, 3):
        report = run(*paths, out=tmp_path / "out.parquet", in_memory=False, threads=threads)
        assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups > 3
        assert_same_bits(pq.read_table(tmp_path / "out.parquet"), wanted)
        assert report.table is None
        assert report.features == wanted.schema.names[2:]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["leads.parquet", "log.parquet", "out.parquet", "rows.parquet"]


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compression_changes_no_value(tmp_path, compression):
    log, rows, leads = make_log(2, text_ids=True), make_rows(2, text_ids=True), make_leads(text_ids=True)
    run(log, rows, leads, out=tmp_path / "out.parquet", compression=compression)
    assert_same_bits(pq.read_table(tmp_path / "out.parquet"), run(log, rows, leads).table)


def test_a_log_in_several_files_frames_and_batches_is_one_log(tmp_path):
    log, rows, leads = make_log(3), make_rows(3), make_leads()
    wanted = run(log, rows, leads).table
    parts = write(tmp_path, a=log.slice(0, 150), b=log.slice(150))
    for source in (
        parts,
        as_frame(log).astype({"lead_id": "Int64"}),
        pa.RecordBatchReader.from_batches(log.schema, log.to_batches(max_chunksize=77)),
    ):
        assert_same_bits(run(source, as_frame(rows), as_frame(leads)).table, wanted)


def test_rows_come_by_entity_and_date(tmp_path):
    table = run(make_log(4), make_rows(4), make_leads()).table
    place = {key: k for k, key in enumerate(make_leads()["lead_id"].to_pylist())}
    keys = list(zip([place[k] for k in table["lead_id"].to_pylist()], table["as_of"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(keys) == 150


def test_what_is_not_used_is_counted():
    log = pa.table(
        {
            "lead_id": pa.array([5, 5, None, 99_999, 5, 8], pa.int64()),
            "ts": pa.array([MONDAY, None, MONDAY, MONDAY, MONDAY + 1, MONDAY], pa.timestamp("us")),
            "known_at": pa.array([MONDAY, MONDAY, MONDAY, MONDAY, None, MONDAY], pa.timestamp("us")),
            "type": ["call", "meeting", "form", "download", "event", None],
            "direction": pa.array([None] * 6, pa.string()),
            "duration": [-3.0, 1.0, 1.0, 1.0, 1.0, None],
        }
    )
    report = run(log, make_rows(0), make_leads())
    assert report.events == {
        "events": 6,
        "used": 2,
        "without_entity": 1,
        "unknown_entity": 1,
        "without_time": 2,
        "negative_values": 1,
    }
    # What no event with an id and a time shows is no feature.
    assert "calls_n_7d" in report.features
    assert "forms_n_7d" not in report.features
    assert "meetings_n_7d" not in report.features


def test_an_empty_log_has_no_features_but_rows(tmp_path):
    report = run(make_log(0).slice(0, 0), make_rows(0), make_leads(), out=tmp_path / "out.parquet")
    assert report.features == ["age_days"]
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 150
    empty = run(make_log(0), make_rows(0).slice(0, 0), make_leads()).table
    assert empty.num_rows == 0
    assert "calls_n_7d" in empty.schema.names


def test_a_log_without_late_entries_needs_no_known_at():
    log = make_log(5, late=False)
    assert_same_bits(
        run(log.drop(["known_at"]), make_rows(5), make_leads()).table, run(log, make_rows(5), make_leads()).table
    )


def test_times_of_other_units_and_zones_are_the_same_instants():
    log = make_log(6, late=False)
    whole_ms = log["ts"].cast(pa.timestamp("ms"), safe=False)
    log = log.set_column(1, "ts", whole_ms.cast(pa.timestamp("us"))).drop(["known_at"])
    there = log.set_column(1, "ts", whole_ms.cast(pa.timestamp("ms", tz="Europe/Vienna")))
    assert_same_bits(run(there, make_rows(6), make_leads()).table, run(log, make_rows(6), make_leads()).table)


def closings() -> pa.Table:
    return pa.table(
        {
            "rep_id": ["rep-0", "rep-0", "rep-1", None],
            "ts": pa.array([MONDAY + 5 * DAY, MONDAY + 20 * DAY, MONDAY + DAY, MONDAY], pa.timestamp("us")),
            "outcome": ["converted", "disqualified", "converted", "converted"],
            "days": [3.0, 9.0, 5.5, 1.0],
        }
    )


RECORD = (
    Feature("converted", "lead_endings", "n", where={"outcome": "converted"}, windows=(30,)),
    Feature("ended", "lead_endings", windows=(30,), hidden=True),
    Ratio("rate", "converted_n_30d", "ended_n_30d"),
)


def test_owners_are_looked_up_by_date():
    leads, rows = make_leads(), make_rows(7)
    link = LinkedLog("owner", "rep", "lead_endings", "owner", closings(), RECORD)
    table = run(make_log(7), rows, leads, linked=[link]).table
    owner = dict(zip(leads["lead_id"].to_pylist(), leads["owner"].to_pylist(), strict=True))
    events = [e for e in as_frame(closings()).to_dict("records") if isinstance(e["rep_id"], str)]
    for row in table.select(["lead_id", "as_of", "owner_converted_n_30d", "owner_rate"]).to_pylist():
        rep, t = owner[row["lead_id"]], pd.Timestamp(row["as_of"])
        seen = [e["outcome"] for e in events if e["rep_id"] == rep and t - pd.Timedelta(days=30) <= e["ts"] < t]
        n = seen.count("converted")
        if rep is None:
            assert np.isnan(row["owner_converted_n_30d"])
            assert np.isnan(row["owner_rate"])
        else:
            assert row["owner_converted_n_30d"] == n
            assert row["owner_rate"] == n / len(seen) if seen else np.isnan(row["owner_rate"])


def test_context_is_added_row_by_row():
    leads = make_leads()
    table = run(make_log(8), make_rows(8), leads, context=lambda part: {"twice": part.entity * 2.0}).table
    place = {key: k for k, key in enumerate(leads["lead_id"].to_pylist())}
    assert table["twice"].to_pylist() == [place[k] * 2.0 for k in table["lead_id"].to_pylist()]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (dict(events=make_log(0).drop(["type"])), DataError, "no column `type`"),
        (dict(events=make_log(0).set_column(1, "ts", [["x"] * 400])), DataError, "`ts` must hold times"),
        (dict(events=make_log(0).set_column(5, "duration", [["x"] * 400])), DataError, "`duration` must hold numbers"),
        (dict(events=make_log(0, text_ids=True)), DataError, "`lead_id` must hold whole numbers"),
        (dict(rows=make_rows(0).drop(["as_of"])), DataError, "no column `as_of`"),
        (dict(rows=pa.table({"lead_id": [4], "as_of": pa.array([0], pa.timestamp("us"))})), DataError, "not among the"),
        (dict(rows=pa.table({"lead_id": [5], "as_of": pa.array([None], pa.timestamp("us"))})), DataError, "which date"),
        (dict(leads=pa.table({"lead_id": [5, 5]})), DataError, "once per entity"),
        (dict(leads=pa.table({"lead_id": [5, None]})), DataError, "have no `lead_id`"),
        (dict(leads=pa.table({"lead_id": [0.5]})), DataError, "whole numbers or text"),
        (dict(events="missing.parquet"), SourceError, "cannot be read as Parquet"),
        (dict(features=[Notes()]), ParameterError, "log alone does not tell"),
        (dict(features=[Calendar("customer_days")]), ParameterError, "log alone does not tell"),
        (dict(features=[Feature("a", "quotes")]), ParameterError, "other events than the log"),
        (dict(windows=(-1,)), ParameterError, "positive whole numbers"),
        (dict(entity="team"), ParameterError, "do not belong"),
        (dict(out="no/such/folder/out.parquet"), SourceError, "no folder"),
    ],
)
def test_bad_input_is_named(change, error, words):
    arguments = dict(events=make_log(0), rows=make_rows(0), leads=make_leads()) | change
    with pytest.raises(error, match=words):
        run(arguments.pop("events"), arguments.pop("rows"), arguments.pop("leads"), **arguments)


def test_a_damaged_file_is_named(tmp_path):
    (path,) = write(tmp_path, log=make_log(0))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"log\.parquet cannot be read"):
        run(path, make_rows(0), make_leads())


def test_values_too_large_for_exact_sums_leave_nothing_behind(tmp_path):
    log = make_log(0)
    log = log.set_column(5, "duration", [[1e14] * len(log)])
    with pytest.raises(DataError, match="too large"):
        run(log, make_rows(0), make_leads(), out=tmp_path / "out.parquet", in_memory=False)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_in_the_middle_keeps_the_old_file(tmp_path, monkeypatch):
    out = tmp_path / "out.parquet"
    out.write_text("old")
    monkeypatch.setattr(stream_module, "_BLOCK_EVENTS", 30)
    calls = []

    def stopped(part):
        calls.append(part)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        run(make_log(0), make_rows(0), make_leads(), out=out, in_memory=False, context=stopped)
    assert [p.name for p in tmp_path.iterdir()] == ["out.parquet"]
    assert out.read_text() == "old"


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    (tmp_path / ".out.parquet.4194305.partial").write_text("half")
    run(make_log(0), make_rows(0), make_leads(), out=tmp_path / "out.parquet", in_memory=False)
    assert [p.name for p in tmp_path.iterdir()] == ["out.parquet"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(file, column):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill_module, "_write", full)
    with pytest.raises(SourceError, match="the disk is full"):
        run(make_log(0), make_rows(0), make_leads(), out=tmp_path / "out.parquet", in_memory=False)
    assert list(tmp_path.iterdir()) == []


def test_many_entities_fall_into_few_ranges():
    with spill_module.Spill(3_000_001, folder=None) as spill:
        assert spill.n_ranges <= 512
        assert spill.entities_of(spill.n_ranges - 1, spill.n_ranges)[1] == 3_000_001
    assert N_LEADS < 512


@pytest.mark.parametrize(("n_entities", "n", "width"), [(1, 0, 5), (5, 3, 2), (40, 900, 4), (2, 3000, 10**15)])
def test_events_in_no_order_are_sorted_and_equal_times_keep_theirs(n_entities, n, width):
    rng = np.random.default_rng(n)
    entity = rng.integers(-1, n_entities, n).astype(np.int32)
    ts = rng.integers(-width, width, n)
    order, start, _, _ = group_by_entity(entity, ts, ts, n_entities)
    wanted = order[np.lexsort((ts[order], entity[order]))]
    sort_within(order, start, ts)
    assert order.tolist() == wanted.tolist()
