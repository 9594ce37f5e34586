"""Estimators behind one scikit-learn interface: floors first, then the learned ones, then the default recipe.

Every model takes the frame of `features.build_features` as it is: numbers with gaps, categories as text.
"""

from .blend import BASE_RATE, logit
from .boosting import XGBoostRounds
from .columns import LevelOneHot, QuantileBins, SignedLog
from .floors import FLOORS, BaseRate, OwnerProbability, RateTable, floors_for
from .linear import ElasticNetLogistic
from .odoo import OdooScoring, PlsStage, PlsTable
from .points_card import PointsCard
from .recipe import ScoreModel, make_models
from .search import HistogramBoosting, TunedBoosting, search_boosting
from .segments import SegmentModel
from .shrinkage import HierarchicalLogistic, ShrunkenRates

__all__ = [
    "BASE_RATE",
    "FLOORS",
    "BaseRate",
    "ElasticNetLogistic",
    "HierarchicalLogistic",
    "HistogramBoosting",
    "LevelOneHot",
    "OdooScoring",
    "OwnerProbability",
    "PlsStage",
    "PlsTable",
    "PointsCard",
    "QuantileBins",
    "RateTable",
    "ScoreModel",
    "SegmentModel",
    "ShrunkenRates",
    "SignedLog",
    "TunedBoosting",
    "XGBoostRounds",
    "floors_for",
    "logit",
    "make_models",
    "search_boosting",
]
