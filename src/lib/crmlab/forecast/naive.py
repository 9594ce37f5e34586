"""Rules of thumb that a forecast must beat: last year, the recent pace, and weighted pipelines."""

import numpy as np
import pandas as pd

from .facts import DealFacts
from .periods import Period

__all__ = ["NAIVE", "naive_forecasts"]

NAIVE = ("recent average", "same period last year", "owners' weighted pipeline", "stage-weighted pipeline")
_DAY = pd.Timedelta(days=1)
_PACE_DAYS = 182


def naive_forecasts(facts: DealFacts, features: pd.DataFrame, *, period: Period, at: pd.Timestamp) -> dict[str, float]:
    """Return rule → EUR won in a period, what is closed already included; a rule that cannot speak is left out.

    Parameters
    ----------
    features : the open deals as they stood at `at`, the date of the forecast.
    """
    start = max(period.start, at)
    closed = facts.won(before=at, since=period.start)["amount"].sum() if period.start < at else 0.0
    left = (period.end - start) / _DAY
    pace = facts.won(before=at, since=at - _PACE_DAYS * _DAY)["amount"].sum() / _PACE_DAYS
    found = {"recent average": closed + pace * left}
    year = pd.DateOffset(years=1)
    if facts.deals["closed_at"].min() < start - year:
        found["same period last year"] = (
            closed + facts.won(before=period.end - year, since=start - year)["amount"].sum()
        )
    due = _due(features, period, at)
    if due is not None and "owner_probability" in features:
        found["owners' weighted pipeline"] = closed + _weighted(features[due], features["owner_probability"][due])
    if due is not None and "stage" in features:
        found["stage-weighted pipeline"] = closed + _weighted(features[due], _stage_rate(features[due]))
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _due(features: pd.DataFrame, period: Period, at: pd.Timestamp) -> np.ndarray | None:
    """Which open deals their owners expect to close in the period; what is overdue is due at once."""
    if "expected_close_days" not in features or not features["expected_close_days"].notna().any():
        return None
    days = np.maximum(features["expected_close_days"].to_numpy("float64"), 0.0)
    return (days >= (period.start - at) / _DAY) & (days < (period.end - at) / _DAY)


def _weighted(features: pd.DataFrame, p: pd.Series) -> float:
    amount = features["amount"] if "amount" in features else features.get("amount_at_creation")
    return float((amount.fillna(0.0) * p.fillna(0.0)).sum()) if amount is not None else float("nan")


def _stage_rate(features: pd.DataFrame) -> pd.Series:
    """The percentages that a CRM attaches to its stages by default."""
    rates = {"qualified": 0.1, "needs": 0.25, "quoted": 0.5, "negotiation": 0.75}
    return features["stage"].astype(object).map(rates).astype("float64").fillna(0.25)
