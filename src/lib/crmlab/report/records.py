"""Named numbers that a notebook records, and their way into metrics.json."""

import sys
from collections.abc import Mapping

from crmlab.schema import ParameterError

from .escape import clean
from .formats import MISSING, estimate, format_values, number
from .outputs import payload_of, plain_json, show

__all__ = ["metric_text", "metrics_of", "record"]

_FIELDS = ("name", "label", "value", "low", "high", "n", "unit", "headline")
_NUMBER_UNITS = ("percent", "points", "money", "signed", "count", "number")


def record(
    name: str, value: object, *, low: float | None = None, high: float | None = None, n: int | None = None,
    unit: str = "", headline: bool = False, label: str = "",
) -> None:  # fmt: skip
    """Record one number of the run under a stable name; it lands in metrics.json and in the index of all runs.

    Parameters
    ----------
    name : stable key in snake_case, unique in its notebook; recorded twice, the later one counts.
    value : a finite number, a flag or a short text; NaN and infinities become null.
    low, high : ends of its interval, in the unit of the value.
    n : number of cases behind it.
    unit : a number format (`percent` for shares from 0 to 1, `money` for euro, `number:4`) or words such as `days`.
    headline : shown among the key numbers of the index.
    label : how people call it; the name by default.
    """
    if not str(name).strip():
        raise ParameterError("A recorded number needs a name.", remedy='for example report.record("log_loss", value).')
    values = (name, label or str(name).replace("_", " "), value, low, high, n, unit, bool(headline))
    payload = plain_json(dict(zip(_FIELDS, values, strict=True)))
    show("metric", payload, text=f"Recorded: {payload['label']} = {metric_text(payload)}")


def metrics_of(nb: Mapping, *, notebook: str = "") -> list[dict]:
    """Return what an executed notebook recorded, tidy: one row per number (kind `metric`) or sentence (`headline`).

    Parameters
    ----------
    nb : the executed notebook.
    notebook : its name; by default what papermill or the runner noted in its metadata.

    Returns
    -------
    list of dict with kind, notebook, name, label, value, low, high, n, unit, headline. For a headline sentence the
    label is the sentence and the unit its tone.
    """
    found: dict[tuple[str, str], dict] = {}
    notebook = notebook or name_of(nb)
    for output in _outputs(nb):
        sentences = sum(kind == "headline" for kind, _ in found)
        for row in (_metric_row(output), _headline_row(output, sentences)):
            if row:
                found[row["kind"], row["name"]] = {"kind": row["kind"], "notebook": notebook} | row
    return list(found.values())


def name_of(nb: Mapping) -> str:
    """Return the notebook's own name as far as its metadata tells, without folder and ending."""
    metadata = nb.get("metadata", {})
    own, papermill = metadata.get("crmlab", {}), metadata.get("papermill", {})
    path = (own.get("name") if isinstance(own, Mapping) else None) or papermill.get("input_path") or ""
    return str(path).replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".ipynb")


def metric_text(metric: Mapping, *, with_interval: bool = True) -> str:
    """Return a recorded number as people read it: `12.3 % (11.0–13.8)`."""
    value, unit = metric.get("value"), str(metric.get("unit") or "")
    if not _is_number(value):
        return MISSING if value is None else format_values([value], "flag" if isinstance(value, bool) else "text")[0]
    ends = [metric.get(end) if _is_number(metric.get(end)) else None for end in ("low", "high")]
    kind = unit if unit.split(":")[0] in _NUMBER_UNITS else "number"
    words = "" if kind == unit or not unit else f"\u00a0{clean(unit)}"
    try:
        text = estimate(value, *(ends if with_interval else ()), kind=kind)
    except ParameterError:  # a unit that only looks like a format
        text = number(value)
    return text + words


def _is_number(x: object) -> bool:
    """Tell whether `x` can be written as a number; JSON has integers of any size."""
    return isinstance(x, (int, float)) and not isinstance(x, bool) and not abs(x) > sys.float_info.max


def _outputs(nb: Mapping) -> list[Mapping]:
    return [output for cell in nb.get("cells", []) for output in cell.get("outputs", [])]


def _metric_row(output: Mapping) -> dict | None:
    payload = payload_of(output, "metric")
    if payload is None or not payload.get("name"):
        return None
    return {"kind": "metric"} | {field: plain_json(payload.get(field)) for field in _FIELDS}


def _headline_row(output: Mapping, number: int) -> dict | None:
    payload = payload_of(output, "headline")
    if payload is None:
        return None
    row = dict.fromkeys(_FIELDS) | {"label": clean(payload.get("sentence", "")), "unit": clean(payload.get("tone", ""))}
    return {"kind": "headline"} | row | {"name": f"headline_{number + 1}", "headline": True}
