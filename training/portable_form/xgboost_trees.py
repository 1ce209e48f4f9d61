"""Trees of XGBoost's scikit-learn estimators, from the booster's own model text.

XGBoost adds in single precision, the portable model in doubles: hence TOLERANCE, times the score or 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from app.errors import NotPortable
from app.modelling.portable.model import MISSING_RIGHT, Forest
from training.portable_form.trees import NO_CHILD, Nodes, forest

ESTIMATORS = ("xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor")
OBJECTIVES = ("reg:squarederror", "reg:absoluteerror", "binary:logistic", "multi:softprob")
TOLERANCE = 1e-5


def read_trees(estimator: Any) -> tuple[Forest, list[float]]:
    """Return the trees, and the scores before them. Raises NotPortable."""
    learner = json.loads(bytes(estimator.get_booster().save_raw("json")))["learner"]
    objective, booster = learner["objective"]["name"], learner["gradient_booster"]
    if objective not in OBJECTIVES or booster["name"] != "gbtree":
        raise NotPortable(f"XGBoost's {booster['name']} with the objective {objective} has no portable form")
    model = booster["model"]
    count = model["iteration_indptr"][_iterations(estimator, model)]
    trees, turns = model["trees"][:count], model["tree_info"][:count]
    if any(1 in tree["split_type"] for tree in trees):
        raise NotPortable("XGBoost's categories have no portable form; encode them before")
    start = json.loads(learner["learner_model_param"]["base_score"])
    if objective == "binary:logistic":
        start = [math.log(each / (1 - each)) for each in start]
    return forest(map(_nodes, trees), turns, "single"), start


def _iterations(estimator: Any, model: Mapping[str, Any]) -> int:
    """Return how many rounds the estimator predicts with: after early stopping, those to the best."""
    if estimator.early_stopping_rounds is not None:
        return int(estimator.best_iteration) + 1
    return len(model["iteration_indptr"]) - 1


def _nodes(tree: Mapping[str, Any]) -> Nodes:
    left = np.array(tree["left_children"], np.int64)
    numbers = np.array(tree["split_conditions"], np.float32)
    flags = np.where(np.array(tree["default_left"], bool), 0, MISSING_RIGHT).astype(np.uint32)
    # A value below the threshold leads left, here one that is not greater.
    below = np.nextafter(numbers, np.float32(-np.inf)).astype(np.float64)
    return Nodes(
        left=left,
        right=np.array(tree["right_children"], np.int64),
        features=np.array(tree["split_indices"], np.int64),
        thresholds=np.where(left == NO_CHILD, 0.0, below),
        flags=flags,
        values=numbers.astype(np.float64).reshape(-1, 1),
        bitsets=np.empty((0, 0), np.uint64),
    )
