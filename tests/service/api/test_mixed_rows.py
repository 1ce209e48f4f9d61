"""Rows with categories, booleans and missing values, by place and by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.settings import Limits
from tests.service.client import Client, client_of, error_of
from tests.service.model import mixed_columns, write_classes, write_mixed, write_sum
from tests.service.server import samples

ROW = ["north", 81.5, 3, True, "red"]
NAMES = [each.feature.name for each in mixed_columns()]
NAMED = dict(zip(NAMES, ROW, strict=True))
SIZE = '["size in m\\u00b2"]'


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    return client_of(write_mixed(tmp_path_factory.mktemp("mixed")), limits=Limits(batch_rows=2000))


@pytest.fixture(scope="module")
def numbers(number_model: Path) -> Client:
    return client_of(number_model)


def predict(client: Client, row: Any) -> float:
    """Return the prediction for a row, which a batch has as well."""
    response = client.post("/predict", json={"features": row})
    assert response.status_code == 200, response.text
    batch = client.post("/predict", json={"instances": [row]})
    assert batch.json() == {"predictions": [response.json()["prediction"]]}
    return float(response.json()["prediction"])


def predict_encoded(client: Client, row: list[Any]) -> float:
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
    assert predict(client, row) == predict_encoded(client, code)
    assert predict(client, dict(reversed([*zip(NAMES, row, strict=True)]))) == predict_encoded(client, code)


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
        (NAMED | {"size in m²": "big"}, SIZE, 'expected a finite number, or null, got "big"'),
        (NAMED | {"extra": 1}, '["extra"]', 'expected one of the names "town", "size in '),
        ({"town": "north"}, SIZE, "expected a finite number, or null, got no such field"),
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
    assert predict(numbers, named) == predict(numbers, [17.99, 10, 1.095])
    error = error_of(numbers.post("/predict", json={"features": named | {"mean radius": None}}), 400)
    assert error["message"] == 'features["mean radius"]: expected a finite number, got null'
    assert error_of(numbers.post("/predict", json={"features": [1, None, 3]}), 400)["input"] == "features[1]"


def test_missing_values_and_unknown_categories_have_bins_of_their_own(tmp_path: Path) -> None:
    rows = (ROW, [None, None, 3, True, "red"], ["nowhere", 1, 2, False, "blue"])
    bodies = [*({"features": row} for row in rows), {"instances": [ROW, [None, 5, 1, True, "red"]]}]
    client = client_of(write_mixed(tmp_path))
    for body in bodies:
        assert client.post("/predict", json=body).status_code == 200
    metrics = samples(client.get("/metrics").text)
    bins = {
        name: metrics[f'input_bin_total{{feature="town",bin="{name}"}}'] for name in (*"01234", "missing")
    }
    assert bins == {"0": 1, "1": 2, "2": 0, "3": 0, "4": 0, "missing": 2}
    assert metrics['input_bin_share{feature="town",bin="missing"}'] == 0.1
    assert metrics['input_bin_total{feature="size in m²",bin="missing"}'] == 1
    assert 'input_bin_total{feature="rooms",bin="missing"}' not in metrics


def test_details_name_the_class_and_the_probabilities(client: Client, numbers: Client) -> None:
    row = client.post("/predict?details=true", json={"features": ROW}).json()
    probability = row["prediction"]
    assert list(row) == ["prediction", "model_version", "label", "probabilities"]
    assert row["label"] == ("stayed" if probability >= 0.5 else "left")
    assert row["probabilities"] == {"left": 1 - probability, "stayed": probability}
    batch = client.post("/predict?details=true", json={"instances": [ROW, NAMED]}).json()
    assert batch == {
        "predictions": [probability] * 2,
        "labels": [row["label"]] * 2,
        "probabilities": [row["probabilities"]] * 2,
    }
    plain = client.post("/predict?details=false", json={"features": ROW}).json()
    assert list(plain) == ["prediction", "model_version"]
    error = error_of(client.post("/predict?details=1", json={"features": ROW}), 400)
    assert error["message"] == 'details: expected true or false, got "1"'


@pytest.mark.parametrize(
    ("write", "expected"),
    [(write_sum, {}), (write_classes, {"label": "versicolor"})],
    ids=["number", "classes"],
)
def test_details_are_what_the_model_knows(
    write: Callable[[Path], Path], expected: dict[str, str], tmp_path: Path
) -> None:
    answer = client_of(write(tmp_path)).post("/predict?details=true", json={"features": [1, 2, 3]}).json()
    assert type(answer.pop("prediction")) is (int if expected else float)
    assert answer == {"model_version": "v1.2.3"} | expected


def test_the_openapi_document_has_the_model_and_an_example_that_works(
    client: Client, numbers: Client
) -> None:
    document = client.get("/openapi.json").json()
    assert document["info"]["title"] == "known"
    assert "- `size in m²` (number): Of all, in m²" in document["info"]["description"]
    for path in ("/predict", "/invocations", "/v2/models/known/infer"):
        for each in (client, numbers):
            paths = each.get("/openapi.json").json()["paths"]
            schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            assert each.post(path, json=schema["example"]).status_code == 200
    single = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "oneOf"
    ][0]
    _, named = single["properties"]["features"]["anyOf"]
    assert named["required"] == NAMES
    assert named["properties"]["size in m²"]["description"] == "Of all, in m²"
    assert named["properties"]["color"] == {"type": "string", "enum": ["red", "blue"]}
    assert named["properties"]["town"]["anyOf"][1] == {"type": "null"}


INFER = "/v2/models/known/infer"
TENSORS = [
    {"name": "town", "datatype": "BYTES", "shape": [2], "data": ["north", None]},
    {"name": "size in m²", "datatype": "FP64", "shape": [2, 1], "data": [[81.5], [None]]},
    {"name": "rooms", "datatype": "INT64", "shape": [2], "data": [3, 4]},
    {"name": "garden", "datatype": "BOOL", "shape": [2], "data": [True, False]},
    {"name": "color", "datatype": "BYTES", "shape": [2], "data": ["red", "blue"]},
]


def test_tensors_by_name_are_columns(client: Client, numbers: Client) -> None:
    metadata = client.get("/v2/models/known").json()["inputs"]
    assert [(each["name"], each["datatype"]) for each in metadata] == [
        (each["name"], each["datatype"]) for each in TENSORS
    ]
    output = client.post(INFER, json={"inputs": TENSORS[::-1]}).json()["outputs"][0]
    assert output["data"] == [predict(client, ROW), predict(client, [None, None, 4, False, "blue"])]
    named = {"mean radius": 17.99, "mean texture": 10, "radius error": 1.095}
    tensors = [
        {"name": key, "datatype": "FP32", "shape": [1], "data": [value]} for key, value in named.items()
    ]
    output = numbers.post(INFER, json={"inputs": tensors}).json()["outputs"][0]
    assert output["data"] == [predict(numbers, named)]


@pytest.mark.parametrize(
    ("index", "changes", "message"),
    [
        (0, {"name": "city"}, 'inputs[0].name: expected the name of a column, each once, got "city"'),
        (1, {"name": "town"}, 'inputs[1].name: expected the name of a column, each once, got "town"'),
        (0, {"datatype": "FP64"}, 'inputs[0].datatype: expected one of BYTES, got "FP64"'),
        (2, {"datatype": "BOOL"}, 'inputs[2].datatype: expected one of FP64, FP32, INT64, got "BOOL"'),
        (2, {"data": [3, 4.5]}, "inputs[2].data[1]: expected a value of INT64, got 4.5"),
        (3, {"data": [1, True]}, "inputs[3].data[0]: expected true or false, got 1.0"),
        (4, {"data": ["red", "green"]}, 'inputs[4].data[1]: expected one of "red", "blue", got "green"'),
        (4, {"shape": [3]}, "inputs[4].shape: expected [2], as there are so many values, got [3.0]"),
        (4, {"shape": [2, 1, 1, 1, 1]}, "so many values, got [2.0, 1.0, 1.0, 1.0, …]"),
        (4, {"shape": [float("inf")]}, "so many values, got [Infinity]"),
        (4, {"shape": [1], "data": ["red"]}, "inputs: expected tensors of the same shape"),
        (4, {"data": "red"}, 'inputs[4].data: expected a list, got "red"'),
        (4, {"data": [], "shape": [0]}, "inputs[4].data: expected 1 to 2000 rows, got 0"),
        (4, {"parameters": {"binary_data_size": 8}}, "inputs[4].parameters.binary_data_size: expected"),
    ],
)
def test_a_tensor_that_is_no_column_is_named(
    client: Client, index: int, changes: dict[str, Any], message: str
) -> None:
    tensors = [each | (changes if number == index else {}) for number, each in enumerate(TENSORS)]
    response = client.post(INFER, content=json.dumps({"inputs": tensors}))
    assert (response.status_code, message in response.json()["error"]) == (400, True), response.text
    without = client.post(INFER, json={"inputs": TENSORS[1:]}).json()["error"]
    assert without == 'inputs: expected a tensor named "town", got no such tensor'


SHUFFLED = ["color", "rooms", "garden", "town", "size in m²"]
FORMATS: dict[str, Any] = {
    "dataframe_split": {"columns": SHUFFLED, "index": [0], "data": [[NAMED[name] for name in SHUFFLED]]},
    "dataframe_records": [NAMED],
    "inputs": {name: [value] for name, value in NAMED.items()},
    "instances": [ROW],
}


@pytest.mark.parametrize("name", FORMATS)
def test_mlflow_s_formats_are_answered(client: Client, name: str) -> None:
    response = client.post("/invocations", json={name: FORMATS[name]})
    assert response.json() == {"predictions": [predict(client, ROW)]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "body: expected one of the fields dataframe_split, dataframe_records, inputs, instances, "),
        ({"inputs": [ROW], "instances": [ROW]}, "body: expected one of the fields dataframe_split"),
        ({"inputs": [ROW], "params": {"a": 1}}, "params: expected no parameters, got an object"),
        ({"inputs": 1}, "inputs: expected a list of rows, got 1.0"),
        ({"inputs": []}, "inputs: expected 1 to 2000 rows, got 0"),
        ({"inputs": {"town": "north"}}, 'inputs["town"]: expected a list of values, got "north"'),
        ({"inputs": {"town": [], "rooms": [1]}}, "inputs: expected columns of the same length, got 0 and 1"),
        ({"inputs": {"town": ["north"]}}, 'inputs[0]["size in m\\u00b2"]: expected a finite number, or null'),
        ({"dataframe_split": []}, "dataframe_split: expected an object, got a list"),
        ({"dataframe_split": {"rows": 1}}, 'dataframe_split["rows"]: expected one of columns, index, data'),
        (
            {"dataframe_split": {"columns": [1]}},
            "dataframe_split.columns: expected a list of names, got a list",
        ),
        ({"dataframe_split": {"columns": ["a", "a"]}}, "dataframe_split.columns: expected each name once"),
        ({"dataframe_split": {"columns": ["a"]}}, "dataframe_split.data: expected a list of rows, got null"),
        (
            {"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}},
            "dataframe_split.data[1]: expected a list of 1 values, got 2",
        ),
        ({"dataframe_records": [NAMED | {"rooms": "3"}]}, 'dataframe_records[0]["rooms"]: expected a finite'),
    ],
)
def test_what_is_no_format_of_mlflow_s_is_refused(client: Client, body: Any, message: str) -> None:
    error = error_of(client.post("/invocations", json=body), 400)
    assert error["message"].startswith(message)
