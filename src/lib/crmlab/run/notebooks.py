"""What a source notebook declares: its title, the studies it belongs to, and its typed parameters.

Notebooks are read as plain JSON and the parameters cell by Python's own grammar: nothing is imported and nothing runs.
"""

import ast
import io
import json
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

from crmlab.schema import RunError

__all__ = [
    "Notebook",
    "Parameter",
    "find_notebooks",
    "heading_of",
    "parameters_of",
    "read_notebook",
    "source_of",
    "tags_of",
]

TYPES = re.compile(r"(?:str|int|float|bool|list\[(?:str|int|float|bool)\])")
"""Annotations that a parameter may have; papermill and YAML can carry these, and nothing else is needed."""

_CHECK = "run `crmlab notebooks check` and correct what it lists."


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: type = default  # comment`."""

    name: str
    type: str
    default: object
    comment: str


@dataclass(frozen=True)
class Notebook:
    """One source notebook as its file stood when the run was planned.

    Attributes
    ----------
    name : the file's name without its ending.
    content : the parsed JSON.
    title : the first heading, without its marks.
    requires : study key → the values for which the notebook belongs to a study.
    after : names of notebooks that must have finished first.
    parameters : declared parameters by name.
    weight : how long it runs against the others; of those that can start, heavier ones start first.
    """

    name: str
    path: Path
    content: dict
    title: str
    requires: dict[str, tuple]
    after: tuple[str, ...]
    parameters: dict[str, Parameter]
    weight: float = 1


def find_notebooks(folder: Path) -> list[Notebook]:
    """Read all notebooks of a folder whose name begins with a digit, in reading order.

    Raises
    ------
    RunError : there is none, or one cannot be read.
    """
    paths = sorted(folder.glob("[0-9]*.ipynb"))
    if not paths:
        raise RunError(
            "There are no notebooks to run.",
            found=f"no file like 01_exploration.ipynb in {folder.name}/",
            remedy="change into your clone, or set CRMLAB_HOME to it.",
        )
    return [read_notebook(path) for path in paths]


def read_notebook(path: Path) -> Notebook:
    """Read one source notebook.

    Raises
    ------
    RunError : it is not a notebook of format 4, or its parameters cell or metadata break the contract.
    """
    content = _load(path)
    try:
        parameters = {p.name: p for p in parameters_of(content)}
        requires, after, weight = _membership(content)
    except ValueError as error:
        raise RunError(f"The notebook {path.name} cannot be used.", found=str(error), remedy=_CHECK) from error
    title = next((h for c in content["cells"] if (h := heading_of(c))), path.stem)
    return Notebook(path.stem, path, content, title, requires, after, parameters, weight)


def _load(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RunError(f"The notebook {path.name} cannot be read.", found=str(error), remedy=_CHECK) from error
    if not isinstance(content, dict) or content.get("nbformat") != 4 or not isinstance(content.get("cells"), list):
        raise RunError(f"{path.name} is not a notebook of format 4.", remedy="save it again in JupyterLab.")
    return content


def source_of(cell: dict) -> str:
    """Return a cell's text; the format allows one string or a list of lines."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def tags_of(cell: dict) -> list[str]:
    """Return a cell's tags."""
    return list(cell.get("metadata", {}).get("tags", []))


def heading_of(cell: dict) -> str:
    """Return the first heading of a text cell without its marks, or an empty string."""
    if cell.get("cell_type") != "markdown":
        return ""
    match = re.search(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", source_of(cell), flags=re.MULTILINE)
    return match.group(1) if match else ""


def parameters_of(content: dict) -> list[Parameter]:
    """Return the parameters that a notebook declares, in their order.

    Raises
    ------
    ValueError : there is not exactly one cell tagged `parameters`, or a line is not a typed literal.
    """
    cells = [c for c in content["cells"] if "parameters" in tags_of(c)]
    if len(cells) != 1 or cells[0].get("cell_type") != "code":
        raise ValueError(f"{len(cells)} cells tagged `parameters`; there must be one code cell")
    text = source_of(cells[0])
    try:
        statements, comments = ast.parse(text).body, _comments(text)
    except (SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"the parameters cell is not Python: {error}") from error
    parameters = [_parameter(s, comments.get(s.end_lineno, "")) for s in statements]
    names = [p.name for p in parameters]
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"the parameter `{repeated[0]}` is declared twice")
    return parameters


def _comments(text: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.start[0]: t.string.lstrip("# ").rstrip() for t in tokens if t.type == tokenize.COMMENT}


def _parameter(statement: ast.stmt, comment: str) -> Parameter:
    if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value):
        raise ValueError(
            f"line {statement.lineno} of the parameters cell must be `name: type = literal  # comment`, "
            f"but is `{ast.unparse(statement)}`"
        )
    name, annotation = statement.target.id, ast.unparse(statement.annotation)
    if not TYPES.fullmatch(annotation):
        raise ValueError(
            f"the parameter `{name}` has the type `{annotation}`; use str, int, float, bool or a list of one"
        )
    try:
        default = ast.literal_eval(statement.value)
    except ValueError as error:
        raise ValueError(f"the default of the parameter `{name}` is computed; it must be a literal") from error
    return Parameter(name, annotation, default, comment)


def _membership(content: dict) -> tuple[dict[str, tuple], tuple[str, ...], float]:
    declared = content.get("metadata", {}).get("crmlab", {})
    requires, after, weight = declared.get("requires", {}), declared.get("after", []), declared.get("weight", 1)
    if not isinstance(requires, dict) or not all(isinstance(v, list) for v in requires.values()):
        raise ValueError('metadata `crmlab.requires` must be like {"entity": ["lead"]}')
    if not isinstance(after, list) or not all(isinstance(name, str) for name in after):
        raise ValueError('metadata `crmlab.after` must be a list of notebook names, like ["01_exploration"]')
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not weight > 0:
        raise ValueError("metadata `crmlab.weight` must be a number above 0; without it, it is 1")
    return {key: tuple(values) for key, values in requires.items()}, tuple(after), weight
