"""Read an event log in XES (IEEE 1849): one row per event, with the attributes of its case."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from crmlab.schema import SourceError

from .rawfiles import CHUNK, open_unpacked

__all__ = ["START", "read_xes"]

START = "start_timestamp"
"""Column with the time at which the work that an event completes was started."""

_CASE = "case:"
_NAME, _STEP, _TIME = "concept:name", "lifecycle:transition", "time:timestamp"
_NESTED = ("list", "container")


def read_xes(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the events of a log as texts, in the order of the file, and their numbers, counted from 1.

    Columns are the events' attributes, then those of their case with `case:` before their name, then
    `start_timestamp`: of an event whose `lifecycle:transition` is complete, the time of the newest start of the same
    activity in the same case that no other completion has ended. A case without events keeps one row without an event.
    Attributes inside attributes, and those of the log as a whole, are not read.

    Raises
    ------
    SourceError : the file is no XES, is damaged, or holds no case.
    """
    columns: dict[str, list[str]] = {}
    n = 0
    for case in _cases(path):
        for event in case:
            for name, value in event.items():
                if name not in columns:
                    columns[name] = []
                column = columns[name]
                column.extend([""] * (n - len(column)))
                column.append(value)
            n += 1
    if not n:
        raise SourceError(f"`{path.name}` holds no case.", remedy="export the log again.")
    for column in columns.values():
        column.extend([""] * (n - len(column)))
    return _frame(columns), np.arange(1, n + 1)


def _frame(columns: dict[str, list[str]]) -> pd.DataFrame:
    names = sorted(columns, key=lambda name: (name == START, name.startswith(_CASE)))
    text = pd.StringDtype("pyarrow", na_value=np.nan)
    return pd.DataFrame({name: pd.Series(columns[name], dtype=text) for name in names})


def _cases(path: Path) -> Iterator[list[dict[str, str]]]:
    """Yield the events of each case; memory holds one case at a time."""
    with open_unpacked(path) as stream:
        _check_start(path, stream.read(CHUNK))
        stream.seek(0)
        root = None
        try:
            for step, element in ET.iterparse(stream, events=("start", "end")):
                root = element if root is None else root
                if step == "end" and _tag(element) == "trace":
                    yield _events(element)
                    root.clear()
        except ET.ParseError as error:
            line, column = error.position
            raise SourceError(
                f"`{path.name}` is not valid XML.", found=f"line {line:,}, column {column}", remedy="export it again."
            ) from None


def _check_start(path: Path, start: bytes) -> None:
    """Refuse a file that is no log, and one with declarations of its own, which an event log never needs."""
    if b"<log" not in start:
        raise SourceError(f"`{path.name}` is no event log.", found="no `<log>` at its start", remedy="export as XES.")
    if b"<!DOCTYPE" in start or b"<!ENTITY" in start:
        raise SourceError(
            f"`{path.name}` declares document types of its own, which are not read.", remedy="export it as plain XES."
        )


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _attributes(element: ET.Element, before: str = "") -> dict[str, str]:
    inner = (child for child in element if _tag(child) not in ("event", *_NESTED))
    return {before + child.get("key", ""): child.get("value", "") for child in inner}


def _events(trace: ET.Element) -> list[dict[str, str]]:
    case = _attributes(trace, _CASE)
    events = [_attributes(child) for child in trace if _tag(child) == "event"] or [{}]
    running: dict[str, list[str]] = {}
    for event in events:
        step = event.get(_STEP, "").lower()
        started = running.setdefault(event.get(_NAME, ""), [])
        if step == "start":
            started.append(event.get(_TIME, ""))
        elif step == "complete":
            event[START] = started.pop() if started else ""
        event.update(case)
    return events
