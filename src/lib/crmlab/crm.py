"""A CRM as the study sees it: canonical tables, and nothing that was not yet known at `as_of`."""

import re
from dataclasses import dataclass, field, replace
from datetime import date

import pandas as pd

from crmlab.schema import TABLES, TODAY, DataError, ParameterError, empty_table, table
from crmlab.store import Store

_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

__all__ = ["Crm", "as_instant", "check_as_of", "cut_table", "data_span"]


def as_instant(as_of: str | date | pd.Timestamp) -> pd.Timestamp:
    """Return `as_of` as a naive UTC timestamp in microseconds; a date alone means its midnight.

    Raises
    ------
    ParameterError : it is not an ISO date or time. Words such as "today" are refused: they would read the clock.

    >>> as_instant("2024-06-30")
    Timestamp('2024-06-30 00:00:00')
    """
    try:
        instant = pd.to_datetime(as_of, format="ISO8601") if _is_iso(as_of) else pd.NaT
    except ValueError:
        instant = pd.NaT
    if instant is pd.NaT:
        raise ParameterError(
            "`as_of` must be an ISO date such as 2024-06-30.", found=repr(as_of), remedy="write year-month-day."
        )
    return (instant.tz_convert("UTC").tz_localize(None) if instant.tzinfo else instant).as_unit("us")


def _is_iso(as_of: object) -> bool:
    return isinstance(as_of, date) or (isinstance(as_of, str) and _ISO_DAY.match(as_of) is not None)


def cut_table(name: str, frame: pd.DataFrame, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
    """Return what was known of a table strictly before `as_of`.

    Rows not yet known are left out; values known later than their row (an outcome, a payment) are emptied; columns that
    hold only today's value are emptied, because nobody can say what they held then. Own columns (`x_…`) follow their
    row; `Crm.at` leaves out those that are not known from creation on. The argument is left as it was.
    """
    spec, instant = table(name), as_instant(as_of)
    visible, empty = frame[(frame[spec.known_at] < instant).to_numpy()].copy(), empty_table(name)
    for column in spec.columns:
        if column.known == TODAY:
            visible[column.name] = empty[column.name].reindex(visible.index)
        elif column.known != spec.known_at:
            visible[column.name] = visible[column.name].where(visible[column.known] < instant)
    return visible.reset_index(drop=True)


@dataclass
class Crm:
    """Canonical tables of one source, read when first asked for.

    Attributes
    ----------
    store : where the tables are.
    title : what the reports call the source.
    own_columns : name of each own column → {"type", "known", "meaning"}.
    truth : the demo's known truth, or None.
    """

    store: Store
    title: str = ""
    own_columns: dict[str, dict[str, str]] = field(default_factory=dict)
    truth: object | None = None
    _read: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    _whole: "Crm | None" = field(default=None, repr=False)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return a canonical table with everything that is known today. Treat it as read-only."""
        if name not in self._read:
            self._read[name] = self.store.read(name)
        return self._read[name]

    @property
    def fingerprint(self) -> str:
        """Identifies the loaded data; it changes with any byte of the source or its mapping."""
        return self.store.fingerprint() or ""

    def counts(self) -> dict[str, int]:
        """Return the rows of each canonical table that holds any."""
        if self._whole is not None:
            return {name: len(frame) for name, frame in self._read.items() if len(frame)}
        return {name: n for name, n in self.store.counts().items() if name in TABLES and n}

    def extremes(self, name: str, column: str) -> tuple[pd.Timestamp, pd.Timestamp]:
        """Return the first and last time of a column; NaT where it holds none. A table not yet read stays unread."""
        if name not in self._read:
            return self.store.extremes(name, column)
        return self._read[name][column].min(), self._read[name][column].max()

    def at(self, name: str, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
        """Return what was known of a table strictly before `as_of` (see `cut_table`)."""
        unsafe = [c for c in self[name] if c.startswith("x_") and self.known_of(c) != "creation"]
        return cut_table(name, self[name].drop(columns=unsafe), as_of=as_of)

    def cut(self, *, as_of: str | pd.Timestamp) -> "Crm":
        """Return this CRM as it stood just before `as_of`: every table cut by `at`, nothing newer left in it."""
        tables = {name: self.at(name, as_of=as_of) for name in TABLES}
        return replace(self, _read=tables, _whole=self.whole)

    @property
    def whole(self) -> "Crm":
        """The CRM that this one was cut from, or itself: it decides which features there are, never what they hold."""
        return self._whole or self

    def known_of(self, own_column: str) -> str:
        """Return when an own column is known: "creation", "today" or "unknown"."""
        return self.own_columns.get(own_column, {}).get("known", "unknown")


def data_span(crm: Crm) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first creation of a lead or deal and the newest fact of any table; NaT where there is no date.

    A source without leads and deals begins with the first fact of any table.
    """
    counts = crm.counts()
    begun = [name for name in ("leads", "opportunities") if name in counts] or list(counts)
    created = [crm.extremes(name, TABLES[name].known_at)[0] for name in begun]
    newest = [
        crm.extremes(name, column)[1]
        for name in counts
        for column in TABLES[name].of_kind("time")
        if not TABLES[name][column].planned
    ]
    return pd.Series(created, dtype="datetime64[us]").min(), pd.Series(newest, dtype="datetime64[us]").max()


def check_as_of(crm: Crm, as_of: str) -> None:
    """Check that `as_of` lies inside the data: after its beginning, at most a day after the newest fact.

    An empty `as_of` is right for a source without any date, and for no other.

    Raises
    ------
    ParameterError : it lies outside.
    DataError : the source has no dates, but `as_of` is given.
    """
    first, last = data_span(crm)
    if first is pd.NaT:
        if as_of:
            raise DataError(
                f"{crm.title or 'The source'} has no creation dates, so nothing can be cut at an `as_of`.",
                found=f"as_of: {as_of!r}",
                remedy='write `as_of: ""` and `label: final_status`, or map `leads.created_at`.',
            )
        return
    end = last.normalize() + pd.Timedelta(days=1)
    if not first < as_instant(as_of) <= end:
        raise ParameterError(
            "`as_of` lies outside the data.",
            found=f"{as_of}, while the data reach from {first:%Y-%m-%d} to {last:%Y-%m-%d}",
            remedy=f"choose a date after {first:%Y-%m-%d} and not after {end:%Y-%m-%d}.",
        )
