"""The data to train on: a table's columns by kind, split into rows to fit and rows held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from app.errors import BadData
from app.modelling import artifact
from app.modelling.artifact import Kind, Spelling
from app.modelling.columns import MISSING_SPELLINGS
from training.reading.csv_file import check_names, open_csv
from training.reading.fetched import read_sha256, table_path
from training.reading.kinds import Source, convert
from training.reading.target import read_classes, read_quantities
from training.settings import Settings

BREAST_CANCER = "breast-cancer"
PARQUET = (".parquet", ".pq")
HELD_OUT = 0.25


@dataclass(frozen=True)
class Table:
    """Columns as they were read; `names` are all there are, `frame` has the features and the target."""

    source: Source
    sha256: str
    dialect: str
    names: Sequence[str]
    frame: pd.DataFrame
    spelling: Spelling | None = None


@dataclass(frozen=True)
class Examples:
    """Features, and the target as numbers or as indexes into `classes`."""

    x: pd.DataFrame
    y: NDArray[Any]
    classes: tuple[str, ...]
    kinds: Mapping[str, Kind]


@dataclass(frozen=True)
class Data:
    """The rows to fit an estimator to, the rows held out, and the file that they come from."""

    trained: Examples
    held_out: Examples
    source: str
    sha256: str
    dialect: str
    spelling: Spelling | None


def read_data(settings: Settings, folder: Path, *, regression: bool) -> Data:
    """Return the settings' table, three quarters of it to be fitted to. Raises BadData."""
    table = _read(settings, folder)
    name, sha256, dialect = table.source.name, table.sha256, table.dialect
    trained, held_out = _split(_examples(table, settings, regression=regression))
    return Data(trained, held_out, name, sha256, dialect, table.spelling)


def _read(settings: Settings, folder: Path) -> Table:
    """Return the built-in data set, or the file of that path in the folder."""
    if settings.data == BREAST_CANCER:
        return _breast_cancer(settings)
    path = table_path(settings, folder)
    return _parquet(path, settings) if path.suffix in PARQUET else _csv(path, settings)


def _breast_cancer(settings: Settings) -> Table:
    bunch = load_breast_cancer(as_frame=True)
    content = (resources.files(bunch.data_module) / bunch.filename).read_bytes()
    frame = bunch.data.assign(diagnosis=bunch.target_names[bunch.target])
    used = _used_names(BREAST_CANCER, list(frame), settings)
    source = Source(BREAST_CANCER, MISSING_SPELLINGS, lambda name, row: f"column {name!r}, row {row + 1}")
    return Table(source, artifact.sha256(content), "built in", list(frame), frame[used])


def _csv(path: Path, settings: Settings) -> Table:
    file = open_csv(path, settings.csv)
    used = _used_names(str(path), file.header, settings)
    texts = {
        name for name, column in settings.columns.items() if column.kind in ("boolean", "category", "text")
    }

    def place(name: str, row: int) -> str:
        return f"{path}, column {name!r}, line {file.line(row)}"

    frame = file.read(used, texts, settings.target)
    source, sha256 = Source(str(path), file.na_values, place), read_sha256(path, settings.sha256)
    return Table(source, sha256, file.dialect, file.header, frame, file.spelling)


def _parquet(path: Path, settings: Settings) -> Table:
    if find_spec("pyarrow") is None:
        raise BadData(f"{path}: reading Parquet needs pyarrow: `pip install pyarrow`, or write a CSV file")
    from pyarrow import ArrowException, parquet

    try:
        names = parquet.read_schema(path).names
        used = _used_names(str(path), names, settings)
        frame = parquet.read_table(path, columns=used).to_pandas(ignore_metadata=True)
    except (OSError, ArrowException) as error:
        raise BadData(f"{path}: not readable as Parquet: {error}") from error

    def place(name: str, row: int) -> str:
        return f"{path}, column {name!r}, row {row + 1}"

    source, sha256 = Source(str(path), MISSING_SPELLINGS, place), read_sha256(path, settings.sha256)
    return Table(source, sha256, "Parquet", names, frame)


def _used_names(source: str, names: Sequence[str], settings: Settings) -> list[str]:
    """Return the features' names and, last, the target's, after a look for mistakes in the settings."""
    check_names(source, names)
    features = settings.features or [name for name in names if name != settings.target]
    if settings.target in features or len(set(features)) != len(features):
        raise BadData(f"features: expected different columns, none the target, got {', '.join(features)}")
    there = ", ".join(names)
    if settings.target not in names:
        raise BadData(f"{source}: no column {settings.target!r}, which is the target; there are {there}")
    for name in [*features, *settings.columns]:
        if name not in names:
            raise BadData(f"{source}: no column {name!r}; there are {there}")
    if not features:
        raise BadData(f"features: expected different columns, none the target, got only {settings.target!r}")
    return [*features, settings.target]


def _examples(table: Table, settings: Settings, *, regression: bool) -> Examples:
    target = table.frame.pop(settings.target)
    kinds: dict[str, Kind] = {}
    for name in map(str, list(table.frame)):
        column = settings.columns.get(name)
        kinds[name], table.frame[name] = convert(
            table.frame[name], column.kind if column else None, table.source
        )
    y, classes = (read_quantities if regression else read_classes)(target, table.source)
    positive = settings.positive
    if positive is not None and (len(classes) != 2 or positive not in classes):
        there = ", ".join(classes) or "none"
        raise BadData(f"positive: expected one of two classes, got {positive!r}; there are {there}")
    return Examples(table.frame, y, classes, kinds)


def _split(examples: Examples) -> tuple[Examples, Examples]:
    stratify = examples.y if examples.classes else None
    rows, rows_test = train_test_split(
        np.arange(len(examples.y)), test_size=HELD_OUT, random_state=0, stratify=stratify
    )
    return _part(examples, rows), _part(examples, rows_test)


def _part(examples: Examples, rows: NDArray[np.intp]) -> Examples:
    """Return some rows, with no category that none of them has."""
    x = examples.x.iloc[rows].reset_index(drop=True)
    for name, kind in examples.kinds.items():
        if kind == "category":
            x[name] = x[name].cat.remove_unused_categories()
    return Examples(x, examples.y[rows], examples.classes, examples.kinds)
