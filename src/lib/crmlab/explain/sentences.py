"""Explanations in sentences that stay true when the numbers change."""

import pandas as pd

from .change import PARTS
from .reasons import AGAINST, BASE, ELSE, FOR

__all__ = ["change_sentence", "changes_sentence", "importance_sentence", "score_sentence"]


def score_sentence(lines: pd.DataFrame) -> str:
    """Say one score with its reasons; `lines`: those of one row of `reasons`.

    Points are rounded one by one, so what is shown may differ from the score by the rounding.
    """
    points = lines.groupby("direction")["points"].sum()
    start, rest = points.get(BASE, 0.0), points.get(ELSE, 0.0)
    said = [_listed(lines[lines["direction"] == side], side) for side in (FOR, AGAINST)]
    return (
        f"{points.sum():.0f} %: from {start:.0f} % to start with; {'; '.join(said)}; "
        f"everything else {rest:+.1f} points."
    )


def _listed(lines: pd.DataFrame, side: str) -> str:
    if lines.empty:
        return f"nothing {side} it"
    told = [f"{reason} ({points:+.1f})" for reason, points in zip(lines["reason"], lines["points"], strict=True)]
    return f"{side} it: {', '.join(told)}"


def change_sentence(lines: pd.DataFrame) -> str:
    """Say why one score changed; `lines`: those of one row of `change`."""
    if lines.empty:
        return "The score did not change."
    total = lines["points"].sum()
    largest = lines.loc[lines["points"].abs().idxmax()]
    return (
        f"The score changed by {total:+.1f} percentage points; "
        f"most of it ({largest['points']:+.1f}) comes from: {largest['reason']}."
    )


def changes_sentence(parts: pd.DataFrame) -> str:
    """Say how far scores moved since last time and through which part; `parts`: frame of `change_parts`."""
    if parts.empty:
        return "No entity was scored both times: there is no change to explain."
    moved = (parts["p_new"] - parts["p_old"]).abs()
    sizes = parts[list(PARTS)].abs().sum()
    if not sizes.sum():
        return f"None of the {len(parts):,} scores changed."
    shares = ", ".join(f"{part} {100 * size / sizes.sum():.0f} %" for part, size in sizes.items())
    return (
        f"The {len(parts):,} scores given both times moved by {100 * moved.mean():.1f} percentage points on average; "
        f"of all movement: {shares}."
    )


def importance_sentence(table: pd.DataFrame, *, n: int = 3) -> str:
    """Say which topics move scores most; `table`: frame of `importance`."""
    if table.empty or not table["mean"].sum():
        return "No feature moves the scores: every row gets the same."
    top = table.head(n)
    told = ", ".join(f"{name} ({100 * share:.0f} %)" for name, share in zip(top["topic"], top["share"], strict=True))
    return (
        f"Of what moves scores apart, most comes from {told}. It is what the model uses, not what causes the outcome."
    )
