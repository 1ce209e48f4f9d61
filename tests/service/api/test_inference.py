"""The Open Inference Protocol: by hand through the application, and by Triton's own client over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from app.api.asgi_app import AsgiApp
from app.service import Service
from app.settings import Limits
from tests.service.client import Client, client_of
from tests.service.server import run_service

INFER = "/v2/models/known/infer"
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
TENSOR = {"name": "features", "shape": [2, 3], "datatype": "FP64", "data": ROWS}


@pytest.fixture(scope="module")
def client(sum_model: Path) -> Client:
    return client_of(sum_model, limits=Limits(batch_rows=3))


@pytest.fixture(scope="module")
def server(sum_model: Path) -> Iterator[triton.InferenceServerClient]:
    with run_service(sum_model) as service:
        client = triton.InferenceServerClient(f"127.0.0.1:{service.port}")
        yield client
        client.close()


def tensor(**changes: Any) -> dict[str, Any]:
    """Return a request whose tensor has these changes."""
    return {"inputs": [TENSOR | changes]}


def test_the_server_and_its_model_say_what_they_are(client: Client) -> None:
    assert client.get("/v2").json() == {"name": "milestone2", "version": "v1.2.3", "extensions": []}
    for path in ("/v2/models/known", "/v2/models/known/versions/v1.2.3"):
        assert client.get(path).json() == {
            "name": "known",
            "versions": ["v1.2.3"],
            "platform": "scikit-learn",
            "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, 3]}],
            "outputs": [{"name": "prediction", "datatype": "FP64", "shape": [-1]}],
        }


def test_health_is_reported(client: Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/known/ready", "/v2/models/known/versions/v1.2.3/ready"):
        assert client.get(path).json() == {"name": "known", "ready": True}


def test_without_a_model_only_the_process_is_well(tmp_path: Path) -> None:
    no_model = client_of(tmp_path)
    assert no_model.get("/v2/health/live").status_code == 200
    for method, path, status in (
        ("GET", "/v2/health/ready", 503),
        ("GET", "/v2/models/known", 500),
        ("GET", "/v2/models/known/ready", 500),
        ("POST", INFER, 500),
    ):
        response = no_model.request(method, path, content=b"{}" if method == "POST" else None)
        assert response.status_code == status
        assert list(response.json()) == ["error"]
        assert "card.json: No such file or directory" in response.json()["error"]


@pytest.mark.parametrize("path", [INFER, "/v2/models/known/versions/v1.2.3/infer"])
def test_rows_are_predicted_in_their_order(client: Client, path: str) -> None:
    response = client.post(path, json=tensor() | {"id": "question-1"})
    assert response.json() == {
        "model_name": "known",
        "model_version": "v1.2.3",
        "id": "question-1",
        "outputs": [{"name": "prediction", "shape": [2], "datatype": "FP64", "data": [6.0, 15.0]}],
    }


@pytest.mark.parametrize(
    ("changes", "predictions"),
    [
        ({"data": [1, 2, 3, 4, 5, 6]}, [6.0, 15.0]),
        ({"shape": [3], "data": [1, 2, 3]}, [6.0]),
        ({"shape": [1, 3], "data": [[1, 2, 3]]}, [6.0]),
        ({"datatype": "INT64"}, [6.0, 15.0]),
        ({"datatype": "FP32", "name": "input-0", "parameters": {"content_type": "np"}}, [6.0, 15.0]),
    ],
)
def test_tensors_come_flat_or_in_rows_and_in_three_types(
    client: Client, changes: dict[str, Any], predictions: list[float]
) -> None:
    outputs = client.post(INFER, json=tensor(**changes)).json()["outputs"]
    assert outputs[0]["data"] == predictions


@pytest.mark.parametrize("more", [{"parameters": {"binary_data_output": True}}, {"outputs": []}, {"new": 1}])
def test_what_the_answer_does_not_depend_on_is_taken(client: Client, more: dict[str, Any]) -> None:
    assert client.post(INFER, json=tensor() | more).status_code == 200


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no inputs": ({}, "inputs: expected a list of one tensor, got null"),
    "two inputs": ({"inputs": [TENSOR, TENSOR]}, "inputs: expected a list of one tensor, got a list of 2"),
    "an id that is none": (tensor() | {"id": 1}, "id: expected a string of Unicode characters, got 1.0"),
    "half a character": (tensor() | {"id": "\ud83d"}, 'of Unicode characters, got "\\ud83d"'),
    "another output": (tensor() | {"outputs": [{"name": "x"}]}, 'name: expected "prediction", got "x"'),
    "two outputs": (tensor() | {"outputs": [1, 2]}, "outputs: expected a list of at most one output"),
    "no name": (tensor(name=None), "inputs[0].name: expected a string, got null"),
    "another datatype": (tensor(datatype="BYTES"), "inputs[0].datatype: expected one of FP64, FP32, INT64"),
    "no datatype": (tensor(datatype=[]), "inputs[0].datatype: expected one of FP64, FP32, INT64, got a list"),
    "another shape": (tensor(shape=[3, 2]), "inputs[0].shape: expected [rows, 3] or [3], got [3.0, 2.0]"),
    "half a row": (tensor(shape=[0.5, 3]), "inputs[0].shape: expected [rows, 3] or [3]"),
    "no shape": (tensor(shape=2), "inputs[0].shape: expected [rows, 3] or [3], got 2.0"),
    "no rows": (tensor(shape=[0, 3], data=[]), "inputs[0].shape: expected 1 to 3 rows, got 0"),
    "too many rows": (tensor(shape=[4, 3]), "inputs[0].shape: expected 1 to 3 rows, got 4"),
    "no data": (tensor(data=None), "inputs[0].data: expected a list, got null"),
    "too little data": (tensor(data=[1, 2]), "inputs[0].data: expected 6 numbers, got 2"),
    "rows of another shape": (tensor(data=[[1, 2, 3], [4, 5]]), "expected 2 rows of 3 numbers"),
    "a string": (tensor(data=[1, 2, "3", 4, 5, 6]), 'inputs[0].data[2]: expected a finite number, got "3"'),
    "no integer": (tensor(datatype="INT64", data=[1, 2, 3.5, 4, 5, 6]), "expected a value of INT64, got 3.5"),
    "beyond FP32": (tensor(datatype="FP32", data=[1, 2, 1e39, 4, 5, 6]), "a value of FP32, got 1e+39"),
    "binary": (tensor(parameters={"binary_data_size": 48}), "binary tensors are not supported"),
    "no finite result": (tensor(data=[1, 2, 3, 1.7e308, 1.7e308, 0]), "instances[1]"),
}


@pytest.mark.parametrize(("document", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_answered_is_refused(client: Client, document: dict[str, Any], message: str) -> None:
    response = client.post(INFER, content=json.dumps(document))
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/known/versions/v9", "/v2/nowhere"])
def test_other_models_versions_and_paths_are_404(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.json()["error"].startswith("path: expected one of /predict, ")
    assert response.json()["error"].endswith(f"/v2/models/known/versions/v1.2.3/infer, got {path}")


def test_classes_are_integers(client: Client) -> None:
    service = client.app.service
    card = replace(service.predictor().card, classes=("a", "b", "c"))
    several = Client(AsgiApp(Service(service.settings, replace(service.predictor(), card=card))))  # type: ignore[type-var]
    assert several.get("/v2/models/known").json()["outputs"][0]["datatype"] == "INT64"


def infer(server: triton.InferenceServerClient, rows: Any, **options: Any) -> Any:
    """Return the predictions for a NumPy array, by Triton's client."""
    types = {np.dtype(np.float64): "FP64", np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64"}
    tensor = triton.InferInput("features", rows.shape, types[rows.dtype])
    tensor.set_data_from_numpy(rows, binary_data=options.pop("binary", False))
    return server.infer("known", [tensor], **options)


def test_triton_s_client_finds_server_and_model(server: triton.InferenceServerClient) -> None:
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.is_model_ready("known")
    assert not server.is_model_ready("other")
    assert server.get_server_metadata()["name"] == "milestone2"
    assert server.get_model_metadata("known", "v1.2.3")["inputs"][0]["shape"] == [-1, 3]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("wanted", [None, [triton.InferRequestedOutput("prediction", binary_data=False)]])
def test_triton_s_client_gets_predictions(
    server: triton.InferenceServerClient, kind: Any, wanted: list[triton.InferRequestedOutput] | None
) -> None:
    result = infer(server, np.array(ROWS, dtype=kind), outputs=wanted, request_id="7", model_version="v1.2.3")
    assert result.as_numpy("prediction").tolist() == [6.0, 15.0]
    assert result.get_response()["id"] == "7"


def test_triton_s_client_gets_the_error(server: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="binary tensors are not supported"):
        infer(server, np.array(ROWS), binary=True)
    with pytest.raises(InferenceServerException, match="path: expected one of"):
        infer(server, np.array(ROWS), model_version="v9")
