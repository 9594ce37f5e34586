"""The history of scores: written once, refused when different, readable after a crash, one writer at a time."""

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pandas as pd
import pytest

from crmlab.schema import DataError, RunError, SourceError
from crmlab.scores.history import SCORE_COLUMNS, ScoreHistory

KEY = {"question": "demo-lead", "model_id": "m1", "data_fingerprint": "d1"}


def batch(n: int = 5, seed: int = 0, **columns: object) -> pd.DataFrame:
    p = np.random.default_rng(seed).random(n)
    base = {"entity": "lead", "entity_id": [f"L{k}" for k in range(n)], "as_of": pd.Timestamp("2025-01-06"), "p": p}
    return pd.DataFrame(base).assign(**columns)


@pytest.fixture
def history(tmp_path) -> ScoreHistory:
    return ScoreHistory(tmp_path / "scores.duckdb")


def test_what_is_appended_comes_back(history: ScoreHistory) -> None:
    scores = batch(band=pd.Series(["Low", None, "High", "Low", "Low"], dtype="str"), class_1_5=[1, None, 3, 4, 5])
    assert history.append(scores, as_of="2025-01-06", **KEY) == 1
    found = history.at("demo-lead", as_of="2025-01-06")
    assert {c: str(found[c].dtype) for c in SCORE_COLUMNS} == SCORE_COLUMNS
    assert found["p"].tolist() == scores["p"].tolist()
    assert found["band"].isna().tolist() == [0, 1, 0, 0, 0]
    assert found["class_1_5"].isna().sum() == 1
    assert (found["model_id"] == "m1").all()
    assert history.at("demo-lead", as_of="2025-01-05").empty
    assert history.latest("other").empty


def test_the_same_again_changes_nothing(history: ScoreHistory) -> None:
    scores = batch()
    assert history.append(scores, as_of="2025-01-06", **KEY) == 1
    assert history.append(scores.iloc[::-1], as_of="2025-01-06", **KEY) == 1
    assert history.append(scores.assign(p=scores["p"] + 1e-13), as_of="2025-01-06", **KEY) == 1  # another processor
    assert len(history.batches()) == 1
    assert len(history.latest("demo-lead")) == 5


@pytest.mark.parametrize("change", [{"p": 0.5}, {"band": "High"}, {"entity_id": list("abcde")}, {"p_low": 0.0}])
def test_other_results_under_the_same_name_are_refused(history: ScoreHistory, change: dict) -> None:
    history.append(batch(), as_of="2025-01-06", **KEY)
    with pytest.raises(DataError, match="given before, with other results"):
        history.append(batch().assign(**change), as_of="2025-01-06", **KEY)
    assert history.latest("demo-lead")["p"].tolist() == batch()["p"].tolist()
    with pytest.raises(DataError, match="other results"):
        history.append(batch(4), as_of="2025-01-06", **KEY)


def test_previous_at_latest_and_course(history: ScoreHistory) -> None:
    assert history.previous("demo-lead", before="2025-01-06").empty
    for k, day in enumerate(["2025-01-06", "2024-12-30", "2025-01-13"]):
        history.append(batch(seed=k), as_of=day, **KEY)
    history.append(batch(seed=9), as_of="2024-12-30", **{**KEY, "model_id": "m2"})
    history.append(batch(seed=7), as_of="2025-01-06", **{**KEY, "question": "other"})
    before = history.previous("demo-lead", before="2025-01-06")
    assert before["p"].tolist() == batch(seed=9)["p"].tolist()  # the batch written last on that date
    assert set(before["model_id"]) == {"m2"}
    assert set(before["scored_as_of"]) == {pd.Timestamp("2024-12-30")}
    assert history.previous("demo-lead", before="2024-12-30").empty
    assert history.latest("demo-lead")["p"].tolist() == batch(seed=2)["p"].tolist()
    course = history.course("demo-lead", "L3")
    assert course["scored_as_of"].is_monotonic_increasing
    assert len(course) == 4


def test_a_source_without_dates_has_no_previous_scores(history: ScoreHistory) -> None:
    scores = batch().assign(as_of=pd.NaT)
    assert history.append(scores, as_of="", **KEY) == history.append(scores, as_of="", **KEY) == 1
    assert len(history.at("demo-lead", as_of="")) == 5
    assert history.verify() == 1


def test_bad_batches_are_refused(history: ScoreHistory) -> None:
    for bad, message in (
        (batch(entity_id=["L0", "L0", "L1", "L2", "L3"]), "1 repeated"),
        (batch(entity_id=pd.Series(["L0", None, "L1", "L2", "L3"], dtype="str")), "1 rows without identifier"),
        (batch(p=22.0), "5 outside 0 to 1"),
    ):
        with pytest.raises(DataError, match=message):
            history.append(bad, as_of="2025-01-06", **KEY)
    assert history.batches().empty


def test_overrides_are_kept_beside_and_the_newest_counts(history: ScoreHistory) -> None:
    history.append(batch(), as_of="2025-01-06", **KEY)
    one = {"question": "demo-lead", "entity_id": "L1", "given_by": "R07", "reason": "budget approved"}
    assert history.add_override(as_of="2025-01-06", override=0.9, **one) == 1
    assert history.add_override(as_of="2025-01-06", override=0.9, **one) == 1
    assert history.add_override(as_of="2025-01-07", override=0.4, **one) == 2
    assert history.overrides("demo-lead", as_of="2025-01-06")["override"].tolist() == [0.9]
    assert history.overrides("demo-lead", as_of="2025-01-08")["override"].tolist() == [0.4]
    assert history.latest("demo-lead")["p"].tolist() == batch()["p"].tolist()
    with pytest.raises(DataError, match="must be a probability"):
        history.add_override(as_of="2025-01-06", override=40, **one)


def test_nothing_can_be_updated_or_deleted_by_the_interface() -> None:
    public = {name for name in dir(ScoreHistory) if not name.startswith("_")}
    assert public == {
        "add_override", "append", "at", "batches", "course", "latest", "overrides", "previous", "verify",
    }  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scores SET p = 0.99 WHERE entity_id = 'L1' AND entry = 2",
        "DELETE FROM scores WHERE entity_id = 'L1' AND entry = 2",
        "UPDATE batches SET model_id = 'm9' WHERE entry = 2",
        "DELETE FROM batches WHERE entry = 2",
        "UPDATE scores SET band = 'High' WHERE entity_id = 'L0' AND entry = 2",
    ],
)
def test_verify_finds_what_was_changed_behind_its_back(history: ScoreHistory, statement: str) -> None:
    for k in range(3):
        history.append(batch(seed=k), as_of=f"2025-01-{6 + k:02d}", **KEY)
    assert history.verify() == 3
    with duckdb.connect(str(history.path)) as db:
        db.execute(statement)
    with pytest.raises(RunError, match="changed after it was written"):
        history.verify()


def test_a_crash_inside_a_batch_leaves_the_history_as_it_was(history: ScoreHistory) -> None:
    history.append(batch(), as_of="2025-01-06", **KEY)
    script = f"""
        import os, pandas as pd
        from crmlab.scores import history as module
        real = module.ScoreHistory(r"{history.path}")
        scores = pd.DataFrame({{"entity": "lead", "entity_id": ["L1"], "p": [0.5]}})
        with real._writer() as db:
            db.execute("INSERT INTO batches SELECT 2, question, TIMESTAMP '2025-02-01', model_id, data_fingerprint, "
                       "rows, sha256, chain FROM batches")
            db.execute("INSERT INTO scores SELECT * REPLACE (2 AS entry) FROM scores")
            os._exit(9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=60, check=False)
    assert done.returncode == 9
    assert history.verify() == 1
    assert len(history.latest("demo-lead")) == 5
    assert history.append(batch(seed=1), as_of="2025-01-13", **KEY) == 2


def test_a_second_writer_waits_for_the_first(history: ScoreHistory) -> None:
    script = f"""
        import time, pandas as pd
        from crmlab.scores.history import ScoreHistory
        other = ScoreHistory(r"{history.path}")
        with other._writer() as db:
            print("inside", flush=True)
            time.sleep(0.5)
        scores = pd.DataFrame({{"entity": "lead", "entity_id": ["L1"], "p": [0.5]}})
        other.append(scores, question="q", as_of="2025-01-06", model_id="m", data_fingerprint="d")
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "inside\n"
        history.append(batch(), as_of="2025-01-06", **KEY)  # DuckDB alone would refuse: another process has the file
    assert first.returncode == 0
    assert history.verify() == 2


def test_threads_that_write_at_once_lose_nothing(history: ScoreHistory) -> None:
    with ThreadPoolExecutor(4) as pool:
        days = [f"2025-01-{6 + k:02d}" for k in range(8)]
        list(pool.map(lambda day: history.append(batch(seed=int(day[-2:])), as_of=day, **KEY), days))
    assert history.verify() == 8
    assert history.batches()["entry"].tolist() == list(range(1, 9))


def test_a_damaged_file_is_named(history: ScoreHistory) -> None:
    history.path.write_bytes(b"not a database" * 100)
    with pytest.raises(SourceError, match=r"scores\.duckdb, cannot be used"):
        history.latest("demo-lead")
