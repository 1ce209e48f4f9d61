"""Error responses: their JSON shape, and the status and code of each error."""

from __future__ import annotations

from typing import Literal

from app.connections.http_response import HttpResponse, as_json
from app.errors import (
    AppError,
    ArtifactError,
    HeadTooLarge,
    InvalidInput,
    ModelError,
    NotReady,
    Overloaded,
    RequestError,
    TooLarge,
    TooSlow,
    UnknownContentEncoding,
    UnknownPath,
    UnknownTransferEncoding,
    WrongMethod,
)

Code = Literal[
    "invalid_input",
    "not_found",
    "method_not_allowed",
    "too_slow",
    "too_large",
    "unsupported_encoding",
    "head_too_large",
    "model_unavailable",
    "model_failed",
    "overloaded",
    "internal_error",
    "not_implemented",
]

ANSWERS: dict[type[AppError], tuple[int, Code]] = {
    InvalidInput: (400, "invalid_input"),
    UnknownPath: (404, "not_found"),
    WrongMethod: (405, "method_not_allowed"),
    TooSlow: (408, "too_slow"),
    TooLarge: (413, "too_large"),
    UnknownContentEncoding: (415, "unsupported_encoding"),
    HeadTooLarge: (431, "head_too_large"),
    ArtifactError: (500, "model_unavailable"),
    ModelError: (500, "model_failed"),
    NotReady: (503, "model_unavailable"),
    UnknownTransferEncoding: (501, "not_implemented"),
    Overloaded: (503, "overloaded"),
}
# What is left of such a request stays unread, which only the end of the connection can say.
CLOSING = (TooSlow, TooLarge, UnknownContentEncoding, HeadTooLarge)
RETRY_SECONDS = b"1"


def problem(error: AppError, path: str) -> HttpResponse:
    """Return the response to a request for the path that ended in the error."""
    status, code = ANSWERS[type(error)]
    refused = error if isinstance(error, RequestError) else None
    body = {
        "code": code,
        "message": str(error),
        "input": refused.name if refused else None,
        "expected": refused.expected if refused else None,
        "received": refused.received if refused else None,
    }
    return HttpResponse(status, _in_shape(body, path), extra=_extra(error))


def internal_error(path: str) -> HttpResponse:
    """Return the response to a request that the service itself failed at."""
    message = "the service failed; its log says why"
    nothing = dict.fromkeys(("input", "expected", "received"))
    return HttpResponse(500, _in_shape({"code": "internal_error", "message": message, **nothing}, path))


def _in_shape(body: dict[str, str | None], path: str) -> bytes:
    """Return the body in the shape of the path: the Open Inference Protocol has its own."""
    inference = path == "/v2" or path.startswith("/v2/")
    return as_json({"error": body["message"] if inference else body})


def _extra(error: AppError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, UnknownContentEncoding):
        return (b"accept-encoding", b"gzip"), (b"connection", b"close")
    if isinstance(error, CLOSING):
        return ((b"connection", b"close"),)
    if isinstance(error, Overloaded):
        return ((b"retry-after", RETRY_SECONDS),)
    if isinstance(error, WrongMethod):
        return ((b"allow", error.expected.encode()),)
    return ()
