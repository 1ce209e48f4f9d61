"""Independent implementations of HTTP/1.1 that read a stream of requests: h11, and aiohttp's in Python."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import h11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParserPy

MOST = 64 * 1024  # of a head, for both


@dataclass(frozen=True)
class Parsed:
    """One request, as a parser read it."""

    method: bytes
    target: bytes
    body: bytes


@dataclass(frozen=True)
class Stream:
    """The requests of a stream, and whether something behind them is refused."""

    requests: tuple[Parsed, ...]
    refused: bool


def read_with_h11(stream: bytes) -> Stream:
    """Return what h11 reads, as a server that answers each request and switches to no other protocol."""
    connection, requests = h11.Connection(h11.SERVER, MOST), list[Parsed]()
    try:
        connection.receive_data(stream)
        connection.receive_data(b"")
        while isinstance(request := connection.next_event(), h11.Request):
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
            requests.append(Parsed(request.method, request.target, body))
            connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                break
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        return Stream(tuple(requests), "incomplete" not in str(error) and "without sending" not in str(error))
    return Stream(tuple(requests), False)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def read_with_aiohttp(stream: bytes) -> Stream | None:
    """Return what aiohttp reads, or None if the stream offers another protocol: there it stops."""
    return _loop().run_until_complete(_read_with_aiohttp(stream))


async def _read_with_aiohttp(stream: bytes) -> Stream | None:
    parser = HttpRequestParserPy(
        mock.Mock(),
        asyncio.get_running_loop(),
        2**16,
        max_line_size=MOST,
        max_field_size=MOST,
        max_headers=1000,
    )
    found: list[Any] = []
    refused = False
    for start in range(0, len(stream)):
        try:
            messages, upgraded, _ = parser.feed_data(stream[start : start + 1])
        except (HttpProcessingError, ValueError):
            refused = True
            break
        found += messages
        if upgraded:
            return None
    requests = []
    for message, payload in found:
        if payload.exception() is not None or not payload.is_eof():
            break
        requests.append(_parsed_request(message, await payload.read()))
        if message.should_close:
            break
    return Stream(tuple(requests), refused)


def _parsed_request(message: Any, body: bytes) -> Parsed:
    return Parsed(message.method.encode(), message.path.encode("utf-8", "surrogateescape"), body)


def statuses(requests: tuple[Parsed, ...], answers: bytes) -> list[int]:
    """Return the statuses that h11, as a client, reads in the answers to requests.

    Raises h11.RemoteProtocolError for what is no answer.
    """
    connection, found = h11.Connection(h11.CLIENT), list[int]()
    connection.receive_data(answers)
    connection.receive_data(b"")
    for request in requests:
        connection.send(h11.Request(method=request.method, target=request.target, headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                found.append(event.status_code)
        if connection.their_state is not h11.DONE:
            break
        connection.start_next_cycle()
    return found
