"""The store: what is loaded comes back bit by bit, all of it or nothing, whatever interrupts the load."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from crmlab.schema import TABLES, DataError, SourceError, conform_table, empty_table
from crmlab.store import EXTRA_PREFIX, Store

ODD_TEXTS = ["", " ", "None", "nan", "NULL", "'; DROP TABLE leads; --", 'a"b', "è\n\t🙂", "0x1", "1e3", "\\N", "NO"]


def leads(*ids: str, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"lead_id": list(ids), "status": "new"} | columns)


def full_leads() -> pd.DataFrame:
    """Leads in the order of their key, with a gap in every optional column and own columns of all four types."""
    times = pd.to_datetime(["2024-01-01 00:00:00.000001", None, "9999-12-31 23:59:59.999999"], format="ISO8601")
    frame = leads("A", "B", "C", created_at=times, employees=[0.1, None, 1e300], source=["è🙂", None, ""])
    own = {
        "x_flag": pd.Series([True, None, False], dtype="boolean"),
        "x_number": [1.5, None, -0.0],
        "x_text": [None, "'", '"'],
        "x_time": times,
        "x_empty": pd.Series([None] * 3, dtype=object),
        "x_full_flag": [True, False, True],
    }
    return conform_table("leads", frame.assign(**own))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "crm.duckdb")


@pytest.fixture
def loaded(store: Store) -> Store:
    store.load({"leads": leads("old1", "old2")}, fingerprint="old")
    return store


def assert_old(store: Store) -> None:
    assert store.fingerprint() == "old"
    assert store.counts() == {"leads": 2}
    assert store.read("leads")["lead_id"].tolist() == ["old1", "old2"]


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.path.parent.iterdir())


# What comes back


def test_store_that_was_never_loaded_is_empty_and_makes_no_file(store: Store) -> None:
    assert (store.names(), store.counts(), store.fingerprint(), store.meta()) == ([], {}, None, {})
    for name in TABLES:
        pd.testing.assert_frame_equal(store.read(name), empty_table(name))
    assert files(store) == []


def test_every_type_comes_back_bit_by_bit(store: Store) -> None:
    expected = full_leads()
    assert store.load({"leads": expected}, fingerprint="f") == {"leads": 3}
    pd.testing.assert_frame_equal(store.read("leads"), expected, check_exact=True)


def test_whole_numbers_beyond_the_precision_of_floats_come_back(store: Store) -> None:
    revision = pd.Series([2**62 + 1, None], dtype="Int64")
    quotes = {"quote_id": ["a", "b"], "opportunity_id": "o", "sent_at": pd.Timestamp("2024-01-01")}
    store.load({"quotes": pd.DataFrame(quotes).assign(revision=revision)}, fingerprint="f")
    pd.testing.assert_series_equal(store.read("quotes")["revision"], revision.rename("revision"))


def test_odd_texts_come_back_as_they_are(store: Store) -> None:
    ids = [f"L{k:02d}" for k in range(len(ODD_TEXTS))]
    store.load({"leads": leads(*ids, source=ODD_TEXTS, x_text=ODD_TEXTS)}, fingerprint="f")
    found = store.read("leads")
    assert found["source"].tolist() == ODD_TEXTS
    assert found["x_text"].tolist() == ODD_TEXTS


@pytest.mark.parametrize("name", TABLES)
def test_table_loaded_without_rows_keeps_its_types(store: Store, name: str) -> None:
    assert store.load({name: empty_table(name)}, fingerprint="f") == {name: 0}
    pd.testing.assert_frame_equal(store.read(name), empty_table(name))


def test_rows_come_in_the_order_of_the_key_however_they_were_loaded(store: Store) -> None:
    store.load({"leads": leads("L2", "L10", "l1", "L1")}, fingerprint="f")
    assert store.read("leads")["lead_id"].tolist() == ["L1", "L10", "L2", "l1"]


def test_chosen_columns_come_in_the_order_asked_for(store: Store) -> None:
    store.load({"leads": leads("b", "a", employees=[2, 1])}, fingerprint="f")
    found = store.read("leads", ["employees", "status"])
    assert list(found) == ["employees", "status"]
    assert found["employees"].tolist() == [1.0, 2.0]
    assert list(store.read("accounts", ["country", "name"])) == ["country", "name"]


@pytest.mark.parametrize("name", ["leads", "accounts"])  # one that was loaded, one that was not
@pytest.mark.parametrize("column", ["regio", 'region" FROM leads; DROP TABLE leads; --'])
def test_unknown_column_is_refused(loaded: Store, name: str, column: str) -> None:
    with pytest.raises(DataError, match=rf"Table `{name}` of the store has no column `regio.*\n  To do: "):
        loaded.read(name, [column])
    assert_old(loaded)


@pytest.mark.parametrize("name", ["laeds", "crmlab_meta", 'leads"; DROP TABLE leads; --', ""])
def test_unknown_table_is_refused(loaded: Store, name: str) -> None:
    with pytest.raises(DataError, match=r"The store has no table `.*\n  To do: "):
        loaded.read(name)
    assert_old(loaded)


def test_meta_and_fingerprint_are_those_of_the_last_load(store: Store) -> None:
    store.load({}, fingerprint="a", meta={"own": {"x_é": ["creation", 1, None]}})
    assert (store.fingerprint(), store.meta()) == ("a", {"own": {"x_é": ["creation", 1, None]}})
    store.load({}, fingerprint="b", replace=False)
    assert (store.fingerprint(), store.meta()) == ("b", {})
    assert store.names() == []


def test_folders_are_made_and_the_path_may_be_text(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "a folder" / "è" / "crm 1.duckdb"))
    store.load({"leads": leads("A")}, fingerprint="f")
    assert files(store) == ["crm 1.duckdb"]


# Loads that replace, add and come in pieces


def test_same_load_twice_leaves_the_same_rows(store: Store) -> None:
    tables = {"leads": full_leads(), "truth_a": pd.DataFrame({"p": [0.25]})}
    counts = store.load(tables, fingerprint="f")
    before = store.read("leads")
    for replace in (True, False):
        assert store.load(tables, fingerprint="f", replace=replace) == counts
        pd.testing.assert_frame_equal(store.read("leads"), before)


def test_load_leaves_its_arguments_as_they_were(store: Store) -> None:
    given_leads, given_truth = leads("A", x_own=[1]), pd.DataFrame({"a": pd.Series(["t"], dtype=object)})
    before = given_leads.copy(deep=True), given_truth.copy(deep=True)
    store.load({"leads": given_leads, "truth_a": given_truth}, fingerprint="f")
    pd.testing.assert_frame_equal(given_leads, before[0])
    pd.testing.assert_frame_equal(given_truth, before[1])


def test_replacing_load_leaves_nothing_of_the_old_one(loaded: Store) -> None:
    loaded.load({"truth_a": pd.DataFrame({"a": [1]})}, fingerprint="new")
    assert loaded.counts() == {"truth_a": 1}
    assert loaded.read("leads").empty


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("cuts", [(), (0,), (1,), (1, 1, 2), (2, 3)])
def test_pieces_give_what_the_whole_gives(store: Store, cuts: tuple[int, ...], replace: bool) -> None:
    whole = full_leads()
    pieces = [("leads", whole.iloc[a:b]) for a, b in pairwise([0, *cuts, len(whole)])]
    store.load(pieces, fingerprint="f", replace=replace)
    pd.testing.assert_frame_equal(store.read("leads"), whole)


def test_pieces_of_different_tables_may_alternate(store: Store) -> None:
    accounts = pd.DataFrame({"account_id": ["A", "B"]})
    pieces = [("leads", leads("1")), ("accounts", accounts[:1]), ("leads", leads("2")), ("accounts", accounts[1:])]
    assert store.load(iter(pieces), fingerprint="f") == {"accounts": 2, "leads": 2}


def test_own_column_may_appear_in_a_later_piece_and_be_empty_in_an_earlier_one(store: Store) -> None:
    pieces = [
        ("leads", leads("1", x_a=[np.nan])),
        ("leads", leads("2")),
        ("leads", leads("3", x_a=["text"], x_b=[True])),
        ("leads", leads("4", x_a=[np.nan], x_b=[None])),
    ]
    store.load(pieces, fingerprint="f")
    found = store.read("leads").set_index("lead_id")
    assert found["x_a"].dropna().to_dict() == {"3": "text"}
    assert found["x_b"].dropna().to_dict() == {"3": True}
    assert found.dtypes[["x_a", "x_b"]].astype(str).to_list() == ["str", "boolean"]


def test_own_column_of_two_types_is_refused_without_showing_it(loaded: Store) -> None:
    pieces = [("leads", leads("1", x_a=[1.5])), ("leads", leads("2", x_a=["mario@example.com"]))]
    with pytest.raises(
        DataError, match=r"`leads.x_a` holds different types .*\n  Found: double before, varchar now"
    ) as c:
        loaded.load(pieces, fingerprint="new")
    assert "mario" not in str(c.value)
    assert_old(loaded)


def test_adding_load_replaces_equal_keys_and_keeps_the_others(store: Store) -> None:
    store.load(
        {"leads": leads("a", "b", source="first"), "accounts": pd.DataFrame({"account_id": ["A"]})}, fingerprint="1"
    )
    pieces = [("leads", leads("b", "c", source="second")), ("leads", leads("c", source="third", x_new=[7.0]))]
    assert store.load(pieces, fingerprint="2", replace=False) == {"accounts": 1, "leads": 3}
    found = store.read("leads").set_index("lead_id")
    assert found["source"].to_dict() == {"a": "first", "b": "second", "c": "third"}
    assert found["x_new"].dropna().to_dict() == {"c": 7.0}
    assert store.fingerprint() == "2"


def test_adding_load_matches_composite_keys_whole(store: Store) -> None:
    day = pd.to_datetime(["2024-01-01", "2024-01-02"])
    usage = pd.DataFrame({"account_id": "A", "day": day, "known_at": day, "logins": [1, 2]})
    store.load({"usage": usage}, fingerprint="1")
    store.load({"usage": usage[1:].assign(logins=9)}, fingerprint="2", replace=False)
    assert store.read("usage")["logins"].tolist() == [1, 9]


# Tables beside the canonical ones


def test_truth_tables_keep_their_order_types_and_pieces(store: Store) -> None:
    truth = pd.DataFrame(
        {
            "lead_id": ["b", "a", "a"],
            "p": np.float32([0.5, 0.25, 0.1]),
            "level": np.int8([1, 2, 3]),
            "flag": [True, False, True],
            "at": pd.to_datetime(["2024-01-02", None, "2024-01-01"]),
            "kind": pd.Series(["x", None, "x"], dtype=object),
        }
    )
    store.load([("truth_levels", truth[:1]), ("truth_levels", truth[1:])], fingerprint="f")
    expected = truth.astype({"kind": "str", "at": "datetime64[us]"})
    pd.testing.assert_frame_equal(store.read("truth_levels"), expected)
    assert store.names() == ["truth_levels"]


def test_truth_categories_become_text_and_may_differ_between_pieces(store: Store) -> None:
    pieces = [("truth_a", pd.DataFrame({"k": pd.Categorical([v])})) for v in ("one", "two")]
    store.load(pieces, fingerprint="f")
    assert store.read("truth_a")["k"].tolist() == ["one", "two"]


@pytest.mark.parametrize("name", ['truth_a"; DROP TABLE leads; --', "truth_A", "truth_", "truth_a b", "truth_è"])
def test_truth_tables_have_plain_names(loaded: Store, name: str) -> None:
    assert name.startswith(EXTRA_PREFIX)
    with pytest.raises(DataError, match=r"name that is not allowed.\n  Found: 'truth_.*\n  To do: name it `truth_…`"):
        loaded.load({name: pd.DataFrame({"a": [1]})}, fingerprint="new", replace=False)
    assert_old(loaded)


def test_truth_columns_that_differ_only_in_case_are_refused(loaded: Store) -> None:
    with pytest.raises(DataError, match=r"`truth_a` has the column `p` twice.\n  Found: columns p, P"):
        loaded.load({"truth_a": pd.DataFrame([[1, 2]], columns=["p", "P"])}, fingerprint="new")
    assert_old(loaded)


def test_hostile_column_of_a_truth_table_is_only_a_name(loaded: Store) -> None:
    hostile = 'a" INTEGER); DROP TABLE leads; --'
    loaded.load({"truth_a": pd.DataFrame({hostile: [1]})}, fingerprint="new", replace=False)
    assert loaded.read("truth_a", [hostile])[hostile].tolist() == [1]
    assert loaded.counts() == {"leads": 2, "truth_a": 1}


# All or nothing


def _broken(kind: str) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "leads", leads("new1", "old1")
    yield "accounts", pd.DataFrame({"account_id": ["A"]})
    if kind == "bug":
        raise RuntimeError("halfway")
    if kind == "ctrl-c":
        raise KeyboardInterrupt
    yield {"table": ("laeds", leads("x")), "status": ("leads", leads("x", status="wno"))}[kind]


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    ("kind", "error"),
    [("bug", RuntimeError), ("ctrl-c", KeyboardInterrupt), ("table", DataError), ("status", DataError)],
)
def test_load_that_fails_half_way_changes_nothing(
    loaded: Store, kind: str, error: type[BaseException], replace: bool
) -> None:
    with pytest.raises(error):
        loaded.load(_broken(kind), fingerprint="new", replace=replace)
    assert_old(loaded)
    assert files(loaded) == ["crm.duckdb"]


def test_key_repeated_in_another_piece_changes_nothing(loaded: Store) -> None:
    pieces = [("leads", leads("a", "b")), ("leads", leads("b", "a"))]
    with pytest.raises(DataError, match=r"one row per lead_id.\n  Found: 2 rows repeat the key .*\n  To do: remove"):
        loaded.load(pieces, fingerprint="new")
    assert_old(loaded)


@pytest.mark.parametrize("replace", [True, False])
def test_meta_that_json_cannot_hold_changes_nothing(loaded: Store, replace: bool) -> None:
    with pytest.raises(TypeError, match=r"not JSON serializable"):
        loaded.load({"leads": leads("new")}, fingerprint="new", meta={"at": object()}, replace=replace)
    assert_old(loaded)


def test_first_load_that_fails_leaves_no_file(store: Store) -> None:
    for replace in (True, False):
        with pytest.raises(RuntimeError, match=r"halfway"):
            store.load(_broken("bug"), fingerprint="new", replace=replace)
        assert files(store) == []


# Other processes, crashes, full disks


_CHILD = """
    import sys, time
    import numpy as np, pandas as pd
    from crmlab.store import Store

    def pieces():
        words = np.random.default_rng(0).integers(0, 2**62, 60_000).astype("str")
        for k in range(2):
            ids = [f"new{k}-{i}" for i in range(30_000)]
            yield "leads", pd.DataFrame({"lead_id": ids, "status": "new", "source": words[k::2]})
        print("loading", flush=True)
        THEN

    store = Store(sys.argv[1])
    BEFORE
    try:
        store.load(pieces(), fingerprint="new", replace=REPLACE)
    except Exception as error:
        print(type(error).__name__, error)
        sys.exit(3)
    """
_FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (store.path.stat().st_size + 100_000,) * 2)"


def _child(store: Store, *, replace: bool, then: str = "", before: str = "") -> subprocess.Popen:
    code = textwrap.dedent(_CHILD).replace("THEN", then).replace("BEFORE", before).replace("REPLACE", str(replace))
    return subprocess.Popen([sys.executable, "-c", code, str(store.path)], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("replace", [True, False])
def test_killed_load_leaves_the_old_rows_and_the_next_load_cleans_up(loaded: Store, replace: bool) -> None:
    with _child(loaded, replace=replace, then="time.sleep(60)") as child:
        assert child.stdout.readline() == "loading\n"
        if replace:
            assert_old(loaded)  # readers are not kept waiting
        else:
            with pytest.raises(SourceError, match=r"cannot be opened.\n  Found: .*lock.*\n  To do: close the other"):
                loaded.read("leads")
        child.kill()
    assert_old(loaded)
    loaded.load({"leads": leads("newer")}, fingerprint="newer")
    assert loaded.read("leads")["lead_id"].tolist() == ["newer"]
    assert files(loaded) == ["crm.duckdb"]


def test_load_of_another_program_that_still_runs_is_not_cleaned_up(loaded: Store) -> None:
    running = loaded.path.with_name(f".crm.duckdb.loading.{os.getpid()}.x")
    running.mkdir()
    loaded.load({"leads": leads("new")}, fingerprint="new")
    assert running.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes cannot be limited there")
@pytest.mark.parametrize("replace", [True, False])
def test_full_disk_is_one_clear_error_and_leaves_the_old_rows(loaded: Store, replace: bool) -> None:
    with _child(loaded, replace=replace, before=_FULL_DISK) as child:
        told = child.stdout.read()
    assert child.returncode == 3
    assert "SourceError The store crm.duckdb cannot be written; the load before is as it was." in told
    assert "To do: check that the disk has space" in told
    assert_old(loaded)
    loaded.load({"leads": leads("new")}, fingerprint="new", replace=replace)  # there is space again
    assert loaded.read("leads")["lead_id"].tolist() == (["new"] if replace else ["new", "old1", "old2"])
    assert files(loaded) == ["crm.duckdb"]


def test_full_disk_before_the_first_byte(loaded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(SourceError, match=r"cannot be written.*\n  Found: .*No space left on device\n  To do: check"):
        loaded.load({"leads": leads("new")}, fingerprint="new")
    assert_old(loaded)


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(SourceError, match=r"The store crm.duckdb cannot be written"):
        Store(tmp_path / "data" / "crm.duckdb").load({"leads": leads("A")}, fingerprint="f")


def test_log_of_a_crashed_program_is_read_and_never_replayed_into_a_new_load(loaded: Store) -> None:
    insert = "INSERT INTO leads BY NAME SELECT 'old2x' AS lead_id, 'new' AS status"
    crash = f"import duckdb, os; c = duckdb.connect({str(loaded.path)!r}); c.execute({insert!r}); os._exit(9)"
    subprocess.run([sys.executable, "-c", crash], check=False)
    assert "crm.duckdb.wal" in files(loaded)
    assert loaded.counts() == {"leads": 3}
    loaded.load({"leads": leads("new")}, fingerprint="new")
    assert loaded.read("leads")["lead_id"].tolist() == ["new"]
    assert files(loaded) == ["crm.duckdb"]


def test_readers_neither_wait_for_each_other_nor_keep_a_load_out(loaded: Store) -> None:
    read = (
        f"import duckdb; c = duckdb.connect({str(loaded.path)!r}, read_only=True); print('open', flush=True); input()"
    )
    count = "; print(c.execute('SELECT count(*) FROM leads').fetchone()[0])"
    command = [sys.executable, "-c", read + count]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "open\n"
        assert_old(loaded)
        loaded.load({"leads": leads("new")}, fingerprint="new")
        assert loaded.fingerprint() == "new"
        told, _ = reader.communicate("\n")
    assert told == "2\n"  # the other reader still sees the rows that it opened


def test_store_that_another_program_writes_to_cannot_be_added_to(loaded: Store) -> None:
    hold = f"import duckdb; c = duckdb.connect({str(loaded.path)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(SourceError, match=r"The store crm.duckdb cannot be opened.\n  Found: .*lock"):
            loaded.load({"leads": leads("new")}, fingerprint="new", replace=False)
        other.communicate("\n")
    assert_old(loaded)


def _truncate(path: Path) -> None:
    with duckdb.connect(str(path)) as db:
        db.execute("CREATE TABLE filler AS SELECT hash(range)::VARCHAR AS v FROM range(200000)")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"lead_id,status\n" * 1000), _truncate],
    ids=["empty", "not a store", "truncated"],
)
def test_damaged_store_is_a_clear_error_and_the_next_load_replaces_it(loaded: Store, damage: object) -> None:
    damage(loaded.path)
    with pytest.raises(
        SourceError, match=r"The store crm.duckdb cannot be opened.\n  Found: .*\n  To do: .* delete it"
    ):
        loaded.read("filler") if damage is _truncate else loaded.fingerprint()
    loaded.load({"leads": leads("new")}, fingerprint="new")
    assert loaded.read("leads")["lead_id"].tolist() == ["new"]


def test_path_that_is_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot be opened"):
        Store(tmp_path).names()
