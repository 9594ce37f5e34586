"""The forecast itself: what each month and quarter will bring, in total, per team and per owner, beside its target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.intervals import share_interval
from crmlab.models.hazard import CompetingRisks, outcome_times
from crmlab.schema import NotEnoughEvidence

from .facts import DealFacts, known_deals
from .periods import Period
from .shock import Shock, estimate_shock
from .simulate import Draws, amount_in, closed_in, simulate
from .situation import Situation, build_situation, fit_hazards

__all__ = ["LEVELS", "Forecast", "forecast_pipeline", "target_value"]

LEVELS = ("total", "team", "owner")
_LOW, _HIGH = 0.1, 0.9
TARGET_COLUMNS = [
    "period",
    "level",
    "group",
    "target",
    "closed",
    "expected",
    "attainment",
    "chance",
    "chance_independent",
    "pace",
]


@dataclass(frozen=True)
class Forecast:
    """What is to come, as drawn.

    Attributes
    ----------
    situation : what was known.
    draws, independent : futures with the shared shock, and as if deals knew nothing of each other.
    shock : the posterior of the shock.
    hazards : the model behind it.
    targets : the `targets` table as known at the date.
    """

    situation: Situation
    draws: Draws
    independent: Draws
    shock: Shock
    hazards: CompetingRisks
    targets: pd.DataFrame

    @property
    def periods(self) -> tuple[Period, ...]:
        """This and the next month and quarter."""
        return self.situation.periods

    def period(self, role: str) -> Period:
        """Return the period with a role, such as `this quarter`."""
        return next(p for p in self.periods if p.role == role)

    def groups(self, level: str) -> dict[str, set[str] | None]:
        """Return group → its owners at a level (`total`, `team`, `owner`); None stands for everybody."""
        if level == "total":
            return {"all": None}
        owners = sorted({*self.situation.deals["owner"], *self.situation.new.owners, *self.situation.won["owner"]})
        if level == "owner":
            return {owner: {owner} for owner in owners}
        teams: dict[str, set[str]] = {}
        for owner in owners:
            teams.setdefault(self.situation.teams.get(owner, "(nobody)"), set()).add(owner)
        return dict(sorted(teams.items()))

    def amounts(self, period: Period, members: set[str] | None = None, *, independent: bool = False) -> np.ndarray:
        """Return (draws,) EUR won in a period by some owners, by everybody unless told."""
        return amount_in(self.situation, self.independent if independent else self.draws, period, members=members)

    def table(self, level: str = "total") -> pd.DataFrame:
        """Return one row per period and group.

        Returns
        -------
        Frame: period, when, group, open_deals, closed (already won), existing (expected from open deals), new (from
        deals still to come), expected (median, low, high: 80 %), independent (the same without the shared shock).
        """
        rows = [
            {"period": period.name, "when": period.role, "group": group, **self._parts(period, members)}
            for period in self.periods
            for group, members in self.groups(level).items()
        ]
        return pd.DataFrame(rows)

    def _parts(self, period: Period, members: set[str] | None) -> dict[str, object]:
        deals, steps = self.situation.deals, self.situation.steps(period)
        mine = np.ones(len(deals), bool) if members is None else deals["owner"].isin(members).to_numpy()
        closed = closed_in(self.situation, period)
        closed = closed if members is None else closed[closed["owner"].isin(members)]
        whole = self.amounts(period, members)
        existing = float(self.draws.existing(steps)[:, mine].sum(axis=1, dtype="float64").mean()) if mine.any() else 0.0
        done = float(closed["amount"].sum())
        return {
            "open_deals": int(mine.sum()),
            "closed": done,
            "existing": existing,
            "new": float(whole.mean()) - existing - done,
            "expected": spread(whole),
            "independent": spread(self.amounts(period, members, independent=True)),
        }

    def key_numbers(self, role: str = "this quarter") -> dict[str, object]:
        """Return period (its name), median, low, high (80 %), open_deals, and chance (of its target; NaN without)."""
        period = self.period(role)
        whole, target = self.amounts(period), target_value(self, period, "total", "all", None)
        middle, low, high = spread(whole)
        chance = float((whole >= target).mean()) if np.isfinite(target) and target > 0 else float("nan")
        numbers = {"median": middle, "low": low, "high": high, "chance": chance}
        return {"period": period.name, "open_deals": len(self.situation.deals), **numbers}

    def target_table(self, levels: Sequence[str] = LEVELS) -> pd.DataFrame:
        """Return one row per period, level and group that has a target set before the forecast's date.

        Returns
        -------
        Frame: period, level, group, target, closed, expected (median, low, high), attainment (the same over the
        target), chance (of reaching it, with the interval of the simulation), chance_independent, pace (share of the
        target already won over the share of the period gone; NaN before it begins). Empty without targets.
        """
        rows = [
            self._against(period, level, group, members, target)
            for period in self.periods
            for level in levels
            for group, members in self.groups(level).items()
            if np.isfinite(target := target_value(self, period, level, group, members)) and target > 0
        ]
        return pd.DataFrame(rows, columns=TARGET_COLUMNS)

    def _against(
        self, period: Period, level: str, group: str, members: set[str] | None, target: float
    ) -> dict[str, object]:
        whole, alone = self.amounts(period, members), self.amounts(period, members, independent=True)
        closed = closed_in(self.situation, period)
        done = float((closed if members is None else closed[closed["owner"].isin(members)])["amount"].sum())
        hits, gone = int((whole >= target).sum()), period.elapsed(self.situation.as_of)
        return {
            "period": period.name,
            "level": level,
            "group": group,
            "target": target,
            "closed": done,
            "expected": spread(whole),
            "attainment": tuple(x / target for x in spread(whole)),
            "chance": (hits / len(whole), *share_interval(hits, len(whole))),
            "chance_independent": float((alone >= target).mean()),
            "pace": done / target / gone if gone > 0 else np.nan,
        }


def spread(draws: np.ndarray) -> tuple[float, float, float]:
    """Return the median and the 80 % interval of draws."""
    low, middle, high = np.quantile(draws, [_LOW, 0.5, _HIGH])
    return float(middle), float(low), float(high)


def target_value(forecast: Forecast, period: Period, level: str, group: str, members: set[str] | None) -> float:
    """Return the target of a group in EUR; NaN where none was set.

    A target of the group itself comes first; without one, those of its members are added (a firm's teams, then reps).
    """
    targets = forecast.targets
    of_rep, of_team = targets["rep_id"].notna(), targets["team"].notna()
    now = (targets["period_start_at"] == period.start) & (targets["period_end_at"] == period.end)
    reps, teams, firm = targets[now & of_rep], targets[now & of_team & ~of_rep], targets[now & ~of_rep & ~of_team]
    if level == "owner":
        found = (reps[reps["rep_id"] == group],)
    elif level == "team":
        found = (teams[teams["team"] == group], reps[reps["rep_id"].isin(members or set())])
    else:
        found = (firm, teams, reps)
    return next((float(t["value"].sum()) for t in found if len(t)), float("nan"))


def forecast_pipeline(
    crm: Crm,
    rows: pd.DataFrame,
    features: pd.DataFrame,
    *,
    as_of: str | pd.Timestamp,
    n_draws: int,
    seed: int,
    shock: Shock | None = None,
    facts: DealFacts | None = None,
) -> Forecast:
    """Forecast the won amount of this and the next month and quarter.

    Parameters
    ----------
    rows, features : weekly or monthly snapshots of deals (`build_snapshots`) and their features, row for row; those at
        `as_of` itself are the open pipeline, the earlier ones are learned from.
    shock : learned from earlier forecasts (`backtest_forecast(...).shock`); the prior alone unless told.
    facts : `known_deals`, if at hand.

    Raises
    ------
    NotEnoughEvidence : no deal is open, or too few were won before.
    """
    at = as_instant(as_of)
    facts = facts or known_deals(crm, as_of=at)
    now = (rows["as_of"] == at).to_numpy()
    if not now.any():
        raise NotEnoughEvidence(
            "No deal is open at the date of the forecast.",
            found=f"no snapshot at {at:%Y-%m-%d}",
            remedy="take a date at which deals were open, and weekly or monthly snapshots.",
        )
    hazards = trained_before(crm, rows, features, at=at, seed=seed)
    situation = build_situation(facts, rows[now], features[now], hazards, as_of=at)
    shock = shock or estimate_shock([])
    draws = simulate(situation, shock, n_draws=n_draws, seed=seed)
    alone = simulate(situation, None, n_draws=n_draws, seed=seed)
    return Forecast(situation, draws, alone, shock, hazards, amount_targets(crm, at))


def trained_before(
    crm: Crm, rows: pd.DataFrame, features: pd.DataFrame, *, at: pd.Timestamp, seed: int
) -> CompetingRisks:
    """Return hazards fitted on the snapshots before a date and on what was known of them then."""
    past = (rows["as_of"] < at).to_numpy()
    return fit_hazards(features[past], outcome_times(crm, rows[past], as_of=at), rows[past], seed=seed)


def amount_targets(crm: Crm, at: pd.Timestamp) -> pd.DataFrame:
    """Return the targets of the won amount that were set before a date."""
    targets = crm.at("targets", as_of=at)
    return targets[(targets["measure"] == "won_amount").fillna(False) & targets["value"].notna()]
