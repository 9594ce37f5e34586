"""What customers pay, use, complain about and answer: invoices, usage, tickets, surveys, driven by satisfaction."""

import numpy as np
import pandas as pd

from .accounts import Accounts
from .calendar import as_time
from .customers import Contracts, Customers
from .deals import Deals
from .frames import canonical, join, pick
from .market import draw
from .world import World

__all__ = ["invoice_table", "survey_table", "ticket_table", "usage_table"]

_QUARTER_DAYS = 91
_LATE_DAYS = np.array([22.0, 14.0, 8.0, 5.0, 3.0])
_LOGINS = np.array([0.25, 0.55, 1.0, 1.5, 2.0])
_PORTAL_RATE = 0.65
_NPS = np.array([2.5, 4.8, 6.8, 8.3, 9.4])
_CSAT = np.array([1.9, 2.8, 3.6, 4.2, 4.7])
_SURVEY_DAYS = 182


def invoice_table(
    world: World,
    rng: np.random.Generator,
    *,
    accounts: Accounts,
    customers: Customers,
    contracts: Contracts,
    deals: Deals,
    opportunity_id: pd.array,
) -> pd.DataFrame:
    """Return the invoices of won deals (deposit and delivery) and of service contracts (each quarter)."""
    rows = join([_deal_invoices(world, deals, rng), _service_invoices(world, customers, contracts)])
    habit = rng.choice([0.0, 6.0, 25.0], len(accounts.employees), p=[0.55, 0.30, 0.15])
    rows = rows.sort_values(["day", "account"], kind="stable", ignore_index=True)
    n, account, day = len(rows), rows["account"].to_numpy(), rows["day"].to_numpy()
    level = _level_of(customers, account, day)
    issued = as_time(day, rng.uniform(7, 15, n))
    due = day + np.array([30, 60])[account % 2]
    late = rng.exponential(_LATE_DAYS[level] + habit[account]) - 6
    paid = as_time(np.maximum(due + late.astype(np.int64), day + 1), rng.uniform(7, 15, n))
    never = rng.random(n) < 0.015
    credit = rng.random(n) < 0.01
    amount = np.where(credit, -0.2, 1.0) * rows["amount"].to_numpy()
    return canonical(
        "invoices",
        {"invoice_id": world.numbering.take("F", n, width=7), "account_id": pick(accounts.account_id, account)}
        | {"opportunity_id": pick(opportunity_id, rows["deal"].to_numpy())}
        | {"issued_at": issued, "due_at": as_time(due), "amount": amount.round(2)}
        | {"cost": np.where(credit, 0.0, rows["amount"] * np.clip(rng.normal(0.66, 0.07, n), 0.4, 1.1)).round(2)}
        | {"paid_at": np.where(never | (paid >= world.end), np.datetime64("NaT"), paid)},
    )


def _deal_invoices(world: World, deals: Deals, rng: np.random.Generator) -> pd.DataFrame:
    won = np.flatnonzero(deals.won)
    deal = np.r_[won, won]
    wait = np.r_[rng.integers(2, 9, len(won)), rng.integers(60, 160, len(won))]
    share = np.repeat([0.3, 0.7], len(won))
    frame = pd.DataFrame(
        {"account": deals.starts.account[deal], "day": deals.paths.exit_day[deal] + wait, "deal": deal}
        | {"amount": deals.list_amount[deal] * share}
    )
    return frame[frame["day"] < world.end_day]


def _service_invoices(world: World, customers: Customers, contracts: Contracts) -> pd.DataFrame:
    quarter = np.tile(np.arange(4), len(contracts.customer))
    term = np.repeat(np.arange(len(contracts.customer)), 4)
    customer = contracts.customer[term]
    day = contracts.start_day[term] + 1 + _QUARTER_DAYS * quarter
    frame = pd.DataFrame(
        {"account": customers.account[customer], "day": day, "deal": -1, "amount": contracts.value[term] / 4}
    )
    return frame[day <= customers.last_day(world.end_day)[customer]]


def _level_of(customers: Customers, account: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return the satisfaction of an account on a day; the middle one for accounts without a contract."""
    by_account = pd.Series(np.arange(len(customers)), index=customers.account)
    row = by_account.reindex(account).to_numpy()
    known = ~np.isnan(row)
    level = np.full(len(account), 2)
    level[known] = customers.paths.level_at(row[known].astype(np.int64), day[known])
    return level


def usage_table(
    world: World, rng: np.random.Generator, *, accounts: Accounts, customers: Customers, account_id: pd.array
) -> pd.DataFrame:
    """Return the use of the monitoring portal, one row per customer and day on which somebody logged in."""
    with_portal = np.flatnonzero(rng.random(len(customers)) < _PORTAL_RATE)
    days = customers.last_day(world.end_day - 1)[with_portal] - customers.start_day[with_portal] + 1
    days = np.maximum(days, 0)
    row = np.repeat(with_portal, days)
    age = np.arange(len(row)) - np.repeat(np.cumsum(days) - days, days)
    day = customers.start_day[row] + age
    level = customers.paths.level_at(row, day)
    users = 1 + np.sqrt(accounts.employees[customers.account[row]]) / 5
    rate = 0.35 * users * _LOGINS[level] * world.calendars["web"][day] * (1 - 0.7 * np.exp(-age / 40))
    logins = rng.poisson(np.minimum(rate, 60.0))
    used = np.flatnonzero(logins)
    row, day, logins, level, users = row[used], day[used], logins[used], level[used], users[used]
    features = 1 + rng.binomial(11, np.minimum(0.08 + 0.07 * level, 1.0))
    return canonical(
        "usage",
        {"account_id": pick(account_id, row), "day": as_time(day), "known_at": as_time(day + 1), "logins": logins}
        | {"active_users": np.minimum(logins, np.ceil(users * rng.random(len(row)))).astype(np.int64)}
        | {"minutes": (logins * rng.gamma(2.0, 4.0 + level)).round(1), "features_used": features},
    )


def ticket_table(world: World, rng: np.random.Generator, *, customers: Customers, account_id: pd.array) -> pd.DataFrame:
    """Return the requests to service, some of them escalated; what has not happened yet is missing."""
    log = customers.tickets
    order = np.argsort(log.ts, kind="stable")
    row, opened = log.row[order], log.ts[order]
    n, level = len(row), customers.paths.level_at(row, opened.astype("datetime64[D]").astype(np.int64))
    severity = np.clip(draw((0.35, 0.45, 0.20), n, rng) + (rng.random(n) < 0.12 * (4 - level) / 4), 0, 2)
    hours = rng.exponential(np.array([40.0, 60.0, 80.0])[severity])
    escalated = rng.random(n) < np.array([0.02, 0.08, 0.30])[severity] * (1.3 - 0.15 * level)
    until = np.maximum(hours * rng.uniform(0.2, 0.8, n), 1.0)
    closing = opened + (np.maximum(hours, 2.0) * 3_600).astype(np.int64).astype("timedelta64[s]")
    raised = opened + (until * 3_600).astype(np.int64).astype("timedelta64[s]")
    closed = np.where(closing < world.end, closing, np.datetime64("NaT"))
    score = np.clip(np.round(_CSAT[level] - 0.5 * escalated + 0.8 * rng.standard_normal(n)), 1, 5)
    return canonical(
        "tickets",
        {"ticket_id": world.numbering.take("T", n), "account_id": pick(account_id, row), "opened_at": opened}
        | {"severity": pick(("low", "normal", "high"), severity), "closed_at": closed}
        | {
            "escalated_at": np.where(
                escalated & (raised < closing) & (raised < world.end), raised, np.datetime64("NaT")
            )
        }
        | {"csat": np.where(~np.isnat(closed) & (rng.random(n) < 0.45), score, np.nan)},
    )


def survey_table(world: World, rng: np.random.Generator, *, customers: Customers, account_id: pd.array) -> pd.DataFrame:
    """Return the answers to the half-yearly surveys, NPS and CSAT in turn; the unhappy answer less often."""
    last = customers.last_day(world.end_day)
    asked = np.maximum((last - customers.start_day) // _SURVEY_DAYS, 0)
    row = np.repeat(np.arange(len(customers)), asked)
    number = np.arange(len(row)) - np.repeat(np.cumsum(asked) - asked, asked) + 1
    day = np.minimum(customers.start_day[row] + _SURVEY_DAYS * number - rng.integers(0, 30, len(row)), last[row])
    level = customers.paths.level_at(row, day)
    answers = rng.random(len(row)) < 0.25 + 0.06 * level
    row, day, level, number = row[answers], day[answers], level[answers], number[answers]
    at = as_time(day, rng.uniform(7, 14.4, len(row)))
    order = np.argsort(at, kind="stable")
    row, at, level, number = row[order], at[order], level[order], number[order]
    nps = np.clip(np.round(_NPS[level] + 1.3 * rng.standard_normal(len(row))), 0, 10)
    csat = np.clip(np.round(_CSAT[level] + 0.6 * rng.standard_normal(len(row))), 1, 5)
    return canonical(
        "surveys",
        {"survey_id": world.numbering.take("S", len(row)), "account_id": pick(account_id, row), "answered_at": at}
        | {"kind": pick(("csat", "nps"), number % 2), "score": np.where(number % 2 == 1, nps, csat) + 0.0},
    )
