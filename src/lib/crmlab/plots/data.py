"""Figures of data before any model: shares, associations, cohorts, honest counts."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator, PercentFormatter

from .axes import GREY, dots, new_axes, nothing, short

__all__ = ["plot_association", "plot_curves", "plot_honest_counts", "plot_shares", "plot_triangle"]


def plot_association(table: pd.DataFrame, *, ax: Axes | None = None, top: int = 20) -> Axes:
    """Draw each feature's single-feature AUC per period as a heat map around 0.5, strongest features first."""
    rows = table.head(top).set_index("feature")
    known = ["n", "auc", "auc_low", "auc_high", "same_direction"]
    if not rows["auc"].notna().any():
        return nothing(ax, "No label is settled yet.")
    ax = ax or new_axes(8.5, 1.2 + 0.28 * len(rows))
    sns.heatmap(
        rows.drop(columns=known),
        ax=ax,
        cmap="PuOr",
        vmin=0.2,  # as far from one half as vmax: white means no relation
        vmax=0.8,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 7},
        linewidths=0.5,
        cbar_kws={"label": "ROC AUC of the feature alone"},
    )
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="y", rotation=0)
    ax.tick_params(axis="x", rotation=45)
    return ax


def plot_curves(curves: pd.DataFrame, *, ax: Axes | None = None, days: int = 180, max_groups: int = 6) -> Axes:
    """Draw the cumulative share converted by days since creation, with bands, for the largest groups.

    Parameters
    ----------
    curves : frame with group, days, share, low, high; groups in the order to draw.
    """
    ax = ax or new_axes(8, 4)
    groups = list(dict.fromkeys(curves["group"]))[:max_groups]
    styles = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1))]
    for group, colour, style in zip(groups, sns.color_palette(n_colors=len(groups)), styles, strict=False):
        rows = curves[(curves["group"] == group) & (curves["days"] <= days)]
        ax.step(rows["days"], rows["share"], where="post", color=colour, linestyle=style, label=short(group))
        ax.fill_between(rows["days"], rows["low"], rows["high"], step="post", color=colour, alpha=0.12, linewidth=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel="days since creation", ylabel="share converted", xlim=(0, days), ylim=(0, None))
    ax.legend(loc="upper left", ncol=2)
    return ax


def plot_honest_counts(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw per type of interaction the odds ratio by each way of counting, with intervals, and the truth where known.

    Parameters
    ----------
    table : result of `exposure.honest_counts_table`.
    """
    if not len(table) or not table[["naive", "as_of", "adjusted"]].notna().any(axis=None):
        return nothing(ax, "No interaction can be set against a dated outcome.")
    ax = ax or new_axes(8, 1.4 + 0.55 * len(table))
    position = np.arange(len(table))
    ways = {"naive": "final count", "as_of": "count so far", "adjusted": "count so far, at equal age and alike"}
    for (way, name), colour, marker, shift in zip(ways.items(), (3, 1, 0), "D^o", (-0.24, 0, 0.24), strict=True):
        colour = sns.color_palette()[colour]
        ax.hlines(position + shift, table[f"{way}_low"], table[f"{way}_high"], color=colour, linewidth=2, alpha=0.6)
        ax.scatter(table[way], position + shift, color=colour, marker=marker, s=28, label=name, zorder=2)
    if table["true"].notna().any():
        ax.vlines(table["true"], position - 0.38, position + 0.38, color="black", linewidth=2, label="truth", zorder=3)
    ax.axvline(1, color=GREY, linestyle="--", linewidth=1)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator((0.1, 0.2, 0.5, 0.8, 1, 1.2, 1.5, 2, 3, 5, 10, 20, 50)))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_locator(NullLocator())
    labels = [f"{short(t)}  (n = {n:,})" for t, n in zip(table["type"], table["n_events"], strict=True)]
    ax.set_yticks(position, labels)
    ax.invert_yaxis()
    ax.grid(axis="x", visible=True)
    ax.set(xlabel="odds ratio of one more interaction (1 = no relation)", ylabel="")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
    return ax


def plot_shares(
    shares: pd.DataFrame,
    *,
    group: str = "group",
    ax: Axes | None = None,
    overall: float | None = None,
    xlabel: str = "",
) -> Axes:
    """Draw a share with its interval per group; a dashed line marks the overall share.

    Parameters
    ----------
    shares : frame with the group, n, share, low, high.
    """
    ax = ax or new_axes(8, 0.9 + 0.32 * len(shares))
    labels = [f"{short(g)}  (n = {n:,})" for g, n in zip(shares[group], shares["n"], strict=True)]
    dots(ax, labels, shares, sns.color_palette()[0])
    if overall is not None:
        ax.axvline(overall, color=GREY, linestyle="--", linewidth=1)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel=xlabel, ylabel="", xlim=(0, None))
    return ax


def plot_triangle(triangle: pd.DataFrame, *, ax: Axes | None = None, label: str = "share converted") -> Axes:
    """Draw cohorts by time since creation as a heat map; cells not fully observed stay empty."""
    if not triangle.notna().any(axis=None):
        return nothing(ax, "No cohort is old enough yet.")
    ax = ax or new_axes(8.5, 1.2 + 0.26 * len(triangle))
    sns.heatmap(
        triangle * 100,
        ax=ax,
        cmap="cividis",
        annot=len(triangle) <= 40,
        fmt=".0f",
        annot_kws={"size": 7},
        linewidths=0.5,
        cbar_kws={"label": f"{label}, %"},
    )
    ax.set(ylabel="")
    ax.tick_params(axis="y", rotation=0)
    return ax
