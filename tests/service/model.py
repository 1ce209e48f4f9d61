"""A small portable model, written without training: the service's tests need numbers, not a good score."""

from __future__ import annotations

import json
from pathlib import Path

from app.modelling import artifact
from app.modelling.artifact import Bins, Card, Feature, Portable

NAMES = ("mean radius", "mean texture", "radius error")
EDGES = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0)
MODEL = {
    "format": 1,
    "features": 3,
    "steps": [
        {"operation": "subtract", "values": [14.1, 19.2, 0.4]},
        {"operation": "divide", "values": [3.5, 4.3, 0.3]},
        {"operation": "clip", "values": [-1e100, 1e100]},
    ],
    "start": [-0.7],
    "coefficients": [[3.4, 1.0, 0.9]],
    "trees": [],
    "divisor": 1,
    "answer": "sigmoid",
}
CLASSES = ("setosa", "versicolor", "virginica")
SCORES = {"start": [0.0, 5.0, 0.0], "coefficients": [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]}
LINEAR = MODEL | {"steps": [], "start": [0.0], "coefficients": [[1.0, 1.0, 1.0]], "answer": "value"}


def write_model(folder: Path) -> Path:
    """Write a classifier of two classes that has a result for all finite doubles; return its folder."""
    return _write(folder, MODEL, ("benign", "malignant"))


def write_sum(folder: Path) -> Path:
    """Write a regression that is the sum of its features, and so overflows; return its folder."""
    return _write(folder, LINEAR, ())


def write_classes(folder: Path) -> Path:
    """Write a classifier of three classes; return its folder."""
    return _write(folder, MODEL | {"steps": [], **SCORES, "answer": "index"}, CLASSES)


def write_wide(folder: Path, count: int) -> Path:
    """Write a regression that is the sum of as many features; return its folder."""
    names = tuple(f"feature {number}" for number in range(count))
    return _write(folder, LINEAR | {"features": count, "coefficients": [[1.0] * count]}, (), names)


def _write(
    folder: Path, model: dict[str, object], classes: tuple[str, ...], names: tuple[str, ...] = NAMES
) -> Path:
    content = json.dumps(model).encode()
    card = Card(
        name="known",
        task="classification" if classes else "regression",
        features=tuple(_feature(name) for name in names),
        target="diagnosis",
        classes=classes,
        positive=classes[1] if len(classes) == 2 else None,
        metrics={"accuracy": 0.95},
        rows={"train": 426, "test": 143},
        libraries={"python": "3.11"},
        data_sha256="0" * 64,
        artifact_sha256="1" * 64,
        portable=Portable(artifact.sha256(content), format=1, nodes=3),
        not_portable=None,
        golden_sha256="2" * 64,
    )
    artifact.save(folder, card, {artifact.PORTABLE_FILE: content})
    return folder


def _feature(name: str) -> Feature:
    quantiles = {"0.05": 1.0, "0.25": 5.0, "0.5": 10.0, "0.75": 15.0, "0.95": 19.0}
    return Feature(name, 0.0, 20.0, quantiles, Bins(EDGES, (0.1,) * 10))
