"""The committed examples: one small executed notebook each, for reviewers who read on the web.

They hold no times, durations or paths: renewed without a change of code, data or versions, no byte differs.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crmlab import project
from crmlab.schema import RunError

from .contract import strip_notebook, strip_text
from .files import write_atomic
from .notebooks import tags_of
from .params import study_files
from .runner import Finished, run_study

__all__ = ["STUDIES", "example_text", "write_examples"]

STUDIES = ("lead_small", "opportunity_small")
"""Each notebook is shown for the first of these studies that has it."""

_HEAD = """# Examples

One executed notebook per question, on the small demo CRM. Written by `crmlab examples`; do not edit by hand. Full
reports, with code folded away, are made by `crmlab run`.

| notebook | question | answer on this data |
|---|---|---|
"""


def write_examples(studies: Sequence[str] = STUDIES) -> tuple[Path, list[str]]:
    """Run the small studies and renew `reports/examples/`; return the folder and the names of the files that changed.

    They run on a data folder of their own: what earlier runs left at the gate would stand in them otherwise.

    Raises
    ------
    RunError : a notebook failed or a run was interrupted; the examples stay as they were.
    """
    there = study_files(project.root() / "params")
    with _empty_data():
        runs = [_finished(study) for study in studies if study in there]
    folder = project.root() / "reports" / "examples"
    wanted = _wanted(runs)
    changed = [name for name, text in wanted.items() if _renew(folder / name, text)]
    for path in folder.glob("*.ipynb"):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    return folder, changed


@contextmanager
def _empty_data() -> Iterator[None]:
    before = os.environ.get("CRMLAB_DATA")
    with tempfile.TemporaryDirectory(prefix="crmlab-examples-") as folder:
        os.environ["CRMLAB_DATA"] = folder
        try:
            yield
        finally:
            os.environ.pop("CRMLAB_DATA") if before is None else os.environ.update(CRMLAB_DATA=before)


def _finished(study: str) -> Finished:
    finished = run_study(study)
    if finished.outcome not in ("finished", "unchanged"):
        failed = [f"{name} {r.reason}" for name, r in finished.results.items() if r.status == "failed"]
        raise RunError("The examples were not renewed.", found="; ".join(failed) or finished.outcome)
    return finished


def _wanted(runs: Sequence[Finished]) -> dict[str, str]:
    files: dict[str, str] = {}
    rows: dict[str, str] = {}
    for finished in runs:
        record = json.loads((finished.folder / "run.json").read_text(encoding="utf-8"))
        metrics = json.loads((finished.folder / "metrics.json").read_text(encoding="utf-8"))
        done = [nb for nb in record["notebooks"] if nb["status"] in ("ran", "reused") and nb["ipynb"] not in files]
        files |= {nb["ipynb"]: example_text((finished.folder / nb["ipynb"]).read_text(encoding="utf-8")) for nb in done}
        rows |= {nb["notebook"]: _row(nb, metrics) for nb in done}
    return files | {"README.md": _HEAD + "".join(rows[name] for name in sorted(rows))}


def _row(notebook: dict, metrics: list[dict]) -> str:
    own = [m for m in metrics if m["notebook"] == notebook["notebook"] and m.get("kind") == "headline"]
    answer = str(own[0]["label"]) if own else ""
    cells = (f"[{notebook['notebook']}]({notebook['ipynb']})", notebook["title"], answer)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def example_text(text: str) -> str:
    """Return an executed notebook without anything that differs between two runs of the same."""
    content = strip_notebook(json.loads(text), outputs=True)
    for cell in content["cells"]:
        if "injected-parameters" in tags_of(cell) and "id" in cell:
            cell["id"] = "injected-parameters"
    return strip_text(content)


def _renew(path: Path, text: str) -> bool:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_atomic(path, text)
    return True
