"""Estimator of the team's model: `python train_model.py` trains what `make_model()` returns.

To ship your own model, edit `[tool.milestone2]` in pyproject.toml and `make_model()` below. Classes and
functions of your own go into features/: this file isn't in the image.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.launch import launch

    launch()  # before NumPy is imported: its arithmetic is fixed first

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from app.modelling.estimator import Estimator


def make_model() -> Estimator:
    """Return the unfitted estimator to train: a classifier, or a regressor for a target in numbers."""
    # Without the limits a feature near the largest double overflows when divided by a small deviation.
    limits = FunctionTransformer(np.clip, kw_args={"a_min": -1e100, "a_max": 1e100})
    return make_pipeline(StandardScaler(), limits, LogisticRegression())
