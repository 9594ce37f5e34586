"""Features made of other features, or of the row's date alone: the same on every path."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .declare import Difference, Ratio, Total
from .kernel import DAY

__all__ = ["formula_column", "month", "quarter_days_left"]

Column = np.ndarray | pd.api.extensions.ExtensionArray


def formula_column(formula: Ratio | Difference | Total, found: Mapping[str, Column]) -> Column | None:
    """Return a formula's values, or None where the source has nothing to compute it from.

    A source that has no event of one kind has none to add or to take away; a ratio needs both of its parts.

    Parameters
    ----------
    found : name → values of the features declared before.
    """
    first, second = found.get(formula.first), found.get(formula.second)
    if isinstance(formula, Ratio):
        return None if first is None or second is None else _ratio(first, second)
    if first is None or second is None:
        return first
    return first + second if isinstance(formula, Total) else first - second


def _ratio(top: Column, bottom: Column) -> np.ndarray:
    top, bottom = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom != 0)


def month(as_of: np.ndarray) -> np.ndarray:
    """Return the month of the year of each date, 1 to 12; `as_of` in microseconds."""
    return (_months(as_of) % 12 + 1).astype(np.float64)


def quarter_days_left(as_of: np.ndarray) -> np.ndarray:
    """Return the days to the end of the quarter, in which sales closes what it can; `as_of` in microseconds."""
    end = ((_months(as_of) // 3 + 1) * 3).astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    return (end - as_of) / DAY


def _months(as_of: np.ndarray) -> np.ndarray:
    """Months since January 1970."""
    return as_of.view("datetime64[us]").astype("datetime64[M]").astype(np.int64)
