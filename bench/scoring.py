"""Measure portable models beside scikit-learn on one core: `python bench/scoring.py`

Prints a row for each kind of model, fitted to scikit-learn's data on breast cancer: its nodes (of trees) or
coefficients, milliseconds to load it, microseconds for a row by itself and for each of BATCH rows together,
and how these compare with scikit-learn's. The last column is what walking from node to node takes a row, the
plainer way that `app/modelling/model_compiler.py` was chosen over. Figures are medians of alternating rounds:
about a minute.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})  # read when NumPy is imported

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from sklearn import ensemble
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from app.modelling import portable_model
from app.modelling.portable_model import Tree
from app.modelling.scorer import scorer
from training.export import export

BATCH, ROUNDS, SINGLES = 1000, 11, 20
FEATURES = (3, 30)
HEAD = (
    "model",
    "features",
    "nodes",
    "load ms",
    "row us",
    "times faster",
    "batch us",
    "of scikit-learn",
    "walk us",
)
Node = tuple[Any, ...]


def estimators() -> list[Any]:
    """Return an estimator of each kind that has a portable form."""
    limits = FunctionTransformer(np.clip, kw_args={"a_min": -1e100, "a_max": 1e100})
    return [
        make_pipeline(StandardScaler(), limits, LogisticRegression()),
        DecisionTreeClassifier(random_state=0),
        ensemble.RandomForestClassifier(random_state=0),
        ensemble.ExtraTreesClassifier(random_state=0),
        ensemble.GradientBoostingClassifier(random_state=0),
        ensemble.HistGradientBoostingClassifier(random_state=0),
    ]


def measured(estimator: Any, features: int) -> list[str]:
    """Return the row of the table for an estimator, fitted to so many features."""
    x, y = load_breast_cancer(return_X_y=True)
    x = x[:, :features]
    estimator.fit(x, y)
    content = json.dumps(asdict(export(estimator, 1))).encode()
    started = time.perf_counter()
    model = portable_model.parse(content, "model.json")
    prepared = scorer(model)
    loaded = time.perf_counter() - started
    random = np.random.default_rng(0)
    batch = x[random.integers(0, len(x), BATCH)] * random.uniform(0.9, 1.1, (BATCH, features))
    rows, walking = batch.tolist(), walker(model.trees)
    one, many, row, rows_together, walked = medians(
        lambda: [estimator.predict_proba(batch[:1]) for _ in range(SINGLES)],
        lambda: estimator.predict_proba(batch),
        lambda: [prepared.one(row) for row in rows],
        lambda: prepared.all(rows),
        lambda: [walking(row) for row in rows],
    )
    single, scale = one / SINGLES, 1e6 / BATCH
    return [
        type(getattr(estimator, "steps", [(0, estimator)])[-1][1]).__name__,
        *(str(features), str(model.nodes), f"{loaded * 1e3:.1f}"),
        *(f"{row * scale:.2f}", f"{single * BATCH / row:.0f}"),
        *(f"{rows_together * scale:.2f}", f"{rows_together / many:.2f}"),
        f"{walked * scale:.1f}" if model.trees else "",
    ]


def medians(*work: Callable[[], object]) -> list[float]:
    """Return the seconds that each piece of work takes, the pieces taking turns."""
    times: list[list[float]] = [[] for _ in work]
    for _ in range(ROUNDS):
        for piece, taken in zip(work, times, strict=True):
            started = time.perf_counter()
            piece()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


def walker(trees: Sequence[Tree]) -> Callable[[Sequence[float]], float]:
    """Return a function that adds up the trees' leaves by walking from node to node."""
    roots = [nested(tree) for tree in trees]

    def walk(row: Sequence[float]) -> float:
        total = 0.0
        for node in roots:
            while len(node) > 1:
                feature, threshold, left, right = node
                node = left if row[feature] <= threshold else right
            total += node[0]
        return total

    return walk


def nested(tree: Tree) -> Node:
    """Return a tree as nested tuples: (feature, threshold, left, right), and (value,) for a leaf."""
    features, thresholds, leaves = iter(tree.features), iter(tree.thresholds), iter(tree.leaves)

    def node() -> Node:
        feature = next(features)
        return (feature, next(thresholds), node(), node()) if feature >= 0 else (next(leaves),)

    return node()


def main() -> None:
    """Measure every kind and print the table."""
    table = [HEAD, *(measured(each, features) for features in FEATURES for each in estimators())]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(map(str.rjust, line, widths)))


if __name__ == "__main__":
    main()
