"""Predictions of one row and of many: which value or row is to blame when there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidInput, ModelError
from app.modelling import artifact
from app.modelling.artifact import Card
from app.modelling.estimator import EstimatorPredictor
from app.modelling.portable_model import FORMAT, Model
from app.modelling.portable_predictor import PortablePredictor
from app.modelling.predictor import Predictor
from app.modelling.scorer import scorer

HUGE = 1.7e308
GOOD, BAD, ODD = [1.0, 2.0, 3.0], [1.0, HUGE, HUGE], [HUGE, -HUGE, 0.0]


class Summing:
    """An estimator of sums, which takes as many rows as it is told to."""

    def __init__(
        self, refuses: Callable[[Any], bool] = lambda x: False, error: type[Exception] = ValueError
    ) -> None:
        self.refuses, self.error = refuses, error

    def fit(self, x: object, y: object, /) -> None:
        raise NotImplementedError

    def predict(self, x: Any, /) -> Any:
        if self.refuses(x):
            raise self.error("not these")
        return x.sum(axis=1)

    def predict_proba(self, x: Any, /) -> Any:
        raise NotImplementedError


@pytest.fixture
def card(model_dir: Path) -> Card:
    """Return the card of a regression with three features."""
    return replace(artifact.load_card(model_dir), classes=(), positive=None)


@pytest.fixture(params=["portable", "estimator"])
def summing(card: Card, request: pytest.FixtureRequest) -> Predictor:
    """Return a predictor of a row's sum, in plain Python and in scikit-learn's manner."""
    if request.param == "estimator":
        return EstimatorPredictor(Summing(), card)
    model = Model(FORMAT, 3, (), (0.0,), ((1.0,) * 3,), (), 1, "value")
    return PortablePredictor(card, scorer(model))


def test_one_row_and_many_are_predicted_alike(summing: Predictor) -> None:
    assert summing.predict(GOOD) == 6.0
    assert summing.predict_all([GOOD, ODD, GOOD]) == [6.0, 0.0, 6.0]
    assert summing.predict_all([]) == []


def test_a_row_without_a_finite_result_is_refused_by_its_first_huge_value(summing: Predictor) -> None:
    with pytest.raises(
        InvalidInput,
        match=r"^features\[1\]: expected values that the model has a finite result for, got 1.7e\+",
    ):
        summing.predict(BAD)


def test_of_many_rows_the_first_without_a_finite_result_is_refused(summing: Predictor) -> None:
    with pytest.raises(
        InvalidInput, match=r"^instances\[2\]\[1\]: expected values that the model has a finite"
    ):
        summing.predict_all([GOOD, ODD, BAD, BAD])


def test_a_row_that_the_estimator_does_not_take_is_refused(card: Card) -> None:
    predictor = EstimatorPredictor(Summing(lambda x: bool((x == 3).any())), card)
    expected = r"expected values that the model can take, got \[1.0, 2.0, 3.0\]"
    with pytest.raises(InvalidInput, match=f"^features: {expected}"):
        predictor.predict(GOOD)
    with pytest.raises(InvalidInput, match=rf"^instances\[1\]: {expected}"):
        predictor.predict_all([ODD, GOOD])


def test_rows_that_the_estimator_takes_only_one_by_one_are_refused_together(card: Card) -> None:
    predictor = EstimatorPredictor(Summing(lambda x: len(x) > 1), card)
    with pytest.raises(
        InvalidInput, match="instances: expected rows that the model can take together, got 2"
    ):
        predictor.predict_all([GOOD, GOOD])


@pytest.mark.parametrize("error", [TypeError, MemoryError])
def test_an_estimator_that_fails_otherwise_is_to_blame_itself(card: Card, error: type[Exception]) -> None:
    predictor = EstimatorPredictor(Summing(lambda x: True, error), card)
    for ask in (lambda: predictor.predict(GOOD), lambda: predictor.predict_all([GOOD])):
        with pytest.raises(ModelError, match=f"the model failed: {error.__name__}: not these"):
            ask()


def test_results_are_plain_numbers_whatever_the_estimator_returns(card: Card) -> None:
    several = replace(card, classes=("a", "b", "c"))
    (found,) = EstimatorPredictor(Summing(), several).predict_all([[0.0, 1.0, 1.0]])
    assert (found, type(found)) == (2, int)
    (found,) = EstimatorPredictor(Summing(), card).predict_all([[0.0, 1.0, 1.0]])
    assert (found, type(found)) == (2.0, float)
