"""Why a score is what it is, and why it changed: reasons that add up exactly."""

from .contributions import Contributions, contributions
from .trees import Tree, forest_trees, tree_contributions, xgboost_trees

__all__ = [
    "Contributions",
    "Tree",
    "contributions",
    "forest_trees",
    "tree_contributions",
    "xgboost_trees",
]
