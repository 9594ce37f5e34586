"""Figures of the evaluation: slices, net benefit, profit at capacity, rolling origins."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

__all__ = ["plot_capacity", "plot_net_benefit", "plot_origins", "plot_slices"]

_GREY = "#6b7280"
_LONGEST = 32


def plot_slices(table: pd.DataFrame, *, column: str, ax: Axes | None = None) -> Axes:
    """Draw observed minus predicted share with its interval per slice of one column; flagged slices stand out.

    Parameters
    ----------
    table : as of `evaluation.slice_table`.
    """
    rows = table[table["column"] == column]
    ax = ax or _axes(7, 0.9 + 0.32 * len(rows))
    position = np.arange(len(rows))
    colours = [sns.color_palette()[3] if flag else sns.color_palette()[0] for flag in rows["flagged"]]
    ax.hlines(position, rows["gap_low"], rows["gap_high"], color=colours, linewidth=2)
    ax.scatter(rows["gap"], position, color=colours, zorder=2)
    ax.axvline(0, color=_GREY, linestyle="--", linewidth=1)
    labels = [f"{str(s)[:_LONGEST]}  (n = {n:,})" for s, n in zip(rows["slice"], rows["n"], strict=True)]
    ax.set_yticks(position, labels)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel="observed − predicted share", ylabel="", title=column)
    return ax


def plot_net_benefit(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw net benefit against the threshold per way, cut off below at a loss as large as the best gain.

    Parameters
    ----------
    table : as of `evaluation.net_benefit_table`.
    """
    ax = ax or _axes(6.4, 4)
    for (way, rows), style in zip(table.groupby("way", sort=False), ["-", "-", "-", "--", ":"] * 4, strict=False):
        ax.plot(rows["threshold"], rows["net_benefit"], style, label=way)
    top = table["net_benefit"].max()
    ax.set_ylim(-0.3 * top, 1.1 * top)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel="call at or above this score", ylabel="net benefit (conversions per row)")
    ax.legend()
    return ax


def plot_capacity(table: pd.DataFrame, *, currency: str = "EUR", ax: Axes | None = None) -> Axes:
    """Draw the profit of each way of choosing whom to call, with its interval.

    Parameters
    ----------
    table : as of `evaluation.capacity_table`.
    """
    ax = ax or _axes(7, 0.9 + 0.34 * len(table))
    position = np.arange(len(table))
    ax.hlines(position, table["low"], table["high"], color=sns.color_palette()[0], linewidth=2)
    ax.scatter(table["profit"], position, color=sns.color_palette()[0], zorder=2)
    ax.axvline(0, color=_GREY, linestyle="--", linewidth=1)
    labels = [f"{way}  ({calls:,.0f} calls)" for way, calls in zip(table["way"], table["calls"], strict=True)]
    ax.set_yticks(position, labels)
    ax.invert_yaxis()
    ax.set(xlabel=f"profit of the order, {currency}", ylabel="")
    return ax


def plot_origins(table: pd.DataFrame, *, metric: str = "log loss", ax: Axes | None = None) -> Axes:
    """Draw one metric per model at each origin with its interval, the base rate dashed.

    Parameters
    ----------
    table : `Origins.table`.
    """
    rows = table[table["metric"] == metric]
    ax = ax or _axes(6.4, 3.6)
    for (model, part), colour in zip(rows.groupby("model", sort=False), sns.color_palette("deep", 10), strict=False):
        error = np.maximum([part["value"] - part["low"], part["high"] - part["value"]], 0)
        ax.errorbar(part["test_from"], part["value"], yerr=error, marker="o", capsize=2, color=colour, label=model)
    base = rows.drop_duplicates("origin")
    ax.plot(base["test_from"], base["base"], color=_GREY, linestyle="--", label="base rate")
    ax.set(xlabel="tested from", ylabel=metric)
    ax.figure.autofmt_xdate()
    ax.legend()
    return ax


def _axes(width: float, height: float) -> Axes:
    return plt.subplots(figsize=(width, height), layout="constrained")[1]
