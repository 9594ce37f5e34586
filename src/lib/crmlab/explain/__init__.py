"""Why a score is what it is, and why it changed: reasons that add up exactly."""

from .change import PARTS, ScoreState, change, change_parts
from .contributions import Contributions, contributions
from .importance import importance
from .reasons import reasons
from .sentences import change_sentence, changes_sentence, importance_sentence, score_sentence
from .topics import OWNER, topics
from .trees import Tree, forest_trees, tree_contributions, xgboost_trees
from .words import feature_words, plain_text, typical_values

__all__ = [
    "OWNER",
    "PARTS",
    "Contributions",
    "ScoreState",
    "Tree",
    "change",
    "change_parts",
    "change_sentence",
    "changes_sentence",
    "contributions",
    "feature_words",
    "forest_trees",
    "importance",
    "importance_sentence",
    "plain_text",
    "reasons",
    "score_sentence",
    "topics",
    "tree_contributions",
    "typical_values",
    "xgboost_trees",
]
