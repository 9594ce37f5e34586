"""Features: what was known of a lead, deal, customer or rep strictly before a date, one declaration each."""

from .build import build_features, declared, plan_features
from .catalog import declared_lines, family_table, feature_catalog, feature_groups, refused_columns
from .coverage import event_accounts
from .declare import (
    EVER,
    WINDOWS,
    Calendar,
    Difference,
    Feature,
    Field,
    Linked,
    Notes,
    OwnFields,
    Ratio,
    Tags,
    Total,
)
from .dictionary import features_markdown

__all__ = [
    "EVER",
    "WINDOWS",
    "Calendar",
    "Difference",
    "Feature",
    "Field",
    "Linked",
    "Notes",
    "OwnFields",
    "Ratio",
    "Tags",
    "Total",
    "build_features",
    "declared",
    "declared_lines",
    "event_accounts",
    "family_table",
    "feature_catalog",
    "feature_groups",
    "features_markdown",
    "plan_features",
    "refused_columns",
]
