"""Exact Shapley values of trees: what each feature adds to the mean over the leaves.

The game is that of TreeSHAP, path-dependent (Lundberg et al., From local explanations to global understanding, 2020): a
feature outside the coalition is unknown, and its splits send a row to both sides, weighted by their training rows.
For a leaf of value v whose path asks for features j, with o_j = 1 where the row goes the path's way and z_j the share
of training rows that do, the Shapley value is an integral of a polynomial,

    φ_i = v · (o_i − z_i) · ∫₀¹ ∏_{j≠i} (t·o_j + (1−t)·z_j) dt,

because |S|!(d−1−|S|)!/d! = ∫ t^|S| (1−t)^(d−1−|S|) dt. Gauss–Legendre with d/2 points integrates it exactly. All
factors lie in [0, 1], so nothing cancels, and one pass down and one up the tree do for all leaves and features
together (the idea of Linear TreeSHAP, Yu et al. 2022): nodes × points instead of leaves × depth².
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

__all__ = ["Tree", "forest_trees", "tree_contributions", "xgboost_trees"]

_LEAF = -1
_LEAST_SHARE = 1e-12
"""A branch without training rows would divide by zero."""


@dataclass(frozen=True)
class Tree:
    """One tree as arrays over its nodes, each parent before its children; node 0 is the root.

    Parameters
    ----------
    feature : int64, column asked; −1 in a leaf. threshold : float64; `x <= threshold` goes left.
    left, right : int64, −1 in a leaf. missing_left : bool, where a gap goes. cover : float64, training rows (weights)
    that came by. value : float64, what a leaf adds.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    cover: np.ndarray
    value: np.ndarray


def forest_trees(forest: object) -> list[Tree]:
    """Return the trees of a fitted scikit-learn forest (or of one decision tree), values: the share of class 1."""
    members = getattr(forest, "estimators_", [forest])
    return [_from_sklearn(member.tree_, 1.0 / len(members)) for member in members]


def _from_sklearn(tree: object, weight: float) -> Tree:
    counts = tree.value[:, 0, :]
    order = _preorder(tree.children_left, tree.children_right)
    place = np.empty(len(order) + 1, np.int64)
    place[order], place[-1] = np.arange(len(order)), _LEAF
    return Tree(
        feature=np.where(tree.children_left[order] == _LEAF, _LEAF, tree.feature[order]).astype("int64"),
        threshold=tree.threshold[order],
        left=place[tree.children_left[order]],
        right=place[tree.children_right[order]],
        missing_left=tree.missing_go_to_left[order].astype(bool),
        cover=tree.weighted_n_node_samples[order],
        value=weight * counts[order, -1] / counts[order].sum(axis=1),
    )


def _preorder(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the nodes, each parent before its children: forests grown best first are not stored so."""
    order, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if left[node] != _LEAF:
            waiting += [right[node], left[node]]
    return np.array(order)


def xgboost_trees(booster: object) -> list[Tree]:
    """Return the trees of an XGBoost booster, values in log odds; without its base score.

    XGBoost sends `x < threshold` to the left: the threshold is moved to the next smaller float32.
    """
    stored = json.loads(bytes(booster.save_raw("json")))
    return [_from_xgboost(tree) for tree in stored["learner"]["gradient_booster"]["model"]["trees"]]


def _from_xgboost(tree: dict) -> Tree:
    left, right = (np.array(tree[side], "int64") for side in ("left_children", "right_children"))
    order, place = _preorder(left, right), np.full(len(left) + 1, _LEAF)
    place[order] = np.arange(len(order))
    leaf, condition = left[order] == _LEAF, np.array(tree["split_conditions"], "float32")[order]
    return Tree(
        feature=np.where(leaf, _LEAF, np.array(tree["split_indices"], "int64")[order]),
        threshold=np.nextafter(condition, np.float32(-np.inf)).astype("float64"),
        left=place[left[order]],
        right=place[right[order]],
        missing_left=np.array(tree["default_left"], "int64")[order].astype(bool),
        cover=np.array(tree["sum_hessian"], "float64")[order],
        value=np.where(leaf, condition, 0.0).astype("float64"),
    )


def tree_contributions(
    trees: Sequence[Tree], X: np.ndarray, sources: np.ndarray, n_sources: int
) -> tuple[float, np.ndarray]:
    """Return the mean of the trees' sum over their training rows, and what each source adds to it, row by row.

    Parameters
    ----------
    X : (rows, features) as the trees know them; compared in float32, as both libraries do.
    sources : (features,) the input column that each feature belongs to, 0..n_sources−1: theirs are summed.

    Returns
    -------
    base : float. values : (rows, n_sources); base + values.sum(axis=1) is the sum of the trees, to rounding.
    """
    X = np.ascontiguousarray(X, dtype="float32")
    sources, values, base = np.asarray(sources, "int64"), np.zeros((len(X), n_sources)), 0.0
    for tree in trees:
        parent, share, z, before, most = _path(tree.feature, tree.left, tree.right, tree.cover)
        base += _mean_leaf(tree.left, tree.right, share, tree.value)
        if most:
            shape = (parent, before, *_tables(share, z, before, *_gauss(most)))
            branches = (tree.feature, tree.threshold, tree.left, tree.right, tree.missing_left, tree.value)
            _add_tree(X, *branches, shape, sources[tree.feature], values)
    return float(base), values


def _gauss(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights on (0, 1) that integrate polynomials of `degree` − 1 exactly."""
    points, weights = np.polynomial.legendre.leggauss(max(1, (degree + 1) // 2))
    return (points + 1) / 2, weights / 2


@njit(cache=True, nogil=True)
def _path(feature, left, right, cover):  # (compiled: types come from the arguments)
    """Return parent, share (of the parent's rows), z (product over the feature's edges so far), before, most features.

    `before` is the last edge above (named by its lower node) that asked the same feature, −1 if none.
    """
    n = len(feature)
    parent, before = np.full(n, -1), np.full(n, -1)
    share, z, asked = np.ones(n), np.ones(n), np.zeros(n, np.int64)
    most = 0
    for node in range(n):
        if left[node] < 0:
            most = max(most, asked[node])
            continue
        above = node
        while above > 0 and feature[parent[above]] != feature[node]:
            above = parent[above]
        for child in (left[node], right[node]):
            parent[child] = node
            share[child] = max(cover[child] / cover[node], _LEAST_SHARE)
            before[child] = above if above > 0 else -1
            z[child] = share[child] * (z[above] if above > 0 else 1.0)
            asked[child] = asked[node] + (above == 0)
    return parent, share, z, before, most


@njit(cache=True, nogil=True)
def _mean_leaf(left, right, share, value):
    """Return the mean of the leaves, each weighted by the share of rows that reach it."""
    total, reach = 0.0, np.ones(len(left))
    for node in range(len(left)):
        if left[node] < 0:
            total += reach[node] * value[node]
            continue
        reach[left[node]] = reach[node] * share[left[node]]
        reach[right[node]] = reach[node] * share[right[node]]
    return total


@njit(cache=True, nogil=True)
def _tables(share, z, before, points, weights):
    """Return what one edge does to the products and what it adds, by node, case and point.

    Cases: 0, the row left the feature's path above this edge; 1, it leaves here; 2, it stays on it. `step` multiplies
    the product of the path by this edge's factor over the one it replaces. `gain` is weight · (o − z) / factor.
    """
    n, q = len(share), len(points)
    step, gain = np.empty((n, 3, q)), np.empty((n, 2, q))
    for node in range(n):
        old = z[before[node]] if before[node] >= 0 else 1.0
        for k in range(q):
            t = points[k]
            stays, stayed = t + (1 - t) * z[node], t + (1 - t) * old
            step[node, 0, k] = share[node]
            step[node, 1, k] = (1 - t) * z[node] / stayed
            step[node, 2, k] = stays / stayed
            gain[node, 0, k] = -weights[k] / (1 - t)
            gain[node, 1, k] = weights[k] * (1 - z[node]) / stays
    return step, gain


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _add_tree(X, asks, tests, left, right, missing_left, value, shape, source, values):
    """Add one tree's contributions to `values`, in place; `shape` is what `_path` and `_tables` found."""
    parent, before, step, gain = shape
    n, q = len(asks), step.shape[2]
    product, total = np.ones((n, q)), np.empty((n, q))
    stays = np.zeros(n, np.bool_)
    for row in range(len(X)):
        for node in range(n):
            if node > 0:
                up, last = parent[node], before[node]
                on = last < 0 or stays[last]
                case = (2 if stays[node] else 1) if on else 0
                stays[node] &= on
                for k in range(q):
                    product[node, k] = product[up, k] * step[node, case, k]
            if left[node] < 0:
                for k in range(q):
                    total[node, k] = value[node] * product[node, k]
                continue
            x = X[row, asks[node]]
            goes_left = missing_left[node] if np.isnan(x) else x <= tests[node]
            stays[left[node]], stays[right[node]] = goes_left, not goes_left
            for k in range(q):
                total[node, k] = 0.0
        for node in range(n - 1, 0, -1):
            up, last = parent[node], before[node]
            added = 0.0
            for k in range(q):
                added += gain[node, int(stays[node]), k] * total[node, k]
                total[up, k] += total[node, k]
            if last >= 0:
                for k in range(q):
                    added -= gain[last, int(stays[last]), k] * total[node, k]
            values[row, source[up]] += added
