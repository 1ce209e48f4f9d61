"""Train the model that the service serves: `python train_model.py [--output DIR] [--settings FILE]`.

To ship your own model, edit `[tool.milestone2]` in pyproject.toml and `make_model()` below.

Exit status: 0 trained, 1 the score is below the minimum or the model cannot be written,
2 the settings or the data are unusable.
"""

from __future__ import annotations

import os

# Same input, same bytes on every x86-64-v3 machine: BLAS and NumPy choose their arithmetic by what the
# processor can do, and threads change the order of sums. The libraries read these when first imported.
FIXED_ARITHMETIC = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
if __name__ == "__main__":
    os.environ.update(FIXED_ARITHMETIC)

import argparse
import csv
import io
import math
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.base import is_regressor
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from app import artifact
from app.artifact import Card, Estimator, Feature
from app.errors import BadData, BelowMinimum, TrainingError

BREAST_CANCER = "breast-cancer"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HELD_OUT = 0.25
ROWS_NEEDED = 4  # of each class, or of half a regression: the held-out quarter must see them too


def make_model() -> Estimator:
    """Return the unfitted estimator to train: a classifier, or a regressor for a target in numbers."""
    # Without the limits a feature near the largest double overflows when divided by a small deviation.
    limits = FunctionTransformer(np.clip, kw_args={"a_min": -1e100, "a_max": 1e100})
    model: Estimator = make_pipeline(StandardScaler(), limits, LogisticRegression())
    return model


class Settings(BaseModel):
    """The table `[tool.milestone2]`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")
    data: str
    target: str
    features: list[str] = []
    positive: str | None = None
    minimum_score: float = Field(le=1)


@dataclass(frozen=True)
class Table:
    """Columns of text by name; `lines` says where each row stands in its file."""

    source: str
    sha256: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def column(self, name: str) -> list[tuple[str, str]]:
        """Return the column's values, each with the words that say where it stands. Raises BadData."""
        if name not in self.columns:
            raise BadData(f"{self.source}: no column {name!r}; there are {', '.join(self.columns)}")
        places = (f"{self.source}, column {name!r}, line {line}" for line in self.lines)
        return list(zip(self.columns[name], places, strict=True))


@dataclass(frozen=True)
class Examples:
    """Features, and the target as numbers or as indexes into `classes`."""

    x: NDArray[np.float64]
    y: NDArray[Any]
    classes: tuple[str, ...]


def read_settings(path: Path) -> Settings:
    """Return the settings of a TOML file. Raises BadData."""
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["milestone2"])
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise BadData(f"{path}: [tool.milestone2] {name}: {first['msg']}") from error
    except (KeyError, TypeError) as error:
        raise BadData(f"{path}: no table [tool.milestone2]") from error
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: not readable as TOML: {error}") from error


def read_table(data: str, folder: Path) -> Table:
    """Return the built-in data set, or the CSV file of that path in the folder. Raises BadData."""
    return _breast_cancer() if data == BREAST_CANCER else _csv_file(folder / data)


def _breast_cancer() -> Table:
    bunch = load_breast_cancer()
    content = (resources.files(bunch.data_module) / bunch.filename).read_bytes()
    columns: dict[str, Sequence[str]] = {
        str(name): [repr(value) for value in values.tolist()]
        for name, values in zip(bunch.feature_names, bunch.data.T, strict=True)
    }
    columns["diagnosis"] = [str(bunch.target_names[index]) for index in bunch.target]
    return Table(BREAST_CANCER, artifact.sha256(content), columns, range(2, len(bunch.target) + 2))


def _csv_file(path: Path) -> Table:
    try:
        content = path.read_bytes()
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        records = [(reader.line_num, [text.strip() for text in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: not readable as CSV in UTF-8: {error}") from error
    if len(records) < 2:
        raise BadData(f"{path}: no rows under a header line")
    (_, header), *rows = records
    if len(set(header)) < len(header):
        raise BadData(f"{path}: the header names a column twice")
    for line, row in rows:
        if len(row) != len(header):
            raise BadData(f"{path}, line {line}: {len(row)} values under {len(header)} columns")
    columns = dict(zip(header, zip(*(row for _, row in rows), strict=True), strict=True))
    return Table(str(path), artifact.sha256(content), columns, [line for line, _ in rows])


def feature_names(table: Table, settings: Settings) -> list[str]:
    """Return the settings' features, or every column but the target. Raises BadData."""
    names = settings.features or [name for name in table.columns if name != settings.target]
    if settings.target in names or len(set(names)) != len(names) or not names:
        raise BadData(f"features: expected different columns, none the target, got {', '.join(names)}")
    return names


def read_examples(table: Table, settings: Settings, *, regression: bool) -> Examples:
    """Return the table's columns as numbers and classes. Raises BadData."""
    columns = [_numbers(table, name) for name in feature_names(table, settings)]
    x = np.ascontiguousarray(np.array(columns).T)
    target, positive = settings.target, settings.positive
    y, classes = (_quantities(table, target), ()) if regression else _classes(table, target)
    if positive is not None and (len(classes) != 2 or positive not in classes):
        there = ", ".join(classes) or "none"
        raise BadData(f"positive: expected one of two classes, got {positive!r}; there are {there}")
    return Examples(x, y, classes)


def _numbers(table: Table, name: str) -> list[float]:
    for text, place in table.column(name):
        if not math.isfinite(_number(text)):
            raise BadData(f"{place}: expected a finite number, got {text!r}")
    return [_number(text) for text in table.columns[name]]


def _quantities(table: Table, name: str) -> NDArray[np.float64]:
    values = np.array(_numbers(table, name))
    if len(values) < 2 * ROWS_NEEDED or values.min() == values.max():
        raise BadData(f"{table.source}, column {name!r}: needs {2 * ROWS_NEEDED} rows and two values")
    return values


def _classes(table: Table, name: str) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    for text, place in table.column(name):
        if not text:
            raise BadData(f"{place}: expected a label, got nothing")
    counts = Counter(table.columns[name])
    rarest, rows = counts.most_common()[-1]
    if len(counts) < 2:
        raise BadData(f"{table.source}, column {name!r}: only one class, {rarest!r}")
    if rows < ROWS_NEEDED:
        reason = f"class {rarest!r} has {rows} of the {ROWS_NEEDED} rows needed"
        raise BadData(
            f"{table.source}, column {name!r}: {reason}; for a quantity let make_model() return a regressor"
        )
    classes = tuple(sorted(counts, key=_by_number_then_text))
    return np.array([classes.index(label) for label in table.columns[name]]), classes


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _by_number_then_text(label: str) -> tuple[float, str]:
    number = _number(label)
    return (math.inf if math.isnan(number) else number), label


def train(table: Table, settings: Settings) -> tuple[bytes, Card]:
    """Fit `make_model()` on three quarters of the rows; return the model's bytes and its card.

    Raises BadData, or BelowMinimum when the rows held out are predicted worse than the minimum.
    """
    model = make_model()
    examples = read_examples(table, settings, regression=is_regressor(model))
    stratify = examples.y if examples.classes else None
    x, x_test, y, y_test = train_test_split(
        examples.x, examples.y, test_size=HELD_OUT, random_state=0, stratify=stratify
    )
    try:
        model.fit(x, y)
    except ValueError as error:
        raise BadData(f"{table.source}: make_model()'s estimator cannot be fitted: {error}") from error
    metrics = evaluate(model, Examples(x_test, y_test, examples.classes))
    score, value = next(iter(metrics.items()))
    if not value >= settings.minimum_score:
        raise BelowMinimum(f"{score} on the rows held out is {value:.4f}, below {settings.minimum_score}")
    content = artifact.serialize(model)
    names = feature_names(table, settings)
    binary = len(examples.classes) == 2
    return content, Card(
        name=settings.name,
        task="classification" if examples.classes else "regression",
        features=tuple(_feature(name, values) for name, values in zip(names, x.T, strict=True)),
        target=settings.target,
        classes=examples.classes,
        positive=(settings.positive or examples.classes[1]) if binary else None,
        metrics=metrics,
        rows={"train": len(x), "test": len(x_test)},
        libraries=artifact.installed_versions(),
        data_sha256=table.sha256,
        artifact_sha256=artifact.sha256(content),
    )


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


def _feature(name: str, values: NDArray[np.float64]) -> Feature:
    quantiles = {str(q): float(np.quantile(values, q)) for q in QUANTILES}
    return Feature(name=name, minimum=float(values.min()), maximum=float(values.max()), quantiles=quantiles)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write model and card, and return the exit status."""
    parser = argparse.ArgumentParser(description="Train the model that the service serves.")
    parser.add_argument("--output", type=Path, default=Path("model"), help="folder to write to (model)")
    beside = Path(__file__).with_name("pyproject.toml")
    parser.add_argument("--settings", type=Path, default=beside, help="TOML file (pyproject.toml)")
    options = parser.parse_args(arguments)
    try:
        settings = read_settings(options.settings)
        content, card = train(read_table(settings.data, options.settings.parent), settings)
        artifact.save(options.output, content, card)
    except (TrainingError, OSError) as error:
        print(f"train_model: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadData) else 1
    figures = ", ".join(f"{name} {value:.4f}" for name, value in card.metrics.items())
    print(f"{options.output / artifact.MODEL_FILE}: {figures}, sha256 {card.artifact_sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
