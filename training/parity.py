"""Hold a portable model to the estimator that it was made of, before it may replace it.

Trees must give the same scores bit for bit; what else is computed may differ by TOLERANCE, as scikit-learn
itself does between a row and a batch. Compared are

- the rows trained on;
- RANDOM_ROWS rows, half of them even over one and a half times the features' ranges, half with each feature's
  value from some row trained on;
- for trees, rows that reach a split with its feature at the threshold and at the numbers beside it, or at a
  category of each side. They are given to a pipeline's last step by itself, as no scaler gives every double.

A large model is kept in bounds: MAX_SPLITS limits the rows at splits, which are chosen evenly of all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from math import ceil, inf, isfinite, nan, nextafter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from app.errors import NotPortable
from app.modelling.portable.model import CATEGORY, COLUMN, LEAF, Forest, Model
from app.modelling.portable.operations import Step, prepare
from app.modelling.portable.scorer import Scorer, scorer
from training import histogram_categories
from training.export import is_histogram, split

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
        return cls(estimator, scorer(model), positive, exact=model.forest is not None)

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
    if model.forest:
        _check_splits(model, model.forest, Pair.of(_last_step(model, final), final, positive), trained, size)


def _check_splits(model: Model, forest: Forest, last: Pair, trained: Rows, size: int) -> None:
    """Raise NotPortable unless both predict the same for rows at the splits of trees."""
    own_steps = _own_steps(last.estimator)
    prepared = (list(prepare(own_steps, row)) for row in trained[: len(forest.sizes)].tolist())
    at_splits = rows_at_splits(forest, list(prepared))
    while chunk := list(islice(at_splits, size)):
        rows = np.array(chunk)
        if own_steps:
            rows = histogram_categories.decoded(last.estimator, rows)
        last.compare(rows, "rows at splits")


def _last_step(model: Model, final: Any) -> Model:
    """Return the model of a pipeline's last step alone, which may have steps of its own."""
    return replace(model, features=int(final.n_features_in_), steps=_own_steps(final))


def _own_steps(final: Any) -> tuple[Step, ...]:
    return tuple(histogram_categories.steps(final)) if is_histogram(final) else ()


def random_rows(trained: Rows, size: int) -> Iterator[Rows]:
    """Yield RANDOM_ROWS rows in chunks of a size, always the same for the same data."""
    random = np.random.default_rng(0)
    smallest, largest = np.nanmin(trained, axis=0), np.nanmax(trained, axis=0)
    for first in range(0, RANDOM_ROWS, size):
        shape = (min(size, RANDOM_ROWS - first), trained.shape[1])
        even = smallest + (1.5 * random.random(shape) - 0.25) * (largest - smallest)
        mixed = np.take_along_axis(trained, random.integers(0, len(trained), shape), axis=0)
        yield np.where(np.arange(shape[0])[:, np.newaxis] % 2, even, mixed)


def rows_at_splits(forest: Forest, seen: Sequence[list[float]]) -> Iterator[list[float]]:
    """Yield rows seen, changed so that they reach a split, with its column at the threshold and beside it."""
    chosen = count()
    every = ceil((len(forest.kinds) - len(forest.sizes)) / 2 / MAX_SPLITS)
    for number, root in enumerate(forest.roots()):
        waiting = [(root, seen[number % len(seen)])]
        while waiting:
            node, row = waiting.pop()
            kind, child = forest.kinds[node], forest.nexts[node]
            if kind & LEAF:
                continue
            left, right, *beside = _values(forest, node, row[kind & COLUMN])
            if next(chosen) % every == 0:
                yield from (_with(row, kind & COLUMN, value) for value in beside)
            waiting += [
                (child + 1, _with(row, kind & COLUMN, right)),
                (child, _with(row, kind & COLUMN, left)),
            ]


def _values(forest: Forest, node: int, value: float) -> list[float]:
    """Return values that lead left and right, the given one if possible, and those to compare there."""
    if forest.kinds[node] & CATEGORY:
        return _categories(forest, int(forest.thresholds[node]))
    threshold = forest.thresholds[node]
    above = nextafter(threshold, inf)
    beside = [nextafter(threshold, -inf), threshold, above]
    if forest.precision == "single":
        above = float(np.nextafter(np.float32(threshold), np.float32(inf)))
        beside += [(threshold + above) / 2, above]
    known = threshold if value != value else value
    right = max(known, above) if isfinite(above) else nan  # which nothing else can follow
    return [min(known, threshold), right, *filter(isfinite, beside)]


def _categories(forest: Forest, bitset: int) -> list[float]:
    """Return a category that leads left, one that leads right, and both with a missing one to compare."""
    words = forest.bitsets[bitset * forest.words : (bitset + 1) * forest.words]
    bits = [word >> bit & 1 for word in words for bit in range(64)]
    left, right = float(bits.index(1) if 1 in bits else 0), float(bits.index(0) if 0 in bits else 0)
    return [left, right, left, right, nan]


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
