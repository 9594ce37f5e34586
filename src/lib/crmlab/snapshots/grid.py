"""The dates of a study, and who was open on each of them."""

import numpy as np
import pandas as pd

from crmlab.crm import as_instant

from .question import EVERY, check_choice
from .timeline import Timeline

__all__ = ["end_of_first_day", "open_snapshots", "snapshot_dates"]


def snapshot_dates(first: pd.Timestamp, *, as_of: str | pd.Timestamp, every: str) -> pd.DatetimeIndex:
    """Return the dates of weekly or monthly snapshots: back from `as_of` itself to the last one after `first`.

    Months are counted from `as_of`, so that a 31st becomes the last day of shorter months and no date comes twice.

    Raises
    ------
    ParameterError : `every` is neither.
    """
    check_choice("every", every, EVERY[:2])
    end = as_instant(as_of)
    if every == "weekly":
        n = int((end - first) / pd.Timedelta(days=7))
        dates = [end - pd.Timedelta(days=7 * k) for k in range(n, -1, -1)]
    else:
        n = (end.year - first.year) * 12 + end.month - first.month
        dates = [end - pd.DateOffset(months=k) for k in range(n, -1, -1)]
    return pd.DatetimeIndex([d for d in dates if d > first], dtype="datetime64[us]")


def open_snapshots(timeline: Timeline, *, as_of: str | pd.Timestamp, every: str) -> pd.DataFrame:
    """Return one row (key, as_of) per entity and date at which it was open, by key and date.

    Parameters
    ----------
    timeline : as known at `as_of`. It is left as it was.
    every : one of `EVERY`; `creation` is once, at the end of the first day, and `first_quote` once, just after it.

    Raises
    ------
    ParameterError : `every` is not one of `EVERY`, or the timeline knows no first quotes.
    """
    check_choice("every", every, EVERY if timeline.looks is not None else EVERY[:3])
    spells = timeline.spells[timeline.spells["start"] < as_instant(as_of)]
    codes = timeline.codes(spells)
    spells, codes = spells[codes >= 0], codes[codes >= 0]
    if every in EVERY[:2]:
        return _on_dates(timeline, codes, spells, as_of=as_of, every=every)
    looks = timeline.looks if every == "first_quote" else _first_days(timeline.key, spells)
    return _once(timeline, codes, spells, looks[looks["as_of"] <= as_instant(as_of)])


def end_of_first_day(start: pd.Series) -> pd.Series:
    """Return the midnight that ends the day of each time."""
    return start.dt.normalize() + pd.Timedelta(days=1)


def _first_days(key: str, spells: pd.DataFrame) -> pd.DataFrame:
    first = spells.sort_values("start", kind="stable").drop_duplicates(key)
    return pd.DataFrame({key: first[key], "as_of": end_of_first_day(first["start"])})


def _on_dates(timeline: Timeline, codes: np.ndarray, spells: pd.DataFrame, *, as_of: object, every: str):
    dates = (
        snapshot_dates(spells["start"].min(), as_of=as_of, every=every)
        if len(spells)
        else pd.DatetimeIndex([], dtype="datetime64[us]")
    )
    first = dates.searchsorted(spells["start"], side="right")
    end = spells["end"].to_numpy()
    last = np.where(np.isnat(end), len(dates), dates.searchsorted(end, side="right"))
    n = np.maximum(last - first, 0)
    position = np.repeat(codes * len(dates) + first, n) + np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    if (np.diff(position) <= 0).any():
        position = np.unique(position)
    entity, date = np.divmod(position, max(len(dates), 1))
    return _rows(timeline, entity, dates.to_numpy()[date])


def _once(timeline: Timeline, codes: np.ndarray, spells: pd.DataFrame, looks: pd.DataFrame) -> pd.DataFrame:
    """Keep the looks that fall into a spell of their entity."""
    looked = timeline.codes(looks)
    spells = pd.DataFrame({"code": codes, "start": spells["start"].to_numpy(), "end": spells["end"].to_numpy()})
    looks = pd.DataFrame({"code": looked, "as_of": looks["as_of"].to_numpy()})
    both = looks[looked >= 0].merge(spells, on="code", how="inner", validate="1:m")
    is_open = (both["start"] < both["as_of"]) & ~(both["end"] < both["as_of"])
    found = both[is_open].drop_duplicates("code").sort_values("code")
    return _rows(timeline, found["code"].to_numpy(), found["as_of"].to_numpy())


def _rows(timeline: Timeline, codes: np.ndarray, dates: np.ndarray) -> pd.DataFrame:
    ids = pd.Series(timeline.ids[codes], dtype="str", name=timeline.key)
    return pd.DataFrame({timeline.key: ids, "as_of": pd.Series(dates, dtype="datetime64[us]")})
