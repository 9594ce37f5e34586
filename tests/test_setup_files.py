"""The files around the code: what is pinned, what conda gets, what git keeps, and the fences of the tests."""

import hashlib
import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from itertools import product
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import check_files
import conda_environment
import relock
import setup_venv

PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
}
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.+?))? \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def direct(project: dict) -> list[Requirement]:
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [Requirement(line) for line in lines]


@pytest.fixture(scope="module")
def lock(root: Path) -> str:
    return (root / "requirements.lock").read_text("utf-8")


def pins(lock: str, python: str, platform: str) -> dict[str, list[str]]:
    """Return the versions that the lock gives one Python on one platform."""
    where = {"python_version": python, "python_full_version": f"{python}.9", "extra": "", **PLATFORMS[platform]}
    found: dict[str, list[str]] = {}
    for name, version, marker, _ in ENTRY.findall(lock):
        if not marker or Marker(marker).evaluate(where):
            found.setdefault(canonicalize_name(name), []).append(version)
    return found


def left_out(root: Path) -> set[str]:
    lines = (root / "tools" / "lock-overrides.txt").read_text("utf-8").splitlines()
    return {canonicalize_name(Requirement(line.split("#")[0]).name) for line in lines if not line.startswith("#")}


# --- requirements.lock -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("python", "platform"), [*product(PYTHONS, PLATFORMS)])
def test_every_direct_dependency_has_one_pin_inside_its_bounds(direct, lock, python, platform) -> None:
    found = pins(lock, python, platform)
    for requirement in direct:
        versions = found.get(canonicalize_name(requirement.name), [])
        assert len(versions) == 1, requirement
        assert requirement.specifier.contains(versions[0]), f"{requirement} is pinned to {versions[0]}"


@pytest.mark.parametrize(("python", "platform"), [*product(PYTHONS, PLATFORMS)])
def test_no_package_has_two_pins_at_once(lock, python, platform) -> None:
    assert [name for name, versions in pins(lock, python, platform).items() if len(versions) != 1] == []


def test_every_line_of_the_lock_is_a_pin_with_hashes_or_a_comment(lock) -> None:
    rest = ENTRY.sub("", lock)
    assert [line for line in rest.splitlines() if line.strip() and not line.lstrip().startswith("#")] == []
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in re.findall(r"--hash=sha256:(\S+)", lock))
    assert len(ENTRY.findall(lock)) > 100


def test_lock_names_no_address_and_no_folder(lock) -> None:
    assert re.findall(r"\S*(?:://|--index|--find-links|file:)\S*", lock) == []


def test_lock_leaves_out_what_the_overrides_name(root, lock) -> None:
    omitted = left_out(root)
    assert {"nvidia-nccl-cu12", "nvidia-nccl-cu13", "rfc3987-syntax"} <= omitted
    assert omitted & {canonicalize_name(name) for name, *_ in ENTRY.findall(lock)} == set()


def test_nothing_else_is_missing_from_the_lock(root, direct, lock) -> None:
    # The lock is installed without dependencies of its own finding, so it must hold all that its packages ask for.
    if not setup_venv.is_ready(root / ".venv", setup_venv.wanted_stamp(root, keep_python=True)):
        pytest.skip("runs in the environment of `make setup`, whose packages are those of the lock")
    pinned = {canonicalize_name(name) for name, *_ in ENTRY.findall(lock)}
    asked, queue = set(), [*direct]
    while queue:
        requirement = queue.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key not in asked and key[0] not in left_out(root):
            asked.add(key)
            queue += dependencies(requirement)
    assert {name for name, _ in asked} - pinned == set()


def dependencies(requirement: Requirement) -> list[Requirement]:
    """Return what an installed package asks for here, with the extras it was asked for with."""
    lines = importlib.metadata.requires(requirement.name) or []
    asked = [Requirement(line) for line in lines]
    extras = ["", *requirement.extras]
    return [
        each for each in asked if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def test_environment_of_make_setup_is_the_locks(root, lock) -> None:
    if not setup_venv.is_ready(root / ".venv", setup_venv.wanted_stamp(root, keep_python=True)):
        pytest.skip("runs in the environment of `make setup`")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    platform = {"linux": "linux", "darwin": "macos"}[sys.platform]
    wanted = {name: version for name, (version,) in pins(lock, python, platform).items()}
    installed = {canonicalize_name(each.name): each.version for each in importlib.metadata.distributions()}
    differing = {name: installed.get(name) for name, version in wanted.items() if installed.get(name) != version}
    assert differing == {}
    assert left_out(root) & set(installed) == set()


def test_relock_takes_nothing_from_this_machines_settings() -> None:
    environment = {"PATH": "/bin", "HOME": "/h", "UV_INDEX_URL": "x", "PIP_FIND_LINKS": "y", "UV_FIND_LINKS": "z"}
    assert relock.lock_environment(environment) == {"PATH": "/bin", "HOME": "/h"}
    assert {"--universal", "--generate-hashes", "--no-config", "--no-emit-index-url"} <= set(relock.lock_command("uv"))


@pytest.mark.parametrize(("code", "text"), [(0, "new==2\n"), (2, "old==1\n")])
def test_relock_replaces_the_lock_only_when_it_succeeds(tmp_path, monkeypatch, code, text) -> None:
    # A stand-in for uv, which writes to its last but one word's file as uv does to --output-file.
    fake = tmp_path / "uv"
    fake.write_text(f'#!/bin/sh\nwhile [ "$1" != --output-file ]; do shift; done\necho "new==2" > "$2"\nexit {code}\n')
    fake.chmod(0o755)
    (tmp_path / "requirements.lock").write_text("old==1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(relock, "ROOT", tmp_path)
    assert relock.main([]) == code
    assert (tmp_path / "requirements.lock").read_text().removeprefix(relock.HEADER) == text
    assert not (tmp_path / "requirements.lock.new").exists()


# --- environment.yml -------------------------------------------------------------------------------------------------


def test_environment_yml_is_current() -> None:
    assert conda_environment.main(["--check"]) == 0


def test_check_notices_a_changed_bound(tmp_path, root, monkeypatch) -> None:
    changed = (root / "pyproject.toml").read_text("utf-8").replace('"numpy>=2.3,<3"', '"numpy>=2.4,<3"')
    (tmp_path / "pyproject.toml").write_text(changed)
    (tmp_path / "environment.yml").write_bytes((root / "environment.yml").read_bytes())
    monkeypatch.setattr(conda_environment, "ROOT", tmp_path)
    assert conda_environment.main(["--check"]) == 1
    assert conda_environment.main([]) == 0
    assert conda_environment.main(["--check"]) == 0
    assert "numpy >=2.4,<3" in (tmp_path / "environment.yml").read_text()


def test_environment_yml_holds_every_dependency_with_its_bounds(root, project, direct) -> None:
    from ruamel.yaml import YAML

    content = YAML(typ="safe", pure=True).load((root / "environment.yml").read_text("utf-8"))
    *conda, last = content["dependencies"]
    assert last == {"pip": ["--editable ."]}
    found = {line.split()[0]: set("".join(line.split()[1:]).split(",")) for line in conda}
    names = {
        "duckdb": "python-duckdb",
        "matplotlib": "matplotlib-base",
        "pandera": "pandera-pandas",
        "xgboost": "py-xgboost",
    }
    wanted = {names.get(each.name, each.name): {str(bound) for bound in each.specifier} for each in direct}
    assert found == wanted | {"python": set(project["requires-python"].split(",")), "pip": {""}}


@pytest.mark.parametrize("line", ["dask[diagnostics]>=2026", "pywin32>=300; sys_platform == 'win32'"])
def test_what_conda_has_no_word_for_is_refused(line) -> None:
    with pytest.raises(ValueError, match="CONDA_NAMES"):
        conda_environment.conda_requirement(Requirement(line))


# --- what git keeps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("src/lib/crmlab/schema/tables.py", False),
        ("src/lib/crmlab/data/lists.py", False),
        ("src/lib/crmlab/reports/page.html", False),
        ("reports/examples/01_exploration.ipynb", False),
        ("tests/data/leads.csv", False),
        (".venv/bin/python", True),
        ("data/crm.duckdb", True),
        ("reports/lead/run-1/run.json", True),
        ("reports/index.html", True),
        ("notebooks/.ipynb_checkpoints/01.ipynb", True),
    ],
)
def test_gitignore_hides_what_is_made_and_nothing_else(tmp_path, root, path, ignored) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_bytes((root / ".gitignore").read_bytes())
    command = ["git", "-c", "core.excludesFile=", "check-ignore", "--quiet", path]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == (0 if ignored else 1)


def test_tracked_files_are_small_and_name_no_machine(root) -> None:
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    assert list(check_files.faults(check_files.tracked_files(root))) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("see /ro" + "ot/data/x.csv", "a folder of one machine"),
        ('path = "/ho' + 'me/anna/crm"', "a folder of one machine"),
        ("--index-url https://py" + "pi.org/simple", "a package index"),
        ("https://files.python" + "hosted.org/packages/x", "a package index"),
    ],
)
def test_machine_paths_and_package_indexes_are_found(tmp_path, text, what) -> None:
    path = tmp_path / "notes.md"
    path.write_text(f"first line\n{text}\n")
    (fault,) = check_files.faults([path])
    assert f"notes.md:2: names {what}" in fault


def test_a_test_may_name_an_invented_persons_home_and_no_real_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(check_files, "ROOT", tmp_path)
    path = tmp_path / "tests" / "test_paths.py"
    path.parent.mkdir()
    path.write_text("a = '/ho" + "me/ada/leads'\nb = '/ro" + "ot/leads'\n")
    (fault,) = check_files.faults([path])
    assert fault.startswith("tests/test_paths.py:2: ")


@pytest.mark.parametrize("text", ["https://example.org/work/x", "/path/to/python3.13", "a~/work/x", "$HOME/work/x"])
def test_addresses_and_placeholders_are_not_machine_paths(tmp_path, text) -> None:
    path = tmp_path / "notes.md"
    path.write_text(text)
    assert list(check_files.faults([path])) == []


def test_large_files_are_found_and_binary_ones_not_read_as_text(tmp_path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"\0/ro" + b"ot/x" * 250_000)
    (fault,) = check_files.faults([path])
    assert "figure.png: 1,000 kB" in fault


def test_pre_commit_fetches_nothing_and_calls_what_exists(root) -> None:
    from ruamel.yaml import YAML

    repos = YAML(typ="safe", pure=True).load((root / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    for hook in repos[0]["hooks"]:
        assert hook["language"] == "system"
        scripts = [word for word in hook["entry"].split() if word.startswith("tools/")]
        assert all((root / script).is_file() for script in scripts)


def test_licence_is_the_whole_apache_text(root, project) -> None:
    digest = hashlib.sha256((root / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert project["license"] == "Apache-2.0"


# --- the fences of the tests (conftest.py) ---------------------------------------------------------------------------


def test_tests_cannot_reach_the_network() -> None:
    with socket.socket() as outside, pytest.raises(AssertionError, match="use no network"):
        outside.connect(("192.0.2.1", 443))


def test_tests_reach_this_machine() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_tests_run_in_folders_of_their_own_far_from_utc(tmp_path_factory) -> None:
    assert Path(os.environ["CRMLAB_DATA"]).is_relative_to(tmp_path_factory.getbasetemp())
    assert "CRMLAB_HOME" not in os.environ
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert time.localtime(0).tm_min == 30  # 05:30 in Kathmandu in 1970


def test_installed_package_is_this_version(project) -> None:
    assert importlib.metadata.version("crmlab") == project["version"]
