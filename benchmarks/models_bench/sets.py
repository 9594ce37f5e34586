"""The real sets, each with one question, one list of columns and one split that every way gets.

Dated sets train on the oldest 70 % and test on the newest 30 %, rows of one date on one side; a gap is left only where
the protocol says so. IBM is tested on the first of five random folds, Telco on all five. What was filled in after
the outcome is left out: see `data/README.md` beside the files for the traps of each set.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from crmlab import features, snapshots, sources
from crmlab.schema import DataError

__all__ = ["LEFT_OUT", "SETS", "BenchmarkSet", "Part", "load_set", "shuffled"]

TEST_SHARE = 0.3
N_FOLDS = 5
SEED = 0
MARKETSTAR_LAST = "2022-07-01"
"""Leads created later have had fewer than 90 days."""
HORIZON_DAYS = 90

IBM_PROCESS = (
    "Elapsed Days In Sales Stage",
    "Sales Stage Change Count",
    "Total Days Identified Through Closing",
    "Total Days Identified Through Qualified",
    "Ratio Days Identified To Total Days",
    "Ratio Days Validated To Total Days",
    "Ratio Days Qualified To Total Days",
)
X_EDUCATION_TEAM = (
    "Tags",
    "Lead Quality",
    "Lead Profile",
    "Last Activity",
    "Last Notable Activity",
    "Asymmetrique Activity Index",
    "Asymmetrique Profile Index",
    "Asymmetrique Activity Score",
    "Asymmetrique Profile Score",
)
FICZON_CLOSED = ("CONVERTED", "LOST", "JUNK LEAD", "NOT RESPONDING", "JUST ENQUIRY")


@dataclass(frozen=True)
class Part:
    """What a way is given (train) and what it is measured on (test), row for row.

    Attributes
    ----------
    X_train, X_test : numbers as float64 with NaN, levels as `str` with NA; the same columns in the same order.
    y_train, y_test : 0 or 1, int64.
    order_train : when each row came (datetime64 or a running number), old to new; None where nobody knows.
    groups_train, groups_test : entity of each row; no entity is on both sides.
    gap_days : days left out between train and test, to be left out of inner splits too; 0 where there is none.
    """

    X_train: pd.DataFrame
    y_train: np.ndarray
    order_train: np.ndarray | None
    groups_train: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    groups_test: np.ndarray
    gap_days: int = 0


@dataclass(frozen=True)
class BenchmarkSet:
    """One question on one set of data, with its split.

    Attributes
    ----------
    name, protocol : as they stand in the figures.
    X : (rows, columns) numbers and levels; y : (rows,) 0 or 1; groups : (rows,) entity.
    order : (rows,) when each row came, or None.
    folds : (train, test) integer positions; one pair, or five that test every row once.
    truth : (rows,) true probability, where the data are simulated and it is known; else None.
    """

    name: str
    protocol: str
    X: pd.DataFrame
    y: np.ndarray
    groups: np.ndarray
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]
    order: np.ndarray | None = None
    gap_days: int = 0
    truth: np.ndarray | None = None

    def parts(self) -> Iterator[Part]:
        """Yield what a way gets, fold by fold."""
        for fold in range(len(self.folds)):
            yield self.part(fold)

    def part(self, fold: int = 0) -> Part:
        """Return what a way gets in one fold; columns that are the same in every training row are left out."""
        train, test = self.folds[fold]
        told = [name for name, column in self.X.iloc[train].items() if len(column.unique()) > 1]
        return Part(
            self.X.iloc[train][told].reset_index(drop=True),
            self.y[train],
            None if self.order is None else self.order[train],
            self.groups[train],
            self.X.iloc[test][told].reset_index(drop=True),
            self.y[test],
            self.groups[test],
            self.gap_days,
        )

    @property
    def tested(self) -> np.ndarray:
        """Positions of the tested rows, fold after fold."""
        return np.concatenate([test for _, test in self.folds])


def load_set(name: str, folder: Path | None = None) -> BenchmarkSet:
    """Load a set by its name in `SETS`.

    Parameters
    ----------
    name : key of `SETS`.
    folder : of the public files; that of CRMLAB_DATASETS when not given. Simulated sets need none.

    Raises
    ------
    DataError : the set is unknown, or its files are not there.
    """
    if name not in SETS:
        raise DataError("There is no such set in the benchmark.", found=name, remedy=f"one of {', '.join(SETS)}.")
    return SETS[name](folder or Path(os.environ.get("CRMLAB_DATASETS", "")))


def shuffled(one: BenchmarkSet, *, seed: int) -> BenchmarkSet:
    """Return the set with its outcomes dealt out by lot among all rows: nothing is left to be learned."""
    y = np.random.default_rng(seed).permutation(one.y)
    return replace(one, name=f"{one.name}, shuffled", protocol=f"{one.protocol}; outcomes shuffled", y=y, truth=None)


def _ibm(folder: Path, *, at_creation: bool) -> BenchmarkSet:
    path = _there(folder / "ibm-sales-win-loss" / "WA_Fn-UseC_-Sales-Win-Loss.csv.gz")
    # "None" is a kind of competitor, not a gap.
    frame = pd.read_csv(path, keep_default_na=False)
    dropped = ["Opportunity Number", "Opportunity Result", *(IBM_PROCESS if at_creation else ())]
    groups, y = frame["Opportunity Number"].to_numpy(), _zero_one(frame["Opportunity Result"].eq("Won"))
    name = "IBM win–loss at creation" if at_creation else "IBM win–loss"
    columns = "without the seven process columns" if at_creation else "all columns"
    return BenchmarkSet(
        name,
        f"{columns}; fold 0 of {N_FOLDS} random ones, one opportunity on one side",
        _columns(frame.drop(columns=dropped)),
        y,
        groups,
        _random_folds(groups, y)[:1],
    )


def _x_education(folder: Path) -> BenchmarkSet:
    path = _there(folder / "x-education-leads" / "Leads.csv.gz")
    # "Select" is what the form shows before anything is chosen.
    frame = pd.read_csv(path, na_values=["Select"])
    order = frame["Lead Number"].to_numpy()
    return BenchmarkSet(
        "X Education",
        "without the nine sales-team columns; oldest 70 % → newest 30 % by lead number",
        _columns(frame.drop(columns=["Prospect ID", "Lead Number", "Converted", *X_EDUCATION_TEAM])),
        _zero_one(frame["Converted"]),
        order,
        _oldest_newest(order),
        order,
    )


def _marketstar(folder: Path, *, gap_days: int) -> BenchmarkSet:
    leads = pd.read_csv(_there(folder / "marketstar-b2b-leads" / "Leads.csv.gz"))
    deals = pd.read_csv(_there(folder / "marketstar-b2b-leads" / "Opportunities.csv"))
    created = pd.to_datetime(leads["CreatedDate"].astype("str"), format="%Y%m%d")
    converted = leads["ConvertedOpportunityId"].map(deals.set_index("OpportunityId")["CreatedDate"])
    days = (pd.to_datetime(converted, format="%m/%d/%Y") - created).dt.days
    mature = (created <= MARKETSTAR_LAST).to_numpy()
    X = leads.assign(weekday=created.dt.day_name())[
        ["Title", "Industry", "Employees", "TimeZone", "LeadSource", "weekday"]
    ]
    order = created.to_numpy()[mature]
    gap = f"a gap of {gap_days} days" if gap_days else "no gap"
    return BenchmarkSet(
        f"MarketStar {HORIZON_DAYS} days" + (", gap" if gap_days else ""),
        f"converts within {HORIZON_DAYS} days, mature leads; oldest 70 % → newest 30 % by creation, {gap}",
        _columns(X[mature]),
        _zero_one((days <= HORIZON_DAYS)[mature]),
        leads["LeadId"].to_numpy()[mature],
        _oldest_newest(order, gap_days=gap_days),
        order,
        gap_days,
    )


def _marketstar_accepted(folder: Path) -> BenchmarkSet:
    leads = pd.read_csv(_there(folder / "marketstar-b2b-leads" / "Leads.csv.gz"))
    deals = pd.read_csv(_there(folder / "marketstar-b2b-leads" / "Opportunities.csv"))
    known = ["Title", "Industry", "Employees", "TimeZone", "LeadSource", "CreatedDate", "ConvertedOpportunityId"]
    joined = deals.merge(
        leads[known].dropna(subset="ConvertedOpportunityId"),
        left_on="OpportunityId",
        right_on="ConvertedOpportunityId",
        how="left",
        suffixes=("", "_lead"),
        validate="1:1",
    )
    created = pd.to_datetime(joined["CreatedDate"], format="%m/%d/%Y")
    arrived = pd.to_datetime(joined["CreatedDate_lead"].astype("Int64").astype("str"), format="%Y%m%d")
    X = joined[known[:5]].assign(
        sdr=joined["created_by_id"].astype("str"),
        account_manager=joined["OwnerEmployeeId"].astype("str"),
        days_to_convert=(created - arrived).dt.days,
        weekday=created.dt.day_name(),
    )
    return BenchmarkSet(
        "MarketStar accepted",
        "opportunity accepted by the client, known at its creation; oldest 70 % → newest 30 % by creation",
        _columns(X),
        _zero_one(joined["IsAccepted"]),
        joined["OpportunityId"].to_numpy(),
        _oldest_newest(created.to_numpy()),
        created.to_numpy(),
    )


def _ficzon(folder: Path) -> BenchmarkSet:
    frame = pd.read_csv(_there(folder / "ficzon-leads" / "project_sales_data.csv"))
    status = frame["Status"].str.upper().str.strip()
    frame = frame[status.isin(FICZON_CLOSED).to_numpy()]
    created = pd.to_datetime(frame["Created"], format="%d-%m-%Y %H:%M")
    X = frame[["Product_ID", "Source", "Sales_Agent", "Location", "Delivery_Mode"]].assign(
        hour=created.dt.hour,
        weekday=created.dt.day_name(),
        has_mobile=frame["Mobile"].notna().astype("float64"),
        # "#VALUE!" is what the spreadsheet made of an empty address.
        has_email=frame["EMAIL"].ne("#VALUE!").astype("float64"),
    )
    return BenchmarkSet(
        "FicZon",
        "converted of closed; of the contact only whether it is there; oldest 70 % → newest 30 % by creation",
        _columns(X),
        _zero_one(status[frame.index].eq("CONVERTED")),
        frame.index.to_numpy(),
        _oldest_newest(created.to_numpy()),
        created.to_numpy(),
    )


def _telco(folder: Path) -> BenchmarkSet:
    path = _there(folder / "ibm-telco-churn" / "WA_Fn-UseC_-Telco-Customer-Churn.csv")
    frame = pd.read_csv(path, na_values=[" "], keep_default_na=False)
    groups, y = np.arange(len(frame)), _zero_one(frame["Churn"].eq("Yes"))
    return BenchmarkSet(
        "Telco churn",
        f"{N_FOLDS} random folds, each tested once",
        _columns(frame.drop(columns=["customerID", "Churn"])),
        y,
        groups,
        _random_folds(groups, y),
    )


def _copper(folder: Path) -> BenchmarkSet:
    frame = pd.read_excel(_there(folder / "copper-quotes" / "test.xlsx"))
    frame = frame[frame["status"].isin(["Won", "Lost"])]
    day = frame[["item_year", "item_month", "item_day"]].set_axis(["year", "month", "day"], axis=1)
    order = pd.to_datetime(day).to_numpy()
    codes = frame[["country", "application", "product_ref"]].astype("Int64").astype("str")
    X = frame[["quantity tons", "item type", "thickness", "width"]].assign(**codes)
    return BenchmarkSet(
        "copper quotes",
        "won of won + lost, without price, delivery and dates; oldest 70 % → newest 30 % by day of the quote",
        _columns(X),
        _zero_one(frame["status"].eq("Won")),
        frame.index.to_numpy(),
        _oldest_newest(order),
        order,
    )


def _maven(folder: Path) -> BenchmarkSet:
    place = folder / "maven-crm-sales"
    deals = pd.read_csv(_there(place / "sales_pipeline.csv"))
    deals = deals[deals["deal_stage"].isin(["Won", "Lost"])].assign(
        product=deals["product"].replace("GTXPro", "GTX Pro")
    )
    joined = (
        deals.merge(pd.read_csv(_there(place / "accounts.csv")), on="account", how="left", validate="m:1")
        .merge(pd.read_csv(_there(place / "products.csv")), on="product", how="left", validate="m:1")
        .merge(pd.read_csv(_there(place / "sales_teams.csv")), on="sales_agent", how="left", validate="m:1")
    )
    order = pd.to_datetime(joined["engage_date"], format="%Y-%m-%d").to_numpy()
    told = ["opportunity_id", "deal_stage", "engage_date", "close_date", "close_value"]
    return BenchmarkSet(
        "Maven",
        "won of closed, known before closing; oldest 70 % → newest 30 % by day of engagement; there is no signal",
        _columns(joined.drop(columns=told)),
        _zero_one(joined["deal_stage"].eq("Won")),
        joined["opportunity_id"].to_numpy(),
        _oldest_newest(order),
        order,
    )


def _bpi2012(folder: Path) -> BenchmarkSet:
    _there(folder / "bpi-challenge-2012" / "BPI_Challenge_2012.xes.gz")
    return _of_a_crm(
        "BPI 2012",
        "offer sent → approved, crmlab's features at the first offer; oldest 70 % → newest 30 %",
        source="bpi2012",
        as_of="2012-03-14",
        entity="opportunity",
        label="final_status",
        every="first_quote",
    )


def _demo(_folder: Path, *, entity: str) -> BenchmarkSet:
    return _of_a_crm(
        {"lead": "demo leads", "opportunity": "demo deals"}[entity],
        f"simulated; {HORIZON_DAYS} days from creation, crmlab's features; oldest 70 % → newest 30 %, "
        f"gap of {HORIZON_DAYS} days",
        source="demo",
        as_of="2025-01-06",
        entity=entity,
        label="within_horizon",
        every="creation",
        horizon_days=HORIZON_DAYS,
    )


def _of_a_crm(
    name: str, protocol: str, *, source: str, as_of: str, entity: str, label: str, every: str, horizon_days: int = 0
) -> BenchmarkSet:
    """Build a set with the library's own snapshots and features."""
    crm = sources.open_crm(source, as_of=as_of)
    rows = snapshots.build_snapshots(
        crm, entity=entity, label=label, as_of=as_of, horizon_days=horizon_days, every=every
    )
    rows = rows[rows["mature"].to_numpy()].reset_index(drop=True)
    order, ids = rows["as_of"].to_numpy(), rows[f"{entity}_id"].to_numpy(dtype="object")
    return BenchmarkSet(
        name,
        protocol,
        _columns(features.build_features(crm, rows)),
        _zero_one(rows["label"]),
        ids,
        _oldest_newest(order, gap_days=horizon_days),
        order,
        horizon_days,
        _truth(crm, entity, ids, order, horizon_days),
    )


def _truth(crm: object, entity: str, ids: np.ndarray, order: np.ndarray, horizon_days: int) -> np.ndarray | None:
    if crm.truth is None:
        return None
    ask = crm.truth.p_convert if entity == "lead" else crm.truth.p_win
    return ask(ids, order, horizon_days=horizon_days)


SETS: dict[str, Callable[[Path], BenchmarkSet]] = {
    "ibm": lambda folder: _ibm(folder, at_creation=False),
    "ibm-creation": lambda folder: _ibm(folder, at_creation=True),
    "x-education": _x_education,
    "marketstar": lambda folder: _marketstar(folder, gap_days=0),
    "marketstar-gap": lambda folder: _marketstar(folder, gap_days=HORIZON_DAYS),
    "marketstar-accepted": _marketstar_accepted,
    "ficzon": _ficzon,
    "telco": _telco,
    "copper": _copper,
    "maven": _maven,
    "bpi2012": _bpi2012,
    "demo-leads": lambda folder: _demo(folder, entity="lead"),
    "demo-deals": lambda folder: _demo(folder, entity="opportunity"),
}
"""Short name → how the set is loaded from the folder of the public files."""

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "ibm": ("Opportunity Number", "Opportunity Result"),
    "ibm-creation": ("Opportunity Number", "Opportunity Result", *IBM_PROCESS),
    "x-education": ("Prospect ID", "Lead Number", "Converted", *X_EDUCATION_TEAM),
    "marketstar": ("Stage", "DisqualifiedReason", "ConvertedOpportunityId", "OwnerEmployeeId", "CreatedDate", "LeadId"),
    "marketstar-accepted": ("IsAccepted", "AcceptedDecisionDate", "Amount", "OpportunityId"),
    "ficzon": ("Status", "Mobile", "EMAIL", "Created"),
    "telco": ("customerID", "Churn"),
    "copper": ("status", "selling_price", "delivery_day", "delivery_month", "delivery_year", "item_day", "item_month"),
    "maven": ("deal_stage", "close_date", "close_value", "opportunity_id", "engage_date"),
}
"""Columns of the files that no way may see: they are the outcome, tell it, name the row, or are its date."""


def _there(path: Path) -> Path:
    if not path.exists():
        raise DataError(
            "A file of the benchmark is not there.",
            found=f"{path.parent.name}/{path.name}",
            remedy="set CRMLAB_DATASETS to the folder of the public data sets.",
        )
    return path


def _columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return numbers as float64 and everything else as `str`, with gaps, so that every way gets the same."""
    kinds = {
        name: "float64" if pd.api.types.is_numeric_dtype(column) and column.dtype != "bool" else "str"
        for name, column in frame.items()
    }
    return frame.astype(kinds).reset_index(drop=True)


def _zero_one(label: pd.Series) -> np.ndarray:
    return label.astype("bool").to_numpy().astype("int64")


def _oldest_newest(order: np.ndarray, *, gap_days: int = 0) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return the oldest 70 % and the newest 30 % of the rows; with a gap, without the last days before the test."""
    start = pd.Series(order).quantile(1 - TEST_SHARE, interpolation="higher")
    before = pd.Series(order) + pd.Timedelta(days=gap_days) <= start if gap_days else True
    return ((np.flatnonzero((order < start) & before), np.flatnonzero(order >= start)),)


def _random_folds(groups: np.ndarray, y: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return five (train, test) pairs with like shares of wins; every entity is dealt to one fold by lot."""
    codes, names = pd.factorize(groups)
    wins = np.bincount(codes, y) > 0
    lot = np.random.default_rng(SEED).permutation(len(names))
    dealt = lot[np.argsort(wins[lot], kind="stable")]
    fold = np.empty(len(names), dtype="int64")
    fold[dealt] = np.arange(len(names)) % N_FOLDS
    return tuple((np.flatnonzero(fold[codes] != k), np.flatnonzero(fold[codes] == k)) for k in range(N_FOLDS))
