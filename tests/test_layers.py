"""One direction of imports: a module imports only from earlier layers, and says what is public."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lib" / "crmlab"

LAYERS = (
    ("schema",),
    ("project", "privacy", "intervals"),
    ("store",),
    ("crm",),
    ("demo",),
    ("sources",),
    ("snapshots",),
    ("features", "quality"),
    ("splits", "metrics"),
    ("association", "exposure", "leakage"),
    ("calibration",),
    ("models",),
    ("registry",),
    ("evaluation",),
    ("gate", "explain"),
    ("scores", "points", "value", "reps", "cohorts", "paths"),
    ("forecast", "monitoring"),
    ("plots",),
    ("report",),
    ("findings",),
    ("run",),
    ("publish", "live", "schedule"),
    ("cli",),
)
"""What may import what: only upwards in this list. Modules of one layer do not import each other."""

HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def topic(path: Path) -> str:
    """Return the module or package directly below crmlab that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the full names of crmlab modules that a file imports, anywhere in it."""
    package = ["crmlab", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.split(".")[0] == "crmlab")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            if name.split(".")[0] == "crmlab":
                found.update(_resolved(name, alias.name) for alias in node.names)
    return found


def _resolved(module: str, name: str) -> str:
    """Return `module.name` if that is a module itself, else `module`."""
    place = PACKAGE.joinpath(*module.split(".")[1:], name)
    return f"{module}.{name}" if place.is_dir() or place.with_suffix(".py").is_file() else module


@cache
def file_of(module: str) -> Path | None:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_imports_go_one_way(path):
    own = topic(path)
    if own == "__init__":
        return
    assert own in HEIGHT, f"say in LAYERS of {Path(__file__).name} where `{own}` stands"
    for module in imported(path):
        other = module.split(".")[1] if "." in module else "__init__"
        if other != own:
            assert other in HEIGHT, f"{relative(path)} imports {module}, which stands in no layer"
            assert HEIGHT[other] < HEIGHT[own], f"{relative(path)} must not import {module}"


def test_no_modules_import_each_other():
    waits = {path: {file_of(m) for m in imported(path)} & set(modules()) - {path} for path in modules()}
    while free := [path for path, others in waits.items() if not others & set(waits)]:
        for path in free:
            del waits[path]
    assert not waits, f"these import each other: {sorted(map(relative, waits))}"


@pytest.mark.parametrize("path", [p for p in modules() if relative(p) != "__init__.py"], ids=relative)
def test_public_names_are_declared_and_exist(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public = [
        node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign)) and _targets(node) == ["__all__"]
    ]
    assert public, f"{relative(path)} has no __all__"
    declared = ast.literal_eval(public[0].value)
    assert len(set(declared)) == len(declared)
    defined = {name for node in tree.body for name in _names(node)}
    assert set(declared) <= defined, f"{relative(path)}: {sorted(set(declared) - defined)} are not there"


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat = [part for t in targets for part in (t.elts if isinstance(t, ast.Tuple) else [t])]
    return [t.id for t in flat if isinstance(t, ast.Name)]


def _names(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign() | ast.AnnAssign():
            return _targets(node)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [alias.asname or alias.name for alias in names]
        case _:
            return []


def test_the_checks_see_a_breach(tmp_path, monkeypatch):
    """A look at the checks red: an import the wrong way, and relative imports counted from the right folder."""
    package = tmp_path / "crmlab"
    (package / "schema").mkdir(parents=True)
    (package / "schema" / "__init__.py").write_text("from ..run import plan\nfrom . import columns\n")
    (package / "schema" / "columns.py").write_text("")
    (package / "run").mkdir()
    (package / "run" / "plan.py").write_text("")
    (package / "run" / "__init__.py").write_text("")
    monkeypatch.setitem(globals(), "PACKAGE", package)
    assert imported(package / "schema" / "__init__.py") == {"crmlab.run.plan", "crmlab.schema.columns"}
    with pytest.raises(AssertionError, match=r"must not import crmlab\.run"):
        test_imports_go_one_way(package / "schema" / "__init__.py")
