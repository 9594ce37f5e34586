"""How numbers look, in one place: percent, money, intervals, dates, and the dash for what is missing.

A *kind* names a format: `text`, `number`, `count`, `signed`, `percent`, `points` (difference of two shares), `money`,
`date`, `datetime`, `flag`, and two compounds, `interval` (low, high) and `estimate` (value, low, high), which may name
the kind of their parts and the number of decimals: `interval:percent`, `estimate:money`, `number:4`, `percent:2`.
"""

import math
from collections.abc import Callable, Iterable
from datetime import date as _date
from datetime import datetime

from crmlab.schema import ParameterError, did_you_mean

__all__ = ["KINDS", "MISSING", "date", "estimate", "format_values", "interval", "money", "number", "percent"]

MISSING = "–"
_MINUS = "−"
_SPACE = "\u00a0"  # no-break: the unit never starts a line
_CURRENCY = "€"
KINDS = (
    "text", "number", "count", "signed", "percent", "points", "money", "date", "datetime", "flag",
    "interval", "estimate",
)  # fmt: skip
_COMPOUND = ("interval", "estimate")


def number(x: float | None, digits: int | None = None) -> str:
    """Return a number with thousands separators; decimals follow its size unless `digits` says otherwise.

    >>> number(1234567), number(0.2512), number(-3.14159), number(None)
    ('1,234,567', '0.251', '−3.14', '–')
    """
    return _one(x, "number", digits)


def percent(x: float | None, digits: int | None = None) -> str:
    """Return a share (0 to 1) as percent: one decimal, two below 1 %; a share above 0 never reads 0 %.

    >>> percent(0.1234).replace(chr(0xA0), " "), percent(0.00001).replace(chr(0xA0), " ")
    ('12.3 %', '<0.01 %')
    """
    return _one(x, "percent", digits)


def money(x: float | None, digits: int | None = None) -> str:
    """Return an amount in euro, without cents from 100 euro on.

    >>> money(12345.6), money(-9.5)
    ('€12,346', '−€9.50')
    """
    return _one(x, "money", digits)


def date(x: object) -> str:
    """Return the ISO date of an instant, a date or an ISO text.

    >>> date(datetime(2025, 1, 6, 23, 59))
    '2025-01-06'
    """
    return MISSING if _is_missing(x) else _iso(x)[:10]


def interval(low: float | None, high: float | None, kind: str = "number", digits: int | None = None) -> str:
    """Return `low` to `high` with the unit written once.

    >>> interval(0.11, 0.138, "percent").replace(chr(0xA0), " "), interval(-1.0, 2.5)
    ('11.0–13.8 %', '−1.00 to 2.50')
    """
    kind, digits = _number_kind(kind, digits)
    if _is_missing(low) and _is_missing(high):
        return MISSING
    digits = _decimals(kind, [low, high]) if digits is None else digits
    return _with_unit(_span(low, high, kind, digits), kind)


def estimate(
    value: float | None, low: float | None = None, high: float | None = None, kind: str = "number",
    digits: int | None = None,
) -> str:  # fmt: skip
    """Return a value with its interval.

    >>> estimate(0.123, 0.11, 0.138, "percent").replace(chr(0xA0), " ")
    '12.3 % (11.0–13.8)'
    """
    kind, digits = _number_kind(kind, digits)
    digits = _decimals(kind, [value, low, high]) if digits is None else digits
    middle = _one(value, kind, digits)
    if _is_missing(value) or (_is_missing(low) and _is_missing(high)):
        return middle
    return f"{middle} ({_span(low, high, kind, digits)})"


def format_values(values: Iterable[object], kind: str) -> list[str]:
    """Return the texts of one column: all with the same number of decimals, so that they can be compared.

    Raises
    ------
    ParameterError : `kind` is not known.
    """
    values = list(values)
    name, part, digits = parse_kind(kind)
    if name in _COMPOUND:
        return _format_compounds(values, name, part, digits)
    if name in _TEXTS:
        return [MISSING if _is_missing(value) else _TEXTS[name](value) for value in values]
    digits = _decimals(name, values) if digits is None else digits
    return [_one(value, name, digits) for value in values]


def parse_kind(kind: str) -> tuple[str, str, int | None]:
    """Return (kind, kind of the parts, decimals) of a format such as `estimate:percent:1`."""
    name, *rest = str(kind).split(":")
    digits = int(rest.pop()) if rest and rest[-1].isdigit() else None
    part = rest[0] if rest else "number"
    if name not in KINDS or len(rest) > 1 or (rest and name not in _COMPOUND) or part not in _NUMBERS:
        raise ParameterError("Unknown format of a number.", found=repr(kind), remedy=did_you_mean(str(kind), KINDS))
    return name, part, digits


def _format_compounds(values: list[object], name: str, part: str, digits: int | None) -> list[str]:
    tuples = [value if isinstance(value, (tuple, list)) else () for value in values]
    if digits is None:
        digits = _decimals(part, [x for parts in tuples for x in parts])
    write = interval if name == "interval" else estimate
    return [write(*parts, kind=part, digits=digits) if parts else MISSING for parts in tuples]


def _number_kind(kind: str, digits: int | None) -> tuple[str, int | None]:
    name, _, stated = parse_kind(kind)
    if name not in _NUMBERS:
        raise ParameterError("Only numbers have intervals.", found=repr(kind), remedy=f"one of {', '.join(_NUMBERS)}.")
    return name, stated if digits is None else digits


def _is_missing(x: object) -> bool:
    if x is None:
        return True
    try:
        return bool(x != x)  # NaN and NaT differ from themselves
    except TypeError:  # pandas.NA has no truth value
        return True


def _decimals(kind: str, values: Iterable[object]) -> int:
    """Return the decimals that suit the largest of `values`."""
    sizes = [abs(float(x)) for x in values if not _is_missing(x) and math.isfinite(float(x))]
    largest = max(sizes, default=0.0)
    if kind == "count":
        return 0
    if kind in ("percent", "points"):
        return 2 if 0 < largest < 0.01 else 1
    if kind == "money":
        return 0 if largest >= 100 or all(size.is_integer() for size in sizes) else 2
    if all(size.is_integer() for size in sizes):
        return 0
    if largest >= 1:
        return 0 if largest >= 1000 else 1 if largest >= 100 else 2
    return min(8, max(3, 2 - math.floor(math.log10(largest))))


def _one(x: object, kind: str, digits: int | None) -> str:
    if _is_missing(x):
        return MISSING
    value = float(x)
    digits = _decimals(kind, [value]) if digits is None else digits
    if kind == "percent" and (bound := _beyond(value, digits)):
        return bound
    sign = _MINUS if value < 0 and _rounds_off_zero(value, kind, digits) else ""
    if kind in ("signed", "points") and value > 0 and _rounds_off_zero(value, kind, digits):
        sign = "+"
    return sign + _with_unit(_bare(abs(value), kind, digits), kind)


def _beyond(value: float, digits: int) -> str:
    """Say `<0.1 %` or `>99.9 %` where rounding would claim never or always."""
    step = 10.0**-digits
    if 0 < value < 1 and round(100 * value, digits) == 0:
        return f"<{step:.{digits}f}{_SPACE}%"
    if 0 < value < 1 and round(100 * value, digits) == 100:
        return f">{100 - step:.{digits}f}{_SPACE}%"
    return ""


def _bare(size: float, kind: str, digits: int) -> str:
    if math.isinf(size):
        return "∞"
    return f"{size * (100 if kind in ('percent', 'points') else 1):,.{digits}f}"


def _rounds_off_zero(value: float, kind: str, digits: int) -> bool:
    return _bare(abs(value), kind, digits).strip("0.") != ""


def _with_unit(text: str, kind: str) -> str:
    if kind == "money":
        return _CURRENCY + text
    return text + {"percent": f"{_SPACE}%", "points": f"{_SPACE}pts"}.get(kind, "")


def _span(low: object, high: object, kind: str, digits: int) -> str:
    ends = [MISSING if _is_missing(x) else _signed_bare(float(x), kind, digits) for x in (low, high)]
    joint = "–" if not any(_MINUS in end or end == MISSING for end in ends) else " to "
    return joint.join(ends)


def _signed_bare(value: float, kind: str, digits: int) -> str:
    minus = value < 0 and _rounds_off_zero(value, kind, digits)
    return (_MINUS if minus else "") + _bare(abs(value), kind, digits)


def _iso(x: object) -> str:
    return x.isoformat(sep=" ") if isinstance(x, datetime) else x.isoformat() if isinstance(x, _date) else str(x)


_NUMBERS = ("number", "count", "signed", "percent", "points", "money")
_TEXTS: dict[str, Callable[[object], str]] = {
    "text": str,
    "date": date,
    "datetime": lambda x: _iso(x)[:16],
    "flag": lambda x: "yes" if x else "no",
}
