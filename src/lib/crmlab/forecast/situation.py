"""Where a pipeline stands on a date: open deals with their hazards, new deals to come, and what is already won."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import as_instant
from crmlab.models.hazard import CompetingRisks, incidence_at
from crmlab.schema import NotEnoughEvidence

from .facts import NOBODY, DealFacts
from .periods import Period, forecast_edges, forecast_periods

__all__ = ["NewDeals", "Situation", "build_situation", "fit_hazards"]

_DAY = pd.Timedelta(days=1)
_REACH_DAYS = 196
"""Longest way ahead: to the end of the next quarter, 184 days at most."""
_RECENT_DAYS = 182
_MEMORY_DAYS = 730
_FEW_WON = 20
_ENOUGH_WON = 150
"""From so many won deals on, trees were measured to predict later deals better than the linear hazards."""
_MOST_GROWTH = 1.5
"""Largest logarithm of amount won over amount entered that is believed: beyond, somebody mistyped."""


@dataclass(frozen=True)
class NewDeals:
    """Deals that do not exist yet.

    Attributes
    ----------
    expected : (months,) expected wins of deals still to be created.
    unevenness : variance of the common factor by which more or fewer deals come than as of late; 0 for pure chance.
    amounts : amounts of recent wins, to draw from.
    owners, shares : who takes new deals, and how much of them.
    """

    expected: np.ndarray
    unevenness: float
    amounts: np.ndarray
    owners: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class Situation:
    """All that a forecast at one date rests on; every part of it was known before that date.

    Attributes
    ----------
    as_of : the date.
    edges : the date and the month ends ahead.
    deals : frame of open deals: opportunity_id, owner, team, amount (NaN where unknown), product.
    win, lose : (n, months) probability of being won (lost) in each step, if still open at its beginning.
    growth : logarithms of amount won over amount entered, from deals won before.
    typical : product → amounts of won deals, for deals without an amount; "" for any product.
    new : deals still to come.
    won : frame of deals won before the date, since the beginning of the present quarter.
    teams : owner → team at the date.
    """

    as_of: pd.Timestamp
    edges: pd.DatetimeIndex
    deals: pd.DataFrame
    win: np.ndarray
    lose: np.ndarray
    growth: np.ndarray
    typical: dict[str, np.ndarray]
    new: NewDeals
    won: pd.DataFrame
    teams: dict[str, str]

    @property
    def periods(self) -> tuple[Period, ...]:
        """This and the next month and quarter."""
        return forecast_periods(self.as_of)

    def steps(self, period: Period) -> np.ndarray:
        """Return which steps between the edges lie in a period."""
        return np.flatnonzero((self.edges[1:] > period.start) & (self.edges[1:] <= period.end))

    def won_in_step(self) -> np.ndarray:
        """Return (n, months) the probability that each open deal is won in each step."""
        stay = np.cumprod(1 - self.win - self.lose, axis=1)
        return self.win * np.concatenate([np.ones((len(stay), 1)), stay[:, :-1]], axis=1)

    def amount_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) mean and mean square, in EUR, of what each open deal would be won for."""
        growth = np.exp(self.growth)
        mean = self.deals["amount"].to_numpy("float64") * growth.mean()
        square = self.deals["amount"].to_numpy("float64") ** 2 * (growth**2).mean()
        for j in np.flatnonzero(np.isnan(mean)):
            typical = self.typical.get(str(self.deals["product"].iloc[j]), self.typical[""])
            mean[j], square[j] = typical.mean(), (typical**2).mean()
        return mean, square


def fit_hazards(features: pd.DataFrame, times: pd.DataFrame, rows: pd.DataFrame, *, seed: int) -> CompetingRisks:
    """Return hazards fitted on snapshots whose `times` were known at the date of the fit (`outcome_times`)."""
    wins = rows.loc[(times["event"] == "won").to_numpy(), "opportunity_id"].nunique()
    learner = "boosting" if wins >= _ENOUGH_WON else "linear"
    model = CompetingRisks(seed=seed, max_days=_REACH_DAYS, learner=learner, max_cells=30_000)
    return model.fit_events(features, times)


def build_situation(
    facts: DealFacts, rows: pd.DataFrame, features: pd.DataFrame, hazards: CompetingRisks, *, as_of: str | pd.Timestamp
) -> Situation:
    """Return where the pipeline stands.

    Parameters
    ----------
    facts : all deals (`known_deals`), as known at `as_of` or later; only what closed before `as_of` is looked at.
    rows, features : the deals open at `as_of`, as they stood then.
    hazards : fitted on what was known before `as_of`.

    Raises
    ------
    NotEnoughEvidence : fewer than 20 deals with an amount were won before.
    """
    at = as_instant(as_of)
    past = facts.won(before=at, since=at - _MEMORY_DAYS * _DAY)
    past = past[past["amount"].notna()]
    if len(past) < _FEW_WON:
        raise NotEnoughEvidence(
            "Too few deals with a known amount were won to forecast amounts.",
            found=f"{len(past):,} in the {_MEMORY_DAYS} days before {at:%Y-%m-%d}",
            remedy="map `amount` or `amount_at_creation`, or take a later date.",
        )
    edges = forecast_edges(at)
    win, lose = _by_step(hazards.hazards(features), edges, hazards.period_days)
    deals = _open_deals(rows, features)
    teams = _teams(facts, deals, at)
    return Situation(
        at,
        edges,
        deals,
        win,
        lose,
        _growth(facts, past),
        _typical(past),
        _new_deals(facts, past, edges, at),
        facts.won(before=at, since=forecast_periods(at)[2].start),
        teams,
    )


def _by_step(hazards: np.ndarray, edges: pd.DatetimeIndex, period_days: int) -> tuple[np.ndarray, np.ndarray]:
    """Conditional probabilities of win and loss between the edges."""
    after = ((edges - edges[0]) / _DAY).to_numpy("float64") / period_days
    curve = incidence_at(hazards, after)
    stay = np.maximum(1 - curve["won"][:, :-1] - curve["lost"][:, :-1], 1e-9)
    won, lost = (np.clip(np.diff(curve[c], axis=1) / stay, 0.0, 1.0) for c in ("won", "lost"))
    total = np.maximum(won + lost, 1.0)
    return won / total, lost / total


def _open_deals(rows: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    amount = _number(features, "amount").fillna(_number(features, "amount_at_creation"))
    return pd.DataFrame(
        {
            "opportunity_id": rows["opportunity_id"].to_numpy(),
            "owner": _text(features, "owner_id"),
            "team": _text(features, "owner_team"),
            "product": _text(features, "product"),
            "amount": amount.where(amount > 0).to_numpy(),
        }
    )


def _number(features: pd.DataFrame, name: str) -> pd.Series:
    if name in features:
        return features[name].astype("float64")
    return pd.Series(np.nan, index=features.index)


def _text(features: pd.DataFrame, name: str) -> np.ndarray:
    if name not in features:
        return np.full(len(features), NOBODY, dtype=object)
    return features[name].fillna(NOBODY).to_numpy(dtype=object)


def _teams(facts: DealFacts, deals: pd.DataFrame, at: pd.Timestamp) -> dict[str, str]:
    """Team of each owner: that of the open deals, else that of the newest closing."""
    closed = facts.deals[facts.deals["closed_at"] < at].sort_values("closed_at", kind="stable")
    known = dict(zip(closed["owner"], closed["team"], strict=True))
    return known | dict(zip(deals["owner"], deals["team"], strict=True))


def _growth(facts: DealFacts, past: pd.DataFrame) -> np.ndarray:
    """How amounts changed on the way to the win; nothing where there is no history of them."""
    if not facts.amounts_dated:
        return np.zeros(1)
    ratio = np.log(past["amount"] / past["amount_entered"]).to_numpy()
    ratio = ratio[np.isfinite(ratio)]
    return np.clip(ratio, -_MOST_GROWTH, _MOST_GROWTH) if len(ratio) else np.zeros(1)


def _typical(past: pd.DataFrame) -> dict[str, np.ndarray]:
    amounts = {"": past["amount"].to_numpy()}
    for product, group in past.groupby("product"):
        if len(group) >= _FEW_WON:
            amounts[str(product)] = group["amount"].to_numpy()
    return amounts


def _new_deals(facts: DealFacts, past: pd.DataFrame, edges: pd.DatetimeIndex, at: pd.Timestamp) -> NewDeals:
    """Expect as many new deals as of late, each with the usual way of a deal from its creation on."""
    created = facts.deals[facts.deals["created_at"] < at]
    recent = created[created["created_at"] >= at - _RECENT_DAYS * _DAY]
    span = min(_RECENT_DAYS, max((at - created["created_at"].min()) / _DAY, 7.0)) if len(created) else 7.0
    weeks = np.bincount(((at - recent["created_at"]) / (7 * _DAY)).astype(int), minlength=int(span // 7))
    mean = max(float(weeks.mean()), 1e-9) if len(weeks) else 1e-9
    dispersion = max(float(weeks.var(ddof=1)) / mean, 1.0) if len(weeks) > 1 else 1.0
    curve = _usual_way(created[created["created_at"] >= at - _MEMORY_DAYS * _DAY], at)
    middle = np.arange(0.5, (edges[-1] - at) / _DAY)
    left = np.maximum(((edges - at) / _DAY).to_numpy("float64")[None, :] - middle[:, None], 0.0)
    reached = np.interp(left, np.arange(len(curve)), curve)
    amounts = past.loc[past["closed_at"] >= at - 365 * _DAY, "amount"].to_numpy()
    amounts = amounts if len(amounts) >= _FEW_WON else past["amount"].to_numpy()
    owners = recent["owner"].value_counts(normalize=True).sort_index()
    owners = owners if len(owners) else pd.Series([1.0], index=[NOBODY])
    expected = len(recent) / span * np.diff(reached, axis=1).sum(axis=0)
    unevenness = (dispersion - 1) / max(len(recent) / span * float((edges[-1] - at) / _DAY), 1.0)
    return NewDeals(expected, unevenness, amounts, owners.index.to_numpy(dtype=object), owners.to_numpy())


def _usual_way(created: pd.DataFrame, at: pd.Timestamp) -> np.ndarray:
    """Share won by each day since creation (Aalen and Johansen 1978), with open deals at risk."""
    end = created["closed_at"].where(created["closed_at"] < at, at)
    days = np.maximum(np.ceil((end - created["created_at"]) / _DAY), 1).astype(int).to_numpy()
    outcome = created["outcome"].where(created["closed_at"] < at).to_numpy(dtype=object)
    reach = _REACH_DAYS + 1
    n_ended = {c: np.bincount(days[outcome == c], minlength=reach)[:reach] for c in ("won", "lost")}
    at_risk = np.maximum(len(days) - np.concatenate([[0], np.cumsum(np.bincount(days, minlength=reach))])[:reach], 1)
    stay = np.cumprod(1 - (n_ended["won"] + n_ended["lost"]) / at_risk)
    return np.cumsum(n_ended["won"] / at_risk * np.concatenate([[1.0], stay[:-1]]))
