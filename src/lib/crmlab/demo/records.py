"""Write a simulated block down as its CRM holds it, dirt included, and beside it the truth."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .accounts import Accounts
from .calendar import as_time
from .customers import Customers, contract_table, run_contracts
from .deals import Deals
from .dirt import Ledger
from .frames import canonical, pick, stamp_changes
from .interactions import describe, number
from .leads import Leads, lead_tables
from .notes import note_history
from .pipeline import deal_tables, review_deals
from .service import invoice_table, survey_table, ticket_table, usage_table
from .soil import (
    note_interactions,
    soil_accounts,
    soil_interactions,
    soil_invoices,
    soil_leads,
    soil_notes,
    soil_opportunities,
)
from .truth import entity_tables
from .world import World

__all__ = ["Block", "Tables", "write_down"]

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Block:
    """One simulated block and the identifiers of its rows."""

    number: int
    accounts: Accounts
    leads: Leads
    deals: Deals
    customers: Customers
    contacts: pd.DataFrame
    opportunity_id: pd.array
    customer_id: pd.array


def write_down(world: World, block: Block, ledger: Ledger) -> Tables:
    """Return all tables of a block, each as the CRM holds it at the extraction, and its `truth_…` tables."""
    rng = world.rng("dirt", block.number)
    leads, deals = _lead_part(world, block), _deal_part(world, block)
    opportunities, edits = soil_opportunities(deals["opportunities"], world.end, ledger, rng)
    log = _interactions(world, block, leads["leads"], ledger, rng)
    contacts = block.leads.contact
    people, language = block.contacts.iloc[contacts], block.accounts.language[block.leads.account]
    n_contacts = log["lead_id"].value_counts().reindex(leads["leads"]["lead_id"], fill_value=0).to_numpy()
    soiled = soil_leads(
        leads["leads"], block.leads.original >= 0, n_contacts, start=world.start, ledger=ledger, rng=rng
    )
    starts = block.deals.starts
    buyers, their_language = block.contacts.iloc[starts.contact], block.accounts.language[starts.account]
    tables = {
        "accounts": soil_accounts(leads["accounts"], ledger, rng),
        "contacts": block.contacts,
        "leads": canonical("leads", soil_notes(soiled, "leads", people, language, ledger, rng)),
        "opportunities": canonical(
            "opportunities", soil_notes(opportunities, "opportunities", buyers, their_language, ledger, rng)
        ),
    }
    noted = _note_part(world, block, tables["leads"]["notes"], tables["opportunities"]["notes"])
    tables |= {
        "changes": stamp_changes([*leads["changes"], *deals["changes"], edits, *noted], world.numbering),
        "interactions": log,
        "quotes": deals["quotes"],
        **_service_part(world, block, ledger, rng),
        **_truth_part(world, block),
    }
    return tables | {"truth_dirty_rows": ledger.dirty_rows()}


def _lead_part(world: World, block: Block) -> dict[str, object]:
    """Return the clean leads and accounts with what later became of them, and the leads' history."""
    tables = lead_tables(world, block.leads, block.accounts, block.contacts["contact_id"].array)
    of_lead = np.full(len(block.leads.lead_id), -1)
    came = np.flatnonzero(block.deals.starts.lead >= 0)
    of_lead[block.deals.starts.lead[came]] = came
    leads = tables["leads"].assign(opportunity_id=pick(block.opportunity_id, of_lead))
    return tables | {"leads": leads, "accounts": tables["accounts"].assign(customer_since=_customer_since(block))}


def _customer_since(block: Block) -> np.ndarray:
    """Return when each account became a customer: when its first deal was won."""
    deals, never = block.deals, np.datetime64("2200-01-01", "us")
    since = np.full(len(block.accounts.employees), never)
    np.minimum.at(since, deals.starts.account[deals.won], deals.exit_at[deals.won])
    return np.where(since < never, since, np.datetime64("NaT"))


def _deal_part(world: World, block: Block) -> dict[str, object]:
    """Return the clean deals, their quotes and their history."""
    rng = world.rng("deals", block.number, 1)
    return deal_tables(
        world,
        block.deals,
        review_deals(world, block.deals, world.staff.optimism, rng),
        opportunity_id=block.opportunity_id,
        accounts=block.accounts,
        contact_id=block.contacts["contact_id"].array,
        lead_id=block.leads.lead_id,
        rng=rng,
    )


def _note_part(world: World, block: Block, of_leads: pd.Series, of_deals: pd.Series) -> list[pd.DataFrame]:
    """Return the history of the notes, drawn from a stream of its own so that it shifts nothing else."""
    rng, starts = world.rng("notes", block.number), block.deals.starts
    parts = (
        ("lead", block.leads.lead_id, of_leads, block.leads, block.leads),
        ("opportunity", block.opportunity_id, of_deals, starts, block.deals),
    )
    return [
        note_history(
            entity,
            ids,
            final,
            contacts=block.contacts.iloc[opened.contact],
            language=block.accounts.language[opened.account],
            opened_at=opened.created_at,
            closed_at=run.exit_at,
            log=run.log,
            rng=rng,
        )
        for entity, ids, final, opened, run in parts
    ]


def _interactions(
    world: World, block: Block, leads: pd.DataFrame, ledger: Ledger, rng: np.random.Generator
) -> pd.DataFrame:
    account_id = block.accounts.account_id
    logs = [
        (block.leads.log, {"lead_id": block.leads.lead_id, "account_id": account_id.take(block.leads.account)}),
        (block.deals.log, {"opportunity_id": block.opportunity_id, "account_id": _account_of_deal(block)}),
        (block.customers.log, {"account_id": block.customer_id}),
    ]
    log = describe(logs, rep_id=world.staff.rep_id, rng=world.rng("texts", block.number, 1))
    created_at = leads.set_index("lead_id")["created_at"]
    log = soil_interactions(log, created_at, start=world.start, end=world.end, rng=rng)
    log = number(log, numbering=world.numbering)
    note_interactions(log, ledger)
    return canonical("interactions", log.drop(columns=["late", "early", "may_be_late", "may_be_early"]))


def _account_of_deal(block: Block) -> pd.array:
    return block.accounts.account_id.take(block.deals.starts.account)


def _service_part(world: World, block: Block, ledger: Ledger, rng_dirt: np.random.Generator) -> Tables:
    rng, customers = world.rng("customers", block.number, 1), block.customers
    contracts = run_contracts(world, rng, customers)
    shared = {"customers": customers, "account_id": block.customer_id}
    invoices = invoice_table(
        world,
        rng,
        accounts=block.accounts,
        customers=customers,
        contracts=contracts,
        deals=block.deals,
        opportunity_id=block.opportunity_id,
    )
    return {
        "contracts": contract_table(contracts, block.customer_id, world.numbering),
        "invoices": soil_invoices(invoices, world.start, ledger, rng_dirt),
        "usage": usage_table(world, rng, accounts=block.accounts, **shared),
        "tickets": ticket_table(world, rng, **shared),
        "surveys": survey_table(world, rng, **shared),
    }


def _truth_part(world: World, block: Block) -> Tables:
    leads, deals, customers = block.leads, block.deals, block.customers
    parts = (
        ("lead", leads.lead_id, leads, leads.created_at, leads.owners),
        ("opportunity", block.opportunity_id, deals, deals.starts.created_at, deals.owners),
        ("customer", block.customer_id, customers, as_time(customers.start_day), None),
    )
    tables: Tables = {}
    for entity, ids, run, opened_at, owners in parts:
        tables |= entity_tables(
            entity,
            ids,
            cells=run.cells,
            paths=run.paths,
            opened_at=opened_at,
            closed_at=run.exit_at,
            owners=owners,
            rep_id=world.staff.rep_id,
        )
    return tables
