"""How owners stand against what their mix of leads would lead one to expect."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crmlab.intervals import rate_interval

from .groups import MIN_GROUP, NO_VALUE, group_labels
from .survival import cumulative_hazard
from .tables import conversion_table

__all__ = ["owner_table"]

_COLUMNS = {
    "owner_id": "str",
    "n": "int64",
    "share": "float64",
    "low": "float64",
    "high": "float64",
    "observed": "int64",
    "expected": "float64",
    "ratio": "float64",
    "ratio_low": "float64",
    "ratio_high": "float64",
    "small": "bool",
}


def owner_table(
    durations: pd.DataFrame, *, horizon_days: int, case_mix: Sequence[str] = ("source", "size")
) -> pd.DataFrame:
    """Return each owner's conversions against those expected from the leads they were given.

    Indirect standardisation: a lead's expected conversions are the Nelson–Aalen cumulative hazard of all leads of the
    same case mix, up to the lead's own follow-up or the horizon. Over all owners they add up to the conversions seen.
    The raw share mixes skill with luck of assignment; the ratio takes out the part of it that `case_mix` describes, and
    no more. An owner's own leads count in the expectation too, which draws the ratio of a large owner towards 1.

    Parameters
    ----------
    durations : frame of `lead_durations`; owners are those at creation.
    horizon_days : conversions count within these days of creation.
    case_mix : columns that describe what an owner was given; leads alike in all of them are compared with each other.

    Returns
    -------
    Frame, most leads first: owner_id, n, share, low, high (Kaplan–Meier at the horizon), observed, expected, ratio
    (observed / expected), ratio_low, ratio_high (exact Poisson 95 % interval; expected taken as known), small. Empty
    when the source knows only today's owner.
    """
    if durations["owner_id"].isna().all():
        return pd.DataFrame(columns=list(_COLUMNS)).astype(_COLUMNS)
    seen = durations["converted"] & (durations["days"] <= horizon_days)
    owners = durations.assign(
        owner_id=durations["owner_id"].fillna(NO_VALUE),
        observed=seen.astype("int64"),
        expected=_expected(durations, seen, case_mix),
    )
    counts = owners.groupby("owner_id").agg(
        n=("lead_id", "size"), observed=("observed", "sum"), expected=("expected", "sum")
    )
    raw = pd.concat([_raw_share(part, horizon_days) for _, part in owners.groupby("owner_id")])
    table = counts.join(raw, validate="1:1").reset_index()
    bounds = [rate_interval(o, e) for o, e in zip(table["observed"], table["expected"], strict=True)]
    table = table.assign(
        ratio=table["observed"] / table["expected"].where(table["expected"] > 0),
        ratio_low=[low for low, _ in bounds],
        ratio_high=[high for _, high in bounds],
        small=table["n"] < MIN_GROUP,
    )
    return table.sort_values(["n", "owner_id"], ascending=[False, True], ignore_index=True)[list(_COLUMNS)].astype(
        _COLUMNS
    )


def _expected(durations: pd.DataFrame, seen: pd.Series, case_mix: Sequence[str]) -> np.ndarray:
    """Expected conversions of each lead, from the leads that are alike in all of `case_mix`."""
    labels = {c: group_labels(durations, c).astype("str").fillna(NO_VALUE).to_numpy() for c in case_mix}
    alike = pd.DataFrame(labels or {"all": np.zeros(len(durations))}).groupby(list(labels) or ["all"])
    time, hit, expected = durations["days"].to_numpy(), seen.to_numpy(), np.empty(len(durations))
    for rows in alike.indices.values():
        expected[rows] = cumulative_hazard(time[rows], hit[rows])
    return expected


def _raw_share(part: pd.DataFrame, horizon_days: int) -> pd.DataFrame:
    row = conversion_table(part, None, horizons=(horizon_days,))
    named = row.rename(columns={f"{c}_{horizon_days}d": c for c in ("share", "low", "high")})
    return named[["share", "low", "high"]].set_axis(pd.Index([part["owner_id"].iloc[0]], name="owner_id"))
