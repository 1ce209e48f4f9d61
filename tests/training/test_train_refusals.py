"""Training: how it refuses bad data, settings and estimators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.svm import LinearSVC

from tests.training.project import Project, assert_refused, make


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


def test_a_positive_class_is_refused_when_there_are_not_two(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.data(lambda i: i // 10).settings(positive="0")
    assert_refused(project, capsys, "positive: expected one of two classes, got '0'; there are 0, 1, 2, 3")


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


class Fragile(LinearRegression):  # type: ignore[misc]
    """Predicts the rows held out and no others."""

    def predict(self, x: Any) -> Any:
        return super().predict(x) if len(x) == 10 else 1 / 0


def test_an_estimator_that_fails_on_what_it_learnt_from_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, Fragile())
    message = "make_model(): the estimator fails on rows that it was fitted to: the model failed: Zero"
    assert_refused(project.data(lambda i: i), capsys, message)


def test_two_classes_need_an_estimator_with_probabilities(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, LinearSVC())
    assert_refused(
        project.data(lambda i: i // 20),
        capsys,
        "make_model(): two classes need an estimator with predict_proba",
    )
