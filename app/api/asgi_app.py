"""The ASGI application that uvicorn calls: what every request gets, whoever answers it.

A request gets an id, a place in the counters and the log, and a bounded body. Then one of the plain functions
answers it, or FastAPI, which is imported when the first request needs it: on a thread, so that others are
answered meanwhile. A service that is asked well-formed questions only never pays for it, in memory or at
start.
"""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from time import monotonic
from typing import Any

from app.api.page import file_routes
from app.api.routes import Labels, is_inference, plain_routes, predict_routes
from app.connections.error_responses import internal_error, problem
from app.connections.http_response import Headers, HttpResponse
from app.errors import AppError, Overloaded, TooLarge
from app.logs import Exchange, log
from app.service import Service
from app.settings import Limits

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_starts_a_batch = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"instances"').match


class ClientLeft(Exception):
    """The client is gone, or was told otherwise, before its body was all there."""


class AsgiApp:
    """The application of one service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        hot = service.settings.hot_path
        self.plain = plain_routes(service.settings) if hot else {}
        self.files = file_routes(service.settings) if hot else {}
        self.predict_routes = predict_routes(service.settings)
        self.labels = Labels(service.settings)
        self._framework: asyncio.Future[Application] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        reply = _Reply(self, scope, send)
        path: str = scope["path"]
        try:
            await self._answer(scope, receive, reply)
        except AppError as error:
            await reply.say(problem(error, path))
        except ClientLeft:
            return
        except Exception:
            log.exception("%s %s failed", scope["method"], path)
            if not reply.status:
                await reply.say(internal_error(path))

    async def _answer(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        body, metrics = b"", self.service.metrics
        if limits := self._body_limits(scope):
            body = await read_body(receive, reply.headers.get(b"content-length"), *limits)
            reply.began = monotonic()
            if metrics.in_flight >= self.service.settings.limits.in_flight:
                raise Overloaded(f"server: {metrics.in_flight} requests are in flight, try again later")
        metrics.in_flight += 1
        try:
            if answer := self._plain_answer(scope, reply.headers):
                await reply.say(answer)
            else:
                framework = await self._load_framework()
                await framework(scope, _replay(body), reply.send)
        finally:
            metrics.in_flight -= 1

    def _plain_answer(self, scope: Scope, headers: Mapping[bytes, bytes]) -> HttpResponse | None:
        """Return what needs no framework to be answered."""
        if scope["method"] != "GET":
            return None
        if plain := self.plain.get(scope["path"]):
            return plain(self.service)
        file = self.files.get(scope["path"])
        return file.answer(headers) if file else None

    def _body_limits(self, scope: Scope) -> tuple[int, int] | None:
        """Return how long a single question and a batch may be, or None where no body is read."""
        limits: Limits = self.service.settings.limits
        if scope["method"] != "POST":
            return None
        if scope["path"] in self.predict_routes:
            return limits.body_bytes, limits.batch_bytes
        return (limits.batch_bytes, limits.batch_bytes) if is_inference(scope["path"]) else None

    async def _load_framework(self) -> Application:
        if self._framework is None:
            loop = asyncio.get_running_loop()
            self._framework = loop.run_in_executor(None, _import_framework, self.service)
        return await asyncio.shield(self._framework)


def _import_framework(service: Service) -> Application:
    from app.api.fastapi_app import create_app

    application: Application = create_app(service)
    # All of it stays: the garbage collector need not look through it again whenever a batch is read.
    gc.unfreeze()  # what the start left behind, it may take now
    gc.collect()
    gc.freeze()
    return application


async def read_body(receive: Receive, announced: bytes | None, single: int, batch: int) -> bytes:
    """Return the whole body of at most `single` bytes, or `batch` if it starts as a batch does.

    `announced` is the Content-Length header; a chunked body has none. Raises TooLarge as soon as it is known,
    ClientLeft when the rest does not come.
    """
    body, more = bytearray(), True
    coming = int(announced or 0)
    if coming > batch:
        raise TooLarge("body", f"at most {batch} bytes", f"{coming} bytes")
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body += message.get("body", b"")
        more = message.get("more_body", False)
        limit = batch if _starts_a_batch(body) else single
        if len(body) > limit:
            raise TooLarge("body", f"at most {limit} bytes", f"{coming} bytes" if coming else "more")
    return bytes(body)


def _first_of_each(headers: Headers) -> dict[bytes, bytes]:
    return dict(reversed(headers))


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class _Reply:
    """What is said to one request, with its id in the head; counted and logged when it is all said."""

    def __init__(self, app: AsgiApp, scope: Scope, send: Send) -> None:
        self.began = monotonic()
        self.app, self.scope = app, scope
        self.headers = _first_of_each(scope["headers"])
        self.request_id = app.service.request_id(self.headers)
        self.status = self.size = 0
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass on a message of the application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id)]
        await self._send(message)
        if message["type"] == "http.response.body":
            self.size += len(message.get("body", b""))
            if not message.get("more_body"):
                self._record()

    async def say(self, answer: HttpResponse) -> None:
        """Send a whole answer."""
        await self.send({"type": "http.response.start", "status": answer.status, "headers": answer.headers()})
        await self.send({"type": "http.response.body", "body": answer.body})

    def _record(self) -> None:
        path, seconds = self.scope["path"], monotonic() - self.began
        self.app.service.answered(
            self.app.labels.of(path),
            Exchange(
                self.scope["method"], path, self.headers, self.status, self.size, seconds, self.request_id
            ),
        )
