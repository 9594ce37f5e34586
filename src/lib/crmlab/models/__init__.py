"""Estimators behind one scikit-learn interface: floors first, then the learned ones, then the default recipe.

Every model takes the frame of `features.build_features` as it is: numbers with gaps, categories as text.
"""

from .boosting import XGBoostRounds
from .columns import LevelOneHot, SignedLog
from .floors import FLOORS, RateTable
from .recipe import ScoreModel, make_models

__all__ = ["FLOORS", "LevelOneHot", "RateTable", "ScoreModel", "SignedLog", "XGBoostRounds", "make_models"]
