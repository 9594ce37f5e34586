"""Features: what was known of a lead, deal, customer or rep strictly before a date (being rebuilt)."""

from .old import LEAD_FIELDS, WINDOWS, build_features, feature_catalog, feature_groups, refused_columns

__all__ = ["LEAD_FIELDS", "WINDOWS", "build_features", "feature_catalog", "feature_groups", "refused_columns"]
