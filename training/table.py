"""The data to train on: columns of text, and the numbers and classes that they say."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer

from app.errors import BadData
from app.modelling import artifact
from training.settings import Settings

BREAST_CANCER = "breast-cancer"
ROWS_NEEDED = 4  # of each class, or of half a regression: the held-out quarter must see them too


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
