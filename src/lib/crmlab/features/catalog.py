"""What each feature says, where it comes from, which requirement it answers; and what may not become a feature."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import TABLES, table
from crmlab.snapshots import as_entity

from .build import declared
from .declare import (
    MEASURES,
    WINDOWS,
    Calendar,
    Declaration,
    Difference,
    Feature,
    Field,
    Linked,
    Notes,
    OwnFields,
    Ratio,
    Tags,
)
from .fields import own_table, own_usable
from .text import text_meaning
from .views import VIEWS

__all__ = ["Line", "declared_lines", "family_table", "feature_catalog", "feature_groups", "refused_columns"]

_ANY = r"(.+)"


class Line(NamedTuple):
    """One declared feature: {} in name and meaning stands for a value of the source."""

    name: str
    family: str
    table: str
    window_days: int | None
    meaning: str
    ids: str


def declared_lines(entity: str, declarations: Sequence[Declaration], windows: tuple[int, ...] = WINDOWS) -> list[Line]:
    """Return what is declared for an entity, one line per feature, in order; what is hidden is left out."""
    return [line for d in declarations if not d.hidden for line in _lines(entity, d, windows)]


def _lines(entity: str, declaration: Declaration, windows: tuple[int, ...]) -> Iterator[Line]:
    home = own_table(entity)[0] or "reps"
    match declaration:
        case Feature():
            for name, measure, days in declaration.columns(windows):
                window = days[0] if days and days[0] else None
                yield Line(
                    name,
                    MEASURES[measure],
                    _tables(declaration),
                    window,
                    _meaning(declaration, measure, days),
                    declaration.ids,
                )
        case Field(column=column, through=through):
            name, source = declaration.names()[0], through or home
            yield Line(name, "field", source, None, _field_meaning(source, column), declaration.ids)
        case OwnFields():
            yield Line("x_{}", "own column", home, None, "A column of the source's own.", declaration.ids)
        case Calendar():
            yield Line(declaration.name, "calendar", home, None, _CALENDAR[declaration.name], declaration.ids)
        case Linked(prefix=prefix, entity=other):
            for line in declared_lines(other, declaration.features, windows):
                meaning = f"{_LINKS.get(prefix, prefix.capitalize())}: {line.meaning[0].lower()}{line.meaning[1:]}"
                yield line._replace(
                    name=f"{prefix}_{line.name}", family="linked", meaning=meaning, ids=line.ids or declaration.ids
                )
        case Tags():
            yield Line("tag_{}", "text", "changes", None, "Whether it carried the tag {}.", declaration.ids)
        case Notes():
            for name in ("notes_filled", "notes_words_n", "notes_hash_{}"):
                yield Line(name, "text", "changes", None, _note_meaning(name), declaration.ids)
        case _:
            family = (
                "ratio"
                if isinstance(declaration, Ratio)
                else "difference"
                if isinstance(declaration, Difference)
                else "sum"
            )
            meaning = f"{declaration.noun or declaration.name}."
            yield Line(declaration.name, family, "features", None, _sentence(meaning), declaration.ids)


def _note_meaning(name: str) -> str:
    return "Words of the newest note in bucket {} of a fixed hash." if "{}" in name else text_meaning(name)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _tables(feature: Feature) -> str:
    return VIEWS[feature.view].tables[0]


def _field_meaning(home: str, column: str) -> str:
    return table(home)[column].meaning if column in table(home).names else "A column of the source's own."


_CALENDAR = {
    "age_days": "Days since it entered the CRM.",
    "month": "Month of the year of `as_of`: the season.",
    "quarter_days_left": "Days to the end of the quarter.",
    "customer_days": "Days as a customer.",
    "lead_to_opportunity_days": "Days from the lead to the opportunity.",
}
_LINKS = {"account": "Its company", "owner": "Its owner", "team": "Its owner's team", "lead": "Its lead"}

_MEANINGS = {
    "n": "Number of {noun}{window}.",
    "sum": "Sum of {of} over {noun}{window}.",
    "mean": "Mean of {of} over {noun}{window}; missing if none.",
    "days": "Days with {noun}{window}.",
    "recency": "Recency of {noun}: days since the newest; missing if none.",
    "first": "Age of the oldest of {noun} in days; missing if none.",
    "smoothed": "Weekly {what} of {noun}, exponentially smoothed (alpha 0.3, from 0, empty weeks included).",
    "trend": "Daily {noun}{window}, over that of the longer window; missing if none there.",
    "per_week": "Mean weekly number of {noun} since the beginning.",
    "per_day": "Number of {noun}{window}, per day of exposure in it.",
    "last": "{noun}, as last entered.",
    "until": "Days until the {noun}.",
}


def _meaning(feature: Feature, measure: str, days: tuple[int, ...]) -> str:
    spans = [f" in the last {d} days" if d else " so far" for d in days]
    value = VIEWS[feature.view].words.get(feature.of, feature.of.replace("_", " "))
    text = _MEANINGS[measure].format(
        noun=feature.noun or feature.name.replace("_", " "),
        of=value,
        what=f"sum of {value}" if feature.of else "number",
        window=spans[0] if spans else "",
    )
    return _sentence(text)


def feature_catalog(
    features: pd.DataFrame,
    crm: Crm,
    *,
    entity: str = "lead",
    declarations: Sequence[Declaration] | None = None,
    windows: Sequence[int] = WINDOWS,
) -> pd.DataFrame:
    """Return what each feature says: columns feature, family, table, window_days, meaning, ids, line.

    Parameters
    ----------
    features : frame of `build_features`. declarations : those that it was built from; None for the project's.

    Returns
    -------
    One row per feature; `line` is what was declared, with {} for a value of the source.
    """
    chosen = declared(as_entity(entity)) if declarations is None else tuple(declarations)
    lines = declared_lines(as_entity(entity), chosen, tuple(windows))
    exact = {line.name: line for line in lines if "{}" not in line.name}
    patterns = [(re.compile(re.escape(line.name).replace(r"\{\}", _ANY)), line) for line in lines if "{}" in line.name]
    rows = [_described(name, exact, patterns, crm) for name in features]
    return pd.DataFrame(rows, columns=["feature", "family", "table", "window_days", "meaning", "ids", "line"])


def _described(name: str, exact: dict[str, Line], patterns: list[tuple[re.Pattern, Line]], crm: Crm) -> tuple:
    if name in exact:
        return (*exact[name], name)
    for pattern, line in patterns:
        found = pattern.fullmatch(name)
        if found:
            own = crm.own_columns.get(name, {}).get("meaning")
            meaning = own or line.meaning.replace("{}", found.group(1).replace("_", " "))
            return (name, *line[1:4], meaning, line.ids, line.name)
    return (name, "unknown", "", None, "", "", name)


def feature_groups(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return one row per declared line, its windows and values together: features, n, family, table, meaning."""
    plain = catalog["meaning"].str.replace(_SPAN, " in the window", regex=True)
    several = catalog["line"].str.contains("{}", regex=False)
    keyed = catalog.assign(
        key=plain.mask(several, catalog["line"].str.replace(r"_\d+d\b", "", regex=True)), plain=plain
    )
    groups = keyed.groupby(["family", "table", "key"], sort=False)
    found = groups.agg(
        features=("line", lambda names: ", ".join(dict.fromkeys(names))),
        n=("feature", "size"),
        meaning=("meaning", "first"),
        plain=("plain", "first"),
    ).reset_index()
    meaning = found["meaning"].mask(found["n"] > 1, found["plain"])
    each = found["features"].str.contains("{}", regex=False)
    found["meaning"] = meaning.mask(each, "For each value {}, such as: " + meaning)
    return found[["features", "n", "family", "table", "meaning"]]


_SPAN = r" (in the last \d+ days|so far)\b"


def family_table(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return how many features there are of each family: family, n, such_as (some names), tables, ids."""
    groups = catalog.groupby("family", sort=False)
    rows = [
        (
            family,
            len(part),
            ", ".join(part["feature"].iloc[[0, len(part) // 2, -1]].unique()),
            ", ".join(part["table"].unique()),
            " ".join(sorted({i for ids in part["ids"] for i in ids.split()})),
        )
        for family, part in groups
    ]
    return pd.DataFrame(rows, columns=["family", "n", "such_as", "tables", "ids"])


def refused_columns(crm: Crm, *, dated: bool, entity: str = "lead") -> pd.DataFrame:
    """Return the columns of an entity's table that may not become features: column, filled (share), why.

    Parameters
    ----------
    dated : whether the study knows dates; without them own columns of unknown date are used, and the report says so.
    """
    entity = as_entity(entity)
    home = own_table(entity)[0]
    spec, frame = TABLES[home], crm[home]
    reasons = {
        c.name: "holds only today's value" if not c.as_of_safe else f"known only at {c.known}"
        for c in spec.columns
        if c.known != spec.known_at and c.name != "sequence"
    }
    history = crm["changes"].loc[crm["changes"]["entity"] == entity, "field"].unique()
    for column in reasons:
        if column in history:
            reasons[column] = "holds only today's value; that of the date is taken from changes"
    own = [c for c in frame if c.startswith("x_") and not own_usable(crm, home, c, dated=dated)]
    reasons |= {c: f"own column, known: {crm.known_of(c)}" for c in own}
    rows = [(c, frame[c].notna().mean(), why) for c, why in reasons.items() if c in frame and frame[c].notna().any()]
    return pd.DataFrame(rows, columns=["column", "filled", "why"])
