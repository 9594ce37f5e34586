"""A study's parameters: read strictly, checked against what its notebooks declare, before anything runs.

papermill only warns about unknown parameters, enforces no type, and YAML's older rules turn the country NO into false;
so everything is settled here. Dates stay text, because an executed notebook stores its parameters as JSON.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from crmlab.schema import ParameterError, did_you_mean

from .notebooks import Parameter

__all__ = ["RUNNER_KEYS", "Study", "find_study", "load_study", "resolve", "sha256_of", "study_files"]

RUNNER_KEYS = {"title": "str", "entity": "str"}
"""Keys of a params file that steer the runner and are not passed to notebooks."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RESERVED = ("examples",)
_SECRET = re.compile(r"(^|_)(password|passwd|passphrase|pwd|token|secrets?|credentials?|api_?key)(_|$)|(^|_)key$")
_NAMES_A_VARIABLE = re.compile(r"_(env|variable)$")
_DATE = re.compile(r"(^as_of$)|_(date|at)$")
_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


@dataclass(frozen=True)
class Study:
    """A params file as it was read.

    Attributes
    ----------
    name : the file's name without its ending; also the report folder's name.
    label : the file as messages call it.
    values : key → value, overrides applied.
    lines : key → line in the file, for messages.
    """

    name: str
    label: str
    values: dict[str, object]
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What reports call the study."""
        return str(self.values.get("title") or self.name)

    def with_values(self, values: Mapping[str, object]) -> "Study":
        """Return the study with other values."""
        return Study(self.name, self.label, dict(values), self.lines)


def study_files(folder: Path) -> dict[str, Path]:
    """Return the params file of each study of a project, by name."""
    return {p.stem: p for p in sorted(folder.glob("*.y*ml")) if p.suffix in (".yaml", ".yml")}


def find_study(study: str, *, folder: Path) -> Path:
    """Return the params file of a study, given by name or path.

    Raises
    ------
    ParameterError : there is no such file, or its name cannot name a report folder; the message suggests one.
    """
    known = study_files(folder)
    path = known.get(study) or Path(study)
    if study not in known and not path.is_file():
        raise ParameterError(f"There is no study `{study}`.", remedy=did_you_mean(study, list(known)))
    if not _NAME.fullmatch(path.stem) or path.stem in _RESERVED:
        raise ParameterError(
            f"A study cannot be called `{path.stem}`: reports are kept in a folder of its name.",
            remedy="name the file with letters, digits, `_` and `-`, and not `examples`.",
        )
    return path


def load_study(path: Path, *, label: str = "") -> Study:
    """Read a params file: one flat mapping, YAML 1.2, no key twice, dates as text.

    Raises
    ------
    ParameterError : the file is not that; the message names the line.
    """
    label = label or path.name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(
            f"{label} cannot be read.", found=str(error), remedy="save it as text in UTF-8."
        ) from error
    values, lines = _parse(text, label)
    bad = [key for key in values if not isinstance(key, str)]
    if bad:
        raise ParameterError(f"{label}: the key {bad[0]!r} must be a word, like `seed`.")
    return Study(path.stem, label, values, lines)


def _parse(text: str, label: str) -> tuple[dict, dict[str, int]]:
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError

    try:
        node = _loader().compose(text)
        values = _loader().load(text)
    except DuplicateKeyError as error:
        key = re.search(r'duplicate key "?([^"\s]+)"?', str(error.problem))
        name = f"the key `{key.group(1)}`" if key else "a key"
        raise ParameterError(f"{label} has {name} twice.", found=_place(error), remedy="remove one of them.") from None
    except (YAMLError, ValueError) as error:
        raise ParameterError(
            f"{label} is not YAML.",
            found=f"{_place(error)}: {getattr(error, 'problem', None) or error}",
            remedy="write one `name: value` per line; put text with special characters in quotes.",
        ) from None
    if not isinstance(values, dict):
        found = "an empty file" if values is None else f"a {type(values).__name__}"
        raise ParameterError(
            f"{label} must be a mapping of names to values.", found=found, remedy="write `name: value` lines."
        )
    return values, {key.value: key.start_mark.line + 1 for key, _ in node.value}


def _loader():
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor

    class TextDates(SafeConstructor):
        """Builds plain values and leaves what looks like a date as the text it is."""

    TextDates.add_constructor("tag:yaml.org,2002:timestamp", lambda self, node: self.construct_scalar(node))
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = TextDates
    return yaml


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the text"


def resolve(study: Study, declared: Mapping[str, Sequence[Parameter]]) -> dict[str, object]:
    """Return the value of every parameter that the study's notebooks declare, checked and typed.

    Parameters
    ----------
    declared : parameter name → its declaration in each notebook that has it.

    Raises
    ------
    ParameterError : a value is missing, unknown, mistyped or a secret; all problems at once.
    """
    known = [*RUNNER_KEYS, *declared]
    problems = [_unknown(study, key, known) for key in study.values if key not in known]
    problems += [_missing(study, p[0]) for name, p in declared.items() if name not in study.values]
    values: dict[str, object] = {}
    for name, value in study.values.items():
        types = {name: RUNNER_KEYS[name]} if name in RUNNER_KEYS else {}
        parameter = declared[name][0] if name in declared else Parameter(name, types.get(name, ""), "", "")
        try:
            values[name] = typed(parameter, value, where=_where(study, name)) if parameter.type else value
        except ParameterError as problem:
            problems.append(problem)
    _raise_all(study, problems)
    return {name: values[name] for name in declared}


def _raise_all(study: Study, problems: list[ParameterError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ParameterError(f"{study.label} has {len(problems)} problems:\n" + "\n".join(f"- {p}" for p in problems))


def _where(study: Study, name: str) -> str:
    return f"{study.label}, line {study.lines[name]}" if name in study.lines else study.label


def _unknown(study: Study, key: str, known: list[str]) -> ParameterError:
    return ParameterError(
        f"{_where(study, key)}: no notebook of this study has a parameter `{key}`.", remedy=did_you_mean(key, known)
    )


def _missing(study: Study, parameter: Parameter) -> ParameterError:
    line = f"{parameter.name}: {json.dumps(parameter.default, ensure_ascii=False)}"
    comment = f"  # {parameter.comment}" if parameter.comment else ""
    return ParameterError(
        f"{study.label} lacks the parameter `{parameter.name}`.", remedy=f"add the line\n    {line}{comment}"
    )


def typed(parameter: Parameter, value: object, *, where: str) -> object:
    """Return the value as the parameter's type; a whole number is accepted where any number is.

    Raises
    ------
    ParameterError : it has another type, is not finite, is not a date where one is meant, or looks like a secret.
    """
    name, kind = parameter.name, parameter.type
    if _SECRET.search(name.lower()) and not _NAMES_A_VARIABLE.search(name.lower()):
        raise ParameterError(
            f"{where}: the parameter `{name}` looks like a secret; parameters are written into the executed notebook.",
            remedy=f"pass the name of an environment variable that holds it, as `{name}_env`.",
        )
    inner = re.fullmatch(r"list\[(\w+)\]", kind)
    if inner:
        fits = isinstance(value, list) and all(_fits(inner[1], v) for v in value)
    else:
        fits = _fits(kind, value)
    if not fits:
        expected = f"a list, each {_WORDS[inner[1]]}" if inner else _WORDS[kind]
        raise ParameterError(
            f"{where}: `{name}` must be {expected}.",
            found=_found(value),
            remedy=f"write it like `{name}: {json.dumps(parameter.default, ensure_ascii=False)}`.",
        )
    if kind == "str" and _DATE.search(name):
        _check_date(name, str(value), where)
    return float(value) if kind == "float" else value


def _fits(kind: str, value: object) -> bool:
    if kind == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is {"str": str, "int": int, "bool": bool}[kind]


def _found(value: object) -> str:
    kinds = {str: "the text ", bool: "", type(None): "an empty value: "}
    shown = {True: "true", False: "false", None: "null"}.get(value) if isinstance(value, (bool, type(None))) else None
    return kinds.get(type(value), "") + (shown or json.dumps(value, ensure_ascii=False, default=str))


def _check_date(name: str, text: str, where: str) -> None:
    """Accept an ISO date or time, and an empty text, which stands for a source without dates."""
    try:
        if text and not re.match(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError("not year-month-day")
        if text:
            datetime.fromisoformat(text)
    except ValueError as error:
        raise ParameterError(
            f"{where}: `{name}` must be an ISO date.",
            found=f'"{text}" ({error})',
            remedy=f'write year-month-day in quotes, like `{name}: "2025-01-06"`.',
        ) from None


def override(study: Study, assignments: Sequence[str], declared: Mapping[str, Sequence[Parameter]]) -> Study:
    """Return the study with values given on the command line as `name=value`, read as the declared type.

    Raises
    ------
    ParameterError : an assignment has no `=`, an unknown name, or comes twice.
    """
    given: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        known = [*RUNNER_KEYS, *declared]
        if not equals or name in given:
            raise ParameterError(
                f"`-p {assignment}` must be name=value, each name once.", remedy="write it like `-p seed=7`."
            )
        if name not in known:
            raise ParameterError(f"-p: this study has no parameter `{name}`.", remedy=did_you_mean(name, known))
        kind = RUNNER_KEYS.get(name) or declared[name][0].type
        given[name] = text if kind == "str" else _parse_value(name, text)
    lines = {name: line for name, line in study.lines.items() if name not in given}
    return Study(study.name, study.label, study.values | given, lines)


def _parse_value(name: str, text: str) -> object:
    return _parse(f"{name}: {text}", f"-p {name}")[0][name]


def sha256_of(value: object) -> str:
    """Return the SHA-256 of a JSON-able value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
