"""Portable models in JSON: valid files are read exactly, all others are refused without harm."""

from __future__ import annotations

import copy
import json
import math
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactError
from app.modelling import artifact
from app.modelling.model_loader import load
from app.modelling.portable import json_format
from app.modelling.portable.json_format import MAX_DEPTH, Document, Step, Tree
from app.modelling.portable.operations import Arithmetic, Clip, Indicate
from app.modelling.portable.operations import Step as AnyStep
from app.modelling.portable.scorer import scorer

Json = dict[str, Any]
MUTATIONS = 4000

LINEAR = Document(
    format=json_format.FORMAT,
    features=2,
    steps=(Step("subtract", (1.0, 2.0)), Step("divide", (3.0, 4.0)), Step("clip", (-5.0, 5.0))),
    start=(0.1,),
    coefficients=((0.2, -0.3),),
    trees=(),
    divisor=1,
    answer="sigmoid",
)
FOREST = Document(
    format=json_format.FORMAT,
    features=2,
    steps=(),
    start=(0.0, 0.0, 0.0),
    coefficients=(),
    trees=(
        Tree(None, (0, -1, 1, -1, -1), (0.5, 1.5), (1.0, 0.0, 0.0, 0.0, 0.25, 0.75, 0.5, 0.5, 0.0)),
        Tree(1, (-1,), (), (0.125,)),
    ),
    divisor=2,
    answer="index",
)
ROWS = [[0.0, 0.0], [0.5, 1.5], [0.75, 2.0], [-1e308, 1e308], [5e-324, -0.0]]
ODD_VALUES: list[Any] = [
    *(None, True, "", "1", [], {}, [[]], -1, 0, 1, 2, 3, 10**6, 10**400, -(2**60), 0.5, -0.0, 1e308, 5e-324),
    *(math.nan, math.inf, -math.inf, [0.5], [0, -1, -1], ["x"] * 3, {"operation": "clip"}),
]


def to_file(model: Document) -> bytes:
    return json.dumps(asdict(model)).encode()


def edit_file(model: Document, edit: Callable[[Json], object]) -> bytes:
    document = json.loads(to_file(model))
    edit(document)
    return json.dumps(document).encode()


def test_what_is_read_is_written_again_to_the_last_bit() -> None:
    content = json_format.write(json_format.parse(to_file(LINEAR), "model.json"))
    assert content is not None
    assert json.loads(content) == json.loads(to_file(LINEAR))


def test_trees_are_read_but_no_longer_written() -> None:
    assert json_format.write(json_format.parse(to_file(FOREST), "model.json")) is None


@pytest.mark.parametrize(
    "step",
    [Arithmetic("add", (1, 0), (1.0, 2.0)), Clip("clip", (0,), 0.0, 1.0), Indicate("indicate", None)],
    ids=lambda step: step.operation,
)
def test_a_step_that_json_does_not_know_is_not_written_in_it(step: AnyStep) -> None:
    model = json_format.parse(to_file(LINEAR), "model.json")
    assert json_format.write(replace(model, steps=(*model.steps, step))) is None


REFUSED: list[tuple[Document, Callable[[Json], object], str]] = [
    (LINEAR, lambda m: m.update(format=2), "has format 2, this service reads 1 in JSON"),
    (LINEAR, lambda m: m.pop("format"), "has format None"),
    (LINEAR, lambda m: m.update(code="print()"), "code: expected no such field"),
    (LINEAR, lambda m: m.pop("divisor"), "divisor: expected this field"),
    (LINEAR, lambda m: m.update(features=0), "features: expected 1 to 100000, got 0"),
    (LINEAR, lambda m: m.update(features=10**9), "features: expected 1 to 100000, got 1000000000"),
    (LINEAR, lambda m: m.update(features=2.0), "features: expected an integer, got 2.0"),
    (LINEAR, lambda m: m.update(features=3), "subtract takes 3 values, got 2"),
    (LINEAR, lambda m: m.update(divisor=0), "divisor: expected 1 to"),
    (LINEAR, lambda m: m.update(start=[]), "scores: expected 1 to 100000, got 0"),
    (LINEAR, lambda m: m.update(start=[0.0, 0.0]), "answer sigmoid does not go with 2 scores"),
    (LINEAR, lambda m: m.update(answer="index"), "answer index does not go with 1 scores"),
    (LINEAR, lambda m: m.update(answer="eval"), "answer: expected one of value, sigmoid, "),
    (LINEAR, lambda m: m.update(coefficients=[]), "either coefficients or trees"),
    (LINEAR, lambda m: m.update(trees=asdict(FOREST)["trees"]), "either coefficients or trees"),
    (LINEAR, lambda m: m.update(coefficients=[[1.0]]), "coefficients: expected 1 lists of 2"),
    (LINEAR, lambda m: m.update(coefficients=[[1.0, 2.0]] * 2), "coefficients: expected 1 lists of 2"),
    (LINEAR, lambda m: m.update(start=[math.inf]), "Infinity is no number"),
    (LINEAR, lambda m: m["steps"][0].update(operation="power"), r"steps\[0\].operation: expected one of add"),
    (LINEAR, lambda m: m["steps"][1].update(values=[1.0, 0.0]), r"steps\[1\]: divide takes no zero"),
    (LINEAR, lambda m: m["steps"][2].update(values=[5.0, -5.0]), "clip takes the smaller value first"),
    (LINEAR, lambda m: m["steps"][2].update(values=[5.0]), "clip takes 2 values, got 1"),
    (LINEAR, lambda m: m.update(steps=m["steps"][:1] * 101), "expected at most 100 steps, got 101"),
    (FOREST, lambda m: m["trees"][1].update(output=3), r"trees\[1\]: expected an output below 3, got 3"),
    (FOREST, lambda m: m["trees"][1].update(output=-1), "expected an output below 3, got -1"),
    (FOREST, lambda m: m["trees"][0]["features"].insert(0, 2), "expected features below 2"),
    (FOREST, lambda m: m["trees"][0]["features"].insert(0, -2), "expected features below 2"),
    (FOREST, lambda m: m["trees"][0]["thresholds"].pop(), "expected 2 thresholds, one a split, got 1"),
    (FOREST, lambda m: m["trees"][0]["leaves"].pop(), "expected 9 numbers for 3 leaves, got 8"),
    (FOREST, lambda m: m["trees"][1].update(leaves=[]), "expected 1 numbers for 1 leaves, got 0"),
    (FOREST, lambda m: m["trees"][0].update(features=[-1, 0, -1, 1, -1]), "nodes follow after the tree's"),
    (FOREST, lambda m: m["trees"][1].update(features=[0, 0, -1], thresholds=[1.0] * 2), "ends 2 subtrees"),
    (FOREST, lambda m: m["trees"][1].update(features=[], leaves=[]), "ends 1 subtrees too early"),
]


@pytest.mark.parametrize(("model", "edit", "reason"), REFUSED, ids=[reason for _, _, reason in REFUSED])
def test_a_file_that_makes_no_whole_model_is_refused(
    model: Document, edit: Callable[[Json], object], reason: str
) -> None:
    with pytest.raises(ArtifactError, match=f"model: model.json.*{reason}.*; train again"):
        json_format.parse(edit_file(model, edit), "model.json")


def test_a_number_that_no_double_holds_is_refused() -> None:
    content = to_file(LINEAR).replace(b"0.1", b"1e999")
    with pytest.raises(ArtifactError, match=r"start\[0\]: expected a finite number, got inf"):
        json_format.parse(content, "model.json")


@pytest.mark.parametrize(
    ("model", "limit", "reason"),
    [
        (FOREST, 5, "expected at most 5 nodes or coefficients, got 6"),
        (LINEAR, 1, "expected at most 1 nodes or coefficients, got 2"),
        (LINEAR, 5, "expected at most 5 values in steps, got 6"),
    ],
)
def test_a_model_that_is_too_large_is_refused(
    model: Document, limit: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_format, "MAX_NODES", limit)
    with pytest.raises(ArtifactError, match=f"{reason}; train again"):
        json_format.parse(to_file(model), "model.json")


def chain(depth: int) -> Document:
    """Return a model of one tree that grows to the left only."""
    thresholds = tuple(float(depth - level) for level in range(depth))
    tree = Tree(0, (0,) * depth + (-1,) * (depth + 1), thresholds, tuple(map(float, range(depth + 1))))
    return Document(json_format.FORMAT, 1, (), (0.0,), (), (tree,), 1, "value")


def test_a_tree_may_be_as_deep_as_is_said_and_no_deeper() -> None:
    deepest = json_format.parse(to_file(chain(MAX_DEPTH)), "model.json")
    assert scorer(deepest).one([1.5]) == 1.0
    with pytest.raises(ArtifactError, match=f"deeper than {MAX_DEPTH}"):
        json_format.parse(to_file(chain(MAX_DEPTH + 1)), "model.json")


def test_as_many_steps_as_there_may_be_are_taken() -> None:
    content = edit_file(LINEAR, lambda m: m.update(steps=m["steps"][:2] * 50))
    assert math.isfinite(scorer(json_format.parse(content, "model.json")).one([0.5, 1.5]))


@pytest.mark.parametrize("model", [LINEAR, FOREST], ids=["linear", "forest"])
def test_a_mutated_file_is_refused_or_is_a_model_that_never_raises(model: Document) -> None:
    chance = random.Random(0)
    original = to_file(model)
    outcomes = {"refused": 0, "read": 0}
    for _ in range(MUTATIONS):
        content = mutate_bytes(original, chance)
        try:
            found = json_format.parse(content, "model.json")
        except ArtifactError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        prepared, rows = scorer(found), [(row * found.features)[: found.features] for row in ROWS]
        results = prepared.all(rows)
        assert all(isinstance(result, int | float) for result in results)
        assert list(map(repr, results)) == [repr(prepared.one(row)) for row in rows]
    assert min(outcomes.values()) > MUTATIONS / 50, outcomes


def mutate_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return a file's content with some bytes, or a value somewhere in it, changed."""
    if chance.random() < 0.5:
        changed = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            start = chance.randrange(len(changed))
            end = start + chance.choice((0, 1, 1, 1, 8, 64))
            changed[start:end] = chance.choice(
                (b"", b"0", b"9", b"-", b"e9", b",", b"]", bytes([chance.randrange(256)]))
            )
        return bytes(changed)
    document = json.loads(content)
    for _ in range(chance.randint(1, 2)):
        mutate(document, chance)
    return json.dumps(document).encode()


def mutate(node: Any, chance: random.Random) -> None:
    """Change a value somewhere below a list or an object."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = chance.choice(keys)
    if isinstance(node[key], dict | list) and chance.random() < 0.8:
        mutate(node[key], chance)
    elif isinstance(node, list) and chance.random() < 0.3:
        chance.choice((lambda: node.pop(key), lambda: node.insert(key, node[key]), node.reverse))()
    elif isinstance(node, dict) and chance.random() < 0.1:
        del node[key]
    else:
        node[key] = copy.deepcopy(chance.choice(ODD_VALUES))


def test_a_folder_with_a_mutated_card_is_refused_or_predicts_as_before(
    model_dir: Path, tmp_path: Path
) -> None:
    rows = [[12.0, 15.0, 0.3], [20.0, 25.0, 1.0], [1e300, -1e300, 0.0]]
    expected = pytest.approx(load(model_dir).predict_all(rows), rel=0, abs=1e-12)
    card = Path(shutil.copytree(model_dir, tmp_path / "model")) / artifact.CARD_FILE
    original, chance, refused = card.read_bytes(), random.Random(1), 0
    for _ in range(MUTATIONS // 20):
        card.write_bytes(mutate_bytes(original, chance))
        try:
            predictor = load(card.parent)
        except ArtifactError:
            refused += 1
        else:
            assert predictor.predict_all(rows) == expected
    assert refused > MUTATIONS / 40
