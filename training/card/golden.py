"""Golden rows: rows with the service's predictions, to check a running service later.

No row of the data is among them: each value is drawn by itself, from the quantiles or the frequencies in the
card. Texts are empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.errors import InvalidInput
from app.modelling.columns import Column, Row, Value, typical_row
from app.modelling.predictor import Predictor, Result

ROWS = 50
DRAWN = 1000

Random = np.random.Generator


def golden(predictor: Predictor) -> dict[str, Any]:
    """Return the medians, then rows from the smallest prediction to the largest, all predicted."""
    drawn = sorted(_predict_drawn_rows(predictor), key=lambda pair: pair[0])
    spread = np.linspace(0, len(drawn) - 1, min(ROWS - 1, len(drawn))).round().astype(int)
    typical = typical_row(predictor.columns)
    rows = [(predictor.predict(typical), typical), *(drawn[index] for index in spread)]
    return {"rows": [_to_document(predictor.columns, row, prediction) for prediction, row in rows]}


def draw_rows(columns: Sequence[Column], count: int) -> list[list[Value]]:
    """Return encoded rows, always the same for the same columns."""
    random = np.random.default_rng(0)
    return [list(row) for row in zip(*(_draw(each, count, random) for each in columns), strict=True)]


def _predict_drawn_rows(predictor: Predictor) -> list[tuple[Result, Row]]:
    """Return rows that the model takes: it may have no finite result for values that never met before."""
    rows = draw_rows(predictor.columns, DRAWN)
    try:
        return list(zip(predictor.predict_all(rows), rows, strict=True))
    except InvalidInput:
        return [pair for row in rows if (pair := _one(predictor, row))]


def _one(predictor: Predictor, row: Row) -> tuple[Result, Row] | None:
    try:
        return predictor.predict(row), row
    except InvalidInput:
        return None


def _draw(column: Column, count: int, random: Random) -> list[Value]:
    feature = column.feature
    if feature.kind == "text":
        return [""] * count
    if feature.kind == "category":
        shares = np.array(feature.bins.shares[1 : len(feature.categories) + 1])
        values = random.choice(len(shares), count, p=shares / shares.sum()).astype(np.float64)
    else:
        values = np.interp(
            random.random(count), list(map(float, feature.quantiles)), list(feature.quantiles.values())
        )
        if feature.kind == "boolean":
            no, yes = feature.bins.shares
            values = (random.random(count) < yes / (no + yes)).astype(np.float64)
        elif feature.kind == "integer":
            values = values.round()
    holes = random.random(count) < feature.missing_share
    drawn: list[Value] = np.where(holes & feature.missing, np.nan, values).tolist()
    return drawn


def _to_document(columns: Sequence[Column], row: Row, prediction: Result) -> dict[str, Any]:
    features = [column.decode(value) for column, value in zip(columns, row, strict=True)]
    return {"features": features, "prediction": prediction}
