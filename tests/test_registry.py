"""Model files without pickle, and the append-only log."""

import hashlib
import io
import json
import pickle
import subprocess
import sys
import zipfile
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from crmlab.calibration import Beta, Isotonic, Sigmoid, VennAbers
from crmlab.models import (
    HierarchicalLogistic,
    OdooScoring,
    OwnerProbability,
    PointsCard,
    ScoreModel,
    SegmentModel,
    ShrunkenRates,
    make_models,
)
from crmlab.models.hazard import CompetingRisks
from crmlab.registry import Log, Registry, columns_meta, load_meta, load_model, modelfiles, plain, save_model
from crmlab.registry.archive import pack, unpack
from crmlab.registry.freezing import StoredObject, freeze
from crmlab.schema import ParameterError, RunError
from crmlab.snapshots import Question

QUESTION = Question("demo", "lead", "within_horizon", 90, "weekly")
META = {"question": "demo", "as_of": "2024-06-30", "train": {"rows": 600, "from": pd.Timestamp("2024-01-01")}}


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    generator = np.random.default_rng(7)
    X = pd.DataFrame({f"x{k}": generator.normal(size=600) for k in range(4)})
    X.loc[::5, "x1"] = np.nan
    X["source"] = pd.Series(generator.choice(["web", "fair", "Zürich, Süd"], 600), dtype="str")
    X.loc[::9, "source"] = np.nan
    return X, (generator.random(600) < 1 / (1 + np.exp(-2 * X["x0"]))).astype(int).to_numpy()


@pytest.fixture(scope="module")
def model(rows) -> ScoreModel:
    return ScoreModel(seed=3).fit(*rows)


@pytest.fixture
def saved(model, tmp_path):
    return tmp_path / save_model(model, tmp_path, meta=META)


# -- model files


@pytest.mark.parametrize("name", ["base rate", "source table", "logistic regression", "random forest", "XGBoost"])
def test_every_estimator_predicts_the_same_bits_after_loading(name, rows, tmp_path):
    X, y = rows
    fitted = make_models(X, seed=1)[name]().fit(X, y)
    again = load_model(tmp_path / save_model(fitted, tmp_path, meta={}))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_histogram_boosting_predicts_the_same_bits_after_loading(rows, tmp_path):
    X, y = rows[0].drop(columns="source"), rows[1]
    fitted = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, y)
    again = load_model(tmp_path / save_model(fitted, tmp_path, meta={}))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_the_default_model_comes_back_whole(model, rows, saved):
    again, X = load_model(saved), rows[0]
    unseen = X.head(20).assign(source=pd.Series(["never seen"] * 20, dtype="str"), x0=np.nan)
    for frame in (X, unseen):
        assert np.array_equal(again.predict_proba(frame), model.predict_proba(frame))
        for name, p in model.member_probabilities(frame).items():
            assert np.array_equal(again.member_probabilities(frame)[name], p)
    assert again.get_params() == model.get_params()
    assert again.weights_ == model.weights_
    pd.testing.assert_frame_equal(again.inner_, model.inner_)


OTHERS = {
    "Odoo": OdooScoring(fields=("source",), team="region"),
    "points card": PointsCard(),
    "owner's probability": OwnerProbability(recalibrate=True),
    "shrunken rates": ShrunkenRates(),
    "hierarchical": HierarchicalLogistic(levels=("source",)),
    "segments": SegmentModel(HierarchicalLogistic(levels=("region",)), "source", min_outcomes=10),
}


@pytest.mark.parametrize("name", OTHERS)
def test_floors_and_small_models_predict_the_same_bits_after_loading(name, rows, tmp_path):
    X = rows[0].assign(owner_probability=np.linspace(0.05, 0.95, 600), region="Nord", stage="quoted")
    X = X.astype({"region": "str", "stage": "str"})
    fitted = OTHERS[name].fit(X, rows[1])
    again = load_model(tmp_path / save_model(fitted, tmp_path, meta={}))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("learner", ["linear", "boosting"])
def test_hazards_predict_the_same_bits_after_loading(learner, rows, tmp_path):
    X, generator = rows[0], np.random.default_rng(1)
    event = generator.choice(["won", "lost", "open"], 600)
    fitted = CompetingRisks(max_days=140, learner=learner).fit(X, 7.0 * generator.integers(1, 20, 600), event)
    again = load_model(tmp_path / save_model(fitted, tmp_path, meta={}))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
    for cause, curve in fitted.cumulative_incidence(X, [30, 90]).items():
        assert np.array_equal(again.cumulative_incidence(X, [30, 90])[cause], curve)


@pytest.mark.parametrize("made", [Sigmoid, Isotonic, Beta])
def test_calibrators_come_back_bit_by_bit(made, tmp_path):
    generator = np.random.default_rng(2)
    p = generator.random(400)
    fitted = made().fit(p, (generator.random(400) < p**2).astype(int))
    again = load_model(tmp_path / save_model(fitted, tmp_path, meta={}))
    grid = np.linspace(0, 1, 101)
    assert np.array_equal(again.transform(grid), fitted.transform(grid))


def test_intervals_come_back_bit_by_bit(tmp_path):
    generator = np.random.default_rng(2)
    p = generator.random(300)
    fitted = VennAbers().fit(p, (generator.random(300) < p).astype(int))
    again = load_model(tmp_path / save_model(fitted, tmp_path, meta={}))
    grid = np.linspace(0, 1, 101)
    assert np.array_equal(np.column_stack(again.interval(grid)), np.column_stack(fitted.interval(grid)))


def test_a_fresh_process_predicts_the_same_bits(model, rows, saved):
    X = rows[0]
    X.to_parquet(saved.parent / "X.parquet")
    code = (
        "import sys, hashlib, numpy, pandas as pd; from crmlab.registry import load_model\n"
        "p = load_model(sys.argv[1]).predict_proba(pd.read_parquet(sys.argv[2]))\n"
        "print(hashlib.sha256(numpy.ascontiguousarray(p).tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(saved), str(saved.parent / "X.parquet")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert told == hashlib.sha256(np.ascontiguousarray(model.predict_proba(X)).tobytes()).hexdigest()


def test_the_same_model_has_one_id_and_another_has_another(model, rows, saved):
    folder = saved.parent
    assert save_model(ScoreModel(seed=3).fit(*rows), folder, meta=META) == saved.name
    assert [p.name for p in folder.iterdir()] == [saved.name]
    assert save_model(model, folder, meta=META | {"as_of": "2024-07-01"}) != saved.name


def test_saving_leaves_the_model_as_it_was(model, rows, saved):
    booster = model.members_["XGBoost"][-1].booster_
    assert type(booster).__name__ == "Booster"
    assert isinstance(model.inner_, pd.DataFrame)


def test_meta_says_what_the_model_is(model, rows, saved):
    meta = load_meta(saved)
    assert meta["class"].endswith("ScoreModel")
    assert meta["parameters"]["seed"] == 3
    assert meta["weights"] == model.weights_
    assert meta["libraries"]["scikit-learn"] == metadata.version("scikit-learn")
    assert meta["train"] == {"rows": 600, "from": "2024-01-01"}
    assert meta["warnings"] == []
    assert len(meta["inner"]) == len(model.inner_)
    assert columns_meta(rows[0])["source"] == "str"


def test_meta_may_not_replace_what_the_model_says(model, tmp_path):
    with pytest.raises(ParameterError, match="weights"):
        save_model(model, tmp_path, meta={"weights": {}})


def test_nothing_is_left_of_a_model_that_cannot_be_stored(model, tmp_path):
    broken = Sigmoid()
    broken.rule = open  # any object that only pickle could hold
    with pytest.raises(RunError, match="stored"):
        save_model(broken, tmp_path, meta={})
    assert list(tmp_path.iterdir()) == []


# -- bad files


@pytest.mark.parametrize("name", ["model.skops", "booster_0.ubj", "meta.json"])
@pytest.mark.parametrize("harm", ["truncated", "edited", "missing", "empty"])
def test_a_harmed_file_is_refused_by_name(saved, name, harm):
    path = saved / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        cut = {"truncated": data[: len(data) // 2], "edited": data[:-9] + b"X" + data[-8:], "empty": b""}
        path.write_bytes(cut[harm])
    with pytest.raises(RunError, match=r"missing|truncated or changed|does not fit its id") as refused:
        load_model(saved)
    assert name in str(refused.value)
    assert refused.value.remedy


def rewritten(folder, change) -> None:
    """Change meta.json and give the folder the id that fits, as somebody would who knows how."""
    meta = json.loads((folder / "meta.json").read_text())
    change(meta)
    text = json.dumps(meta, indent=1, sort_keys=True) + "\n"
    (folder / "meta.json").write_text(text)
    return folder.rename(folder.with_name(hashlib.sha256(text.encode()).hexdigest()[:16]))


@pytest.mark.parametrize("library", ["scikit-learn", "xgboost"])
def test_another_major_version_is_refused_and_named(saved, library):
    folder = rewritten(saved, lambda meta: meta["libraries"].update({library: "0.99.1"}))
    with pytest.raises(RunError, match=f"{library} 0.99.1 in the model"):
        load_model(folder)


def test_another_minor_version_is_told(saved, model, rows):
    here = metadata.version("xgboost").split(".")
    folder = rewritten(saved, lambda meta: meta["libraries"].update({"xgboost": f"{here[0]}.999.0"}))
    assert load_meta(folder)["warnings"] == [
        f"xgboost {here[0]}.999.0 wrote this model, {metadata.version('xgboost')} reads it."
    ]
    assert np.array_equal(load_model(folder).predict_proba(rows[0]), model.predict_proba(rows[0]))


def test_another_format_is_refused(saved):
    folder = rewritten(saved, lambda meta: meta.update(crmlab_format=modelfiles.FORMAT + 1))
    with pytest.raises(RunError, match="another format"):
        load_model(folder)


def test_a_path_out_of_the_folder_is_refused(saved):
    folder = rewritten(saved, lambda meta: meta["files"].update({"../secret": "0" * 64}))
    with pytest.raises(RunError, match="never writes"):
        load_model(folder)


class Bomb:
    """Runs a command when pickle loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_never_run(saved, tmp_path):
    witness = tmp_path / "witness"
    with pytest.raises(RunError, match="cannot be read"):
        unpack(pickle.dumps(Bomb(witness)))
    assert not witness.exists()


def node(kind: str, module: str, name: str, **parts) -> dict:
    return {"__loader__": kind, "__module__": module, "__class__": name, "__id__": 1, **parts}


HOSTILE = {
    "function": node("FunctionNode", "os", "system", content={"module_path": "os", "function": "system"}),
    "object": node("ObjectNode", "subprocess", "Popen", content=None),
    "unlisted sklearn class": node("ObjectNode", "sklearn.svm._classes", "SVC", content=None),
    "class of another kind": node("ObjectNode", "sklearn.tree._tree", "Tree", content=None),
    "constructor": node("ConstructorFromReduceNode", "builtins", "open", content=None),
    "method": node("MethodNode", "builtins", "str", content={"func": "format", "obj": {}}),
    "operator": node("OperatorFuncNode", "operator", "methodcaller", attrs={}),
    "type": node("TypeNode", "subprocess", "Popen"),
    "without a kind": {"__module__": "os", "__class__": "system"},
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("inside", [False, True])
def test_a_hostile_skops_file_is_refused_before_anything_is_made(name, inside):
    found = HOSTILE[name]
    schema = node("ListNode", "builtins", "list", content=[found]) if inside else found
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema | {"protocol": 2, "_skops_version": "0.16.0"}))
    with pytest.raises(RunError, match="never stores; nothing of it was run"):
        unpack(buffer.getvalue())


@pytest.mark.parametrize(
    "path", ["os:system", "subprocess:Popen", "crmlab.models:os", "crmlab.run.runner:Runner", "crmlab.models.x:Y"]
)
def test_a_stand_in_can_only_name_our_estimators(path, tmp_path):
    from crmlab.registry.freezing import thaw

    data = pack(StoredObject(path, {"args": "true"}))
    with pytest.raises(RunError, match="names a class"):
        thaw(unpack(data), [])


def test_equal_models_have_equal_bytes(model):
    assert pack(freeze(model)[0]) == pack(freeze(model)[0])


def test_plain_values_keep_their_meaning():
    assert plain({"a": np.int64(3), "b": (np.nan, np.inf, True), "c": pd.NaT, 4: np.array([1.5])}) == {
        "a": 3,
        "b": [None, None, True],
        "c": None,
        "4": [1.5],
    }


# -- the log


@pytest.fixture
def log(tmp_path) -> Log:
    log = Log(tmp_path / "log.jsonl")
    for k in range(4):
        log.append("verdict", {"k": k}, context={"code": "abc"})
    return log


def test_the_log_keeps_order_content_and_context(log):
    assert [(e.number, e.kind, e.content, e.context) for e in log.entries()] == [
        (k + 1, "verdict", {"k": k}, {"code": "abc"}) for k in range(4)
    ]
    assert log.verify() == 4
    assert log.entries("publication") == []


def test_an_empty_log_is_whole(tmp_path):
    log = Log(tmp_path / "sub" / "log.jsonl")
    assert (log.verify(), log.head) == (0, "0" * 64)


def test_each_line_holds_the_hash_of_the_line_before(log):
    lines = log.path.read_bytes().splitlines()
    assert json.loads(lines[2])["previous"] == hashlib.sha256(lines[1]).hexdigest()
    assert log.head == hashlib.sha256(lines[-1]).hexdigest()


def test_the_same_content_is_written_once(log):
    once = log.append_once("verdict", {"k": 2}, context={"code": "other"})
    assert (once.number, log.verify()) == (3, 4)
    assert log.append_once("publication", {"k": 2}, context={}).number == 5


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (lambda lines: [lines[0], lines[1].replace(b'"k": 1', b'"k": 9'), *lines[2:]], 2),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: lines[:-1], 4),
        (lambda lines: [], 1),
        (lambda lines: [*lines[:-1], lines[-1].replace(b'"k": 3', b'"k": 4')], 4),
        (lambda lines: [*lines[:-1], lines[-1][:-5]], 4),
        (lambda lines: [*lines, b"{}"], 5),
        (lambda lines: [*lines, lines[-1]], 5),
    ],
    ids=["edited", "removed", "moved", "first gone", "end cut", "all gone", "last edited", "half", "foreign", "twice"],
)
def test_the_first_broken_line_is_named(log, harm, line):
    lines = harm(log.path.read_bytes().splitlines())
    log.path.write_bytes(b"".join(part + b"\n" for part in lines))
    for use in (log.verify, lambda: log.append("verdict", {}, context={})):
        with pytest.raises(RunError, match=f"broken at line {line}:"):
            use()


def test_a_last_line_without_an_end_is_named(log):
    log.path.write_bytes(log.path.read_bytes()[:-4])
    with pytest.raises(RunError, match=r"broken at line 4: .*\n.*its end is missing"):
        log.verify()


def test_a_crash_between_line_and_head_is_no_break(log):
    head = log.path.with_name("log.head")
    older = head.read_text()
    log.append("verdict", {"k": 4}, context={})
    head.write_text(older)
    assert log.verify() == 5
    log.append("verdict", {"k": 5}, context={})
    assert log.verify() == 6


def test_processes_take_turns(tmp_path):
    path = tmp_path / "log.jsonl"
    code = (
        "import sys; from pathlib import Path; from crmlab.registry.log import Log\n"
        "[Log(Path(sys.argv[1])).append('verdict', {'k': k}, context={}) for k in range(20)]"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert Log(path).verify() == 40


# -- registry


def test_a_new_registry_has_published_nothing(tmp_path):
    registry = Registry(QUESTION, tmp_path)
    assert registry.published() is None
    assert registry.history().empty
    assert registry.folder == tmp_path / "demo-lead-within_horizon-90d-weekly"
    with pytest.raises(RunError, match="No such model"):
        registry.tested("0" * 16)


def test_the_registry_stands_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CRMLAB_DATA", str(tmp_path))
    assert Registry(QUESTION).folder.parent == tmp_path / "registry"
