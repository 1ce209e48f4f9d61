"""Rows with categories, booleans and missing values, by place and by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.api.asgi_app import AsgiApp
from app.modelling import model_loader
from app.service import Service
from app.settings import Limits, Settings
from tests.service.client import Client, error_of
from tests.service.model import mixed_columns, write_mixed, write_model
from tests.service.server import running

ROW = ["north", 81.5, 3, True, "red"]
NAMES = [each.feature.name for each in mixed_columns()]
NAMED = dict(zip(NAMES, ROW, strict=True))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    model = model_loader.load(write_mixed(tmp_path_factory.mktemp("mixed")))
    return Client(AsgiApp(Service(Settings(limits=Limits(batch_rows=2000)), model)))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(AsgiApp(Service.load(Settings(model_dir=write_model(tmp_path_factory.mktemp("numbers"))))))


def predicted(client: Client, row: Any) -> float:
    """Return the prediction for a row, which a batch has as well."""
    response = client.post("/predict", json={"features": row})
    assert response.status_code == 200, response.text
    batch = client.post("/predict", json={"instances": [row]})
    assert batch.json() == {"predictions": [response.json()["prediction"]]}
    return float(response.json()["prediction"])


def encoded(client: Client, row: list[Any]) -> float:
    """Return what the model predicts for an encoded row."""
    return client.app.service.predictor().predict(row)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (ROW, [0.0, 81.5, 3.0, 1.0, 0.0]),
        (["Atlantis", 1, 2.5, False, "blue"], [3.0, 1.0, 2.5, 0.0, 1.0]),
        (["nowhere", None, 3, True, "red"], [-1.0, float("nan"), 3.0, 1.0, 0.0]),
        ([None, 81.5, 3, True, "red"], [float("nan"), 81.5, 3.0, 1.0, 0.0]),
    ],
)
def test_rows_are_encoded_in_the_cards_order_and_by_name(
    client: Client, row: list[Any], code: list[Any]
) -> None:
    assert predicted(client, row) == encoded(client, code)
    assert predicted(client, dict(reversed([*zip(NAMES, row, strict=True)]))) == encoded(client, code)


@pytest.mark.parametrize(
    ("row", "place", "message"),
    [
        ([1, *ROW[1:]], "[0]", "expected a string, or null, got 1.0"),
        ([*ROW[:4], "green"], "[4]", 'expected one of "red", "blue", got "green"'),
        ([*ROW[:3], 1, "red"], "[3]", "expected true or false, got 1.0"),
        ([*ROW[:2], None, *ROW[3:]], "[2]", "expected a finite number, got null"),
        ([*ROW[:2], "3", *ROW[3:]], "[2]", 'expected a finite number, got "3"'),
        (ROW[:4], "", "expected 5 values, got 4"),
        (7, "", "expected a list of 5 values, or an object of them by name, got 7.0"),
        (
            NAMED | {"size in m²": "big"},
            '["size in m\\u00b2"]',
            'expected a finite number, or null, got "big"',
        ),
        (
            NAMED | {"extra": 1},
            '["extra"]',
            'expected one of the names "town", "size in m\\u00b2", "rooms", ',
        ),
        ({"town": "north"}, '["size in m\\u00b2"]', "expected a finite number, or null, got no such field"),
    ],
)
def test_a_value_that_a_column_does_not_take_is_named(
    client: Client, row: Any, place: str, message: str
) -> None:
    for body, name in (({"features": row}, "features"), ({"instances": [ROW, row]}, "instances[1]")):
        error = error_of(client.post("/predict", json=body), 400)
        assert error["input"] == name + place
        assert error["message"].startswith(f"{name}{place}: {message}")


def test_a_model_of_numbers_takes_names_too(numbers: Client) -> None:
    named = {"radius error": 1.095, "mean radius": 17.99, "mean texture": 10}
    assert predicted(numbers, named) == predicted(numbers, [17.99, 10, 1.095])
    error = error_of(numbers.post("/predict", json={"features": named | {"mean radius": None}}), 400)
    assert error["message"] == 'features["mean radius"]: expected a finite number, got null'
    assert error_of(numbers.post("/predict", json={"features": [1, None, 3]}), 400)["input"] == "features[1]"


@pytest.mark.parametrize("row", [ROW, NAMED], ids=["lists", "names"])
def test_long_batches_are_answered_in_the_order_of_their_rows(client: Client, row: Any) -> None:
    other = ["south", None, 1, False, "blue"]
    found = client.post("/predict", json={"instances": [row, other] * 1000}).json()
    assert found == {"predictions": [predicted(client, row), predicted(client, other)] * 1000}


def test_a_long_batch_with_too_many_objects_is_refused(client: Client) -> None:
    body = b'{"instances":[' + b",".join([b"{}"] * 20_000) + b"]}"
    assert error_of(client.post("/predict", content=body), 400)["expected"] == "at most 13000 objects"


def test_missing_values_and_unknown_categories_have_bins_of_their_own(tmp_path: Path) -> None:
    rows = (ROW, [None, None, 3, True, "red"], ["nowhere", 1, 2, False, "blue"])
    bodies = [*({"features": row} for row in rows), {"instances": [ROW, [None, 5, 1, True, "red"]]}]
    with running(write_mixed(tmp_path)) as server:
        for body in bodies:
            assert server.ask("POST", "/predict", json.dumps(body).encode()).status == 200
        metrics = server.metrics()
    bins = {
        name: metrics[f'input_bin_total{{feature="town",bin="{name}"}}'] for name in (*"01234", "missing")
    }
    assert bins == {"0": 1, "1": 2, "2": 0, "3": 0, "4": 0, "missing": 2}
    assert metrics['input_bin_share{feature="town",bin="missing"}'] == 0.1
    assert metrics['input_bin_total{feature="size in m²",bin="missing"}'] == 1
    assert 'input_bin_total{feature="rooms",bin="missing"}' not in metrics
