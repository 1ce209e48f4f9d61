"""A small portable model, written without training: the service's tests need numbers, not a good score."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from app.connections.row_reader import RowReader
from app.modelling import artifact, columns
from app.modelling.artifact import Bins, Card, Feature, Portable
from app.modelling.columns import Column
from app.modelling.portable import binary_format
from app.modelling.portable.model import Model, doubles
from app.modelling.portable.operations import Impute, OneHot

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

QUANTILES = {"0.05": 1.0, "0.25": 5.0, "0.5": 10.0, "0.75": 15.0, "0.95": 19.0}
TOWNS = ("north", "south", 'the "east"', "Atlantis")
ONE_HOT, IMPUTE = OneHot("one_hot", 0, (0.0, 1.0, None)), Impute("impute", (0, 1), (-1.0, 9.5))
MIXED = Model(
    format=binary_format.FORMAT,
    features=5,
    steps=(ONE_HOT, IMPUTE),
    start=(-0.5,),
    coefficients=doubles([0.0, 0.1, 0.25, -1.5, 0.5, 0.75, -0.25, 1.25]),
    forest=None,
    divisor=1,
    answer="sigmoid",
)


def number_reader() -> RowReader:
    """Return what reads rows of three numbers."""
    return RowReader([Column(_feature(name)) for name in NAMES])


def mixed_columns() -> tuple[Column, ...]:
    """Return a column of each kind that a portable model has."""
    town = Feature(
        name="town",
        minimum=None,
        maximum=None,
        quantiles={},
        bins=Bins((-1.0, 0.0, 1.0, 2.0), (0.0, 0.5, 0.25, 0.1, 0.05)),
        kind="category",
        missing=True,
        missing_share=0.1,
        categories=TOWNS[:3],
        rare=1,
        unknown=True,
    )
    size = replace(_feature("size in m²"), missing=True, missing_share=0.2, description="Of all", unit="m²")
    garden = Feature("garden", 0.0, 1.0, {"0.5": 1.0}, Bins((0.0,), (0.4, 0.6)), "boolean")
    color = replace(town, name="color", missing=False, unknown=False, categories=("red", "blue"), rare=0)
    color = replace(color, bins=Bins((-1.0, 0.0), (0.0, 0.5, 0.5)), missing_share=0.0)
    rooms = replace(_feature("rooms"), kind="integer")
    kinds = (town, size, rooms, garden, color)
    return tuple(Column(each, {"town": TOWNS, "color": ("red", "blue")}.get(each.name, ())) for each in kinds)


def write_mixed(folder: Path) -> Path:
    """Write a classifier of two classes with a column of each kind; return its folder."""
    return _write_columns(folder, mixed_columns(), MIXED)


def write_many_columns(folder: Path) -> Path:
    """Write a classifier of 60 mixed columns, with what each adds; return its folder."""
    found = tuple(
        replace(column, feature=replace(column.feature, name=f"{column.feature.name} {number}"))
        for number in range(12)
        for column in mixed_columns()
    )
    found = tuple(
        replace(column, feature=replace(column.feature, importance=0.1 / (1 + place)))
        for place, column in enumerate(found)
    )
    impute = Impute("impute", tuple(range(60)), (0.0,) * 60)
    model = replace(MIXED, features=60, steps=(impute,), coefficients=doubles([0.002] * 60))
    return _write_columns(folder, found, model)


def _write_columns(folder: Path, found: tuple[Column, ...], model: Model) -> Path:
    content, categories = binary_format.write(model), columns.write(found)
    assert categories
    card = _card(("left", "stayed"), tuple(each.feature for each in found), content, 2)
    card = replace(card, categories_sha256=artifact.sha256(categories))
    artifact.save(folder, card, {artifact.BINARY_FILE: content, artifact.CATEGORIES_FILE: categories})
    return folder


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
    card = _card(classes, tuple(_feature(name) for name in names), content, 1)
    artifact.save(folder, card, {artifact.PORTABLE_FILE: content})
    return folder


def _card(
    classes: tuple[str, ...], features: tuple[Feature, ...], content: bytes | bytearray, version: int
) -> Card:
    return Card(
        name="known",
        task="classification" if classes else "regression",
        features=features,
        target="diagnosis",
        classes=classes,
        positive=classes[1] if len(classes) == 2 else None,
        metrics={"accuracy": 0.95},
        rows={"train": 426, "test": 143},
        libraries={"python": "3.11"},
        data_sha256="0" * 64,
        artifact_sha256="1" * 64,
        portable=Portable(artifact.sha256(content), version, nodes=3),
        not_portable=None,
        golden_sha256="2" * 64,
    )


def _feature(name: str) -> Feature:
    return Feature(name, 0.0, 20.0, QUANTILES, Bins(EDGES, (0.1,) * 10))
