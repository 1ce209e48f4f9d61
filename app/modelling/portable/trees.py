"""Trees in Python: their check before the first row, and the walk of a row; scorer.c does the same."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from math import isfinite

from app.modelling.portable.model import (
    CATEGORY,
    COLUMN,
    LEAF,
    MAX_DEPTH,
    MISSING_RIGHT,
    Forest,
    Row,
)

FLAGS = MISSING_RIGHT | CATEGORY
_DOUBLE_NODE = struct.Struct("<IId")


def faults(forest: Forest, width: int, scores: int) -> Iterator[str]:
    """Yield what is wrong with trees for prepared rows of a width, the first first."""
    nodes, count = 0, len(forest.kinds)
    for tree, (size, output) in enumerate(zip(forest.sizes, forest.outputs, strict=True)):
        nodes += size
        if not size or nodes > count:
            yield size_fault(tree)
        if not -1 <= output < scores:
            yield output_fault(tree)
    if nodes != count:
        yield size_fault(len(forest.sizes) - 1)
    for root, size, output in zip(forest.roots(), forest.sizes, forest.outputs, strict=True):
        yield from _node_faults(forest, range(root, root + size), width, scores if output < 0 else 1)
    for place, leaf in enumerate(forest.leaves):
        if not isfinite(leaf):
            yield leaf_fault(place)


def _node_faults(forest: Forest, nodes: range, width: int, leaf_width: int) -> Iterator[str]:
    child, level_end, levels = nodes.start + 1, nodes.start, 0
    for node in nodes:
        kind, following, threshold = forest.kinds[node], forest.nexts[node], forest.thresholds[node]
        if node >= child:
            yield order_fault(node)
        if node == level_end:
            level_end, levels = child, levels + 1
            if levels > MAX_DEPTH + 1:
                yield depth_fault(node)
        if kind & LEAF:
            yield from _leaf_faults(forest, node, leaf_width)
            continue
        if kind & ~(COLUMN | FLAGS) or kind & COLUMN >= width:
            yield kind_fault(node)
        if following != child or child + 2 > nodes.stop:
            yield order_fault(node)
        if not isfinite(threshold):
            yield threshold_fault(node)
        if kind & CATEGORY and not (0 <= threshold < _bitset_count(forest) and threshold == int(threshold)):
            yield bitset_fault(node)
        child += 2
    if child != nodes.stop:
        yield order_fault(nodes.stop - 1)


def _leaf_faults(forest: Forest, node: int, width: int) -> Iterator[str]:
    if forest.kinds[node] != LEAF or forest.thresholds[node] != 0:
        yield kind_fault(node)
    if forest.nexts[node] + width > len(forest.leaves):
        yield leaf_place_fault(node)


def _bitset_count(forest: Forest) -> int:
    return len(forest.bitsets) // forest.words if forest.words else 0


def size_fault(tree: int) -> str:
    """Say that a tree's size is wrong."""
    return f"sizes[{tree}]: expected sizes of 1 and more that add up to the number of nodes"


def output_fault(tree: int) -> str:
    """Say that a tree's output is wrong."""
    return f"outputs[{tree}]: expected a score's position, or -1"


def order_fault(node: int) -> str:
    """Say that a node isn't where it belongs."""
    return f"nodes[{node}]: expected the tree's nodes breadth first"


def depth_fault(node: int) -> str:
    """Say that a tree is too deep."""
    return f"nodes[{node}]: expected a tree of at most {MAX_DEPTH} levels"


def kind_fault(node: int) -> str:
    """Say that a node is none."""
    return f"nodes[{node}]: expected a leaf, or a split of a column that rows have"


def threshold_fault(node: int) -> str:
    """Say that a threshold isn't finite."""
    return f"nodes[{node}]: expected a finite threshold"


def bitset_fault(node: int) -> str:
    """Say that a split has no bitset."""
    return f"nodes[{node}]: expected a bitset's position as threshold"


def leaf_place_fault(node: int) -> str:
    """Say that a leaf has no numbers."""
    return f"nodes[{node}]: expected the position of the leaf's numbers"


def leaf_fault(place: int) -> str:
    """Say that a leaf's number isn't finite."""
    return f"leaves[{place}]: expected a finite number"


# The place is the number of the fault in scorer.c, from 1.
FAULTS: tuple[Callable[[int], str], ...] = (
    *(size_fault, output_fault, order_fault, depth_fault, kind_fault),
    *(threshold_fault, bitset_fault, leaf_place_fault, leaf_fault),
)


def reach(forest: Forest, root: int, row: Row) -> int:
    """Return where the leaf's numbers begin that a prepared row reaches."""
    kinds, nexts, thresholds = forest.kinds, forest.nexts, forest.thresholds
    node = root
    while not (kind := kinds[node]) & LEAF:
        value = row[kind & COLUMN]
        if kind & FLAGS and (kind & CATEGORY or value != value):
            right = _leads_right(forest, kind, thresholds[node], value)
        else:
            right = value > thresholds[node]
        node = nexts[node] + right
    place: int = nexts[node]
    return place


def _leads_right(forest: Forest, kind: int, bitset: float, value: float) -> bool:
    """Return where a missing value or a category leads."""
    if not (kind & CATEGORY and 0 <= value < 64 * forest.words):
        return bool(kind & MISSING_RIGHT)
    word, bit = divmod(int(value), 64)
    return not forest.bitsets[int(bitset) * forest.words + word] >> bit & 1


def append_tree(
    nodes: bytearray,
    features: Sequence[int],
    thresholds: Sequence[float],
    first_leaf: int,
    leaf_width: int,
) -> None:
    """Append a tree's nodes in double precision; they come depth first, with -1 for a leaf."""
    rights, splits, leaves = _right_children(features), *_numbers_before(features)
    waiting = [0]
    child = len(nodes) // _DOUBLE_NODE.size + 1
    for node in waiting:  # which grows
        if features[node] < 0:
            nodes += _DOUBLE_NODE.pack(LEAF, first_leaf + leaves[node] * leaf_width, 0.0)
        else:
            nodes += _DOUBLE_NODE.pack(features[node], child, thresholds[splits[node]])
            waiting += [node + 1, rights[node]]
            child += 2


def _right_children(features: Sequence[int]) -> dict[int, int]:
    """Return the position of each split's right child."""
    rights, open_ = {}, [-1]
    for node, feature in enumerate(features):
        if (parent := open_.pop()) >= 0:
            rights[parent] = node
        if feature >= 0:
            open_ += [node, -1]
    return rights


def _numbers_before(features: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return for each node how many splits, and how many leaves, stand before it."""
    splits, leaves = [0], [0]
    for feature in features:
        splits.append(splits[-1] + (feature >= 0))
        leaves.append(leaves[-1] + (feature < 0))
    return splits, leaves
