"""Smoke tests: responses that a built image must give before its release."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import SmokeError
from releasing import smoke
from tests.ci.connections import serve

pytestmark = pytest.mark.anyio
CARD = {"features": [{"name": "a", "quantiles": {"0.5": 1.5}}, {"name": "b", "quantiles": {"0.5": 2.5}}]}
ANSWER = {"prediction": 0.5, "model_version": "v1.0.0"}
ROW = [1.5, 2.5]
Service = Callable[..., str]


@pytest.fixture
def service() -> Iterator[Service]:
    """Yield a function that serves a card and an answer, with a status, and returns the address."""
    with ExitStack() as servers:

        def start(card: object = CARD, answer: object = ANSWER, status: int = 200, row: object = ROW) -> str:
            async def respond(request: Request) -> Response:
                assert request.method == "GET" or await request.json() == {"features": row}
                content = card if request.url.path == "/model" else answer
                return Response(content if isinstance(content, str) else json.dumps(content), status)

            routes = [Route("/model", respond), Route("/predict", respond, methods=["POST"])]
            return servers.enter_context(serve(Starlette(routes=routes)))

        yield start


async def test_predict_sends_the_medians_and_returns_the_prediction(service: Service) -> None:
    assert await smoke.predict(service(), "v1.0.0") == 0.5


async def test_predict_sends_the_first_category_and_an_empty_text_too(service: Service) -> None:
    known = {"kind": "boolean", "quantiles": {"0.5": 1.0}}, {"kind": "category", "categories": ["a", "b"]}
    card = {"features": [*known, {"kind": "text"}]}
    assert await smoke.predict(service(card=card, row=[True, "a", ""]), "v1.0.0") == 0.5


async def test_predict_refuses_an_image_of_another_version(service: Service) -> None:
    with pytest.raises(SmokeError, match="says it is 'v1.0.0', not 'v1.0.1'; check its MODEL_VERSION"):
        await smoke.predict(service(), "v1.0.1")


@pytest.mark.parametrize("prediction", [None, True, "0.5", float("nan"), float("inf"), [0.5]])
async def test_predict_refuses_what_is_no_finite_number(service: Service, prediction: object) -> None:
    with pytest.raises(SmokeError, match="is not a finite number"):
        await smoke.predict(service(answer=ANSWER | {"prediction": prediction}), "v1.0.0")


@pytest.mark.parametrize("card", [{}, {"features": [1]}, {"features": [{"quantiles": {}}]}])
async def test_predict_refuses_a_card_without_medians(service: Service, card: object) -> None:
    with pytest.raises(SmokeError, match="no median for each feature"):
        await smoke.predict(service(card=card), "v1.0.0")


async def test_predict_reports_the_response_of_a_failing_service(service: Service) -> None:
    with pytest.raises(SmokeError, match=r'GET /model answered 500: \{"error": "no model"\}'):
        await smoke.predict(service(card={"error": "no model"}, status=500), "v1.0.0")


@pytest.mark.parametrize(
    ("body", "complaint"), [("<html>", "answered no JSON: '<html>'"), ([1], "no JSON object")]
)
async def test_predict_refuses_what_is_no_json_object(service: Service, body: object, complaint: str) -> None:
    with pytest.raises(SmokeError, match=f"POST /predict .*{complaint}"):
        await smoke.predict(service(answer=body), "v1.0.0")


async def test_predict_refuses_a_service_that_does_not_answer() -> None:
    with pytest.raises(SmokeError, match=r"GET /model got no answer: ConnectError"):
        await smoke.predict("http://127.0.0.1:1", "v1.0.0")


PROBLEM = {"error": {"code": "invalid_input", "message": "wrong"}}
REFUSALS = {"/predict": (405, "method_not_allowed"), "/nowhere": (404, "not_found")}


def respond_by_contract(request: httpx.Request) -> httpx.Response:
    """Respond as the contract says to requests with the token."""
    assert request.headers["Authorization"] == "Bearer token"
    if request.method == "POST":
        features = json.loads(request.content).get("features")
        return (
            httpx.Response(200, json=ANSWER)
            if isinstance(features, list)
            else httpx.Response(400, json=PROBLEM)
        )
    if request.url.path == "/model":
        return httpx.Response(200, json=CARD)
    status, code = REFUSALS[request.url.path]
    return httpx.Response(status, json={"error": {"code": code, "message": "wrong"}})


async def check_contract(answer: Callable[[httpx.Request], httpx.Response]) -> list[str]:
    """Return what a contract's questions came to."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        return await smoke.contract(http, "http://service.test", {"Authorization": "Bearer token"})


async def test_a_contract_is_checked_request_by_request() -> None:
    assert await check_contract(respond_by_contract) == [
        "POST /predict answers 0.5 as version v1.0.0",
        "POST /predict with {} answers 400 invalid_input",
        "POST /predict with {'features': 'none'} answers 400 invalid_input",
        "GET /predict with None answers 405 method_not_allowed",
        "GET /nowhere with None answers 404 not_found",
    ]


@pytest.mark.parametrize(
    ("path", "answer", "complaint"),
    [
        ("/nowhere", httpx.Response(200, json={}), "GET /nowhere answered 200: {}"),
        (
            "/nowhere",
            httpx.Response(404, json={"detail": "Not Found"}),
            "answered None, which has no code 'not_found'",
        ),
        (
            "/predict",
            httpx.Response(405, json={"error": {"code": "x", "message": ""}}),
            "which has no code 'method",
        ),
        (
            "/predict",
            httpx.Response(405, json={"error": {"code": "method_not_allowed"}}),
            "which has no code",
        ),
    ],
)
async def test_an_answer_that_the_contract_does_not_have_is_refused(
    path: str, answer: httpx.Response, complaint: str
) -> None:
    def other(request: httpx.Request) -> httpx.Response:
        return answer if (request.method, request.url.path) == ("GET", path) else respond_by_contract(request)

    with pytest.raises(SmokeError, match=complaint):
        await check_contract(other)
