"""The contract of source notebooks: a notebook calls, shows and explains; it defines nothing and carries no outputs."""

import ast
import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

from crmlab.schema import CrmlabError

from .files import write_atomic
from .notebooks import Notebook, find_notebooks, heading_of, parameters_of, read_notebook, source_of, tags_of
from .plan import declared_parameters, dependencies

__all__ = ["check_folder", "check_notebook", "strip_notebook", "strip_text"]

_TRACES = ("papermill", "execution", "ExecuteTime")
_OF_RUNS = {"injected-parameters", "papermill-error-cell-tag"}
_CODE_CELLS_IN_A_ROW = 3
_CLOCK = {"now", "today", "utcnow"}
_CLOCKS = {"datetime", "date", "Timestamp"}
_INPUT_OUTPUT = re.compile(
    r"open|read_(csv|excel|parquet|json|sql|table|feather)|to_(csv|excel|parquet|json|sql|feather)|savefig"
)
_PLACE = re.compile(r"(/|~/|[A-Za-z]:\\)\w")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}")


def check_folder(root: Path, *, fix: bool = False) -> tuple[list[str], list[str]]:
    """Check all source notebooks of a project.

    Parameters
    ----------
    fix : first remove outputs, counters and traces of runs from the files.

    Returns
    -------
    problems, one line each, and the files that were changed.
    """
    paths = sorted((root / "notebooks").glob("*.ipynb"))
    fixed = [path.relative_to(root).as_posix() for path in paths if fix and _fix(path)]
    problems = [f"{path.name}: {problem}" for path in paths for problem in check_notebook(path)]
    return problems + ([] if problems else _together(root / "notebooks")), fixed


def _fix(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stripped = strip_notebook(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False  # not a notebook; the check says so
    if stripped == content:
        return False
    write_atomic(path, strip_text(stripped))
    return True


def strip_text(content: dict) -> str:
    """Return a notebook's JSON as nbformat writes it."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, separators=(",", ": ")) + "\n"


def strip_notebook(content: dict, *, outputs: bool = False) -> dict:
    """Return a notebook without what a run or an editor leaves behind.

    Parameters
    ----------
    outputs : keep outputs, their counters and the cell of injected parameters (for examples).
    """
    content = deepcopy(content)
    if not outputs:
        content["cells"] = [cell for cell in content["cells"] if not _OF_RUNS & set(tags_of(cell))]
    for cell in content["cells"]:
        metadata = cell.setdefault("metadata", {})
        for name in _TRACES:
            metadata.pop(name, None)
        if metadata.get("tags") == []:
            del metadata["tags"]
        if cell["cell_type"] == "code" and not outputs:
            cell.update(outputs=[], execution_count=None)
    for name in ("papermill", "widgets"):
        content["metadata"].pop(name, None)
    if "language_info" in content["metadata"]:
        content["metadata"]["language_info"] = {"name": "python"}
    return content


def check_notebook(path: Path) -> list[str]:
    """Return what breaks the contract in one source notebook."""
    try:
        notebook = read_notebook(path)
    except CrmlabError as error:
        return [error.found or error.problem]
    return [*_shape(notebook), *_parameters(notebook), *_leftovers(notebook), *_rhythm(notebook), *_code(notebook)]


def _shape(notebook: Notebook) -> Iterator[str]:
    metadata, cells = notebook.content.get("metadata", {}), notebook.content["cells"]
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", notebook.name):
        yield "the name must be like 03_model_comparison"
    if metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernelspec must be `python3`; papermill needs it"
    if not notebook.requires:
        yield 'metadata `crmlab.requires` is missing, like {"entity": ["lead"]}'
    if not cells or not source_of(cells[0]).startswith("# ") or not heading_of(cells[0]):
        yield "the first cell must be text that begins with a title, `# …`"
    ids = [cell["id"] for cell in cells if "id" in cell]
    if len(set(ids)) != len(ids):
        yield "two cells have the same id"


def _parameters(notebook: Notebook) -> Iterator[str]:
    for parameter in parameters_of(notebook.content):
        if not parameter.comment:
            yield f"the parameter `{parameter.name}` has no comment on its line"
        if "=" in parameter.comment or "=" in str(parameter.default):
            yield f"the parameter `{parameter.name}`: papermill cannot read a line with a second `=`"


def _leftovers(notebook: Notebook) -> Iterator[str]:
    fix = "run `crmlab notebooks check --fix`"
    if any(c.get("outputs") or c.get("execution_count") is not None for c in notebook.content["cells"]):
        yield f"it carries outputs or counters; {fix}"
    stripped = strip_notebook(notebook.content)
    if [c["metadata"] for c in stripped["cells"]] != [c.get("metadata", {}) for c in notebook.content["cells"]]:
        yield f"cells carry traces of runs; {fix}"
    if stripped["metadata"] != notebook.content["metadata"]:
        yield f"its metadata carry traces of runs; {fix}"


def _rhythm(notebook: Notebook) -> Iterator[str]:
    kinds = "".join("c" if c.get("cell_type") == "code" else "t" for c in notebook.content["cells"])
    if "c" * (_CODE_CELLS_IN_A_ROW + 1) in kinds:
        yield f"more than {_CODE_CELLS_IN_A_ROW} code cells in a row without a word"


def _code(notebook: Notebook) -> Iterator[str]:
    for number, cell in enumerate(notebook.content["cells"], start=1):
        if _EMAIL.search(source_of(cell)):
            yield f"cell {number} holds an e-mail address"
        if cell.get("cell_type") == "code":
            for problem in dict.fromkeys(_code_problems(source_of(cell))):
                yield f"cell {number} {problem}"


def _code_problems(text: str) -> Iterator[str]:
    if re.search(r"^\s*[%!]", text, flags=re.MULTILINE):
        yield "holds a magic or shell line"
        return
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError as error:
        yield f"is not Python: {error}"
        return
    for node in nodes:
        yield from _node_problems(node)


def _node_problems(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield f"defines `{name}`; definitions belong in the library"
        case ast.ImportFrom(names=[ast.alias(name="*")]):
            yield "imports everything (`import *`)"
        case ast.Try() | ast.TryStar():
            yield "holds a `try`; the library should return an empty result instead"
        case ast.Attribute(value=ast.Name(id="sys"), attr="path"):
            yield "touches `sys.path`"
        case ast.Attribute(value=ast.Name(id="warnings"), attr="filterwarnings" | "simplefilter"):
            yield "silences warnings"
        case (
            ast.Attribute(value=ast.Name(id="random"))
            | ast.Attribute(value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"))
        ):
            yield "draws random numbers; the library does, with the seed"
        case ast.Constant(value=str(text)) if _PLACE.match(text):
            yield "holds the path of a machine"
        case ast.Call(func=function):
            yield from _call_problems(function)


def _call_problems(function: ast.expr) -> Iterator[str]:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = ast.unparse(function.value).rsplit(".", 1)[-1] if isinstance(function, ast.Attribute) else ""
    if (name in _CLOCK and owner in _CLOCKS) or (owner, name) == ("time", "time"):
        yield "reads the clock; a date comes from the parameters"
    if _INPUT_OUTPUT.fullmatch(name):
        yield f"reads or writes by `{name}`; that goes through the library"


def _together(folder: Path) -> list[str]:
    """Return what is wrong between notebooks: types that differ, or an order that cannot be kept."""
    try:
        notebooks = find_notebooks(folder)
        declared_parameters(notebooks)
        dependencies(notebooks, notebooks)
    except CrmlabError as error:
        return [str(error)]
    return []
