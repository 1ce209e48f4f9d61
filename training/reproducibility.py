"""Reproducibility: same input, same bytes, also for an estimator without a seed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from app.errors import BadData

SEED = 0


def seed() -> None:
    """Seed the global generators, from which estimators with random_state=None draw."""
    random.seed(SEED)
    np.random.seed(SEED)


def keep_winner(estimator: Any) -> Any:
    """Return a fitted search's best estimator, also where the search is a step of a pipeline.

    The search itself has the seconds that each fit took, which are others each time. Raises BadData when
    it has no best estimator.
    """
    if hasattr(estimator, "best_estimator_"):
        return keep_winner(estimator.best_estimator_)
    if hasattr(estimator, "cv_results_") and getattr(estimator, "refit", True) is False:
        name = type(estimator).__name__
        raise BadData(f"make_model(): {name}(refit=False) has no estimator to serve; leave refit out")
    if type(estimator) is Pipeline:
        estimator.steps = [(name, keep_winner(step)) for name, step in estimator.steps]
    return estimator
