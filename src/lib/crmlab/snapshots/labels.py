"""What became of each row within the horizon."""

import numpy as np
import pandas as pd

from crmlab.crm import as_instant
from crmlab.schema import DataError

from .timeline import Moments, Timeline

__all__ = ["label_snapshots"]


def label_snapshots(
    rows: pd.DataFrame, timeline: Timeline, *, as_of: str | pd.Timestamp, horizon_days: int
) -> pd.DataFrame:
    """Return `rows` with `label` (boolean, missing when censored) and `mature`.

    Parameters
    ----------
    rows : frame with the key of the timeline's entity and as_of.
    timeline : as known at the study's `as_of`.
    as_of : the end of what the study may see; windows that reach past it are censored.
    horizon_days : length of the window in days; it holds what happens at `row.as_of < at <= row.as_of + horizon_days`.

    Raises
    ------
    DataError : a row's entity is not in the timeline.
    """
    codes = timeline.codes(rows)
    _check_known(timeline.entity, codes)
    moments = Moments(timeline.codes(timeline.outcomes), timeline.outcomes["at"].to_numpy())
    now, horizon = rows["as_of"].to_numpy().astype("datetime64[us]"), np.timedelta64(horizon_days, "D")
    upto, end = moments.until(codes, now), now + horizon
    ahead, visible = moments.until(codes, end) - upto, moments.before(codes, now)
    mature = (end <= as_instant(as_of).to_datetime64()) & (upto == visible)
    if timeline.measure == "rise":
        label = ahead > visible - moments.before(codes, now - horizon)
        mature &= now - horizon >= np.datetime64(timeline.since)
    else:
        label = (ahead > 0) == (timeline.measure == "event")
    label = pd.Series(label, index=rows.index).astype("boolean").where(mature)
    return rows.assign(label=label, mature=mature)


def _check_known(entity: str, codes: np.ndarray) -> None:
    unknown = int((codes < 0).sum())
    if unknown:
        names = {"lead": "leads", "opportunity": "opportunities", "account": "accounts", "rep": "reps"}[entity]
        raise DataError(
            f"There are rows of {names} that the CRM does not hold.",
            found=f"{unknown:,} of {len(codes):,} rows",
            remedy=f"build the rows from the same {names}.",
        )
