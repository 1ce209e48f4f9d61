"""Robustness of a service: many clients, bad clients, and a stop in the middle of work."""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.settings import Limits
from tests.service import soak
from tests.service.server import SLOW_TO_STOP, TIMEOUT, Server, run_service

MANY = 2500
CLIENTS = 16


@pytest.fixture
def open_files() -> Iterator[int]:
    """Allow this process all the files that it may open, and say how many these are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def send_until_closed(server: Server, begun: threading.Barrier) -> int:
    """Repeat a request until a response says that it is the last one; return the number of responses."""
    with server.connect() as wire:
        for number in range(1, 1_000_000):
            wire.send(soak.SINGLE)
            answer = wire.raw_reply()
            assert answer.startswith(b"HTTP/1.1 200 "), f"request {number} was lost: {answer!r}"
            if b"\r\nconnection: close\r\n" in answer:
                return number
            if number == 100:
                begun.wait(TIMEOUT)
    raise AssertionError("the service goes on")


def test_sigterm_under_load_loses_no_request(number_model: Path, switch: dict[str, str]) -> None:
    begun = threading.Barrier(CLIENTS + 1)
    with (
        run_service(number_model, program=SLOW_TO_STOP, settings=switch) as server,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        clients = [pool.submit(send_until_closed, server, begun) for _ in range(CLIENTS)]
        begun.wait(TIMEOUT)
        assert server.stop() == 0
        assert all(client.result(TIMEOUT) > 100 for client in clients)


def test_others_are_served_beside_thousands_of_connections(
    number_model: Path, switch: dict[str, str], open_files: int
) -> None:
    limits = Limits()
    many = min(MANY, open_files - 200)
    assert many > limits.connections
    with run_service(number_model, settings=switch) as server, contextlib.ExitStack() as stack:
        for number in range(many):
            wire = stack.enter_context(server.connect())
            wire.send((b"", b"POST /predict HTTP/1.1\r\nX: ", soak.SINGLE[:-5])[number % 3])
            if number % 500 == 0:
                assert server.predict([1, 2, 3]).status == 200
        metrics = server.metrics()
        assert metrics["http_connections"] <= limits.connections
        assert metrics["process_resident_memory_bytes"] < 150e6


def test_slow_clients_hold_up_no_others_and_get_an_error(number_model: Path, switch: dict[str, str]) -> None:
    seconds = {"LIMIT_HEAD_SECONDS": "1", "LIMIT_BODY_SECONDS": "1", "LIMIT_IN_FLIGHT": "5"}
    with run_service(number_model, settings=switch | seconds) as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(100)]
        for wire in slow[:50]:
            wire.send(b"GET /livez HTTP/1.1\r\nX: ")
        for wire in slow[50:]:
            wire.send(soak.SINGLE[:-5])
        for _ in range(20):
            assert server.predict([1, 2, 3]).status == 200
            assert server.request("POST", "/predict", b'{"instances":[[1,2,3]]}').status == 200
        assert {wire.reply().status for wire in slow} == {408}


@pytest.fixture(scope="module")
def server(number_model: Path, switch: dict[str, str]) -> Iterator[Server]:
    with run_service(number_model, settings=switch) as server:
        yield server


@pytest.mark.parametrize(
    "data", [soak.SINGLE, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["short", "long"]
)
def test_a_client_that_sends_and_does_not_read_is_not_read_from(server: Server, data: bytes) -> None:
    with server.connect() as wire:
        assert wire.flood(data) < 100_000_000
        assert server.predict([1, 2, 3]).status == 200
        assert server.metrics()["process_resident_memory_bytes"] < 100e6


def test_saturation_leaves_memory_as_it_is() -> None:
    assert soak.main(["--seconds", "2"]) == 0
