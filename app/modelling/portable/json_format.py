"""Format 1 of the portable model: what `model.json` may say, and what it means.

It is JSON in UTF-8. Numbers are decimal, with as many digits as it takes to read back the very double. A
model takes a row of `features` finite doubles and gives one number:

    {"format": 1, "features": 3,
     "steps": [{"operation": "subtract", "values": [14.1, 19.2, 0.4]},
               {"operation": "divide", "values": [3.5, 4.3, 0.3]},
               {"operation": "clip", "values": [-1e100, 1e100]}],
     "start": [-0.7], "coefficients": [[3.4, 1.0, 0.9]], "trees": [], "divisor": 1, "answer": "sigmoid"}

1. `steps`, in order, change the row: `add`, `subtract`, `multiply`, `divide` take a value for each feature,
   `clip` the smallest and the largest value that a feature may keep.
2. The scores begin as `start`. To each, its list in `coefficients` adds the products with the features, which
   are summed first, from the left. Or the `trees` add their leaves, one tree after the other.
3. The scores are divided by `divisor`.
4. `answer` makes one number of them. Of a single score: `value` is itself, `sigmoid` is 1/(1+exp(-score)),
   `complement` is 1 minus that. Of several scores: `index` is the number of the largest, from 0, and of the
   first when some are equal.

A tree's nodes stand in depth-first order, left before right. None refers to another, so there are no cycles:

    {"output": 0, "features": [2, -1, 0, -1, -1], "thresholds": [0.4, 13.1], "leaves": [0.1, 0.7, 0.9]}

`features` has one entry a node: the feature that is compared, or -1 for a leaf. A feature at most as large as
its threshold leads left. `leaves` has what is added to the score `output`; with `output` null, a leaf is as
many numbers as there are scores.

Comparing is done in doubles. Where scikit-learn rounds features to single precision first (forests, classic
boosting), the threshold here is the largest double that still led left.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Literal

from app.errors import ArtifactError
from app.modelling import strict_json
from app.modelling.portable import trees
from app.modelling.portable.model import ALL, Forest, Model, doubles
from app.modelling.portable.operations import Arithmetic, Clip
from app.modelling.portable.operations import Step as AnyStep

FORMAT = 1
MAX_NODES = 100_000  # of all trees, or coefficients: JSON takes a second to read more
MAX_DEPTH = 200  # of a tree
MAX_STEPS = 100

Operation = Literal["add", "subtract", "multiply", "divide", "clip"]
OldAnswer = Literal["value", "sigmoid", "complement", "index"]


@dataclass(frozen=True)
class Step:
    """One change of every feature."""

    operation: Operation
    values: tuple[float, ...]


@dataclass(frozen=True)
class Tree:
    """A binary tree in depth-first order."""

    output: int | None
    features: tuple[int, ...]
    thresholds: tuple[float, ...]
    leaves: tuple[float, ...]


@dataclass(frozen=True)
class Document:
    """A whole file; the module says what each part means."""

    format: int
    features: int
    steps: tuple[Step, ...]
    start: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]
    trees: tuple[Tree, ...]
    divisor: int
    answer: OldAnswer


def parse(content: bytes | bytearray, place: str) -> Model:
    """Return the model in a file of the name `place`. Raises ArtifactError unless all of it is right."""
    document = strict_json.parse(content, place)
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        known = f"this service reads {FORMAT} in JSON"
        raise ArtifactError(f"model: {place} has format {found!r:.80}, {known}; train again")
    checked = strict_json.read(Document, document, place)
    for wrong in _faults(checked):
        raise ArtifactError(f"model: {place}: {wrong}; train again")
    return _model(checked)


def write(model: Model) -> bytes | None:
    """Return a linear model as a file, or None when this format can't express it."""
    if model.answer == "softmax" or model.answer == "shares":
        return None
    steps = [_old_step(step) for step in model.steps]
    if model.coefficients is None or len(model.coefficients) > MAX_NODES or len(steps) > MAX_STEPS:
        return None
    known = tuple(step for step in steps if step is not None)
    if len(known) < len(steps) or sum(len(step.values) for step in known) > MAX_NODES:
        return None
    numbers = model.coefficients.tolist()
    rows = tuple(tuple(numbers[i : i + model.features]) for i in range(0, len(numbers), model.features))
    document = Document(FORMAT, model.features, known, model.start, rows, (), model.divisor, model.answer)
    return json.dumps(asdict(document), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _old_step(step: AnyStep) -> Step | None:
    if isinstance(step, Arithmetic) and step.columns is None:
        return Step(step.operation, step.values)
    if isinstance(step, Clip) and step.columns is None:
        return Step("clip", (step.minimum, step.maximum))
    return None


def _model(document: Document) -> Model:
    steps = tuple(
        Clip("clip", None, *step.values)
        if step.operation == "clip"
        else Arithmetic(step.operation, None, step.values)
        for step in document.steps
    )
    coefficients = doubles(chain.from_iterable(document.coefficients))
    return Model(
        format=FORMAT,
        features=document.features,
        steps=steps,
        start=document.start,
        coefficients=coefficients if document.coefficients else None,
        forest=_forest(document) if document.trees else None,
        divisor=document.divisor,
        answer=document.answer,
    )


def _forest(document: Document) -> Forest:
    """Return the trees breadth first, as the other format has them."""
    nodes, leaves = bytearray(), array("d")
    for tree in document.trees:
        width = len(document.start) if tree.output is None else 1
        trees.append_tree(nodes, tree.features, tree.thresholds, first_leaf=len(leaves), leaf_width=width)
        leaves.extend(tree.leaves)
    return Forest(
        "double",
        sizes=memoryview(array("I", [len(tree.features) for tree in document.trees])),
        outputs=memoryview(
            array("i", [ALL if tree.output is None else tree.output for tree in document.trees])
        ),
        nodes=memoryview(nodes),
        leaves=memoryview(leaves),
    )


def _faults(model: Document) -> Iterable[str]:
    """Yield what is wrong with the model, the first first: later checks rely on earlier ones."""
    values = sum(len(step.values) for step in model.steps)
    nodes = sum(map(len, model.coefficients)) + sum(len(tree.features) for tree in model.trees)
    sizes = {"nodes or coefficients": nodes, "values in steps": values}
    for name, size in sizes.items():
        if size > MAX_NODES:
            yield f"expected at most {MAX_NODES} {name}, got {size}"
    if len(model.steps) > MAX_STEPS:
        yield f"expected at most {MAX_STEPS} steps, got {len(model.steps)}"
    numbers = {"features": model.features, "scores": len(model.start), "divisor": model.divisor}
    for name, number in numbers.items():
        if not 1 <= number <= MAX_NODES:
            yield f"{name}: expected 1 to {MAX_NODES}, got {number}"
    if (len(model.start) > 1) != (model.answer == "index"):
        yield f"answer {model.answer} does not go with {len(model.start)} scores"
    for number, step in enumerate(model.steps):
        yield from (f"steps[{number}]: {wrong}" for wrong in _step_faults(step, model.features))
    if bool(model.coefficients) == bool(model.trees):
        yield "expected either coefficients or trees"
    if model.coefficients and [len(row) for row in model.coefficients] != [model.features] * len(model.start):
        yield f"coefficients: expected {len(model.start)} lists of {model.features}"
    for number, tree in enumerate(model.trees):
        yield from (f"trees[{number}]: {wrong}" for wrong in _tree_faults(tree, model))


def _step_faults(step: Step, features: int) -> Iterable[str]:
    expected = 2 if step.operation == "clip" else features
    if len(step.values) != expected:
        yield f"{step.operation} takes {expected} values, got {len(step.values)}"
    if step.operation == "clip" and list(step.values) != sorted(step.values):
        yield "clip takes the smaller value first"
    if step.operation == "divide" and 0 in step.values:
        yield "divide takes no zero"


def _tree_faults(tree: Tree, model: Document) -> Iterable[str]:
    outputs = len(model.start)
    if tree.output is not None and not 0 <= tree.output < outputs:
        yield f"expected an output below {outputs}, got {tree.output}"
    if not all(-1 <= feature < model.features for feature in tree.features):
        yield f"expected features below {model.features}"
    leaves = tree.features.count(-1)
    splits = len(tree.features) - leaves
    if len(tree.thresholds) != splits:
        yield f"expected {splits} thresholds, one a split, got {len(tree.thresholds)}"
    numbers = leaves * (outputs if tree.output is None else 1)
    if len(tree.leaves) != numbers:
        yield f"expected {numbers} numbers for {leaves} leaves, got {len(tree.leaves)}"
    yield from _shape_faults(tree.features)


def _shape_faults(features: Iterable[int]) -> Iterable[str]:
    """Walk the nodes; `open_` has the depth of each subtree that is still to come."""
    open_ = [0]
    for feature in features:
        if not open_:
            yield "nodes follow after the tree's last leaf"
        depth = open_.pop()
        if depth > MAX_DEPTH:
            yield f"deeper than {MAX_DEPTH}"
        if feature >= 0:
            open_ += [depth + 1, depth + 1]
    if open_:
        yield f"ends {len(open_)} subtrees too early"
