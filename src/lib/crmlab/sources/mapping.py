"""The mapping of a CRM to the canonical tables: a YAML file, read and checked as a whole."""

import re
from dataclasses import replace
from pathlib import Path

from crmlab.schema import TABLES, did_you_mean

from .column_mapping import check_time_zone, read_column, read_only, read_own_column
from .documents import MappingError, Section, parse_yaml
from .specs import ColumnSpec, DemoSpec, FileSpec, OwnColumn, Source, TableSpec

__all__ = ["DUPLICATES", "read_mapping"]

DUPLICATES = ("error", "drop_identical", "keep_first", "keep_last", "combine")
_TOP = ("title", "kind", "origin", "licence", "currency", "time_zone", "complete_until", "extracted_at", "notes")
_FILE = ("path", "url", "sha256", "encoding", "delimiter", "sheet", "header_row", "missing", "left_out")
_TABLE = ("file", "columns", "only", "skip_missing", "duplicates", "states")
_ISO_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_mapping(path: Path, *, name: str) -> Source:
    """Return the source that a mapping file describes.

    Raises
    ------
    MappingError : the file cannot be read, or breaks a rule; the message lists every fault with a suggestion.
    """
    faults: list[str] = []
    top = Section(parse_yaml(path), "", faults)
    kind = top.choice("kind", ("files", "demo"), "files")
    source = _read_demo(top, path, name) if kind == "demo" else _read_files(top, path, name)
    if faults:
        raise MappingError(path.name, list(dict.fromkeys(faults)))
    return source


def _read_demo(top: Section, path: Path, name: str) -> Source:
    top.allow(*_TOP, "n_leads", "seed", "start", "end", "own_columns")
    start, end = _date(top, "start", "2022-01-03"), _date(top, "end", "2025-01-06")
    if start >= end:
        top.fault(f"must be later than start ({start}).", "end")
    demo = DemoSpec(top.whole("n_leads", 10_000, least=1), top.whole("seed", 7), start, end)
    return Source(name, path, kind="demo", demo=demo, own_columns=_declared_own(top), **_about(top))


def _declared_own(top: Section) -> tuple[OwnColumn, ...]:
    """Return the own columns of a source without files: `own_columns: {leads: {x_…: {type, known, meaning}}}`."""
    found = []
    for table in (tables := top.section("own_columns")).values:
        if table not in TABLES:
            tables.fault(f"there is no table `{table}`; {did_you_mean(table, list(TABLES))}", table)
            continue
        for name in (columns := tables.section(table)).values:
            section = columns.section(name)
            section.allow("type", "known", "meaning")
            found.append(read_own_column(section, name, table))
    return tuple(found)


def _about(top: Section) -> dict:
    return {
        "title": top.text("title", required=True),
        "origin": top.text("origin"),
        "licence": top.text("licence"),
        "currency": top.text("currency", "EUR"),
        "time_zone": check_time_zone(top, "time_zone", "UTC"),
        "complete_until": _date(top, "complete_until", ""),
        "extracted_at": _date(top, "extracted_at", ""),
        "notes": top.texts("notes"),
    }


def _date(section: Section, key: str, default: str) -> str:
    text = section.text(key, default)
    if text and not _ISO_DATE.fullmatch(text):
        section.fault(f"must be an ISO date such as 2024-06-30, not `{text}`.", key)
        return default
    return text


def _read_files(top: Section, path: Path, name: str) -> Source:
    top.allow(*_TOP, "files", "tables")
    about = _about(top)
    for key in ("files", "tables"):
        if not top.values.get(key):
            top.fault(f"lacks the key `{key}`.")
    files = {f: _read_file(section, f) for f, section in _sections(top.section("files"))}
    tables, own = _read_tables(top.section("tables"), files, about)
    _check_left_out(top, files, tables)
    return Source(name, path, files=files, tables=tables, own_columns=own, **about)


def _sections(parent: Section) -> list[tuple[str, Section]]:
    return [(key, parent.section(key)) for key in parent.values]


def _read_file(section: Section, name: str) -> FileSpec:
    section.allow(*_FILE)
    spec = FileSpec(
        name=name,
        path=section.text("path", required=True),
        url=section.text("url"),
        sha256=section.texts("sha256"),
        encoding=_encoding(section),
        delimiter=_delimiter(section),
        sheet=section.text("sheet"),
        header_row=section.whole("header_row", 1, least=1),
        missing=section.texts("missing"),
        left_out=section.pairs("left_out"),
    )
    _check_public(section, spec)
    for column, reason in spec.left_out.items():
        if not reason.strip():
            section.fault("give the reason.", f"left_out.{column}")
    return spec


def _check_public(section: Section, spec: FileSpec) -> None:
    if spec.url and not spec.sha256:
        section.fault("a file with a `url` needs its `sha256`, so that a changed file is noticed.")
    if spec.url and not spec.url.startswith(("https://", "http://")):
        section.fault("must begin with https:// or http://.", "url")
    if any(not _SHA256.fullmatch(s) for s in spec.sha256):
        section.fault("must be 64 lower-case hexadecimal digits.", "sha256")
    if spec.url and (Path(spec.path).is_absolute() or ".." in Path(spec.path).parts):
        section.fault("of a file with a `url` must lie below the folder of data sets.", "path")


def _encoding(section: Section) -> str:
    import codecs

    name = section.text("encoding", "utf-8")
    try:
        return codecs.lookup(name).name
    except LookupError:
        section.fault(f"unknown encoding `{name}`; usual are utf-8, utf-16, cp1252, latin-1.", "encoding")
        return "utf-8"


def _delimiter(section: Section) -> str:
    text = section.text("delimiter", ",")
    found = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(found) != 1 or found in '"\r\n' or ord(found) > 127:
        section.fault("must be one character, or `tab`.", "delimiter")
        return ","
    return found


def _read_tables(parent: Section, files: dict[str, FileSpec], about: dict) -> tuple[tuple, tuple]:
    tables, own = [], {}
    for table, entry in ((t, e) for t in parent.values for e in _entries(parent, t)):
        if table not in TABLES:
            entry.fault(f"there is no canonical table `{table}`; {did_you_mean(table, list(TABLES))}")
            continue
        tables.append(_read_table(entry, table, files, about))
        columns = entry.section("columns")
        for name in (n for n in columns.values if n.startswith("x_")):
            declared = read_own_column(_column_section(columns, name), name, table)
            _check_same(entry, next((o for o in own.values() if o.name == name), declared), declared)
            own.setdefault((table, name), declared)
    return tuple(tables), tuple(own.values())


def _entries(parent: Section, table: str) -> list[Section]:
    """Return the entries of a table: one, or a list when several files (or several readings of one) feed it."""
    value = parent.values[table]
    if not isinstance(value, list):
        return [parent.section(table)]
    return [Section(item, f"{parent.place}.{table}[{i + 1}]", parent.faults) for i, item in enumerate(value)]


def _check_same(entry: Section, first: OwnColumn, second: OwnColumn) -> None:
    """An own column must be one thing in all tables, because features ask for it by its name."""
    if (first.type, first.known) != (second.type, second.known):
        entry.fault("is declared twice with different `type` or `known`; choose two names.", f"columns.{second.name}")


def _read_table(entry: Section, table: str, files: dict[str, FileSpec], about: dict) -> TableSpec:
    entry.allow(*_TABLE)
    file = entry.text("file", required=True)
    if file and file not in files:
        entry.fault(f"there is no file `{file}`; {did_you_mean(file, list(files))}", "file")
    parent = entry.section("columns")
    context = {
        "time_zone": about["time_zone"],
        "currency": about["currency"],
        "is_excel": file in files and files[file].is_excel,
        "files": list(files),
    }
    columns = [read_column(_column_section(parent, n), n, TABLES[table], **context) for n in parent.values]
    found = tuple(c for c in columns if c is not None)
    _check_required(entry, table, found)
    _check_twice(entry, found)
    duplicates, states = entry.choice("duplicates", DUPLICATES, "error"), entry.flag("states")
    _check_combined(entry, table, found, duplicates)
    if duplicates == "combine":
        key = TABLES[table].key
        found = tuple(c if c.name in key or c.combine else replace(c, combine="same") for c in found)
    _check_since(entry, found)
    if states and table != "changes":
        entry.fault("belongs to the table `changes`; other tables hold no states.", "states")
    only = read_only(entry)
    return TableSpec(table, file, found, only, entry.texts("skip_missing"), duplicates, states)


def _column_section(parent: Section, name: str) -> Section:
    """Return a column's section; `lead_id: LeadId` is short for `lead_id: {from: LeadId}`."""
    value = parent.values[name]
    short = {"from": value} if isinstance(value, str) and value else value
    return Section(short, f"{parent.place}.{name}", parent.faults)


def _check_required(entry: Section, table: str, columns: tuple[ColumnSpec, ...]) -> None:
    mapped = {c.name for c in columns}
    lacking = [c.name for c in TABLES[table].columns if c.required and c.name not in mapped]
    if lacking:
        entry.fault(f"lacks the required column(s) {', '.join(lacking)}.", "columns")


def _check_twice(entry: Section, columns: tuple[ColumnSpec, ...]) -> None:
    """One source column read in one way for two canonical columns is a slip of the pen; times may be shared."""
    seen: dict[tuple, str] = {}
    for c in columns:
        if len(c.columns) != 1 or c.kind == "time" or c.lookup or c.only:
            continue
        reading = (c.columns, c.kind, tuple(c.values.items()), c.scale, c.times, c.combine)
        first = seen.setdefault(reading, c.name)
        if first != c.name:
            entry.fault(f"the column `{c.columns[0]}` is mapped twice, to {first} and to {c.name}.", "columns")


def _check_combined(entry: Section, table: str, columns: tuple[ColumnSpec, ...], duplicates: str) -> None:
    """`combine` on a column and `duplicates: combine` on its table need each other; a key is what rows share."""
    for c in (c for c in columns if c.combine):
        if duplicates != "combine":
            entry.fault("needs `duplicates: combine` on the table.", f"columns.{c.name}.combine")
        if c.name in TABLES[table].key:
            entry.fault("the key is what combined rows share; it is not combined itself.", f"columns.{c.name}.combine")
    lacking = [k for k in TABLES[table].key if k not in {c.name for c in columns}]
    if duplicates == "combine" and lacking:
        entry.fault(f"combines rows that share {', '.join(lacking)}, which is not mapped.", "duplicates")


def _check_since(entry: Section, columns: tuple[ColumnSpec, ...]) -> None:
    times = [c.name for c in columns if c.kind == "time"]
    for c in (c for c in columns if c.since):
        if c.since not in times and not _ISO_DATE.fullmatch(c.since):
            text = f"must be a time column that this table maps ({', '.join(times) or 'none'}), or an ISO date."
            entry.fault(text, f"columns.{c.name}.since")


def _check_left_out(top: Section, files: dict[str, FileSpec], tables: list[TableSpec]) -> None:
    for table in tables:
        used = {name for c in table.columns for file, name in c.reads(table.file) if file == table.file}
        for name in sorted(used & set(files[table.file].left_out if table.file in files else ())):
            top.fault(f"the column `{name}` is both mapped (table {table.table}) and left out.", f"files.{table.file}")
