"""Random forest on numbers and one-hot categories."""

import pandas as pd

from .columns import make_columns

__all__ = ["make_forest"]

_TREE_ROWS = 15_000
"""Rows that one tree of the forest draws at most: more cost time and were measured to gain nothing."""


def make_forest(
    features: pd.DataFrame, *, seed: int, n_trees: int = 120, leaf: int = 10, share: float | str = "sqrt"
) -> object:
    """Return an unfitted random forest for frames such as `features`; their number of rows sets what a tree draws.

    Parameters
    ----------
    leaf : fewest rows of a leaf. share : of the columns tried at each division, or "sqrt".
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    numbers = SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True)
    rows = min(1.0, _TREE_ROWS / len(features))
    settings = {"min_samples_leaf": leaf, "max_features": share, "max_samples": rows}
    forest = RandomForestClassifier(n_trees, **settings, random_state=seed, n_jobs=1)
    return make_pipeline(make_columns(features, numbers), forest)
