"""One block of the demo CRM after the other: leads, and all that becomes of them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from .accounts import contact_table
from .calendar import as_day, build_calendars
from .customers import run_customers, starts_of_customers
from .deals import in_order, run_deals, starts_of_leads
from .dirt import Ledger
from .firm import hire_staff, rep_tables, target_table
from .frames import stamp_changes
from .leads import arrivals, run_leads
from .records import Block, Tables, write_down
from .truth import settings_tables, staff_table
from .world import World

__all__ = ["BLOCK_LEADS", "simulate_blocks"]

BLOCK_LEADS = 4_000
"""Leads simulated together. Accounts and customers live inside one block, so memory does not grow with the CRM."""


def simulate_blocks(*, n_leads: int, seed: int, start: str, end: str) -> Iterator[Tables]:
    """Yield the tables of the firm, of each block of leads, and of the closing account of the planted dirt."""
    start_day, end_day = (int(as_day(np.datetime64(t, "us"))) for t in (start, end))
    world = World(seed, start_day, end_day, n_leads, build_calendars())
    world.staff = hire_staff(n_leads, start_day, end_day, world.rng("firm"))
    yield _firm(world)
    created_at, lead_id = arrivals(world), world.numbering.take("L", n_leads)
    n_blocks, ledger = -(-n_leads // BLOCK_LEADS), Ledger()
    for block in range(n_blocks):
        mine = np.arange(block, n_leads, n_blocks)
        yield write_down(world, _simulated(world, block, lead_id.take(mine), created_at[mine]), ledger)
    yield {"truth_dirt": ledger.summary()}


def _firm(world: World) -> Tables:
    rng = world.rng("firm", 1)
    reps, changes = rep_tables(world.staff, world.end_day, rng)
    targets = target_table(world.staff, world.n_leads, world.start_day, world.end_day, world.numbering, rng)
    run = {"start_day": world.start_day, "end_day": world.end_day, "n_leads": world.n_leads, "seed": world.seed}
    return {
        "reps": reps,
        "targets": targets,
        "changes": stamp_changes(changes, world.numbering),
        "truth_reps": staff_table(world.staff),
        **settings_tables(**run),
    }


def _simulated(world: World, block: int, lead_id: pd.array, created_at: np.ndarray) -> Block:
    """Run the leads, their deals, the customers whom they win, and the deals that these open in turn."""
    accounts, leads = run_leads(world, block, lead_id, created_at)
    deals = run_deals(world, world.rng("deals", block), accounts, starts_of_leads(leads))
    rng = world.rng("customers", block)
    customers = run_customers(world, rng, accounts, deals)
    own = run_deals(world, rng, accounts, starts_of_customers(world, rng, customers, deals))
    deals, place = in_order(deals, own)
    first = np.flatnonzero(leads.original < 0)
    contacts = contact_table(
        world,
        block,
        accounts,
        account=leads.account[first],
        job=leads.job[first],
        source=leads.source[first],
        at=created_at[first],
    )
    return Block(
        number=block,
        accounts=accounts,
        leads=leads,
        deals=deals,
        customers=replace(customers, deal=place[customers.deal]),
        contacts=contacts,
        opportunity_id=world.numbering.take("O", len(deals)),
        customer_id=accounts.account_id.take(customers.account),
    )
