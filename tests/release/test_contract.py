"""The service with the team's model: what its users and its platform rely on, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.release.conftest import VERSION, run_service

Rows = list[dict[str, Any]]


def test_it_predicts_the_golden_rows(service: httpx.Client, golden: Rows) -> None:
    for row in golden:
        answer = service.post("/predict", json={"features": row["features"]})
        assert (answer.status_code, answer.json()) == (
            200,
            # Other arithmetic than in training, such as another processor's, rounds otherwise.
            {"prediction": pytest.approx(row["prediction"], rel=1e-9, abs=1e-12), "model_version": VERSION},
        )


def test_it_predicts_the_golden_rows_as_a_batch(service: httpx.Client, golden: Rows) -> None:
    answer = service.post("/predict", json={"instances": [row["features"] for row in golden]})
    assert answer.status_code == 200
    expected = [row["prediction"] for row in golden]
    assert answer.json()["predictions"] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_it_is_alive_and_ready(service: httpx.Client) -> None:
    assert service.get("/livez").status_code == 200
    assert service.get("/readyz").status_code == 200
    assert "\nmodel_ready 1" in service.get("/metrics").text


def test_it_shows_the_card_of_the_model(service: httpx.Client, card: dict[str, Any]) -> None:
    shown = service.get("/model").json()
    assert {name: shown[name] for name in card} == card
    assert service.get("/").headers["content-type"].startswith("text/html")


def test_its_openapi_document_names_predict(service: httpx.Client) -> None:
    assert "/predict" in service.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/predict", b"{}", 400, "invalid_input"),
        ("POST", "/predict", b'{"features":"none"}', 400, "invalid_input"),
        ("POST", "/predict", b'{"features":[]}', 400, "invalid_input"),
        ("POST", "/predict", b"no JSON", 400, "invalid_input"),
        ("GET", "/predict", None, 405, "method_not_allowed"),
        ("GET", "/nowhere", None, 404, "not_found"),
    ],
)
def test_what_it_refuses_has_one_shape(
    service: httpx.Client, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    answer = service.request(method, path, content=body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"]["code"] == code
    assert list(answer.json()["error"]) == ["code", "message", "input", "expected", "received"]


def test_it_says_which_input_is_wrong(service: httpx.Client, golden: Rows) -> None:
    features = [*golden[0]["features"][:-1], ["a list"]]
    error = service.post("/predict", json={"features": features}).json()["error"]
    place = f"features[{len(features) - 1}]"
    assert error["input"] == place
    assert error["message"].startswith(f"{place}: expected ")
    assert error["message"].endswith(f"got {error['received']}")


def test_without_its_model_it_stays_up_and_says_why(tmp_path: Path) -> None:
    with run_service(tmp_path) as service:
        assert service.get("/livez").status_code == 200
        for method, path, status in (("GET", "/readyz", 503), ("POST", "/predict", 500)):
            answer = service.request(method, path, content=b'{"features":[1]}')
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, "model_unavailable")
