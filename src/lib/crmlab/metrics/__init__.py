"""Pure measurements of probabilities against outcomes, with cluster-bootstrap intervals."""

from .measures import (
    METRICS,
    average_precision,
    bootstrap_metrics,
    bootstrap_weights,
    brier,
    calibration_error,
    calibration_table,
    check_resamples,
    equal_bins,
    lift,
    lift_table,
    log_loss,
    log_loss_difference,
    roc_auc,
)
from .reliability import (
    brier_parts,
    brier_skill,
    calibration_error_corrected,
    calibration_line,
    calibration_offset,
    reliability_table,
)

__all__ = [
    "METRICS",
    "average_precision",
    "bootstrap_metrics",
    "bootstrap_weights",
    "brier",
    "brier_parts",
    "brier_skill",
    "calibration_error",
    "calibration_error_corrected",
    "calibration_line",
    "calibration_offset",
    "calibration_table",
    "check_resamples",
    "equal_bins",
    "lift",
    "lift_table",
    "log_loss",
    "log_loss_difference",
    "reliability_table",
    "roc_auc",
]
