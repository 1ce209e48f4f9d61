"""Results of training on good data."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import ExtraTreeClassifier

import train_model
from app.errors import InvalidInput
from app.modelling import artifact
from app.modelling.columns import typical_row
from app.modelling.model_loader import load
from app.modelling.portable import binary_format, json_format
from app.modelling.portable import model as limits
from app.modelling.portable_predictor import PortablePredictor
from tests.training.project import Project, make
from training.card import describe
from training.portable_form import export


def test_the_card_says_what_the_model_is(model_dir: Path) -> None:
    card = json.loads((model_dir / "card.json").read_text())
    model = (model_dir / "model.joblib").read_bytes()
    assert card["artifact_sha256"] == hashlib.sha256(model).hexdigest()
    names = [feature["name"] for feature in card["features"]]
    assert names == ["mean radius", "mean texture", "radius error"]
    assert (card["task"], card["target"]) == ("classification", "diagnosis")
    assert (card["classes"], card["positive"]) == (["benign", "malignant"], "malignant")
    assert card["metrics"]["accuracy"] >= 0.9
    assert card["rows"] == {"train": 426, "test": 143}
    assert set(card["libraries"]) == {"python", "joblib", "numpy", "pandas", "scikit-learn", "scipy"}
    for feature in card["features"]:
        values = [feature["minimum"], *feature["quantiles"].values(), feature["maximum"]]
        assert values == sorted(values)


def test_the_card_names_the_portable_model_and_the_golden_rows(model_dir: Path) -> None:
    card = json.loads((model_dir / "card.json").read_text())
    portable = (model_dir / "model.json").read_bytes()
    golden = (model_dir / "golden.json").read_bytes()
    assert card["portable"] == {"sha256": hashlib.sha256(portable).hexdigest(), "format": 1, "nodes": 3}
    assert card["not_portable"] is None
    assert card["golden_sha256"] == hashlib.sha256(golden).hexdigest()


def test_golden_rows_are_the_medians_and_rows_over_the_whole_range_as_they_are_served(
    model_dir: Path,
) -> None:
    predictor = load(model_dir)
    rows = json.loads((model_dir / "golden.json").read_text())["rows"]
    assert len(rows) == 50
    assert rows[0]["features"] == typical_row(predictor.columns)
    assert [predictor.predict(row["features"]) for row in rows] == [row["prediction"] for row in rows]
    predictions = [row["prediction"] for row in rows[1:]]
    assert predictions == sorted(predictions)
    assert predictions[0] < 0.01
    assert predictions[-1] > 0.99


def test_bins_hold_the_rows_trained_on(model_dir: Path) -> None:
    for feature in load(model_dir).card.features:
        assert len(feature.bins.edges) == 9
        assert feature.bins.shares == pytest.approx([0.1] * 10, abs=0.01)
        assert list(feature.bins.edges) == sorted(set(feature.bins.edges))


@pytest.mark.parametrize(
    ("values", "edges", "shares"),
    [
        ([0.0] * 15 + [1.0] * 5, (0.0,), (0.75, 0.25)),
        ([7.0] * 8, (), (1.0,)),
        ([1.0, 2.0, 3.0, 4.0], (1.0, 2.0, 3.0), (0.25,) * 4),
    ],
)
def test_bins_with_tied_edges_are_one(
    values: list[float], edges: tuple[float, ...], shares: tuple[float, ...]
) -> None:
    found = describe.bins(np.array(values), len(values))
    assert (found.edges, found.shares) == (edges, shares)
    counts = Counter(found.index(value) for value in values)
    assert [counts[number] / len(values) for number in range(len(shares))] == list(shares)


def test_a_model_that_is_not_portable_is_said_to_be_in_card_and_output(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.data(lambda i: int(i >= 20))
    assert project.predictor().on_loop
    make(monkeypatch, KNeighborsClassifier(3))
    predictor = project.predictor()
    assert not predictor.on_loop
    assert predictor.card.portable is None
    assert predictor.card.not_portable == "KNeighborsClassifier has no portable form"
    assert (predictor.card.classes, predictor.card.positive) == (("0", "1"), "1")
    output = capsys.readouterr().out.splitlines()
    assert output[0].endswith("data.csv: 40 rows, separator ',', decimal '.', utf-8")
    assert output[1] == "  integer: a, b"
    assert "portable model with SHA-256 " in output[2]
    assert "not portable, so scikit-learn serves it: KNeighborsClassifier has no" in output[5]
    assert {path.name for path in (project.folder / "model").iterdir()} == {
        *("card.json", "golden.json", "model.joblib"),
        *("roc.svg", "calibration.svg"),
    }
    golden = json.loads((project.folder / "model/golden.json").read_text())["rows"][0]
    assert golden["prediction"] == predictor.predict(golden["features"])


@pytest.mark.parametrize(
    ("modules", "limit", "reason"),
    [
        ((json_format, limits), "MAX_NODES", "expected at most 1 coefficients, got 2"),
        ((artifact, binary_format), "MAX_BYTES", "bytes are more than the 1 of a portable model"),
    ],
)
def test_a_model_too_large_to_be_portable_is_said_to_be(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    modules: tuple[ModuleType, ...],
    limit: str,
    reason: str,
) -> None:
    for module in modules:
        monkeypatch.setattr(module, limit, 1)
    assert project.data(lambda i: int(i >= 20)).train() == 0
    card = json.loads((project.folder / "model/card.json").read_text())
    assert reason in card["not_portable"]


def test_text_labels_are_classes_and_the_named_one_is_served(project: Project) -> None:
    project.data(lambda i: "no" if i < 20 else "yes").settings(positive="no", features=["a"])
    predictor = project.predictor()
    assert (predictor.card.classes, predictor.card.positive) == (("no", "yes"), "no")
    assert predictor.predict([0.0]) > 0.9
    assert (
        predictor.card.data_sha256 == hashlib.sha256((project.folder / "data.csv").read_bytes()).hexdigest()
    )


def test_more_classes_are_served_as_an_index_in_the_order_of_their_numbers(project: Project) -> None:
    predictor = project.data(lambda i: (2, 10, 9)[i * 3 // 60], rows=60).predictor()
    assert (predictor.card.classes, predictor.card.positive) == (("2", "9", "10"), None)
    prediction = predictor.predict([25.0, 0.0])
    assert (prediction, type(prediction)) == (2, int)
    assert (project.folder / "model/classes.svg").is_file()


def test_a_regressor_is_served_by_its_value(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    make(monkeypatch, LinearRegression())
    predictor = project.data(lambda i: 2 * i + 0.5).predictor()
    assert isinstance(predictor, PortablePredictor)
    assert (project.folder / "model/residuals.svg").is_file()
    assert predictor.card.task == "regression"
    assert list(predictor.card.metrics) == ["r2", "mean_absolute_error", "root_mean_squared_error"]
    assert predictor.predict([100.0, 2.0]) == pytest.approx(200.5)
    with pytest.raises(
        InvalidInput, match=r"features\[0\]: expected values .* a finite result for, got 1.7e\+308"
    ):
        predictor.predict([1.7e308, 0.0])


def test_trees_in_scikit_learn_refuse_what_single_precision_cannot_hold(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_NODES", 3)
    make(monkeypatch, RandomForestRegressor(n_estimators=3, random_state=0))
    predictor = project.data(lambda i: 2 * i).predictor()
    with pytest.raises(InvalidInput, match=r"instances\[1\]\[0\]: expected values that the model can take"):
        predictor.predict_all([[1.0, 2.0], [1e300, 2.0]])
    with pytest.raises(
        InvalidInput, match=r"features\[1\]: expected values that the model can take, got -1e\+300"
    ):
        predictor.predict([1.0, -1e300])


def test_a_spreadsheets_csv_is_read(project: Project) -> None:
    rows = "".join(f'" {i} ","{"low" if i < 20 else "über"}"\r\n' for i in range(40))
    project.file("data.csv", ("\ufeff a , y \r\n" + rows + "\r\n").encode())
    assert project.read().trained.classes == ("low", "über")


MEMBERS = (
    RandomForestClassifier(20),
    ExtraTreeClassifier(),
    MLPClassifier((5,), max_iter=20),
    HistGradientBoostingClassifier(max_iter=20, early_stopping=True, max_features=0.5),
)
SEARCH = RandomizedSearchCV(SGDClassifier(loss="log_loss"), {"alpha": [1e-4, 1e-3]}, n_iter=2, cv=2)
UNSEEDED = {
    "forest, tree, perceptron, boosting": VotingClassifier(
        [*zip("abcd", MEMBERS, strict=True)], voting="soft"
    ),
    "search": GridSearchCV(RandomForestClassifier(5), {"max_depth": [1, 2]}, cv=2),
    "search in a pipeline": make_pipeline(StandardScaler(), SEARCH),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", UNSEEDED.values(), ids=list(UNSEEDED))
def test_an_estimator_without_a_seed_gives_the_same_bytes_twice(
    project: Project, monkeypatch: pytest.MonkeyPatch, estimator: Any
) -> None:
    project.data(lambda i: "no" if i < 20 else "yes").settings(minimum_score=0.0)
    monkeypatch.setattr(train_model, "make_model", lambda: clone(estimator))
    first, second = ({path.name: path.read_bytes() for path in project.model().iterdir()} for _ in range(2))
    assert first == second
