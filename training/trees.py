"""Trees of scikit-learn, in arrays of nodes, as the arrays of a portable model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.modelling.portable.model import CATEGORY, LEAF, MISSING_RIGHT, Forest, Precision

NO_CHILD = -1
WORD_BITS = 64
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Nodes:
    """Nodes by number, the root being 0.

    `left` is NO_CHILD for a leaf, `values` has a row for each node, `flags` are those of the portable form, and
    `bitsets` has a row for each node if there are splits by category.
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
            thresholds=np.where(categorical, 0.0, nodes["num_threshold"]),
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
    """Return the arrays of a portable model. `outputs` has the score that each tree adds to, or -1 for all."""
    kind = np.dtype([("kind", "<u4"), ("next", "<u4"), ("threshold", "<f4" if precision == "single" else "<f8")])
    parts, leaves, bitsets = [], [], []
    node_count = leaf_count = bitset_count = 0
    for tree in trees:
        order = tree.breadth_first()
        is_leaf = tree.left[order] == NO_CHILD
        nodes = np.zeros(len(order), kind)
        splits = order[~is_leaf]
        flags = tree.flags[splits]
        by_category = flags & CATEGORY != 0
        nodes["kind"] = LEAF
        nodes["kind"][~is_leaf] = tree.features[splits].astype(np.uint32) | flags
        nodes["next"][~is_leaf] = node_count + 1 + 2 * np.arange(len(splits))
        thresholds = tree.thresholds[splits].copy()
        thresholds[by_category] = bitset_count + np.cumsum(by_category)[by_category] - 1
        nodes["threshold"][~is_leaf] = thresholds
        numbers = tree.values[order[is_leaf]]
        nodes["next"][is_leaf] = leaf_count + numbers.shape[1] * np.arange(len(numbers))
        parts.append(nodes)
        leaves.append(numbers.ravel())
        if by_category.any():
            bitsets.append(tree.bitsets[splits[by_category]])
        node_count, leaf_count = node_count + len(nodes), leaf_count + numbers.size
        bitset_count += int(by_category.sum())
    words = bitsets[0].shape[1] if bitsets else 0
    return Forest(
        precision,
        sizes=_view(np.array([len(part) for part in parts]), np.uint32, "I"),
        outputs=_view(np.array(outputs), np.int32, "i"),
        nodes=memoryview(np.concatenate(parts).view(np.uint8)).cast("B"),
        leaves=_view(np.concatenate(leaves), np.float64, "d"),
        bitsets=_view(np.concatenate(bitsets) if bitsets else np.empty(0), np.uint64, "Q"),
        words=words,
    )


def _view(values: NDArray[Any], kind: Any, code: str) -> memoryview:
    return memoryview(np.ascontiguousarray(values, kind).reshape(-1).view(np.uint8)).cast("B").cast(code)


@np.errstate(all="ignore")  # beyond single precision, and below its normal numbers
def in_singles(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest singles that are at most the thresholds: a single is above both, or above neither."""
    below = thresholds.astype(np.float32)
    below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
    return below.astype(np.float64)
