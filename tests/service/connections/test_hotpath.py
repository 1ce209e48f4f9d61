"""Hot path: the requests that it takes, and proof that it is the hot path which answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from app.api.asgi_app import AsgiApp
from app.connections.hot_path import HotPathProtocol, head_pattern, protocol_of
from app.connections.protocol import LimitedProtocol
from app.modelling import model_loader
from app.service import Service
from app.settings import Settings
from tests.service import mutations
from tests.service.server import BODY, Server, run_service

CURL = b"Host: localhost:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Length: 20\r\n" + (
    b"Content-Type: application/x-www-form-urlencoded\r\n"
)
HTTP_CLIENT = b"Host: 127.0.0.1:8080\r\nAccept-Encoding: identity\r\nContent-Length: 20\r\n"
CLOUD_RUN = mutations.CLOUD_RUN + b"content-length: 20\r\n"
WITH_ID = b"X-REQUEST-ID: abc-1\r\n" + CLOUD_RUN
NODE = b"content-length: 20\r\nHost: localhost:8080\r\nConnection: keep-alive\r\n"
WRK = b"X-Forwarded-For: 203.0.113.7\r\nHost: localhost:8080\r\nAccept: */*\r\nContent-Length: 20\r\n"
HEADS = {"curl": CURL, "http.client": HTTP_CLIENT, "Cloud Run": CLOUD_RUN, "an id": WITH_ID, "Node.js": NODE}
HEADS |= {"wrk": WRK}


@pytest.fixture(scope="module")
def server(number_model: Path) -> Iterator[Server]:
    with run_service(number_model, measured=True) as server:
        yield server
        assert not server.maps("pydantic_core"), "FastAPI has answered one of these tests' requests"


@pytest.mark.parametrize("fields", HEADS.values(), ids=list(HEADS))
@pytest.mark.parametrize("cut", [None, 0, 7], ids=["whole", "head and body", "in the body"])
def test_what_clients_send_is_answered(server: Server, fields: bytes, cut: int | None) -> None:
    head = b"POST /predict HTTP/1.1\r\n" + fields + b"\r\n"
    with server.connect() as wire:
        for _ in range(2):
            if cut is None:
                wire.send(head + BODY)
            else:
                wire.send(head + BODY[:cut])
                assert server.request("GET", "/livez").status == 200  # so that it has been read
                wire.send(BODY[cut:])
            reply = wire.reply()
            assert reply.status == 200
            assert list(reply.headers) == ["date", "content-length", "content-type", "x-request-id"]
            assert list(reply.json()) == ["prediction", "model_version"]


def test_many_requests_in_one_segment_are_answered_in_order(server: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\nX-Request-ID: id-%d\r\n\r\n"
    with server.connect() as wire:
        wire.send(b"".join(head % number + BODY for number in range(50)))
        assert [wire.reply().headers["x-request-id"] for _ in range(50)] == [f"id-{n}" for n in range(50)]


def test_the_last_request_of_a_segment_may_come_in_parts(server: Server) -> None:
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n" + BODY
    with server.connect() as wire:
        wire.send(request * 2 + request[:-5])
        assert [wire.reply().status for _ in range(2)] == [200, 200]
        wire.send(request[-5:] + request)
        assert [wire.reply().status for _ in range(2)] == [200, 200]


def test_a_client_that_pauses_reading_has_no_more_time_for_its_body(number_model: Path) -> None:
    service = Service.load(Settings(model_dir=number_model))
    head, transport = b"POST /predict HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n", Mock(spec=asyncio.Transport)
    transport.configure_mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None})

    async def pause() -> LimitedProtocol:
        connection = protocol_of(service)(Config(AsgiApp(service), log_config=None), ServerState(), {})
        connection.connection_made(transport)
        connection.data_received(head % b"Content-Length: 20" + BODY + head % b"Transfer-Encoding: chunked")
        connection.pause_writing()
        connection.resume_writing()
        connection.connection_lost(None)
        return connection

    paused = asyncio.run(pause())
    assert paused.deadline - paused.waiting_since == service.settings.limits.body_seconds


MORE = [b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Connection: close", b"UPGRADE: h2c"]
MORE += [b"Host: y", b"Content-Encoding: gzip", b"Content-Length: 20", b"Proxy-Connection: close"]
MORE += [b"X-Request-ID: a b", b"X: \x00", b"X : y"]


@pytest.mark.parametrize("field", MORE)
def test_a_head_that_means_more_is_left_to_the_parser(field: bytes) -> None:
    matches = head_pattern(100).match
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\n%sContent-Length: 20\r\n\r\n"
    assert matches(head % b"")
    assert not matches(head % (field + b"\r\n"))


def test_without_model_without_portable_model_and_by_setting_there_is_no_hot_path(
    number_model: Path, tmp_path: Path
) -> None:
    model = model_loader.load(number_model)
    assert issubclass(protocol_of(Service(Settings(), model)), HotPathProtocol)
    for service in (
        Service(Settings(hot_path=False), model),
        Service(Settings(), replace(model, on_loop=False)),  # type: ignore[type-var]
        Service.load(Settings(model_dir=tmp_path)),
    ):
        bound = protocol_of(service)
        assert issubclass(bound, LimitedProtocol)
        assert not issubclass(bound, HotPathProtocol)
