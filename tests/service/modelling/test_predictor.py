"""Predictions of one row and of many: which value or row is to blame when there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidInput, ModelError
from app.modelling import artifact
from app.modelling.artifact import Bins, Card, Feature
from app.modelling.columns import Column
from app.modelling.estimator import EstimatorPredictor
from app.modelling.portable.binary_format import FORMAT
from app.modelling.portable.model import Model, doubles
from app.modelling.portable_predictor import PortablePredictor
from app.modelling.predictor import Predictor

NUMBERS = tuple(Column(Feature(name, 0.0, 1.0, {}, Bins((), (1.0,)))) for name in "abc")
HUGE = 1.7e308
GOOD, BAD, ODD = [1.0, 2.0, 3.0], [1.0, HUGE, HUGE], [HUGE, -HUGE, 0.0]


class Summing:
    """An estimator of sums, which takes a given number of rows."""

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
def sum_predictor(card: Card, request: pytest.FixtureRequest) -> Predictor:
    """Return a predictor of a row's sum, in plain Python and in scikit-learn's manner."""
    if request.param == "estimator":
        return EstimatorPredictor(Summing(), card, NUMBERS)
    model = Model(FORMAT, 3, (), (0.0,), doubles([1.0] * 3), None, 1, "value")
    return PortablePredictor.of(card, NUMBERS, model, "model.bin")


def test_one_row_and_many_are_predicted_alike(sum_predictor: Predictor) -> None:
    assert sum_predictor.predict(GOOD) == 6.0
    assert sum_predictor.predict_all([GOOD, ODD, GOOD]) == [6.0, 0.0, 6.0]
    assert sum_predictor.predict_all([]) == []


def test_a_row_without_a_finite_result_is_refused_by_its_first_huge_value(sum_predictor: Predictor) -> None:
    with pytest.raises(
        InvalidInput,
        match=r"^features\[1\]: expected values that the model has a finite result for, got 1.7e\+",
    ):
        sum_predictor.predict(BAD)


def test_of_many_rows_the_first_without_a_finite_result_is_refused(sum_predictor: Predictor) -> None:
    with pytest.raises(
        InvalidInput, match=r"^instances\[2\]\[1\]: expected values that the model has a finite"
    ):
        sum_predictor.predict_all([GOOD, ODD, BAD, BAD])


def test_a_row_that_the_estimator_does_not_take_is_refused(card: Card) -> None:
    predictor = EstimatorPredictor(Summing(lambda x: bool((x == 3).any(axis=None))), card, NUMBERS)
    expected = r"expected values that the model can take, got \[1.0, 2.0, 3.0\]"
    with pytest.raises(InvalidInput, match=f"^features: {expected}"):
        predictor.predict(GOOD)
    with pytest.raises(InvalidInput, match=rf"^instances\[1\]: {expected}"):
        predictor.predict_all([ODD, GOOD])


def test_rows_that_the_estimator_takes_only_one_by_one_are_refused_together(card: Card) -> None:
    predictor = EstimatorPredictor(Summing(lambda x: len(x) > 1), card, NUMBERS)
    with pytest.raises(
        InvalidInput, match="instances: expected rows that the model can take together, got 2"
    ):
        predictor.predict_all([GOOD, GOOD])


@pytest.mark.parametrize("error", [TypeError, MemoryError])
def test_an_estimator_that_fails_otherwise_is_to_blame_itself(card: Card, error: type[Exception]) -> None:
    predictor = EstimatorPredictor(Summing(lambda x: True, error), card, NUMBERS)
    for predict in (lambda: predictor.predict(GOOD), lambda: predictor.predict_all([GOOD])):
        with pytest.raises(ModelError, match=f"the model failed: {error.__name__}: not these"):
            predict()


def test_results_are_plain_numbers_whatever_the_estimator_returns(card: Card) -> None:
    several = replace(card, classes=("a", "b", "c"))
    (found,) = EstimatorPredictor(Summing(), several, NUMBERS).predict_all([[0.0, 1.0, 1.0]])
    assert (found, type(found)) == (2, int)
    (found,) = EstimatorPredictor(Summing(), card, NUMBERS).predict_all([[0.0, 1.0, 1.0]])
    assert (found, type(found)) == (2.0, float)


@pytest.mark.parametrize(("features", "on_loop"), [(10, True), (100_000, False)])
def test_only_a_model_that_takes_microseconds_holds_up_the_event_loop(
    card: Card, features: int, on_loop: bool
) -> None:
    model = Model(FORMAT, features, (), (0.0,), doubles([1.0] * features), None, 1, "value")
    assert PortablePredictor.of(card, NUMBERS, model, "model.bin").on_loop == on_loop
