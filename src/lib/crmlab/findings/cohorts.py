"""What cohorts and owners show."""

import pandas as pd

from crmlab.report import estimate, number, percent, record

from .finding import Finding

__all__ = [
    "OWNER_FORMATS",
    "cohort_finding",
    "conversion_view",
    "owner_finding",
    "owner_view",
    "record_cohorts",
    "view_formats",
]

OWNER_FORMATS = {"share": "estimate:percent", "expected": "number:1", "ratio": "estimate:number:2"}


def cohort_finding(overall: pd.Series, estimators: pd.DataFrame, *, horizon_days: int) -> Finding:
    """Say how many leads convert within the horizon, and what the common short cuts would have said.

    Parameters
    ----------
    overall : the one row of `cohorts.conversion_table` for all leads.
    estimators : result of `cohorts.estimator_table`, the right way first.
    """
    h = f"{horizon_days}d"
    share = estimate(overall[f"share_{h}"], overall[f"low_{h}"], overall[f"high_{h}"], kind="percent")
    others = [percent(x) for x in estimators["share"].iloc[1:].dropna()]
    sentence = f"Of all leads, {share} convert within {horizon_days} days of their creation"
    if others:
        sentence += f"; the common short cuts would have said {' or '.join(others)}"
    return Finding(f"{sentence}.", "plain")


def owner_finding(owners: pd.DataFrame) -> Finding:
    """Say how many owners differ from what their leads would have let expect."""
    if owners.empty:
        return Finding(
            "Only today's owner is known, and whoever takes over promising leads would look good: nothing is compared.",
            "caution",
        )
    apart = owners[(owners["ratio_low"] > 1) | (owners["ratio_high"] < 1)]
    chance = number(0.05 * len(owners), 1)
    return Finding(
        f"{len(apart)} of {len(owners)} owners convert clearly more or fewer leads than expected of leads like theirs; "
        f"about {chance} would by chance alone.",
        "plain",
    )


def record_cohorts(overall: pd.Series, *, horizon_days: int) -> None:
    """Record the share of all leads that converts within the horizon."""
    h = f"{horizon_days}d"
    ends = {"low": overall[f"low_{h}"], "high": overall[f"high_{h}"], "n": int(overall["n"])}
    label = f"converted within {horizon_days} days of creation"
    record("share_converted", overall[f"share_{h}"], **ends, unit="percent", headline=True, label=label)


def conversion_view(table: pd.DataFrame, *, horizons: list[int], compare_at: int) -> pd.DataFrame:
    """Return a conversion table for reading: every share with its interval in one cell.

    Parameters
    ----------
    table : result of `cohorts.conversion_table`.
    horizons, compare_at : as given to it.

    Returns
    -------
    Frame: group, n, converted, one column per horizon, and the difference from all other leads.
    """
    cells = {f"{h} days": _triples(table, f"share_{h}d", f"low_{h}d", f"high_{h}d") for h in horizons}
    apart = _triples(table, "difference", "difference_low", "difference_high")
    return table[["group", "n", "converted"]].assign(**cells, **{f"against the rest, {compare_at} days": apart})


def view_formats(view: pd.DataFrame) -> dict[str, str]:
    """Return how the columns of a conversion view are written."""
    shares = {c: "estimate:percent" for c in view if str(c).endswith("days")}
    return shares | {c: "estimate:points" for c in view if str(c).startswith("against")}


def owner_view(owners: pd.DataFrame) -> pd.DataFrame:
    """Return a table of owners for reading: share and ratio with their intervals in one cell."""
    share, ratio = _triples(owners, "share", "low", "high"), _triples(owners, "ratio", "ratio_low", "ratio_high")
    return owners[["owner_id", "n", "observed", "expected"]].assign(share=share, ratio=ratio)


def _triples(table: pd.DataFrame, *columns: str) -> list[tuple]:
    return list(zip(*(table[c] for c in columns), strict=True))
