"""The newest snapshot from a state and the newest events has the bits of the whole log."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmlab.features import Feature
from crmlab.features.incremental import advance, build_state, load_state, save_state
from crmlab.features.stream import stream_features
from crmlab.schema import DataError, ParameterError, SourceError

cases = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("log_cases.py"))))
DAY, MONDAY, FEATURES, WINDOWS = cases.DAY, cases.MONDAY, cases.FEATURES, cases.WINDOWS
assert_same_bits = cases.assert_same_bits


def moment(t: int) -> np.datetime64:
    return np.datetime64(t, "us")


def split(log: pa.Table, t: int) -> tuple[pa.Table, pa.Table]:
    """What was in the log at `t`, and what was added since: by the time of entering."""
    known = pc.fill_null(
        pc.max_element_wise(log["ts"], log["known_at"], skip_nulls=False), pa.scalar(0, pa.timestamp("us"))
    )
    old = pc.less(known.cast(pa.int64()), t)
    return log.filter(old), log.filter(pc.invert(old))


def whole(log: pa.Table, leads: pa.Table, t: int, plan_log: pa.Table | None = None) -> pa.Table:
    dates = pa.array(np.full(len(leads), t), pa.timestamp("us"))
    rows = pa.table({"lead_id": leads["lead_id"], "as_of": dates})
    return stream_features(log, rows, features=FEATURES, entities=leads, windows=WINDOWS, in_memory=True).table


def start(log, leads, t):
    return build_state(log, features=FEATURES, entities=leads, as_of=moment(t), windows=WINDOWS)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    begin=st.integers(5, 80),
    steps=st.lists(st.integers(0, 30 * 24 * 3600), min_size=1, max_size=4),
    future=st.booleans(),
)
def test_step_by_step_is_as_good_as_whole(tmp_path, seed, begin, steps, future):
    log, leads = cases.make_log(seed, n=600), cases.make_leads()
    t = MONDAY + begin * DAY
    # With `future` the log at the start holds events that are not known yet.
    old, left = split(log, t + (20 * DAY if future else 0))
    if whole(old, leads, t).schema != whole(log, leads, t).schema:
        return  # a kind of event came up later: other columns, so a state must be built anew
    state = start(old, leads, t)
    for seconds in steps:
        t += seconds * 1_000_000
        new, left = split(left, max(t, MONDAY + begin * DAY + (20 * DAY if future else 0)))
        path = tmp_path / "state.npz"
        save_state(state, path)
        state = load_state(path, features=FEATURES, windows=WINDOWS)
        found = advance(state, new, log=old, entities=leads, as_of=moment(t))
        old = pa.concat_tables([old, new])
        assert_same_bits(found.table, whole(old, leads, t))
        state = found.state


def test_very_late_events_are_counted_and_right():
    leads = cases.make_leads()
    log = cases.make_log(3, n=600, late=False)
    t = MONDAY + 110 * DAY
    early = pc.less(log["ts"].cast(pa.int64()), MONDAY + 20 * DAY)
    few = pc.and_(early, pc.less(log["lead_id"], 20))
    late, old = log.filter(few), log.filter(pc.fill_null(pc.invert(few), True))
    entered = pa.array(np.full(len(late), t + DAY // 2), pa.timestamp("us"))
    late = late.set_column(2, "known_at", entered)
    found = advance(start(old, leads, t), late, log=old, entities=leads, as_of=moment(t + DAY))
    assert found.recomputed == len(set(late["lead_id"].to_pylist()) & set(leads["lead_id"].to_pylist())) > 0
    both = pa.concat_tables([old, late])
    assert_same_bits(found.table, whole(both, leads, t + DAY))
    # What was computed anew is carried on.
    nothing = log.slice(0, 0)
    later = advance(found.state, nothing, log=both, entities=leads, as_of=moment(t + 9 * DAY))
    assert later.recomputed == 0
    assert_same_bits(later.table, whole(both, leads, t + 9 * DAY))


def test_new_entities_and_another_order_of_them():
    leads, log = cases.make_leads(), cases.make_log(4)
    t = MONDAY + 90 * DAY
    first = leads.slice(0, 30)
    state = start(log, first, t)
    turned = leads.take(pa.array(np.arange(len(leads))[::-1]))
    ids = first["lead_id"]
    known = log.filter(pc.is_in(log["lead_id"], value_set=ids.combine_chunks()))
    others = log.filter(pc.invert(pc.is_in(log["lead_id"], value_set=ids.combine_chunks())))
    found = advance(state, others, log=known, entities=turned, as_of=moment(t + DAY))
    assert_same_bits(found.table, whole(pa.concat_tables([known, others]), turned, t + DAY))


def test_only_those_asked_for():
    leads, log, t = cases.make_leads(), cases.make_log(5), MONDAY + 60 * DAY
    state = start(log, leads, t)
    found = advance(state, log.slice(0, 0), log=log, entities=leads, as_of=moment(t), keys=leads.slice(10, 5))
    assert_same_bits(found.table, whole(log, leads, t).slice(10, 5))
    assert found.rows == 5


def test_only_the_newest_row_groups_are_read(tmp_path):
    leads, log = cases.make_leads(), cases.make_log(6, n=2000).sort_by("ts")
    log = log.filter(pc.is_valid(log["ts"]))
    (path,) = cases.write(tmp_path, log=log)
    t = MONDAY + 110 * DAY
    state = start(path, leads, t)
    found = advance(state, log.slice(0, 0), log=path, entities=leads, as_of=moment(t), out=tmp_path / "out.parquet")
    assert found.read < len(log) / 2
    assert_same_bits(pq.read_table(tmp_path / "out.parquet"), whole(log, leads, t))
    assert found.table is None


def test_a_state_goes_forward_only():
    leads, log = cases.make_leads(), cases.make_log(7)
    with pytest.raises(ParameterError, match="goes forward only"):
        advance(start(log, leads, MONDAY), log, log=log, entities=leads, as_of=moment(MONDAY - 1))


def test_entities_may_not_vanish():
    leads, log = cases.make_leads(), cases.make_log(7)
    with pytest.raises(DataError, match="no longer there"):
        advance(start(log, leads, MONDAY), log, log=log, entities=leads.slice(1), as_of=moment(MONDAY))


def test_a_state_file_is_checked(tmp_path):
    path = tmp_path / "state.npz"
    save_state(start(cases.make_log(8, text_ids=True), cases.make_leads(text_ids=True), MONDAY + 50 * DAY), path)
    assert load_state(path, features=FEATURES, windows=WINDOWS).keys[3].as_py() == "lead-3"
    with pytest.raises(DataError, match="built for other features"):
        load_state(path, features=FEATURES[1:], windows=WINDOWS)
    with pytest.raises(DataError, match="built for other features"):
        load_state(path, features=(Feature("{}", "interactions", each="outcome"),), windows=WINDOWS)
    whole_file = path.read_bytes()
    for n in (0, 10, len(whole_file) // 2, len(whole_file) - 5):
        path.write_bytes(whole_file[:n])
        with pytest.raises(SourceError, match="cannot be read"):
            load_state(path, features=FEATURES, windows=WINDOWS)
    turned = bytearray(whole_file)
    turned[len(turned) // 3] ^= 255
    path.write_bytes(bytes(turned))
    with pytest.raises(SourceError, match="cannot be read"):
        load_state(path, features=FEATURES, windows=WINDOWS)
    with pytest.raises(SourceError, match="cannot be read"):
        load_state(tmp_path / "none.npz", features=FEATURES, windows=WINDOWS)


def test_a_state_of_another_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    with monkeypatch.context() as patch:
        patch.setattr("crmlab.features.incremental._VERSION", 0)
        save_state(start(cases.make_log(8), cases.make_leads(), MONDAY), path)
    with pytest.raises(SourceError, match="another version"):
        load_state(path, features=FEATURES, windows=WINDOWS)
