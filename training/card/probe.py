"""Probe of a fitted model: whether it takes a missing value, and an unknown category, in each column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pandas import DataFrame

from app.errors import InvalidInput, ModelError
from app.modelling.columns import UNKNOWN, Column, Row
from app.modelling.data_frame import encode_rows
from app.modelling.estimator import EstimatorPredictor

ROWS = 20


def probe(predictor: EstimatorPredictor, trained: DataFrame) -> tuple[Column, ...]:
    """Return the predictor's columns with `missing` and `unknown` as it takes them in rows trained on."""
    places = np.linspace(0, len(trained) - 1, min(ROWS, len(trained))).astype(int)
    rows = encode_rows(predictor.columns, trained.iloc[places])
    probed = []
    for index, column in enumerate(predictor.columns):
        missing = _takes(predictor, rows, index, math.nan)
        unknown = column.feature.kind == "category" and _takes(predictor, rows, index, UNKNOWN)
        probed.append(replace(column, feature=replace(column.feature, missing=missing, unknown=unknown)))
    return tuple(probed)


def _takes(predictor: EstimatorPredictor, rows: Sequence[Row], index: int, value: float) -> bool:
    try:
        predictor.predict_all([[*row[:index], value, *row[index + 1 :]] for row in rows])
    except (InvalidInput, ModelError):
        return False
    return True
