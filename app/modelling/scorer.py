"""Score rows with a portable model, in plain Python.

Sums run from the left, one by one, as scikit-learn's do: from Python 3.12 on, `sum()` gives something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, isfinite, nan
from typing import Any

from app.modelling import model_compiler
from app.modelling.model_compiler import Part, Row, Scores
from app.modelling.portable_model import Answer, Model

LARGEST_EXPONENT = 709.0  # of e, below the first double


@dataclass(frozen=True)
class Scorer:
    """A model made ready. It never raises on rows of finite doubles; results may be infinite or a NaN."""

    start: Scores
    prepare: Callable[[Row], Row] | None
    parts: tuple[Part, ...]
    answer: Callable[[Any], int | float]

    def one(self, row: Row) -> int | float:
        """Return what is served for a row: a value, a probability, or the index of a class."""
        if self.prepare:
            row = self.prepare(row)
        scores = self.start
        for part in self.parts:
            scores = part(scores, row)
        return self.answer(scores)

    def all(self, rows: Iterable[Row]) -> list[int | float]:
        """Return what is served for each of the rows."""
        return list(map(self.answer, self.scores(rows)))

    def scores(self, rows: Iterable[Row]) -> list[Scores]:
        """Return each row's scores: a double, or a tuple of them when there are several."""
        prepared = list(map(self.prepare, rows) if self.prepare else rows)
        scores = [self.start] * len(prepared)
        for part in self.parts:  # one part's code after the other stays in the processor's cache
            scores = list(map(part, scores, prepared))
        return scores


def scorer(model: Model) -> Scorer:
    """Return a model that was checked (`portable_model.parse`), ready to score."""
    start = model.start[0] if len(model.start) == 1 else model.start
    return Scorer(
        start, model_compiler.preparation(model), tuple(model_compiler.parts(model)), ANSWERS[model.answer]
    )


def _value(score: float) -> float:
    return score


def _sigmoid(score: float) -> float:
    return 1.0 / (1.0 + exp(-score)) if score > -LARGEST_EXPONENT else exp(score)


def _complement(score: float) -> float:
    return 1.0 - _sigmoid(score)


def _index(scores: tuple[float, ...]) -> int | float:
    return scores.index(max(scores)) if all(map(isfinite, scores)) else nan


ANSWERS: dict[Answer, Callable[[Any], int | float]] = {
    "value": _value,
    "sigmoid": _sigmoid,
    "complement": _complement,
    "index": _index,
}
