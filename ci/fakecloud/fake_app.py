"""Application of the fake cloud: all services on one port, with Google's date, faults and a log."""

import logging
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import anyio
import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakecloud import addresses
from fakecloud.cloud_run.admin_api import Admin
from fakecloud.cloud_run.cloud_monitoring import Monitoring
from fakecloud.cloud_run.reconciliation import Reconciler
from fakecloud.cloud_run.resources import SERVED, State
from fakecloud.cloud_run.revision_control import Control
from fakecloud.cloud_run.serving import Serving
from fakecloud.cloud_storage import Storage
from fakecloud.connection_faults import cut, cut_within_body
from fakecloud.identity.attribute_mapping import Evaluator
from fakecloud.identity.github import GitHub
from fakecloud.identity.iam import Credentials
from fakecloud.identity.keys import KeyRing
from fakecloud.identity.sts import TokenService
from fakecloud.registry.artifact_registry import Artifacts
from fakecloud.registry.registry_proxy import RegistryHost
from fakecloud.registry.token_endpoint import TokenEndpoint
from fakecloud.registry.upstream_registry import Relay
from fakecloud.sigstore import paths
from fakecloud.sigstore.sigstore_services import Sigstore
from fakecloud.state.faults import ClockSkew, Fault, Faults, skew
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.ledger import Clock, Ledger
from fakecloud.state.refusals import Refusal

log = logging.getLogger("fakecloud")

# A blob of 100 MB is written to disk before the registry answers.
_TIMEOUT = httpx.Timeout(30, read=300, write=300)
_ENDPOINTS = {
    addresses.OIDC: "oidc",
    addresses.STS: "sts",
    addresses.IAM: "iam",
    addresses.ARTIFACTS: "artifacts",
    f"{SERVED}/": "service",
    f"{addresses.RUN}/": "run",
    addresses.MONITORING: "monitoring",
    addresses.STORAGE: "storage",
    addresses.CONTROL: "control",
    paths.FULCIO: "fulcio",
    paths.REKOR: "rekor",
    paths.TIMESTAMPS: "timestamps",
    paths.PREFIX: "sigstore",
    "/v2/token": "token",
    "/v2/": "registry",
    "/artifacts-": "registry",
}
# google.rpc.Code by HTTP status.
_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
_CODES |= {500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
# The address of an upload or a download is its only secret: it stays out of the log.
_SECRET = re.compile(r"/(uploads|downloads)/[^/]+$")


def application(
    setup: CloudSetup, registry_url: str, faults: Sequence[Fault | ClockSkew] = (), *, seconds: float = 0.1
) -> ASGIApp:
    """Return the fake cloud's application for a setup, in front of the real registry at a URL.

    A change of a Cloud Run service takes some seconds.
    """
    ledger = Ledger(Clock(skew(faults)))
    behind, instances = _make_clients(registry_url)
    github = GitHub(setup, ledger.clock, KeyRing(setup.tokens_per_key))
    google = TokenService(setup, ledger, github.ring, Evaluator.of(setup.provider))
    credentials = Credentials(setup, ledger, KeyRing(setup.tokens_per_key))
    relay, state = Relay(behind), State()
    serving = Serving(setup, ledger, state, credentials)
    admin = Admin(setup, ledger, state, Reconciler(state, relay, instances, seconds))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with behind, instances, anyio.create_task_group() as tasks:
            admin.tasks = tasks
            yield
            tasks.cancel_scope.cancel()
        serving.upstream.close()

    routes = [
        Mount(addresses.OIDC, routes=github.routes),
        Mount(addresses.STS, routes=google.routes),
        Mount(addresses.IAM, routes=credentials.routes),
        Mount(addresses.ARTIFACTS, routes=Artifacts(setup, ledger).routes),
        Mount(addresses.RUN, routes=admin.routes),
        Mount(addresses.MONITORING, routes=Monitoring(setup, ledger, state).routes),
        Mount(addresses.STORAGE, routes=Storage(setup, ledger).routes),
        Mount(addresses.CONTROL, routes=[*Control(state, setup.control_key).routes, *github.control]),
        *Sigstore.of(setup.issuer, github.ring, ledger.clock.google).routes,
        *RegistryHost(setup, ledger, relay, TokenEndpoint(setup, ledger)).routes,
    ]
    app = Starlette(routes=routes, exception_handlers={Refusal: respond_to_refusal}, lifespan=lifespan)
    return Gate(app, serving, ledger.clock, Faults.of(faults))


def _make_clients(registry_url: str) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
    """Return clients of the registry and of instances; none uses a proxy that the environment may name."""
    behind = httpx.AsyncClient(
        base_url=registry_url, timeout=_TIMEOUT, follow_redirects=True, trust_env=False
    )
    limits = httpx.Limits(max_connections=None)
    return behind, httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, limits=limits)


async def respond_to_refusal(request: Request, refusal: Exception) -> Response:
    """Respond with a refusal."""
    assert isinstance(refusal, Refusal)
    log.info("refused: %s", refusal)
    return refusal.response()


@dataclass(frozen=True)
class Gate:
    """Middleware of every request: faults, Google's date, log."""

    app: ASGIApp
    serving: ASGIApp
    clock: Clock
    faults: Faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or have a fault strike it, and log how it ended."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        endpoint, started, status = _endpoint(scope["path"]), time.monotonic(), 0

        async def send_dated(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"date", self.clock.date().encode())]
            await send(message)

        fault = self.faults.strike(endpoint, body=_has_body(scope))
        try:
            await self._serve(fault, scope, receive, send_dated)
        except ClientDisconnect:
            status = 0
        finally:
            shown, took = _SECRET.sub(r"/\1/…", scope["path"]), 1000 * (time.monotonic() - started)
            level = logging.DEBUG if endpoint == "service" else logging.INFO  # hundreds a second
            log.log(level, "%s: %s %s %s, %.0f ms", endpoint, scope["method"], shown, status or "cut", took)

    async def _serve(self, fault: Fault | None, scope: Scope, receive: Receive, send: Send) -> None:
        if fault is None and scope["path"].startswith(f"{SERVED}/"):
            await self.serving(scope, receive, send)
        elif fault is None:
            await self.app(scope, receive, send)
        elif fault.what == "timeout":
            await _wait_for_disconnect(receive)
        elif fault.what != "reset":
            await _unavailable(int(fault.what))(scope, receive, send)
        elif not _has_body(scope):
            cut(scope)
            await _wait_for_disconnect(receive)
        else:
            await self.app(scope, cut_within_body(scope, receive), send)


def _endpoint(path: str) -> str:
    return next((name for prefix, name in _ENDPOINTS.items() if path.startswith(prefix)), "elsewhere")


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _unavailable(status: int) -> Response:
    """Return a front end's answer before any service has seen the request."""
    error = {"code": status, "message": HTTPStatus(status).phrase, "status": _CODES.get(status, "UNKNOWN")}
    later = {"Retry-After": "1"} if status == HTTPStatus.TOO_MANY_REQUESTS else None
    return JSONResponse({"error": error}, status, headers=later)
