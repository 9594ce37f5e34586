"""Rules about values: repeated rows, outliers, text that would run as code, personal data in the wrong place."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from crmlab.schema import TABLES

from .findings import Finding, Rows
from .rows import by_distinct
from .spelling import spelling_key

__all__ = ["DUPLICATE_DAYS", "OUTLIER_IQR", "VALUE_RULES", "repeated_leads"]

DUPLICATE_DAYS = 14
"""Two leads of one person, or of one role at one company, that come within these days are probably one."""

OUTLIER_IQR = 2.2
"""Distance from the quartiles of the logarithm, in interquartile ranges (Hoaglin and Iglewicz, 1987)."""

_LONG_TAIL = 0.02
_HTML = r"<\s*/?\s*(?:script|img|svg|iframe|object|embed|style|link|meta|form|body|a)\b|<[^>]+\bon\w+\s*=|javascript:"
# A sign before a digit is a telephone number, "- text" is a list, "@name" a mention: none of them begins a formula.
_FORMULA = r"^\s*(?:=\s*[\w+\-@(\"]|[@+\-]\s*[a-z_]+\s*[(|!])"
_SQL = r"'\s*\)?\s*(?:;|--|\bunion\b|\bor\b\s+['\d])"
_LOOKUP = r"\$\{\s*\w+\s*:"  # expanded by vulnerable loggers
_HOSTILE = rf"(?i:{_HTML}|{_FORMULA}|{_SQL}|{_LOOKUP})"
_EMAIL = r"[\w.+\-]+@[\w\-]+\.[\w.\-]+"


def repeated_leads(leads: pd.DataFrame) -> pd.Series:
    """Return where a lead came within `DUPLICATE_DAYS` after another one of the same person.

    The same person is the same `contact_id`; without one, the same role (spelling aside) at the same account. The first
    lead of such a chain is not marked. Leads without a date, or without either identity, are never marked.
    """
    role = leads["job_position"].map(spelling_key, na_action="ignore")
    by_role = "account " + leads["account_id"] + " role " + role.astype("str")
    who = ("contact " + leads["contact_id"]).where(leads["contact_id"].notna(), by_role)
    known = leads.assign(who=who)[who.notna() & leads["created_at"].notna()]
    known = known.sort_values(["who", "created_at", "lead_id"], kind="stable")
    gap = known.groupby("who", sort=False)["created_at"].diff()
    repeated = gap <= pd.Timedelta(days=DUPLICATE_DAYS)
    return repeated.reindex(leads.index, fill_value=False)


def repeats(rows: Rows) -> Iterator[Finding]:
    """Leads of one person close together; persons, and events, that are in the table more than once."""
    leads, contacts, events = rows("leads"), rows("contacts"), rows("interactions")
    yield Finding.count("repeated", "leads", f"same person within {DUPLICATE_DAYS} days", repeated_leads(leads))
    email = contacts["email"].str.strip().str.casefold()
    same = pd.DataFrame({"account": contacts["account_id"], "email": email}).dropna()
    yield Finding.count("repeated", "contacts", "same e-mail at the same account", same.duplicated())
    # Without a lead, deal or account there is nothing to tell two events apart by.
    placed = events[events[["lead_id", "opportunity_id", "account_id"]].notna().any(axis=1)]
    repeated = placed.drop(columns=["interaction_id", "known_at"]).duplicated()
    yield Finding.count("repeated", "interactions", "same in all but its identifier", repeated)


def outliers(rows: Rows) -> Iterator[Finding]:
    """Sizes and amounts beyond `OUTLIER_IQR` interquartile ranges of their logarithm.

    More than two in a hundred beyond are the tail of a skewed column, or one odd value among few: none is reported.
    """
    for name, spec in TABLES.items():
        frame = rows(name)
        for c in spec.of_kind("number") if len(frame) else ():
            if spec[c].unit in ("people", "EUR", "minutes"):
                yield Finding.count("outlier", name, c, _far_out(frame[c].dropna()))


def _far_out(values: pd.Series) -> pd.Series:
    positive = values[values > 0]
    logs = np.log(positive)
    low, high = logs.quantile([0.25, 0.75])
    reach = OUTLIER_IQR * (high - low)
    if reach == 0:
        return pd.Series(False, index=values.index)
    far = ((logs < low - reach) | (logs > high + reach)).reindex(values.index, fill_value=False)
    return far & (far.mean() <= _LONG_TAIL)


def hostile(rows: Rows) -> Iterator[Finding]:
    """Text that a page, a spreadsheet, an SQL statement or a logger would run."""
    for name, column, values, _ in _texts(rows):
        yield Finding.count("hostile", name, column, _matches(values, _HOSTILE))


def misplaced_personal(rows: Rows) -> Iterator[Finding]:
    """E-mail addresses in columns that are not declared personal."""
    for name, column, values, personal in _texts(rows):
        if not personal:
            yield Finding.count("personal", name, column, _matches(values, _EMAIL))


def _matches(values: pd.Series, pattern: str) -> pd.Series:
    return by_distinct(values, lambda texts: texts.str.contains(pattern, regex=True))


def _texts(rows: Rows) -> Iterator[tuple[str, str, pd.Series, bool]]:
    """Text and open categories, own columns included."""
    for name, spec in TABLES.items():
        frame = rows(name)
        for c in frame.columns[frame.dtypes == "str"] if len(frame) else ():
            column = spec[c] if c in spec.names else None
            if column is None or (column.kind in ("text", "category") and not column.values):
                yield name, c, frame[c].dropna(), column is not None and column.personal


VALUE_RULES = (repeats, outliers, hostile, misplaced_personal)
