"""Hold a portable model to the estimator that it was made of, before it may replace it.

Trees must give the same scores bit for bit; what else is computed may differ by TOLERANCE, as scikit-learn
itself does between a row and a batch. Compared are

- the rows trained on;
- RANDOM_ROWS rows, half of them even over one and a half times the features' ranges, half with each feature's
  value from some row trained on;
- for trees, rows that reach a split with its feature at the threshold and at the doubles beside it. They are
  given to a pipeline's last step by itself, as there are doubles that no scaler gives.

A large model is kept in bounds: portable.MAX_NODES limits what a row costs, MAX_SPLITS the rows at splits,
which are chosen evenly of all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from math import ceil, inf, nextafter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from app.errors import NotPortable
from app.modelling.portable_model import Model, Tree
from app.modelling.scorer import Scorer, scorer
from training.export import split

RANDOM_ROWS = 100_000
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
    exact: bool

    @classmethod
    def of(cls, model: Model, estimator: Any, positive: int | None) -> Pair:
        """Make the model ready."""
        return cls(estimator, scorer(model), positive, exact=bool(model.trees))

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
        try:
            if self.positive is not None:
                served = self.estimator.predict_proba(rows)[:, self.positive]
            else:
                served = self.estimator.predict(rows)
            if hasattr(self.estimator, "decision_function"):
                return self.estimator.decision_function(rows), served
            several = is_classifier(self.estimator) and self.positive is None
            return self.estimator.predict_proba(rows) if several else served, served
        except ValueError as error:
            raise NotPortable(f"scikit-learn doesn't take rows like those trained on: {error}") from error


@np.errstate(all="ignore")  # an overflow shows in the results, which are compared
def check(model: Model, estimator: Any, positive: int | None, trained: Rows) -> None:
    """Raise NotPortable unless the model predicts what the fitted estimator does."""
    reference = _single_threaded(estimator)
    pair, size = Pair.of(model, reference, positive), ceil(CELLS / trained.shape[1])
    for first in range(0, len(trained), size):
        pair.compare(trained[first : first + size], "rows trained on")
    for rows in random_rows(trained, size):
        pair.compare(rows, "random rows")
    *before, final = split(reference)
    for transformer in before:
        trained = transformer.transform(trained)
    last, at_splits = Pair.of(replace(model, steps=()), final, positive), rows_at_splits(model.trees, trained)
    while chunk := list(islice(at_splits, size)):
        last.compare(np.array(chunk), "rows at splits")


def random_rows(trained: Rows, size: int) -> Iterator[Rows]:
    """Yield RANDOM_ROWS rows in chunks of a size, always the same for the same data."""
    random = np.random.default_rng(0)
    smallest, largest = trained.min(axis=0), trained.max(axis=0)
    for first in range(0, RANDOM_ROWS, size):
        shape = (min(size, RANDOM_ROWS - first), trained.shape[1])
        even = smallest + (1.5 * random.random(shape) - 0.25) * (largest - smallest)
        mixed = np.take_along_axis(trained, random.integers(0, len(trained), shape), axis=0)
        yield np.where(np.arange(shape[0])[:, np.newaxis] % 2, even, mixed)


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
