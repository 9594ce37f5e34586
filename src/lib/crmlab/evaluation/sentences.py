"""What slices, decisions, origins and coverage say, in sentences from values."""

import pandas as pd

from .decisions import ORDER_NOT_EFFECT, RANDOM_ORDER
from .origins import Origins

__all__ = [
    "capacity_sentence",
    "coverage_sentence",
    "fairness_sentence",
    "origins_sentence",
    "slices_sentence",
]

_SPACE = "\u00a0"


def slices_sentence(table: pd.DataFrame) -> str:
    """Say in which slices scores are off by more than chance; `table` as of `slice_table`."""
    tested = int(table["p_value"].notna().sum())
    flagged = table[table["flagged"]]
    if flagged.empty:
        return f"In none of {tested} slices are the scores off by more than chance, counted over all looks."
    worst = flagged.loc[flagged["gap"].abs().idxmax()]
    return (
        f"In {len(flagged)} of {tested} slices the scores are off by more than chance; most in {worst['column']} = "
        f"{worst['slice']}: {_percent(worst['predicted'])} predicted, {_percent(worst['observed'])} observed."
    )


def fairness_sentence(table: pd.DataFrame) -> str:
    """Say whether some slice's conversions are missed more than others'; `table` as of `fairness_table`."""
    tested = int(table["p_value"].notna().sum())
    missed = table[table["flagged"] & (table["ratio"] < 1)]
    if missed.empty:
        return f"In none of {tested} slices are conversions left out of the top more than elsewhere, beyond chance."
    worst = missed.loc[missed["missed"].idxmax()]
    return (
        f"In {len(missed)} of {tested} slices conversions are left out of the top more than elsewhere; most in "
        f"{worst['column']} = {worst['slice']}: {_percent(worst['missed'])} of them."
    )


def capacity_sentence(table: pd.DataFrame, *, way: str, currency: str = "EUR") -> str:
    """Say what one way of choosing whom to call earns against random order; `table` as of `capacity_table`."""
    row, chance = (table.set_index("way").loc[name] for name in (way, RANDOM_ORDER))
    verdict = "more than" if row["difference_low"] > 0 else "not certainly more than"
    return (
        f"With {way}, {row['calls']:,.0f} calls reach {row['conversions']:,.0f} conversions and earn "
        f"{row['profit']:,.0f}{_SPACE}{currency} ({row['low']:,.0f} to {row['high']:,.0f}), {verdict} the "
        f"{chance['profit']:,.0f}{_SPACE}{currency} of random order. {ORDER_NOT_EFFECT}"
    )


def coverage_sentence(rates: pd.DataFrame) -> str:
    """Say how often intervals held the truth; `rates` as of `coverage_rates`."""
    bands, single = (rates.set_index("what").loc[name] for name in ("score bands", "single cases"))
    return (
        f"Intervals meant to hold {_percent(bands['nominal'])} of true shares held {_percent(bands['share'])} of those "
        f"of {bands['n']:,.0f} score bands, and {_percent(single['share'])} of the true probabilities of single cases, "
        "which differ in what nobody recorded."
    )


def origins_sentence(origins: Origins, *, model: str) -> str:
    """Say how a model did from origin to origin, in log loss."""
    row = origins.trend().set_index(["model", "metric"]).loc[(model, "log loss")]
    if row["low"] > 0:
        course = "getting worse"
    elif row["high"] < 0:
        course = "getting better"
    else:
        course = "with no trend beyond chance"
    beaten = int(row["origins"] - row["base_wins"])
    return (
        f"Fitted anew at {row['origins']:.0f} origins, {model} beat the base rate at {beaten}; its log loss went "
        f"from {row['first']:.3f} to {row['last']:.3f}, {course}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}{_SPACE}%"
