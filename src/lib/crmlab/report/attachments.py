"""Files beside a report: copied into its folder, and files elsewhere on which the result depends."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from crmlab import project
from crmlab.schema import ParameterError, RunError

from .escape import clean, escape
from .outputs import payload_of, show

__all__ = ["attach", "attachments_of", "file_html", "keep", "kept_of"]

_RESERVED = ("metrics.json", "run.json", "entry.json")


def attach(path: Path, *, label: str) -> None:
    """Offer a file for download: the runner copies it beside the report, and the page links to it.

    Parameters
    ----------
    path : a file in the project's data folder; its name must be free in the run folder.
    label : what it holds, in words.

    Raises
    ------
    ParameterError : there is no such file, it lies elsewhere, or its name is taken by the run itself.
    """
    name = Path(path).name
    if not Path(path).is_file() or name in _RESERVED or name.endswith((".ipynb", ".html")):
        raise ParameterError("This file cannot be attached to the report.", found=name, remedy="write it first.")
    payload = {"name": name, "label": label, "path": _inside(path), "sha256": _sha256(path)}
    show("file", payload, html=file_html(payload), text=f"{label}: {name}")


def keep(*paths: Path) -> None:
    """Note files in the data folder without which this result is not complete: if one goes, the notebook runs again."""
    show("kept", {"paths": [_inside(path) for path in paths]}, text=f"Kept: {', '.join(Path(p).name for p in paths)}")


def attachments_of(nb: Mapping) -> dict[str, Path]:
    """Return name → file of everything attached in an executed notebook.

    Raises
    ------
    RunError : a file is gone, or is not what it was when it was attached.
    """
    found = {}
    for payload in _payloads(nb, "file"):
        path = project.data_dir() / str(payload["path"])
        if not path.is_file() or _sha256(path) != payload["sha256"]:
            raise RunError("A file of the report has changed before it could be copied.", found=str(payload["name"]))
        found[str(payload["name"])] = path
    return found


def kept_of(nb: Mapping) -> list[str]:
    """Return the files, relative to the data folder, that an executed notebook depends on."""
    return [str(path) for payload in _payloads(nb, "kept") for path in payload["paths"]]


def file_html(payload: Mapping) -> str:
    """Return a paragraph with the link to an attached file."""
    name = clean(payload.get("name") or "")
    if "/" in name or "\\" in name or name.startswith("."):
        return ""
    link = f'<a href="{escape(name)}" download>{escape(name)}</a>'
    return f'<p class="file">{escape(payload.get("label") or "")}: {link}</p>'


def _payloads(nb: Mapping, role: str) -> Iterator[dict]:
    for cell in nb.get("cells", []):
        for output in cell.get("outputs") or []:
            if (payload := payload_of(output, role)) is not None:
                yield payload


def _inside(path: Path) -> str:
    """The path relative to the data folder: an executed notebook must not tell where somebody works."""
    try:
        return Path(path).resolve().relative_to(project.data_dir().resolve()).as_posix()
    except ValueError:
        raise ParameterError(
            "A report can only hold files of the project's data folder.",
            found=Path(path).name,
            remedy="write it below `project.data_dir()`.",
        ) from None


def _sha256(path: Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
