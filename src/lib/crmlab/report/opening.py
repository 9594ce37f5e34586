"""The start of a report: its question, and what a reviewer needs to repeat it."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from crmlab.schema import ParameterError

from .escape import clean, escape
from .figures import use_style
from .formats import number
from .outputs import plain_json, show
from .words import words

__all__ = ["Book", "start"]

_LIBRARIES = (
    "crmlab", "pandas", "numpy", "scikit-learn", "xgboost", "lifelines", "duckdb", "matplotlib", "seaborn",
)  # fmt: skip
_SECRET = re.compile(r"secret|token|passw|pwd|credential|api_?key|(^|_)key$", re.IGNORECASE)


@dataclass(frozen=True)
class Book:
    """What the report was started with."""

    question: str
    params: Mapping[str, object]
    data: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def start(question: str, params: Mapping[str, object], crm: object | None = None) -> Book:
    """Start the report: show its question, parameters, data and versions, and set the style of the figures.

    Parameters
    ----------
    question : what the notebook answers.
    params : the notebook's parameters; the value of one whose name looks like a secret is hidden.
    crm : the CRM in use; its title, fingerprint and row counts are shown.
    """
    if not str(question).strip():
        raise ParameterError("A report needs a question.", remedy="say what the notebook answers.")
    use_style()
    shown = {str(name): "hidden" if _SECRET.search(str(name)) else value for name, value in params.items()}
    book = Book(clean(question), plain_json(shown), plain_json(_data_of(crm)), _versions())
    payload = {"question": book.question, "params": book.params, "data": book.data, "versions": book.versions}
    show("start", payload, html=_start_html(book), text=_start_text(book))
    return book


def _data_of(crm: object | None) -> dict[str, object]:
    if crm is None:
        return {}
    counts = getattr(crm, "counts", None)
    rows = counts() if callable(counts) else counts
    facts = {name: getattr(crm, name, None) for name in ("title", "fingerprint")}
    return {**facts, "rows": dict(rows) if isinstance(rows, Mapping) else {}}


def _versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # the package runs from a folder, or an extra is not installed
            continue
    return found


def facts(book: Mapping, language: str = "en") -> list[tuple[str, str]]:
    """Return the opening as (what, value) lines: parameters, data, row counts, versions."""
    word = words(language)
    data = book.get("data") or {}
    rows = [(f"{word['rows']}: {name}", number(n)) for name, n in (data.get("rows") or {}).items() if n]
    return [
        *((str(name), _value(value)) for name, value in (book.get("params") or {}).items()),
        *((word[key], _value(data[name])) for key, name in _DATA_FACTS if data.get(name)),
        *rows,
        (word["versions"], ", ".join(f"{name} {v}" for name, v in (book.get("versions") or {}).items())),
    ]


_DATA_FACTS = (("data", "title"), ("data_fingerprint", "fingerprint"))


def _value(value: object) -> str:
    return ", ".join(map(_value, value)) if isinstance(value, (list, tuple)) else "–" if value is None else str(value)


def _start_html(book: Book) -> str:
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;padding:2px 10px">{escape(name)}</th>'
        f'<td style="text-align:left;padding:2px 10px">{escape(value)}</td></tr>'
        for name, value in facts(vars(book))
    )
    table = f'<table style="border-collapse:collapse;margin:0"><tbody>{rows}</tbody></table>'
    summary = f"<summary>{words()['setup']}</summary>"
    return f"<p><strong>{escape(book.question)}</strong></p><details open>{summary}{table}</details>"


def _start_text(book: Book) -> str:
    return "\n".join([book.question, *(f"{name}: {value}" for name, value in facts(vars(book)))])
