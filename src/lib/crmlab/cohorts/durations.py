"""Days from creation to conversion, one row per lead, and what can be said about the lead at its creation.

A lead that was given up, or is still open, is followed until `as_of`: had it converted after all, we would know. Its
follow-up `as_of − created_at` is known for every lead, so the Kaplan–Meier estimate on these durations is the
cumulative incidence of conversion in the presence of giving up (Fine and Gray, 1999: censoring-complete data).
"""

import numpy as np
import pandas as pd

from crmlab.association import period_labels
from crmlab.crm import Crm, as_instant, check_as_of
from crmlab.quality import follows
from crmlab.quality.rows import look_up
from crmlab.schema import DataError, ParameterError

from .groups import NO_VALUE, SIZES

__all__ = ["NO_VALUE", "PERIODS", "SIZES", "describe_leads", "lead_durations", "left_out_table", "period_starts"]

PERIODS = ("month", "quarter")
_FIELDS = ("source", "industry", "region", "country", "job_position", "product")
_FROM_ACCOUNT = ("industry", "employees", "region", "country")
_MONTHS = {
    1: "01 Jan", 2: "02 Feb", 3: "03 Mar", 4: "04 Apr", 5: "05 May", 6: "06 Jun",
    7: "07 Jul", 8: "08 Aug", 9: "09 Sep", 10: "10 Oct", 11: "11 Nov", 12: "12 Dec",
}  # fmt: skip
_DAY = pd.Timedelta(days=1)
_BANDS = (-1, 9.5, 49.5, 249.5, np.inf)


def lead_durations(crm: Crm, *, as_of: str | pd.Timestamp, period: str = "quarter") -> pd.DataFrame:
    """Return how long each lead took to convert, or has been followed without converting.

    Parameters
    ----------
    as_of : only facts known strictly before this instant are used.
    period : "month" or "quarter": length of the creation cohorts.

    Returns
    -------
    Frame ordered by lead_id: lead_id, created_at, as_of, days (to conversion, else to `as_of`), converted (bool),
    disqualified_days (to giving up, missing if not or if nobody knows when), cohort, month (of the year of creation:
    the season), source, industry, region, country, job_position, product, size (class of employees), owner_id (owner at
    the end of the day of creation, by the change log), owner_is_today (true when the source knows only today's owner;
    owner_id is then empty, because whoever works on promising leads would look good), and own categories known at
    creation. Leads that cannot be placed in time are left out; `left_out_table` counts them.

    Raises
    ------
    ParameterError : `as_of` lies outside the data, or `period` is not one of the two.
    DataError : the source does not say when leads were created and converted.
    """
    check_as_of(crm, as_of)
    _check_period(period)
    _check_dated(crm["leads"])
    instant = as_instant(as_of)
    leads = crm.at("leads", as_of=as_of).sort_values("lead_id", ignore_index=True)
    leads = leads[~_unusable(crm, leads)].reset_index(drop=True)
    converted = leads["converted_at"].notna()
    end = leads["converted_at"].where(converted, instant)
    given_up = (leads["disqualified_at"] - leads["created_at"]) / _DAY
    times = pd.DataFrame(
        {
            "lead_id": leads["lead_id"],
            "created_at": leads["created_at"],
            "as_of": pd.Series(instant, index=leads.index, dtype="datetime64[us]"),
            # A date-only creation is kept as the end of its day: a conversion earlier on that day took no time.
            "days": ((end - leads["created_at"]) / _DAY).clip(lower=0.0),
            "converted": converted,
            "disqualified_days": given_up.where(given_up >= 0),
        }
    )
    return pd.concat([times, describe_leads(crm, leads, as_of=as_of, period=period)], axis=1)


def left_out_table(crm: Crm, *, as_of: str | pd.Timestamp) -> pd.DataFrame:
    """Return what became of all leads of the source: columns what, leads, share. The rows add up to all leads."""
    leads, visible = crm["leads"], crm.at("leads", as_of=as_of)
    impossible = ~follows(visible["created_at"], visible["converted_at"])
    undated = _unusable(crm, visible) & ~impossible
    n_undated, n_later = int(leads["created_at"].isna().sum()), int((leads["created_at"] >= as_instant(as_of)).sum())
    rows = [
        ("used", len(visible) - int(impossible.sum()) - int(undated.sum())),
        ("left out: created at or after as_of", n_later),
        ("left out: no date of creation", n_undated),
        ("left out: converted before it was created", int(impossible.sum())),
        ("left out: converted, but nobody knows when", int(undated.sum())),
    ]
    table = pd.DataFrame(rows, columns=["what", "leads"])
    return table.assign(share=table["leads"] / max(len(leads), 1))


def describe_leads(crm: Crm, leads: pd.DataFrame, *, as_of: str | pd.Timestamp, period: str) -> pd.DataFrame:
    """Return, row for row, the categories by which leads can be grouped (see `lead_durations`).

    Fields empty on the lead are taken from its account. Of a source without dates (`as_of` empty) own columns are used
    even when nobody knows since when they hold their value.
    """
    dated = as_of != ""
    fields = leads[[*_FIELDS, "employees"]].assign(**_account_fields(crm, leads, as_of=as_of))
    size = pd.cut(fields["employees"], _BANDS, labels=SIZES).astype("str")
    allowed = ("creation",) if dated else ("creation", "unknown")
    own = [c for c in leads if c.startswith("x_") and crm.known_of(c) in allowed]
    groups = {"cohort": _cohort(leads["created_at"], period), "month": _season(leads["created_at"])}
    groups |= {name: fields[name] for name in _FIELDS} | {
        "size": size,
        "owner_id": _owner_at_creation(crm, leads, as_of),
    }
    today = not len(_owner_log(crm)) and crm["leads"]["owner_id"].notna().any()
    groups |= {"owner_is_today": pd.Series(bool(today), index=leads.index, dtype="bool")}
    return pd.DataFrame(groups | {c: leads[c] for c in own}, index=leads.index)


def period_starts(created: pd.Series, period: str) -> pd.Series:
    """Return the first instant of the month or quarter of each date."""
    _check_period(period)
    return created.dt.to_period({"month": "M", "quarter": "Q"}[period]).dt.start_time.astype("datetime64[us]")


def _cohort(created: pd.Series, period: str) -> pd.Series:
    return period_labels(created, freq=period).astype("str").where(created.notna())


def _season(created: pd.Series) -> pd.Series:
    return created.dt.month.map(_MONTHS).astype("str")


def _account_fields(crm: Crm, leads: pd.DataFrame, *, as_of: str | pd.Timestamp) -> dict[str, pd.Series]:
    accounts = crm["accounts"] if as_of == "" else crm.at("accounts", as_of=as_of)
    found = leads[["account_id"]].merge(accounts, on="account_id", how="left", validate="m:1")
    found.index = leads.index
    return {name: leads[name].where(leads[name].notna(), found[name]) for name in _FROM_ACCOUNT}


def _owner_log(crm: Crm) -> pd.DataFrame:
    changes = crm["changes"]
    return changes[(changes["entity"] == "lead") & (changes["field"] == "owner_id")]


def _owner_at_creation(crm: Crm, leads: pd.DataFrame, as_of: str | pd.Timestamp) -> pd.Series:
    """Owner in force at the end of the day of creation; the first later change tells it by its old value."""
    log = _owner_log(crm)
    if as_of != "":
        log = log[log["changed_at"] < as_instant(as_of)]
    log = log.sort_values(["changed_at", "change_id"], kind="stable")
    day_end = leads.set_index("lead_id")["created_at"].dt.normalize() + _DAY
    early = log["changed_at"] < look_up(log["entity_id"], day_end)
    before = log[early].drop_duplicates("entity_id", keep="last").set_index("entity_id")["new_value"]
    after = log[~early].drop_duplicates("entity_id", keep="first").set_index("entity_id")["old_value"]
    ids = leads["lead_id"]
    return look_up(ids, before).where(ids.isin(before.index), look_up(ids, after)).astype("str")


def _unusable(crm: Crm, leads: pd.DataFrame) -> pd.Series:
    """Converted before it was created; or converted, by today's status, without any date."""
    all_leads = crm["leads"]
    undated = all_leads.loc[all_leads["status"].eq("converted") & all_leads["converted_at"].isna(), "lead_id"]
    return ~follows(leads["created_at"], leads["converted_at"]) | leads["lead_id"].isin(undated)


def _check_dated(leads: pd.DataFrame) -> None:
    converted = leads["status"].eq("converted")
    if leads["created_at"].isna().all() or (converted.any() and leads["converted_at"].isna().all()):
        raise DataError(
            "The source does not say when leads were created and converted, so nobody can say how long it takes.",
            found=f"{leads['created_at'].notna().sum():,} of {len(leads):,} leads have a date of creation, "
            f"{leads['converted_at'].notna().sum():,} one of conversion",
            remedy="use `conversion_by` with `label: final_status`, or map `created_at` and `converted_at`.",
        )


def _check_period(period: str) -> None:
    if period not in PERIODS:
        raise ParameterError(f"`period` must be one of {', '.join(PERIODS)}.", found=repr(period))
