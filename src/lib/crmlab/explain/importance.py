"""What moves scores, over all rows: mean size of each topic's contribution, and in which direction."""

import numpy as np
import pandas as pd

from crmlab.metrics import bootstrap_weights
from crmlab.schema import NotEnoughEvidence

from .contributions import Contributions
from .topics import OWNER, topics
from .words import plain_text

__all__ = ["importance"]

_RISING, _FALLING, _MIXED = "more, higher score", "more, lower score", "no single direction"
_CLEAR = 0.5
"""Rank correlation of value and contribution from which one speaks of a direction."""
_FEWEST = 10
"""Rows of a level that is named."""


def importance(
    contributions: Contributions,
    X: pd.DataFrame,
    *,
    groups: np.ndarray | None = None,
    n_bootstrap: int = 200,
    seed: int,
) -> pd.DataFrame:
    """Return the topics by mean absolute contribution, with a 95 % interval over entities.

    It says what this model uses, not what would change an outcome.

    Parameters
    ----------
    contributions : of the rows `X`. groups : entity of each row; without, every row is its own.
    n_bootstrap : resamples of whole entities, at least 20. seed : of them.

    Returns
    -------
    Frame, largest first: topic, n_features, mean (log odds), low, high, share (of all topics' sum), feature (the one
    that moves most; none for owners), direction (in words, of that feature).

    Raises
    ------
    NotEnoughEvidence : fewer than two entities.
    """
    groups = np.arange(len(X)) if groups is None else np.asarray(groups)
    if len(pd.unique(groups)) < 2:
        raise NotEnoughEvidence(
            "One entity does not say what moves scores.",
            found=f"{len(pd.unique(groups))} entities",
            remedy="explain the scores of many.",
        )
    topic = topics(contributions.values.columns.to_list())
    size = contributions.grouped(topic).values.abs()
    drawn = np.stack(list(bootstrap_weights(groups, n=n_bootstrap, seed=seed)))
    samples = (drawn @ size.to_numpy()) / drawn.sum(axis=1, keepdims=True)
    low, high = np.quantile(samples, [0.025, 0.975], axis=0)
    mean = size.mean().to_numpy()
    leads = [_lead(contributions.values, topic.index[topic == name]) for name in size]
    found = pd.DataFrame(
        {
            "topic": size.columns,
            "n_features": topic.value_counts(sort=False).reindex(size.columns).to_numpy(),
            "mean": mean,
            "low": low,
            "high": high,
            "share": mean / mean.sum() if mean.sum() else mean,
            "feature": [None if name == OWNER else lead for name, lead in zip(size, leads, strict=True)],
            "direction": [
                "" if name == OWNER else _direction(X[lead], contributions.values[lead])
                for name, lead in zip(size, leads, strict=True)
            ],
        }
    )
    return found.sort_values(["mean", "topic"], ascending=[False, True], ignore_index=True)


def _lead(values: pd.DataFrame, members: pd.Index) -> str:
    return values[members].abs().mean().idxmax()


def _direction(x: pd.Series, effect: pd.Series) -> str:
    """Return in words how the contribution goes with the value."""
    if not pd.api.types.is_numeric_dtype(x):
        return _levels(x, effect)
    known = x.notna().to_numpy()
    value, effect = x[known].rank().to_numpy("float64"), effect[known].rank().to_numpy("float64")
    if len(value) < _FEWEST or value.std() == 0 or effect.std() == 0:
        return _MIXED
    rho = float(np.corrcoef(value, effect)[0, 1])
    return _RISING if rho >= _CLEAR else _FALLING if rho <= -_CLEAR else _MIXED


def _levels(x: pd.Series, effect: pd.Series) -> str:
    found = effect.groupby(x.to_numpy(object), sort=True).agg(["mean", "size"])
    found = found[found["size"] >= _FEWEST]
    if len(found) < 2 or found["mean"].max() <= found["mean"].min():
        return _MIXED
    best, worst = plain_text(found["mean"].idxmax()), plain_text(found["mean"].idxmin())
    return f"highest for {best}, lowest for {worst}"
