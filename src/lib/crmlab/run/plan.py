"""Which notebooks a study needs, in which order, and what identifies the result of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crmlab.schema import ParameterError, RunError, did_you_mean

from .keys import notebook_key
from .notebooks import Notebook, Parameter
from .params import Study

__all__ = ["Task", "build_tasks", "declared_parameters", "dependencies", "select_notebooks"]


@dataclass(frozen=True)
class Task:
    """One notebook of a run, with what it is given and what its result depends on.

    Attributes
    ----------
    parameters : values of the parameters that this notebook declares.
    after : names of the study's notebooks that must have finished first.
    key : content key; two runs with the same key would produce the same result.
    """

    notebook: Notebook
    parameters: dict[str, object]
    after: tuple[str, ...]
    key: str

    @property
    def name(self) -> str:
        """The notebook's name."""
        return self.notebook.name


def select_notebooks(study: Study, notebooks: Sequence[Notebook]) -> list[Notebook]:
    """Return the notebooks that belong to the study, in reading order.

    Raises
    ------
    ParameterError : a value that decides on membership is missing or in no notebook's list, or nothing belongs.
    """
    _check_membership_values(study, notebooks)
    chosen = [nb for nb in notebooks if all(study.values.get(k) in allowed for k, allowed in nb.requires.items())]
    if not chosen:
        stated = ", ".join(f"{k}: {study.values[k]}" for k in _allowed_values(notebooks) if k in study.values)
        raise ParameterError(
            f"No notebook belongs to the study `{study.name}`.",
            found=stated or "no entity",
            remedy="compare with `requires` in the metadata of the notebooks.",
        )
    return chosen


def _allowed_values(notebooks: Sequence[Notebook]) -> dict[str, list[str]]:
    allowed: dict[str, list[str]] = {}
    for notebook in notebooks:
        for key, values in notebook.requires.items():
            allowed[key] = [*allowed.get(key, []), *(str(v) for v in values)]
    return {key: list(dict.fromkeys(values)) for key, values in allowed.items()}


def _check_membership_values(study: Study, notebooks: Sequence[Notebook]) -> None:
    for key, allowed in _allowed_values(notebooks).items():
        if key in study.values and str(study.values[key]) not in allowed:
            raise ParameterError(
                f"{study.label}: no notebook knows the {key} `{study.values[key]}`.",
                remedy=did_you_mean(str(study.values[key]), allowed),
            )
        if key not in study.values and any(_would_belong(study, nb, key) for nb in notebooks):
            raise ParameterError(
                f"{study.label} lacks `{key}`, which decides on the notebooks of the study.",
                remedy=f"add the line `{key}: {allowed[0]}`; known are: {', '.join(allowed)}.",
            )


def _would_belong(study: Study, notebook: Notebook, missing: str) -> bool:
    stated = {k: v for k, v in notebook.requires.items() if k in study.values}
    return missing in notebook.requires and all(study.values[k] in allowed for k, allowed in stated.items())


def declared_parameters(notebooks: Sequence[Notebook]) -> dict[str, list[Parameter]]:
    """Return each parameter's declarations over the notebooks.

    Raises
    ------
    RunError : two notebooks declare one name with different types.
    """
    declared: dict[str, list[Parameter]] = {}
    for notebook in notebooks:
        for name, parameter in notebook.parameters.items():
            declared.setdefault(name, []).append(parameter)
            if declared[name][0].type != parameter.type:
                raise RunError(
                    f"The parameter `{name}` has two types.",
                    found=f"{declared[name][0].type} in an earlier notebook, {parameter.type} in {notebook.name}",
                    remedy="give it one type in all notebooks.",
                )
    return declared


def dependencies(chosen: Sequence[Notebook], notebooks: Sequence[Notebook]) -> dict[str, tuple[str, ...]]:
    """Return, in an order in which they can run, the notebooks that each chosen one has to wait for.

    A named notebook that exists but does not belong to the study is not waited for.

    Raises
    ------
    RunError : `after` names a notebook that does not exist, or notebooks wait for each other.
    """
    names, known = [nb.name for nb in chosen], [nb.name for nb in notebooks]
    for notebook in chosen:
        for name in notebook.after:
            if name not in known:
                raise RunError(
                    f"{notebook.name} is to run after `{name}`, which is not there.", remedy=did_you_mean(name, known)
                )
    waits = {nb.name: tuple(name for name in nb.after if name in names) for nb in chosen}
    ordered: dict[str, tuple[str, ...]] = {}
    while len(ordered) < len(waits):
        ready = next((n for n in waits if n not in ordered and all(w in ordered for w in waits[n])), None)
        if ready is None:
            raise RunError(
                "Notebooks wait for each other.",
                found=", ".join(f"{n} after {' and '.join(waits[n])}" for n in waits if n not in ordered),
                remedy="remove one of these from `after` in the notebooks' metadata.",
            )
        ordered[ready] = waits[ready]
    return ordered


def build_tasks(
    study: Study,
    notebooks: Mapping[str, Notebook],
    waits: Mapping[str, tuple[str, ...]],
    values: Mapping[str, object],
    *,
    surroundings: Mapping[str, object],
) -> list[Task]:
    """Return the tasks of a run in an order in which they can run.

    Parameters
    ----------
    waits : result of `dependencies`.
    values : value of every declared parameter.
    surroundings : all else that results depend on: code, data, versions.
    """
    tasks: dict[str, Task] = {}
    for name, after in waits.items():
        notebook = notebooks[name]
        parameters = {p: values[p] for p in notebook.parameters}
        key = notebook_key(
            notebook.content,
            study={"name": study.name, "title": study.title, "parameters": parameters},
            surroundings=surroundings,
            upstream=[tasks[n].key for n in after],
        )
        tasks[name] = Task(notebook, parameters, after, key)
    return list(tasks.values())
