"""Customers: service contracts that run year by year, and the satisfaction behind renewal, expansion and churn."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .accounts import Accounts
from .calendar import as_time
from .deals import Deals, DealStarts
from .firm import Owners, draw_owners, team_of
from .frames import Numbering, canonical, pick
from .interactions import Log, log_of
from .market import PRODUCTS, draw
from .process import TERM_DAYS, Cells, Paths, simulate
from .settings import CUSTOMER
from .world import World, cells_of

__all__ = ["Contracts", "Customers", "contract_table", "run_contracts", "run_customers", "starts_of_customers"]

_LEVELS = (0.04, 0.12, 0.34, 0.35, 0.15)
_EXPANSION_RATE = np.array([0.02, 0.05, 0.12, 0.22, 0.35])
_DEALS_A_YEAR = np.array([0.10, 0.20, 0.45, 0.75, 1.10])


@dataclass(frozen=True)
class Customers:
    """The customers of a block, by row of `account` and winning `deal`; `tickets` are their requests to service."""

    account: np.ndarray
    deal: np.ndarray
    won_at: np.ndarray
    annual_value: np.ndarray
    owners: Owners
    cells: Cells
    paths: Paths
    exit_at: np.ndarray
    log: Log
    tickets: Log

    def __len__(self) -> int:
        return len(self.account)

    @property
    def start_day(self) -> np.ndarray:
        """First day of the first contract."""
        return self.cells.start_day

    def last_day(self, end_day: int) -> np.ndarray:
        """Return the day of the churn, or the last simulated day."""
        return np.where(self.paths.exit_kind > 0, self.paths.exit_day, end_day - 1)


@dataclass(frozen=True)
class Contracts:
    """Yearly terms in order of start: customer row, days [start, end), value, how it began (0 new, 1 renewal,
    2 expansion) and ended (0 renewed, 1 churned, 2 expanded, -1 running), and when.
    """

    customer: np.ndarray
    start_day: np.ndarray
    value: np.ndarray
    kind: np.ndarray
    ended_at: np.ndarray
    end_reason: np.ndarray


def run_customers(world: World, rng: np.random.Generator, accounts: Accounts, deals: Deals) -> Customers:
    """Make a customer of each account at its first won deal, and simulate it to its churn or to the extraction."""
    won = np.flatnonzero(deals.won)
    won = won[np.argsort(deals.exit_at[won], kind="stable")]
    _, first = np.unique(deals.starts.account[won], return_index=True)
    deal = won[np.sort(first)]
    start = deals.paths.exit_day[deal] + rng.integers(7, 45, len(deal))
    deal, start = deal[start < world.end_day], start[start < world.end_day]
    n, account = len(deal), deals.starts.account[deal]
    value = np.round(deals.list_amount[deal] * rng.uniform(0.07, 0.16, n), -1)
    employees = accounts.employees[account]
    team = team_of(accounts.country, accounts.region, accounts.employees)[account]
    owner = deals.owners.at(deal, deals.paths.exit_day[deal])
    owner = np.where(world.staff.left_day[owner] > start, owner, team)  # row `team` of the staff is its leader
    owners = draw_owners(world.staff, team=team, appeal=np.zeros(n), day=start, rng=rng, first=owner)
    size = np.log(employees / 60)
    cells = cells_of(
        world.staff,
        owners,
        start_day=start,
        log_first=-0.12 * size - 0.3 * accounts.fit[account] + 0.35 * (accounts.country[account] != "IT"),
        log_second=np.zeros(n),
        log_activity=0.10 * size,
    )
    cells = _without_reps(cells)
    paths = simulate(CUSTOMER, world.calendars, cells, level=draw(_LEVELS, n, rng), end_day=world.end_day, rng=rng)
    exit_hour = rng.uniform(14.5, 16.5, n)
    exit_at = np.where(paths.exit_kind > 0, as_time(paths.exit_day, exit_hour), np.datetime64("NaT"))
    log, tickets = _parted(log_of(CUSTOMER, paths, owners, exit_hour, rng))
    return Customers(account, deal, deals.exit_at[deal], value, owners, cells, paths, exit_at, log, tickets)


def _without_reps(cells: Cells) -> Cells:
    one = np.ones((len(cells), 1))
    day = cells.start_day[:, None]
    return Cells(cells.first, cells.second, cells.activity, one, one, day, cells.start_day)


def _parted(log: Log) -> tuple[Log, Log]:
    ticket = log.type == "ticket"
    return tuple(Log(log.row[k], log.type[k], log.ts[k], log.rep[k]) for k in (~ticket, ticket))


def starts_of_customers(world: World, rng: np.random.Generator, customers: Customers, deals: Deals) -> DealStarts:
    """Return the deals that customers open themselves, from 60 days after the start on: the happier, the more."""
    last, begin = customers.last_day(world.end_day), customers.start_day + 60
    days = np.maximum(last - begin, 0)
    count = rng.poisson(_DEALS_A_YEAR.max() * days / 365.0)
    row = np.repeat(np.arange(len(customers)), count)
    day = begin[row] + (rng.random(len(row)) * days[row]).astype(np.int64)
    wanted = _DEALS_A_YEAR[customers.paths.level_at(row, day)] / _DEALS_A_YEAR.max()
    busy = np.minimum(world.calendars["work"][day], 1.0)
    keep = rng.random(len(row)) < wanted * busy
    row, day = row[keep], day[keep]
    at = as_time(day, rng.uniform(7, 14.4, len(row)))
    order = np.argsort(at, kind="stable")
    row, day, at = row[order], day[order], at[order]
    deal = customers.deal[row]
    return DealStarts(
        created_at=at,
        account=customers.account[row],
        contact=deals.starts.contact[deal],
        lead=np.full(len(row), -1),
        product=draw([p[1] for p in PRODUCTS], len(row), rng),
        owner=customers.owners.at(row, day),
        fit=np.zeros(len(row)),
    )


def run_contracts(world: World, rng: np.random.Generator, customers: Customers) -> Contracts:
    """Return the yearly terms of all customers up to their churn or to the extraction."""
    last = customers.last_day(world.end_day)
    terms = (last - customers.start_day) // TERM_DAYS + 1
    row = np.repeat(np.arange(len(customers)), terms)
    number = np.arange(len(row)) - np.repeat(np.cumsum(terms) - terms, terms)
    start = customers.start_day[row] + TERM_DAYS * number
    level = customers.paths.level_at(row, start)
    kind = np.where(number == 0, 0, np.where(rng.random(len(row)) < _EXPANSION_RATE[level], 2, 1))
    growth = np.select(
        [kind == 1, kind == 2], [rng.uniform(1.0, 1.05, len(row)), rng.uniform(1.15, 1.7, len(row))], 1.0
    )
    value = np.round(customers.annual_value[row] * _cumulated_product(growth, number == 0), -1)
    final = np.r_[row[1:] != row[:-1], True][: len(row)]
    churned = final & (customers.paths.exit_kind[row] > 0)
    reason = np.where(churned, 1, np.where(final, -1, np.r_[kind[1:], 0][: len(row)] - 1))
    reason = np.where(~final & (reason == 1), 2, reason)
    ended = np.where(final, customers.exit_at[row], as_time(start + TERM_DAYS))
    order = np.argsort(start, kind="stable")
    return Contracts(*(values[order] for values in (row, start, value, kind, ended, reason)))


def _cumulated_product(factor: np.ndarray, restart: np.ndarray) -> np.ndarray:
    logs = np.cumsum(np.log(factor))
    before = logs - np.log(factor)
    return np.exp(logs - np.repeat(before[restart], np.diff(np.r_[np.flatnonzero(restart), len(factor)])))


def contract_table(contracts: Contracts, account_id: pd.array, numbering: Numbering) -> pd.DataFrame:
    """Return the canonical contracts; `account_id` gives the identifier of each customer row."""
    return canonical(
        "contracts",
        {
            "contract_id": numbering.take("K", len(contracts.customer)),
            "account_id": pick(account_id, contracts.customer),
        }
        | {"started_at": as_time(contracts.start_day), "annual_value": contracts.value}
        | {"term_end_at": as_time(contracts.start_day + TERM_DAYS) - np.timedelta64(1, "s")}
        | {"kind": pick(("new", "renewal", "expansion"), contracts.kind), "ended_at": contracts.ended_at}
        | {"end_reason": pick(("renewed", "churned", "expanded"), contracts.end_reason)},
    )
