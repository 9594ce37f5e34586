"""Monitoring: did earlier scores come true, has the world drifted, should the model change?"""

from .challenger import Challenge, challenge, last_champion_check
from .drift import Importance, feature_drift, holm, psi, score_drift, since_when
from .realised import clustered_share, kpi_table, month_table, realised_table, tier_table
from .rule import KEEP, RETRAIN, REVIEW, UNKNOWN, RetrainRule, looks, overall, record_look, write_rule
from .settled import GIVEN, REPLAY, Settled, replayed_scores, settled_scores
from .study import Monitor, open_monitor
from .world import PriorShift, dried_up, prior_shift, rate_table

__all__ = [
    "GIVEN",
    "KEEP",
    "REPLAY",
    "RETRAIN",
    "REVIEW",
    "UNKNOWN",
    "Challenge",
    "Importance",
    "Monitor",
    "PriorShift",
    "RetrainRule",
    "Settled",
    "challenge",
    "clustered_share",
    "dried_up",
    "feature_drift",
    "holm",
    "kpi_table",
    "last_champion_check",
    "looks",
    "month_table",
    "open_monitor",
    "overall",
    "prior_shift",
    "psi",
    "rate_table",
    "realised_table",
    "record_look",
    "replayed_scores",
    "score_drift",
    "settled_scores",
    "since_when",
    "tier_table",
    "write_rule",
]
