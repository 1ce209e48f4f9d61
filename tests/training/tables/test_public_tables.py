"""Public tables, as a package has them: from the raw file to predictions with five lines of settings."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from app import score
from app.modelling.portable_predictor import PortablePredictor
from tests.training.project import Project, make

ONE_HOT = make_pipeline(
    make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    ),
    LogisticRegression(),
)
SETTINGS = {
    "titanic_all.csv": """
name = "titanic"
data = "titanic_all.csv"
target = "survived"
features = ["class", "age", "sex"]
minimum = {roc_auc = 0.8}""",
    "penguins.csv": """
name = "penguins"
data = "penguins.csv"
target = "species"
minimum = {balanced_accuracy = 0.9}""",
    "elements.csv": """
name = "elements"
data = "elements.csv"
target = "atomic number"
features = ["electronegativity", "IE-1", "standard state", "bonding type", "density", "metal"]
minimum = {r2 = 0.3}""",
}
CASES = [
    ("titanic_all.csv", ONE_HOT),
    ("penguins.csv", HistGradientBoostingClassifier()),
    ("elements.csv", HistGradientBoostingRegressor()),
]


def raw_table(name: str) -> bytes:
    """Return a table as its package has it."""
    return (files("bokeh_sampledata") / "_data" / name).read_bytes()


@pytest.mark.parametrize(("name", "estimator"), CASES, ids=lambda each: type(each).__name__)
def test_a_public_table_ships_as_it_is(
    name: str, estimator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, estimator)
    assert SETTINGS[name].count("\n") <= 5
    project = Project(tmp_path).file("pyproject.toml", f"[tool.milestone2]{SETTINGS[name]}\n")
    project.file(name, raw_table(name))
    predictor = project.predictor()
    assert isinstance(predictor, PortablePredictor)
    assert any(feature.kind == "category" for feature in predictor.card.features)
    assert any(feature.missing_share and feature.missing for feature in predictor.card.features)
    assert score.main([str(tmp_path / name), "--output", str(tmp_path / "out.csv")], tmp_path / "model") == 0
    with (tmp_path / "out.csv").open() as file:
        predictions = list(csv.DictReader(file))
    assert len(predictions) == sum(predictor.card.rows.values())
    if predictor.card.classes:
        with (tmp_path / name).open() as file:
            labels = [row[predictor.card.target] for row in csv.DictReader(file)]
        right = sum(row["label"] == label for row, label in zip(predictions, labels, strict=True))
        assert right / len(labels) > 0.75
