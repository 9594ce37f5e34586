"""Leads: where they come from, how their interest moves, how they end."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .accounts import Accounts, account_table, draw_accounts
from .calendar import as_day, as_time
from .firm import Owners, draw_owners, team_of
from .frames import canonical, history, pick
from .interactions import Log, log_of
from .market import DIVISIONS, JOBS, PRODUCTS, SOURCES, draw
from .process import Cells, Paths, simulate
from .settings import LEAD
from .world import World, cells_of

__all__ = ["Leads", "arrivals", "lead_tables", "owner_history", "run_leads"]

_DUPLICATE_RATE = 0.02
_KNOWN_ACCOUNT_RATE = 0.18
_REASONS = ("duplicate", "no budget", "no need", "not reachable", "chose a competitor", "wrong target")


@dataclass(frozen=True)
class Leads:
    """The leads of a block with all that is true of them; `original` is the row that a duplicate repeats, or -1."""

    lead_id: pd.array
    created_at: np.ndarray
    account: np.ndarray
    contact: np.ndarray
    original: np.ndarray
    source: np.ndarray
    job: np.ndarray
    product: np.ndarray
    owners: Owners
    cells: Cells
    paths: Paths
    exit_at: np.ndarray
    log: Log


def arrivals(world: World) -> np.ndarray:
    """Return the creation times of all leads in order: busy on weekdays and in season, slowly growing."""
    rng = world.rng("arrivals")
    days = np.arange(world.start_day, world.end_day)
    weight = world.calendars["web"][days] * (1.0 + 0.25 * (days - days[0]) / max(len(days), 1))
    day = days[draw(weight, world.n_leads, rng)]
    return np.sort(as_time(day, 5.5 + 14.0 * rng.beta(1.6, 2.2, world.n_leads)))


def run_leads(world: World, block: int, lead_id: pd.array, created_at: np.ndarray) -> tuple[Accounts, Leads]:
    """Draw the leads of a block, assign their reps, and simulate them to their end or to the extraction."""
    rng, n = world.rng("leads", block), len(created_at)
    original = _duplicates(created_at, rng)
    account, first_of_account = _accounts_of(original, rng)
    accounts = draw_accounts(world, block, created_at[first_of_account])
    keep = np.where(original >= 0, original, np.arange(n))
    source = draw([s.share for s in SOURCES], n, rng)
    job, product = draw([j[1] for j in JOBS], n, rng)[keep], draw([p[1] for p in PRODUCTS], n, rng)[keep]
    appeal = np.array([s.fit for s in SOURCES])[source] + accounts.place_fit[account]
    day = as_day(created_at)
    team = team_of(accounts.country, accounts.region, accounts.employees)[account]
    owners = draw_owners(world.staff, team=team, appeal=appeal, day=day, rng=rng)
    cells = _cells(world, accounts, account, source, job, product, owners, original, day)
    level = _first_levels(source, original, rng)
    paths = simulate(LEAD, world.calendars, cells, level=level, end_day=world.end_day, rng=rng)
    exit_hour = rng.uniform(14.5, 16.5, n)
    exit_at = np.where(paths.exit_kind > 0, as_time(paths.exit_day, exit_hour), np.datetime64("NaT"))
    log = _with_entries(log_of(LEAD, paths, owners, exit_hour, rng), source, created_at, owners, rng)
    contact = (np.cumsum(original < 0) - 1)[keep]
    return accounts, Leads(
        lead_id, created_at, account, contact, original, source, job, product, owners, cells, paths, exit_at, log
    )


def _duplicates(created_at: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return for each lead the earlier row it repeats, or -1: the same person entered again within days."""
    n = len(created_at)
    chosen = rng.random(n) < _DUPLICATE_RATE
    back = rng.integers(1, 15, n)
    within = np.arange(n) - np.searchsorted(created_at, created_at - np.timedelta64(10, "D"))
    candidate = np.arange(n) - np.clip(np.minimum(back, within), 1, None)
    real = np.maximum.accumulate(np.where(chosen, -1, np.arange(n)))
    return np.where(chosen & (candidate >= 0), real[np.maximum(candidate, 0)], -1)


def _accounts_of(original: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the account of each lead and the first lead of each account; some leads come from a known company."""
    n = len(original)
    new = (original < 0) & (rng.random(n) >= _KNOWN_ACCOUNT_RATE)
    new[:1] = True
    known_before = np.cumsum(new) - new
    account = np.where(new, known_before, (rng.random(n) * known_before).astype(np.int64))
    repeated = original >= 0
    account[repeated] = account[original[repeated]]
    return account, np.flatnonzero(new)


def _cells(
    world: World,
    accounts: Accounts,
    account: np.ndarray,
    source: np.ndarray,
    job: np.ndarray,
    product: np.ndarray,
    owners: Owners,
    original: np.ndarray,
    day: np.ndarray,
) -> Cells:
    fit = np.array([s.fit for s in SOURCES])[source] + np.array([j[2] for j in JOBS])[job]
    fit = fit + np.array([p[2] for p in PRODUCTS])[product] + accounts.fit[account]
    speed = np.array([s.speed for s in SOURCES])[source]
    activity = np.log([s.activity for s in SOURCES])[source] + 0.08 * np.log(accounts.employees[account] / 60)
    repeated = original >= 0
    cells = cells_of(
        world.staff,
        owners,
        start_day=day + 1,
        log_first=fit + speed,
        log_second=np.where(repeated, 1.4, speed - 0.25 * fit),
        log_activity=np.where(repeated, -1.2, activity),
    )
    return replace(cells, first=np.where(repeated, 0.0, cells.first))  # a duplicate is closed as such, never converts


def _first_levels(source: np.ndarray, original: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mix = np.cumsum([s.levels for s in SOURCES], axis=1)[source]
    level = np.minimum((mix <= rng.random(len(source))[:, None]).sum(axis=1), 4)
    return np.where(original >= 0, 0, level)


def _with_entries(
    log: Log, source: np.ndarray, created_at: np.ndarray, owners: Owners, rng: np.random.Generator
) -> Log:
    """Add the contacts that brought the lead in, within minutes after it was created."""
    row = np.repeat(np.arange(len(source)), np.array([len(s.entry) for s in SOURCES])[source])
    kind = np.concatenate([SOURCES[s].entry for s in source]).astype(object)
    ts = created_at[row] + rng.integers(5, 600, len(row)).astype("timedelta64[s]")
    rep = np.where(kind == "call", owners.rep[row, 0], -1)
    return Log(np.r_[row, log.row], np.r_[kind, log.type], np.r_[ts, log.ts], np.r_[rep, log.rep])


def lead_tables(world: World, leads: Leads, accounts: Accounts, contact_id: pd.array) -> dict[str, object]:
    """Return the canonical accounts and leads of a block, still clean, and the history of the leads' fields."""
    kind, exit_at = leads.paths.exit_kind, leads.exit_at
    converted, lost = kind == 1, kind == 2
    none = np.datetime64("NaT")
    last_day = np.where(kind > 0, leads.paths.exit_day, world.end_day - 1)
    working_at = _first_work(leads)
    status = np.select([converted, lost, ~np.isnat(working_at)], ["converted", "disqualified", "working"], "new")
    source_name, job = [s.name for s in SOURCES], [j[0] for j in JOBS]
    frame = canonical(
        "leads",
        {"lead_id": leads.lead_id, "account_id": pick(accounts.account_id, leads.account)}
        | {"contact_id": pick(contact_id, leads.contact), "created_at": leads.created_at}
        | {"source": pick(source_name, leads.source), "employees": accounts.employees[leads.account]}
        | {"industry": pick([d.section for d in DIVISIONS], accounts.division[leads.account])}
        | {"region": pick(accounts.region, leads.account), "country": pick(accounts.country, leads.account)}
        | {"job_position": pick(job, leads.job), "product": pick([p[0] for p in PRODUCTS], leads.product)}
        | {"owner_id": pick(world.staff.rep_id, leads.owners.at(np.arange(len(kind)), last_day)), "status": status}
        | {"converted_at": np.where(converted, exit_at, none), "disqualified_at": np.where(lost, exit_at, none)}
        | {"disqualified_reason": pick(_REASONS, np.where(lost, _why_lost(leads), -1))},
    )
    return {"leads": frame, "accounts": account_table(accounts), "changes": _lead_history(world, leads, working_at)}


def _why_lost(leads: Leads) -> np.ndarray:
    """Return the index of a reason: known for duplicates, else as good as random."""
    return np.where(leads.original >= 0, 0, 1 + (leads.created_at.astype(np.int64) // 1_000_000) % (len(_REASONS) - 1))


def _first_work(leads: Leads) -> np.ndarray:
    """Return when a rep first contacted each lead; missing where nobody did."""
    by_rep = leads.log.rep >= 0
    first = np.full(len(leads.created_at), np.datetime64("2200-01-01", "us"))
    np.minimum.at(first, leads.log.row[by_rep], leads.log.ts[by_rep])
    return np.where(first < np.datetime64("2200-01-01"), first, np.datetime64("NaT"))


def _lead_history(world: World, leads: Leads, working_at: np.ndarray) -> list[pd.DataFrame]:
    n, kind = len(leads.created_at), leads.paths.exit_kind
    row, worked, closed = np.arange(n), np.flatnonzero(~np.isnat(working_at)), np.flatnonzero(kind > 0)
    status = history(
        "lead",
        leads.lead_id,
        "status",
        row=np.r_[row, worked, closed],
        at=np.r_[leads.created_at, working_at[worked], leads.exit_at[closed]],
        value=np.r_[["new"] * n, ["working"] * len(worked), pick(("converted", "disqualified"), kind[closed] - 1)],
    )
    return [status, owner_history(world, "lead", leads.lead_id, leads.owners, leads.created_at, leads.paths)]


def owner_history(
    world: World, entity: str, ids: object, owners: Owners, created_at: np.ndarray, paths: Paths
) -> pd.DataFrame:
    """Return who owned each entity from when on, as far as it was still open."""
    last_day = np.where(paths.exit_kind > 0, paths.exit_day, world.end_day - 1)
    row, spell = np.nonzero(owners.day[:, 1:] <= last_day[:, None])
    n = len(created_at)
    return history(
        entity,
        ids,
        "owner_id",
        row=np.r_[np.arange(n), row],
        at=np.r_[created_at, as_time(owners.day[row, spell + 1], 4)],
        value=pick(world.staff.rep_id, np.r_[owners.rep[:, 0], owners.rep[row, spell + 1]]),
    )
