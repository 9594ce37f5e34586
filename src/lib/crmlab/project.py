"""Where the project's folders are, from any working directory."""

import os
from pathlib import Path

from crmlab.schema import CrmlabError

__all__ = ["data_dir", "datasets_dir", "root"]

_CHECKOUT = Path(__file__).resolve().parents[3]


def root() -> Path:
    """Return the project folder: the one that holds `params/` and `notebooks/`.

    The environment variable CRMLAB_HOME wins; then the nearest folder at or above the working directory; then the
    checkout that this package was installed from in editable mode.

    Raises
    ------
    CrmlabError : none of them is a project folder.
    """
    home = os.environ.get("CRMLAB_HOME")
    here = Path.cwd()
    candidates = [Path(home)] if home else [here, *here.parents, _CHECKOUT]
    for folder in candidates:
        if (folder / "params").is_dir() and (folder / "notebooks").is_dir():
            return folder.resolve()
    raise CrmlabError(
        "This is not a crmlab project.",
        found=f"no folder with `params` and `notebooks` at or above {home or here}",
        remedy="change into your clone, or set CRMLAB_HOME to it.",
    )


def data_dir() -> Path:
    """Return the folder of the local store and downloads: CRMLAB_DATA, else `data/` of the project."""
    return Path(os.environ.get("CRMLAB_DATA") or root() / "data")


def datasets_dir() -> Path | None:
    """Return the local folder of public data sets (CRMLAB_DATASETS), or None when they are to be downloaded."""
    folder = os.environ.get("CRMLAB_DATASETS")
    return Path(folder) if folder else None
