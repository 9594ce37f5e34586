"""Labels separated by |, such as tags: one feature per label that the source holds often enough."""

import numpy as np
import pandas as pd

from .declare import slug

__all__ = ["SEPARATOR", "is_labels", "label_columns"]

SEPARATOR = "|"
_LEAST_ROWS = 10
_MOST_LABELS = 50


def is_labels(values: pd.Series) -> bool:
    """Whether a column holds several labels per value. Ask it of the source as a whole."""
    return pd.api.types.is_string_dtype(values.dtype) and bool(
        values.str.contains(SEPARATOR, regex=False, na=False).any()
    )


def label_columns(values: np.ndarray, whole: pd.Series, *, prefix: str) -> dict[str, np.ndarray]:
    """Return for each frequent label whether a value holds it: `<prefix>_<label>`, 1, 0 or NaN where there is none.

    Parameters
    ----------
    values : object[rows], labels separated by |, or None.
    whole : the column in the source as a whole: labels in fewer than 10 of its values, and all but the 50 most
        frequent, have no feature.
    """
    counts = _split(whole.dropna()).value_counts()
    counts = counts[counts >= _LEAST_ROWS].rename_axis("label").reset_index(name="n")
    frequent = sorted(counts.sort_values(["n", "label"], ascending=[False, True])["label"][:_MOST_LABELS])
    codes, distinct = pd.factorize(pd.Series(values, dtype=object))
    held = [set(_slugs(text)) for text in distinct]
    columns = {}
    for label in frequent:
        has = np.array([*(float(label in labels) for labels in held), np.nan])
        columns[f"{prefix}_{label}"] = has[codes]
    return columns


def _split(texts: pd.Series) -> pd.Series:
    return pd.Series([label for text in texts for label in _slugs(text)], dtype=object)


def _slugs(text: str) -> list[str]:
    return list(dict.fromkeys(slug(part) for part in str(text).split(SEPARATOR) if part.strip()))
