"""Predictions for rows of numbers: what every kind of model offers, and how it refuses a row."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Protocol

from app.errors import InvalidInput
from app.modelling.artifact import Card

LARGEST_SINGLE = 3.4028234663852886e38  # the largest finite number in single precision
FINITE_RESULT = "values that the model has a finite result for"

Result = int | float


class Predictor(Protocol):
    """A model that is known to work: `model_loader` has it predict its own card's medians."""

    @property
    def card(self) -> Card:
        """Return what the model is."""

    @property
    def on_loop(self) -> bool:
        """Return whether a prediction takes microseconds, so that it may hold up the event loop."""

    def predict(self, features: Sequence[float]) -> Result:
        """Return the value (regression), the positive class's probability or the class's index.

        `features` are finite and as many as the card's. Raises InvalidInput when the model cannot
        take one of them or has no finite result for them, ModelError when it fails otherwise.
        """

    def predict_all(self, rows: Sequence[Sequence[float]]) -> list[Result]:
        """Return what `predict` does, for each row; InvalidInput names the row as in `instances[3]`."""


def finite(results: list[Result], rows: Sequence[Sequence[float]]) -> list[Result]:
    """Return the rows' results, or raise InvalidInput for the first that is not finite."""
    if all(map(isfinite, results)):
        return results
    first = next(index for index, result in enumerate(results) if not isfinite(result))
    raise refusal(rows[first], FINITE_RESULT, f"instances[{first}]")


def refusal(features: Sequence[float], expected: str, name: str = "features") -> InvalidInput:
    """Blame the first value beyond single precision, in which trees work, else the whole row."""
    for index, value in enumerate(features):
        if abs(value) > LARGEST_SINGLE:
            return InvalidInput(f"{name}[{index}]", expected, repr(value))
    return InvalidInput(name, expected, repr(list(features))[:120])
