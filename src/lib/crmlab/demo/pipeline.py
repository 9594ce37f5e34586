"""How the firm sees its deals: stages, the owners' own estimates, amounts, quotes. All of it follows; none of it acts.

Owners review each deal about every nine days and enter what they believe: the stage that the customer's commitment
suggests, seldom backwards; a probability that is too rosy, each rep in their own way; a closing date that moves on.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .accounts import Accounts
from .calendar import as_day, as_time
from .deals import COMPETITORS, Deals
from .frames import Numbering, as_text, canonical, history, pick
from .leads import owner_history
from .market import PRODUCTS
from .world import World

__all__ = ["LOST_REASONS", "Pipeline", "deal_tables", "review_deals"]

STAGES = ("qualified", "needs", "quoted", "negotiation", "won", "lost")
LOST_REASONS = ("price", "competitor", "no budget", "no decision", "technical requirements")
_STAGE_OF_LEVEL = np.array([0, 1, 2, 2, 3])
_STAGE_PROBABILITY = np.array([0.15, 0.30, 0.50, 0.70])
_REVIEW_DAYS = 9.0
_STEP_BACK_RATE = 0.35


@dataclass(frozen=True)
class Pipeline:
    """Reviews of deals in order of time, one row each: what the owner entered, and the quote sent with it if any.

    Attributes
    ----------
    stage, amount, margin, probability, close_day : the values in force after the review.
    revision : number of the quote sent at the review, 0 without a quote. discount : of the latest quote.
    competitor : index of the competitor as far as known, -1 unknown.
    """

    row: np.ndarray
    at: np.ndarray
    stage: np.ndarray
    amount: np.ndarray
    margin: np.ndarray
    probability: np.ndarray
    close_day: np.ndarray
    revision: np.ndarray
    discount: np.ndarray
    competitor: np.ndarray


@dataclass
class _State:
    """The values in force of all deals while the reviews are played."""

    stage: np.ndarray
    amount: np.ndarray
    margin: np.ndarray
    probability: np.ndarray
    close_day: np.ndarray
    revision: np.ndarray
    discount: np.ndarray
    competitor: np.ndarray


def review_deals(world: World, deals: Deals, optimism: np.ndarray, rng: np.random.Generator) -> Pipeline:
    """Play all reviews of the deals, the first one at their creation."""
    n, created = len(deals), as_day(deals.starts.created_at)
    last = np.where(deals.paths.exit_kind > 0, deals.paths.exit_day, world.end_day - 1)
    bias = optimism[deals.owners.rep[:, 0]]
    state = _State(
        stage=np.zeros(n, np.int64),
        amount=deals.list_amount.copy(),
        margin=np.clip(0.34 + 0.05 * rng.standard_normal(n), 0.1, 0.6),
        probability=_estimate(np.zeros(n, np.int64), np.ones(n), bias, rng),
        close_day=created + 45 + rng.integers(0, 90, n),
        revision=np.zeros(n, np.int64),
        discount=np.zeros(n),
        competitor=np.full(n, -1),
    )
    rows, day = np.arange(n), created
    entered = [_entered(state, rows, deals.starts.created_at, np.zeros(n, np.int64))]
    while True:
        day = day + 1 + rng.exponential(_REVIEW_DAYS, len(rows)).astype(np.int64)
        keep = (day <= last[rows]) & (world.calendars["work"][np.minimum(day, world.end_day)] > 0.2)
        gone = day > last[rows]
        due = np.flatnonzero(keep)
        _review(state, deals, rows[due], day[due], bias, entered, rng)
        rows, day = rows[~gone], day[~gone]
        if not len(rows):
            break
    parts = {name: np.concatenate([e[name] for e in entered]) for name in entered[0]}
    order = np.lexsort((parts["at"], parts["row"]))
    return Pipeline(**{name: values[order] for name, values in parts.items()})


def _entered(state: _State, rows: np.ndarray, at: np.ndarray, revision: np.ndarray) -> dict[str, np.ndarray]:
    values = {name: getattr(state, name)[rows].copy() for name in _State.__dataclass_fields__}
    return {"row": rows, "at": at, **values, "revision": revision}


def _review(
    state: _State,
    deals: Deals,
    rows: np.ndarray,
    day: np.ndarray,
    bias: np.ndarray,
    entered: list[dict[str, np.ndarray]],
    rng: np.random.Generator,
) -> None:
    n, level = len(rows), deals.paths.level_at(rows, day)
    stage = _next_stage(state.stage[rows], level, rng)
    quotes = (stage >= 2) & ((state.revision[rows] == 0) | (rng.random(n) < 0.18))
    state.stage[rows] = stage
    _quote(state, deals, rows[quotes], rng)
    resized = rows[~quotes & (rng.random(n) < 0.08)]
    state.amount[resized] = np.round(state.amount[resized] * np.exp(0.12 * rng.standard_normal(len(resized))), -2)
    again = rng.random(n) < 0.7
    estimate = _estimate(stage, level, bias[rows], rng)
    state.probability[rows] = np.where(again, estimate, state.probability[rows])
    late = (state.close_day[rows] < day + 5) | (rng.random(n) < 0.08)
    state.close_day[rows] = np.where(late, day + 14 + rng.integers(0, 60, n), state.close_day[rows])
    found = rng.random(n) < 0.30
    state.competitor[rows] = np.where(found, deals.competitor[rows], state.competitor[rows])
    at = as_time(day, rng.uniform(6.6, 14.4, n))
    entered.append(_entered(state, rows, at, np.where(quotes, state.revision[rows], 0)))


def _next_stage(stage: np.ndarray, level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    slip = rng.random(len(level))
    target = np.clip(_STAGE_OF_LEVEL[level] + (slip < 0.12) - (slip > 0.92), 0, 3)
    moves = (target > stage) | (rng.random(len(level)) < _STEP_BACK_RATE)
    return np.where(moves, target, stage)


def _quote(state: _State, deals: Deals, rows: np.ndarray, rng: np.random.Generator) -> None:
    more = np.where(state.revision[rows] == 0, rng.uniform(0.0, 0.08, len(rows)), rng.uniform(0.01, 0.05, len(rows)))
    discount = np.minimum(state.discount[rows] + more, 0.35).round(3)
    state.margin[rows] = np.clip(state.margin[rows] - (discount - state.discount[rows]) * 0.8, -0.2, 0.7)
    state.discount[rows] = discount
    state.amount[rows] = np.round(deals.list_amount[rows] * (1 - discount), -2)
    state.revision[rows] += 1


def _estimate(stage: np.ndarray, level: np.ndarray, bias: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    felt = _STAGE_PROBABILITY[stage] + 0.05 * (level - 1.5) + bias + 0.08 * rng.standard_normal(len(stage))
    return np.clip(np.round(felt * 20) / 20, 0.05, 0.95)


def deal_tables(
    world: World,
    deals: Deals,
    seen: Pipeline,
    *,
    opportunity_id: pd.array,
    accounts: Accounts,
    contact_id: pd.array,
    lead_id: pd.array,
    rng: np.random.Generator,
) -> dict[str, object]:
    """Return the canonical opportunities and quotes, still clean, and the history of the deals' fields."""
    kind, n, none = deals.paths.exit_kind, len(deals), np.datetime64("NaT")
    final = np.searchsorted(seen.row, np.arange(n), side="right") - 1
    closed_day = np.where(kind > 0, deals.paths.exit_day, world.end_day - 1)
    first_quote = np.full(n, none, dtype="datetime64[us]")
    quoted = seen.revision == 1
    first_quote[seen.row[quoted]] = seen.at[quoted]
    starts = deals.starts
    frame = canonical(
        "opportunities",
        {"opportunity_id": opportunity_id, "account_id": pick(accounts.account_id, starts.account)}
        | {"contact_id": pick(contact_id, starts.contact), "lead_id": pick(lead_id, starts.lead)}
        | {"created_at": starts.created_at, "product": pick([p[0] for p in PRODUCTS], starts.product)}
        | {"amount_at_creation": deals.list_amount, "amount": seen.amount[final]}
        | {"margin_rate": seen.margin[final].round(3)}
        | {"owner_id": pick(world.staff.rep_id, deals.owners.at(np.arange(n), closed_day))}
        | {"owner_probability": np.select([kind == 1, kind == 2], [1.0, 0.0], seen.probability[final])}
        | {"stage": pick(STAGES, np.where(kind > 0, 3 + kind, seen.stage[final]))}
        | {"expected_close_at": as_time(seen.close_day[final]), "competitor": pick(COMPETITORS, seen.competitor[final])}
        | {"first_quote_at": first_quote, "closed_at": deals.exit_at}
        | {"outcome": pick(("won", "lost"), kind.astype(np.int64) - 1)}
        | {"lost_reason": pick(LOST_REASONS, np.where(kind == 2, _reasons(deals, rng), -1))},
    )
    return {
        "opportunities": frame,
        "quotes": _quote_table(seen, opportunity_id, deals, world.numbering),
        "changes": _deal_history(world, deals, seen, opportunity_id),
    }


def _reasons(deals: Deals, rng: np.random.Generator) -> np.ndarray:
    any_reason = rng.integers(0, len(LOST_REASONS), len(deals))
    beaten = (deals.competitor >= 0) & (rng.random(len(deals)) < 0.5)
    return np.where(beaten, 1, np.where(any_reason == 1, 0, any_reason))


def _quote_table(seen: Pipeline, opportunity_id: pd.array, deals: Deals, numbering: Numbering) -> pd.DataFrame:
    sent = np.flatnonzero(seen.revision > 0)
    sent = sent[np.argsort(seen.at[sent], kind="stable")]
    return canonical(
        "quotes",
        {"quote_id": numbering.take("Q", len(sent)), "opportunity_id": pick(opportunity_id, seen.row[sent])}
        | {"sent_at": seen.at[sent], "revision": seen.revision[sent], "discount_rate": seen.discount[sent]}
        | {"amount": np.round(deals.list_amount[seen.row[sent]] * (1 - seen.discount[sent]), -2)},
    )


def _deal_history(world: World, deals: Deals, seen: Pipeline, ids: pd.array) -> list[pd.DataFrame]:
    closed = np.flatnonzero(deals.paths.exit_kind > 0)
    kind, at = deals.paths.exit_kind[closed].astype(np.int64), deals.exit_at[closed]
    known = seen.competitor >= 0
    values = {
        "amount": as_text(seen.amount),
        "margin_rate": as_text(seen.margin, decimals=3),
        "expected_close_at": as_text(as_time(seen.close_day)),
    }
    parts = [history("opportunity", ids, name, row=seen.row, at=seen.at, value=value) for name, value in values.items()]
    with_end = {"row": np.r_[seen.row, closed], "at": np.r_[seen.at, at]}
    stage = pick(STAGES, np.r_[seen.stage, 3 + kind])
    probability = as_text(np.r_[seen.probability, np.where(kind == 1, 1.0, 0.0)], decimals=2)
    parts.append(history("opportunity", ids, "stage", value=stage, **with_end))
    parts.append(history("opportunity", ids, "owner_probability", value=probability, **with_end))
    found = pick(COMPETITORS, seen.competitor[known])
    parts.append(history("opportunity", ids, "competitor", row=seen.row[known], at=seen.at[known], value=found))
    parts.append(owner_history(world, "opportunity", ids, deals.owners, deals.starts.created_at, deals.paths))
    return parts
