"""The FastAPI application: the OpenAPI document, and every request that the faster paths leave to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import repeat
from typing import Annotated, Any, cast

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute
from starlette.datastructures import State
from starlette.routing import Route

from app.api import mlflow_scoring, open_inference, schemas
from app.api.batches import Batches, Predicted
from app.api.page import File, file_routes
from app.api.routes import INVOCATIONS, Plain, plain_routes, predict_routes
from app.api.schemas import InferenceProblem, ProblemBody, error_entries
from app.api.scoring import Scoring
from app.connections import request_body
from app.connections.error_responses import internal_error, problem
from app.connections.http_response import HttpResponse, as_json
from app.connections.row_reader import describe_value
from app.errors import AppError, ArtifactError, InvalidInput, UnknownPath, WrongMethod
from app.modelling.artifact import Card
from app.modelling.columns import Column
from app.modelling.predictor import details
from app.service import Service

ANYWHERE = error_entries(ProblemBody, 400, 404, 405, 408, 431, 500, 501, 503)
INFERENCE = error_entries(InferenceProblem, 400, 404, 405, 413, 415, 500, 503)
# What the OpenAPI document says about the plain responses. Pages aren't here, and so are left out.
PLAIN_ROUTES: dict[str, dict[str, Any]] = {
    "livez": {"response_model": schemas.Health},
    "readyz": {"response_model": schemas.Health},
    "model": {"response_model": schemas.ReleasedCard},
    "metrics": {"response_class": PlainTextResponse},
    "v2_live": {"response_model": schemas.Live},
    "v2_ready": {"response_model": schemas.Ready},
}


async def _service(request: Request) -> Service:  # FastAPI runs what isn't async on a thread
    return cast(Service, request.app.state.service)


ServiceDep = Annotated[Service, Depends(_service)]


def create_app(service: Service) -> FastAPI:
    """Return the application of a service."""
    card = service.card()
    app = FastAPI(
        title=card.name if card else "milestone2",
        description=schemas.description(card) if card else "",
        version=service.settings.model_version,
        openapi_url=None,  # it is made on the event loop
        docs_url=None,  # its page loads scripts from the network; app/api/page.py has one that doesn't
        redoc_url=None,
        redirect_slashes=False,
        responses=ANYWHERE,
    )
    app.state.service = service
    if not isinstance(service.model, ArtifactError):
        app.state.batches = Batches(service, Scoring(service.model))
    _add_predict(app, service)
    for path, plain in plain_routes(service.settings).items():
        _add_plain(app, path, plain)
    for path, file in file_routes(service.settings).items():
        _add_file(app, path, file)
    app.post(
        INVOCATIONS,
        response_model=schemas.Predictions,
        responses=error_entries(ProblemBody, 413, 415),
        openapi_extra=schemas.invocations_body(_columns(service), service.settings.limits),
    )(invocations)
    _add_inference(app, service)
    app.get("/openapi.json", include_in_schema=False)(openapi)
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(Exception, _internal_error)
    app.add_exception_handler(404, _not_found)
    app.add_exception_handler(405, _method_not_allowed)
    return app


def _add_predict(app: FastAPI, service: Service) -> None:
    extra = schemas.predict_body(_columns(service), service.settings.limits)
    for path in predict_routes(service.settings):
        app.post(
            path,
            response_model=schemas.Prediction | schemas.Predictions,
            responses=error_entries(ProblemBody, 413, 415),
            openapi_extra=extra,
        )(predict)


def _columns(service: Service) -> Sequence[Column]:
    return () if isinstance(service.model, ArtifactError) else service.model.columns


def _add_plain(app: FastAPI, path: str, plain: Plain) -> None:
    async def endpoint(service: ServiceDep) -> Response:
        return _response_of(await plain(service))

    name = plain.__name__
    documented = PLAIN_ROUTES.get(name, {"include_in_schema": False})
    app.get(path, name=name, description=plain.__doc__, **documented)(endpoint)


def _add_file(app: FastAPI, path: str, file: File) -> None:
    async def endpoint(request: Request) -> Response:
        return _response_of(file.answer(dict(reversed(request.headers.raw))))

    # Not FastAPI's own kind of route, which keeps a schema for each of its responses.
    route = Route(path, endpoint, include_in_schema=False)
    route.methods = {"GET"}  # Starlette adds HEAD, which is a GET by now (see AsgiApp)
    app.router.routes.append(route)


def _add_inference(app: FastAPI, service: Service) -> None:
    """Add the Open Inference Protocol's paths: of the model and version that there are, or of any."""
    card, version = service.card(), service.settings.model_version
    model = f"/v2/models/{card.name if card else '{name}'}"
    extra = schemas.inference_body(_columns(service), service.settings.limits)
    common: dict[str, Any] = {"responses": INFERENCE}
    app.get("/v2", response_model=schemas.ServerMetadata, **common)(server_metadata)
    for path in (model, f"{model}/versions/{version}"):
        app.get(path, response_model=schemas.ModelMetadata, **common)(model_metadata)
        app.get(f"{path}/ready", response_model=schemas.ModelReady, **common)(model_ready)
        kind = schemas.InferenceAnswer
        app.post(f"{path}/infer", response_model=kind, openapi_extra=extra, **common)(infer)


async def openapi(request: Request) -> Response:
    """Return the OpenAPI document, made once for all and on a thread, as it takes long."""
    state: State = request.app.state
    if not hasattr(state, "openapi"):
        loop = asyncio.get_running_loop()
        state.openapi = loop.run_in_executor(None, lambda: as_json(request.app.openapi()))
    return Response(await asyncio.shield(state.openapi), media_type="application/json")


async def predict(request: Request, service: ServiceDep) -> Response:
    """Return the model's prediction for one row, or for many; the body is JSON whatever Content-Type says."""
    card, most = service.predictor().card, service.settings.limits.batch_rows
    explained = card if _wants_details(request) else None
    several = explained is not None and len(card.classes) > 2
    body, batches = await request.body(), _batches(request)
    with batches.admission(body):
        if predicted := await batches.predict_slices(body, most, shares=several):
            return await _predictions(batches, predicted, explained)
        await batches.check_size(body, most)
        parsed = await batches.read(body, most)
        if isinstance(parsed, request_body.Batch):
            return await _predictions(batches, await batches.predict(parsed.rows, shares=several), explained)
        value = await batches.scoring.predict(parsed)
        shares = await batches.scoring.probabilities([parsed]) if several else None
    service.metrics.count_prediction(parsed)
    meaning = details(explained, value, shares[0] if shares else None) if explained else {}
    return JSONResponse({"prediction": value, "model_version": service.settings.model_version} | meaning)


async def _predictions(batches: Batches, predicted: Predicted, explained: Card | None) -> Response:
    """Return many predictions, with what they mean if a card is given."""
    found = b'"predictions":%b' % await batches.write(predicted.values)
    if explained and explained.classes:
        rows = [*zip(predicted.values, predicted.shares or repeat(None), strict=False)]
        found += b',"labels":%b' % await batches.write(rows, lambda row: details(explained, *row)["label"])
        if "probabilities" in details(explained, *rows[0]):
            found += b',"probabilities":%b' % await batches.write(
                rows, lambda row: details(explained, *row)["probabilities"]
            )
    return Response(b"{%b}" % found, media_type="application/json")


def _wants_details(request: Request) -> bool:
    given = request.query_params.get("details", "false")
    if given not in ("true", "false"):
        raise InvalidInput("details", "true or false", describe_value(given))
    return given == "true"


async def invocations(request: Request, service: ServiceDep) -> Response:
    """Return the predictions for rows in one of MLflow's scoring formats."""
    service.predictor()
    body, batches, most = await request.body(), _batches(request), service.settings.limits.batch_rows
    with batches.admission(body):
        await batches.check_size(body, most)
        rows = await batches.read_strictly(body, lambda: mlflow_scoring.parse(body, batches.reader, most))
        return await _predictions(batches, await batches.predict(rows), None)


def _batches(request: Request) -> Batches:
    return cast(Batches, request.app.state.batches)


async def server_metadata(service: ServiceDep) -> Response:
    """Return the name and the version of the server."""
    head = {"name": "milestone2", "version": service.settings.model_version}
    return JSONResponse(head | {"extensions": []})


async def model_metadata(service: ServiceDep) -> Response:
    """Return the shapes and types of the inputs and outputs of the model."""
    return JSONResponse(open_inference.metadata(service.predictor(), service.settings.model_version))


async def model_ready(service: ServiceDep) -> Response:
    """Report that the model is ready."""
    return JSONResponse({"name": service.predictor().card.name, "ready": True})


async def infer(request: Request, service: ServiceDep) -> Response:
    """Return the predictions for a tensor of rows."""
    predictor = service.predictor()
    if "inference-header-content-length" in request.headers:
        raise InvalidInput("body", open_inference.BINARY, "a body with binary tensors")
    card, most = predictor.card, service.settings.limits.batch_rows
    body, batches = await request.body(), _batches(request)
    with batches.admission(body):
        await batches.check_size(body, most)
        question = await batches.read_strictly(body, lambda: open_inference.parse(body, batches.reader, most))
        values = (await batches.predict(question.rows)).values
        await service.turns.wait()
        answer = open_inference.answer(card, service.settings.model_version, question, values)
        return JSONResponse(answer)


def _response_of(answer: HttpResponse) -> Response:
    headers = {name.decode(): value.decode() for name, value in answer.extra}
    return Response(answer.body, answer.status, headers, answer.media_type.decode())


async def _app_error(request: Request, error: Exception) -> Response:
    return _response_of(problem(cast(AppError, error), request.url.path))


async def _internal_error(request: Request, error: Exception) -> Response:
    return _response_of(internal_error(request.url.path))  # Starlette raises the error again, for the log


async def _not_found(request: Request, error: Exception) -> Response:
    path = request.url.path
    routes = [route for route in request.app.routes if isinstance(route, APIRoute)]
    known = dict.fromkeys(route.path for route in routes if route.include_in_schema)
    expected = f"one of {', '.join(known)}"
    return _response_of(problem(UnknownPath("path", expected, path[:80]), path))


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    headers: dict[str, Any] = dict(getattr(error, "headers", None) or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # see AsgiApp
    expected = headers.get("Allow", "another method")
    return _response_of(problem(WrongMethod("method", expected, request.method), request.url.path))
