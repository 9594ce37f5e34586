"""The gate: thresholds written down before the test is opened, a verdict held against them, and what may follow."""

from .card import ModelCard, model_card
from .champion import ChampionTest, champion_tests
from .checks import calibration_error_beyond_chance, outcome_counts
from .decision import Case, case_card, decide, open_case, publish_case, required_floors
from .opening import OpenedWindow, open_window
from .publication import publish, record_verdict, require_published, training_span
from .sentences import verdict_sentence
from .thresholds import TestWindow, Thresholds
from .verdict import AS_FINAL, AS_PROBABILITY, Verdict, judge

__all__ = [
    "AS_FINAL",
    "AS_PROBABILITY",
    "Case",
    "ChampionTest",
    "ModelCard",
    "OpenedWindow",
    "TestWindow",
    "Thresholds",
    "Verdict",
    "calibration_error_beyond_chance",
    "case_card",
    "champion_tests",
    "decide",
    "judge",
    "model_card",
    "open_case",
    "open_window",
    "outcome_counts",
    "publish",
    "publish_case",
    "record_verdict",
    "require_published",
    "required_floors",
    "training_span",
    "verdict_sentence",
]
