"""Interface of every kind of model: predictions for encoded rows (columns.py), and refusals of a row."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal, Protocol

from app.errors import InvalidInput
from app.modelling.artifact import Card
from app.modelling.columns import Column, Row

LARGEST_SINGLE = 3.4028234663852886e38  # the largest finite number in single precision
FINITE_RESULT = "values that the model has a finite result for"

Result = int | float
ScorerKind = Literal["native", "python", "scikit-learn"]


class Predictor(Protocol):
    """A model that is known to work: `model_loader` has it predict its own card's medians."""

    @property
    def card(self) -> Card:
        """Return what the model is."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return what a client may send for each feature, and how it is encoded."""

    @property
    def scorer(self) -> ScorerKind:
        """Return what computes predictions: the native library, plain Python, or scikit-learn."""

    @property
    def on_loop(self) -> bool:
        """Return whether a prediction takes microseconds, so that it may hold up the event loop."""

    def predict(self, features: Row) -> Result:
        """Return the value (regression), the positive class's probability or the class's index.

        `features` are encoded by `columns` and as many. Raises InvalidInput when the model cannot
        take one of them or has no finite result for them, ModelError when it fails otherwise.
        """

    def predict_all(self, rows: Sequence[Row]) -> list[Result]:
        """Return what `predict` does, for each row; InvalidInput names the row as in `instances[3]`."""

    def probabilities(self, rows: Sequence[Row]) -> list[tuple[float, ...]] | None:
        """Return for each row the probability of each of several classes, in the card's order.

        `predict_all` has taken the rows. None if the model knows no probabilities.
        """


def label(card: Card, result: Result) -> str:
    """Return the name of the class that a result stands for: of two, the likelier one."""
    if card.positive is None:
        return card.classes[int(result)]
    first, second = card.classes
    other = second if card.positive == first else first
    return card.positive if result >= 0.5 else other


def details(card: Card, result: Result, shares: Sequence[float] | None = None) -> dict[str, Any]:
    """Return what a result means in the names of classes; nothing for a regression.

    `shares` are the probabilities of more than two classes, if they are known.
    """
    if not card.classes:
        return {}
    named: dict[str, Any] = {"label": label(card, result)}
    if card.positive is not None:
        named["probabilities"] = {
            name: result if name == card.positive else 1.0 - result for name in card.classes
        }
    elif shares is not None:
        named["probabilities"] = dict(zip(card.classes, shares, strict=True))
    return named


def finite(results: list[Result], rows: Sequence[Row]) -> list[Result]:
    """Return the rows' results, or raise InvalidInput for the first that is not finite."""
    if all(map(isfinite, results)):
        return results
    first = next(index for index, result in enumerate(results) if not isfinite(result))
    raise refusal(rows[first], FINITE_RESULT, f"instances[{first}]")


def refusal(features: Row, expected: str, name: str = "features") -> InvalidInput:
    """Blame the first value beyond single precision, in which trees work, else the whole row."""
    for index, value in enumerate(features):
        if isinstance(value, float) and abs(value) > LARGEST_SINGLE:
            return InvalidInput(f"{name}[{index}]", expected, repr(value))
    return InvalidInput(name, expected, repr(list(features))[:120])
