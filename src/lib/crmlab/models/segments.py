"""One model per segment, but only where it has proved itself inside the training rows."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.base import clone

from crmlab.metrics import log_loss_difference
from crmlab.schema import DataError, ParameterError

from .contract import MISSING, Context, PlainEstimator, fit_in_context
from .folds import inner_folds

__all__ = ["SegmentModel"]

_RESAMPLES = 400
_SMALLEST = 1e-12


class SegmentModel(PlainEstimator):
    """A pooled model, replaced by a segment's own where that predicts the segment better.

    Inside the training rows (forward in time where they are dated, else five folds) both are fitted and compared on the
    same rows of the segment. The own model is used where its log loss is lower beyond chance: with the whole 95 %
    paired bootstrap interval, entities drawn whole, and also when that is widened for the number of segments compared
    (Bonferroni). Then it is fitted on all rows of the segment. Segments with few outcomes, segments never seen and rows
    without one get the pooled model.

    Parameters
    ----------
    base : unfitted estimator, or a function without arguments that makes one.
    column : category that divides the rows.
    min_outcomes : fewest entities with, and fewest without, the outcome that a segment must have.
    seed : of folds without dates and of the bootstrap.

    Attributes
    ----------
    pooled_ : model of all rows. models_ : segment → its own model, where used.
    table_ : segment, rows, with_outcome, without_outcome (entities), pooled_loss, own_loss, difference_low,
        difference_high (own − pooled, inside the training rows; NaN where not compared), used.
    """

    def __init__(
        self, base: "object | Callable[[], object]", column: str, min_outcomes: int = 40, seed: int = 0
    ) -> None:
        self.base = base
        self.column = column
        self.min_outcomes = min_outcomes
        self.seed = seed

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        """Compare inside, then fit the pooled model and those of the segments that earned one."""
        if self.min_outcomes < 1:
            raise ParameterError("`min_outcomes` must be at least 1.", found=str(self.min_outcomes))
        names = np.arange(len(y)) if context.groups is None else pd.factorize(np.asarray(context.groups))[0]
        order = None if context.order is None else np.asarray(context.order)
        gap_days, segment = context.gap_days, self._segments(X)
        rows = _segment_counts(segment, y, names)
        rows["enough"] = rows[["with_outcome", "without_outcome"]].min(axis=1) >= self.min_outcomes
        folds = inner_folds(y, order=order, groups=names, gap_days=gap_days, seed=self.seed)
        able = [s for s in rows.index[rows["enough"]] if s != MISSING]
        compared = self._compare(X, y, segment, names, order, gap_days, folds, able)
        table = rows.drop(columns="enough").join(compared)
        self.table_ = table.assign(used=_clearly_lower(table)).reset_index()
        self.pooled_ = self._fitted(X, y, names, order, gap_days, np.arange(len(y)))
        used = self.table_.loc[self.table_["used"], "segment"]
        self.models_ = {s: self._fitted(X, y, names, order, gap_days, np.flatnonzero(segment == s)) for s in used}

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability by the segment's own model where there is one, else by the pooled, shape (rows,)."""
        p, segment = np.empty(len(X)), self._segments(X)
        own = np.isin(segment, list(self.models_))
        if not own.all():
            p[~own] = self.pooled_.predict_proba(X[~own])[:, 1]
        for name, model in self.models_.items():
            if (here := segment == name).any():
                p[here] = model.predict_proba(X[here])[:, 1]
        return p

    def _compare(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        segment: np.ndarray,
        names: np.ndarray,
        order: np.ndarray | None,
        gap_days: int,
        folds: list[tuple[np.ndarray, np.ndarray]],
        able: list[str],
    ) -> pd.DataFrame:
        """Losses of both models on the inner rows of each segment, and the interval of their difference."""
        pooled, own = np.full(len(y), np.nan), np.full(len(y), np.nan)
        for fit, ahead in folds if able else []:
            model = self._fitted(X, y, names, order, gap_days, fit)
            for s in able:
                inside, there = fit[segment[fit] == s], ahead[segment[ahead] == s]
                if len(there) and len(np.unique(y[inside])) == 2:
                    pooled[there] = model.predict_proba(X.iloc[there])[:, 1]
                    alone = self._fitted(X, y, names, order, gap_days, inside)
                    own[there] = alone.predict_proba(X.iloc[there])[:, 1]
        rows = {s: np.flatnonzero((segment == s) & np.isfinite(own)) for s in able}
        losses = {s: self._losses(y[r], own[r], pooled[r], names[r]) for s, r in rows.items() if len(r)}
        columns = ["pooled_loss", "own_loss", "difference_low", "difference_high"]
        return pd.DataFrame.from_dict(losses, orient="index", columns=columns, dtype="float64")

    def _losses(self, y: np.ndarray, own: np.ndarray, pooled: np.ndarray, names: np.ndarray) -> tuple[float, ...]:
        own, pooled = (np.clip(p, _SMALLEST, 1 - _SMALLEST) for p in (own, pooled))
        pooled_loss = float(-np.log(np.where(y == 1, pooled, 1 - pooled)).mean())
        gap, low, high = log_loss_difference(y, own, pooled, names, n=_RESAMPLES, seed=self.seed)
        return pooled_loss, pooled_loss + gap, low, high

    def _fitted(
        self, X: pd.DataFrame, y: np.ndarray, names: np.ndarray, order: object, gap_days: int, rows: np.ndarray
    ) -> object:
        made = self.base if hasattr(self.base, "fit") else self.base()
        when = None if order is None else order[rows]
        return fit_in_context(clone(made), X.iloc[rows], y[rows], order=when, groups=names[rows], gap_days=gap_days)

    def _segments(self, X: pd.DataFrame) -> np.ndarray:
        if self.column not in X:
            raise DataError("The column that divides the rows is not there.", found=f"no column `{self.column}`")
        return X[self.column].astype("str").fillna(MISSING).to_numpy("object")


def _clearly_lower(table: pd.DataFrame) -> pd.Series:
    """Where the own model's loss is lower by more than chance brings among so many segments."""
    from scipy.special import ndtri

    compared = int(table["own_loss"].notna().sum())
    error = (table["difference_high"] - table["difference_low"]) / (2 * ndtri(0.975))
    widened = table["own_loss"] - table["pooled_loss"] + ndtri(1 - 0.025 / max(compared, 1)) * error
    return (table["difference_high"] < 0) & (widened < 0)


def _segment_counts(segment: np.ndarray, y: np.ndarray, names: np.ndarray) -> pd.DataFrame:
    """Rows, and entities with and without the outcome, per segment; an entity that ever had it counts as with."""
    frame = pd.DataFrame({"segment": segment, "entity": names, "y": y})
    entities = frame.groupby(["segment", "entity"])["y"].max().groupby("segment").agg(["sum", "size"])
    counts = {"with_outcome": entities["sum"], "without_outcome": entities["size"] - entities["sum"]}
    return pd.DataFrame({"rows": frame.groupby("segment").size(), **counts})
