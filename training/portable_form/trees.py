"""Trees of scikit-learn, in arrays of nodes, as the arrays of a portable model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.modelling.portable.model import CATEGORY, LEAF, MISSING_RIGHT, Forest, Precision

NO_CHILD = -1
THRESHOLDS = {"single": "<f4", "double": "<f8"}
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Nodes:
    """Nodes by number, the root being 0.

    `left` is NO_CHILD for a leaf, `values` has a row for each node, `flags` are those of the portable form,
    and `bitsets` has a row for each node if there are splits by category.
    """

    left: Integers
    right: Integers
    features: Integers
    thresholds: NDArray[np.float64]
    flags: NDArray[np.uint32]
    values: NDArray[np.float64]
    bitsets: NDArray[np.uint64]

    @classmethod
    def of_tree(cls, tree: Any, values: NDArray[np.float64]) -> Nodes:
        """Return the nodes of a `tree_`, which compares in single precision; `values` is what they add."""
        flags = np.where(tree.missing_go_to_left, 0, MISSING_RIGHT).astype(np.uint32)
        thresholds = in_singles(tree.threshold)
        empty = np.empty((0, 0), np.uint64)
        return cls(tree.children_left, tree.children_right, tree.feature, thresholds, flags, values, empty)

    @classmethod
    def of_histogram(cls, nodes: Any, bitsets: NDArray[np.uint64]) -> Nodes:
        """Return the nodes of a tree of histogram boosting, which compares in doubles."""
        categorical = nodes["is_categorical"].astype(bool) & ~nodes["is_leaf"].astype(bool)
        flags = np.where(nodes["missing_go_to_left"], 0, MISSING_RIGHT) | np.where(categorical, CATEGORY, 0)
        return cls(
            left=np.where(nodes["is_leaf"], NO_CHILD, nodes["left"].astype(np.int64)),
            right=nodes["right"].astype(np.int64),
            features=nodes["feature_idx"],
            thresholds=np.where(categorical, 0.0, _finite(nodes["num_threshold"], np.float64)),
            flags=flags.astype(np.uint32),
            values=nodes["value"].reshape(-1, 1),
            bitsets=bitsets,
        )

    def breadth_first(self) -> Integers:
        """Return the numbers of the nodes, the root first, then the children of each split in turn."""
        levels = [np.zeros(1, np.int64)]
        while levels[-1].size:
            splits = levels[-1][self.left[levels[-1]] != NO_CHILD]
            levels.append(np.stack((self.left[splits], self.right[splits]), axis=1).ravel().astype(np.int64))
        return np.concatenate(levels)


def forest(trees: Iterable[Nodes], outputs: Sequence[int], precision: Precision) -> Forest:
    """Return the arrays of a portable model. `outputs` has the score that each tree adds to, or ALL."""
    arrays = _Arrays(np.dtype([("kind", "<u4"), ("next", "<u4"), ("threshold", THRESHOLDS[precision])]))
    for tree in trees:
        arrays.append(tree)
    bitsets = np.concatenate(arrays.bitsets) if arrays.bitsets else np.empty((0, 0))
    return Forest(
        precision,
        sizes=_bytes(np.array([len(nodes) for nodes in arrays.nodes]), np.uint32).cast("I"),
        outputs=_bytes(np.array(outputs), np.int32).cast("i"),
        nodes=_bytes(np.concatenate(arrays.nodes), arrays.kind),
        leaves=_bytes(np.concatenate(arrays.leaves), np.float64).cast("d"),
        bitsets=_bytes(bitsets, np.uint64).cast("Q"),
        words=bitsets.shape[1],
    )


class _Arrays:
    """The parts of a forest's arrays, a part a tree."""

    def __init__(self, kind: np.dtype[Any]) -> None:
        self.kind = kind
        self.nodes: list[NDArray[Any]] = []
        self.leaves: list[NDArray[np.float64]] = []
        self.bitsets: list[NDArray[np.uint64]] = []
        self._node_count = self._leaf_count = self._bitset_count = 0

    def append(self, tree: Nodes) -> None:
        """Add a tree's nodes, breadth first, its leaves, and the bitsets of its splits by category."""
        order = tree.breadth_first()
        is_leaf = tree.left[order] == NO_CHILD
        splits, leaves = order[~is_leaf], tree.values[order[is_leaf]]
        by_category = tree.flags[splits] & CATEGORY != 0
        thresholds = tree.thresholds[splits].copy()
        thresholds[by_category] = self._bitset_count + np.arange(by_category.sum())
        nodes = np.zeros(len(order), self.kind)
        nodes["kind"][is_leaf] = LEAF
        nodes["kind"][~is_leaf] = tree.features[splits].astype(np.uint32) | tree.flags[splits]
        nodes["next"][is_leaf] = self._leaf_count + leaves.shape[1] * np.arange(len(leaves))
        nodes["next"][~is_leaf] = self._node_count + 1 + 2 * np.arange(len(splits))
        nodes["threshold"][~is_leaf] = thresholds
        self.nodes.append(nodes)
        self.leaves.append(leaves.ravel())
        if by_category.any():
            self.bitsets.append(tree.bitsets[splits[by_category]])
        self._node_count, self._leaf_count = self._node_count + len(nodes), self._leaf_count + leaves.size
        self._bitset_count += int(by_category.sum())


def _bytes(values: NDArray[Any], kind: Any) -> memoryview:
    """Return the memory of numbers, converted to a kind."""
    return memoryview(bytearray(np.ascontiguousarray(values, kind).tobytes()))


@np.errstate(all="ignore")  # beyond single precision, and below its normal numbers
def in_singles(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest singles that are at most the thresholds: no single lies between the two."""
    below = thresholds.astype(np.float32)
    below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
    return _finite(below.astype(np.float64), np.float32)


def _finite(thresholds: NDArray[np.float64], kind: type[np.floating[Any]]) -> NDArray[np.float64]:
    """Replace infinity, the threshold between what is missing and what is not, by the largest number."""
    return np.minimum(thresholds, float(np.finfo(kind).max))
