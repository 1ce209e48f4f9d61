"""Python scorer: used without the native library, and the reference that the library is compared with."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.errors import ArtifactError
from app.modelling.portable import operations, trees, unrolled
from app.modelling.portable.model import Forest, Model, Row, Scores


@dataclass(frozen=True)
class PythonScorer:
    """A checked model."""

    one: Callable[[Row], Scores]

    def many(self, rows: Iterable[Row]) -> list[Scores]:
        """Return each row's scores."""
        return list(map(self.one, rows))


def python_scorer(model: Model, place: str) -> PythonScorer:
    """Return the model's scorer. Raises ArtifactError for trees that aren't right."""
    if model.forest is None:
        linear = unrolled.row_scores if unrolled.is_possible(model) else _linear
        return PythonScorer(linear(model))
    for fault in trees.faults(model.forest, model.widths[-1], len(model.start)):
        raise ArtifactError(f"model: {place}: {fault}; train again")
    return PythonScorer(_trees(model, model.forest))


def _linear(model: Model) -> Callable[[Row], Scores]:
    weights, width = (model.coefficients or memoryview(array("d"))).tolist(), model.widths[-1]
    rows = [weights[first : first + width] for first in range(0, len(weights), width)]

    def scores(row: Row) -> Scores:
        prepared = operations.prepare(model.steps, row)
        found = [start + _product(prepared, row) for start, row in zip(model.start, rows, strict=True)]
        return _divide(found, model.divisor)

    return scores


def _product(row: Row, weights: Row) -> float:
    total = row[0] * weights[0]
    for value, weight in zip(row[1:], weights[1:], strict=True):
        total += value * weight
    return total


def _trees(model: Model, forest: Forest) -> Callable[[Row], Scores]:
    roots, outputs = list(forest.roots()), forest.outputs.tolist()
    precision = "f" if forest.precision == "single" else "d"

    def scores(row: Row) -> Scores:
        prepared = array(precision, operations.prepare(model.steps, row)).tolist()
        found = list(model.start)
        for root, output in zip(roots, outputs, strict=True):
            leaf = trees.reach(forest, root, prepared)
            if output >= 0:
                found[output] += forest.leaves[leaf]
            else:
                for index in range(len(found)):
                    found[index] += forest.leaves[leaf + index]
        return _divide(found, model.divisor)

    return scores


def _divide(scores: list[float], divisor: int) -> Scores:
    divided = [score / divisor for score in scores]
    return divided[0] if len(divided) == 1 else tuple(divided)
