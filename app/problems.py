"""The one shape of every error answer, and how errors become it."""

from __future__ import annotations

from typing import Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from app.errors import AppError, ArtifactError, InvalidInput, ModelError, NotReady, RequestError, TooLarge

Code = Literal[
    "invalid_input",
    "not_found",
    "method_not_allowed",
    "too_large",
    "model_unavailable",
    "model_failed",
    "internal_error",
]

ANSWERS: dict[type[Exception], tuple[int, Code]] = {
    InvalidInput: (400, "invalid_input"),
    TooLarge: (413, "too_large"),
    ArtifactError: (500, "model_unavailable"),
    ModelError: (500, "model_failed"),
    NotReady: (503, "model_unavailable"),
}


class Problem(BaseModel):
    """Why a request has no other answer."""

    code: Code
    message: str
    input: str | None = Field(default=None, description="The input at fault, as in `features[1]`.")
    expected: str | None = None
    received: str | None = None


class ProblemBody(BaseModel):
    """The body of every answer with status 400 and above."""

    error: Problem


def documented(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return the OpenAPI entries of these error statuses."""
    return {status: {"model": ProblemBody} for status in statuses}


def answer(status: int, problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return the problem as a response."""
    return JSONResponse(ProblemBody(error=problem).model_dump(), status, headers)


def install_handlers(app: FastAPI) -> None:
    """Make every error of the application an answer of the one shape."""
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(404, _not_found)
    app.add_exception_handler(405, _method_not_allowed)
    app.add_exception_handler(ClientDisconnect, _client_left)
    app.add_exception_handler(Exception, _internal_error)


async def _app_error(request: Request, error: Exception) -> JSONResponse:
    status, code = ANSWERS[type(error)]
    problem = Problem(code=code, message=str(error))
    if isinstance(error, RequestError):
        problem.input, problem.expected, problem.received = error.name, error.expected, error.received
    # Closing the connection is how the rest of a body that is too large stays unread.
    return answer(status, problem, {"connection": "close"} if status == 413 else None)


async def _not_found(request: Request, error: Exception) -> JSONResponse:
    path = request.url.path[:80]
    expected = f"one of {', '.join(request.app.openapi()['paths'])}"
    problem = Problem(
        code="not_found",
        message=f"path: expected {expected}, got {path}",
        input="path",
        expected=expected,
        received=path,
    )
    return answer(404, problem)


async def _method_not_allowed(request: Request, error: Exception) -> JSONResponse:
    headers = dict(getattr(error, "headers", None) or {})
    expected = headers.get("Allow", "another method")
    problem = Problem(
        code="method_not_allowed",
        message=f"method: expected {expected}, got {request.method}",
        input="method",
        expected=expected,
        received=request.method,
    )
    return answer(405, problem, headers)


async def _client_left(request: Request, error: Exception) -> JSONResponse:
    # Nobody reads this answer; without it the log would tell of a failure of ours.
    return answer(400, Problem(code="invalid_input", message="the client left before its body was read"))


async def _internal_error(request: Request, error: Exception) -> JSONResponse:
    return answer(500, Problem(code="internal_error", message="the service failed; its log says why"))
