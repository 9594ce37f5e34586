"""Draws of the months ahead: which deals are won when and for how much, and what new deals bring."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .periods import Period
from .shock import Shock
from .situation import Situation

__all__ = ["Draws", "amount_in", "closed_in", "simulate"]

_CELLS = 4_000_000
"""Draws × deals held at once while one step is played."""


@dataclass(frozen=True)
class Draws:
    """Simulated futures of one situation.

    Attributes
    ----------
    step : (draws, deals) step in which each open deal is won, −1 if in none.
    amount : (draws, deals) EUR that it is won for.
    new : (draws, steps, owners) EUR won by deals still to be created.
    new_owners : (owners,) who takes them.
    """

    step: np.ndarray
    amount: np.ndarray
    new: np.ndarray
    new_owners: np.ndarray

    def existing(self, steps: np.ndarray) -> np.ndarray:
        """Return (draws, deals) EUR won in some steps."""
        return np.where(np.isin(self.step, steps), self.amount, np.float32(0.0))


def simulate(situation: Situation, shock: Shock | None, *, n_draws: int, seed: int) -> Draws:
    """Return draws of the months ahead; without a shock, deals are independent of each other."""
    rng = np.random.default_rng(seed)
    n_steps = len(situation.edges) - 1
    shift = np.zeros((n_draws, n_steps)) if shock is None else shock.draw(n_draws, n_steps, rng)
    step = _win_steps(situation, shift, rng)
    amount = _amounts(situation, n_draws, rng)
    return Draws(step, amount, _new_amounts(situation, shift, rng), situation.new.owners)


def _win_steps(situation: Situation, shift: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n_draws, n = len(shift), len(situation.deals)
    step = np.full((n_draws, n), -1, dtype=np.int8)
    at_once = max(_CELLS // max(n, 1), 1)
    for begin in range(0, n_draws, at_once):
        step[begin : begin + at_once] = _play(situation, shift[begin : begin + at_once], rng)
    return step


def _play(situation: Situation, shift: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    step = np.full((len(shift), len(situation.deals)), -1, dtype=np.int8)
    still = np.ones(step.shape, dtype=bool)
    for m in range(shift.shape[1]):
        odds = situation.win[:, m] / np.maximum(1 - situation.win[:, m], 1e-12)
        odds = odds[None, :] * np.exp(shift[:, m])[:, None]
        won = odds / (1 + odds)
        lost = situation.lose[:, m] / np.maximum(1 - situation.win[:, m], 1e-12)
        chance = rng.random(step.shape, dtype=np.float32)
        wins = still & (chance < won)
        step[wins] = m
        still &= chance >= won + lost[None, :] * (1 - won)
    return step


def _amounts(situation: Situation, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    entered = situation.deals["amount"].to_numpy("float64")
    shape = (n_draws, len(entered))
    amount = (np.exp(rng.choice(situation.growth, size=shape)) * np.nan_to_num(entered)).astype("float32")
    for j in np.flatnonzero(np.isnan(entered)):
        product = str(situation.deals["product"].iloc[j])
        amount[:, j] = rng.choice(situation.typical.get(product, situation.typical[""]), size=n_draws)
    return amount


def _new_amounts(situation: Situation, shift: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson wins, their rate moved by the shock and by how unevenly deals come; amounts and owners drawn."""
    new, (n_draws, n_steps) = situation.new, shift.shape
    uneven = max(new.unevenness, 1e-6)
    pace = rng.gamma(1 / uneven, uneven, size=n_draws)
    n_won = rng.poisson(new.expected[None, :] * pace[:, None] * np.exp(shift))
    place = np.repeat(np.arange(n_draws * n_steps), n_won.ravel())
    owner = rng.choice(len(new.owners), size=len(place), p=new.shares)
    amount = rng.choice(new.amounts, size=len(place))
    total = np.bincount(place * len(new.owners) + owner, weights=amount, minlength=n_draws * n_steps * len(new.owners))
    return total.reshape(n_draws, n_steps, len(new.owners)).astype("float32")


def amount_in(situation: Situation, draws: Draws, period: Period, *, members: set[str] | None = None) -> np.ndarray:
    """Return (draws,) EUR won in a period, by everybody or by some owners: closed, existing and new deals together."""
    steps = situation.steps(period)
    deals, won = situation.deals, closed_in(situation, period)
    mine = np.ones(len(deals), bool) if members is None else deals["owner"].isin(members).to_numpy()
    new = np.ones(len(draws.new_owners), bool) if members is None else np.isin(draws.new_owners, list(members))
    closed = won if members is None else won[won["owner"].isin(members)]
    existing = draws.existing(steps)[:, mine].sum(axis=1, dtype="float64")
    return closed["amount"].sum() + existing + draws.new[:, steps][:, :, new].sum(axis=(1, 2), dtype="float64")


def closed_in(situation: Situation, period: Period) -> pd.DataFrame:
    """Return the deals already won in a period."""
    at = situation.won["closed_at"]
    return situation.won[(at >= period.start) & (at < period.end)]
