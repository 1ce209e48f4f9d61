"""`python -m app score`: predictions for a file of rows."""

from __future__ import annotations

import csv
import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression

from app import score
from app.__main__ import main
from app.modelling.model_loader import load
from tests.conftest import without_coverage
from tests.training.project import Project, make
from tests.training.tables.mixed_table import HEADER, MIXED

ROWS = "radius error,id,mean radius,mean texture\n0.3,a,12,15\n1.0,b,20, 25 \n\n0.1,c,9.5,-1e3\n"


def score_file(folder: Path, path: Path, rows: str | bytes) -> list[dict[str, str]]:
    """Return the predictions of a folder's model for rows, which are written to a file."""
    path.write_bytes(rows.encode() if isinstance(rows, str) else rows)
    assert score.main([str(path), "--output", f"{path}.out"], folder) == 0
    return list(csv.DictReader(io.StringIO(Path(f"{path}.out").read_text())))


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """Return where rows are written to."""
    return tmp_path / "rows.csv"


def test_rows_are_predicted_like_those_of_requests_by_the_names_of_their_columns(
    model_dir: Path, csv_file: Path
) -> None:
    predictor = load(model_dir)
    rows = [[12.0, 15.0, 0.3], [20.0, 25.0, 1.0], [9.5, -1e3, 0.1]]
    found = score_file(model_dir, csv_file, ROWS)
    assert [float(each["prediction"]) for each in found] == [predictor.predict(row) for row in rows]
    assert [each["label"] for each in found] == ["benign", "malignant", "benign"]


def test_a_file_of_many_chunks_keeps_its_order(
    model_dir: Path, csv_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = score_file(model_dir, csv_file, ROWS)
    monkeypatch.setattr(score, "CHUNK", 1)
    assert score_file(model_dir, csv_file, ROWS.replace(",", ";")) == expected


def test_categories_booleans_texts_and_missing_values_are_read(refusing_model: Path, csv_file: Path) -> None:
    predictor = load(refusing_model)
    two = predictor.columns[2].encode("2")
    rows = [[0.0, 1.5, two, 1.0, "of, 3 windows"], [math.nan, math.nan, two, 0.0, ""]]
    found = score_file(
        refusing_model, csv_file, HEADER + 'north,1.5,2,true,"of, 3 windows",\nNA,,2,FALSE,,\n'
    )
    assert [float(each["prediction"]) for each in found] == predictor.predict_all(rows)
    assert {each["label"] for each in found} <= {"yes", "no"}


def test_numbers_and_missing_values_are_spelled_as_in_the_file_trained_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, HistGradientBoostingClassifier(max_iter=5, random_state=0))
    rows = "".join(f"{i},{i % 10};{'?' if i % 4 else i % 3};{i // 100}\n" for i in range(200))
    project.file("data.csv", f"a;b;y\n{rows}").file(
        "pyproject.toml",
        '[tool.milestone2]\nname="own"\ndata="data.csv"\ntarget="y"\nminimum={accuracy=0}\n'
        'csv={decimal=",", na_values=["?"]}\n',
    )
    assert project.train() == 0
    folder, expected = project.folder / "model", [[0.5, math.nan], [150.5, 1.0]]
    found = score_file(folder, project.folder / "rows.csv", "b;a\n?;0,5\n1;150,5\n")
    assert [float(each["prediction"]) for each in found] == load(folder).predict_all(expected)
    path = project.file("wrong.csv", "a;b\n0.5;?\n").folder / "wrong.csv"
    assert score.main([str(path)], folder) == 1


def test_a_parquet_file_is_scored_alike(mixed_model: Path, csv_file: Path) -> None:
    buffer = io.BytesIO()
    pd.read_csv(io.StringIO(MIXED)).drop(columns="y").to_parquet(buffer)
    found = score_file(mixed_model, csv_file.with_suffix(".parquet"), buffer.getvalue())
    assert found == score_file(mixed_model, csv_file, MIXED)


def test_a_label_with_a_comma_is_quoted(project: Project) -> None:
    project.file("data.csv", "a,y\n" + "".join(f'{i},"no, ""not"""\n{i + 50},yes\n' for i in range(20)))
    assert project.train() == 0
    (found,) = score_file(project.folder / "model", project.folder / "rows.csv", "a\n1\n")
    assert found["label"] == 'no, "not"'


BAD_ROWS: dict[str, tuple[str, str]] = {
    "nothing": ("", "rows.csv: expected one column 'mean radius' in the header, got 0"),
    "a column twice": (ROWS.replace("id", "mean radius"), "expected one column 'mean radius' in the header"),
    "a ragged row": (ROWS + "1,2\n", "rows.csv, line 6: expected 4 values, got 2"),
    "a text": (ROWS + "1,d,ten,2\n", "line 6, column 'mean radius': expected a finite number, got 'ten'"),
    "an underscore": (ROWS + "1,d,1_0,2\n", "column 'mean radius': expected a finite number, got '1_0'"),
    "other digits": (ROWS + "1,d,٣,2\n", "column 'mean radius': expected a finite number, got '٣'"),
    "infinity": (ROWS + "1,d,inf,2\n", "column 'mean radius': expected a finite number, got 'inf'"),
    "a missing value": (ROWS + "1,d,,2\n", "column 'mean radius': expected a finite number, got ''"),
}


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_a_row_that_the_model_does_not_take_is_one_line_and_status_1(
    model_dir: Path, csv_file: Path, rows: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    csv_file.write_text(rows)
    assert score.main([str(csv_file), "--output", "/dev/null"], model_dir) == 1
    error = capsys.readouterr().err
    assert error.startswith("score: ")
    assert message in error


def test_an_unknown_category_is_refused_with_the_known_ones(
    refusing_model: Path, csv_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv_file.write_text(HEADER + "nowhere,1.5,2,true,any,\n")
    assert score.main([str(csv_file)], refusing_model) == 1
    assert 'line 2, column \'town\': expected one of "north", "east"' in capsys.readouterr().err
    pd.read_csv(csv_file).to_parquet(csv_file.with_suffix(".parquet"))
    assert score.main([str(csv_file.with_suffix(".parquet"))], refusing_model) == 1
    assert 'row 1, column \'town\': expected one of "north", "east"' in capsys.readouterr().err


def test_a_regression_has_no_labels_and_a_row_without_a_finite_result_is_reported_by_its_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(monkeypatch, LinearRegression())
    folder, path = project.data(lambda i: 2 * i).model(), project.folder / "rows.csv"
    (found,) = score_file(folder, path, "a,b\n7,0\n")
    assert found == {"prediction": found["prediction"]}
    assert float(found["prediction"]) == pytest.approx(14)
    path.write_text("a,b\n1,1\n1.7e308,0\n")
    assert score.main([str(path)], folder) == 1
    assert "score: line 3: expected values that the model has a finite result" in capsys.readouterr().err


def test_a_file_that_is_not_there_or_no_parquet_is_one_line(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score.main([str(tmp_path / "none.csv")], model_dir) == 1
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    assert score.main([str(tmp_path / "rows.parquet")], model_dir) == 1
    assert "rows.parquet: expected a Parquet file, got " in capsys.readouterr().err


def test_parquet_needs_pyarrow(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert score.main(["rows.parquet"], model_dir) == 1
    assert "expected a CSV file, as pyarrow is not installed" in capsys.readouterr().err


def test_the_command_reads_standard_input_and_writes_standard_output(model_dir: Path) -> None:
    command = [sys.executable, "-m", "app", "score", "-"]
    environment = without_coverage() | {"MODEL_DIR": str(model_dir)}
    done: Any = subprocess.run(
        command, input=ROWS, capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.splitlines()[0] == "prediction,label"
    assert len(done.stdout.splitlines()) == 4


def test_another_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve"]) == 2
    assert "app: unknown command 'serve'; run `python -m app` to serve" in capsys.readouterr().err


def test_a_wrong_setting_is_reported_before_anything_is_scored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "many")
    assert main(["score", "rows.csv"]) == 2
    assert "PORT is 'many'" in capsys.readouterr().err
