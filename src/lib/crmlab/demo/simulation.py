"""One block of the demo CRM after the other: leads, and all that becomes of them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from .accounts import contact_table
from .calendar import as_day, build_calendars
from .firm import hire_staff, rep_tables, target_table
from .frames import stamp_changes
from .interactions import finish_log
from .leads import arrivals, lead_tables, run_leads
from .truth import entity_tables, settings_tables, staff_table
from .world import World

__all__ = ["BLOCK_LEADS", "simulate_blocks"]

BLOCK_LEADS = 4_000
"""Leads simulated together. Accounts and customers live inside one block, so memory does not grow with the CRM."""

Tables = dict[str, pd.DataFrame]


def simulate_blocks(*, n_leads: int, seed: int, start: str, end: str) -> Iterator[Tables]:
    """Yield the tables of the firm, of each block of leads, and of the closing account of the planted dirt."""
    start_day, end_day = (int(as_day(np.datetime64(t, "us"))) for t in (start, end))
    world = World(seed, start_day, end_day, n_leads, build_calendars())
    world.staff = hire_staff(n_leads, start_day, end_day, world.rng("firm", 0))
    yield _firm(world)
    created_at = arrivals(world)
    lead_id = world.numbering.take("L", n_leads)
    n_blocks = -(-n_leads // BLOCK_LEADS)
    for block in range(n_blocks):
        mine = np.arange(block, n_leads, n_blocks)
        yield _block(world, block, lead_id.take(mine), created_at[mine])


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


def _block(world: World, block: int, lead_id: pd.array, created_at: np.ndarray) -> Tables:
    accounts, leads = run_leads(world, block, lead_id, created_at)
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
    tables = lead_tables(world, leads, accounts, contacts["contact_id"].array)
    ids = {"lead_id": lead_id, "account_id": tables["leads"]["account_id"].array}
    tables["contacts"] = contacts
    tables["interactions"] = finish_log(
        [(leads.log, ids)],
        rep_id=world.staff.rep_id,
        end=world.end,
        numbering=world.numbering,
        rng=world.rng("texts", block),
    )
    tables["changes"] = stamp_changes(tables["changes"], world.numbering)
    return tables | entity_tables(
        "lead",
        lead_id,
        cells=leads.cells,
        paths=leads.paths,
        opened_at=created_at,
        closed_at=leads.exit_at,
        owners=leads.owners,
        rep_id=world.staff.rep_id,
    )
