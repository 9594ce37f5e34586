"""Estimators behind one scikit-learn interface: floors first, then the learned ones, then the default recipe.

Every model takes the frame of `features.build_features` as it is: numbers with gaps, categories as text.
"""

from .boosting import XGBoostRounds
from .columns import LevelOneHot, SignedLog
from .floors import FLOORS, BaseRate, OwnerProbability, RateTable, floors_for
from .odoo import OdooScoring, PlsStage, PlsTable
from .points_card import PointsCard
from .recipe import ScoreModel, make_models

__all__ = [
    "FLOORS",
    "BaseRate",
    "LevelOneHot",
    "OdooScoring",
    "OwnerProbability",
    "PlsStage",
    "PlsTable",
    "PointsCard",
    "RateTable",
    "ScoreModel",
    "SignedLog",
    "XGBoostRounds",
    "floors_for",
    "make_models",
]
