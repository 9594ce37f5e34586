"""Figures of models: measures with intervals, calibration, slices, what an order is worth, origins."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from .axes import GREY, dots, new_axes, nothing, short

__all__ = [
    "plot_calibration",
    "plot_capacity",
    "plot_capture",
    "plot_model_intervals",
    "plot_net_benefit",
    "plot_origins",
    "plot_slices",
    "plot_split_gap",
]


def plot_calibration(tables: dict[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw observed against predicted shares with intervals; on the diagonal a score can be taken at its word."""
    ax = ax or new_axes(5.2, 4.8)
    top = 1.08 * max(max(t["high"].max(), t["predicted"].max()) for t in tables.values())
    ax.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, label="perfect")
    for (name, table), colour, marker in zip(tables.items(), sns.color_palette(), "osD^v", strict=False):
        error = [table["observed"] - table["low"], table["high"] - table["observed"]]
        ax.errorbar(
            table["predicted"],
            table["observed"],
            yerr=error,
            marker=marker,
            color=colour,
            label=name,
            capsize=2,
            linewidth=1,
        )
    ax.set(xlabel="predicted share", ylabel="observed share", xlim=(0, top), ylim=(0, top))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.legend(loc="upper left")
    return ax


def plot_capture(tables: dict[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw the share of conversions found when the best-scored share is called first; the diagonal is chance."""
    ax = ax or new_axes(5.2, 4.8)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="in any order")
    for (name, table), colour, marker in zip(tables.items(), sns.color_palette(), "osD^v", strict=False):
        shares, captured = np.r_[0, table["share"], 1], np.r_[0, table["captured"], 1]
        ax.plot(shares, captured, marker=marker, color=colour, label=name)
    ax.set(xlabel="share called, best score first", ylabel="share of outcomes among them")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.legend(loc="lower right")
    return ax


def plot_model_intervals(metrics: pd.DataFrame, *, metric: str, ax: Axes | None = None, chosen: str = "") -> Axes:
    """Draw one metric with its interval per model, best at the top; the chosen model stands out."""
    rows = metrics[metrics["metric"] == metric].rename(columns={"value": "share"})
    higher = metric not in ("log loss", "Brier", "calibration error")
    rows = rows.sort_values("share", ascending=not higher)
    ax = ax or new_axes(7, 0.9 + 0.34 * len(rows))
    colours = [sns.color_palette()[1] if m == chosen else sns.color_palette()[0] for m in rows["model"]]
    dots(ax, list(rows["model"]), rows, colours)
    ax.set(xlabel=f"{metric} ({'higher' if higher else 'lower'} is better)", ylabel="")
    return ax


def plot_split_gap(gap: pd.DataFrame, *, metric: str, ax: Axes | None = None) -> Axes:
    """Draw, per model, the honest figure and what a random split would have claimed, joined by a line."""
    rows = gap[gap["metric"] == metric].reset_index(drop=True)
    ax = ax or new_axes(7, 1.1 + 0.36 * len(rows))
    position = np.arange(len(rows))
    ax.hlines(position, rows["honest"], rows["random"], color=GREY, linewidth=1.5, zorder=1)
    for column, colour, marker, name in (
        ("honest", 0, "o", "tested on newer rows"),
        ("random", 1, "D", "random split"),
    ):
        ax.scatter(rows[column], position, color=sns.color_palette()[colour], marker=marker, label=name, zorder=2)
    ax.set_yticks(position, rows["model"])
    ax.invert_yaxis()
    ax.set(xlabel=metric, ylabel="")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
    return ax


def plot_capacity(table: pd.DataFrame, *, currency: str = "EUR", ax: Axes | None = None) -> Axes:
    """Draw the profit of each way of choosing whom to call, with its interval.

    Parameters
    ----------
    table : as of `evaluation.capacity_table`.
    """
    if table.empty:
        return nothing(ax, "Rows have no dates, so nobody can say who could have been called when.")
    ax = ax or new_axes(7, 0.9 + 0.34 * len(table))
    position = np.arange(len(table))
    ax.hlines(position, table["low"], table["high"], color=sns.color_palette()[0], linewidth=2)
    ax.scatter(table["profit"], position, color=sns.color_palette()[0], zorder=2)
    ax.axvline(0, color=GREY, linestyle="--", linewidth=1)
    labels = [f"{way}  ({calls:,.0f} calls)" for way, calls in zip(table["way"], table["calls"], strict=True)]
    ax.set_yticks(position, labels)
    ax.invert_yaxis()
    ax.set(xlabel=f"profit of the order, {currency}", ylabel="")
    return ax


def plot_net_benefit(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw net benefit against the threshold per way, cut off below at a loss as large as the best gain.

    Parameters
    ----------
    table : as of `evaluation.net_benefit_table`.
    """
    ax = ax or new_axes(6.4, 4)
    for (way, rows), style in zip(table.groupby("way", sort=False), ["-", "-", "-", "--", ":"] * 4, strict=False):
        ax.plot(rows["threshold"], rows["net_benefit"], style, label=way)
    top = table["net_benefit"].max()
    ax.set_ylim(-0.3 * top, 1.1 * top)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel="call at or above this score", ylabel="net benefit (conversions per row)")
    ax.legend()
    return ax


def plot_origins(table: pd.DataFrame, *, metric: str = "log loss", ax: Axes | None = None) -> Axes:
    """Draw one metric per model at each origin with its interval, the base rate dashed.

    Parameters
    ----------
    table : `Origins.table`.
    """
    rows = table[table["metric"] == metric] if len(table) else table
    if rows.empty:
        return nothing(ax, "There is too little history, or no dates, to begin more than once.")
    ax = ax or new_axes(6.4, 3.6)
    for (model, part), colour in zip(rows.groupby("model", sort=False), sns.color_palette("deep", 10), strict=False):
        error = np.maximum([part["value"] - part["low"], part["high"] - part["value"]], 0)
        ax.errorbar(part["test_from"], part["value"], yerr=error, marker="o", capsize=2, color=colour, label=model)
    base = rows.drop_duplicates("origin")
    ax.plot(base["test_from"], base["base"], color=GREY, linestyle="--", label="base rate of its past")
    ax.set(xlabel="tested from", ylabel=metric)
    ax.figure.autofmt_xdate()
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=3)
    return ax


def plot_slices(table: pd.DataFrame, *, column: str, ax: Axes | None = None) -> Axes:
    """Draw observed minus predicted share with its interval per slice of one column; flagged slices stand out.

    Parameters
    ----------
    table : as of `evaluation.slice_table`.
    """
    rows = table[table["column"] == column]
    ax = ax or new_axes(7, 0.9 + 0.32 * len(rows))
    position = np.arange(len(rows))
    colours = [sns.color_palette()[3] if flag else sns.color_palette()[0] for flag in rows["flagged"]]
    ax.hlines(position, rows["gap_low"], rows["gap_high"], color=colours, linewidth=2)
    ax.scatter(rows["gap"], position, color=colours, zorder=2)
    ax.axvline(0, color=GREY, linestyle="--", linewidth=1)
    labels = [f"{short(s)}  (n = {n:,})" for s, n in zip(rows["slice"], rows["n"], strict=True)]
    ax.set_yticks(position, labels)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel="observed − predicted share", ylabel="", title=column)
    return ax
