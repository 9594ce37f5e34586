"""Has the ground moved: how often the outcome comes, and which sources of events have dried up."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.intervals import difference_interval
from crmlab.schema import TABLES

from .realised import clustered_share

__all__ = ["PriorShift", "dried_up", "prior_shift", "rate_table"]

_DAY = pd.Timedelta(days=1)
_YEAR_DAYS = 364
"""Whole weeks, so that the same days of the week are compared."""
_WINDOW = 28
_WINDOWS = 13
_FEWEST_EVENTS = 20
_DRIED = 0.5
_EVENTS = {"interactions": "type", "changes": "field", "leads": "source", "quotes": None, "opportunities": None}
_RATES = ["quarter", "n", "n_entities", "rate", "low", "high"]


def rate_table(rows: pd.DataFrame, *, key: str) -> pd.DataFrame:
    """Return how often the outcome came, per calendar quarter of the look: n, n_entities, rate with interval.

    Parameters
    ----------
    rows : settled rows with `as_of`, `label` and the key of the entity.
    """
    quarter = rows["as_of"].dt.year.astype(str) + " Q" + rows["as_of"].dt.quarter.astype(str)
    parts = [
        (q, len(part), part[key].nunique(), *clustered_share(part["label"].to_numpy("float64"), part[key].to_numpy()))
        for q, part in rows.groupby(quarter, sort=True)
    ]
    return pd.DataFrame(parts, columns=_RATES)


class PriorShift:
    """How often the outcome came lately, against training and against the same season of earlier years.

    Attributes
    ----------
    n : settled looks of the newest window. first, last : its dates (NaT without rows).
    now, trained, season : share with its interval (value, low, high); season is missing where no earlier year is known.
    against_training, against_season : difference of shares with interval.
    log_odds : difference from training in log odds.
    """

    def __init__(self, rows: pd.DataFrame, trained: pd.DataFrame, *, key: str, window_days: int) -> None:
        last = rows["as_of"].max()
        new = rows[rows["as_of"] > last - window_days * _DAY]
        trained = trained[trained["as_of"] <= last - window_days * _DAY]
        self.n, self.first, self.last = len(new), new["as_of"].min(), last
        self.now, self.trained = _share(new, key), _share(trained, key)
        self.season = _share(_same_season(rows, last, window_days), key)
        self.against_training = difference_interval(self.now, self.trained)
        self.against_season = difference_interval(self.now, self.season)
        self.log_odds = _log_odds(self.now[0]) - _log_odds(self.trained[0])

    def alarm(self, bound: float) -> bool:
        """Whether the rate has moved by more than `bound` in log odds, beyond chance and beyond the season."""
        sure = _excludes_zero(self.against_training) and abs(self.log_odds) > bound
        return bool(sure and (np.isnan(self.season[0]) or _excludes_zero(self.against_season)))


def prior_shift(rows: pd.DataFrame, trained: pd.DataFrame, *, key: str, window_days: int = 91) -> PriorShift:
    """Return how the rate of the outcome has moved.

    Parameters
    ----------
    rows : all settled looks, with `as_of`, `label` and the key. trained : those that the model learned from; the newest
        window itself is left out of them.
    window_days : the newest looks that count as "lately".
    """
    return PriorShift(rows, trained, key=key, window_days=window_days)


def _share(rows: pd.DataFrame, key: str) -> tuple[float, float, float]:
    return clustered_share(rows["label"].to_numpy("float64"), rows[key].to_numpy())


def _same_season(rows: pd.DataFrame, last: pd.Timestamp, window_days: int) -> pd.DataFrame:
    ago = (last - rows["as_of"]).dt.days
    return rows[(ago >= _YEAR_DAYS) & (ago % _YEAR_DAYS < window_days)]


def _log_odds(share: float) -> float:
    share = np.clip(share, 1e-6, 1 - 1e-6)
    return float(np.log(share / (1 - share)))


def _excludes_zero(estimate: tuple[float, float, float]) -> bool:
    return bool(estimate[1] > 0 or estimate[2] < 0)


def dried_up(crm: Crm, *, as_of: str) -> pd.DataFrame:
    """Return which kinds of events have dried up: telephone system disconnected, form without connection, …

    A kind is alarmed if its last 28 days hold less than half of the poorest of the thirteen such windows before, and
    these held 20 events at least in the middle.

    Returns
    -------
    Frame, alarms first: table, kind, last_28_days, usual (median of the windows before), lowest, last_seen, alarm.
    Kinds with fewer events are left out; empty for sources without dates.
    """
    end = as_instant(as_of)
    parts = [_counts(crm, name, column, end) for name, column in _EVENTS.items() if crm.counts().get(name)]
    parts = [part for part in parts if len(part)]
    columns = ["table", "kind", "last_28_days", "usual", "lowest", "last_seen", "alarm"]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True)
    table = table[table["usual"] >= _FEWEST_EVENTS]
    table = table.assign(alarm=table["last_28_days"] < _DRIED * table["lowest"])
    share = table["last_28_days"] / table["usual"]
    order = pd.DataFrame({"a": ~table["alarm"], "s": share}).sort_values(["a", "s"], kind="stable").index
    return table.loc[order, columns].reset_index(drop=True)


def _counts(crm: Crm, name: str, column: str | None, end: pd.Timestamp) -> pd.DataFrame:
    events = crm.at(name, as_of=end)
    when = events[TABLES[name].known_at]
    kind = events[column].astype("str") if column else pd.Series("all", index=events.index, dtype="str")
    window = (end - when) // (_WINDOW * _DAY)
    chosen = when.notna() & kind.notna() & (window <= _WINDOWS)
    if not chosen.any() or (end - when.min()) < (_WINDOWS + 1) * _WINDOW * _DAY:
        return pd.DataFrame()
    counts = pd.crosstab(kind[chosen], window[chosen].astype("int64")).reindex(
        columns=range(_WINDOWS + 1), fill_value=0
    )
    before = counts[range(1, _WINDOWS + 1)]
    last_seen = when[chosen].groupby(kind[chosen]).max().reindex(counts.index)
    return pd.DataFrame(
        {
            "table": name,
            "kind": counts.index.astype("str"),
            "last_28_days": counts[0].to_numpy(),
            "usual": before.median(axis=1).to_numpy(),
            "lowest": before.min(axis=1).to_numpy(),
            "last_seen": last_seen.to_numpy(),
        }
    )
