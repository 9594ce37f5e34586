"""Models on a split: fitted on the past, chosen inside it, measured on what came after, and what they are worth."""

from .comparison import (
    ORACLE,
    Comparison,
    choose_split,
    compare_models,
    entry_order,
    oracle_probabilities,
    share_of_way,
    split_gap,
)

__all__ = [
    "ORACLE",
    "Comparison",
    "choose_split",
    "compare_models",
    "entry_order",
    "oracle_probabilities",
    "share_of_way",
    "split_gap",
]
