"""Models of usual sizes, measured beside the team's: `python -m bench.service.models OUT` trains them.

They are fitted to ROWS rows of FEATURES normal features, as `train_model.py` does with a team's own. That
takes some minutes.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import ensemble, linear_model, neighbors

import train_model
from training import command

ROWS, FEATURES = 20_000, 30
SETTINGS = """
[tool.milestone2]
name = "{name}"
data = "table.csv"
target = "label"
positive = "b"
features = []
minimum_score = 0.6
"""
ESTIMATORS: Mapping[str, Any] = {
    "linear": linear_model.LogisticRegression(),
    "boosting": ensemble.HistGradientBoostingClassifier(max_iter=300, early_stopping=False, random_state=0),
    "forest": ensemble.RandomForestClassifier(random_state=0),
    "neighbors": neighbors.KNeighborsClassifier(),
}


def train(folder: Path) -> None:
    """Write a folder with the model for each of ESTIMATORS."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_table(folder / "table.csv")
    for name, estimator in ESTIMATORS.items():
        settings = folder / f"{name}.toml"
        settings.write_text(SETTINGS.format(name=name))
        train_model.make_model = partial(copy, estimator)
        if command.main(["--settings", str(settings), "--output", str(folder / name)]):
            raise SystemExit(f"{name} cannot be trained")


def _write_table(path: Path) -> None:
    """Write rows of normal features, and a label that half of them decide, with some noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, FEATURES))
    decided = x @ (random.normal(size=FEATURES) * (np.arange(FEATURES) % 2))
    labels = decided + 3 * np.sin(3 * x[:, 0]) + random.normal(size=ROWS) > 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"feature {number}" for number in range(FEATURES)), "label"])
        writer.writerows([*row, "ab"[label]] for row, label in zip(x.tolist(), labels.tolist(), strict=True))


if __name__ == "__main__":
    train(Path(sys.argv[1]))
