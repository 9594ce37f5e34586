"""Read a source: its mapping, its files, its canonical tables; say everything that is wrong; describe it."""

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from crmlab.project import root
from crmlab.schema import SourceError, did_you_mean

from .build import BuiltTable, build_tables
from .cross_checks import check_cross
from .documents import MappingError
from .fetch import find_files
from .mapping import read_mapping
from .problems import Problems
from .specs import Source
from .table_checks import check_future, check_tables
from .tabular import TextTable, read_texts
from .text_checks import check_texts

__all__ = ["SourceDescription", "check_source", "describe_source", "read_and_build", "read_source", "source_names"]


def source_names() -> list[str]:
    """Return the names of the mappings in `params/sources`."""
    return sorted(p.stem for p in (root() / "params" / "sources").glob("*.yaml"))


def read_source(name: str) -> Source:
    """Return the mapping of a source, by its name in `params/sources` or by the path of a YAML file.

    Raises
    ------
    SourceError : there is no such mapping, or it breaks a rule (`MappingError`).
    """
    path = _mapping_path(name)
    inside = path.parent == root() / "params" / "sources"
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    return read_mapping(path, name=path.stem if inside else f"{path.stem}-{digest}")


def check_source(name: str, *, today: str | datetime) -> pd.DataFrame:
    """Return everything that is wrong with a source at once, one row per problem, errors first.

    Parameters
    ----------
    today : ISO date or time; a fact dated later is an error.

    Returns
    -------
    Frame with columns severity, table, column, problem, rows, share, example, what_to_do. Examples hold row numbers and
    masked shapes, never personal data.

    Raises
    ------
    SourceError : there is no source of that name.
    """
    problems = Problems()
    try:
        source = read_source(name)
    except MappingError as error:
        for fault in error.faults:
            problems.add("error", "", "", fault, what_to_do="Correct the mapping; docs/own_data.md explains every key.")
        return problems.frame()
    if source.kind == "files":
        read_and_build(source, problems, today=today)
        _tell_unused(source, problems)
    return problems.frame()


def _tell_unused(source: Source, problems: Problems) -> None:
    """Name the own columns that no feature will use because the mapping is silent on when they are known."""
    dated = {spec.table for spec in source.tables if any(c.name == "created_at" for c in spec.columns)}
    for own in source.own_columns:
        if own.table in dated and not own.known_told:
            problems.add(
                "note",
                own.table,
                own.name,
                "No feature uses this column: the mapping does not say when it is known.",
                what_to_do="If it was filled with the record and never edited since, write `known: creation`; "
                "else `today` or `unknown`.",
            )


@dataclass(frozen=True)
class SourceDescription:
    """What a report says about a source.

    Attributes
    ----------
    notes : sentences on what the data are and what they cannot tell.
    left_out : columns file, column, reason.
    own_columns : columns table, column, type, known, meaning.
    columns : columns table, column, from, note: where each canonical column comes from.
    """

    name: str
    title: str
    origin: str
    licence: str
    currency: str
    notes: tuple[str, ...]
    left_out: pd.DataFrame
    own_columns: pd.DataFrame
    columns: pd.DataFrame


def describe_source(name: str) -> SourceDescription:
    """Return title, origin, licence, notes and the columns mapped, left out and added by a source."""
    source = read_source(name)
    left = [(f.name, column, reason) for f in source.files.values() for column, reason in f.left_out.items()]
    own = [(c.table, c.name, c.type, c.known, c.meaning) for c in source.own_columns]
    mapped = [(t.table, c.name, c.origin, c.note) for t in source.tables for c in t.columns]
    return SourceDescription(
        source.name,
        source.title,
        source.origin,
        source.licence,
        source.currency,
        source.notes,
        pd.DataFrame(left, columns=["file", "column", "reason"], dtype="str"),
        pd.DataFrame(own, columns=["table", "column", "type", "known", "meaning"], dtype="str"),
        pd.DataFrame(mapped, columns=["table", "column", "from", "note"], dtype="str"),
    )


def read_and_build(source: Source, problems: Problems, *, today: str | datetime) -> dict[str, BuiltTable]:
    """Read the files of a source and return its canonical tables; what is wrong with them is added to `problems`."""
    texts = _read_all(source, problems)
    check_texts(source, texts, problems)
    tables = build_tables(source, texts, problems)
    check_tables(tables, problems)
    check_cross(tables, problems)
    if source.extracted_at:
        check_future(tables, today=source.extracted_at, problems=problems, what="the day of the export")
    elif today:
        check_future(tables, today=today, problems=problems)
    return tables


def _read_all(source: Source, problems: Problems) -> dict[str, TextTable]:
    """Return the texts of every file that can be read; the others become errors."""
    texts = {}
    for spec in source.files.values():
        try:
            texts[spec.name] = read_texts(find_files(spec, mapping=source.path), spec)
        except SourceError as error:
            found = f" Found: {error.found}." if error.found else ""
            problems.add("error", f"file {spec.name}", "", error.problem + found, what_to_do=error.remedy)
    return texts


def _mapping_path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name or os.sep in name:
        path = Path(name)
        if not path.is_file():
            raise SourceError(
                f"There is no mapping file `{name}`.", remedy="give the path of a YAML file, or a source's name."
            )
        return path.resolve()
    path = root() / "params" / "sources" / f"{name}.yaml"
    if not path.is_file():
        raise SourceError(f"There is no source `{name}`.", remedy=did_you_mean(name, source_names()))
    return path
