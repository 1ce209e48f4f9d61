"""Predictions of a portable model: exactly those that the format's specification gives."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from app.modelling.portable import json_format, unrolled
from app.modelling.portable.json_format import FORMAT, Document, Step, Tree
from app.modelling.portable.model import Answer, Model
from app.modelling.portable.scorer import Scorer
from app.modelling.portable.scorer import scorer as any_scorer

Make = Callable[[Model], Scorer]
LARGEST, SMALLEST = 1.7976931348623157e308, 5e-324
EXTREMES = [0.0, -0.0, 1.0, -1.0, SMALLEST, -SMALLEST, LARGEST, -LARGEST, 1e300, -1e-300]


@pytest.fixture(params=["native", "python"])
def scorer(request: pytest.FixtureRequest) -> Make:
    """Return the function that makes a model ready for the library, and for Python."""
    found = request.getfixturevalue("native_library") if request.param == "native" else None
    return lambda model: any_scorer(model, library=found)


def read(*parts: Any) -> Model:
    """Return the model of a document in JSON."""
    return json_format.parse(json.dumps(asdict(Document(*parts))).encode(), "model.json")


def linear(answer: Answer, *steps: Step, start: float = 0.5) -> Model:
    return read(FORMAT, 2, steps, (start,), ((2.0, -3.0),), (), 1, answer)


def test_trees_add_the_leaf_that_a_row_reaches(scorer: Make) -> None:
    split = Tree(None, (0, -1, 1, -1, -1), (0.5, 1.5), (1.0, 0.0, 0.0, 0.0, 0.25, 0.75, 0.5, 0.5, 0.0))
    both = (split, Tree(1, (1, 0, -1, -1, -1), (0.0, -1.0), (2.0, 4.0, 8.0)))
    found = scorer(read(FORMAT, 2, (), (1.0, 2.0, 3.0), (), both, 2, "index"))
    assert found.scores([[0.5, 0.1], [0.6, 1.5], [-1.0, -1.0], [0.6, 1.6]]) == [
        (1.0, 5.0, 1.5),
        (0.5, 5.125, 1.875),
        (1.0, 2.0, 1.5),
        (0.75, 5.25, 1.5),
    ]


def test_steps_come_before_the_coefficients_and_the_start_is_added_last(scorer: Make) -> None:
    steps = (Step("add", (1.0, 2.0)), Step("multiply", (3.0, 4.0)), Step("subtract", (5.0, 6.0)))
    first, second = (0.1 + 1.0) * 3.0 - 5.0, (0.2 + 2.0) * 4.0 - 6.0
    assert scorer(linear("value", *steps)).one([0.1, 0.2]) == (first * 2.0 + second * -3.0) + 0.5


def test_steps_come_before_trees(scorer: Make) -> None:
    tree = Tree(0, (1, -1, -1), (0.5,), (10.0, 20.0))
    model = read(FORMAT, 2, (Step("divide", (1.0, 4.0)),), (0.0,), (), (tree,), 1, "value")
    assert scorer(model).all([[9.0, 2.0], [9.0, 2.1]]) == [10.0, 20.0]


@pytest.mark.parametrize(("value", "kept"), [(-9.0, -1.0), (0.5, 0.5), (9.0, 1.0), (LARGEST, 1.0)])
def test_clip_keeps_values_between_its_ends(scorer: Make, value: float, kept: float) -> None:
    assert scorer(linear("value", Step("clip", (-1.0, 1.0)), start=0.0)).one([value, 0.0]) == kept * 2.0


@pytest.mark.parametrize(
    ("score", "probability"),
    [(0.0, 0.5), (-LARGEST, 0.0), (-750.0, 0.0), (-709.5, math.exp(-709.5)), (750.0, 1.0), (LARGEST, 1.0)],
)
def test_a_sigmoid_and_its_complement_are_probabilities_for_every_score(
    scorer: Make, score: float, probability: float
) -> None:
    for answer, expected in (("sigmoid", probability), ("complement", 1.0 - probability)):
        model = read(FORMAT, 1, (), (score,), ((0.0,),), (), 1, answer)
        assert scorer(model).one([0.0]) == pytest.approx(expected, rel=1e-15, abs=0)


def test_of_equal_scores_the_first_is_the_largest(scorer: Make) -> None:
    model = read(FORMAT, 1, (), (0.0, 1.0, 1.0), ((1.0,), (0.0,), (0.0,)), (), 1, "index")
    found = scorer(model)
    assert found.all([[0.0], [1.0], [2.0]]) == [1, 0, 0]
    assert found.scores([[0.5]]) == [(0.5, 1.0, 1.0)]


def test_of_several_scores_probabilities_are_their_softmax_or_the_scores_or_not_known() -> None:
    scores, width = (0.25, 1000.0, 999.0), ((0.0,),) * 3
    known = replace(read(FORMAT, 1, (), scores, width, (), 1, "index"), format=2)
    assert any_scorer(known).probabilities([[0.0]]) is None
    assert any_scorer(replace(known, answer="shares")).probabilities([[0.0]] * 2) == [scores] * 2
    found = any_scorer(replace(known, answer="softmax")).probabilities([[0.0]])
    assert found
    assert found[0] == pytest.approx((0.0, 1 / (1 + math.exp(-1)), 1 / (1 + math.e)), rel=1e-15)


@pytest.mark.parametrize("answer", ["value", "sigmoid", "complement"])
def test_nothing_raises_on_finite_features(scorer: Make, answer: Answer) -> None:
    for steps in ((), (Step("subtract", (LARGEST, 1.0)), Step("divide", (SMALLEST, -SMALLEST)))):
        found = scorer(linear(answer, *steps))
        rows = [[one, other] for one in EXTREMES for other in EXTREMES]
        assert list(map(repr, found.all(rows))) == [repr(found.one(row)) for row in rows]


def test_no_class_is_the_likeliest_when_scores_are_not_finite(scorer: Make) -> None:
    model = read(FORMAT, 1, (), (0.0, 0.0), ((LARGEST,), (-LARGEST,)), (), 1, "index")
    assert scorer(model).one([1.0]) == 0
    assert math.isnan(scorer(model).one([10.0]))


def test_no_rows_give_no_predictions(scorer: Make) -> None:
    assert scorer(linear("value")).all([]) == []


@pytest.mark.parametrize("features", [3, 40])
def test_a_model_of_a_few_features_is_unrolled_and_a_larger_one_looped_over_alike(
    scorer: Make, features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(features)
    weights = tuple(tuple(chance.gauss(0, 1) for _ in range(features)) for _ in range(2))
    steps = (Step("divide", tuple(chance.uniform(1, 2) for _ in range(features))), Step("clip", (-1.0, 1.0)))
    model = read(FORMAT, features, steps, (0.1, 0.2), weights, (), 3, "index")
    rows = [[chance.gauss(0, 2) for _ in range(features)] for _ in range(50)]
    small = scorer(model)
    monkeypatch.setattr(unrolled, "MAX_PRODUCTS", 0)
    looped = scorer(model)
    assert list(map(small.row_scores, rows)) == list(map(looped.row_scores, rows)) == looped.scores(rows)


def test_what_a_row_takes_grows_with_the_model_and_is_less_with_the_library(native_library: Path) -> None:
    wide, narrow = (
        read(FORMAT, width, (), (0.0,), ((1.0,) * width,), (), 1, "value") for width in (10_000, 10)
    )
    in_python = any_scorer(wide, library=None).microseconds
    assert in_python > any_scorer(narrow, library=None).microseconds
    assert in_python > any_scorer(wide, library=native_library).microseconds > 0
