"""What the card says of a model: how good it is, and what its features looked like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score, roc_auc_score

from app.errors import BadData
from app.modelling.artifact import Bins, Feature
from app.modelling.estimator import Estimator
from training.table import Examples

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 10


def evaluate(model: Estimator, held_out: Examples) -> dict[str, float]:
    """Return the model's metrics, the one that the minimum is about first: accuracy or R2."""
    x, y = held_out.x, held_out.y
    predicted = model.predict(x)
    if not held_out.classes:
        return {
            "r2": float(r2_score(y, predicted)),
            "mean_absolute_error": float(mean_absolute_error(y, predicted)),
        }
    metrics = {"accuracy": float(accuracy_score(y, predicted))}
    if len(held_out.classes) == 2:
        if not hasattr(model, "predict_proba"):
            raise BadData("make_model(): two classes need an estimator with predict_proba")
        metrics["roc_auc"] = float(roc_auc_score(y, model.predict_proba(x)[:, 1]))
    return metrics


def feature(name: str, values: NDArray[np.float64]) -> Feature:
    """Return what a feature's training values look like."""
    return Feature(
        name=name,
        minimum=float(values.min()),
        maximum=float(values.max()),
        quantiles={str(q): float(np.quantile(values, q)) for q in QUANTILES},
        bins=bins(values),
    )


def bins(values: NDArray[np.float64]) -> Bins:
    """Return bins that hold a tenth of the values each, or fewer bins when values are tied; none is empty."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf"))
    edges = edges[edges < values.max()]
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    return Bins(tuple(edges.tolist()), tuple((counts / len(values)).tolist()))
