"""Many rows in one request: `instances`, as Vertex AI sends them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Limits
from tests.service.client import Client, client_of, error_of

ROUTE = "/v1/endpoints/1/deployedModels/2"
LIMITS = Limits(batch_rows=3, batch_bytes=200, body_bytes=60)


@pytest.fixture(scope="module")
def client(sum_model: Path) -> Client:
    return client_of(sum_model, predict_route=f"{ROUTE}:predict", health_route=ROUTE, limits=LIMITS)


@pytest.mark.parametrize("path", ["/predict", f"{ROUTE}:predict"])
def test_instances_are_answered_in_their_order(client: Client, path: str) -> None:
    response = client.post(path, json={"instances": [[1, 2, 3], [4, 5, 6]]})
    assert (response.status_code, response.text) == (200, '{"predictions":[6.0,15.0]}')


def test_both_paths_take_a_single_row_as_well(client: Client) -> None:
    for path in ("/predict", f"{ROUTE}:predict"):
        assert client.post(path, json={"features": [1, 2, 3]}).json()["prediction"] == 6.0


def test_vertex_s_health_route_is_readiness(client: Client) -> None:
    assert client.get(ROUTE).json() == {"status": "ready"}


@pytest.mark.parametrize("parameters", [b"null", b"{}"])
def test_parameters_that_ask_for_nothing_are_taken(client: Client, parameters: bytes) -> None:
    body = b'{"instances":[[1,2,3]],"parameters":%s}' % parameters
    assert client.post("/predict", content=body).json() == {"predictions": [6.0]}


REFUSED = {
    "no rows": (b"[]", "instances", "1 to 3 rows", "0"),
    "too many rows": (b"[[1,2,3],[1,2,3],[1,2,3],[1,2,3]]", "instances", "1 to 3 rows", "4"),
    "no list": (b"1", "instances", "a list of rows", "1.0"),
    "a row that is none": (b"[[1,2,3],4]", "instances[1]", "a list of 3 numbers", "4.0"),
    "a row of two": (b"[[1,2]]", "instances[0]", "3 numbers", "2"),
    "a string in a row": (b'[[1,2,3],[4,"5",6]]', "instances[1][1]", "a finite number", '"5"'),
    "NaN": (b"[[1,2,NaN]]", "instances[0][2]", "a finite number", "NaN"),
    "an overflow": (b"[[1e400,2,3]]", "instances[0][0]", "a finite number", "1e400"),
}


@pytest.mark.parametrize(("rows", "name", "expected", "received"), REFUSED.values(), ids=list(REFUSED))
def test_instances_are_refused(client: Client, rows: bytes, name: str, expected: str, received: str) -> None:
    error = error_of(client.post("/predict", content=b'{"instances":%s}' % rows), 400)
    assert (error["input"], error["expected"], error["received"]) == (name, expected, received)


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        (b'{"instances":[[1,2,3]],"x":1}', "x", "no field but instances and parameters"),
        (b'{"instances":[[1,2,3]],"features":[1,2,3]}', "features", "no field but instances and parameters"),
        (b'{"instances":[[1,2,3]],"parameters":{"a":1}}', "parameters", "no parameters"),
        (b'{"instances":[[1,2,3]],"instances":[[1,2,3]]}', "instances", "each field once"),
    ],
)
def test_fields_beside_instances_are_refused(client: Client, body: bytes, name: str, expected: str) -> None:
    error = error_of(client.post("/predict", content=body), 400)
    assert (error["input"], error["expected"]) == (name, expected)


def test_a_row_without_a_finite_result_is_named(client: Client) -> None:
    rows = [[1, 2, 3], [1.7e308, 1.7e308, 0]]
    error = error_of(client.post("/predict", json={"instances": rows}), 400)
    assert error["input"].startswith("instances[1]")


def test_only_what_begins_as_a_batch_may_be_as_long_as_one(client: Client) -> None:
    space = b" " * 100
    for body, status in (
        (b' {\n"instances":[[1,2,3]]%s}' % space, 200),
        (b'{"features":[1,2,3]%s}' % space, 413),
        (b'{"parameters":{},"instances":[[1,2,3]]%s}' % space, 413),
        (b'{"instances":[[1,2,3]]%s}' % (space * 2), 413),
    ):
        assert client.post("/predict", content=body).status_code == status


def test_every_row_is_counted_in_its_bins(client: Client) -> None:
    metrics = client.app.service.metrics
    before = metrics.predictions, [*metrics.bins[0]]
    client.post("/predict", json={"instances": [[1, 2, 3], [1e9, 2, 3], [2, 2, 3]]})
    assert metrics.predictions - before[0] == 3
    assert [now - then for now, then in zip(metrics.bins[0], before[1], strict=True)] == [2, *[0] * 8, 1]
