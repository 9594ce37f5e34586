"""Figures of monitoring."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from .axes import GREY, new_axes, nothing

__all__ = ["plot_months", "plot_tiers"]


def plot_months(months: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw expected and observed shares by month of scoring, the observed with their interval.

    Parameters
    ----------
    months : result of `monitoring.month_table`.
    """
    if months.empty:
        return nothing(ax, "No scores have settled yet.")
    ax = ax or new_axes(8, 3.4)
    position = np.arange(len(months))
    ax.vlines(position, months["low"], months["high"], color="C0", linewidth=5, alpha=0.3)
    ax.scatter(position, months["observed"], color="C0", zorder=3, label="came true, with 95 % interval")
    ax.plot(position, months["expected"], color="black", marker="_", label="expected by the scores")
    ax.set_xticks(position, months["month"], rotation=0 if len(months) <= 8 else 45)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="month of scoring", ylabel="share with the outcome", ylim=(0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
    return ax


def plot_tiers(tiers: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the range that each published tier promised, and what came.

    Parameters
    ----------
    tiers : result of `monitoring.tier_table`; tiers without settled scores are left out.
    """
    rows = tiers[tiers["n"] > 0]
    if rows.empty:
        return nothing(ax, "No tier has settled scores yet.")
    ax = ax or new_axes(8, 1.0 + 0.34 * len(rows))
    position = np.arange(len(rows))
    ax.hlines(position, rows["p_from"], rows["p_below"], color=GREY, linewidth=9, alpha=0.3, label="promised range")
    ax.hlines(position, rows["low"], rows["high"], color="C0", linewidth=2)
    ax.scatter(rows["observed"], position, color="C0", zorder=3, label="came true, with interval")
    ax.scatter(rows["expected"], position, color="black", marker="|", s=90, zorder=2, label="mean score")
    ax.set_yticks(position, [f"{kind} {tier}" for kind, tier in zip(rows["kind"], rows["tier"], strict=True)])
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="share with the outcome", ylabel="", xlim=(0, 1))
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncol=3)
    return ax
