"""Calendar months and quarters around a date, and the steps of a forecast between them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import as_instant

__all__ = ["Period", "forecast_edges", "forecast_periods"]


@dataclass(frozen=True)
class Period:
    """A calendar month or quarter.

    Attributes
    ----------
    role : this month, next month, this quarter or next quarter, as seen from the forecast's date.
    start, end : first instant, and first instant after it.
    """

    role: str
    start: pd.Timestamp
    end: pd.Timestamp

    @property
    def name(self) -> str:
        """Such as `2025-01` or `2025 Q1`."""
        if self.role.endswith("month"):
            return f"{self.start:%Y-%m}"
        return f"{self.start.year} Q{self.start.quarter}"

    def elapsed(self, at: pd.Timestamp) -> float:
        """Return which share of the period has passed at a date."""
        return float(np.clip((at - self.start) / (self.end - self.start), 0.0, 1.0))


def forecast_periods(as_of: str | pd.Timestamp) -> tuple[Period, ...]:
    """Return this and the next month, and this and the next quarter.

    >>> [p.name for p in forecast_periods("2024-12-31")]
    ['2024-12', '2025-01', '2024 Q4', '2025 Q1']
    """
    at = as_instant(as_of).normalize()
    month = at.replace(day=1)
    quarter = month.replace(month=3 * (month.quarter - 1) + 1)
    found = []
    for word, start, n in (("month", month, 1), ("quarter", quarter, 3)):
        step = pd.DateOffset(months=n)
        found += [
            Period(f"this {word}", start, start + step),
            Period(f"next {word}", start + step, start + step + step),
        ]
    return tuple(found)


def forecast_edges(as_of: str | pd.Timestamp) -> pd.DatetimeIndex:
    """Return the date itself and the ends of the months up to the end of the next quarter: four to six steps."""
    at = as_instant(as_of)
    periods = forecast_periods(at)
    ends = pd.date_range(periods[0].end, periods[-1].end, freq="MS")
    return pd.DatetimeIndex([at, *ends], dtype="datetime64[us]")
