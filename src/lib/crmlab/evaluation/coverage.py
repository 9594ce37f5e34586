"""How often an interval holds what is true, where the truth is known: for scores together, and for single cases."""

import numpy as np
import pandas as pd

from crmlab.intervals import share_interval
from crmlab.schema import DataError

__all__ = ["band_edges", "coverage_rates", "coverage_table"]

_BANDS = 10


def band_edges(p: np.ndarray, *, bands: int = _BANDS) -> np.ndarray:
    """Return the scores that part bands of about equal numbers of rows, shape (at most bands - 1,)."""
    return np.unique(np.quantile(p, np.arange(1, bands) / bands))


def coverage_table(
    low: np.ndarray,
    high: np.ndarray,
    truth: np.ndarray,
    p: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    bands: int = _BANDS,
) -> pd.DataFrame:
    """Return, per score band, whether the interval holds the true mean probability, and how many single ones.

    Parameters
    ----------
    low, high : ends of the interval of each score, shape (rows,).
    truth : true probability of each row, known for simulated firms only, shape (rows,).
    p : the scores, shape (rows,).
    groups : entity of each row, counted in the table.
    bands : score bands of about equal numbers of rows.

    Returns
    -------
    Frame, one row per band: from, to (scores), n (rows), entities, predicted and true (means), low and high (means),
    covered (the true mean lies between them), single (share of rows whose own true probability lies in their own
    interval: lower, because cases with the same score differ in what nobody recorded).

    Raises
    ------
    DataError : lengths differ, or a true probability is missing.
    """
    groups = np.arange(len(p)) if groups is None else np.asarray(groups)
    _check_rows(low, high, truth, p, groups)
    band = np.searchsorted(band_edges(p, bands=bands), p, side="left")
    rows = {"band": band, "p": p, "truth": truth, "low": low, "high": high, "group": groups}
    inside = (low <= truth) & (truth <= high)
    table = (
        pd.DataFrame(rows)
        .assign(inside=inside.astype("float64"))
        .groupby("band")
        .agg(
            **{"from": ("p", "min"), "to": ("p", "max")},
            n=("p", "size"),
            entities=("group", "nunique"),
            predicted=("p", "mean"),
            true=("truth", "mean"),
            low=("low", "mean"),
            high=("high", "mean"),
            single=("inside", "mean"),
        )
        .reset_index(drop=True)
    )
    covered = (table["low"] <= table["true"]) & (table["true"] <= table["high"])
    return table.assign(covered=covered)[[*table.columns[:-1], "covered", "single"]]


def coverage_rates(tables: list[pd.DataFrame], *, level: float) -> pd.DataFrame:
    """Return how often intervals covered, over the tables of one or more test periods or firms.

    Returns
    -------
    Frame: what, nominal, share, low, high (Wilson, over bands), n; `score bands` for true means, `single cases` for
    own true probabilities (share of rows; no interval, as rows of one entity go together).
    """
    every = pd.concat(tables, ignore_index=True)
    hits, bands = int(every["covered"].sum()), len(every)
    single = float(np.average(every["single"], weights=every["n"])) if bands else np.nan
    rows = [
        ("score bands", level, hits / bands if bands else np.nan, *share_interval(hits, bands), bands),
        ("single cases", level, single, np.nan, np.nan, int(every["n"].sum())),
    ]
    return pd.DataFrame(rows, columns=["what", "nominal", "share", "low", "high", "n"])


def _check_rows(low: np.ndarray, high: np.ndarray, truth: np.ndarray, p: np.ndarray, groups: np.ndarray) -> None:
    lengths = {len(x) for x in (low, high, truth, p, groups)}
    if len(lengths) > 1:
        raise DataError("Intervals, truth and scores must stand row for row.", found=f"lengths {sorted(lengths)}")
    if np.isnan(truth).any():
        raise DataError("Coverage needs the true probability of every row.", found=f"{np.isnan(truth).sum():,} missing")
