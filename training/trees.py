"""The trees of scikit-learn, in arrays of nodes, as trees of a portable model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.modelling.portable_model import Tree

LEAF = -1


@dataclass(frozen=True)
class Nodes:
    """Nodes by number, the root being 0; `left` is LEAF for a leaf, and `values` has a row for each node."""

    left: NDArray[np.integer[Any]]
    right: NDArray[np.integer[Any]]
    features: NDArray[np.integer[Any]]
    thresholds: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def of_tree(cls, tree: Any, values: NDArray[np.float64]) -> Nodes:
        """Return the nodes of a `tree_`, which compares in single precision; `values` is what they add."""
        thresholds = in_doubles(tree.threshold)
        return cls(tree.children_left, tree.children_right, tree.feature, thresholds, values)

    @classmethod
    def of_histogram(cls, nodes: Any) -> Nodes:
        """Return the nodes of a tree of histogram boosting, which compares in doubles."""
        left = np.where(nodes["is_leaf"], LEAF, nodes["left"].astype(np.int64))
        values = nodes["value"].reshape(-1, 1)
        return cls(left, nodes["right"], nodes["feature_idx"], nodes["num_threshold"], values)

    def tree(self, output: int | None) -> Tree:
        """Return the same in depth-first order."""
        left, right = self.left.tolist(), self.right.tolist()
        order, waiting = [], [0]
        while waiting:
            node = waiting.pop()
            order.append(node)
            if left[node] != LEAF:
                waiting += [right[node], left[node]]
        ordered = np.array(order)
        leaves = self.left[ordered] == LEAF
        return Tree(
            output=output,
            features=tuple(np.where(leaves, LEAF, self.features[ordered].astype(np.int64)).tolist()),
            thresholds=tuple(self.thresholds[ordered[~leaves]].tolist()),
            leaves=tuple(self.values[ordered[leaves]].ravel().tolist()),
        )


@np.errstate(all="ignore")  # beyond single precision, and below its normal numbers
def in_doubles(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest doubles that are at most the thresholds after rounding to single precision.

    Rounding is monotonic, so `x <= result` says of a double x what `float32(x) <= threshold` does.
    """
    below = thresholds.astype(np.float32)
    below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
    above = np.nextafter(below, np.float32(np.inf)).astype(np.float64)
    above[np.isinf(above)] = 2.0**128  # what single precision would go on with
    halfway = (below + above) / 2
    return np.where(halfway.astype(np.float32) <= thresholds, halfway, np.nextafter(halfway, -np.inf))
