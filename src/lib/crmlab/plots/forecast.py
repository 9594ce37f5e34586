"""Figures of the pipeline forecast."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from .axes import GREY, new_axes

__all__ = ["plot_backtest", "plot_outlook", "plot_targets"]

_PARTS = {"closed": "already won", "existing": "expected of open deals", "new": "expected of new deals"}


def plot_outlook(table: pd.DataFrame, *, targets: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw, per period, what is won, expected of open and of new deals, the 80 % interval, and the target.

    Parameters
    ----------
    table : result of `Forecast.table("total")`.
    targets : result of `Forecast.target_table`; its total lines are drawn.
    """
    ax = ax or new_axes(8, 1.2 + 0.7 * len(table))
    position, left = np.arange(len(table)), np.zeros(len(table))
    for (part, name), colour in zip(_PARTS.items(), ("C2", "C0", "C4"), strict=True):
        ax.barh(position, table[part], left=left, height=0.5, color=colour, label=name)
        left = left + table[part].to_numpy()
    for shift, column, colour, name in (
        (0.0, "expected", "black", "median and 80 % interval"),
        (0.36, "independent", GREY, "the same if deals were independent"),
    ):
        middle, low, high = (np.array([estimate[i] for estimate in table[column]]) for i in range(3))
        error = np.maximum([middle - low, high - middle], 0)
        ax.errorbar(middle, position + shift, xerr=error, fmt="o", color=colour, capsize=3, linewidth=1.5, label=name)
    if targets is not None and (targets["level"] == "total").any():
        _targets(ax, table, targets[targets["level"] == "total"])
    ax.set_yticks(position, [f"{p}\n{w}" for p, w in zip(table["period"], table["when"], strict=True)])
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(FuncFormatter(_euro))
    ax.set(xlabel="won amount", ylabel="", xlim=(0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncol=3, fontsize=8)
    return ax


def _targets(ax: Axes, table: pd.DataFrame, targets: pd.DataFrame) -> None:
    place = {period: i for i, period in enumerate(table["period"])}
    for i, row in enumerate(targets.itertuples()):
        y, label = place[row.period], "target" if i == 0 else None
        ax.vlines(row.target, y - 0.42, y + 0.42, color="C1", linewidth=3, label=label, zorder=3)


def plot_targets(table: pd.DataFrame, *, ax: Axes | None = None, limit: int = 25) -> Axes:
    """Draw attainment with its 80 % interval per team or owner; at 100 % the target is reached.

    Parameters
    ----------
    table : rows of `Forecast.target_table` of one period.
    """
    rows = table.head(limit)
    ax = ax or new_axes(8, 1.0 + 0.34 * max(len(rows), 1))
    if rows.empty:
        ax.text(0.5, 0.5, "No target was set before this date.", ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()
        return ax
    position = np.arange(len(rows))
    middle, low, high = (np.array([estimate[i] for estimate in rows["attainment"]]) for i in range(3))
    ax.hlines(position, low, high, color="C0", linewidth=2.5, alpha=0.6)
    ax.scatter(middle, position, color="C0", zorder=2)
    ax.axvline(1, color=GREY, linestyle="--", linewidth=1)
    chances = [f"{g}  ({100 * c[0]:.0f} %)" for g, c in zip(rows["group"], rows["chance"], strict=True)]
    ax.set_yticks(position, [text.replace("$", r"\$") for text in chances])
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="forecast over target; chance of reaching it in brackets", ylabel="", xlim=(0, None))
    return ax


def plot_backtest(results: pd.DataFrame, *, when: str = "this quarter", ax: Axes | None = None) -> Axes:
    """Draw, per earlier date, the 80 % interval of the total and what came.

    Parameters
    ----------
    results : `Backtest.results`.
    """
    ax = ax or new_axes(8, 3.8)
    if results.empty:
        ax.text(0.5, 0.5, "The history is too short to try it.", ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()
        return ax
    rows = results[(results["when"] == when) & (results["level"] == "total")].sort_values("as_of")
    held = rows["inside"].to_numpy(bool)
    ax.vlines(rows["as_of"], rows["low"], rows["high"], color="C0", linewidth=6, alpha=0.35, label="80 % interval")
    ax.scatter(rows["as_of"], rows["median"], color="C0", marker="_", s=60, label="median forecast")
    for chosen, colour, marker, name in (
        (held, "C2", "o", "what came, inside"),
        (~held, "C1", "X", "what came, outside"),
    ):
        ax.scatter(rows["as_of"][chosen], rows["realised"][chosen], color=colour, marker=marker, label=name, zorder=3)
    ax.yaxis.set_major_formatter(FuncFormatter(_euro))
    ax.set(xlabel="date of the forecast", ylabel=f"won amount, {when}", ylim=(0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncol=4, fontsize=9)
    return ax


def _euro(amount: float, _: object = None) -> str:
    return f"€{amount / 1e6:g} M" if abs(amount) >= 1e6 else f"€{amount / 1e3:g} k" if amount else "€0"
