"""HTTP server of Dagger's API for its SDKs: POST /query with basic authentication."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

Answer = Callable[[Mapping[str, Any]], Coroutine[Any, Any, dict[str, Any]]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_BODY = 64 << 20
CLOSE_SECONDS = 1.0


@asynccontextmanager
async def serve_api(answer: Answer, listening: socket.socket, token: str) -> AsyncIterator[None]:
    """Serve requests on a listening socket while the block runs."""
    application, state = _Application(answer, token, listening.getsockname()[1]), ServerState()
    config = uvicorn.Config(application, log_level="error", lifespan="off", ws="none", http="h11")
    config.load()
    # Without uvicorn's own server, which takes signals and a tenth of a second to close.
    server = await asyncio.get_running_loop().create_server(
        lambda: H11Protocol(config, state, app_state={}), sock=listening
    )
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        await application.close()


class _Application:
    def __init__(self, answer: Answer, token: str, port: int) -> None:
        self._answer, self._token = answer, token
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._answering: set[asyncio.Task[Any]] = set()
        self._calls: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Cancel open requests: their client is gone."""
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        if self._calls:  # cut off, the server would print a traceback for each
            await asyncio.wait(self._calls, timeout=CLOSE_SECONDS)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if call := asyncio.current_task():
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        status, body = await self._respond(scope, receive)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: dict[str, Any], receive: Receive) -> tuple[int, bytes]:
        headers = dict(scope["headers"])
        if headers.get(b"host") not in self._hosts or b"origin" in headers:
            # A browser, sent here by a web page, perhaps under another host name.
            return 403, b'{"errors":[{"message":"only programs of this machine are served"}]}'
        if not self._is_trusted(headers.get(b"authorization", b"")):
            return 401, b'{"errors":[{"message":"the session token is missing or wrong"}]}'
        if (scope["method"], scope["path"]) != ("POST", "/query"):
            return 404, b'{"errors":[{"message":"only POST /query is served"}]}'
        body = await _body(receive)
        if body is None:
            return 413, b'{"errors":[{"message":"the query is too large"}]}'
        try:
            request = json.loads(body)
            request["query"]
        except (ValueError, KeyError, TypeError):
            return 400, b'{"errors":[{"message":"the body is no GraphQL request"}]}'
        task = asyncio.create_task(self._answer(request))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        await asyncio.wait([task])
        if task.cancelled():
            return 503, b'{"errors":[{"message":"the session has ended"}]}'
        return 200, json.dumps(task.result()).encode()

    def _is_trusted(self, header: bytes) -> bool:
        scheme, _, value = header.partition(b" ")
        try:
            user = base64.b64decode(value).partition(b":")[0]
        except binascii.Error:
            return False
        return scheme.lower() == b"basic" and secrets.compare_digest(user, self._token.encode())


async def _body(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body"):
            return body
