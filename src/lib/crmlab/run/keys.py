"""What a result depends on, as hashes and versions: contents count, time stamps lie after a clone."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from .notebooks import source_of, tags_of
from .params import sha256_of

__all__ = ["code_sha256", "code_version", "library_versions", "notebook_key", "python_version"]

LIBRARIES = (
    "crmlab",
    "pandas",
    "numba",
    "numpy",
    "scipy",
    "scikit-learn",
    "xgboost",
    "skops",
    "lifelines",
    "duckdb",
    "pyarrow",
    "pandera",
    "matplotlib",
    "seaborn",
    "papermill",
    "nbconvert",
)
"""Installed libraries that can change a result or its page."""

_PACKAGE = Path(__file__).resolve().parents[1]
_FORMAT = 2


def notebook_key(
    content: Mapping, *, study: Mapping[str, object], surroundings: Mapping[str, object], upstream: Sequence[str]
) -> str:
    """Return the content key of one notebook's result.

    Outputs, counters and whatever an editor notes down do not count; cells, tags and the crmlab metadata do.

    Parameters
    ----------
    upstream : keys of the notebooks that this one waits for.
    """
    cells = [[cell.get("cell_type"), source_of(cell), sorted(tags_of(cell))] for cell in content["cells"]]
    parts = {
        "format": _FORMAT,
        "cells": cells,
        "crmlab": content.get("metadata", {}).get("crmlab", {}),
        "study": dict(study),
        "surroundings": dict(surroundings),
        "upstream": list(upstream),
    }
    return sha256_of(parts)[:40]


@cache
def code_sha256() -> str:
    """Return a hash over every file of the library, by path and content; caches of compiled code do not count."""
    digest = hashlib.sha256()
    for path in sorted(p for p in _PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Return the installed version of each library that can change a result."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def python_version() -> str:
    """Return Python's version, such as 3.11.7."""
    return platform.python_version()


def code_version(root: Path) -> str:
    """Return the project's git commit, with a mark for uncommitted changes, or the package's version without git."""
    fallback = f"crmlab {library_versions().get('crmlab', 'unknown')}"
    commands = (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(root), *c], capture_output=True, text=True, timeout=20, check=True).stdout
            for c in commands
        )
    except (OSError, subprocess.SubprocessError):
        return fallback
    return commit.strip() + (" with uncommitted changes" if changes.strip() else "")
