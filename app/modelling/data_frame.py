"""Conversion of encoded rows to scikit-learn's data frames and back, with the names and dtypes of training.

Numbers are float64. Integers are int64 and booleans bool; where one is missing, or a client sends 2.5 for an
integer, the column is float64, as NumPy has no other way to say so. Categories have pandas' category dtype,
texts are objects. Only training, and the service where scikit-learn serves, import this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.modelling.columns import UNKNOWN, Column, Row, Value

UNKNOWN_NAME = "\N{REPLACEMENT CHARACTER}unknown"  # what an estimator gets for a category that no model knows

Encoded = NDArray[np.float64]


def to_frame(columns: Sequence[Column], rows: Sequence[Row] | Encoded) -> pd.DataFrame:
    """Return encoded rows as a data frame."""
    values = rows.T if isinstance(rows, np.ndarray) else list(zip(*rows, strict=True))
    return pd.DataFrame(
        {column.feature.name: _series(column, each) for column, each in zip(columns, values, strict=True)}
    )


def encode_frame(columns: Sequence[Column], frame: pd.DataFrame) -> Encoded:
    """Return a data frame's rows encoded, but for its texts, which become missing values."""
    encoded = np.empty((len(frame), len(columns)))
    for index, column in enumerate(columns):
        encoded[:, index] = encode_series(column, frame[column.feature.name])
    return encoded


def encode_rows(columns: Sequence[Column], frame: pd.DataFrame) -> list[list[Value]]:
    """Return a data frame's rows encoded, with their texts."""
    rows: list[list[Value]] = encode_frame(columns, frame).tolist()
    for index, column in enumerate(columns):
        if column.feature.kind == "text":
            for row, value in zip(rows, frame[column.feature.name], strict=True):
                row[index] = value if isinstance(value, str) else math.nan
    return rows


def encode_series(column: Column, series: pd.Series) -> NDArray[np.float64]:
    """Return a data frame's column encoded; a text becomes a missing value."""
    match column.feature.kind:
        case "text":
            return np.full(len(series), np.nan)
        case "category":
            codes = np.array([*map(column.codes.__getitem__, series.cat.categories), np.nan])
            return codes[series.cat.codes]
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _series(column: Column, values: Sequence[Value] | NDArray[np.float64]) -> pd.Series:
    if column.feature.kind == "text":
        texts = [value if isinstance(value, str) else None for value in values]
        return pd.Series(texts, dtype=object)
    numbers = np.asarray(values, dtype=np.float64)
    if column.feature.kind == "category":
        return pd.Series(_categories(column, numbers))
    if column.feature.kind == "boolean" and np.isin(numbers, (0, 1)).all():
        return pd.Series(numbers != 0)
    if column.feature.kind == "integer" and _are_integers(numbers):
        return pd.Series(numbers.astype(np.int64))
    return pd.Series(numbers)


def _categories(column: Column, codes: NDArray[np.float64]) -> Any:
    names = sorted(column.categories)  # as pandas has them, independent of the order of the codes
    places = {name: place for place, name in enumerate(names)}
    table = np.array([*(places[name] for name in column.categories), len(names), -1])
    indexes = np.where(np.isnan(codes), -1, np.where(codes == UNKNOWN, len(column.categories), codes))
    unknown = [UNKNOWN_NAME] if (codes == UNKNOWN).any() else []
    return pd.Categorical.from_codes(table[indexes.astype(np.int64)], pd.Index([*names, *unknown]))


def _are_integers(numbers: NDArray[np.float64]) -> bool:
    return bool((np.abs(numbers) <= 2.0**53).all() and (numbers == np.rint(numbers)).all())
