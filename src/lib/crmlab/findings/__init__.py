"""Sentences from values: what a result says, in words that stay true when the numbers change."""

from .cohorts import (
    OWNER_FORMATS,
    cohort_finding,
    conversion_view,
    owner_finding,
    owner_view,
    record_cohorts,
    view_formats,
)
from .comparison import (
    lift_finding,
    metric_formats,
    model_finding,
    oracle_finding,
    record_comparison,
    short_summary,
    split_finding,
)
from .evidence import (
    association_finding,
    date_finding,
    doubtful,
    group_finding,
    honest_counts_finding,
    leak_finding,
    quality_finding,
    record_leaks,
)
from .finding import Finding

__all__ = [
    "OWNER_FORMATS",
    "Finding",
    "association_finding",
    "cohort_finding",
    "conversion_view",
    "date_finding",
    "doubtful",
    "group_finding",
    "honest_counts_finding",
    "leak_finding",
    "lift_finding",
    "metric_formats",
    "model_finding",
    "oracle_finding",
    "owner_finding",
    "owner_view",
    "quality_finding",
    "record_cohorts",
    "record_comparison",
    "record_leaks",
    "short_summary",
    "split_finding",
    "view_formats",
]
