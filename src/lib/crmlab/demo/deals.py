"""Deals: those that leads become and those that customers open themselves, from first talk to won or lost."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from .accounts import Accounts
from .calendar import as_day, as_time
from .firm import Owners, draw_owners, team_of
from .interactions import Log, log_of
from .leads import Leads
from .market import JOBS, PRODUCTS, SOURCES
from .process import Cells, Paths, simulate
from .settings import DEAL
from .world import World, cells_of

__all__ = ["COMPETITORS", "DealStarts", "Deals", "in_order", "run_deals", "starts_of_leads"]

COMPETITORS = ("Nordpack", "Verpatec", "Ligure Macchine", "Iberpal", "Euroband")
_Rows = TypeVar("_Rows")
_NO_COMPETITOR = 0.45
_LEVELS = ((0.14, 0.30, 0.34, 0.17, 0.05), (0.06, 0.22, 0.36, 0.26, 0.10))  # from a lead, from a customer


@dataclass(frozen=True)
class DealStarts:
    """Where deals begin, one row each: `lead` is the row of the lead, or -1 for a deal that a customer opened."""

    created_at: np.ndarray
    account: np.ndarray
    contact: np.ndarray
    lead: np.ndarray
    product: np.ndarray
    owner: np.ndarray
    fit: np.ndarray


@dataclass(frozen=True)
class Deals:
    """Simulated deals; `list_amount` is in EUR before any discount, `competitor` -1 where nobody else bids."""

    starts: DealStarts
    list_amount: np.ndarray
    competitor: np.ndarray
    owners: Owners
    cells: Cells
    paths: Paths
    exit_at: np.ndarray
    log: Log

    def __len__(self) -> int:
        return len(self.list_amount)

    @property
    def won(self) -> np.ndarray:
        """Whether each deal has been won."""
        return self.paths.exit_kind == 1


def starts_of_leads(leads: Leads) -> DealStarts:
    """Return a deal for each converted lead, opened at the instant of conversion by the lead's owner."""
    row = np.flatnonzero(leads.paths.exit_kind == 1)
    row = row[np.argsort(leads.exit_at[row], kind="stable")]
    job_fit = np.array([j[2] for j in JOBS])[leads.job[row]]
    return DealStarts(
        created_at=leads.exit_at[row],
        account=leads.account[row],
        contact=leads.contact[row],
        lead=row,
        product=leads.product[row],
        owner=leads.owners.at(row, leads.paths.exit_day[row]),
        fit=0.6 * job_fit + 0.5 * np.array([s.fit for s in SOURCES])[leads.source[row]],
    )


def run_deals(world: World, rng: np.random.Generator, accounts: Accounts, starts: DealStarts) -> Deals:
    """Simulate deals from the day after their creation to their end or to the extraction."""
    n, day = len(starts.account), as_day(starts.created_at)
    employees = accounts.employees[starts.account]
    median = np.array([p[3] for p in PRODUCTS])[starts.product] * (employees / 60.0) ** 0.2
    amount = np.round(median * np.exp(0.5 * rng.standard_normal(n)), -2)
    competitor = np.where(rng.random(n) < _NO_COMPETITOR, -1, rng.integers(0, len(COMPETITORS), n))
    team = team_of(accounts.country, accounts.region, accounts.employees)[starts.account]
    owners = draw_owners(world.staff, team=team, appeal=np.zeros(n), day=day, rng=rng, first=starts.owner)
    cells = _cells(world, accounts, starts, owners, amount, competitor)
    mix = np.cumsum(_LEVELS, axis=1)[(starts.lead < 0).astype(int)]
    level = np.minimum((mix <= rng.random(n)[:, None]).sum(axis=1), 4)
    paths = simulate(DEAL, world.calendars, cells, level=level, end_day=world.end_day, rng=rng)
    exit_hour = rng.uniform(14.5, 16.5, n)
    exit_at = np.where(paths.exit_kind > 0, as_time(paths.exit_day, exit_hour), np.datetime64("NaT"))
    return Deals(starts, amount, competitor, owners, cells, paths, exit_at, log_of(DEAL, paths, owners, exit_hour, rng))


def _cells(
    world: World, accounts: Accounts, starts: DealStarts, owners: Owners, amount: np.ndarray, competitor: np.ndarray
) -> Cells:
    size = np.log(amount / 50_000)
    customer = starts.lead < 0
    fit = starts.fit + 0.5 * accounts.fit[starts.account] + 0.45 * customer - 0.45 * (competitor >= 0) - 0.10 * size
    return cells_of(
        world.staff,
        owners,
        start_day=as_day(starts.created_at) + 1,
        log_first=fit - 0.12 * size,
        log_second=-0.35 * fit - 0.12 * size,
        log_activity=0.12 * size,
    )


def in_order(first: Deals, second: Deals) -> tuple[Deals, np.ndarray]:
    """Return both sets of deals as one, ordered by creation, and the new row of each old one."""
    n = len(first)
    order = np.argsort(np.r_[first.starts.created_at, second.starts.created_at], kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    deals = Deals(
        starts=_stacked(first.starts, second.starts, order),
        list_amount=np.r_[first.list_amount, second.list_amount][order],
        competitor=np.r_[first.competitor, second.competitor][order],
        owners=_stacked(first.owners, second.owners, order),
        cells=_stacked(first.cells, second.cells, order),
        paths=_moved(first.paths, second.paths, order, place, n),
        exit_at=np.r_[first.exit_at, second.exit_at][order],
        log=_moved_log(first.log, second.log, place, n),
    )
    return deals, place


def _stacked(first: _Rows, second: _Rows, order: np.ndarray) -> _Rows:
    fields = type(first).__dataclass_fields__
    return replace(first, **{f: np.concatenate([getattr(first, f), getattr(second, f)])[order] for f in fields})


def _moved(first: Paths, second: Paths, order: np.ndarray, place: np.ndarray, n: int) -> Paths:
    both = {f: np.concatenate([getattr(first, f), getattr(second, f)]) for f in Paths.__dataclass_fields__}
    for name in ("level_row", "event_row"):
        both[name] = place[np.r_[getattr(first, name), getattr(second, name) + n]]
    for name in ("exit_day", "exit_kind"):
        both[name] = both[name][order]
    return Paths(**both)


def _moved_log(first: Log, second: Log, place: np.ndarray, n: int) -> Log:
    return Log(
        place[np.r_[first.row, second.row + n]],
        np.r_[first.type, second.type],
        np.r_[first.ts, second.ts],
        np.r_[first.rep, second.rep],
    )
