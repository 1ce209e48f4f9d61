"""Tables with categories, booleans, texts and missing values: what training makes of them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from app.errors import ArtifactError
from app.modelling.model_loader import load
from app.modelling.predictor import Predictor
from tests.training.project import Project, assert_refused, make
from tests.training.tables.mixed_table import LENIENT, MIXED


def test_kinds_are_in_card_and_output(mixed_model: Path) -> None:
    assert [(each.name, each.kind) for each in load(mixed_model).card.features] == [
        ("town", "category"),
        ("size", "number"),
        ("rooms", "integer"),
        ("garden", "boolean"),
        ("note", "text"),
    ]
    output = (mixed_model / "output.txt").read_text()
    assert "data.csv: 200 rows, separator ',', decimal '.', utf-8\n" in output
    assert "  number: size\n  integer: rooms\n  boolean: garden\n" in output
    assert "  category: town (4 categories)\n  text: note\n" in output
    assert "  missing values: town " in output


def test_rare_categories_are_counted_and_not_named(mixed_model: Path) -> None:
    predictor = load(mixed_model)
    town = predictor.card.features[0]
    assert town.categories == ("north", "east", "south")
    assert town.rare == 1
    assert predictor.columns[0].categories == (*town.categories, "Atlantis")
    assert "Atlantis" not in (mixed_model / "card.json").read_text()
    assert "Atlantis" not in (mixed_model / "golden.json").read_text()
    assert len(town.bins.shares) == len(town.bins.edges) + 1 == 5
    assert sum(town.bins.shares) + town.missing_share == pytest.approx(1)


def test_the_card_says_where_the_model_takes_missing_values_and_unknown_categories(
    mixed_model: Path, refusing_model: Path
) -> None:
    town, size, rooms, garden, _ = load(mixed_model).card.features
    assert (town.missing, town.unknown) == (True, True)
    assert (size.missing, size.missing_share > 0.05) == (True, True)
    assert (rooms.missing_share, garden.missing_share) == (0, 0)
    assert not load(refusing_model).card.features[0].unknown


def test_no_text_and_no_row_of_the_data_is_in_the_card_or_the_golden_rows(mixed_model: Path) -> None:
    predictor = load(mixed_model)
    golden = json.loads((mixed_model / "golden.json").read_text())["rows"]
    assert "windows" not in (mixed_model / "card.json").read_text()
    assert {each["features"][4] for each in golden} == {""}
    assert {type(each["features"][3]) for each in golden} == {bool}
    assert {each["features"][0] for each in golden} >= {"north", "south", None}
    sizes = {each["features"][1] for each in golden} - {None}
    assert len(sizes & {i + 0.5 for i in range(13)}) < 5
    assert [_value(predictor, each["features"]) for each in golden] == [each["prediction"] for each in golden]


def _value(predictor: Predictor, features: list[Any]) -> float:
    values = [float(each) if type(each) is int else each for each in features]
    return predictor.predict(
        [column.encode(value) for column, value in zip(predictor.columns, values, strict=True)]
    )


def test_columns_say_what_they_take(mixed_model: Path) -> None:
    town, size, rooms, garden, note = load(mixed_model).columns
    assert town.expected == "a string, or null"
    assert (town.encode("east"), town.encode("Atlantis"), town.encode("nowhere")) == (1.0, 3.0, -1.0)
    assert town.encode(1.0) is None
    assert (size.expected, rooms.expected) == ("a finite number, or null",) * 2
    assert [rooms.encode(value) for value in (True, "1", math.inf)] == [None] * 3
    assert rooms.encode(2.5) == 2.5
    assert garden.expected == "true or false"
    assert [garden.encode(value) for value in (True, False, 1.0)] == [1.0, 0.0, None]
    assert (note.encode("any"), note.encode(3.0)) == ("any", None)


def test_a_category_that_the_encoder_refuses_is_reported_with_the_known_ones(refusing_model: Path) -> None:
    town = load(refusing_model).columns[0]
    assert town.expected == 'one of "north", "east", "south", …, or null'
    assert town.encode("nowhere") is None


def test_kinds_descriptions_and_units_can_be_given(refusing_model: Path) -> None:
    feature = load(refusing_model).card.features[2]
    assert (feature.kind, sorted(feature.categories)) == ("category", list("01234"))
    assert (feature.description, feature.unit) == ("Rooms with a window", "rooms")


@pytest.mark.parametrize(
    ("content", "dialect"),
    [
        (MIXED.replace(",", ";"), "separator ';', decimal '.', utf-8"),
        (MIXED.replace(",", ";").replace(".5", ",5"), "separator ';', decimal ',', utf-8"),
        (MIXED.replace(",", "\t"), r"separator '\t', decimal '.', utf-8"),
        (MIXED.replace(",", "|"), "separator '|', decimal '.', utf-8"),
        ("\ufeff" + MIXED, "separator ',', decimal '.', utf-8-sig"),
    ],
)
def test_the_dialect_is_detected(mixed_project: Project, content: str, dialect: str) -> None:
    data = mixed_project.file("data.csv", content).read()
    assert (data.dialect, data.trained.kinds["size"]) == (dialect, "number")
    assert data.trained.x["size"].max() == 12.5


def test_an_encoding_and_missing_spellings_can_be_given(mixed_project: Project) -> None:
    content = MIXED.replace("north", "nörd").replace("NA", "?").encode("cp1252")
    csv = {"encoding": "cp1252", "na_values": ["?"]}
    towns = mixed_project.file("data.csv", content).settings(csv=csv, **LENIENT).read().trained.x["town"]
    assert "nörd" in set(towns)
    assert towns.isna().any()


def test_a_parquet_file_is_read_alike(mixed_project: Project) -> None:
    expected = mixed_project.read().trained
    pd.read_csv(mixed_project.folder / "data.csv").to_parquet(
        mixed_project.folder / "data.parquet", index=False
    )
    found = mixed_project.settings(data="data.parquet", **LENIENT).read().trained
    pd.testing.assert_frame_equal(found.x, expected.x)
    assert (found.classes, found.kinds) == (expected.classes, expected.kinds)


def test_a_parquet_file_with_dates_or_without_meaning_is_refused(
    mixed_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"a": pd.to_datetime(["2024-01-01"] * 9), "y": range(9)}).to_parquet(
        mixed_project.folder / "data.parquet", index=False
    )
    mixed_project.settings(data="data.parquet")
    assert_refused(mixed_project, capsys, "data.parquet, column 'a': dates are no features")
    assert_refused(
        mixed_project.file("data.parquet", b"PAR1"), capsys, "data.parquet: not readable as Parquet: "
    )


def test_parquet_without_pyarrow_is_refused(
    mixed_project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.reading.table.find_spec", lambda name: None)
    mixed_project.settings(data="data.parquet")
    assert_refused(
        mixed_project, capsys, "reading Parquet needs pyarrow: `pip install pyarrow`, or write a CSV file"
    )


def test_an_estimator_without_preparation_is_refused_with_the_columns_that_need_it(
    mixed_project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, LogisticRegression())
    message = "to be left out with `features`: town (with missing values), note (text), size (with missing"
    assert_refused(mixed_project, capsys, message)


def test_a_model_no_better_than_a_dummy_is_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.data(lambda i: int(i % 12 == 0), rows=400)
    assert project.train() == 1
    error = capsys.readouterr().err
    assert "accuracy on the rows held out is 0.9200, no better than 0.9200 of a dummy" in error
    assert not (project.folder / "model").exists()


@pytest.mark.parametrize(
    ("minimum", "status", "message"),
    [
        ({"roc_auc": 0.9, "log_loss": 0.5}, 0, ": roc_auc 1.0000, accuracy "),
        ({"f1": 1.1}, 1, "f1 on the rows held out is 1.0000, below 1.1"),
        ({"log_loss": 0.0}, 1, "log_loss on the rows held out is 0.1991, above 0.0"),
    ],
)
def test_a_minimum_can_be_of_any_metric(
    project: Project, capsys: pytest.CaptureFixture[str], minimum: dict[str, float], status: int, message: str
) -> None:
    project.data(lambda i: int(i >= 20)).settings(minimum_score=None, minimum=minimum)
    assert project.train() == status
    assert message in "".join(capsys.readouterr())


def test_the_card_says_what_each_column_adds(project: Project) -> None:
    a, b = project.data(lambda i: int(i >= 20)).predictor().card.features
    assert a.importance is not None
    assert b.importance is not None
    assert a.importance > 0.2 > b.importance


def test_categories_that_are_not_the_cards_are_refused(mixed_model: Path, tmp_path: Path) -> None:
    path = shutil.copytree(mixed_model, tmp_path / "model") / "categories.json"
    path.write_text(path.read_text().replace("Atlantis", "Utopia"))
    with pytest.raises(ArtifactError, match="categories.json has SHA-256 .*, its card says"):
        load(path.parent)


@pytest.mark.parametrize(
    "edit",
    [
        lambda feature: feature.update(rare=0),
        lambda feature: feature.update(kind="text"),
        lambda feature: feature.update(name="city"),
        lambda feature: feature.update(categories=["south", "north", "east"]),
    ],
)
def test_a_card_with_other_categories_is_refused(
    mixed_model: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    path = shutil.copytree(mixed_model, tmp_path / "model") / "card.json"
    card = json.loads(path.read_text())
    edit(card["features"][0])
    path.write_text(json.dumps(card))
    with pytest.raises(ArtifactError, match=r"categories.json isn't the list of its card's categories"):
        load(path.parent)
