"""What all figures share: axes, the colour of guide lines, dots with intervals, short labels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

__all__ = ["GREY", "dots", "new_axes", "nothing", "short"]

GREY = "#6b7280"


def new_axes(width: float, height: float) -> Axes:
    """Return new axes of so many inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def nothing(ax: Axes | None, why: str) -> Axes:
    """Say in place of a figure why there is nothing to draw."""
    ax = ax or new_axes(6, 1.2)
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()
    return ax


def dots(ax: Axes, labels: list[str], rows: pd.DataFrame, colours: object) -> None:
    """Draw one dot with its interval per row, first row at the top."""
    position = np.arange(len(rows))
    ax.hlines(position, rows["low"], rows["high"], color=colours, linewidth=2, alpha=0.6)
    ax.scatter(rows["share"], position, color=colours, zorder=2)
    ax.set_yticks(position, labels)
    ax.invert_yaxis()
    ax.grid(axis="x", visible=True)


def short(text: object, width: int = 34) -> str:
    """Return a label that fits, in which no dollar sign starts a formula."""
    text = str(text).replace("$", r"\$")  # a dollar sign would start a formula
    return text if len(text) <= width else text[: width - 1] + "…"
