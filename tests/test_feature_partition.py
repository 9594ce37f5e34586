"""The one function that computes features: arrays that cannot be written give the same, without compiling anew."""

import numpy as np
import pandas as pd

from crmlab.features import Feature
from crmlab.features.events import Events, encode_events, read_vocabulary
from crmlab.features.kernel import DAY, fold
from crmlab.features.partition import Rows, compute_partition
from crmlab.features.plan import plan_view

LINES = [Feature("calls", "interactions", "n days recency smoothed sum", of="duration", windows=(7,))]


def locked(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def test_arrays_that_cannot_be_written_give_the_same_without_another_compilation():
    ts = pd.Series(pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-03"]), dtype="datetime64[us]")
    frame = pd.DataFrame({"lead_id": ["A", "A", "B"], "ts": ts, "duration": [1.5, np.nan, 2.0]}).astype(
        {"lead_id": "str"}
    )
    plan = plan_view(
        "interactions", "lead", LINES, read_vocabulary("interactions", LINES, frame, "lead_id"), windows=(7,)
    )
    events = encode_events(plan, frame, pd.Index(["A", "B"]), "lead_id")
    as_of = np.array([pd.Timestamp(d).value // 1000 for d in ("2024-01-02", "2024-01-04", "2024-01-04")])
    rows = Rows(np.array([0, 2, 3]), as_of, as_of - 30 * DAY)
    expected = compute_partition([plan], rows, {"interactions": events})
    compiled = len(fold.signatures)
    read_only = Events(*(locked(a) for a in (events.entity, events.ts, events.enters, events.combo, events.values)))
    found = compute_partition(
        [plan], Rows(*(locked(a) for a in (rows.start, as_of, rows.since))), {"interactions": read_only}
    )
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)
    assert expected["calls_n_7d"].tolist() == [1, 2, 1]
    assert len(fold.signatures) == compiled
