"""The firm's own people: teams, reps with hidden skill, who gets which lead, and quarterly targets.

Assignment is not fair, and that is the point: senior reps are handed the appealing leads (good sources and regions)
whether or not they are the skilled ones, so a rep's raw rate says more about the leads than about the rep.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .calendar import as_day, as_time
from .frames import Numbering, canonical, history, pick
from .market import draw
from .names import people

__all__ = ["FAR", "TEAMS", "Owners", "Staff", "draw_owners", "hire_staff", "rep_tables", "target_table", "team_of"]

FAR = 2**31  # a day that never comes
TEAMS = ("North Italy", "Centre-South Italy", "Export", "Key accounts")
_TEAM_SHARES = (0.40, 0.20, 0.27, 0.13)
_SPELLS = 4
_KEY_ACCOUNT_EMPLOYEES = 500
_SOUTH = ("Toscana", "Marche", "Lazio", "Campania", "Puglia", "Sicilia")


@dataclass(frozen=True)
class Staff:
    """All reps: one row each. Days are day numbers; `left_day` and `move_day` are `FAR` when it never happens.

    Attributes
    ----------
    skill : factor of the daily chance that a lead converts or a deal is won.
    activity : factor of the calls, e-mails and meetings that the rep starts.
    favour : how strongly the rep is given appealing leads; negative is given the others.
    optimism : what the rep adds to the probability of deals when entering it.
    """

    rep_id: np.ndarray
    team: np.ndarray
    next_team: np.ndarray
    move_day: np.ndarray
    hired_day: np.ndarray
    left_day: np.ndarray
    permanent: np.ndarray
    skill: np.ndarray
    activity: np.ndarray
    favour: np.ndarray
    optimism: np.ndarray
    experience: np.ndarray

    def __len__(self) -> int:
        return len(self.rep_id)

    def available(self, day: np.ndarray, team: np.ndarray, *, permanent: bool = False) -> np.ndarray:
        """Return whether each rep works in the wanted team on the day, (n, reps)."""
        team_then = np.where(self.move_day <= day[:, None], self.next_team, self.team)
        works = (self.hired_day <= day[:, None]) & (day[:, None] < self.left_day)
        return works & (team_then == team[:, None]) & (self.permanent if permanent else True)


@dataclass(frozen=True)
class Owners:
    """Who owns each entity: `rep[i, s]` from `day[i, s]` on; spells that never come begin on `FAR`."""

    rep: np.ndarray
    day: np.ndarray

    def at(self, row: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Return the index of the owner of each row on a day."""
        spell = (self.day[row] <= day[:, None]).sum(axis=1) - 1
        return self.rep[row, np.maximum(spell, 0)]

    def take(self, rows: np.ndarray) -> "Owners":
        """Return the owners of these rows."""
        return Owners(self.rep[rows], self.day[rows])


def hire_staff(n_leads: int, start_day: int, end_day: int, rng: np.random.Generator) -> Staff:
    """Return the reps of a firm with `n_leads` leads; the first of each team is there from first to last day."""
    n = max(6, round(n_leads / 500))
    team = np.concatenate([np.arange(len(TEAMS)), draw(_TEAM_SHARES, n - len(TEAMS), rng)])
    permanent = np.arange(n) < len(TEAMS)
    early = permanent | (rng.random(n) < 0.7)
    hired = start_day - rng.integers(30, 3_650, n)
    hired = np.where(early, hired, start_day + (rng.random(n) * 0.7 * (end_day - start_day)).astype(np.int64))
    left = np.maximum(hired, start_day) + 120 + (rng.random(n) * (end_day - start_day)).astype(np.int64)
    leaves = ~permanent & (rng.random(n) < 0.35) & (left < end_day)
    move = np.maximum(hired, start_day) + 60 + (rng.random(n) * (end_day - start_day)).astype(np.int64)
    moves = ~permanent & ~leaves & (rng.random(n) < 0.15) & (move < end_day)
    talent = rng.standard_normal(n)
    tenure = np.clip((start_day - hired) / 3_650, 0, 1)
    return Staff(
        rep_id=np.array([f"R{i:02d}" for i in range(1, n + 1)], dtype=object),
        team=team,
        next_team=np.where(moves, (team + rng.integers(1, len(TEAMS), n)) % len(TEAMS), team),
        move_day=np.where(moves, move, FAR),
        hired_day=hired,
        left_day=np.where(leaves, left, FAR),
        permanent=permanent,
        skill=np.exp(np.clip(0.35 * talent, -0.8, 0.8)).round(4),
        activity=np.exp(np.clip(0.18 * rng.standard_normal(n), -0.4, 0.4)).round(4),
        favour=(2.2 * (tenure - 0.4) - 0.9 * talent + 0.4 * rng.standard_normal(n)).round(4),
        optimism=np.clip(0.10 + 0.10 * rng.standard_normal(n), -0.10, 0.30).round(4),
        experience=np.round(10 * tenure + np.abs(3 + 4 * rng.standard_normal(n)), 1),
    )


def team_of(country: np.ndarray, region: np.ndarray, employees: np.ndarray) -> np.ndarray:
    """Return the team that looks after each company: by size first, then by place."""
    italian = np.where(np.isin(region, _SOUTH), 1, 0)
    return np.where(employees > _KEY_ACCOUNT_EMPLOYEES, 3, np.where(country == "IT", italian, 2))


def draw_owners(
    staff: Staff,
    *,
    team: np.ndarray,
    appeal: np.ndarray,
    day: np.ndarray,
    rng: np.random.Generator,
    first: np.ndarray | None = None,
) -> Owners:
    """Return the owners from `day` on: the first one by the assignment rule (or `first`), later ones when a rep
    leaves or the entity is handed over. The plan does not depend on how the entity fares.
    """
    nobody = np.full(len(day), -1)
    owner = _assign(staff, team, appeal, day, nobody, rng) if first is None else first
    reps, days = [owner], [day]
    for spell in range(1, _SPELLS):
        handed_over = days[-1] + 5 + rng.exponential(45, len(day)).astype(np.int64)
        handed_over = np.where((rng.random(len(day)) < 0.08) & (spell < _SPELLS - 1), handed_over, FAR)
        switch = np.where(days[-1] < FAR, np.minimum(handed_over, staff.left_day[reps[-1]]), FAR)
        rows = np.flatnonzero(switch < FAR)
        owner = reps[-1].copy()
        last = spell == _SPELLS - 1
        owner[rows] = _assign(staff, team[rows], appeal[rows], switch[rows], owner[rows], rng, permanent=last)
        reps.append(owner)
        days.append(switch)
    return Owners(np.stack(reps, axis=1), np.stack(days, axis=1))


def _assign(
    staff: Staff,
    team: np.ndarray,
    appeal: np.ndarray,
    day: np.ndarray,
    not_to: np.ndarray,
    rng: np.random.Generator,
    *,
    permanent: bool = False,
) -> np.ndarray:
    weight = np.exp(np.clip(1.3 * appeal[:, None] * staff.favour, -4, 4))
    weight = weight * staff.available(day, team, permanent=permanent)
    others = weight * (np.arange(len(staff)) != not_to[:, None])
    weight = np.where(others.sum(axis=1, keepdims=True) > 0, others, weight)
    cumulated = np.cumsum(weight, axis=1)
    draws = rng.random(len(day)) * cumulated[:, -1]
    return np.minimum((cumulated <= draws[:, None]).sum(axis=1), len(staff) - 1)


def rep_tables(staff: Staff, end_day: int, rng: np.random.Generator) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Return the reps as known today, and the history of their team and contract."""
    n = len(staff)
    first, last = people(np.zeros(n, int), rng)
    hired, row = as_time(staff.hired_day, 7), np.arange(n)
    confirmed, moved, left = staff.hired_day + 180, staff.move_day < FAR, staff.left_day < FAR
    kept = (confirmed < np.minimum(staff.left_day, end_day)).nonzero()[0]
    contract = np.where(left, "left", np.where(confirmed < end_day, "permanent", "fixed term"))
    reps = canonical(
        "reps",
        {"rep_id": staff.rep_id, "first_name": first, "last_name": last}
        | {"team": pick(TEAMS, np.where(moved, staff.next_team, staff.team))}
        | {"role": np.where(staff.permanent, "team leader", "sales representative")}
        | {"experience": staff.experience, "contract_status": contract, "hired_at": hired}
        | {"left_at": np.where(left, as_time(np.where(left, staff.left_day - 1, 0), 16), np.datetime64("NaT"))},
    )
    ever, gone = moved.nonzero()[0], left.nonzero()[0]
    teams = history(
        "rep",
        staff.rep_id,
        "team",
        row=np.r_[row, ever],
        at=np.r_[hired, as_time(staff.move_day[ever], 7)],
        value=pick(TEAMS, np.r_[staff.team, staff.next_team[ever]]),
    )
    contracts = history(
        "rep",
        staff.rep_id,
        "contract_status",
        row=np.r_[row, kept, gone],
        at=np.r_[hired, as_time(confirmed[kept], 7), as_time(staff.left_day[gone] - 1, 16)],
        value=np.r_[["fixed term"] * n, ["permanent"] * len(kept), ["left"] * len(gone)],
    )
    return reps, [teams, contracts]


def target_table(
    staff: Staff, n_leads: int, start_day: int, end_day: int, numbering: Numbering, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the quarterly targets of each rep, set two weeks ahead for those employed when the quarter begins."""
    quarters = pd.date_range(*np.array([start_day, end_day], dtype="datetime64[D]"), freq="QS", inclusive="left")
    begin, close = as_day(quarters), as_day(quarters + pd.offsets.QuarterBegin(startingMonth=1))
    rep, quarter = np.meshgrid(np.arange(len(staff)), np.arange(len(quarters)), indexing="ij")
    rep, quarter = rep.ravel(), quarter.ravel()
    there = (staff.hired_day[rep] <= begin[quarter]) & (begin[quarter] < staff.left_day[rep])
    rep, quarter = rep[there], quarter[there]
    leads = n_leads / len(staff) * 91 / max(end_day - start_day, 91)
    ambition = rng.uniform(0.85, 1.35, len(rep))
    set_day = np.maximum(begin[quarter] - 14, staff.hired_day[rep])
    common = (rep, begin[quarter], close[quarter], set_day)
    parts = [
        _targets("won_amount", (leads * 0.22 * 0.4 * 75_000 * ambition).round(-3), *common),
        _targets("converted_leads", (leads * 0.22 * ambition).round(), *common),
    ]
    rows = pd.concat(parts, ignore_index=True).sort_values(["set_at", "rep", "measure"], ignore_index=True)
    return canonical(
        "targets",
        {"target_id": numbering.take("G", len(rows)), "rep_id": pick(staff.rep_id, rows.pop("rep").to_numpy()), **rows},
    )


def _targets(
    measure: str, value: np.ndarray, rep: np.ndarray, begin: np.ndarray, close: np.ndarray, set_day: np.ndarray
) -> pd.DataFrame:
    return pd.DataFrame(
        {"rep": rep, "measure": measure, "period_start_at": as_time(begin), "period_end_at": as_time(close)}
        | {"value": value, "set_at": as_time(set_day, 9)}
    )
