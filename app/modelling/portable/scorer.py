"""Scorer of portable models: native if its library is there, else in Python, with the very same results.

Sums run from the left, one by one, as scikit-learn's do: from Python 3.12 on, `sum()` gives something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, fsum, isfinite, log2, nan
from pathlib import Path
from typing import Any, Literal

from app.modelling.portable import native, python_scorer, unrolled
from app.modelling.portable.model import Answer, Model, Row, Scores

LARGEST_EXPONENT = 709.0  # of e, below the first double
UNROLLED_PRODUCTS = 16  # below, Python is done before a row is handed over to the library
# Nanoseconds that a comparison or a product takes.
COST = {"native": 5, "python": 150}

Kind = Literal["native", "python"]


@dataclass(frozen=True)
class Scorer:
    """A model made ready. It never raises on rows of doubles; results may be infinite or a NaN."""

    kind: Kind
    row_scores: Callable[[Row], Scores]
    scores: Callable[[Iterable[Row]], list[Scores]]
    answer: Callable[[Any], int | float]
    shares: Callable[[Any], tuple[float, ...]] | None  # probabilities of several classes
    microseconds: float  # that a row takes, roughly

    def one(self, row: Row) -> int | float:
        """Return what is served for a row: a value, a probability, or the index of a class."""
        return self.answer(self.row_scores(row))

    def all(self, rows: Iterable[Row]) -> list[int | float]:
        """Return what is served for each of the rows."""
        return list(map(self.answer, self.scores(rows)))

    def probabilities(self, rows: Iterable[Row]) -> list[tuple[float, ...]] | None:
        """Return each class's probability for rows with finite scores; None if no scores stand for any."""
        return list(map(self.shares, self.scores(rows))) if self.shares else None


def scorer(model: Model, place: str = "model", library: Path | None = native.LIBRARY) -> Scorer:
    """Return a model, read from a file of the name `place`, ready to score.

    Without a library it is scored in Python. Raises ArtifactError for trees that aren't right.
    """
    answer, shares = ANSWERS[model.answer], SHARES.get(model.answer)
    is_small = unrolled.is_possible(model) and model.nodes <= UNROLLED_PRODUCTS
    found = native.native_scorer(model, place, library) if library else None
    if found is None:
        checked = python_scorer.python_scorer(model, place)
        return Scorer("python", checked.one, checked.many, answer, shares, _microseconds(model, "python"))
    row_scores = unrolled.row_scores(model) if is_small else found.one
    return Scorer("native", row_scores, found.many, answer, shares, _microseconds(model, "native"))


def _microseconds(model: Model, kind: Kind) -> float:
    """Return roughly how long a row takes: by products, or by the levels of trees of usual shapes."""
    operations = float(sum(model.widths[1:]))
    if model.forest:
        operations += sum(1 + 1.5 * log2(size) for size in model.forest.sizes)
    return (operations + len(model.coefficients or ())) * COST[kind] / 1000


def _value(score: float) -> float:
    return score


def _sigmoid(score: float) -> float:
    return 1.0 / (1.0 + exp(-score)) if score > -LARGEST_EXPONENT else exp(score)


def _complement(score: float) -> float:
    return 1.0 - _sigmoid(score)


def _index(scores: tuple[float, ...]) -> int | float:
    return scores.index(max(scores)) if all(map(isfinite, scores)) else nan


def _softmax(scores: tuple[float, ...]) -> tuple[float, ...]:
    largest = max(scores)
    powers = [exp(score - largest) for score in scores]
    total = fsum(powers)
    return tuple(power / total for power in powers)


ANSWERS: dict[Answer, Callable[[Any], int | float]] = {
    "value": _value,
    "sigmoid": _sigmoid,
    "complement": _complement,
    "index": _index,
    "softmax": _index,
    "shares": _index,
}
SHARES: dict[Answer, Callable[[Any], tuple[float, ...]]] = {"softmax": _softmax, "shares": tuple}
