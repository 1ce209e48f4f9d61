"""POST /predict and its neighbours, through the whole application."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from app.api.asgi_app import AsgiApp
from app.modelling import artifact, columns, estimator, model_loader
from app.modelling.estimator import EstimatorPredictor
from app.service import Service
from app.settings import Limits, Settings
from tests.service.client import Client, client_of, error_of
from tests.service.server import TIMEOUT

HUGE = 1.7976931348623157e308
MAX_BODY = Limits().body_bytes
PATHS = (
    "/predict, /livez, /readyz, /model, /metrics, /v2/health/live, /v2/health/ready, /invocations, /v2, "
    "/v2/models/known, /v2/models/known/ready, /v2/models/known/infer, /v2/models/known/versions/v1.2.3, "
    "/v2/models/known/versions/v1.2.3/ready, /v2/models/known/versions/v1.2.3/infer"
)


class FakeModel:
    """An estimator with a given answer."""

    def __init__(self, result: float | Exception) -> None:
        self.result = result

    def fit(self, x: object, y: object, /) -> None:
        raise NotImplementedError

    def predict(self, x: Any, /) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return [self.result]

    def predict_proba(self, x: Any, /) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def client(model_dir: Path) -> Client:
    return client_of(model_dir)


def client_of_fake(model_dir: Path, model: FakeModel, **limits: int) -> Client:
    """Return a client of a service whose model is a FakeModel for a regression."""
    card = replace(artifact.load_card(model_dir), classes=(), positive=None)
    settings = Settings(model_version="v1.2.3", limits=Limits(**limits))
    return Client(AsgiApp(Service(settings, EstimatorPredictor(model, card, columns.load(model_dir, card)))))


def test_predict_answers_exactly_the_prediction_and_the_version(client: Client, model_dir: Path) -> None:
    response = client.post("/predict", json={"features": [1, 2, 3]})
    card = artifact.load_card(model_dir)
    scikit_learn = estimator.load(model_dir, card, columns.load(model_dir, card))
    assert response.status_code == 200
    assert response.json() == {
        "prediction": pytest.approx(scikit_learn.predict([1.0, 2.0, 3.0]), rel=0, abs=1e-12),
        "model_version": "v1.2.3",
    }


TYPES = (None, "application/x-www-form-urlencoded", "application/json; charset=utf-16", "", "nonsense")


@pytest.mark.parametrize("content_type", TYPES)
def test_predict_reads_json_whatever_content_type_says(client: Client, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    assert client.post("/predict", content=b'{"features":[1,2,3]}', headers=headers).status_code == 200


@pytest.mark.parametrize(
    "features", [[HUGE, -HUGE, HUGE], [-HUGE, HUGE, -HUGE], [5e-324, -0.0, 0], [10**300, 0, 1]]
)
def test_predict_takes_every_finite_double(client: Client, features: list[float]) -> None:
    response = client.post("/predict", json={"features": features})
    assert response.status_code == 200, response.text
    assert 0 <= response.json()["prediction"] <= 1


def test_predict_takes_whitespace_exponents_and_what_rounds_to_zero(client: Client) -> None:
    assert client.post("/predict", content=b' {"features" :\r\n\t[1e0, -2E+0, 1e-400] } ').status_code == 200


NUMBER, NUMBERS, ONLY = "a finite number", "a list of 3 numbers", "no field but features"
NAMED = b'{"features":{"mean radius":1}}'
NAMES = 'one of the names "mean radius", "mean texture", "radius error"'
UTF_8, WITHOUT_MARK = "JSON in UTF-8", "JSON in UTF-8 without a byte order mark"
REFUSED: dict[str, tuple[bytes, str, str, str]] = {
    "empty": (b"", "body", "a JSON object", "nothing"),
    "blank": (b" \n", "body", "JSON", "an error at character 2: Expecting value"),
    "not JSON": (b"features=1", "body", "JSON", "an error at character 0: Expecting value"),
    "cut off": (b'{"features":[1,2', "body", "JSON", "an error at character 16: Expecting ',' delimiter"),
    "trailing text": (b'{"features":[1,2,3]} x', "body", "JSON", "an error at character 21: Extra data"),
    "two documents": (b"{}{}", "body", "JSON", "an error at character 2: Extra data"),
    "single quotes": (b"{'features':[1,2,3]}", "body", "JSON", "an error at character 1: Expecting"),
    "leading zero": (b'{"features":[01,2,3]}', "body", "JSON", "an error at character 14: Expecting"),
    "a list": (b"[1,2,3]", "body", "a JSON object", "a list"),
    "a string": (b'"features"', "body", "a JSON object", '"features"'),
    "null": (b"null", "body", "a JSON object", "null"),
    "only NaN": (b"NaN", "body", "a JSON object", "NaN"),
    "UTF-16": ("{}".encode("utf-16"), "body", UTF_8, "byte 0xff at 0"),
    "UTF-16 without a mark": ("{}".encode("utf-16-le"), "body", "JSON", "an error at character 1"),
    "Latin-1": (b'{"features":[1,2,3],"\xe9":1}', "body", UTF_8, "byte 0xe9 at 21"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "body", WITHOUT_MARK, "a byte order mark"),
    "no field": (b"{}", "features", NUMBERS, "no such field"),
    "an extra field": (b'{"features":[1,2,3],"x":1}', "x", ONLY, "one more field"),
    "another case": (b'{"Features":[1,2,3]}', "Features", ONLY, "one more field"),
    "a lone surrogate": (b'{"\\ud800":1}', "\\ud800", ONLY, "one more field"),
    "a duplicate": (b'{"features":[1],"features":[1]}', "features", "each field once", "the field again"),
    "a duplicate deep down": (b'{"features":[{"a":1,"a":2}]}', "a", "each field once", "the field again"),
    "features null": (b'{"features":null}', "features", NUMBERS, "null"),
    "features a number": (b'{"features":1}', "features", NUMBERS, "1.0"),
    "a name that there is not": (b'{"features":{"0":1}}', 'features["0"]', NAMES, "another name"),
    "a missing name": (NAMED, 'features["mean texture"]', NUMBER, "no such field"),
    "no features": (b'{"features":[]}', "features", "3 numbers", "0"),
    "too few": (b'{"features":[1,2]}', "features", "3 numbers", "2"),
    "too many": (b'{"features":[1,2,3,4]}', "features", "3 numbers", "4"),
    "a string in the list": (b'{"features":[1,"2",3]}', "features[1]", NUMBER, '"2"'),
    "a long string": (b'{"features":["' + b"x" * 99 + b'",2,3]}', "features[0]", NUMBER, '"xxx'),
    "true": (b'{"features":[true,2,3]}', "features[0]", NUMBER, "true"),
    "null in the list": (b'{"features":[1,2,null]}', "features[2]", NUMBER, "null"),
    "NaN": (b'{"features":[1,NaN,3]}', "features[1]", NUMBER, "NaN"),
    "Infinity": (b'{"features":[1,2,-Infinity]}', "features[2]", NUMBER, "-Infinity"),
    "overflow": (b'{"features":[1,1e309,3]}', "features[1]", NUMBER, "1e309"),
    "an overflowing integer": (b'{"features":[1,2,-1' + b"0" * 309 + b"]}", "features[2]", NUMBER, "-1000"),
    "an integer of many digits": (b'{"features":[' + b"9" * 50000 + b",2,3]}", "features[0]", NUMBER, "99"),
    "nested": (b'{"features":[[1,2,3]]}', "features[0]", NUMBER, "a list"),
    "very deep": (b'{"features":' + b"[" * 4000, "body", "a JSON object", "nesting too deep to read"),
    "very deep objects": (b'{"":' * 1020, "body", "a JSON object", "nesting too deep to read"),
}


@pytest.mark.parametrize(("body", "name", "expected", "received"), REFUSED.values(), ids=list(REFUSED))
def test_predict_refuses(client: Client, body: bytes, name: str, expected: str, received: str) -> None:
    error = error_of(client.post("/predict", content=body), 400)
    assert (error["code"], error["input"], error["expected"]) == ("invalid_input", name, expected)
    assert error["received"].startswith(received)
    assert len(error["received"]) < 100
    assert error["message"] == f"{name}: expected {expected}, got {error['received']}"


def test_predict_takes_a_body_of_exactly_the_limit(client: Client) -> None:
    body = b'{"features":[1,2,3]}'
    assert client.post("/predict", content=body + b" " * (MAX_BODY - len(body))).status_code == 200


def test_predict_refuses_an_announced_body_past_the_limit(client: Client) -> None:
    response = client.post("/predict", content=b" " * (MAX_BODY + 1))
    assert error_of(response, 413) == {
        "code": "too_large",
        "message": "body: expected at most 65536 bytes, got 65537 bytes",
        "input": "body",
        "expected": "at most 65536 bytes",
        "received": "65537 bytes",
    }
    assert response.headers["connection"] == "close"


def test_predict_stops_reading_a_chunked_body_past_the_limit(client: Client) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            assert sent <= MAX_BODY
            sent += 1024
            yield b" " * 1024

    assert error_of(client.post("/predict", content=endless()), 413)["received"] == "more"


@pytest.mark.anyio
async def test_a_client_that_left_before_its_body_was_there_gets_no_answer(client: Client) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
    await client.app(scope, receive, send)
    assert sent == []


def test_a_query_of_many_fields_is_refused(client: Client) -> None:
    error = error_of(client.post(f"/predict?{'a&' * 100}", json={"features": [1, 2, 3]}), 400)
    assert (error["input"], error["expected"]) == ("query", "at most 100 fields")
    assert client.post(f"/predict?{'a&' * 99}", json={"features": [1, 2, 3]}).status_code == 200


def test_predict_says_why_the_model_failed(model_dir: Path) -> None:
    client = client_of_fake(model_dir, FakeModel(RuntimeError("out of trees")))
    error = error_of(client.post("/predict", json={"features": [1, 2, 3]}), 500)
    assert error["code"] == "model_failed"
    assert error["message"] == "the model failed: RuntimeError: out of trees"
    assert client.get("/livez").status_code == 200


def test_a_failure_of_the_service_itself_has_the_one_shape_and_is_logged(
    model_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of_fake(model_dir, FakeModel(1.0))
    del client.app.service.model
    assert error_of(client.get("/model"), 500)["code"] == "internal_error"
    assert error_of(client.post("/predict", json={"features": [1]}), 500)["code"] == "internal_error"
    assert client.get("/v2/health/ready").json() == {"error": "the service failed; its log says why"}
    assert "AttributeError" in caplog.text


class SlowModel(FakeModel):
    """An estimator that answers when the test lets it."""

    def __init__(self) -> None:
        super().__init__(7.0)
        self.called, self.go_on = threading.Event(), threading.Event()

    def predict(self, x: Any, /) -> Any:
        self.called.set()
        assert self.go_on.wait(TIMEOUT)
        return [7.0]


@pytest.mark.anyio
async def test_a_slow_model_keeps_no_health_check_waiting_and_more_requests_than_the_limit_out(
    model_dir: Path,
) -> None:
    slow = SlowModel()
    service = client_of_fake(model_dir, slow, in_flight=1)
    answers: list[httpx.Response] = []
    async with service.open() as client, anyio.create_task_group() as tasks:

        async def send() -> None:
            answers.append(await client.post("/predict", json={"features": [1, 2, 3]}))

        tasks.start_soon(send)
        assert await anyio.to_thread.run_sync(slow.called.wait, TIMEOUT), "the model was never called"
        assert (await client.get("/livez")).status_code == 200
        assert "http_requests_in_flight 2" in (await client.get("/metrics")).text
        refused = await client.post("/predict", json={"features": [1, 2, 3]})
        assert error_of(refused, 503)["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        assert answers == []
        slow.go_on.set()
    assert answers[0].json()["prediction"] == 7.0


def test_health_and_card_of_a_loaded_model(client: Client, model_dir: Path) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    card = json.loads((model_dir / artifact.CARD_FILE).read_text())
    release = {"version": "v1.2.3", "digest": None, "scorer": model_loader.load(model_dir).scorer}
    assert client.get("/model").json() == card | {"release": release}


def test_a_service_without_a_model_is_alive_and_says_why_it_is_not_ready(tmp_path: Path) -> None:
    no_model = client_of(tmp_path)
    assert no_model.get("/livez").status_code == 200
    error = error_of(no_model.get("/readyz"), 503)
    assert error["code"] == "model_unavailable"
    assert "card.json: No such file or directory; run `python train_model.py`" in error["message"]
    for answer in (no_model.post("/predict", json={"features": [1, 2, 3]}), no_model.get("/model")):
        assert error_of(answer, 500) == error


@pytest.mark.parametrize("path", ["/predict/", "/nowhere", "/v1"])
def test_the_error_for_an_unknown_path_lists_the_known_ones(client: Client, path: str) -> None:
    error = error_of(client.get(path), 404)
    assert error["message"] == f"path: expected one of {PATHS}, got {path}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("GET", "/predict", "POST"), ("POST", "/livez", "GET, HEAD")]
)
def test_the_error_for_a_wrong_method_names_the_right_one(
    client: Client, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    error = error_of(response, 405)
    assert (error["input"], error["expected"], error["received"]) == ("method", allowed, method)
    assert response.headers["allow"] == allowed


def test_openapi_documents_the_contract(client: Client) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/predict"]["post"]
    errors = ("400", "404", "405", "408", "413", "415", "431", "500", "501", "503")
    assert sorted(operation["responses"]) == ["200", *errors]
    for status in errors:
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemBody"}
    row, rows = operation["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert (row["required"], row["additionalProperties"]) == (["features"], False)
    assert (rows["required"], rows["additionalProperties"]) == (["instances"], False)
    listed, named = row["properties"]["features"]["anyOf"]
    assert listed["minItems"] == listed["maxItems"] == len(named["required"]) == 3
    infer = document["paths"]["/v2/models/known/infer"]["post"]
    refusal = infer["responses"]["400"]["content"]["application/json"]["schema"]
    assert refusal == {"$ref": "#/components/schemas/InferenceProblem"}
    assert "422" not in json.dumps(document)
