"""Read how one canonical or own column comes about, and find what cannot be meant."""

import re
from functools import lru_cache
from zoneinfo import available_timezones

from crmlab.schema import Column, Table, did_you_mean

from .dates import NAMED_FORMATS, is_date_only, unknown_directives
from .documents import Section
from .histories import ENTITIES
from .specs import KNOWN, OWN_TYPES, ColumnSpec, Lookup, OwnColumn
from .units import between_factor, unit_factor, unit_names

__all__ = ["COMBINE", "check_time_zone", "read_column", "read_only", "read_own_column"]

_OWN_NAME = re.compile(r"x_[a-z0-9_]+")
_OWN_KINDS = {"number": "number", "category": "category", "boolean": "boolean", "date": "time"}
_ORIGINS = ("from", "constant", "row_number", "between")
_TEXT_KEYS = ("values", "others", "ignore_case", "missing", "trim", "invalid", "note")
_FOR_KIND = {
    "number": ("decimal", "thousands", "strip", "unit", "scale", "times", "between"),
    "integer": ("thousands", "strip", "unit", "scale"),
    "time": ("format", "time_zone", "date_means", "not_before"),
}
_FOR_BETWEEN = ("format", "time_zone")
_READING = (*_ORIGINS, "join", "lookup", "only", *_TEXT_KEYS)
_ALL_KEYS = (*_READING, "combine", "since", *_FOR_KIND["number"], *_FOR_KIND["time"])
_NOT_BEFORE = ("from", "lookup", "missing", "format", "time_zone", "date_means")
COMBINE = ("same", "first", "last", "min", "max", "sum", "count", "distinct")
_COMBINE_FOR = {
    "number": COMBINE,
    "integer": COMBINE,
    "time": ("same", "first", "last", "min", "max"),
}
_COMBINE_ANY = ("same", "first", "last")
_DATE_MEANS = ("", "end_of_day", "start_of_day")


def read_column(
    section: Section, name: str, spec: Table, *, time_zone: str, currency: str, is_excel: bool, files: list[str]
) -> ColumnSpec | None:
    """Return the column `name` of a table from its section; None when nothing sensible can be made of it."""
    known = _canonical(section, name, spec)
    if known is None:
        return None
    own = name.startswith("x_")
    section.allow(*_ALL_KEYS, *(("type", "known", "meaning") if own else ()))
    _check_origin(section)
    _check_kind_keys(section, known.kind)
    return ColumnSpec(
        name=name,
        kind=known.kind,
        only=read_only(section),
        combine=_combine(section, known.kind),
        since=_since(section, known, spec),
        personal=known.personal,
        required=known.required,
        planned=known.planned,
        allowed=known.values,
        low=known.low,
        high=known.high,
        note=section.text("note"),
        **_origin(section, files),
        **_text_options(section, known),
        **_number_options(section, known, currency),
        **_time_options(section, known, spec, time_zone, is_excel),
        **_not_before(section, known, spec, time_zone, is_excel, files),
    )


def read_only(section: Section) -> dict[str, tuple[str, ...]]:
    """Return the values that `only` names, by source column."""
    only = section.section("only")
    found = {name: only.texts(name) for name in only.values}
    for name in (n for n, values in found.items() if not values):
        only.fault("name at least one value.", name)
    return found


def read_own_column(section: Section, name: str, table: str) -> OwnColumn:
    """Return the declaration of an own column (`type`, `known`, `meaning`)."""
    if not _OWN_NAME.fullmatch(name):
        section.fault("own columns are named `x_` and lower-case letters, digits and `_`.")
    return OwnColumn(
        table,
        name,
        section.choice("type", OWN_TYPES, "category"),
        section.choice("known", KNOWN, "unknown"),
        section.text("meaning", required=True),
        "known" in section.values,
    )


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_time_zone(section: Section, key: str, default: str) -> str:
    """Return the time zone under `key`, or `default` when there is none or it is unknown."""
    zone = section.text(key, default)
    if zone in _zones():
        return zone
    section.fault(f"unknown time zone `{zone}`; {_zone_hint(zone)}", key)
    return default


def _zone_hint(zone: str) -> str:
    hint = did_you_mean(zone, sorted(_zones()))
    return hint if hint.startswith("did") else "write it as in Europe/Rome."


def _canonical(section: Section, name: str, spec: Table) -> Column | None:
    """Return the schema's declaration of the column, or one made up for an own column."""
    if name in spec.names:
        return spec[name]
    if not name.startswith("x_"):
        own = " Columns of your own are named `x_…`." if spec.open_columns else ""
        section.fault(f"table `{spec.name}` has no column `{name}`; {did_you_mean(name, spec.names)}{own}")
        return None
    if not spec.open_columns:
        section.fault(f"table `{spec.name}` takes no columns of your own.")
        return None
    kind = _OWN_KINDS[section.choice("type", OWN_TYPES, "category")]
    return Column(name, kind, section.text("meaning"), spec.known_at)


def _check_origin(section: Section) -> None:
    given = [key for key in _ORIGINS if key in section]
    if not given:
        section.fault(
            "says nothing about where its values come from: add `from:`, `constant:`, `between:` or `row_number: true`."
        )
    if len(given) > 1:
        section.fault(f"has {' and '.join(given)}: only one of them can be meant.")
    if "lookup" in section and "from" not in section:
        section.fault("`lookup` needs `from:`, the column to take from the other file.")


def _check_kind_keys(section: Section, kind: str) -> None:
    fit = (*_FOR_KIND.get(kind, ()), *(_FOR_BETWEEN if "between" in section else ()))
    for key in section.values:
        if any(key in keys for keys in _FOR_KIND.values()) and key not in fit:
            section.fault(f"has no effect on a column of type {kind}.", key)


def _origin(section: Section, files: list[str]) -> dict:
    return {
        "columns": section.texts("from"),
        "between": _between(section),
        "join": section.text("join", "-"),
        "constant": section.text("constant") if "constant" in section else None,
        "row_number": section.flag("row_number"),
        "lookup": _lookup(section, files),
    }


def _lookup(section: Section, files: list[str]) -> Lookup | None:
    if "lookup" not in section:
        return None
    lookup = section.section("lookup")
    lookup.allow("file", "by", "values")
    file, by = lookup.text("file", required=True), lookup.pairs("by")
    if file and file not in files:
        lookup.fault(f"there is no file `{file}`; {did_you_mean(file, files)}", "file")
    if len(by) != 1:
        lookup.fault("must hold one `column here: column there`.", "by")
        return None
    ((ours, theirs),) = by.items()
    return Lookup(file, ours, theirs, lookup.pairs("values"))


def _between(section: Section) -> tuple[str, ...]:
    if "between" not in section:
        return ()
    ends = section.texts("between")
    if len(ends) != 2:
        section.fault("must name two columns, the earlier time first: `between: [Begin, End]`.", "between")
        return ()
    return ends


def _combine(section: Section, kind: str) -> str:
    """Return how rows are combined; `count` and `distinct` count texts, so they make numbers of any column."""
    allowed = _COMBINE_FOR.get(kind, _COMBINE_ANY)
    word = section.choice("combine", COMBINE, "") if "combine" in section else ""
    if word and word not in allowed:
        section.fault(f"`{word}` has no meaning for a column of type {kind}; use {', '.join(allowed)}.", "combine")
        return ""
    return word


def _since(section: Section, known: Column, spec: Table) -> str:
    """Return since when the value has held; it matters for values that may change, of entities with a history."""
    since = section.text("since")
    if not since:
        return ""
    if spec.name not in ENTITIES:
        section.fault(f"only {', '.join(ENTITIES)} have a history in `changes`.", "since")
    own_today = known.name not in spec.names and section.text("known") == "today"
    if known.name in spec.names and known.as_of_safe:
        section.fault(f"has no effect: {known.name} is known from {known.known} on anyway.", "since")
    elif known.name not in spec.names and not own_today:
        section.fault("has an effect only with `known: today`.", "since")
    return since


def _text_options(section: Section, known: Column) -> dict:
    values, others = section.pairs("values"), section.text("others")
    for target in {*values.values(), others} - {"", "keep", "missing"}:
        _check_allowed(section, target, known)
    if "constant" in section:
        _check_allowed(section, section.text("constant"), known)
    if known.required and section.text("invalid") == "missing":
        section.fault("a required column cannot be set missing.", "invalid")
    if "others" in section and not values:
        section.fault("has no effect without `values`.", "others")
    return {
        "values": values,
        "others": others,
        "ignore_case": section.flag("ignore_case"),
        "missing": section.texts("missing"),
        "trim": section.flag("trim"),
        "invalid": section.choice("invalid", ("error", "missing"), "error"),
    }


def _check_allowed(section: Section, target: str, known: Column) -> None:
    if known.values and target not in known.values:
        section.fault(f"`{target}` is not a value of this column; {did_you_mean(target, list(known.values))}")


def _number_options(section: Section, known: Column, currency: str) -> dict:
    if known.kind not in ("number", "integer"):
        return {}
    thousands = section.text("thousands")
    decimal = section.text("decimal", "," if thousands == "." else ".")
    if decimal not in (".", ","):
        section.fault("must be `.` or `,`.", "decimal")
    if thousands and (len(thousands) > 1 or thousands in "0123456789" or thousands == decimal):
        section.fault("must be one character other than a digit and the decimal sign.", "thousands")
    return {
        "decimal": decimal,
        "thousands": thousands,
        "strip": section.text("strip"),
        "times": _times(section),
        "scale": _scale(section, known, currency) * _between_factor(section, known),
    }


def _times(section: Section) -> str:
    if "times" in section and ("lookup" in section or len(section.texts("from")) != 1):
        section.fault("needs `from:` with one column of this file.", "times")
    return section.text("times")


def _between_factor(section: Section, known: Column) -> float:
    """Return the canonical unit in a minute, or for own columns the days in it."""
    if "between" not in section:
        return 1.0
    if "unit" in section:
        section.fault("has no effect with `between`, which gives the canonical unit by itself.", "unit")
    factor = between_factor("days" if known.name.startswith("x_") else known.unit)
    if factor is None:
        section.fault(f"a time has no meaning for a column in {known.unit or 'counts'}.", "between")
    return factor or 1.0


def _scale(section: Section, known: Column, currency: str) -> float:
    if "unit" in section and "scale" in section:
        section.fault("has `unit` and `scale`: only one of them can be meant.")
    scale = section.number("scale", 1.0)
    if not 0 < abs(scale) < float("inf"):
        section.fault("must be a finite number other than 0.", "scale")
    unit = section.text("unit")
    if not unit:
        return scale
    factor = unit_factor(unit, canonical=known.unit, currency=currency)
    if factor is None:
        names = unit_names(known.unit, currency=currency)
        section.fault(
            f"`{unit}` does not convert here; {did_you_mean(unit, names)} Or give the factor as `scale:`.", "unit"
        )
    return factor or 1.0


def _time_options(section: Section, known: Column, spec: Table, time_zone: str, is_excel: bool) -> dict:
    if known.kind != "time" and "between" not in section:
        return {}
    formats = section.texts("format")
    if not formats and not is_excel and "constant" not in section:
        section.fault('needs `format:`, such as "%d/%m/%Y %H:%M", `iso`, or a list of formats.')
    for text in formats:
        _check_format(section, text)
    means = section.choice("date_means", _DATE_MEANS, "")
    return {
        "formats": formats or ("iso",),
        "time_zone": check_time_zone(section, "time_zone", time_zone),
        "end_of_day": means == "end_of_day" or (not means and _tells_when_known(known.name, spec)),
    }


def _not_before(section: Section, known: Column, spec: Table, time_zone: str, is_excel: bool, files: list[str]) -> dict:
    """Return the time that this one may not lie before, read like the column itself."""
    if known.kind != "time" or "not_before" not in section:
        return {}
    other = section.section("not_before")
    other.allow(*_NOT_BEFORE)
    if "from" not in other:
        other.fault("lacks the key `from`.")
    bound = ColumnSpec(
        name=known.name,
        kind="time",
        columns=other.texts("from"),
        lookup=_lookup(other, files),
        missing=other.texts("missing"),
        **_time_options(other, known, spec, time_zone, is_excel),
    )
    return {"not_before": bound}


def _tells_when_known(name: str, spec: Table) -> bool:
    """Whether a fact becomes visible at this time: then a bare date means the end of its day."""
    if name not in spec.names or spec[name].planned:
        return False
    return name == spec.known_at or any(c.known == name for c in spec.columns)


def _check_format(section: Section, text: str) -> None:
    if "%" not in text and text not in NAMED_FORMATS:
        section.fault(
            f"`{text}` is not a date format; {did_you_mean(text, list(NAMED_FORMATS))} Or use %d, %m, %Y.", "format"
        )
    wrong = unknown_directives(text)
    if wrong:
        section.fault(f"`{text}` holds {', '.join(wrong)}, which is not a known date part.", "format")
    elif "%" in text and not is_date_only(text) and "%d" not in text and "%j" not in text:
        section.fault(f"`{text}` has a time but no day.", "format")
