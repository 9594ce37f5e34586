"""Figures from tidy frames: each takes data and an axis, returns the axis, and computes nothing."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator, PercentFormatter

__all__ = [
    "plot_association",
    "plot_calibration",
    "plot_capture",
    "plot_curves",
    "plot_honest_counts",
    "plot_model_intervals",
    "plot_origins",
    "plot_shares",
    "plot_split_gap",
    "plot_triangle",
]

_GREY = "#6b7280"


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
    ax = ax or _axes(8, 0.9 + 0.32 * len(shares))
    labels = [f"{_short(g)}  (n = {n:,})" for g, n in zip(shares[group], shares["n"], strict=True)]
    _dots(ax, labels, shares, sns.color_palette()[0])
    if overall is not None:
        ax.axvline(overall, color=_GREY, linestyle="--", linewidth=1)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel=xlabel, ylabel="", xlim=(0, None))
    return ax


def plot_model_intervals(metrics: pd.DataFrame, *, metric: str, ax: Axes | None = None, chosen: str = "") -> Axes:
    """Draw one metric with its interval per model, best at the top; the chosen model stands out."""
    rows = metrics[metrics["metric"] == metric].rename(columns={"value": "share"})
    higher = metric not in ("log loss", "Brier", "calibration error")
    rows = rows.sort_values("share", ascending=not higher)
    ax = ax or _axes(7, 0.9 + 0.34 * len(rows))
    colours = [sns.color_palette()[1] if m == chosen else sns.color_palette()[0] for m in rows["model"]]
    _dots(ax, list(rows["model"]), rows, colours)
    ax.set(xlabel=f"{metric} ({'higher' if higher else 'lower'} is better)", ylabel="")
    return ax


def plot_split_gap(gap: pd.DataFrame, *, metric: str, ax: Axes | None = None) -> Axes:
    """Draw, per model, the honest figure and what a random split would have claimed, joined by a line."""
    rows = gap[gap["metric"] == metric].reset_index(drop=True)
    ax = ax or _axes(7, 1.1 + 0.36 * len(rows))
    position = np.arange(len(rows))
    ax.hlines(position, rows["honest"], rows["random"], color=_GREY, linewidth=1.5, zorder=1)
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


def plot_origins(origins: pd.DataFrame, *, metric: str, ax: Axes | None = None) -> Axes:
    """Draw one metric per model at each origin with its interval, and in grey that of the base rate of its past.

    Parameters
    ----------
    origins : frame of `evaluation.rolling_origins`.
    """
    rows = origins[origins["metric"] == metric] if len(origins) else origins
    if rows.empty:
        return _nothing(ax, "There is too little history, or no dates, to begin more than once.")
    ax = ax or _axes(8, 3.6)
    for shift, (model, part) in zip((-0.06, 0.06, 0), rows.groupby("model", sort=False), strict=False):
        error = [part["value"] - part["low"], part["high"] - part["value"]]
        ax.errorbar(part["origin"] + shift, part["value"], yerr=error, marker="o", capsize=2, label=model)
    base = rows.drop_duplicates("origin")
    ax.plot(base["origin"], base["base"], color=_GREY, linestyle="--", marker="_", label="base rate of its past")
    ax.set_xticks(base["origin"], [f"from {d:%b %Y}" for d in base["test_from"]])
    ax.set(xlabel="test period", ylabel=metric)
    ax.legend(loc="best")
    return ax


def plot_calibration(tables: dict[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw observed against predicted shares with intervals; on the diagonal a score can be taken at its word."""
    ax = ax or _axes(5.2, 4.8)
    top = 1.08 * max(max(t["high"].max(), t["predicted"].max()) for t in tables.values())
    ax.plot([0, top], [0, top], color=_GREY, linestyle="--", linewidth=1, label="perfect")
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
    ax = ax or _axes(5.2, 4.8)
    ax.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="in any order")
    for (name, table), colour, marker in zip(tables.items(), sns.color_palette(), "osD^v", strict=False):
        shares, captured = np.r_[0, table["share"], 1], np.r_[0, table["captured"], 1]
        ax.plot(shares, captured, marker=marker, color=colour, label=name)
    ax.set(xlabel="share called, best score first", ylabel="share of outcomes among them")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.legend(loc="lower right")
    return ax


def plot_curves(curves: pd.DataFrame, *, ax: Axes | None = None, days: int = 180, max_groups: int = 6) -> Axes:
    """Draw the cumulative share converted by days since creation, with bands, for the largest groups.

    Parameters
    ----------
    curves : frame with group, days, share, low, high; groups in the order to draw.
    """
    ax = ax or _axes(8, 4)
    groups = list(dict.fromkeys(curves["group"]))[:max_groups]
    styles = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1))]
    for group, colour, style in zip(groups, sns.color_palette(n_colors=len(groups)), styles, strict=False):
        rows = curves[(curves["group"] == group) & (curves["days"] <= days)]
        ax.step(rows["days"], rows["share"], where="post", color=colour, linestyle=style, label=_short(group))
        ax.fill_between(rows["days"], rows["low"], rows["high"], step="post", color=colour, alpha=0.12, linewidth=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel="days since creation", ylabel="share converted", xlim=(0, days), ylim=(0, None))
    ax.legend(loc="upper left", ncol=2)
    return ax


def plot_triangle(triangle: pd.DataFrame, *, ax: Axes | None = None, label: str = "share converted") -> Axes:
    """Draw cohorts by time since creation as a heat map; cells not fully observed stay empty."""
    if not triangle.notna().any(axis=None):
        return _nothing(ax, "No cohort is old enough yet.")
    ax = ax or _axes(8.5, 1.2 + 0.26 * len(triangle))
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


def plot_association(table: pd.DataFrame, *, ax: Axes | None = None, top: int = 20) -> Axes:
    """Draw each feature's single-feature AUC per period as a heat map around 0.5, strongest features first."""
    rows = table.head(top).set_index("feature")
    known = ["n", "auc", "auc_low", "auc_high", "same_direction"]
    if not rows["auc"].notna().any():
        return _nothing(ax, "No label is settled yet.")
    ax = ax or _axes(8.5, 1.2 + 0.28 * len(rows))
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


def plot_honest_counts(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw per type of interaction the odds ratio by each way of counting, with intervals, and the truth where known.

    Parameters
    ----------
    table : result of `exposure.honest_counts_table`.
    """
    if not len(table) or not table[["naive", "as_of", "adjusted"]].notna().any(axis=None):
        return _nothing(ax, "No interaction can be set against a dated outcome.")
    ax = ax or _axes(8, 1.4 + 0.55 * len(table))
    position = np.arange(len(table))
    ways = {"naive": "final count", "as_of": "count so far", "adjusted": "count so far, at equal age and alike"}
    for (way, name), colour, marker, shift in zip(ways.items(), (3, 1, 0), "D^o", (-0.24, 0, 0.24), strict=True):
        colour = sns.color_palette()[colour]
        ax.hlines(position + shift, table[f"{way}_low"], table[f"{way}_high"], color=colour, linewidth=2, alpha=0.6)
        ax.scatter(table[way], position + shift, color=colour, marker=marker, s=28, label=name, zorder=2)
    if table["true"].notna().any():
        ax.vlines(table["true"], position - 0.38, position + 0.38, color="black", linewidth=2, label="truth", zorder=3)
    ax.axvline(1, color=_GREY, linestyle="--", linewidth=1)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator((0.1, 0.2, 0.5, 0.8, 1, 1.2, 1.5, 2, 3, 5, 10, 20, 50)))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_locator(NullLocator())
    labels = [f"{_short(t)}  (n = {n:,})" for t, n in zip(table["type"], table["n_events"], strict=True)]
    ax.set_yticks(position, labels)
    ax.invert_yaxis()
    ax.grid(axis="x", visible=True)
    ax.set(xlabel="odds ratio of one more interaction (1 = no relation)", ylabel="")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
    return ax


def _axes(width: float, height: float) -> Axes:
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _nothing(ax: Axes | None, why: str) -> Axes:
    """Say in place of a figure why there is nothing to draw."""
    ax = ax or _axes(6, 1.2)
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()
    return ax


def _dots(ax: Axes, labels: list[str], rows: pd.DataFrame, colours: object) -> None:
    position = np.arange(len(rows))
    ax.hlines(position, rows["low"], rows["high"], color=colours, linewidth=2, alpha=0.6)
    ax.scatter(rows["share"], position, color=colours, zorder=2)
    ax.set_yticks(position, labels)
    ax.invert_yaxis()
    ax.grid(axis="x", visible=True)


def _short(text: object, width: int = 34) -> str:
    text = str(text).replace("$", r"\$")  # a dollar sign would start a formula
    return text if len(text) <= width else text[: width - 1] + "…"
