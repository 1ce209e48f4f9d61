"""Hold a portable model to the estimator that it was made of, before it may replace it.

Trees must give the same scores bit for bit; what else is computed may differ by TOLERANCE, as scikit-learn
itself does between a row and a batch. Compared are

- the rows trained on;
- RANDOM_ROWS rows, half of them even over one and a half times the features' ranges (over all categories, and
  unknown ones where the model takes them), half with each feature's value from some row trained on; where the
  model takes a missing value, a tenth lacks it;
- for trees, rows that reach a split with its feature at the threshold and at the doubles beside it. They are
  given to a pipeline's last step by itself, as there are doubles that no scaler gives.

A large model is kept in bounds: portable.MAX_NODES limits what a row costs, MAX_SPLITS the rows at splits,
which are chosen evenly of all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from math import ceil, inf, nextafter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from app.errors import NotPortable
from app.modelling.columns import UNKNOWN, Column
from app.modelling.data_frame import to_frame
from app.modelling.portable_model import Model, Tree
from app.modelling.scorer import Scorer, scorer
from training.export import split

RANDOM_ROWS = 100_000
MISSING = 0.1  # share of the evenly drawn values that are taken away where the model takes that
MAX_SPLITS = 20_000
TOLERANCE = 1e-12  # times the reference, or 1 when that is smaller
CELLS = 1_000_000  # of rows that are compared together: bounds the memory

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """An estimator, and what is meant to predict the same."""

    estimator: Any
    scorer: Scorer
    positive: int | None
    columns: Sequence[Column] | None  # None when the estimator takes arrays
    exact: bool

    @classmethod
    def of(cls, model: Model, estimator: Any, positive: int | None, columns: Sequence[Column] | None) -> Pair:
        """Make the model ready."""
        return cls(estimator, scorer(model), positive, columns, exact=bool(model.trees))

    def compare(self, rows: Rows, place: str) -> None:
        """Raise NotPortable unless both predict the same for each of the rows."""
        found = self.scorer.scores(rows.tolist())
        scores, served = self._expected(rows)
        differing = _differing(np.array(found), scores, exact=self.exact)
        answers = np.array(list(map(self.scorer.answer, found)))
        differing |= _differing(answers, served, exact=served.dtype.kind == "i")
        if differing.any():
            first = int(np.argmax(differing))
            raise NotPortable(
                f"parity: {differing.sum()} of {len(rows)} {place} differ, such as "
                f"{rows[first].tolist()!s:.200}: scikit-learn says {served[first].item()!r}, "
                f"the portable model {answers[first].item()!r}"
            )

    def _expected(self, rows: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the estimator's scores, and what is served of them."""
        x = rows if self.columns is None else to_frame(self.columns, rows)
        try:
            if self.positive is not None:
                served = self.estimator.predict_proba(x)[:, self.positive]
            else:
                served = self.estimator.predict(x)
            if hasattr(self.estimator, "decision_function"):
                return self.estimator.decision_function(x), served
            several = is_classifier(self.estimator) and self.positive is None
            return self.estimator.predict_proba(x) if several else served, served
        except ValueError as error:
            raise NotPortable(f"scikit-learn doesn't take rows like those trained on: {error}") from error


@np.errstate(all="ignore")  # an overflow shows in the results, which are compared
def check(
    model: Model, estimator: Any, positive: int | None, columns: Sequence[Column], trained: Rows
) -> None:
    """Raise NotPortable unless the model predicts what the estimator, fitted to encoded rows, does."""
    reference = _single_threaded(estimator)
    pair, size = Pair.of(model, reference, positive, columns), ceil(CELLS / trained.shape[1])
    for first in range(0, len(trained), size):
        pair.compare(trained[first : first + size], "rows trained on")
    for rows in random_rows(columns, trained, size):
        pair.compare(rows, "random rows")
    if model.trees:
        _compare_at_splits(model, reference, positive, columns, trained, size)


def _compare_at_splits(
    model: Model, reference: Any, positive: int | None, columns: Sequence[Column], trained: Rows, size: int
) -> None:
    *before, final = split(reference)
    prepared: Any = to_frame(columns, trained) if before else trained
    for transformer in before:
        prepared = transformer.transform(prepared)
    last = Pair.of(replace(model, steps=()), final, positive, None if before else columns)
    at_splits = rows_at_splits(model.trees, np.asarray(prepared, dtype=np.float64))
    while chunk := list(islice(at_splits, size)):
        last.compare(np.array(chunk), "rows at splits")


def random_rows(columns: Sequence[Column], trained: Rows, size: int) -> Iterator[Rows]:
    """Yield RANDOM_ROWS encoded rows in chunks of a size, always the same for the same data."""
    random = np.random.default_rng(0)
    takes_missing = np.array([column.feature.missing for column in columns])
    for first in range(0, RANDOM_ROWS, size):
        shape = (min(size, RANDOM_ROWS - first), trained.shape[1])
        even = np.column_stack(
            [
                _even(column, values, shape[0], random)
                for column, values in zip(columns, trained.T, strict=True)
            ]
        )
        even[(random.random(shape) < MISSING) & takes_missing] = np.nan
        mixed = np.take_along_axis(trained, random.integers(0, len(trained), shape), axis=0)
        yield np.where(np.arange(shape[0])[:, np.newaxis] % 2, even, mixed)


def _even(column: Column, values: Rows, count: int, random: np.random.Generator) -> Rows:
    match column.feature.kind:
        case "category":
            lowest = int(UNKNOWN) if column.feature.unknown else 0
            return random.integers(lowest, len(column.categories), count).astype(np.float64)
        case "boolean":
            return random.integers(0, 2, count).astype(np.float64)
    smallest, largest = np.nanmin(values), np.nanmax(values)
    even: Rows = smallest + (1.5 * random.random(count) - 0.25) * (largest - smallest)
    return even


def rows_at_splits(trees: Iterable[Tree], trained: Rows) -> Iterator[list[float]]:
    """Yield rows that reach a split, with its feature at the threshold and at the doubles beside it."""
    chosen = count()
    every = ceil(sum(len(tree.thresholds) for tree in trees) / MAX_SPLITS)
    for number, tree in enumerate(trees):
        thresholds, reaching = iter(tree.thresholds), [trained[number % len(trained)].tolist()]
        for feature in tree.features:
            row = reaching.pop()
            if feature >= 0:
                threshold = next(thresholds)
                above = nextafter(threshold, inf)
                if next(chosen) % every == 0:
                    beside = (nextafter(threshold, -inf), threshold, above)
                    yield from (_with(row, feature, value) for value in beside)
                right = _with(row, feature, max(row[feature], above))
                reaching += [right, _with(row, feature, min(row[feature], threshold))]


def _with(row: list[float], feature: int, value: float) -> list[float]:
    return [*row[:feature], value, *row[feature + 1 :]]


def _single_threaded(estimator: Any) -> Any:
    """Return a copy that adds in one order: threads add as they come."""
    single = copy.deepcopy(estimator)
    names = [name for name in single.get_params() if name.split("__")[-1] == "n_jobs"]
    return single.set_params(**dict.fromkeys(names, 1))


def _differing(found: NDArray[Any], expected: NDArray[Any], *, exact: bool) -> NDArray[np.bool_]:
    """Return for each row whether any of its numbers differs by more than it may."""
    tolerance = 0.0 if exact else TOLERANCE * np.maximum(1, np.abs(expected))
    alike = np.abs(found - expected) <= tolerance
    differing: NDArray[np.bool_] = ~np.all(alike.reshape(len(alike), -1), axis=1)
    return differing
