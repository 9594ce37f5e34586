"""Companies and the people in them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .frames import canonical, pick
from .market import COUNTRIES, DIVISIONS, JOBS, SOURCES, draw, region_table, size_fit
from .names import company_names, domains, emails, people, phones
from .world import World

__all__ = ["Accounts", "account_table", "contact_table", "draw_accounts"]

_TAGS = ("fair 2023", "newsletter", "visited plant", "price sensitive", "spare parts", "key person")


@dataclass(frozen=True)
class Accounts:
    """The companies of a block, one row each, as they truly are."""

    account_id: pd.array
    country: np.ndarray
    region: np.ndarray
    language: np.ndarray
    division: np.ndarray
    employees: np.ndarray
    revenue: np.ndarray
    place_fit: np.ndarray
    name: np.ndarray
    domain: np.ndarray
    created_at: np.ndarray

    @property
    def fit(self) -> np.ndarray:
        """Log factor of the daily chance of success that place, sector and size bring."""
        return self.place_fit + np.array([d.fit for d in DIVISIONS])[self.division] + size_fit(self.employees)


def draw_accounts(world: World, block: int, created_at: np.ndarray) -> Accounts:
    """Return new companies that entered the CRM at these times."""
    rng, n = world.rng("accounts", block), len(created_at)
    region_country, region_name, share, fit = region_table()
    place = draw(share, n, rng)
    country = region_country[place]
    division = draw([d.share for d in DIVISIONS], n, rng)
    size = 4.1 + np.array([d.size for d in DIVISIONS])[division] + 1.25 * rng.standard_normal(n)
    language = np.array([c[3] for c in COUNTRIES])[country]
    employees = np.maximum(1, np.exp(size)).round()
    account_id = world.numbering.take("A", n)
    name = company_names(language, rng)
    number = np.array([int(a[1:]) for a in account_id])
    return Accounts(
        account_id=account_id,
        country=np.array([c[0] for c in COUNTRIES], dtype=object)[country],
        region=region_name[place],
        language=language,
        division=division,
        employees=employees,
        revenue=(employees * 190_000 * np.exp(0.45 * rng.standard_normal(n))).round(-3),
        place_fit=fit[place],
        name=name,
        domain=domains(name, number, language),
        created_at=created_at,
    )


def account_table(accounts: Accounts) -> pd.DataFrame:
    """Return the canonical accounts, still clean."""
    return canonical(
        "accounts",
        {"account_id": accounts.account_id, "name": accounts.name, "created_at": accounts.created_at}
        | {"industry": pick([d.section for d in DIVISIONS], accounts.division)}
        | {
            "ateco": pick([d.code for d in DIVISIONS], accounts.division),
            "employees": accounts.employees,
            "revenue": accounts.revenue,
        }
        | {"region": accounts.region, "country": accounts.country},
    )


def contact_table(
    world: World,
    block: int,
    accounts: Accounts,
    *,
    account: np.ndarray,
    job: np.ndarray,
    source: np.ndarray,
    at: np.ndarray,
) -> pd.DataFrame:
    """Return one person for each row, working at this account and met through this source."""
    rng, n = world.rng("texts", block), len(account)
    language = accounts.language[account]
    first, last = people(language, rng)
    tags = np.where(rng.random(n) < 0.4, draw(np.ones(len(_TAGS)), n, rng), -1)
    return canonical(
        "contacts",
        {"contact_id": world.numbering.take("C", n), "account_id": pick(accounts.account_id, account)}
        | {"first_name": first, "last_name": last, "email": emails(first, last, accounts.domain[account])}
        | {"phone": phones(language, rng), "job_position": pick([j[0] for j in JOBS], job)}
        | {"source": pick([s.name for s in SOURCES], source), "tags": pick(_TAGS, tags)}
        | {"consent": rng.random(n) < 0.8, "created_at": at},
    )
