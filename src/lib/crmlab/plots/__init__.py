"""Figures from tidy frames: each takes data and an axis, returns the axis, and computes nothing."""

from .data import plot_association, plot_curves, plot_honest_counts, plot_shares, plot_triangle
from .forecast import plot_backtest, plot_outlook, plot_targets
from .models import (
    plot_calibration,
    plot_capacity,
    plot_capture,
    plot_model_intervals,
    plot_net_benefit,
    plot_origins,
    plot_slices,
    plot_split_gap,
)
from .monitoring import plot_months, plot_tiers

__all__ = [
    "plot_association",
    "plot_backtest",
    "plot_calibration",
    "plot_capacity",
    "plot_capture",
    "plot_curves",
    "plot_honest_counts",
    "plot_model_intervals",
    "plot_months",
    "plot_net_benefit",
    "plot_origins",
    "plot_outlook",
    "plot_shares",
    "plot_slices",
    "plot_split_gap",
    "plot_targets",
    "plot_tiers",
    "plot_triangle",
]
