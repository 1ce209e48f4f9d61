"""Connections that can be cut on purpose, as networks cut them."""

import asyncio
import contextlib
import socket
import struct
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT = "transport"


class CuttableProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose application finds its connection in the request's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the connection where `cut` finds it."""
        self.app_state: dict[str, Any] = {**self.app_state, _TRANSPORT: transport}
        super().connection_made(transport)


def server(app: ASGIApp) -> uvicorn.Server:
    """Return what serves an application; its log, its Date and its faults are the application's own."""
    config = uvicorn.Config(
        app,
        http=CuttableProtocol,
        date_header=False,
        server_header=False,
        log_config=None,
        # A request that a fault leaves unanswered shall not hold up the end.
        timeout_graceful_shutdown=1,
        # As Google's load balancer. A client that drops idle connections sooner never meets one that ends.
        timeout_keep_alive=600,
    )
    return uvicorn.Server(config)


def cut(scope: Scope) -> None:
    """Reset a request's connection: reads and writes of either side fail at once."""
    transport: asyncio.Transport = scope["state"][_TRANSPORT]
    # Closing with a linger time of zero sends RST instead of FIN.
    with contextlib.suppress(OSError):
        stream: socket.socket = transport.get_extra_info("socket")
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def cut_within_body(scope: Scope, receive: Receive) -> Receive:
    """Return a receiver that hands half of the first piece of the body on, then cuts the connection."""
    pieces = iter([True])

    async def receive_half() -> Message:
        if next(pieces, False):
            message = await receive()
            body: bytes = message.get("body", b"")
            return {"type": "http.request", "body": body[: len(body) // 2], "more_body": True}
        cut(scope)
        return {"type": "http.disconnect"}

    return receive_half
