"""Logistic regression with ridge and lasso penalties on tamed numbers, their ranges, and one-hot categories."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .columns import SignedLog, make_columns

__all__ = ["ElasticNetLogistic", "elastic_net_path", "make_elastic_net", "make_logistic"]

_STEPS = 100
_EXACT, _ROUGH = 1e-10, 1e-6
"""Gains in mean log loss below which the descent ends: of a model kept, and of one tried."""
_CURVATURE_ROWS = 10_000
_SLOW = 0.5
"""The curvature is computed anew when a step with the old one gains more than this share of the step before."""


class ElasticNetLogistic(ClassifierMixin, BaseEstimator):
    """Logistic regression that minimises mean log loss + [l1·|β|₁ + (1 − l1)·|β|²/2] / (C·rows); β without intercept.

    Steps are those of proximal Newton (Lee, Sun & Saunders 2014): coordinate descent on the quadratic model, then a
    line search on the true objective. Coordinate descent works on the columns' products (Friedman, Hastie & Tibshirani
    2010), so a step on many rows costs little more than one on few. The same as scikit-learn's `LogisticRegression`
    with the same C and l1_ratio.

    Parameters
    ----------
    C : inverse strength of the penalty, above 0. l1_ratio : share of the lasso, 0 to 1.

    Attributes
    ----------
    coef_ : shape (1, columns). intercept_ : shape (1,). n_iter_ : steps taken.
    """

    def __init__(self, C: float = 0.1, l1_ratio: float = 0.0) -> None:
        self.C = C
        self.l1_ratio = l1_ratio

    def fit(self, X: np.ndarray, y: np.ndarray, start: "ElasticNetLogistic | None" = None) -> "ElasticNetLogistic":
        """Fit; `start` is a fitted model of the same columns to begin from."""
        X, y = np.ascontiguousarray(X, dtype="float64"), np.asarray(y, dtype="float64")
        beta = _start(X, y) if start is None else np.append(start.coef_[0], start.intercept_[0])
        beta, steps, _ = _descend(X, y, beta, *self._penalties(len(y)), _EXACT)
        return self._keep(beta, steps)

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return log odds, shape (rows,)."""
        check_is_fitted(self)
        return np.asarray(X, dtype="float64") @ self.coef_[0] + self.intercept_[0]

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probability of both classes, shape (rows, 2)."""
        from scipy.special import expit

        p = expit(self.decision_function(X))
        return np.column_stack([1 - p, p])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return 1 where the outcome is more likely than not."""
        return (self.decision_function(X) > 0).astype(int)

    def _keep(self, beta: np.ndarray, steps: int) -> "ElasticNetLogistic":
        self.coef_, self.intercept_ = beta[None, :-1].copy(), beta[-1:].copy()
        self.n_iter_, self.classes_ = steps, np.array([0, 1])
        return self

    def _penalties(self, rows: int) -> tuple[float, float]:
        strength = 1 / (self.C * rows)
        return strength * self.l1_ratio, strength * (1 - self.l1_ratio)


def make_logistic(features: pd.DataFrame, *, C: float = 0.1, l1_ratio: float = 0.0) -> object:
    """Return an unfitted logistic regression for frames such as `features`: numbers tamed, gaps marked."""
    from sklearn.pipeline import make_pipeline

    return make_pipeline(make_columns(features, _tamed(mark_gaps=True)), ElasticNetLogistic(C, l1_ratio))


def make_elastic_net(features: pd.DataFrame, *, C: float = 0.1, l1_ratio: float = 0.0) -> object:
    """Return an unfitted logistic regression that also sees in which range each number lies."""
    from sklearn.pipeline import make_pipeline

    # The ranges have a column for gaps.
    columns = make_columns(features, _tamed(mark_gaps=False), bins=True)
    return make_pipeline(columns, ElasticNetLogistic(C, l1_ratio))


def _tamed(*, mark_gaps: bool) -> object:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    impute = SimpleImputer(strategy="median", add_indicator=mark_gaps, keep_empty_features=True)
    return make_pipeline(SignedLog(), impute, StandardScaler())


def elastic_net_path(X: np.ndarray, y: np.ndarray, strengths: Iterable[float], l1_ratio: float) -> Iterator:
    """Yield a model per C of `strengths` (ascending), each begun where the one before ended; roughly converged."""
    X, y = np.ascontiguousarray(X, dtype="float64"), np.asarray(y, dtype="float64")
    beta, curvature = _start(X, y), None
    for C in strengths:
        model = ElasticNetLogistic(C, l1_ratio)
        beta, steps, curvature = _descend(X, y, beta, *model._penalties(len(y)), _ROUGH, curvature)
        yield model._keep(beta, steps)


def _start(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    share = np.clip(y.mean(), 1e-6, 1 - 1e-6)
    return np.append(np.zeros(X.shape[1]), np.log(share / (1 - share)))


def _descend(
    X: np.ndarray, y: np.ndarray, beta: np.ndarray, l1: float, l2: float, tolerance: float, curvature: object = None
) -> tuple[np.ndarray, int, np.ndarray]:
    """Minimise from `beta` (intercept last); return it, the number of steps and the last curvature.

    Curvature is most of the work and changes little: it is kept until a step gains hardly less than the one before.
    """
    from scipy.special import expit

    penalty = np.append(np.full(X.shape[1], l2), 0.0)
    lasso = np.append(np.full(X.shape[1], l1), 0.0)
    eta = X @ beta[:-1] + beta[-1]
    value, gained = _objective(eta, y, beta, lasso, penalty), np.inf
    for step in range(_STEPS):
        p = expit(eta)
        slope = np.append((p - y) @ X, (p - y).sum()) / len(y) + penalty * beta
        fresh = curvature is None
        if fresh:
            curvature = _curvature(X, p * (1 - p))
        # The little on the diagonal keeps constant and repeated columns solvable.
        move = _coordinate_moves(curvature + np.diag(penalty + 1e-9), slope, beta, lasso)
        shift = X @ move[:-1] + move[-1]
        size, after = _line_search(eta, shift, y, beta, move, lasso, penalty, value)
        beta, eta = beta + size * move, eta + size * shift
        before, gained, value = gained, value - after, after
        if gained < tolerance and (fresh or size == 1.0):
            return beta, step + 1, curvature
        if size < 1 or gained > _SLOW * before:
            curvature = None
    return beta, _STEPS, curvature


def _objective(eta: np.ndarray, y: np.ndarray, beta: np.ndarray, lasso: np.ndarray, penalty: np.ndarray) -> float:
    loss = np.logaddexp(0, eta).mean() - (y @ eta) / len(y)
    return float(loss + lasso @ np.abs(beta) + 0.5 * penalty @ beta**2)


def _curvature(X: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the mean of w·xx' (a column of ones last); of many rows only a sample is multiplied out.

    The diagonal is never less than that of all rows, so a level that the sample misses does not take a wild step.
    """
    some = np.linspace(0, len(w) - 1, min(len(w), _CURVATURE_ROWS)).astype("int64")
    part = np.hstack([X[some], np.ones((len(some), 1))])
    whole = (part * w[some, None]).T @ part / len(some)
    full = np.append(np.einsum("ij,ij,i->j", X, X, w), w.sum()) / len(w)
    np.fill_diagonal(whole, np.maximum(whole.diagonal(), full))
    return whole


def _line_search(eta, shift, y, beta, move, lasso, penalty, value):
    size = 1.0
    for _ in range(30):
        after = _objective(eta + size * shift, y, beta + size * move, lasso, penalty)
        if after <= value:
            return size, after
        size /= 2
    return 0.0, value


def _coordinate_moves(curvature: np.ndarray, slope: np.ndarray, beta: np.ndarray, lasso: np.ndarray) -> np.ndarray:
    """Return the move that minimises the quadratic model plus the lasso."""
    if not lasso.any():
        from scipy.linalg import solve

        return solve(curvature, -slope, assume_a="pos")
    from .descent import coordinate_moves

    return coordinate_moves(curvature, slope, beta, lasso)
