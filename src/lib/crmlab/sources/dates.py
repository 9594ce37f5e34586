"""Turn dates and times written as text into naive UTC, by formats that the mapping states.

Rules. A value must fit a stated format as a whole; nothing is guessed. Where several formats are stated and a value
fits two of them with different results, it counts as contradictory. A local time that happens twice (clocks going
back) is taken as the later of the two, so that nothing is known too early; one that never happens (clocks going
forward) becomes the first instant after the gap. Both are counted.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["NAMED_FORMATS", "ParsedDates", "is_date_only", "parse_dates", "suggest_formats", "unknown_directives"]

NAMED_FORMATS = ("iso", "excel_serial", "unix_s", "unix_ms")
"""Formats without %: ISO 8601, day numbers of a spreadsheet, seconds or milliseconds since 1970."""

_DIRECTIVES = set("YymdbBaAjHIMSfpzZ%")
_TIME_PARTS = set("HIMSfp")
_END_OF_DAY = np.timedelta64(86_399, "s")
_ISO_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ISO_OFFSET = r"\d[T ]\d{2}.*(?:[Zz]|[+-]\d{2}:?\d{2}|[+-]\d{2})$"
_DAYS = (
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%B %d, %Y",
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


@dataclass(frozen=True)
class ParsedDates:
    """What became of a column of texts; all arrays have one entry per text.

    Attributes
    ----------
    values : naive UTC timestamps, NaT where missing, unread or contradictory.
    unread : texts that fit no format.
    contradictory : texts that fit two formats with different results.
    twice, never : local times that happen twice or never.
    """

    values: pd.Series
    unread: np.ndarray
    contradictory: np.ndarray
    twice: np.ndarray
    never: np.ndarray


@dataclass(frozen=True)
class _Reading:
    """One format tried on all texts: `local` is UTC already where `aware`."""

    local: pd.Series
    date_only: np.ndarray
    aware: np.ndarray


def parse_dates(texts: pd.Series, *, formats: tuple[str, ...], time_zone: str, end_of_day: bool) -> ParsedDates:
    """Read dates by the stated formats; missing texts stay missing.

    Parameters
    ----------
    texts : trimmed texts, missing where there is no value.
    time_zone : IANA name of the zone of times that name none.
    end_of_day : a date without a time of day becomes 23:59:59 of that local day, else its midnight.
    """
    readings = [_read(texts, f) for f in formats]
    local, date_only, aware, contradictory = _combine(texts, readings)
    if end_of_day:
        local = local.where(~date_only, local + _END_OF_DAY)
    utc, twice, never = _to_utc(local, aware, time_zone)
    unread = (texts.notna() & local.isna()).to_numpy() & ~contradictory
    return ParsedDates(utc, unread, contradictory, twice, never)


def is_date_only(text: str) -> bool:
    """Whether a format has no time of day.

    >>> is_date_only("%d/%m/%Y"), is_date_only("%d/%m/%Y %H:%M")
    (True, False)
    """
    return "%" in text and not _TIME_PARTS & set(re.findall(r"%(.)", text))


def unknown_directives(text: str) -> list[str]:
    """Return the parts of a format that mean nothing.

    >>> unknown_directives("%d/%Q")
    ['%Q']
    """
    return [f"%{c}" for c in re.findall(r"%(.?)", text) if c not in _DIRECTIVES]


def suggest_formats(texts: pd.Series, *, most: int = 3) -> list[tuple[str, int]]:
    """Return formats that fit the texts, best first, each with the number of texts that no earlier one fits.

    Formats that fit the same texts (is 03/04 in March or in April?) are joined by " or ".
    """
    left = texts.dropna()
    candidates = [f for f in _candidates() if _fits(left.head(200), f).any() or _fits(left.tail(200), f).any()]
    found = []
    while len(left) and len(found) < most:
        fits = {f: _fits(left, f) for f in candidates}
        n = max((int(v.sum()) for v in fits.values()), default=0)
        if not n:
            break
        best = next(v for v in fits.values() if int(v.sum()) == n)
        alike = [f for f, v in fits.items() if (v == best).all()]
        found.append((" or ".join(f"`{f}`" for f in alike[:2]), n))
        left = left[~best]
    return found


def _candidates() -> list[str]:
    return ["iso", *(day + time for day in _DAYS for time in _TIMES)]


def _fits(texts: pd.Series, text: str) -> np.ndarray:
    return _read(texts, text).local.notna().to_numpy()


def _read(texts: pd.Series, text: str) -> _Reading:
    named = {"iso": _read_iso, "excel_serial": _read_serial, "unix_s": _read_unix_s, "unix_ms": _read_unix_ms}
    return named[text](texts) if text in named else _read_format(texts, text)


def _read_format(texts: pd.Series, text: str) -> _Reading:
    aware = "%z" in text
    local = _to_datetime(texts, text, aware)
    if re.search(r"%[a-zA-Z]%[a-zA-Z]", text):  # without separators the parser also accepts too few digits
        local = local.where((local.dt.strftime(text) == texts).fillna(False).astype(bool))
    return _Reading(local, np.full(len(texts), is_date_only(text)), np.full(len(texts), aware))


def _read_iso(texts: pd.Series) -> _Reading:
    date_only = texts.str.fullmatch(_ISO_DATE).fillna(False).to_numpy(dtype=bool)
    aware = texts.str.contains(_ISO_OFFSET, regex=True).fillna(False).to_numpy(dtype=bool)
    long_enough = texts.str.match(_ISO_DATE).fillna(False).to_numpy(dtype=bool)
    zoned = _to_datetime(texts.where(aware & long_enough), "ISO8601", True)
    plain = _to_datetime(texts.where(~aware & long_enough), "ISO8601", False)
    return _Reading(plain.where(~aware, zoned), date_only, aware)


def _to_datetime(texts: pd.Series, text: str, aware: bool) -> pd.Series:
    found = pd.to_datetime(texts, format=text, errors="coerce", utc=aware)
    found = found.dt.tz_localize(None) if aware else found
    return found.astype("datetime64[us]")


def _read_serial(texts: pd.Series) -> _Reading:
    days = _plain_numbers(texts)
    seconds = (days * 86_400).round()
    local = pd.to_datetime(seconds, unit="s", origin="1899-12-30", errors="coerce").astype("datetime64[us]")
    return _Reading(local, (days % 1 == 0).to_numpy(), np.zeros(len(texts), dtype=bool))


def _read_unix_s(texts: pd.Series) -> _Reading:
    local = pd.to_datetime(_plain_numbers(texts), unit="s", errors="coerce").astype("datetime64[us]")
    return _Reading(local, np.zeros(len(texts), dtype=bool), np.ones(len(texts), dtype=bool))


def _read_unix_ms(texts: pd.Series) -> _Reading:
    local = pd.to_datetime(_plain_numbers(texts), unit="ms", errors="coerce").astype("datetime64[us]")
    return _Reading(local, np.zeros(len(texts), dtype=bool), np.ones(len(texts), dtype=bool))


def _plain_numbers(texts: pd.Series) -> pd.Series:
    plain = texts.str.fullmatch(r"[0-9]+(\.[0-9]+)?").fillna(False).astype(bool)
    return pd.to_numeric(texts.where(plain)).astype("float64")


def _combine(texts: pd.Series, readings: list[_Reading]) -> tuple[pd.Series, np.ndarray, np.ndarray, np.ndarray]:
    local, date_only, aware = readings[0].local, readings[0].date_only.copy(), readings[0].aware.copy()
    contradictory = np.zeros(len(texts), dtype=bool)
    for other in readings[1:]:
        both = (local.notna() & other.local.notna()).to_numpy()
        contradictory |= both & (local != other.local).to_numpy()
        new = (local.isna() & other.local.notna()).to_numpy()
        local = local.where(~new, other.local)
        date_only[new], aware[new] = other.date_only[new], other.aware[new]
    return local.mask(contradictory), date_only, aware, contradictory


def _to_utc(local: pd.Series, aware: np.ndarray, time_zone: str) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    nothing = np.zeros(len(local), dtype=bool)
    if time_zone == "UTC" or aware.all():
        return local, nothing, nothing
    naive = local.mask(aware)
    given, later = naive.notna().to_numpy(), nothing  # False: the second of two equal local times
    unique = naive.dt.tz_localize(time_zone, ambiguous="NaT", nonexistent="shift_forward")
    real = naive.dt.tz_localize(time_zone, ambiguous=later, nonexistent="NaT")
    utc = naive.dt.tz_localize(time_zone, ambiguous=later, nonexistent="shift_forward")
    utc = utc.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
    return utc.where(~aware, local), given & unique.isna().to_numpy(), given & real.isna().to_numpy()
