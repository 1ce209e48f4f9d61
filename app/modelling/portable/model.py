"""A portable model in memory, whatever file it came from: numbers, and the arrays of its trees."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from app.modelling.portable import operations
from app.modelling.portable.operations import Step

MAX_FEATURES = MAX_SCORES = MAX_TREES = 100_000
MAX_NODES = 5_000_000  # of all trees, or coefficients
MAX_DEPTH = 1000  # of a tree
MAX_STEPS = 10_000
MAX_WORDS = 1024  # of a bitset

LEAF = 1 << 31
MISSING_RIGHT = 1 << 24
CATEGORY = 1 << 25
COLUMN = MISSING_RIGHT - 1
ALL = -1  # the output of a tree that adds to every score

Row = Sequence[float]
Scores = Any  # a double, or a tuple of them when there are several
Answer = Literal["value", "sigmoid", "complement", "index", "softmax", "shares"]
SEVERAL: tuple[Answer, ...] = ("index", "softmax", "shares")  # of a score for each class
Precision = Literal["single", "double"]
NODE_SIZES: dict[Precision, int] = {"single": 12, "double": 16}  # bytes


@dataclass(frozen=True)
class Forest:
    """Trees as the arrays of docs/model-format.md, in writable memory, as ctypes takes no other address."""

    precision: Precision
    sizes: memoryview  # "I"
    outputs: memoryview  # "i"
    nodes: memoryview  # "B"
    leaves: memoryview[float]  # "d"
    bitsets: memoryview = field(default_factory=lambda: memoryview(array("Q")))
    words: int = 0

    @property
    def node_size(self) -> int:
        """Return the bytes of a node."""
        return NODE_SIZES[self.precision]

    @cached_property
    def kinds(self) -> memoryview:
        """Return each node's kind."""
        return self.nodes.cast("I")[:: self.node_size // 4]

    @cached_property
    def nexts(self) -> memoryview:
        """Return each node's left child, or a leaf's place."""
        return self.nodes.cast("I")[1 :: self.node_size // 4]

    @cached_property
    def thresholds(self) -> memoryview[float]:
        """Return each node's threshold."""
        return self.nodes.cast("f")[2::3] if self.precision == "single" else self.nodes.cast("d")[1::2]

    def roots(self) -> Iterator[int]:
        """Yield the position of each tree's root."""
        root = 0
        for size in self.sizes:
            yield root
            root += size


@dataclass(frozen=True)
class Model:
    """A whole model; docs/model-format.md says what each part means."""

    format: int
    features: int
    steps: tuple[Step, ...]
    start: tuple[float, ...]
    coefficients: memoryview[float] | None  # "d", a row for each score
    forest: Forest | None
    divisor: int
    answer: Answer

    @property
    def widths(self) -> list[int]:
        """Return how wide a row is before the first step and after each."""
        return operations.widths(self.steps, self.features)

    @property
    def nodes(self) -> int:
        """Return the number of the trees' nodes, or of coefficients."""
        if self.forest:
            return len(self.forest.kinds)
        return len(self.coefficients or ())


def doubles(numbers: Iterable[float]) -> memoryview[float]:
    """Return the memory of numbers."""
    return memoryview(array("d", numbers)).cast("B").cast("d")


def head_faults(model: Model) -> Iterator[str]:
    """Yield what is wrong with the parts of a model that aren't arrays, the first first."""
    numbers = {
        "features": (model.features, MAX_FEATURES),
        "scores": (len(model.start), MAX_SCORES),
        "divisor": (model.divisor, MAX_NODES),
    }
    for name, (number, limit) in numbers.items():
        if not 1 <= number <= limit:
            yield f"{name}: expected 1 to {limit}, got {number}"
    if (len(model.start) > 1) != (model.answer in SEVERAL):
        yield f"answer {model.answer} does not go with {len(model.start)} scores"
    if len(model.steps) > MAX_STEPS:
        yield f"expected at most {MAX_STEPS} steps, got {len(model.steps)}"
    yield from operations.faults(model.steps, model.features, MAX_FEATURES)
