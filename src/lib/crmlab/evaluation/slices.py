"""Whether scores hold, and treat alike, in every source, owner, size and sector; flags know how often we looked."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from crmlab.intervals import Z, wilson
from crmlab.metrics import bootstrap_weights, roc_auc
from crmlab.schema import DataError, ParameterError

__all__ = ["benjamini_hochberg", "fairness_table", "slice_labels", "slice_table"]

_MISSING = "(missing)"
_OTHER = "(other)"
_EDGE = 1e-15
_FEWEST_ENTITIES = 20
"""Slices with fewer entities are shown but not judged: their variance is not known well enough."""
_SIZES = (("1 to 9", 10), ("10 to 49", 50), ("50 to 249", 250), ("250 and more", np.inf))
"""Size classes of firms by employees, as the European Union counts them."""


def slice_labels(values: pd.Series, *, most: int = 12) -> pd.Series:
    """Return the slice of each row, as text.

    `employees` become the European size classes, other numbers thirds (few different numbers stay as they are); of
    categories the `most` frequent stay, the rest is `(other)`; spellings that differ in nothing but case, spaces and
    punctuation are one category, under the most frequent. Gaps are a slice of their own.

    >>> slice_labels(pd.Series([5, 300, None], name="employees")).to_list()
    ['1 to 9', '250 and more', '(missing)']
    """
    if values.name == "employees" and pd.api.types.is_numeric_dtype(values):
        labels = _cut(values, [edge for _, edge in _SIZES[:-1]], [name for name, _ in _SIZES])
    elif pd.api.types.is_numeric_dtype(values) and values.nunique() > 5:
        edges = np.unique(values.dropna().astype("float64").quantile([1 / 3, 2 / 3], interpolation="higher"))
        shown = [f"{edge:,.4g}" for edge in edges]
        names = [
            f"under {shown[0]}",
            *(f"{a} to {b}" for a, b in pairwise(shown)),
            f"{shown[-1]} up",
        ]
        labels = _cut(values, list(edges), names)
    else:
        text = _one_spelling(values.astype("str"))
        labels = text.where(text.isin(text.value_counts().index[:most]) | values.isna(), _OTHER)
    return labels.astype("object").where(values.notna(), _MISSING).astype("str")


def slice_table(
    y: np.ndarray,
    p: np.ndarray,
    groups: np.ndarray,
    context: pd.DataFrame,
    columns: list[str],
    *,
    error_share: float = 0.05,
) -> pd.DataFrame:
    """Return predicted against observed shares in every slice of every column.

    Parameters
    ----------
    y, p, groups : outcomes (0 or 1), probabilities and entity of each row, shape (rows,).
    context : what to slice by, row for row; columns that it lacks are left out.
    error_share : share of wrong flags among the flags that is accepted (Benjamini & Hochberg 1995), over all slices of
        all columns together.

    Returns
    -------
    Frame: column, slice, n (rows), entities, outcomes, predicted, observed, low, high (Wilson 95 %, with as many cases
    as the entities are worth), gap (observed − predicted), gap_low, gap_high, log_loss, base_log_loss (of the overall
    share), p_value, flagged. `p_value` is NaN, and nothing flagged, below 20 entities. Slices stand by
    column, most rows first.
    """
    y, p = np.asarray(y, dtype="float64"), np.asarray(p, dtype="float64")
    codes = _codes(groups, y, p, context)
    loss, base = _losses(y, p), _losses(y, np.full(len(y), y.mean()))
    rows = [
        (column, name, *_slice_row(y[at], p[at], codes[at]), loss[at].mean(), base[at].mean())
        for column, name, at in _slices(context, columns)
    ]
    names = ["column", "slice", "n", "entities", "outcomes", "predicted", "observed", "low", "high"]
    names += ["gap", "gap_low", "gap_high", "p_value", "log_loss", "base_log_loss"]
    table = pd.DataFrame(rows, columns=names)
    flagged = benjamini_hochberg(table["p_value"].to_numpy("float64"), error_share=error_share)
    return table[[*names[:-3], "log_loss", "base_log_loss", "p_value"]].assign(flagged=flagged)


def fairness_table(
    y: np.ndarray,
    p: np.ndarray,
    groups: np.ndarray,
    context: pd.DataFrame,
    columns: list[str],
    *,
    top_share: float = 0.25,
    n_bootstrap: int = 200,
    seed: int = 0,
    error_share: float = 0.05,
) -> pd.DataFrame:
    """Return how slices are treated when the `top_share` of the highest scores is contacted.

    Parameters
    ----------
    y, p, groups, context, columns, error_share : as of `slice_table`.
    top_share : share of rows contacted; rows tied at the cut are all contacted.
    n_bootstrap, seed : resamples of whole entities, for intervals and flags.

    Returns
    -------
    Frame: column, slice, n, entities, outcomes, contacted (share of the slice's rows at the top), places (share of all
    places at the top), conversions (share of all conversions), ratio (places / conversions; 1 is equal treatment) with
    ratio_low and ratio_high, missed (share of the slice's conversions not contacted) with missed_low and missed_high,
    auc (ranking inside the slice), p_value (of missed against all other rows; NaN below 20 entities with the outcome),
    flagged. Two warnings: what one slice loses in places the others gain, and a slice with a lower share of outcomes
    misses more of them even where every score is right; `slice_table` tells whether it is.

    Raises
    ------
    ParameterError : `top_share` does not lie between 0 and 1.
    """
    if not 0 < top_share < 1:
        raise ParameterError("`top_share` must lie between 0 and 1.", found=str(top_share), remedy="write 0.25.")
    y, p = np.asarray(y, dtype="float64"), np.asarray(p, dtype="float64")
    codes = _codes(groups, y, p, context)
    top = (p >= np.quantile(p, 1 - top_share, method="higher")).astype("float64")
    parts = list(_slices(context, columns))
    # Per entity and slice: rows at the top, conversions, conversions missed; a resample is then one product.
    none = np.zeros((codes.max() + 1, 0, 3))
    sums = np.stack([_entity_sums(codes, at, top, y) for _, _, at in parts], axis=1) if parts else none
    every = _entity_sums(codes, np.arange(len(y)), top, y)
    first = np.unique(codes, return_index=True)[1]
    counts = np.array([w[first] for w in bootstrap_weights(codes, n=n_bootstrap, seed=seed)])
    drawn, drawn_every = np.tensordot(counts, sums, axes=(1, 0)), counts @ every
    measured = _treatment(sums.sum(axis=0)[None], every.sum(axis=0)[None])
    resampled = _treatment(drawn, drawn_every)
    rows = []
    for j, (column, name, at) in enumerate(parts):
        ratio, missed, apart = (m[0, j] for m in measured)
        spans = [_span(m[:, j]) for m in resampled[:2]]
        entities, converted = len(np.unique(codes[at])), len(np.unique(codes[at][y[at] == 1]))
        p_value = _two_sided(apart, resampled[2][:, j]) if converted >= _FEWEST_ENTITIES else np.nan
        shares = (top[at].mean(), top[at].sum() / top.sum(), y[at].sum() / y.sum() if y.any() else np.nan)
        auc = roc_auc(y[at], p[at])
        rows.append(
            (
                column,
                name,
                len(at),
                entities,
                int(y[at].sum()),
                *shares,
                ratio,
                *spans[0],
                missed,
                *spans[1],
                auc,
                p_value,
            )
        )
    names = ["column", "slice", "n", "entities", "outcomes", "contacted", "places", "conversions"]
    names += ["ratio", "ratio_low", "ratio_high", "missed", "missed_low", "missed_high", "auc", "p_value"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(
        flagged=benjamini_hochberg(table["p_value"].to_numpy("float64"), error_share=error_share),
    )


def benjamini_hochberg(p_values: np.ndarray, *, error_share: float = 0.05) -> np.ndarray:
    """Return which hypotheses are rejected when that share of the rejections may be wrong; NaN is never rejected.

    >>> benjamini_hochberg(np.array([0.001, 0.04, 0.03, np.nan])).tolist()
    [True, True, True, False]
    >>> benjamini_hochberg(np.array([0.04, 0.5, 0.9])).tolist()
    [False, False, False]
    """
    known = np.flatnonzero(~np.isnan(p_values))
    ordered = known[np.argsort(p_values[known], kind="stable")]
    below = np.flatnonzero(p_values[ordered] <= error_share * np.arange(1, len(ordered) + 1) / max(len(ordered), 1))
    rejected = np.zeros(len(p_values), dtype=bool)
    if len(below):
        rejected[ordered[: below[-1] + 1]] = True
    return rejected


def _one_spelling(text: pd.Series) -> pd.Series:
    plain = text.str.casefold().str.replace(r"[\W_]+", " ", regex=True).str.strip()
    spelling = text.groupby(plain).agg(lambda same: same.value_counts(sort=False).sort_index().idxmax())
    return plain.map(spelling)


def _cut(values: pd.Series, edges: list[float], names: list[str]) -> pd.Series:
    place = np.searchsorted(edges, values.to_numpy("float64", na_value=np.nan), side="right")
    return pd.Series(np.asarray(names, dtype=object)[np.minimum(place, len(names) - 1)], index=values.index)


def _slices(context: pd.DataFrame, columns: list[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Column, slice and positions of its rows; most rows first, `(other)` and `(missing)` last."""
    for column in (c for c in columns if c in context):
        labels = slice_labels(context[column]).reset_index(drop=True)
        places = labels.groupby(labels).indices
        for name in sorted(places, key=lambda k: (k in (_OTHER, _MISSING), -len(places[k]), k)):
            yield column, name, places[name]


def _codes(groups: np.ndarray, y: np.ndarray, p: np.ndarray, context: pd.DataFrame) -> np.ndarray:
    lengths = {len(groups), len(y), len(p), len(context)}
    if len(lengths) > 1:
        raise DataError(
            "Outcomes, scores, entities and context must stand row for row.", found=f"{sorted(lengths)} rows"
        )
    return pd.factorize(np.asarray(groups))[0]


def _losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return -np.where(y == 1, np.log(p), np.log1p(-p))


def _slice_row(y: np.ndarray, p: np.ndarray, codes: np.ndarray) -> tuple:
    """n, entities, outcomes, predicted, observed, low, high, gap, gap_low, gap_high, p value."""
    n, entities, observed = len(y), len(np.unique(codes)), y.mean()
    worth = _worth(y - observed, codes, observed)
    low, high = wilson(np.float64(observed), np.float64(worth))
    residual = y - p
    # Rows of one entity err together; their variance is at least that of independent rows.
    error = np.sqrt(max(_clustered(residual, codes), float(p @ (1 - p)))) / n
    gap = residual.mean()
    p_value = _normal_tail(gap, error) if entities >= _FEWEST_ENTITIES else np.nan
    ends = (gap - Z * error, gap + Z * error)
    return n, entities, int(y.sum()), p.mean(), observed, float(low), float(high), gap, *ends, p_value


def _worth(centred: np.ndarray, codes: np.ndarray, share: float) -> float:
    """As many independent rows as the entities of a slice are worth."""
    independent, clustered = len(centred) * share * (1 - share), _clustered(centred, codes)
    entities = len(np.unique(codes))
    return len(centred) * min(1.0, independent / clustered) if clustered > 0 else float(entities)


def _clustered(residual: np.ndarray, codes: np.ndarray) -> float:
    summed = np.bincount(np.unique(codes, return_inverse=True)[1], residual)
    return float(summed @ summed)


def _normal_tail(value: float, error: float) -> float:
    from scipy.special import ndtr

    return float(2 * ndtr(-abs(value) / error)) if error > 0 else np.nan


def _entity_sums(codes: np.ndarray, at: np.ndarray, top: np.ndarray, y: np.ndarray) -> np.ndarray:
    count = int(codes.max()) + 1
    columns = (top[at], y[at], y[at] * (1 - top[at]))
    return np.column_stack([np.bincount(codes[at], c, minlength=count) for c in columns])


def _treatment(slices: np.ndarray, every: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratio of places to conversions, share missed, and that share less the share missed elsewhere.

    `slices` has shape (draws, slices, 3), `every` (draws, 3).
    """
    whole = every[:, None, :]
    places, conversions = _over(slices[..., 0], whole[..., 0]), _over(slices[..., 1], whole[..., 1])
    missed = _over(slices[..., 2], slices[..., 1])
    elsewhere = _over(whole[..., 2] - slices[..., 2], whole[..., 1] - slices[..., 1])
    return _over(places, conversions), missed, missed - elsewhere


def _over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)


def _span(draws: np.ndarray) -> tuple[float, float]:
    known = draws[~np.isnan(draws)]
    return tuple(np.quantile(known, [0.025, 0.975])) if len(known) else (np.nan, np.nan)


def _two_sided(value: float, draws: np.ndarray) -> float:
    known = draws[~np.isnan(draws)]
    return _normal_tail(value, float(known.std(ddof=1))) if len(known) > 1 and not np.isnan(value) else np.nan
