"""Categories of histogram boosting: the encoder in front of its trees, and the bitsets of their splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.portable_form.preparation.own_encoding import OwnEncoding
from training.portable_form.preparation.prepared_row import Names

WORDS = 4  # of 64 bits: an encoded category is below 256


def own_encoding(estimator: Any, names: Sequence[Names]) -> OwnEncoding:
    """Return what the estimator does to a row before its trees: it encodes categories and puts them first."""
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    categorical = np.flatnonzero(estimator.is_categorical_).tolist()
    categories = dict(zip(categorical, encoder.categories_, strict=True))
    return OwnEncoding(
        names, categories, [*categorical, *np.flatnonzero(~estimator.is_categorical_).tolist()]
    )


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
