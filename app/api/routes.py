"""The paths of the service, and the responses that need no framework.

A function of `plain_routes` responds to GET at one path: to add a static page, add an entry there. The
service calls it before FastAPI, which need not even be imported for it. FastAPI's route of the same path
calls it too; that route is there for the OpenAPI document, and for HOT_PATH=0.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import chain

from app.api.page import file_routes
from app.connections.http_response import HttpResponse, as_json
from app.errors import ArtifactError, NotReady
from app.exposition import MEDIA_TYPE, render
from app.metrics import OTHER
from app.service import PREDICT, Service
from app.settings import Settings

Plain = Callable[[Service], Awaitable[HttpResponse]]

INVOCATIONS = "/invocations"
_V2_MODEL = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?(/ready|/infer)?")


async def livez(service: Service) -> HttpResponse:
    """Report that the process is up."""
    return HttpResponse(200, as_json({"status": "alive"}))


async def readyz(service: Service) -> HttpResponse:
    """Report whether the model is ready. Raises NotReady."""
    _check_ready(service)
    return HttpResponse(200, as_json({"status": "ready"}))


async def v2_live(service: Service) -> HttpResponse:
    """Report that the process is up, in the Open Inference Protocol's words."""
    return HttpResponse(200, as_json({"live": True}))


async def v2_ready(service: Service) -> HttpResponse:
    """Report whether the model is ready, in the Open Inference Protocol's words. Raises NotReady."""
    _check_ready(service)
    return HttpResponse(200, as_json({"ready": True}))


async def model(service: Service) -> HttpResponse:
    """Return the model's card and the release that serves it. Raises ArtifactError."""
    return HttpResponse(200, as_json(asdict(service.predictor().card) | {"release": service.release()}))


async def metrics(service: Service) -> HttpResponse:
    """Return all workers' counters in Prometheus's text format. Raises NotReady."""
    text = render(await service.snapshot(), service.metrics.features, service.model_info())
    return HttpResponse(200, text, MEDIA_TYPE)


def plain_routes(settings: Settings) -> dict[str, Plain]:
    """Return the functions that respond to GET, by their paths."""
    routes: dict[str, Plain] = {
        "/livez": livez,
        "/readyz": readyz,
        "/model": model,
        "/metrics": metrics,
        "/v2/health/live": v2_live,
        "/v2/health/ready": v2_ready,
    }
    return routes | ({settings.health_route: readyz} if settings.health_route else {})


def predict_routes(settings: Settings) -> tuple[str, ...]:
    """Return the paths of POST /predict."""
    other = settings.predict_route
    return (PREDICT, other) if other and other != PREDICT else (PREDICT,)


def is_inference(path: str) -> bool:
    """Return whether the path is MLflow's or the Open Inference Protocol's for predictions."""
    return path == INVOCATIONS or (path.endswith("/infer") and _V2_MODEL.fullmatch(path) is not None)


class Labels:
    """Names of paths in metrics: a closed list, so that clients cannot add series."""

    def __init__(self, settings: Settings) -> None:
        ours = (plain_routes(settings), predict_routes(settings), file_routes(settings))
        paths = ["/openapi.json", "/v2", INVOCATIONS, *chain.from_iterable(ours)]
        self._known = {path: path for path in paths}

    def of(self, path: str) -> str:
        """Return a path's label."""
        if match := _V2_MODEL.fullmatch(path):
            return f"/v2/models/NAME{match[2] or ''}"
        return self._known.get(path, OTHER)


def _check_ready(service: Service) -> None:
    if isinstance(service.model, ArtifactError):
        raise NotReady(str(service.model))
