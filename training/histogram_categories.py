"""Categories of histogram boosting: the encoder in front of its trees, and the bitsets of their splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import NotPortable
from app.modelling.portable.operations import Ordinal, Select, Step

WORDS = 4  # of 64 bits: an encoded category is below 256


def steps(estimator: Any) -> Iterator[Step]:
    """Yield what the estimator does to a row before its trees: it encodes categories and puts them first.

    Raises NotPortable for categories that aren't numbers.
    """
    if estimator.is_categorical_ is None:
        return
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    categorical = np.flatnonzero(estimator.is_categorical_).tolist()
    for column, categories in zip(categorical, encoder.categories_, strict=True):
        yield _encoder(column, categories)
    yield Select("select", (*categorical, *np.flatnonzero(~estimator.is_categorical_).tolist()))


def _encoder(column: int, categories: NDArray[Any]) -> Step:
    if categories.dtype.kind not in "iuf":
        raise NotPortable(f"boosting on categories like {categories[0]!r} has no portable form")
    codes = [float(category) for category in categories if category == category]
    return Ordinal("ordinal", column, tuple(codes), tuple(map(float, range(len(codes)))), None, None)


def decoded(estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows as the estimator takes them, of rows as its trees do; unknown categories are missing."""
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    columns = [*np.flatnonzero(estimator.is_categorical_), *np.flatnonzero(~estimator.is_categorical_)]
    found = np.empty_like(rows)
    found[:, columns] = rows
    for column, categories in zip(columns, encoder.categories_, strict=False):
        known = np.append(categories[categories == categories].astype(np.float64), np.nan)
        codes = np.where(found[:, column] < len(known) - 1, found[:, column], len(known) - 1)
        found[:, column] = known[codes.astype(np.intp)]
    return found


def known_bits(estimator: Any) -> NDArray[np.uint64] | None:
    """Return a bitset of each column's known categories, empty for numbers; None without categories."""
    if estimator.is_categorical_ is None:
        return None
    known, rows = estimator._bin_mapper.make_known_categories_bitsets()
    bits: NDArray[np.uint64] = known[rows].view(np.uint64)
    return bits


def bitsets(predictor: Any, known: NDArray[np.uint64] | None) -> NDArray[np.uint64]:
    """Return for each node the categories that it leads left: unknown ones go where missing values go."""
    nodes = predictor.nodes
    if known is None or not len(predictor.raw_left_cat_bitsets):
        return np.empty((len(nodes), 0), np.uint64)
    left = np.ascontiguousarray(predictor.raw_left_cat_bitsets).view(np.uint64)[nodes["bitset_idx"]]
    leads_left = nodes["missing_go_to_left"].astype(bool)[:, np.newaxis]
    bits: NDArray[np.uint64] = left | np.where(leads_left, ~known[nodes["feature_idx"]], np.uint64(0))
    return bits
