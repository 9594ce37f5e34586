"""The committed examples: one small executed notebook each, for reviewers who read on the web.

They hold no times, durations or paths: renewed without a change of code, data or versions, no byte differs.
"""

import json
from pathlib import Path

from crmlab import project
from crmlab.schema import RunError

from .contract import strip_notebook, strip_text
from .files import write_atomic
from .notebooks import tags_of
from .runner import Finished, run_study

__all__ = ["STUDY", "example_text", "write_examples"]

STUDY = "lead_small"

_HEAD = """# Examples

One executed notebook per question, on the small demo CRM (study `{study}`). Written by `crmlab examples`; do not edit
by hand. Full reports, with code folded away, are made by `crmlab run`.

| notebook | question | answer on this data |
|---|---|---|
"""


def write_examples(study: str = STUDY) -> tuple[Path, list[str]]:
    """Run the small study and renew `reports/examples/`; return the folder and the names of the files that changed.

    Raises
    ------
    RunError : a notebook failed or the run was interrupted; the examples stay as they were.
    """
    finished = run_study(study)
    if finished.outcome not in ("finished", "unchanged"):
        failed = [f"{name} {r.reason}" for name, r in finished.results.items() if r.status == "failed"]
        raise RunError("The examples were not renewed.", found="; ".join(failed) or finished.outcome)
    folder = project.root() / "reports" / "examples"
    wanted = _wanted(finished)
    changed = [name for name, text in wanted.items() if _renew(folder / name, text)]
    for path in folder.glob("*.ipynb"):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    return folder, changed


def _wanted(finished: Finished) -> dict[str, str]:
    record = json.loads((finished.folder / "run.json").read_text(encoding="utf-8"))
    metrics = json.loads((finished.folder / "metrics.json").read_text(encoding="utf-8"))
    done = [nb for nb in record["notebooks"] if nb["status"] in ("ran", "reused")]
    files = {nb["ipynb"]: example_text((finished.folder / nb["ipynb"]).read_text(encoding="utf-8")) for nb in done}
    rows = [_row(nb, metrics) for nb in done]
    return files | {"README.md": _HEAD.format(study=finished.study) + "".join(rows)}


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
