"""Services with a model, as small as a target's tests need them, and golden rows for them.

They all live on one server, each below a path of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploying.rollout.golden_rows import Golden, Row
from tests.ci.connections import serve

GOLDEN = Golden(tuple(Row((float(n), 1.0), n + 1.0) for n in range(4)), {"artifact_sha256": "the-model"})


@dataclass
class Model:
    """A release's behaviour: whether it starts, what it says it is, what it predicts and how fast."""

    version: str
    digest: str | None = None
    starts: bool = True
    sha256: str = "the-model"
    offset: float = 0.0
    right: int = 0  # requests that are answered without the offset before it shows
    delay: float = 0.0
    failing: int = 0  # every so many requests
    requests: int = 0
    failed: int = 0


@dataclass
class Fleet:
    """The services that run, by their name in the path, and what each release does, by its digest."""

    base: str = ""
    running: dict[str, Model] = field(default_factory=dict)
    known: dict[str, Model] = field(default_factory=dict)

    def start(self, name: str, digest: str, environment: dict[str, str] | None = None) -> str:
        """Start a release and return its address, or nothing when it ends at once."""
        named = (environment or {}).get("IMAGE_DIGEST")
        self.running[name] = replace(self.known[digest], digest=named, requests=0, failed=0)
        return f"{self.base}/{name}" if self.known[digest].starts else ""

    def start_revision(self, revision: Mapping[str, Any]) -> str:
        """Start a revision that the fake Cloud Run waits for."""
        digest = revision["image"].partition("@")[2]
        return self.start(revision["revision"], digest, revision["environment"])

    async def send(self, request: httpx.Request, name: str, path: str) -> httpx.Response:
        """Pass a request on to a service, without a server in between."""
        passed = httpx.Request(request.method, f"http://fleet/{name}{path}", content=request.content)
        passed.headers["Content-Type"] = "application/json"
        answer = await httpx.ASGITransport(self.app()).handle_async_request(passed)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

    async def readyz(self, request: Request) -> Response:
        """Answer as a release that starts."""
        return PlainTextResponse("ready", 200 if self._model(request).starts else 503)

    async def model(self, request: Request) -> Response:
        """Answer with the card and the release."""
        model = self._model(request)
        release = {"version": model.version, "digest": model.digest}
        card = {"artifact_sha256": model.sha256, "features": [{"quantiles": {"0.5": 1.0}}] * 2}
        return JSONResponse({**card, "release": release})

    async def predict(self, request: Request) -> Response:
        """Answer with the sum."""
        model, body = self._model(request), await request.json()
        if not isinstance(body.get("features"), list):
            return _problem(400, "invalid_input")
        model.requests += 1
        fails = model.failing and model.requests % model.failing == 0
        await anyio.sleep(model.delay)
        if fails:
            model.failed += 1
            return _problem(500, "model_failed")
        total = sum(body["features"]) + (model.offset if model.requests > model.right else 0)
        return JSONResponse({"prediction": total, "model_version": model.version})

    async def metrics(self, request: Request) -> Response:
        """Answer as Prometheus reads it."""
        model = self._model(request)
        good = model.requests - model.failed
        bound = 0.001 if model.delay < 0.001 else 1.0
        lines = [
            "# TYPE http_requests_total counter",
            f'http_requests_total{{route="/predict",status="200"}} {good}',
            f'http_requests_total{{route="/predict",status="500"}} {model.failed}',
            *(
                f'http_request_seconds_bucket{{route="/predict",le="{le}"}} {model.requests * (le >= bound)}'
                for le in (0.001, 1.0)
            ),
            f'http_request_seconds_bucket{{route="/predict",le="+Inf"}} {model.requests}',
        ]
        return PlainTextResponse("\n".join(lines) + "\n")

    def _model(self, request: Request) -> Model:
        return self.running[request.path_params["name"]]

    def app(self) -> Starlette:
        """Return the application."""
        methods = {"predict": ["POST"]}
        names = ("readyz", "model", "predict", "metrics")
        routes = [
            Route(f"/{{name}}/{name}", getattr(self, name), methods=methods.get(name, ["GET"]))
            for name in names
        ]
        refusals = {405: "method_not_allowed", 404: "not_found"}
        handlers = {status: _make_handler(status, code) for status, code in refusals.items()}
        return Starlette(routes=routes, exception_handlers=handlers)


def _problem(status: int, code: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": "it is not as it has to be"}}, status)


def _make_handler(status: int, code: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def refuse(request: Request, error: Exception) -> Response:
        return _problem(status, code)

    return refuse


@contextmanager
def run_fleet() -> Iterator[Fleet]:
    """Run a fleet's server while the block runs."""
    fleet = Fleet()
    with serve(fleet.app()) as fleet.base:
        yield fleet
