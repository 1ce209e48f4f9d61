"""The ASGI application that uvicorn calls: request ids, counters, log and limits for every request.

Then one of the plain functions responds, or FastAPI. FastAPI is imported when the first request needs it, on
a thread, so that other requests are served meanwhile. A service that gets only well-formed requests never
imports it, which saves memory and start time.
"""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from app.api.page import file_routes
from app.api.routes import Labels, is_inference, plain_routes, predict_routes
from app.connections.content_encoding import Plain, decoder_of
from app.connections.error_responses import internal_error, problem
from app.connections.http_response import Headers, HttpResponse
from app.errors import AppError, ArtifactError, InvalidInput, Overloaded, TooLarge
from app.logs import Exchange, log
from app.service import PREDICT, Service
from app.settings import Limits

if TYPE_CHECKING:  # its import is what a service may never pay for
    from fastapi import FastAPI

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

QUERY_FIELDS = 100  # thousands take milliseconds to parse
# A batch; or a byte order mark, which is refused by its name at any size.
_may_be_long = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"instances"|\xef\xbb\xbf|\xff\xfe|\xfe\xff').match


WARM_SCOPE: Scope = {
    "type": "http",
    "method": "POST",
    "path": PREDICT,
    "raw_path": PREDICT.encode(),
    "query_string": b"",
    "headers": [],
}


class ClientLeft(Exception):
    """The client left, or already got an error, before its body was complete."""


class AsgiApp:
    """The application of one service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        hot = service.settings.hot_path
        self.plain = plain_routes(service.settings) if hot else {}
        self.files = file_routes(service.settings) if hot else {}
        self.predict_routes = predict_routes(service.settings)
        self.labels = Labels(service.settings)
        self._framework: asyncio.Future[FastAPI] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
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
        if scope["method"] == "HEAD":  # uvicorn leaves the body out
            scope = {**scope, "method": "GET"}
        if scope["query_string"].count(b"&") >= QUERY_FIELDS:
            raise InvalidInput("query", f"at most {QUERY_FIELDS} fields", "more")
        body, metrics = b"", self.service.metrics
        if limits := self._body_limits(scope):
            body = await self._read_body(receive, scope["headers"], *limits)
            reply.began = monotonic()
            if metrics.in_flight >= self.service.settings.limits.in_flight:
                raise Overloaded(f"server: {metrics.in_flight} requests are in flight, try again later")
        metrics.in_flight += 1
        try:
            if answer := await self._plain_answer(scope, reply.headers):
                await reply.say(answer)
            else:
                await self.service.turns.begin()
                framework = await self._load_framework()
                await framework(scope, _replay(body), reply.send)
        finally:
            metrics.in_flight -= 1

    async def _plain_answer(self, scope: Scope, headers: Mapping[bytes, bytes]) -> HttpResponse | None:
        """Return a response that needs no framework, if there is one."""
        if scope["method"] != "GET":
            return None
        if plain := self.plain.get(scope["path"]):
            return await plain(self.service)
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

    async def _read_body(self, receive: Receive, headers: Headers, single: int, batch: int) -> bytes:
        """Return the whole decoded body of at most `single` bytes, or `batch` if it starts as a batch does.

        Raises TooLarge as soon as it is known, UnknownContentEncoding, InvalidInput when it isn't encoded as
        its head says, and ClientLeft when the rest does not come.
        """
        decoder = decoder_of(b", ".join(value for name, value in headers if name == b"content-encoding"))
        body, more = bytearray(), True
        coming = int(dict(headers).get(b"content-length", 0))  # a chunked body has none
        if coming > batch:
            raise TooLarge("body", f"at most {batch} bytes", f"{coming} bytes")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            body += decoder.decode(message.get("body", b""), batch - len(body))
            _check_length(body, single, batch, coming if isinstance(decoder, Plain) else 0)
            while decoder.has_more:
                await self.service.turns.wait()
                body += decoder.decode(b"", batch - len(body))
                _check_length(body, single, batch, 0)
            more = message.get("more_body", False)
        if body or coming:
            decoder.check_end()
        return bytes(body)

    async def warm_up(self) -> None:
        """Prepare for the first request, where it needs FastAPI or scikit-learn."""
        model, hot = self.service.model, self.service.settings.hot_path
        if isinstance(model, ArtifactError) or (model.on_loop and hot):
            return
        framework = await self._load_framework()
        await framework({**WARM_SCOPE}, _replay(b"{}"), _say_nothing)
        await framework.state.batches.scoring.warm_up()

    async def _load_framework(self) -> FastAPI:
        if self._framework is None:
            loop = asyncio.get_running_loop()
            self._framework = loop.run_in_executor(None, _import_framework, self.service)
        return await asyncio.shield(self._framework)


def _import_framework(service: Service) -> FastAPI:
    from app.api.fastapi_app import create_app

    application = create_app(service)
    gc.freeze()  # all of it stays: the garbage collector need not look through it whenever lists are made
    return application


def _check_length(body: bytearray, single: int, batch: int, coming: int) -> None:
    limit = batch if _may_be_long(body) else single
    if len(body) > limit:
        raise TooLarge("body", f"at most {limit} bytes", f"{coming} bytes" if coming else "more")


def _first_of_each(headers: Headers) -> dict[bytes, bytes]:
    return dict(reversed(headers))


async def _say_nothing(message: Message) -> None:
    """Ignore the response to a request that the service made itself."""


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class _Reply:
    """The response to one request, with its id in the head; counted and logged when it is complete."""

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
        """Send a whole response."""
        await self.send({"type": "http.response.start", "status": answer.status, "headers": answer.headers()})
        await self.send({"type": "http.response.body", "body": answer.body})

    def _record(self) -> None:
        path, seconds = self.scope["path"], monotonic() - self.began
        self.app.service.record_response(
            self.app.labels.of(path),
            Exchange(
                self.scope["method"], path, self.headers, self.status, self.size, seconds, self.request_id
            ),
        )
