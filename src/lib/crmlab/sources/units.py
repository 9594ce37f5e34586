"""Units that a mapping may name, as factors to the canonical unit of a column."""

__all__ = ["between_factor", "unit_factor", "unit_names"]

_MINUTES = {"seconds": 1 / 60, "minutes": 1.0, "hours": 60.0, "days": 1_440.0}
_YEARS = {"days": 1 / 365.25, "months": 1 / 12, "years": 1.0}
_SHARE = {"share": 1.0, "percent": 0.01}
_PEOPLE = {"people": 1.0, "hundred people": 100.0, "thousand people": 1_000.0}


def unit_factor(unit: str, *, canonical: str, currency: str) -> float | None:
    """Return what a value in `unit` is multiplied by, or None when the two do not convert.

    >>> unit_factor("thousand EUR", canonical="EUR", currency="EUR")
    1000.0
    >>> unit_factor("days", canonical="minutes", currency="EUR")
    1440.0
    """
    return _factors(canonical, currency).get(unit)


def between_factor(canonical: str) -> float | None:
    """Return what a time in minutes is multiplied by to be in the canonical unit; None for a unit that is no time.

    >>> between_factor("minutes"), between_factor("days") * 1440, between_factor("EUR")
    (1.0, 1.0, None)
    """
    return {"minutes": 1.0, "days": 1 / 1_440, "years": 1 / 525_960}.get(canonical)


def unit_names(canonical: str, *, currency: str) -> list[str]:
    """Return the units that convert to the canonical one."""
    return list(_factors(canonical, currency))


def _factors(canonical: str, currency: str) -> dict[str, float]:
    money = {currency: 1.0, f"thousand {currency}": 1e3, f"million {currency}": 1e6, f"cent {currency}": 0.01}
    known = {"EUR": money, "minutes": _MINUTES, "years": _YEARS, "share": _SHARE, "people": _PEOPLE}
    return known.get(canonical, {canonical: 1.0} if canonical else {})
