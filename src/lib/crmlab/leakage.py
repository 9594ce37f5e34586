"""Does anything from the future reach a feature?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.features import build_features

__all__ = ["truncation_table"]


def truncation_table(crm: Crm, snapshots: pd.DataFrame, features: pd.DataFrame, *, n_dates: int) -> pd.DataFrame:
    """Delete everything at or after a date, compute that date's features again, and count the bits that changed.

    Parameters
    ----------
    snapshots, features : row for row the same (lead, as_of), as the study uses them.
    n_dates : how many dates to check, spread evenly over those of the snapshots.

    Returns
    -------
    Frame: as_of, rows, features, changed (values that differ; 0 means that nothing leaked on that date).
    """
    dates = np.sort(snapshots["as_of"].dropna().unique())
    picked = (
        dates[np.unique(np.linspace(0, len(dates) - 1, min(n_dates, len(dates))).astype(int))] if len(dates) else []
    )
    rows = [_recomputed(crm, snapshots, features, date) for date in pd.DatetimeIndex(picked)]
    return pd.DataFrame(rows, columns=["as_of", "rows", "features", "changed"])


def _recomputed(crm: Crm, snapshots: pd.DataFrame, features: pd.DataFrame, date: pd.Timestamp) -> tuple:
    here = (snapshots["as_of"] == date).to_numpy()
    again = build_features(crm.cut(as_of=date), snapshots[here])
    return (date, int(here.sum()), features.shape[1], _differences(features[here], again))


def _differences(expected: pd.DataFrame, found: pd.DataFrame) -> int:
    """Values that differ, a gap being equal to a gap and a feature that vanished to a column of gaps."""
    found = found.reindex(columns=expected.columns)
    pairs: Sequence = [(expected[c], found[c]) for c in expected]
    return sum(int((~((a == b).to_numpy(bool) | (a.isna() & b.isna()).to_numpy())).sum()) for a, b in pairs)
