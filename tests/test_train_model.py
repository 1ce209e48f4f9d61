"""Training: what it makes of good data, and how it refuses bad data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

import train_model
from app.errors import InvalidInput
from app.predictor import Predictor, load
from tests.conftest import known_estimator
from training import export

# They run on another processor meanwhile; tests/test_train_process.py comes next and asks for them.
pytestmark = pytest.mark.usefixtures("trainings")


@dataclass(frozen=True)
class Project:
    """A folder with settings and data of one's own."""

    folder: Path

    def settings(self, **changes: Any) -> Project:
        table = {"name": "own", "data": "data.csv", "target": "y", "minimum_score": 0.5} | changes
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
        return self.file("pyproject.toml", "[tool.milestone2]\n" + "\n".join(lines))

    def file(self, name: str, content: str | bytes) -> Project:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def data(self, label: Callable[[int], object], rows: int = 40) -> Project:
        """Write rows of a, b and y, which is the label of the row's number."""
        return self.file("data.csv", "a,b,y\n" + "".join(f"{i},{i % 7},{label(i)}\n" for i in range(rows)))

    def train(self) -> int:
        return train_model.main(
            ["--settings", str(self.folder / "pyproject.toml"), "--output", str(self.folder / "model")]
        )

    def predictor(self) -> Predictor:
        assert self.train() == 0
        return load(self.folder / "model")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    make(monkeypatch, known_estimator())
    return Project(tmp_path).settings()


def make(monkeypatch: pytest.MonkeyPatch, estimator: object) -> None:
    """Have the team's make_model() return another estimator."""
    monkeypatch.setattr(train_model, "make_model", lambda: estimator)


def test_the_card_says_what_the_model_is(model_dir: Path) -> None:
    card = json.loads((model_dir / "card.json").read_text())
    model = (model_dir / "model.joblib").read_bytes()
    assert card["artifact_sha256"] == hashlib.sha256(model).hexdigest()
    assert [feature["name"] for feature in card["features"]] == [
        "mean radius",
        "mean texture",
        "radius error",
    ]
    assert (card["task"], card["target"]) == ("classification", "diagnosis")
    assert (card["classes"], card["positive"]) == (["benign", "malignant"], "malignant")
    assert card["metrics"]["accuracy"] >= 0.9
    assert card["rows"] == {"train": 426, "test": 143}
    assert set(card["libraries"]) == {"python", "joblib", "numpy", "scikit-learn", "scipy"}
    for feature in card["features"]:
        values = [feature["minimum"], *feature["quantiles"].values(), feature["maximum"]]
        assert values == sorted(values)


def test_the_model_calls_a_large_tumour_malignant(model_dir: Path) -> None:
    predictor = load(model_dir)
    assert predictor.predict([25.0, 30.0, 1.2]) > 0.99
    assert predictor.predict([9.0, 15.0, 0.2]) < 0.01


def test_text_labels_are_classes_and_the_named_one_is_served(project: Project) -> None:
    project.data(lambda i: "no" if i < 20 else "yes").settings(positive="no", features=["a"])
    predictor = project.predictor()
    assert (predictor.card.classes, predictor.card.positive) == (("no", "yes"), "no")
    assert predictor.predict([0.0]) > 0.9
    assert (
        predictor.card.data_sha256 == hashlib.sha256((project.folder / "data.csv").read_bytes()).hexdigest()
    )


def test_without_a_name_the_second_class_is_served_and_every_column_is_a_feature(project: Project) -> None:
    card = project.data(lambda i: int(i >= 20)).predictor().card
    assert (card.classes, card.positive) == (("0", "1"), "1")
    assert [feature.name for feature in card.features] == ["a", "b"]


def test_more_classes_are_served_as_an_index_in_the_order_of_their_numbers(project: Project) -> None:
    predictor = project.data(lambda i: (2, 10, 9)[i * 3 // 60], rows=60).predictor()
    assert (predictor.card.classes, predictor.card.positive) == (("2", "9", "10"), None)
    prediction = predictor.predict([25.0, 0.0])
    assert (prediction, type(prediction)) == (2, int)


def test_a_positive_class_is_refused_when_there_are_not_two(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.data(lambda i: i // 10).settings(positive="0")
    assert_refused(project, capsys, "positive: expected one of two classes, got '0'; there are 0, 1, 2, 3")


def test_a_regressor_is_served_by_its_value(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    make(monkeypatch, LinearRegression())
    predictor = project.data(lambda i: 2 * i + 0.5).predictor()
    assert predictor.card.task == "regression"
    assert list(predictor.card.metrics) == ["r2", "mean_absolute_error"]
    assert predictor.predict([100.0, 2.0]) == pytest.approx(200.5)
    with pytest.raises(
        InvalidInput, match=r"features\[0\]: expected values .* a finite result for, got 1.7e\+308"
    ):
        predictor.predict([1.7e308, 0.0])


def test_trees_take_whatever_is_finite(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    make(monkeypatch, DecisionTreeRegressor())
    predictor = project.data(lambda i: 2 * i).predictor()
    assert predictor.predict([1e300, -1e300]) == predictor.predict([40.0, 0.0])


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
    assert project.predictor().card.classes == ("low", "über")


def test_training_needs_the_minimum_score(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.data(lambda i: i % 2).settings(minimum_score=0.99)
    assert project.train() == 1
    assert "accuracy on the rows held out is 0." in capsys.readouterr().err
    assert not (project.folder / "model").exists()


def test_an_output_that_cannot_be_written_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.data(lambda i: i // 20).file("model", "a file where the folder should be")
    assert project.train() == 1
    assert capsys.readouterr().err.count("\n") == 1


LABELS = "".join(f"{i},{i // 10}\n" for i in range(20))
BAD_DATA: dict[str, tuple[str | bytes, str]] = {
    "empty": (b"", "data.csv: no rows under a header line"),
    "only a header": ("a,y\n", "data.csv: no rows under a header line"),
    "not UTF-8": ("a,y\n1,é\n".encode("latin-1"), "data.csv: not readable as CSV in UTF-8: "),
    "an open quote": ('a,y\n1,"x\n', "data.csv: not readable as CSV in UTF-8: unexpected end of data"),
    "a ragged row": ("a,y\n1,x\n2\n", "data.csv, line 3: 1 values under 2 columns"),
    "a repeated column": ("a,a,y\n1,2,x\n", "data.csv: the header names a column twice"),
    "no target": ("a,b\n1,2\n", "data.csv: no column 'y'; there are a, b"),
    "no features": ("y\nx\n", "features: expected different columns, none the target, got \n"),
    "text in a number": (
        "a,y\n1,x\n\nten,x\n",
        "data.csv, column 'a', line 4: expected a finite number, got 'ten'",
    ),
    "a missing number": ("a,y\n,x\n", "data.csv, column 'a', line 2: expected a finite number, got ''"),
    "nan": ("a,y\nnan,x\n", "data.csv, column 'a', line 2: expected a finite number, got 'nan'"),
    "a missing label": ("a,y\n1,x\n2, \n", "data.csv, column 'y', line 3: expected a label, got nothing"),
    "one class": ("a,y\n1,x\n2,x\n", "data.csv, column 'y': only one class, 'x'"),
    "a rare class": (
        "a,y\n" + LABELS + "1,2\n",
        "column 'y': class '2' has 1 of the 4 rows needed; for a quantity",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_DATA.values(), ids=list(BAD_DATA))
def test_bad_data_is_one_line_and_status_2(
    project: Project, capsys: pytest.CaptureFixture[str], content: str | bytes, message: str
) -> None:
    assert_refused(project.file("data.csv", content), capsys, message)


def assert_refused(project: Project, capsys: pytest.CaptureFixture[str], message: str) -> None:
    """Check that training ends with status 2 and one line that holds the message."""
    assert project.train() == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith("train_model: ")
    assert message in output.err


def test_a_missing_file_is_one_line_and_status_2(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(
        project, capsys, "data.csv: not readable as CSV in UTF-8: [Errno 2] No such file or directory"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ["a", "c"]}, "data.csv: no column 'c'; there are a, b, y"),
        ({"features": ["a", "a"]}, "features: expected different columns, none the target, got a, a"),
        ({"features": ["a", "y"]}, "features: expected different columns, none the target, got a, y"),
        ({"positive": "2"}, "positive: expected one of two classes, got '2'; there are 0, 1"),
        ({"target": None}, "[tool.milestone2] target: Field required"),
        ({"targets": "y"}, "[tool.milestone2] targets: Extra inputs are not permitted"),
        ({"name": "Not A Name"}, "[tool.milestone2] name: String should match pattern"),
        ({"minimum_score": 90}, "[tool.milestone2] minimum_score: Input should be less than or equal to 1"),
        ({"minimum_score": "0.9"}, "[tool.milestone2] minimum_score: Input should be a valid number"),
    ],
)
def test_wrong_settings_are_one_line_and_status_2(
    project: Project, capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    assert_refused(project.data(lambda i: i // 20).settings(**changes), capsys, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[project]\n", "no table [tool.milestone2]"),
        (b"tool = 1\n", "no table [tool.milestone2]"),
        (b"[tool", "not readable as TOML: "),
        (b"\xff", "not readable as TOML: "),
    ],
)
def test_a_settings_file_without_settings_is_one_line_and_status_2(
    project: Project, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    assert_refused(project.file("pyproject.toml", content), capsys, message)


def test_a_missing_settings_file_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(Project(tmp_path), capsys, "pyproject.toml: not readable as TOML: [Errno 2] No such file")


@pytest.mark.parametrize(("rows", "value"), [(7, "{}"), (40, "1")])
def test_a_regression_needs_rows_and_different_values(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    value: str,
) -> None:
    make(monkeypatch, LinearRegression())
    assert_refused(
        project.data(lambda i: value.format(i), rows),
        capsys,
        "data.csv, column 'y': needs 8 rows and two values",
    )


def test_an_estimator_that_cannot_be_fitted_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, RandomForestRegressor(n_estimators=-1))
    assert_refused(project.data(lambda i: i), capsys, "make_model()'s estimator cannot be fitted: ")


def test_two_classes_need_an_estimator_with_probabilities(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, LinearSVC())
    assert_refused(
        project.data(lambda i: i // 20),
        capsys,
        "make_model(): two classes need an estimator with predict_proba",
    )
