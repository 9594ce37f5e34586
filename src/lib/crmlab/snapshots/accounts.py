"""Accounts: followed while they are customers, by their contracts or, where there are none, by their invoices."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import DataError

from .timeline import Moments, Timeline, check_few, looked_up

__all__ = ["account_faults", "account_timeline", "ever_customers", "follows_contracts"]


def account_timeline(crm: Crm, *, as_of: str, horizon_days: int, every: str) -> Timeline:
    """Return when accounts were customers and when they stopped, as known at `as_of`.

    With contracts, an account is a customer while one is active, and churns when its last active one ends as `churned`.
    Without contracts, it is a customer for `horizon_days` after each invoice (and after `customer_since`), and churns
    when no invoice follows within the horizon. Credit notes are no invoices.

    Raises
    ------
    DataError : the source has neither, or its contracts do not say when and how they ended.
    """
    if follows_contracts(crm):
        return _by_contracts(crm, as_of=as_of)
    if len(crm.whole["invoices"]):
        return _by_invoices(crm, as_of=as_of, horizon_days=horizon_days)
    raise DataError(
        "Nobody can say when customers left: the source has neither contracts nor invoices.",
        remedy="map `contracts` with `started_at`, `ended_at` and `end_reason`, or `invoices` with `issued_at`.",
    )


def follows_contracts(crm: Crm) -> bool:
    """Return whether the source has contracts; if not, invoices tell who is a customer."""
    return len(crm.whole["contracts"]) > 0


def ever_customers(crm: Crm) -> pd.Series:
    """Return the ids of accounts with a contract, or with an invoice where the source has no contracts."""
    if follows_contracts(crm):
        return crm.whole["contracts"]["account_id"]
    accounts = crm.whole["accounts"]
    return pd.concat([_purchases(crm.whole["invoices"])["account_id"], _since(accounts)["account_id"]])


def account_faults(crm: Crm) -> dict[str, pd.Series]:
    """Return the accounts that a study leaves out: reason → ids."""
    contracts = crm.whole["contracts"]
    ends = _valid(contracts)
    return {
        "left out: a contract ended, but nobody knows when": contracts.loc[_undated(contracts), "account_id"],
        "left out: the last contract ended, but nobody knows how": ends.loc[_unclear(ends), "account_id"],
        "left out: contracts that ended before they began": contracts.loc[
            contracts["ended_at"] < contracts["started_at"], "account_id"
        ],
    }


def _by_contracts(crm: Crm, *, as_of: str) -> Timeline:
    contracts = _valid(crm.at("contracts", as_of=as_of))
    out = _left_out(crm, contracts)
    contracts = contracts[~contracts["account_id"].isin(out)]
    churned = contracts[_last_ends(contracts) & contracts["end_reason"].eq("churned").fillna(False)]
    spells = contracts[["account_id", "started_at", "ended_at"]].set_axis(["account_id", "start", "end"], axis=1)
    outcomes = pd.DataFrame({"account_id": churned["account_id"], "at": churned["ended_at"]})
    return _timeline(crm, spells, outcomes, measure="event")


def _by_invoices(crm: Crm, *, as_of: str, horizon_days: int) -> Timeline:
    bought = _purchases(crm.at("invoices", as_of=as_of))
    began = pd.concat([bought, _since(crm.at("accounts", as_of=as_of))], ignore_index=True)
    spells = began.set_axis(["account_id", "start"], axis=1)
    spells["end"] = spells["start"] + pd.Timedelta(days=horizon_days)
    return _timeline(crm, spells, bought.set_axis(["account_id", "at"], axis=1), measure="silence")


def _timeline(crm: Crm, spells: pd.DataFrame, outcomes: pd.DataFrame, *, measure: str) -> Timeline:
    """No account is looked at before the CRM holds it, whatever its contracts say."""
    accounts = crm.whole["accounts"].sort_values("account_id")
    created = looked_up(accounts.set_index("account_id")["created_at"], spells["account_id"])
    start = pd.concat([spells["start"], created], axis=1).max(axis=1)
    return Timeline("account", pd.Index(accounts["account_id"]), spells.assign(start=start), outcomes, measure=measure)


def _purchases(invoices: pd.DataFrame) -> pd.DataFrame:
    return invoices.loc[~(invoices["amount"] < 0), ["account_id", "issued_at"]]


def _since(accounts: pd.DataFrame) -> pd.DataFrame:
    since = accounts.loc[accounts["customer_since"].notna(), ["account_id", "customer_since"]]
    return since.rename(columns={"customer_since": "issued_at"})


def _valid(contracts: pd.DataFrame) -> pd.DataFrame:
    return contracts[contracts["started_at"].notna() & ~(contracts["ended_at"] < contracts["started_at"])]


def _undated(contracts: pd.DataFrame) -> pd.Series:
    return contracts["end_reason"].notna() & contracts["ended_at"].isna()


def _last_ends(contracts: pd.DataFrame) -> np.ndarray:
    """Contracts that ended while nothing else of the account was active after them."""
    codes = pd.factorize(contracts["account_id"])[0]
    started, ended = (contracts[c].to_numpy() for c in ("started_at", "ended_at"))
    here = ~np.isnat(ended)
    result = np.zeros(len(contracts), dtype=bool)
    active = Moments(codes, started).until(codes[here], ended[here]) - Moments(codes, ended).until(
        codes[here], ended[here]
    )
    result[here] = active == 0
    return result


def _unclear(contracts: pd.DataFrame) -> np.ndarray:
    return _last_ends(contracts) & contracts["end_reason"].isna().to_numpy()


def _left_out(crm: Crm, contracts: pd.DataFrame) -> set[str]:
    """Accounts whose contracts ended nobody knows when or how; the check refuses a source where they are many."""
    whole = crm.whole["contracts"]
    if whole["ended_at"].isna().all() or whole["end_reason"].isna().all():
        raise DataError(
            "The contracts of the source do not say when and how they ended, so nobody can say who churned.",
            remedy="map `contracts.ended_at` and `contracts.end_reason`.",
        )
    undated, unclear = whole[_undated(whole)], contracts[_unclear(contracts)]
    ended = int((whole["ended_at"].notna() | whole["end_reason"].notna()).sum())
    check_few(
        len(undated) + len(unclear),
        ended,
        problem="Contracts that ended nobody knows when or how would count as kept.",
        found=f"{ended:,} contracts ended, of these {len(undated):,} without a date, {len(unclear):,} without a reason",
        remedy="map `ended_at` and `end_reason` of every contract that ended.",
    )
    return set(undated["account_id"]) | set(unclear["account_id"])
