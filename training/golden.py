"""Rows with what the service predicts for them, to ask a running service later."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.modelling.predictor import Predictor

ROWS = 50


def golden(predictor: Predictor, trained: NDArray[np.float64]) -> dict[str, Any]:
    """Return the medians, then rows trained on from the smallest prediction to the largest, all predicted."""
    order = np.argsort(predictor.predict_all(trained.tolist()), kind="stable")
    spread = np.linspace(0, len(order) - 1, min(ROWS - 1, len(order))).round().astype(int)
    rows = [predictor.card.medians(), *trained[order[spread]].tolist()]
    return {"rows": [{"features": row, "prediction": predictor.predict(row)} for row in rows]}
