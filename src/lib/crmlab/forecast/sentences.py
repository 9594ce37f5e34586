"""What forecasts, back-tests and battle cards say, in words that stay true when the numbers change."""

import numpy as np
import pandas as pd

from crmlab.models.closed_only import CLOSED_ONLY, EVERY_DEAL

from .backtest import OURS, Backtest
from .cards import BattleCards
from .deals import bar_of
from .outlook import Forecast, spread

__all__ = [
    "backtest_sentence",
    "bias_sentence",
    "cards_sentence",
    "closed_only_sentence",
    "forecast_sentence",
    "independence_sentence",
    "rules_sentence",
    "shock_sentence",
    "targets_sentence",
]

_MEANT = 0.8


def forecast_sentence(forecast: Forecast, backtest: Backtest, *, role: str = "this quarter") -> tuple[str, str]:
    """Return what a period will bring against its target, and the tone: good, caution, bad or plain."""
    period = forecast.period(role)
    whole = forecast.amounts(period)
    middle, low, high = spread(whole)
    text = f"{period.name} will bring {_money(low)} to {_money(high)} with four chances in five"
    text = f"{text}, {_money(middle)} in the middle"
    doubt = _doubt(backtest)
    bar, name = bar_of(forecast, role)
    if name != "target":
        return f"{text}. No target is set for it{doubt}.", "caution" if doubt else "plain"
    chance = float((whole >= bar).mean())
    tone = "good" if chance >= 0.7 else "bad" if chance < 0.3 else "caution"
    text = f"{text}. The target of {_money(bar)} is reached with a chance of {_percent(chance)}{doubt}."
    return text, "caution" if doubt and tone == "good" else tone


def _doubt(backtest: Backtest) -> str:
    if backtest.why_not:
        return "; how far such a range can be trusted could not be tried on the past"
    here = backtest.coverage_table()
    here = here[(here["when"] == "this quarter") & (here["level"] == "total")]
    if len(here) and here["covered"].iloc[0][2] < _MEANT:
        return f"; on the past, such ranges held only {_percent(here['covered'].iloc[0][0])} of the time"
    return ""


def independence_sentence(forecast: Forecast, *, role: str = "this quarter") -> str:
    """Say how much narrower the range would be if deals knew nothing of each other."""
    period = forecast.period(role)
    _, low, high = spread(forecast.amounts(period))
    _, alone_low, alone_high = spread(forecast.amounts(period, independent=True))
    share = (alone_high - alone_low) / (high - low) if high > low else float("nan")
    return (
        f"Taking the deals as independent would give {_money(alone_low)} to {_money(alone_high)}, "
        f"{_percent(share)} of the width: a good or a bad season, which moves all deals together, is left out there."
    )


def shock_sentence(forecast: Forecast) -> str:
    """Say how large the shared shock was estimated, and from how much."""
    shock = forecast.shock
    middle, low, high = shock.size
    source = (
        f"learned from forecasts at {shock.n_dates} earlier dates"
        if shock.n_dates
        else "not learned, for want of earlier dates, but assumed"
    )
    return (
        f"In a typical month all odds of winning move together by a factor of {np.exp(middle):.2f} up or down "
        f"(80 % interval {np.exp(low):.2f} to {np.exp(high):.2f}), {source}."
    )


def backtest_sentence(backtest: Backtest) -> str:
    """Say how often the 80 % interval held, and how often the independent one did."""
    if backtest.why_not:
        return f"{backtest.why_not} The ranges above rest on an assumed shared shock and have not been tested."
    table = backtest.coverage_table()
    parts = [
        f"for {row.when} {_percent(row.covered[0])} of {row.n} ({_percent(row.covered[1])} to "
        f"{_percent(row.covered[2])}; as if independent {_percent(row.independent[0])})"
        for row in table[table["level"] == "total"].itertuples()
    ]
    return (
        f"Tried at {backtest.n_dates} earlier dates, the 80 % interval of the total held what came: {', '.join(parts)}."
    )


def bias_sentence(backtest: Backtest) -> str:
    """Say whether forecasts were too high or too low on the whole, and in the last half year; empty without any."""
    if backtest.why_not:
        return "Whether forecasts lean to one side is not known yet."
    quarter = backtest.results[
        (backtest.results["when"] == "this quarter") & (backtest.results["level"] == "total")
    ].sort_values("as_of")
    whole, late = (_lean(part) for part in (quarter, quarter.tail(6)))
    return f"Over all dates, quarters came in {whole}; at the last {min(6, len(quarter))} dates, {late}."


def _lean(part: pd.DataFrame) -> str:
    gap = float(part["realised"].sum() / part["median"].sum() - 1) if part["median"].sum() else 0.0
    if abs(gap) < 0.02:
        return "as forecast"
    return f"{_percent(abs(gap))} {'above' if gap > 0 else 'below'} the middle of the forecast"


def rules_sentence(backtest: Backtest) -> str:
    """Say which rule of thumb comes nearest, and whether the forecast beats it, by kind of period."""
    table = backtest.error_table()
    rules = [c for c in table if c not in ("when", "n", OURS)]
    if not len(table) or not rules:
        return "No rule of thumb could be set beside the forecast."
    parts = []
    for row in table.to_dict("records"):
        best = min(rules, key=lambda rule: row[rule])
        gap = 1 - row[OURS] / row[best] if row[best] else 0.0
        word = "smaller" if gap > 0 else "larger"
        parts.append(f"{row['when']} {_percent(abs(gap))} {word} than the best of them ({best}; {row['n']} dates)")
    return f"Mean error against rules of thumb: {'; '.join(parts)}."


def targets_sentence(table: pd.DataFrame) -> str:
    """Say for how many teams and owners a target of this quarter is likely, open or unlikely.

    Parameters
    ----------
    table : result of `Forecast.target_table`.
    """
    if not len(table):
        return (
            "No target of the won amount was set for these periods before this date, so nothing is said about reaching "
            "one; with a table of targets, chances stand here."
        )
    parts = []
    for level, part in table[table["level"] != "total"].groupby("level", sort=False):
        chance = part["chance"].map(lambda c: c[0])
        likely, unlikely = int((chance >= 0.7).sum()), int((chance < 0.3).sum())
        parts.append(
            f"of {len(part)} {level} targets, {likely} are likely to be reached (chance of 70 % or more), {unlikely} "
            f"unlikely (below 30 %), {len(part) - likely - unlikely} open"
        )
    return f"{'; '.join(parts)}.".capitalize() if parts else "Only the whole firm has a target."


def cards_sentence(cards: BattleCards) -> str:
    """Say where deals are won less often than expected, or that there is no evidence of it."""
    if not len(cards.groups):
        return (
            "No competitor, product or sector has the 30 deals that a battle card needs: not enough evidence to say "
            "where deals are harder."
        )
    harder = cards.groups[cards.groups["harder"].astype(bool)]
    if not len(harder):
        return (
            f"Among {len(cards.groups)} competitors, products and sectors with 30 deals or more, there is no evidence "
            "of one where deals are won less often than deals like them elsewhere."
        )
    names = [f"{row.group} ({row.field}: {_percent(row.ratio[0])} of the expected wins)" for row in harder.itertuples()]
    text = f"Fewer wins than expected from what the deals are like: {', '.join(names)}."
    if not cards.n_compared:
        return f"{text} Too few closed deals there to compare wins with losses."
    if not len(cards.contrasts):
        return (
            f"{text} Of {cards.n_compared} differences between wins and losses there, none stands out from chance: no "
            "evidence of what distinguishes them."
        )
    return (
        f"{text} Of {cards.n_compared} differences looked at, {len(cards.contrasts)} that say different things stand "
        "out from chance; they go with the wins and need not bring them about."
    )


def closed_only_sentence(table: pd.DataFrame) -> str:
    """Say what training on closed deals only would have promised.

    Parameters
    ----------
    table : result of `models.closed_only.closed_only_table`.
    """
    if not len(table):
        return "Too few deals to show what training on closed deals only would have promised."
    rows = table[table["deals"] == "all"].set_index("model")
    every, closed = rows.loc[EVERY_DEAL], rows.loc[CLOSED_ONLY]
    observed = closed["observed"]
    text = (
        f"Of {int(closed['n'])} later deals, {_percent(observed[0])} were won within the horizon "
        f"({_percent(observed[1])} to {_percent(observed[2])}). Trained on closed deals only, the model says "
        f"{_percent(closed['predicted'])}, and {_percent(closed['p_ever'])} at some time; with open deals at risk "
        f"it says {_percent(every['predicted'])} and {_percent(every['p_ever'])}"
    )
    if np.isfinite(closed["true_within"]):
        text += f"; the truth is {_percent(closed['true_within'])} and {_percent(closed['true_ever'])}"
    return f"{text}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%" if np.isfinite(share) else "an unknown share"


def _money(amount: float) -> str:
    """Three figures are what a forecast can tell."""
    if not np.isfinite(amount):
        return "an unknown amount"
    size, unit = (1e6, "\u00a0million") if abs(amount) >= 1e6 else (1.0, "")
    if size > 1:
        return f"€{amount / size:.2f}{unit}"
    digits = max(len(str(int(abs(amount)))) - 3, 0)
    return f"€{round(amount / 10**digits) * 10**digits:,.0f}"
