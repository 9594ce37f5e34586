"""Exact Shapley values of trees: against brute force, against XGBoost, and what must hold for any tree."""

import math
from itertools import combinations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from crmlab.explain import Tree, forest_trees, tree_contributions, xgboost_trees


def brute_force(tree: Tree, x: np.ndarray, n: int) -> np.ndarray:
    """Return the Shapley values by their definition, over all coalitions."""

    def value(known: frozenset, node: int = 0) -> float:
        left, right, feature = tree.left[node], tree.right[node], tree.feature[node]
        if left < 0:
            return tree.value[node]
        if feature in known:
            to_left = tree.missing_left[node] if np.isnan(x[feature]) else x[feature] <= tree.threshold[node]
            return value(known, left if to_left else right)
        both = tree.cover[left] * value(known, left) + tree.cover[right] * value(known, right)
        return both / tree.cover[node]

    found = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for known in map(frozenset, combinations(others, size)):
                found[i] += weight * (value(known | {i}) - value(known))
    return found


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(400, 6)).astype("float32")
    X[:, 5] = np.round(X[:, 5])
    X[generator.random(X.shape) < 0.1] = np.nan
    z = np.nan_to_num(X)
    return X, (z[:, 0] + z[:, 1] * z[:, 2] + 0.3 * z[:, 5] > 0).astype(int)


def test_a_tree_worked_by_hand():
    """Half the rows on each side of both questions; leaves 0, 0, 0, 1: (x0 > 0) and (x1 > 0)."""
    tree = Tree(
        feature=np.array([0, -1, 1, -1, -1]),
        threshold=np.zeros(5),
        left=np.array([1, -1, 3, -1, -1]),
        right=np.array([2, -1, 4, -1, -1]),
        missing_left=np.array([True, False, False, False, False]),
        cover=np.array([4.0, 2, 2, 1, 1]),
        value=np.array([0, 0.0, 0, 0, 1]),
    )
    X = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [np.nan, 1.0]])
    base, values = tree_contributions([tree], X, np.arange(2), 2)
    assert base == pytest.approx(0.25)
    # Row 1: x0 alone 1/2 − 1/4, after x1 1 − 1/2: mean 3/8. Row 2: 1/4, then 0 − 0 less: ((1/2 − 1/4) + 0)/2 = 1/8.
    expected = [[0.375, 0.375], [0.125, -0.375], [-0.375, 0.125], [-0.375, 0.125]]
    assert values == pytest.approx(np.array(expected), abs=1e-15)


@pytest.mark.parametrize("depth", [1, 2, 5, None])
def test_equals_brute_force(rows, depth):
    X, y = rows
    forest = RandomForestClassifier(3, max_depth=depth, min_samples_leaf=4, random_state=1).fit(X, y)
    trees = forest_trees(forest)
    _, values = tree_contributions(trees, X[:12], np.arange(6), 6)
    expected = np.array([sum(brute_force(tree, x, 6) for tree in trees) for x in X[:12]])
    assert values == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(10, min_samples_leaf=1, max_samples=0.5, class_weight="balanced", random_state=0),
        RandomForestClassifier(10, max_leaf_nodes=12, random_state=0),
        ExtraTreesClassifier(10, min_samples_leaf=3, random_state=0),
        DecisionTreeClassifier(min_samples_leaf=5),
    ],
    ids=["weighted", "best first", "extra trees", "one tree"],
)
def test_sums_are_the_forest(rows, model):
    X, y = rows
    model.fit(X, y)
    base, values = tree_contributions(forest_trees(model), X, np.arange(6), 6)
    assert base + values.sum(axis=1) == pytest.approx(model.predict_proba(X)[:, 1], abs=1e-13)


def test_equals_xgboost(rows):
    import xgboost

    X, y = rows
    matrix = xgboost.DMatrix(X, y)
    settings = {"objective": "binary:logistic", "max_depth": 7, "eta": 0.3, "nthread": 1, "min_child_weight": 0.1}
    booster = xgboost.train(settings, matrix, 25)
    theirs = booster.predict(matrix, pred_contribs=True)
    base, ours = tree_contributions(xgboost_trees(booster), X, np.arange(6), 6)
    assert ours == pytest.approx(theirs[:, :6], abs=2e-5)
    assert np.ptp(theirs[:, -1]) < 1e-5
    assert np.abs(ours).max() > 1
    margins = booster.predict(matrix, output_margin=True)
    assert np.ptp(margins - base - ours.sum(axis=1)) < 1e-5


def test_features_of_one_source_are_summed(rows):
    X, y = rows
    trees = forest_trees(RandomForestClassifier(5, min_samples_leaf=4, random_state=1).fit(X, y))
    _, single = tree_contributions(trees, X, np.arange(6), 6)
    _, summed = tree_contributions(trees, X, np.array([0, 1, 1, 2, 0, 2]), 3)
    assert summed == pytest.approx(single @ np.eye(3)[[0, 1, 1, 2, 0, 2]], abs=1e-14)


def test_a_feature_that_no_tree_asks_gets_nothing(rows):
    X, y = rows
    X = np.column_stack([X, np.ones(len(X), "float32")])
    _, values = tree_contributions(
        forest_trees(RandomForestClassifier(5, random_state=1).fit(X, y)), X, np.arange(7), 7
    )
    assert (values[:, 6] == 0).all()
    assert (values[:, :6] != 0).any(axis=0).all()


def test_equal_columns_are_treated_alike():
    """Two features that play the same part get the same (symmetry), also when asked at different depths."""
    left, right = np.array([1, 3, 5, -1, -1, -1, -1]), np.array([2, 4, 6, -1, -1, -1, -1])
    tree = Tree(
        feature=np.array([0, 1, 1, -1, -1, -1, -1]),
        threshold=np.zeros(7),
        left=left,
        right=right,
        missing_left=np.zeros(7, bool),
        cover=np.array([16.0, 8, 8, 4, 4, 4, 4]),
        value=np.array([0, 0, 0, 0.0, 1, 1, 5]),
    )
    _, values = tree_contributions([tree], np.array([[1.0, 1.0], [-1.0, -1.0]]), np.arange(2), 2)
    assert values[:, 0] == pytest.approx(values[:, 1], abs=1e-15)
    assert values[0, 0] == pytest.approx((5 - 7 / 4) / 2)


def test_deep_trees_stay_exact():
    """Paths of 25 different features: nothing cancels."""
    generator = np.random.default_rng(3)
    X = generator.normal(size=(3_000, 40)).astype("float32")
    y = (X @ np.ones(40) + 3 * generator.normal(size=3_000) > 0).astype(int)
    forest = RandomForestClassifier(3, min_samples_leaf=1, random_state=0).fit(X, y)
    base, values = tree_contributions(forest_trees(forest), X[:200], np.arange(40), 40)
    assert base + values.sum(axis=1) == pytest.approx(forest.predict_proba(X[:200])[:, 1], abs=1e-12)


def test_a_stump_without_a_question():
    forest = RandomForestClassifier(2, random_state=0, min_samples_leaf=20).fit(np.zeros((30, 2)), np.arange(30) % 2)
    base, values = tree_contributions(forest_trees(forest), np.zeros((4, 2)), np.arange(2), 2)
    assert (values == 0).all()
    assert base == pytest.approx(forest.predict_proba(np.zeros((1, 2)))[0, 1])
