"""Refusals of training: bad data, settings and estimators."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.svm import LinearSVC

from app.modelling import artifact
from tests.training.project import Project, assert_refused, make
from training import team_code
from training.handover import fresh_process


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


ADDRESS = "https://example.com/rows.csv"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": ADDRESS}, f"sha256: {ADDRESS} needs that of its bytes"),
        ({"data": ADDRESS, "sha256": "abc"}, "sha256: String should match pattern"),
        (
            {"data": ADDRESS, "sha256": "0" * 64},
            f"{ADDRESS} has not been fetched: run `./daggerw call train`, which does, or save the file as "
            f"data/fetched/{'0' * 64}.csv",
        ),
        ({"sha256": "0" * 64}, "data.csv: has the SHA-256 "),
    ],
)
def test_data_that_is_not_here_or_is_another_is_refused(
    settings: dict[str, str], message: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.data(lambda i: i // 20).settings(**settings)
    assert_refused(project, capsys, message)


def test_a_table_that_was_fetched_is_trained_on_and_its_address_is_in_the_card(project: Project) -> None:
    content = "a,b,y\n" + "".join(f"{i},{i % 7},{i // 20}\n" for i in range(40))
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    (project.folder / "data/fetched").mkdir(parents=True)
    project.file(f"data/fetched/{sha256}.csv", content).settings(data=ADDRESS, sha256=sha256)
    card = project.predictor().card
    assert (card.data_uri, card.data_sha256) == (ADDRESS, sha256)


def test_a_positive_class_is_refused_when_there_are_not_two(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.data(lambda i: i // 10).settings(positive="0")
    assert_refused(project, capsys, "positive: expected one of two classes, got '0'; there are 0, 1, 2, 3")


LABELS = "".join(f"{i},{i // 10}\n" for i in range(20))
BAD_DATA: dict[str, tuple[str | bytes | None, str]] = {
    "no file": (None, "data.csv: not readable as CSV: [Errno 2] No such file or directory"),
    "empty": (b"", "data.csv: no rows under a header line"),
    "only a header": ("a,y\n", "data.csv: no rows under a header line"),
    "not UTF-8": ("a,y\n1,é\n".encode("latin-1"), "data.csv: not readable as CSV in UTF-8: "),
    "an open quote": ('a,y\n1,"x\n', "data.csv: not readable as CSV: unexpected end of data"),
    "a ragged row": ("a,y\n1,x\n2\n", "data.csv, line 3: 1 values under 2 columns"),
    "a repeated column": ("a,a,y\n1,2,x\n", "data.csv: the header names a column twice"),
    "no target": ("a,b\n1,2\n", "data.csv: no column 'y', which is the target; there are a, b"),
    "no features": ("y\nx\n", "features: expected different columns, none the target, got only 'y'"),
    "text among numbers": (
        "a,y\n1,x\n2,x\n\nten,x\n",
        "data.csv, column 'a', line 5: expected a finite number like most, got 'ten'; if that is how a",
    ),
    "infinity": ("a,y\n1,x\ninf,x\n", "data.csv, column 'a', line 3: expected a finite number, got 'inf'"),
    "too large a number": ("a,y\n1e400,x\n", "column 'a', line 2: expected a finite number, got 'inf'"),
    "no values": ("a,y\nnan,x\n,x\n", "data.csv, column 'a': no row has a value; leave it out"),
    "a missing label": ("a,y\n1,x\n2, \n", "data.csv, column 'y', line 3: expected a label, got nothing"),
    "NA as a label": ("a,y\n1,x\n2,NA\n", "column 'y', line 3: expected a label, got 'NA'; delete the rows"),
    "None as a label": ("a,y\n1,x\n2,None\n", "column 'y', line 3: expected a label, got 'None'; delete"),
    "nan as a label": ("a,y\n1,x\n2, nan\n", "column 'y', line 3: expected a label, got 'nan'; delete"),
    "an index": (",a,y\n0,1,x\n", "data.csv: the first column has no name, like an index that pandas has"),
    "a renamed index": ("Unnamed: 0,a,y\n0,1,x\n", "data.csv: the first column has no name, like an index"),
    "an empty header cell": ("a,y,\n1,x,\n", "data.csv: column 3 has no name; delete it (spreadsheets add"),
    "underscores": ("a,y\n1_234,x\n5,x\n", "column 'a', line 2: '1_234' has an underscore in a number"),
    "other digits": ("a,y\n5,x\n٣,x\n", "column 'a', line 3: '٣' has digits other than 0 to 9"),
    "decimal commas": (
        'a,y\n1,x\n"1,5",x\n',
        "column 'a', line 3: '1,5' has a decimal comma; set decimal = \",\" in [tool.milestone2.csv]",
    ),
    "unquoted decimal commas": (
        "a,y\n1,5,x\n",
        "line 2: 3 values under 2 columns; decimal commas need another separator, or quotes",
    ),
    "thousands separators": ('a,y\n"1,234",x\n5,x\n', "line 2: '1,234' has a thousands separator; write"),
    "thousands apart": ("a;y\n1 234;x\n5;x\n", "column 'a', line 2: '1 234' has a thousands separator"),
    "dates": ("a,y\n2024-01-31,x\n2024-02-29,x\n", "data.csv, column 'a': dates are no features; turn"),
    "times": ("a,y\n31.12.2024 23:59,x\n", "data.csv, column 'a': dates are no features; turn them into"),
    "one class": ("a,y\n1,x\n2,x\n", "data.csv, column 'y': only one class, 'x'"),
    "a rare class": (
        "a,y\n" + LABELS + "1,2\n",
        "column 'y': class '2' has 1 of the 4 rows needed; for a quantity",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_DATA.values(), ids=list(BAD_DATA))
def test_bad_data_is_one_line_and_status_2(
    project: Project, capsys: pytest.CaptureFixture[str], content: str | bytes | None, message: str
) -> None:
    assert_refused(project if content is None else project.file("data.csv", content), capsys, message)


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
        ({"minimum_score": None}, "minimum: expected a metric's least value, such as minimum = {accuracy = "),
        ({"minimum": {"r2": 0.5}}, "minimum: no metric 'r2' for this target; there are accuracy, balanced_"),
        ({"csv": {"separator": ";"}}, "one column with the separator ';', but it looks like a comma; leave"),
        ({"csv": {"encoding": "utf-9"}}, "csv.encoding: Value error, Python knows no such encoding"),
        ({"csv": {"decimal": "."}, "columns": {"c": {"unit": "m"}}}, "data.csv: no column 'c'; there are a"),
        ({"columns": {"a": {"kind": "date"}}}, "columns.a.kind: Input should be 'number', 'integer', 'bool"),
        ({"columns": {"a": {"kind": "boolean"}}}, "column 'a', line 4: expected true or false, got '2'"),
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
        (None, "pyproject.toml: not readable as TOML: [Errno 2] No such file"),
    ],
)
def test_a_settings_file_without_settings_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    project = Project(tmp_path)
    assert_refused(project.file("pyproject.toml", content) if content else project, capsys, message)


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


class Fragile(LinearRegression):  # type: ignore[misc]
    """Predicts the rows held out and no others."""

    def predict(self, x: Any) -> Any:
        return super().predict(x) if len(x) == 10 else 1 / 0


def halves(i: int) -> int:
    return i // 20


NO_FILE = "define that at the head of a module in features/, and import it from there"
ESTIMATORS: dict[str, tuple[Any, Callable[[int], int], str]] = {
    "unfit": (RandomForestRegressor(n_estimators=-1), int, "make_model()'s estimator cannot be fitted: "),
    "fragile": (Fragile(), int, "the estimator fails on rows that it was fitted to: the model failed: Zero"),
    "no probabilities": (LinearSVC(), halves, "two classes need an estimator with predict_proba"),
    "sparse": (
        make_pipeline(OneHotEncoder(), HistGradientBoostingRegressor()),
        int,
        "; have what comes before return dense columns: sparse_output=False",
    ),
    "a lambda": (make_pipeline(FunctionTransformer(lambda x: x), LinearRegression()), int, NO_FILE),
    "an inner function": (
        make_pipeline(FunctionTransformer((lambda: lambda x: x)()), LinearRegression()),
        int,
        NO_FILE,
    ),
    "no winner": (
        GridSearchCV(Ridge(), {"alpha": [1.0, 2.0]}, refit=False),
        int,
        "make_model(): GridSearchCV(refit=False) has no estimator to serve; leave refit out",
    ),
}


@pytest.mark.parametrize(("estimator", "label", "message"), ESTIMATORS.values(), ids=list(ESTIMATORS))
def test_an_estimator_that_cannot_be_served_is_one_line(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    estimator: object,
    label: Callable[[int], int],
    message: str,
) -> None:
    make(monkeypatch, estimator)
    assert_refused(project.data(label), capsys, message)


def test_a_card_that_the_service_would_not_read_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "MAX_CARD_BYTES", 100)
    message = "card.json would be longer than 100 bytes; name fewer features in pyproject.toml"
    assert_refused(project.data(lambda i: i // 20), capsys, message)


HALF = "\n\ndef half(x):\n    return x / 2\n"
HALVED = """
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer


def make_model():
    return make_pipeline(FunctionTransformer(half), KNeighborsClassifier())
"""
MISTAKES = {
    "a function in train_model.py": (
        f"{HALVED}{HALF}",
        "'half' is defined in train_model.py, which the image doesn't have; move it to a module in features/",
    ),
    "a module beside train_model.py": (
        f"from beside import half\n{HALVED}",
        "'half' is defined in beside.py, which the image doesn't have; move it to a module in features/",
    ),
    "a library that isn't installed": (
        "from lightgbm_that_is_missing import LGBMClassifier\n",
        "train_model.py cannot be imported: train_model.py:1: No module named 'lightgbm_that_is_missing'; "
        "add a library with `./daggerw call lock --add lightgbm_that_is_missing`, or move code",
    ),
    "an error in make_model()": (
        "from sklearn.svm import SVC\n\n\ndef make_model():\n    return SVC(1, 2)\n",
        "make_model() failed: train_model.py:5: TypeError: SVC.__init__() takes",
    ),
}


@pytest.mark.parametrize(("program", "message"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_in_the_team_s_files_is_one_line_with_its_place_and_remedy(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    message: str,
) -> None:
    for module in (fresh_process, team_code):
        monkeypatch.setattr(module, "ROOT", project.folder)
    monkeypatch.syspath_prepend(project.folder)
    for name in ("beside", "train_model"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]  # until it is imported from the project
    project.file("beside.py", HALF).file("train_model.py", program)
    assert_refused(project.data(lambda i: i // 20), capsys, message)


class Counting(KNeighborsRegressor):  # type: ignore[misc]
    """Predicts something else each time."""

    calls = 0

    def predict(self, x: Any) -> Any:
        Counting.calls += 1
        return super().predict(x) + Counting.calls


def test_a_model_that_predicts_otherwise_in_a_fresh_process_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fresh_process, "IN_THE_IMAGE", ("app", "features", "tests", "training", "train_model.py")
    )
    make(monkeypatch, Counting())
    message = "in training; what it predicts must depend on the row alone"
    assert_refused(project.data(lambda i: i).settings(minimum_score=-100), capsys, message)
