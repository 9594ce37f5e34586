"""Figures: one style, a text for those who do not see them, and the table behind them."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from crmlab.schema import ParameterError

from .escape import clean, escape
from .outputs import show
from .tables import describe_table, table_html, table_text
from .words import words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "figure", "use_style"]

DPI = 144
# Okabe and Ito (2008), Color universal design: told apart with every common colour vision; yellow last, it is faint.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
_INK, _GRID = "#1b2430", "#dfe4ea"


def use_style() -> None:
    """Set the one style of all figures; seaborn takes its colours from here as well.

    The settings are plain matplotlib, so that a notebook without seaborn need not wait for it.
    """
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.axisbelow": True,
            "axes.edgecolor": "#8a95a3",
            "axes.grid": True,
            "axes.labelcolor": _INK,
            "axes.labelsize": 11,
            "axes.linewidth": 0.8,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlepad": 10,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "figure.dpi": DPI / 2,
            "figure.facecolor": "white",
            "figure.figsize": (7.5, 4.2),
            "font.family": "sans-serif",
            "font.size": 11,
            "grid.color": _GRID,
            "grid.linewidth": 0.8,
            "legend.fontsize": 10,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "lines.markersize": 6,
            "patch.edgecolor": "white",
            "savefig.facecolor": "white",
            "text.color": _INK,
            "xtick.color": "#4a5565",
            "xtick.labelsize": 10,
            "ytick.color": "#4a5565",
            "ytick.labelsize": 10,
        }
    )


def figure(
    drawn: "Axes | Figure", *, alt: str, data: "pd.DataFrame | None" = None, caption: str = "",
    formats: Mapping[str, str] | None = None, limit: int | None = 50,
) -> None:  # fmt: skip
    """Show a figure with its description, its caption and the table behind it, and close it.

    Parameters
    ----------
    drawn : an axes, a figure, or a seaborn grid.
    alt : what a reader would see: the kind of figure, the axes, the main pattern.
    data : the tidy frame that was drawn; shown folded below the figure.
    caption : how to read it, on which cases.
    formats, limit : as in `crmlab.report.table`, for `data`.

    Raises
    ------
    ParameterError : no description, or nothing that can be drawn.
    """
    if not str(alt).strip():
        raise ParameterError(
            "A figure needs a description.", remedy='say what it shows: alt="Bars of … by …; … is highest".'
        )
    image, width, height = _png(_figure_of(drawn))
    alt, caption = clean(alt), clean(caption)
    shown = {"width": width, "height": height, "alt": alt}
    show("figure", {"alt": alt}, text=alt, image=image, metadata={"image/png": shown})
    behind = None if data is None else describe_table(data, caption=caption or alt, formats=formats, limit=limit)
    if caption or behind:
        text = "\n".join(filter(None, [caption, table_text(behind) if behind else ""]))
        show("caption", {"caption": caption, "data": behind}, html=_caption_html(caption, behind), text=text)


def _figure_of(drawn: object) -> "Figure":
    found = getattr(drawn, "figure", drawn)  # axes and seaborn grids know their figure
    if not hasattr(found, "savefig"):
        raise ParameterError("This is not a figure.", found=type(drawn).__name__, remedy="pass an axes or a figure.")
    return found


def _png(fig: "Figure") -> tuple[bytes, int, int]:
    """Return the picture and its size in CSS pixels (96 to the inch)."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None})
    plt.close(fig)  # else the notebook shows it a second time
    image = buffer.getvalue()
    width, height = (int.from_bytes(image[at : at + 4], "big") for at in (16, 20))  # the PNG header
    return image, round(width * 96 / DPI), round(height * 96 / DPI)


def _caption_html(caption: str, behind: Mapping | None) -> str:
    text = f'<p class="crmlab-caption" style="margin:0 0 4px">{escape(caption)}</p>' if caption else ""
    if not behind:
        return text
    body = table_html(behind, inline=True)
    return f"{text}<details><summary>{words()['table_behind']}</summary>{body}</details>"
