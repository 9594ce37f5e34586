"""Models on a split: fitted on the past, chosen inside it, measured on what came after, and what they are worth."""

from .comparison import (
    BLEND,
    ORACLE,
    Comparison,
    choose_split,
    compare_models,
    entry_order,
    learnable,
    oracle_probabilities,
    random_claims,
    share_of_way,
    split_gap,
)
from .trial import HAZARD, SLICED_BY, Trial, open_trial

__all__ = [
    "BLEND",
    "HAZARD",
    "ORACLE",
    "SLICED_BY",
    "Comparison",
    "Trial",
    "choose_split",
    "compare_models",
    "entry_order",
    "learnable",
    "open_trial",
    "oracle_probabilities",
    "random_claims",
    "share_of_way",
    "split_gap",
]
