"""Calibration: scores that may be taken at their word, with an interval each."""

from .choice import CALIBRATORS, Chosen, choose_calibration
from .intervals import BootstrapInterval, ScoreInterval, score_interval
from .maps import Beta, Isotonic, Shift, Sigmoid, expit, logit
from .venn_abers import VennAbers

__all__ = [
    "CALIBRATORS",
    "Beta",
    "BootstrapInterval",
    "Chosen",
    "Isotonic",
    "ScoreInterval",
    "Shift",
    "Sigmoid",
    "VennAbers",
    "choose_calibration",
    "expit",
    "logit",
    "score_interval",
]
