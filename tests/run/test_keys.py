"""What counts as the same code: sources do, caches of compiled code do not."""

import pytest

from crmlab.run import keys


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "features" / "__pycache__").mkdir(parents=True)
    (tmp_path / "features" / "kernel.py").write_text("DAY = 1\n")
    monkeypatch.setattr(keys, "_PACKAGE", tmp_path)
    keys.code_sha256.cache_clear()
    yield tmp_path
    keys.code_sha256.cache_clear()


def again() -> str:
    keys.code_sha256.cache_clear()
    return keys.code_sha256()


def test_a_cache_of_compiled_code_changes_nothing(package):
    before = keys.code_sha256()
    for name in ("kernel.cpython-311.pyc", "kernel.fold-82.py311.nbi", "kernel.fold-82.py311.1.nbc"):
        (package / "features" / "__pycache__" / name).write_bytes(b"compiled")
    assert again() == before


def test_a_changed_or_renamed_source_changes_the_key(package):
    before = keys.code_sha256()
    (package / "features" / "kernel.py").write_text("DAY = 2\n")
    changed = again()
    (package / "features" / "kernel.py").rename(package / "features" / "core.py")
    assert len({before, changed, again()}) == 3
