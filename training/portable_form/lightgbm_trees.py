"""Trees of LightGBM's scikit-learn estimators, from the booster's own description of its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from app.errors import NotPortable
from app.modelling.portable.model import CATEGORY, MISSING_RIGHT, Forest
from training.portable_form.preparation.own_encoding import OwnEncoding
from training.portable_form.preparation.prepared_row import Names
from training.portable_form.trees import NO_CHILD, Nodes, forest

ESTIMATORS = ("lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor")
# Objectives whose predictions are the scores, one of their sigmoid, or their largest.
OBJECTIVES = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "binary", "multiclass")

WORD_BITS = 64  # of a bitset
ZERO = float(np.float32(1e-35))  # kZeroThreshold in LightGBM's include/LightGBM/meta.h

Node = Mapping[str, Any]


def read_trees(estimator: Any) -> tuple[Forest, list[float]]:
    """Return the trees, and the scores before them. Raises NotPortable."""
    model = _dump_model(estimator)
    objective, *options = str(model["objective"]).split()
    known = {"sigmoid:1", f"num_class:{_outputs(model)}"}
    if objective not in OBJECTIVES or not set(options) <= known:
        raise NotPortable(f"LightGBM with the objective {model['objective']!r} has no portable form")
    if model["average_output"]:
        raise NotPortable("LightGBM that averages its trees has no portable form")
    trees = [list(_walk(tree["tree_structure"])) for tree in model["tree_info"]]
    largest = max((code for tree in trees for node, _ in tree for code in _categories(node)), default=0)
    grown = (_nodes(tree, largest // WORD_BITS + 1) for tree in trees)
    turns = [number % _outputs(model) for number in range(len(trees))]
    return forest(grown, turns, "double"), [0.0] * _outputs(model)


def own_encoding(estimator: Any, names: Sequence[Names]) -> OwnEncoding:
    """Return what the estimator does to the categories of a data frame before its trees."""
    known = iter(_dump_model(estimator)["pandas_categorical"] or [])
    categories = {index: next(known) for index, each in enumerate(names) if each is not None}
    return OwnEncoding(names, categories, range(len(names)))


def _dump_model(estimator: Any) -> Mapping[str, Any]:
    description: Mapping[str, Any] = estimator.booster_.dump_model()
    return description


def _outputs(model: Mapping[str, Any]) -> int:
    return int(model["num_tree_per_iteration"])


def _walk(root: Node) -> Iterator[tuple[Node, int]]:
    """Yield the nodes, left before right, each with the number of its right child, or NO_CHILD for a leaf."""
    if "leaf_coeff" in root:
        raise NotPortable("LightGBM with linear trees has no portable form")
    if "left_child" not in root:
        yield root, NO_CHILD
        return
    left = list(_walk(root["left_child"]))
    yield root, len(left) + 1
    yield from left
    yield from _walk(root["right_child"])


def _categories(node: Node) -> list[int]:
    if node.get("decision_type") != "==":
        return []
    return [int(code) for code in str(node["threshold"]).split("||")]


def _nodes(tree: Sequence[tuple[Node, int]], words: int) -> Nodes:
    count = len(tree)
    left, right, features = np.full(count, NO_CHILD), np.zeros(count, np.int64), np.zeros(count, np.int64)
    thresholds, values, flags = np.zeros(count), np.zeros((count, 1)), np.zeros(count, np.uint32)
    bitsets = np.zeros((count, words), np.uint64)
    for number, (node, right_child) in enumerate(tree):
        if right_child == NO_CHILD:
            values[number] = node["leaf_value"]
            continue
        left[number], right[number] = number + 1, number + right_child
        features[number] = node["split_feature"]
        flags[number] = MISSING_RIGHT if _sends_missing_right(node) else 0
        codes = _categories(node)
        if codes:
            flags[number] |= CATEGORY
            for code in codes:
                bitsets[number, code // WORD_BITS] |= np.uint64(1 << code % WORD_BITS)
        else:
            thresholds[number] = _threshold(node["threshold"])
    return Nodes(left, right, features, thresholds, flags, values, bitsets)


def _threshold(value: float) -> float:
    """Return a threshold that splits as LightGBM does, to which numbers up to ZERO are 0."""
    if 0 <= value < ZERO:
        return ZERO
    return float(np.nextafter(-ZERO, -np.inf)) if -ZERO <= value < 0 else value


def _sends_missing_right(node: Node) -> bool:
    """Return where a missing value leads: it is a zero to a split that saw none in training."""
    if node["decision_type"] == "==":
        return True
    if node["missing_type"] == "Zero":
        raise NotPortable("LightGBM with zero_as_missing has no portable form")
    return not node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] < 0
