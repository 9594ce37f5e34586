"""The forecast tried on the past: from each earlier month on, with what was known then, against what came."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.intervals import share_interval

from .facts import DealFacts, known_deals
from .naive import NAIVE, naive_forecasts
from .outlook import Forecast, amount_targets, spread, trained_before
from .periods import Period
from .shock import Residuals, Shock, estimate_shock
from .simulate import simulate
from .situation import Situation, build_situation

__all__ = ["OURS", "Backtest", "backtest_forecast"]

OURS = "crmlab"
_DAY = pd.Timedelta(days=1)
_FEW_WON = 40
_HISTORY_DAYS = 90
_ERROR_COLUMNS = ["as_of", "period", "when", "method", "error"]
_RESULT_COLUMNS = [
    *("as_of", "period", "when", "level", "group", "realised", "median", "low", "high"),
    *("independent_low", "independent_high", "inside", "inside_independent", "crps"),
]


@dataclass(frozen=True)
class Backtest:
    """Earlier forecasts and what came.

    Attributes
    ----------
    results : frame, one row per date, period, level and group: as_of, period, when, level, group, realised, median,
        low, high (80 %), independent_low, independent_high, inside, inside_independent, crps.
    naive : frame as_of, period, when, method, error (absolute, EUR): crmlab's CRPS beside the errors of rules of thumb.
    shock : learned from all earlier dates, for the forecast of today.
    why_not : empty, or why the past is too short to be tried on.
    """

    results: pd.DataFrame
    naive: pd.DataFrame
    shock: Shock
    why_not: str = ""

    @property
    def n_dates(self) -> int:
        """Dates that the forecast was tried at."""
        return int(self.results["as_of"].nunique()) if len(self.results) else 0

    def coverage_table(self) -> pd.DataFrame:
        """Return how often the 80 % interval held what came.

        Returns
        -------
        Frame: when, level, n (forecasts), covered (share, low, high: Wilson), independent (the same without the shared
        shock), bias (all that came over all medians, less 1). Windows of neighbouring dates overlap, so the intervals
        are somewhat too narrow for quarters.
        """
        rows = []
        for (when, level), part in self.results.groupby(["when", "level"], sort=False):
            n = len(part)
            hits, alone = int(part["inside"].sum()), int(part["inside_independent"].sum())
            total = part["median"].sum()
            rows.append(
                {"when": when, "level": level, "n": n}
                | {
                    "covered": (hits / n, *share_interval(hits, n)),
                    "independent": (alone / n, *share_interval(alone, n)),
                }
                | {"bias": float(part["realised"].sum() / total - 1) if total else np.nan}
            )
        return pd.DataFrame(rows, columns=["when", "level", "n", "covered", "independent", "bias"])

    def error_table(self) -> pd.DataFrame:
        """Return the mean error of each method per kind of period, on the dates at which all of them could speak.

        For crmlab it is the CRPS (Gneiting and Raftery 2007), which for a single number is the absolute error.
        """
        if not len(self.naive):
            return pd.DataFrame(columns=["when", "n", OURS, *NAIVE])
        wide = self.naive.pivot_table(index=["when", "as_of"], columns="method", values="error", sort=False)
        spoken = [name for name in (OURS, *NAIVE) if name in wide and wide[name].notna().any()]
        wide = wide[spoken].dropna()
        table = wide.groupby(level="when", sort=False).agg(["mean"]).droplevel(1, axis=1)
        return table.assign(n=wide.groupby(level="when").size()).reset_index()[["when", "n", *spoken]]


def backtest_forecast(
    crm: Crm,
    rows: pd.DataFrame,
    features: pd.DataFrame,
    *,
    as_of: str | pd.Timestamp,
    seed: int,
    n_draws: int = 1000,
    most_dates: int = 24,
    n_fits: int = 3,
    facts: DealFacts | None = None,
) -> Backtest:
    """Try the forecast at the first snapshot of each earlier month.

    At each date only what was known strictly before it is used: hazards (fitted at `n_fits` dates and kept until the
    next), amounts, inflow, and the shock learned from still earlier dates whose windows had passed by then. What came
    is looked up at `as_of`; periods that had not ended by then are left out.

    Parameters
    ----------
    rows, features : snapshots of deals and their features, row for row.
    most_dates : newest dates tried.
    """
    at = as_instant(as_of)
    facts = facts or known_deals(crm, as_of=at)
    dates = _origins(rows, facts, at, most_dates)
    if len(dates) < 2:
        empty = pd.DataFrame(columns=_RESULT_COLUMNS), pd.DataFrame(columns=_ERROR_COLUMNS)
        return Backtest(*empty, estimate_shock([]), "The history is too short to try the forecast on it.")
    situations = _situations(crm, rows, features, facts, dates, seed=seed, n_fits=n_fits)
    results, errors = [], []
    for k, situation in enumerate(situations):
        past = [r for s in situations[:k] if (r := _residuals(s, facts, until=situation.as_of)) is not None]
        forecast = _forecast(crm, situation, estimate_shock(past), n_draws=n_draws, seed=seed + k)
        results += _measured(forecast, facts, at)
        open_now = (rows["as_of"] == situation.as_of).to_numpy()
        errors += _errors(forecast, facts, features[open_now], at)
    shock = estimate_shock([r for s in situations if (r := _residuals(s, facts, until=at)) is not None])
    return Backtest(pd.DataFrame(results, columns=_RESULT_COLUMNS), pd.DataFrame(errors, columns=_ERROR_COLUMNS), shock)


def _origins(rows: pd.DataFrame, facts: DealFacts, at: pd.Timestamp, most: int) -> list[pd.Timestamp]:
    """The first snapshot date of each month, once enough was won."""
    dates = pd.Series(rows.loc[rows["as_of"] < at, "as_of"].unique()).sort_values()
    first = dates.groupby(dates.dt.to_period("M")).min()
    won = facts.won(before=at)
    won = won[won["amount"].notna()]["closed_at"].sort_values()
    if len(won) <= _FEW_WON:
        return []
    ready = max(won.iloc[_FEW_WON], facts.deals["closed_at"].min() + _HISTORY_DAYS * _DAY)
    return [d for d in first if d > ready and d.to_period("M") < at.to_period("M")][-most:]


def _situations(
    crm: Crm,
    rows: pd.DataFrame,
    features: pd.DataFrame,
    facts: DealFacts,
    dates: list[pd.Timestamp],
    *,
    seed: int,
    n_fits: int,
) -> list[Situation]:
    every = max(int(np.ceil(len(dates) / n_fits)), 1)
    found, hazards = [], None
    for k, date in enumerate(dates):
        try_again = hazards is None or k % every == 0
        if try_again:
            hazards = trained_before(crm, rows, features, at=date, seed=seed)
        now = (rows["as_of"] == date).to_numpy()
        found.append(build_situation(facts, rows[now], features[now], hazards, as_of=date))
    return found


def _forecast(crm: Crm, situation: Situation, shock: Shock, *, n_draws: int, seed: int) -> Forecast:
    draws = simulate(situation, shock, n_draws=n_draws, seed=seed)
    alone = simulate(situation, None, n_draws=n_draws, seed=seed)
    return Forecast(situation, draws, alone, shock, None, amount_targets(crm, situation.as_of))


def _residuals(situation: Situation, facts: DealFacts, *, until: pd.Timestamp) -> Residuals | None:
    """Amounts won in the steps that had wholly passed by a date, beside what was expected of them.

    Amounts rather than wins: it is their spread that must be honest. They are counted in units of the mean slope, so
    that a residual of one is what a shift of one in the log-odds would do.
    """
    k = int((situation.edges[1:] <= until).sum())
    if k == 0:
        return None
    won = facts.won(before=until, since=situation.as_of)
    weights = won["amount"].fillna(0.0).to_numpy()
    realised = np.histogram(won["closed_at"].to_numpy().astype("int64"), situation.edges.asi8, weights=weights)[0][:k]
    p, new = situation.won_in_step()[:, :k], situation.new
    mean, square = situation.amount_moments()
    rate, new_mean, new_square = new.expected[:k], new.amounts.mean(), (new.amounts**2).mean()
    expected = mean @ p + rate * new_mean
    chance = square @ p - mean**2 @ p**2 + rate * new_square + new.unevenness * (rate * new_mean) ** 2
    slope = mean @ (p * (1 - p)) + rate * new_mean
    unit = max(float(slope.mean()), 1e-9)
    return Residuals(realised / unit, expected / unit, chance / unit**2, slope / unit)


def _realised(facts: DealFacts, period: Period, members: set[str] | None) -> float:
    won = facts.won(before=period.end, since=period.start)
    return float((won if members is None else won[won["owner"].isin(members)])["amount"].sum())


def _measured(forecast: Forecast, facts: DealFacts, at: pd.Timestamp) -> list[dict[str, object]]:
    rows = []
    for period in (p for p in forecast.periods if p.end <= at):
        for level in ("total", "team"):
            for group, members in forecast.groups(level).items():
                drawn, alone = forecast.amounts(period, members), forecast.amounts(period, members, independent=True)
                rows.append(
                    {"as_of": forecast.situation.as_of, "period": period.name, "when": period.role, "level": level}
                    | {"group": group, **_one(drawn, alone, _realised(facts, period, members))}
                )
    return rows


def _one(drawn: np.ndarray, alone: np.ndarray, realised: float) -> dict[str, object]:
    (middle, low, high), (_, alone_low, alone_high) = spread(drawn), spread(alone)
    return {
        "realised": realised,
        "median": middle,
        "low": low,
        "high": high,
        "independent_low": alone_low,
        "independent_high": alone_high,
        "inside": low <= realised <= high,
        "inside_independent": alone_low <= realised <= alone_high,
        "crps": crps(drawn, realised),
    }


def _errors(forecast: Forecast, facts: DealFacts, features: pd.DataFrame, at: pd.Timestamp) -> list[dict[str, object]]:
    rows = []
    for period in (p for p in forecast.periods if p.end <= at):
        realised = _realised(facts, period, None)
        found = {OURS: crps(forecast.amounts(period), realised)}
        guesses = naive_forecasts(facts, features, period=period, at=forecast.situation.as_of)
        found |= {name: abs(guess - realised) for name, guess in guesses.items()}
        key = {"as_of": forecast.situation.as_of, "period": period.name, "when": period.role}
        rows += [key | {"method": name, "error": error} for name, error in found.items()]
    return rows


def crps(draws: np.ndarray, realised: float) -> float:
    """Return the continuous ranked probability score of draws: E|X − y| − E|X − X′|/2 (Gneiting and Raftery 2007).

    >>> round(crps(np.array([1.0, 3.0]), 2.0), 3)
    0.5
    """
    x = np.sort(draws)
    n = len(x)
    among = 2 * float(np.dot(2 * np.arange(1, n + 1) - n - 1, x)) / n**2
    return float(np.abs(x - realised).mean()) - among / 2
