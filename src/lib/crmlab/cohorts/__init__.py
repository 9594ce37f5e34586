"""How leads convert over time, by cohort, source and owner, with leads that had little time counted as such."""

from .durations import NO_VALUE, SIZES, lead_durations, left_out_table
from .groups import MIN_GROUP
from .owners import owner_table
from .survival import Curve, fit_curve
from .tables import cohort_triangle, conversion_by, conversion_curve, conversion_table, estimator_table

__all__ = [
    "MIN_GROUP",
    "NO_VALUE",
    "SIZES",
    "Curve",
    "cohort_triangle",
    "conversion_by",
    "conversion_curve",
    "conversion_table",
    "estimator_table",
    "fit_curve",
    "lead_durations",
    "left_out_table",
    "owner_table",
]
