"""Which input column a transformed column comes from, and where its training mean lies."""

import numpy as np
import pandas as pd

from crmlab.schema import ParameterError

__all__ = ["centres", "source_columns"]


def source_columns(steps: list, X: pd.DataFrame) -> np.ndarray:
    """Return, for each column behind the transforming steps, the place of its input column in X, shape (columns,)."""
    places = np.arange(X.shape[1])
    for step in steps:
        places = _places(step, places, X.columns)
    return places


def _places(step: object, places: np.ndarray, names: pd.Index) -> np.ndarray:
    """Return the places behind one step; `names` are those of the frame, for steps that choose columns by name."""
    if hasattr(step, "transformers_"):
        chosen = [(part, names.get_indexer(list(columns))) for _, part, columns in step.transformers_]
        blocks = [_places(part, places[at], names[at]) for part, at in chosen]
        return np.concatenate([np.empty(0, np.int64), *blocks]).astype("int64")
    if not len(places) or isinstance(step, str):  # scikit-learn leaves a step without columns unfitted
        return places if step == "passthrough" else places[:0]
    if hasattr(step, "steps"):
        for _, part in step.steps:
            places = _places(part, places, names)
        return places
    if hasattr(step, "levels_"):
        widths = {column: len(kept) + 1 for column, kept in step.levels_.items()}
        return np.repeat(places[names.get_indexer(list(widths))], list(widths.values()))
    if hasattr(step, "statistics_"):
        return _behind_imputer(step, places)
    if hasattr(step, "get_support"):
        return places[step.get_support()]
    if getattr(step, "n_features_in_", None) == len(places):
        return places
    raise ParameterError(
        "It is not known which input columns a step of the model makes its columns from.",
        found=type(step).__name__,
        remedy="let the step keep the number and order of columns, or add it to `explain.layout`.",
    )


def _behind_imputer(imputer: object, places: np.ndarray) -> np.ndarray:
    """Columns that were empty in training are dropped unless kept; then the missing indicators."""
    empty = pd.isna(imputer.statistics_) & (not imputer.keep_empty_features)
    indicator = imputer.indicator_
    added = places[:0] if indicator is None else places[indicator.features_]
    return np.concatenate([places[~empty], added])


def centres(steps: list, X: pd.DataFrame) -> np.ndarray:
    """Return the training mean of each column behind the steps, as far as the steps tell, shape (columns,).

    Scaled numbers have the mean 0. The levels of a category have their shares (`shares_` of the one-hot step), or count
    alike where they were not kept. Everything else is 0.
    """
    if len(steps) == 1 and hasattr(steps[0], "transformers_"):
        parts = [_centre(part, X[list(columns)]) for _, part, columns in steps[0].transformers_]
        return np.concatenate([np.empty(0), *parts])
    return np.zeros(len(source_columns(steps, X)))


def _centre(step: object, frame: pd.DataFrame) -> np.ndarray:
    if not hasattr(step, "levels_") or frame.empty:
        return np.zeros(len(source_columns([step], frame)))
    shares = getattr(step, "shares_", {})
    alike = {column: _alike(len(kept)) for column, kept in step.levels_.items()}
    return np.concatenate([np.empty(0), *(np.asarray(shares.get(c, a), "float64") for c, a in alike.items())])


def _alike(n: int) -> np.ndarray:
    """Equal shares of n levels and none of the shared level behind them, unless it is the only one."""
    return np.append(np.full(n, 1 / n), 0.0) if n else np.ones(1)
