"""Parity check of a portable model with the estimator that it was made of.

Trees must give the same scores bit for bit. Other scores may differ by `export.tolerance`, predictions by
TOLERANCE: scikit-learn itself differs so between a row and a batch. Compared are

- the rows trained on;
- up to RANDOM_ROWS random rows. In half of them each value is drawn evenly from one and a half times its
  feature's range, or from all categories, unknown ones included where the model takes them; a tenth of these
  values is missing where the model takes that. In the other half each value is from some row trained on;
- for trees, rows that reach a split with its feature at the threshold and at the numbers beside it, or at a
  category of each side. They go directly to a pipeline's last step, as no scaler gives every double.

For a large model MAX_SPLITS limits the number of splits, which are chosen evenly from all.
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
from app.modelling.columns import UNKNOWN, Column
from app.modelling.data_frame import to_frame
from app.modelling.portable.model import CATEGORY, COLUMN, LEAF, Forest, Model
from app.modelling.portable.operations import prepare
from app.modelling.portable.scorer import Scorer, scorer
from training.portable_form.export import own_encoding, raw_scores, split, tolerance
from training.portable_form.preparation.own_encoding import OwnEncoding
from training.portable_form.preparation.prepared_row import names_of

RANDOM_ROWS = 100_000
PYTHON_MICROSECONDS = 10_000_000  # for random rows where the native library is missing: fewer are compared
MISSING = 0.1  # share of the evenly drawn values that are taken away where the model takes that
MAX_SPLITS = 20_000
TOLERANCE = 1e-12  # times the reference, or 1 when that is smaller
CELLS = 1_000_000  # of rows that are compared together: bounds the memory

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """An estimator, and the portable model that must predict the same."""

    estimator: Any
    scorer: Scorer
    positive: int | None
    columns: Sequence[Column] | None  # None when the estimator takes arrays
    tolerance: float

    @classmethod
    def of(cls, model: Model, estimator: Any, positive: int | None, columns: Sequence[Column] | None) -> Pair:
        """Make the model ready."""
        return cls(estimator, scorer(model), positive, columns, tolerance(split(estimator)[-1]))

    def compare(self, rows: Rows, place: str) -> None:
        """Raise NotPortable unless both predict the same for each of the rows."""
        found = self.scorer.scores(rows.tolist())
        scores, served = self._predict_reference(rows)
        differing = _compare_rows(np.array(found), scores, self.tolerance)
        answers = np.array(list(map(self.scorer.answer, found)))
        inexact = max(TOLERANCE, self.tolerance)
        differing |= _compare_rows(answers, served, 0 if served.dtype.kind == "i" else inexact)
        if self.scorer.shares:
            shares = np.array(list(map(self.scorer.shares, found)))
            differing |= _compare_rows(shares, self.estimator.predict_proba(self._to_input(rows)), inexact)
        if differing.any():
            first = int(np.argmax(differing))
            raise NotPortable(
                f"parity: {differing.sum()} of {len(rows)} {place} differ, such as "
                f"{rows[first].tolist()!s:.200}: scikit-learn says {served[first].item()!r}, "
                f"the portable model {answers[first].item()!r}"
            )

    def _to_input(self, rows: Rows) -> Any:
        """Return rows as the estimator takes them."""
        return rows if self.columns is None else to_frame(self.columns, rows)

    def _predict_reference(self, rows: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the estimator's scores, and what is served of them."""
        x = self._to_input(rows)
        try:
            if self.positive is not None:
                served = self.estimator.predict_proba(x)[:, self.positive]
            else:
                served = self.estimator.predict(x)
            if hasattr(self.estimator, "decision_function"):
                return self.estimator.decision_function(x), served
            if (scores := raw_scores(self.estimator, x)) is not None:
                return scores, served
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
    for rows in random_rows(columns, trained, size, _count(pair.scorer)):
        pair.compare(rows, "random rows")
    if model.forest:
        *before, final = split(reference)
        rows = _prepare(before, columns, trained[: len(model.forest.sizes)])
        encoding = own_encoding(final, [None] * final.n_features_in_ if before else names_of(columns))
        alone = replace(model, features=len(encoding.names), steps=encoding.steps())
        last = Pair.of(alone, final, positive, None if before else columns)
        _check_splits(model.forest, last, encoding, rows, size)


def _prepare(transformers: Sequence[Any], columns: Sequence[Column], rows: Rows) -> Rows:
    """Return rows as a pipeline's last step gets them."""
    prepared: Any = to_frame(columns, rows) if transformers else rows
    for transformer in transformers:
        prepared = transformer.transform(prepared)
    return np.asarray(prepared.toarray() if hasattr(prepared, "toarray") else prepared, dtype=np.float64)


def _check_splits(forest: Forest, last: Pair, encoding: OwnEncoding, rows: Rows, size: int) -> None:
    """Raise NotPortable unless both predict the same for rows at the splits of trees."""
    steps = encoding.steps()
    at_splits = rows_at_splits(forest, [list(prepare(steps, row)) for row in rows.tolist()])
    while chunk := list(islice(at_splits, size)):
        last.compare(encoding.decode(np.array(chunk)), "rows at splits")


def _count(scorer: Scorer) -> int:
    """Return how many random rows to compare."""
    if scorer.kind == "native":
        return RANDOM_ROWS
    return min(RANDOM_ROWS, ceil(PYTHON_MICROSECONDS / scorer.microseconds))


def random_rows(columns: Sequence[Column], trained: Rows, size: int, total: int) -> Iterator[Rows]:
    """Yield encoded rows in chunks of a size, always the same for the same data."""
    random = np.random.default_rng(0)
    takes_missing = np.array([column.feature.missing for column in columns])
    for first in range(0, total, size):
        shape = (min(size, total - first), trained.shape[1])
        even = np.column_stack(
            [
                _draw_evenly(column, values, shape[0], random)
                for column, values in zip(columns, trained.T, strict=True)
            ]
        )
        even[(random.random(shape) < MISSING) & takes_missing] = np.nan
        mixed = np.take_along_axis(trained, random.integers(0, len(trained), shape), axis=0)
        yield np.where(np.arange(shape[0])[:, np.newaxis] % 2, even, mixed)


def _draw_evenly(column: Column, values: Rows, count: int, random: np.random.Generator) -> Rows:
    match column.feature.kind:
        case "category":
            lowest = int(UNKNOWN) if column.feature.unknown else 0
            return random.integers(lowest, len(column.categories), count).astype(np.float64)
        case "boolean":
            return random.integers(0, 2, count).astype(np.float64)
    smallest, largest = np.nanmin(values), np.nanmax(values)
    even: Rows = smallest + (1.5 * random.random(count) - 0.25) * (largest - smallest)
    return even


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


def _compare_rows(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """Return for each row whether any of its numbers differs by more than it may."""
    alike = np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected))
    differing: NDArray[np.bool_] = ~np.all(alike.reshape(len(alike), -1), axis=1)
    return differing
