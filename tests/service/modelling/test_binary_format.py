"""Portable models in format 2: valid files are read exactly, all others are refused without harm."""

from __future__ import annotations

import json
import math
import random
import struct
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactError
from app.modelling.portable import binary_format, operations
from app.modelling.portable import model as limits
from app.modelling.portable.binary_format import FORMAT, MAGIC
from app.modelling.portable.model import CATEGORY, LEAF, MAX_DEPTH, MISSING_RIGHT, Forest, Model, doubles
from app.modelling.portable.operations import Arithmetic
from app.modelling.portable.scorer import scorer
from tests.service.hostile_models import mutate_bytes, verdict
from tests.service.random_models import NODES, random_model

Header = dict[str, Any]
MUTATIONS = 1000
HEAD = struct.Struct("<8sII")


@pytest.fixture(params=["native", "python"])
def library(request: pytest.FixtureRequest) -> Path | None:
    """Return the library, or None for the scorer in Python."""
    found: Path | None = request.getfixturevalue("native_library") if request.param == "native" else None
    return found


def small(nodes: list[tuple[int, int, float]], leaves: list[float], *sizes: int) -> Model:
    """Return a model of two columns with these nodes in double precision, and two bitsets of a word."""
    forest = Forest(
        "double",
        sizes=memoryview(array("I", sizes or [len(nodes)])),
        outputs=memoryview(array("i", [0] * max(1, len(sizes)))),
        nodes=memoryview(bytearray().join(NODES["double"].pack(*node) for node in nodes)),
        leaves=doubles(leaves),
        bitsets=memoryview(array("Q", [5, 2])),
        words=1,
    )
    return Model(FORMAT, 2, (), (0.0,), None, forest, 1, "value")


def to_file(model: Model) -> bytearray:
    return binary_format.write(model)


def edit_header(model: Model, edit: Callable[[Header], object]) -> bytearray:
    """Return a model's file with another header."""
    content = to_file(model)
    _, length, _ = HEAD.unpack_from(content)
    header = json.loads(content[HEAD.size : HEAD.size + length])
    edit(header)
    text = json.dumps(header).encode()
    end = HEAD.size + length
    arrays = content[end + -end % 8 :]
    head = HEAD.pack(MAGIC, len(text), 0) + text
    return bytearray(head + bytes(-len(head) % 8) + arrays)


SPLIT, LEFT, RIGHT = (1, 1, 0.5), (LEAF, 0, 0.0), (LEAF, 1, 0.0)
GOOD = small([SPLIT, LEFT, RIGHT], [10.0, 20.0])
LINEAR = Model(FORMAT, 2, (), (0.5,), doubles([2.0, 3.0]), None, 1, "value")
CLIPPED = replace(LINEAR, steps=(Arithmetic("divide", (1,), (2.0,)),))


def test_a_file_is_read_back_to_the_last_bit() -> None:
    chance = random.Random(0)
    for _ in range(60):
        model = random_model(chance)
        assert to_file(binary_format.parse(to_file(model), "model.bin")) == to_file(model)


def test_a_file_is_written_as_the_page_says() -> None:
    content = to_file(GOOD)
    magic, length, zero = struct.unpack_from("<8sII", content)
    assert (magic, zero) == (b"PORTABL2", 0)
    assert json.loads(content[16 : 16 + length])["trees"] == {
        **{"trees": 1, "nodes": 3, "leaves": 2, "bitsets": 2, "words": 1},
        "precision": "double",
    }
    arrays = struct.pack("<I4xi4x", 3, 0) + struct.pack("<" + 3 * "IId", *SPLIT, *LEFT, *RIGHT)
    assert content[-len(arrays) - 32 :] == arrays + struct.pack("<ddQQ", 10.0, 20.0, 5, 2)


@pytest.mark.parametrize(
    ("kind", "threshold", "rows"),
    [
        (1, 0.5, {0.5: 10.0, 0.6: 20.0, math.nan: 10.0}),
        (1 | MISSING_RIGHT, 0.5, {0.5: 10.0, 0.6: 20.0, math.nan: 20.0}),
        (1 | CATEGORY, 0.0, {0.0: 10.0, 1.0: 20.0, 2.9: 10.0, -1.0: 10.0, 64.0: 10.0, math.nan: 10.0}),
        (1 | CATEGORY | MISSING_RIGHT, 1.0, {0.0: 20.0, 1.0: 10.0, -1.0: 20.0, 64.0: 20.0, math.inf: 20.0}),
    ],
)
def test_a_split_leads_where_the_page_says(
    library: Path | None, kind: int, threshold: float, rows: dict[float, float]
) -> None:
    model = small([(kind, 1, threshold), LEFT, RIGHT], [10.0, 20.0])
    found = scorer(model, library=library)
    assert found.scores([[0.0, value] for value in rows]) == list(rows.values())


def test_single_precision_rounds_the_value_before_it_is_compared(library: Path | None) -> None:
    nodes = bytearray().join(NODES["single"].pack(*node) for node in ((0, 1, 0.25), LEFT, RIGHT))
    assert GOOD.forest is not None
    model = replace(GOOD, forest=replace(GOOD.forest, precision="single", nodes=memoryview(nodes)))
    found = scorer(model, library=library)
    above = 0.25 + 2.0**-26
    assert found.scores([[0.25, 0.0], [math.nextafter(above, 1), 0.0], [above, 0.0]]) == [10.0, 20.0, 10.0]


REFUSED_HEADERS: list[tuple[Model, Callable[[Header], object], str]] = [
    (LINEAR, lambda h: h.update(format=3), "has format 3, this service reads 2"),
    (LINEAR, lambda h: h.update(code="print()"), "code: expected no such field"),
    (LINEAR, lambda h: h.pop("divisor"), "divisor: expected this field"),
    (LINEAR, lambda h: h.pop("steps"), "steps: expected a list"),
    (LINEAR, lambda h: h.update(steps=[1]), r"steps\[0\].operation: expected one of add, "),
    (LINEAR, lambda h: h.update(steps=[{"operation": "eval"}]), r"steps\[0\].operation: .* got 'eval'"),
    (LINEAR, lambda h: h.update(steps=[{"operation": "clip"}]), r"steps\[0\]: columns: expected this field"),
    (LINEAR, lambda h: h.update(features=0), "features: expected 1 to 100000, got 0"),
    (LINEAR, lambda h: h.update(features=1), "bytes, got"),
    (LINEAR, lambda h: h.update(features=3), r"expected \d+ bytes or more, got"),
    (LINEAR, lambda h: h.update(divisor=0), "divisor: expected 1 to"),
    (LINEAR, lambda h: h.update(start=[]), "scores: expected 1 to 100000, got 0"),
    (LINEAR, lambda h: h.update(answer="index"), "answer index does not go with 1 scores"),
    (LINEAR, lambda h: h.update(start=[math.inf]), "Infinity is no number"),
    (CLIPPED, lambda h: h["steps"][0].update(columns=[2]), r"steps\[0\]: expected columns below 2"),
    (CLIPPED, lambda h: h["steps"][0].update(columns=[0, 0]), r"steps\[0\]: expected distinct columns"),
    (CLIPPED, lambda h: h["steps"][0].update(columns=None), "divide takes 2 values, got 1"),
    (CLIPPED, lambda h: h["steps"][0].update(values=[0.0]), "divide takes no zero"),
    (GOOD, lambda h: h["trees"].update(trees=0), "trees.trees: expected 1 to 100000, got 0"),
    (GOOD, lambda h: h["trees"].update(trees=99), "bytes or more, got"),
    (GOOD, lambda h: h["trees"].update(nodes=5_000_001), "trees.nodes: expected 1 to 5000000"),
    (GOOD, lambda h: h["trees"].update(nodes=-1), "trees.nodes: expected 1 to 5000000, got -1"),
    (GOOD, lambda h: h["trees"].update(leaves=2**60), "trees.leaves: expected 1 to"),
    (GOOD, lambda h: h["trees"].update(words=2000), "trees.words: expected 0 to 1024, got 2000"),
    (GOOD, lambda h: h["trees"].update(words=0), "expected both bitsets and words, or none"),
    (GOOD, lambda h: h["trees"].update(precision="half"), "precision: expected one of single, double"),
    (GOOD, lambda h: h["trees"].update(precision="single"), "expected .*bytes"),
]


@pytest.mark.parametrize(
    ("model", "edit", "reason"), REFUSED_HEADERS, ids=[each[2] for each in REFUSED_HEADERS]
)
def test_a_header_that_makes_no_whole_model_is_refused(
    model: Model, edit: Callable[[Header], object], reason: str
) -> None:
    with pytest.raises(ArtifactError, match=f"model: model.bin.*{reason}.*; train again"):
        binary_format.parse(edit_header(model, edit), "model.bin")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "begins with PORTABL2"),
        (to_file(LINEAR)[:7], "begins with PORTABL2"),
        (b"PORTABL1" + to_file(LINEAR)[8:], "begins with PORTABL2"),
        (to_file(LINEAR)[:12] + b"\1" + to_file(LINEAR)[13:], "begins with PORTABL2"),
        (HEAD.pack(MAGIC, 2**31, 0) + bytes(100), "expected a header of at most 16777216 bytes, got 21474"),
        (HEAD.pack(MAGIC, 101, 0) + bytes(100), "expected a header of at most 16777216 bytes, got 101"),
        (HEAD.pack(MAGIC, 8, 0) + bytes(8), "is not JSON"),
        (HEAD.pack(MAGIC, 4, 0) + b"null" + bytes(4), "has format None"),
        (to_file(LINEAR) + bytes(8), r"expected \d+ bytes, got \d+"),
        (to_file(LINEAR)[:-8], r"expected \d+ bytes or more, got \d+"),
        (to_file(GOOD).replace(struct.pack("<I4x", 3), struct.pack("<II", 3, 1)), "expected zero bytes from"),
        (to_file(LINEAR)[:-8] + struct.pack("<d", math.inf), r"coefficients\[1\]: expected a finite number"),
    ],
)
def test_a_file_that_is_none_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ArtifactError, match=f"model: model.bin.*{reason}.*; train again"):
        binary_format.parse(bytearray(content), "model.bin")


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((operations.Select("select", ()),), "select takes one column or more"),
        ((operations.Select("select", (0,) * 100_001),), "rows of at most 100000 columns, got 100001"),
        ((operations.Select("select", (0, 2)),), "expected columns below 2"),
        ((operations.Clip("clip", None, 1.0, 0.0),), "a minimum that is not above the maximum"),
        ((operations.Impute("impute", None, (1.0,)),), "impute takes 2 values, got 1"),
        ((operations.Indicate("indicate", (-1,)),), "expected columns below 2"),
        ((operations.OneHot("one_hot", 2, (1.0,)),), "expected columns below 2"),
        ((operations.OneHot("one_hot", 0, (1.0, 1.0)),), "one_hot takes distinct codes"),
        ((operations.Ordinal("ordinal", 0, (2.0, 1.0), (1.0, 2.0), None, None),), "codes in ascending order"),
        ((operations.Ordinal("ordinal", 0, (1.0,), (), None, None),), "ordinal takes 1 values, got 0"),
        (
            (operations.Indicate("indicate", (0,)), operations.Indicate("indicate", (3,))),
            r"steps\[1\]: .* below 3",
        ),
        ((operations.Indicate("indicate", ()),) * 10_001, "expected at most 10000 steps, got 10001"),
    ],
)
def test_steps_that_no_row_can_go_through_are_refused(
    steps: tuple[operations.Step, ...], reason: str
) -> None:
    content = to_file(replace(LINEAR, steps=steps))
    with pytest.raises(ArtifactError, match=f"model: model.bin: .*{reason}; train again"):
        binary_format.parse(content, "model.bin")


def test_too_many_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_NUMBERS", 3)
    steps = (operations.Select("select", (0, 1)),) * 2
    with pytest.raises(ArtifactError, match="steps of at most 3 columns and numbers"):
        binary_format.parse(to_file(replace(LINEAR, steps=steps)), "model.bin")
    monkeypatch.setattr(limits, "MAX_NODES", 1)
    with pytest.raises(ArtifactError, match="expected at most 1 coefficients, got 2"):
        binary_format.parse(to_file(LINEAR), "model.bin")


REFUSED_TREES: list[tuple[Model, str]] = [
    (small([SPLIT, LEFT, RIGHT], [1.0, 2.0], 3, 0), r"sizes\[1\]: expected sizes of 1 and more"),
    (small([SPLIT, LEFT, RIGHT], [1.0, 2.0], 2), r"sizes\[0\]: .* add up to the number of nodes"),
    (small([SPLIT, LEFT, RIGHT], [1.0, 2.0], 4), r"sizes\[0\]: .* add up to the number of nodes"),
    (small([(2, 1, 0.5), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected a leaf, or a split"),
    (small([(1 | 1 << 26, 1, 0.5), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected a leaf, or a split"),
    (small([SPLIT, (LEAF | 1, 0, 0.0), RIGHT], [1.0, 2.0]), r"nodes\[1\]: expected a leaf, or a split"),
    (small([SPLIT, (LEAF, 0, 1.0), RIGHT], [1.0, 2.0]), r"nodes\[1\]: expected a leaf, or a split"),
    (small([SPLIT, (LEAF, 2, 0.0), RIGHT], [1.0, 2.0]), r"nodes\[1\]: expected the position of the leaf's"),
    (small([SPLIT, (LEAF, 2**32 - 1, 0.0), RIGHT], [1.0, 2.0]), r"nodes\[1\]: expected the position of"),
    (small([(1, 0, 0.5), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected the tree's nodes breadth first"),
    (small([(1, 2, 0.5), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected the tree's nodes breadth first"),
    (small([(1, 1, 0.5), LEFT], [1.0]), r"nodes\[0\]: expected the tree's nodes breadth first"),
    (small([LEFT, RIGHT], [1.0, 2.0]), r"nodes\[1\]: expected the tree's nodes breadth first"),
    (small([SPLIT, (0, 3, 1.0), RIGHT], [1.0, 2.0]), r"nodes\[1\]: expected the tree's nodes breadth first"),
    (small([(1, 1, math.inf), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected a finite threshold"),
    (small([(1, 1, math.nan), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected a finite threshold"),
    (small([(CATEGORY, 1, 2.0), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected a bitset's position"),
    (small([(CATEGORY, 1, -1.0), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected a bitset's position"),
    (small([(CATEGORY, 1, 0.5), LEFT, RIGHT], [1.0, 2.0]), r"nodes\[0\]: expected a bitset's position"),
    (small([SPLIT, LEFT, RIGHT], [1.0, math.nan]), r"leaves\[1\]: expected a finite number"),
    (small([SPLIT, LEFT, RIGHT], [-math.inf, 1.0]), r"leaves\[0\]: expected a finite number"),
]


@pytest.mark.parametrize(("model", "reason"), REFUSED_TREES, ids=[each[1] for each in REFUSED_TREES])
def test_trees_that_lead_nowhere_are_refused_before_a_row_is_scored(
    library: Path | None, model: Model, reason: str
) -> None:
    read = binary_format.parse(to_file(model), "model.bin")
    with pytest.raises(ArtifactError, match=f"model: model.bin: {reason}.*; train again"):
        scorer(read, "model.bin", library)


@pytest.mark.parametrize("output", [1, -2])
def test_a_tree_that_adds_to_no_score_is_refused(library: Path | None, output: int) -> None:
    assert GOOD.forest is not None
    model = replace(GOOD, forest=replace(GOOD.forest, outputs=memoryview(array("i", [output]))))
    with pytest.raises(ArtifactError, match=r"outputs\[0\]: expected a score's position, or -1; train again"):
        scorer(model, library=library)


def chain(levels: int) -> Model:
    """Return a model of one tree that grows to the left only."""
    nodes = bytearray()
    for level in range(levels):
        nodes += NODES["double"].pack(0, 2 * level + 1, float(levels - level))
        if level:
            nodes += NODES["double"].pack(LEAF, level - 1, 0.0)
    for leaf in (levels, levels - 1):
        nodes += NODES["double"].pack(LEAF, leaf, 0.0)
    forest = Forest(
        "double",
        sizes=memoryview(array("I", [2 * levels + 1])),
        outputs=memoryview(array("i", [0])),
        nodes=memoryview(nodes),
        leaves=doubles(map(float, range(levels + 1))),
    )
    return Model(FORMAT, 1, (), (0.0,), None, forest, 1, "value")


def test_a_tree_may_be_as_deep_as_is_said_and_no_deeper(library: Path | None) -> None:
    deepest = scorer(chain(MAX_DEPTH), library=library)
    assert deepest.scores([[0.5], [1.5], [1e9]]) == [MAX_DEPTH, MAX_DEPTH - 1, 0.0]
    with pytest.raises(ArtifactError, match=f"expected a tree of at most {MAX_DEPTH} levels"):
        scorer(chain(MAX_DEPTH + 1), library=library)


def test_a_mutated_file_is_refused_or_scored_by_both_scorers_alike(native_library: Path) -> None:
    chance = random.Random(0)
    outcomes = {"refused": 0, "scored": 0}
    for _ in range(MUTATIONS // 20):
        content = to_file(random_model(chance))
        for _ in range(20):
            changed = mutate_bytes(content, chance)
            found, expected = verdict(changed, native_library), verdict(changed, None)
            assert found == expected
            outcomes["refused" if found.startswith("model: ") else "scored"] += 1
    assert min(outcomes.values()) > MUTATIONS / 50, outcomes
