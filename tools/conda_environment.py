"""Write environment.yml from pyproject.toml, or check that they agree.

pyproject.toml is the truth. Conda names some packages differently and has others under another split; those few are in
the tables below, everything else keeps its name.
"""

import argparse
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

__all__ = ["conda_requirement", "environment_text", "main"]

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {
    "dask[dataframe]": "dask",
    "duckdb": "python-duckdb",
    "matplotlib": "matplotlib-base",  # without the Qt window toolkit, which a notebook never opens
    "pandera[pandas]": "pandera-pandas",
    "xgboost": "py-xgboost",
}
# What conda-forge does not have goes through pip, inside the environment.
ONLY_ON_PYPI: frozenset[str] = frozenset()
EXTRAS = ("dev",)

HEADER = """\
# Written from pyproject.toml by `make environment`; do not edit.
# conda env create -f environment.yml && conda activate crmlab
"""


def main(arguments: list[str] | None = None) -> int:
    """Write or check environment.yml and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the file is not up to date")
    check = parser.parse_args(arguments).check
    path = ROOT / "environment.yml"
    wanted = environment_text((ROOT / "pyproject.toml").read_text("utf-8"))
    if path.exists() and path.read_text("utf-8") == wanted:
        return 0
    if check:
        print("environment.yml does not say what pyproject.toml says: run `make environment`.", file=sys.stderr)
        return 1
    path.write_text(wanted, "utf-8")
    return 0


def environment_text(pyproject: str) -> str:
    """Return the text of environment.yml for the text of a pyproject.toml."""
    project = tomllib.loads(pyproject)["project"]
    extras = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    requirements = [Requirement(line) for line in (*project["dependencies"], *extras)]
    conda = sorted(conda_requirement(each) for each in requirements if each.name not in ONLY_ON_PYPI)
    pip = sorted(str(each) for each in requirements if each.name in ONLY_ON_PYPI)
    lines = [f"name: {project['name']}", "channels:", "  - conda-forge", "  - nodefaults", "dependencies:"]
    lines += [f"  - python {_bounds(Requirement('python' + project['requires-python']))}"]
    lines += [f"  - {each}" for each in (*conda, "pip")]
    lines += ["  - pip:", *(f"      - {each}" for each in pip), "      - --editable ."]
    return HEADER + "\n".join(lines) + "\n"


def conda_requirement(requirement: Requirement) -> str:
    """Return a requirement under conda-forge's name, with the same bounds.

    Raises
    ------
    ValueError : it has an extra without a conda name, or a marker: conda knows neither.
    """
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    name = CONDA_NAMES.get(requirement.name + extras)
    if requirement.marker or (extras and not name):
        raise ValueError(f"`{requirement}` needs its conda name in CONDA_NAMES, or a place in ONLY_ON_PYPI.")
    return f"{name or requirement.name} {_bounds(requirement)}".rstrip()


def _bounds(requirement: Requirement) -> str:
    # Lower bound first, as people read it; packaging keeps them in no order.
    return ",".join(sorted((str(each) for each in requirement.specifier), key=lambda text: (text[0] == "<", text)))


if __name__ == "__main__":
    sys.exit(main())
