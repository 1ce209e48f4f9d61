"""Limits on clients, and the errors beyond them, with the hot path and without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.mutations import PROBE
from tests.service.server import BODY, HEAD, TIMEOUT, Reply, Server, Wire, run_service

INFER = b"POST /v2/models/known/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
UNASKED = b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
NAMED = b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow-1\r\nContent-Length: 9\r\n\r\n"
SECONDS = {"LIMIT_HEAD_SECONDS": "1", "LIMIT_BODY_SECONDS": "1", "LIMIT_IDLE_SECONDS": "2"}
LIMITS = {"LIMIT_HEAD_BYTES": "1000", "LIMIT_HEAD_FIELDS": "8", "LIMIT_CONNECTIONS": "20"}


@pytest.fixture(scope="module")
def service(number_model: Path, switch: dict[str, str]) -> Iterator[Server]:
    with run_service(number_model, settings=LIMITS | switch, measured=True) as service:
        yield service


@pytest.fixture(scope="module")
def hurried(number_model: Path, switch: dict[str, str]) -> Iterator[Server]:
    """Return a service that waits for no client longer than a second or two."""
    with run_service(number_model, settings=SECONDS | switch, measured=True) as service:
        assert service.request("GET", "/nowhere").status == 404  # FastAPI is imported by now
        yield service


@pytest.fixture
def wire(service: Server) -> Iterator[Wire]:
    with service.connect() as wire:
        yield wire


@pytest.fixture(scope="module")
def slow(hurried: Server) -> Iterator[dict[bytes, Wire]]:
    """Send parts of requests and no more, all at the same time; return the connections by what was sent."""
    parts = [INFER, UNASKED, NAMED, HEAD + BODY, *(part for part, _ in SLOW.values())]
    with contextlib.ExitStack() as stack:
        wires = {part: stack.enter_context(hurried.connect()) for part in parts}
        for part, wire in wires.items():
            wire.send(part)
        yield wires


def code(reply: Reply) -> tuple[int, str]:
    """Return the status and the code of an error, which has the one shape."""
    assert list(reply.json()["error"]) == ["code", "message", "input", "expected", "received"]
    return reply.status, reply.json()["error"]["code"]


def last_reply(wire: Wire) -> Reply:
    """Return the last answer of a connection that the server ends."""
    reply = wire.reply()
    assert reply.headers["connection"] == "close"
    assert reply.headers["x-request-id"]
    assert wire.rest() == b""
    return reply


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"X: " + b"a" * 2000,
        b"".join(b"X-%d: y\r\n" % index for index in range(20)) + b"\r\n",
    ],
    ids=["100,000 bytes", "a field without end", "many fields"],
)
def test_a_head_beyond_the_limits_is_431(wire: Wire, service: Server, head: bytes) -> None:
    wire.send(b"POST /predict HTTP/1.1\r\n")
    assert service.request("GET", "/livez").status == 200  # so that the head comes in two segments
    wire.send(head)
    assert code(last_reply(wire)) == (431, "head_too_large")


def test_a_target_beyond_the_limit_is_431(wire: Wire) -> None:
    wire.send(b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n")
    assert code(last_reply(wire)) == (431, "head_too_large")


def test_a_head_up_to_the_limits_is_read(wire: Wire) -> None:
    fields = b"".join(b"X-%d: y\r\n" % index for index in range(5)) + b"X: " + b"a" * 800 + b"\r\n"
    wire.send(
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(BODY) + fields + b"\r\n" + BODY
    )
    assert wire.reply().status == 200


@pytest.mark.parametrize(
    "start", [b"POST /predict HTTP/1.1\r\nX: ", HEAD.replace(b": 20", b": 20000")], ids=["a head", "a body"]
)
def test_what_trickles_is_408_all_the_same(hurried: Server, start: bytes) -> None:
    with hurried.connect() as wire:
        wire.send(start)
        wire.socket.settimeout(0.1)
        reply = b""
        for _ in range(10 * round(TIMEOUT)):
            wire.send(b"x")
            with contextlib.suppress(TimeoutError):
                reply = reply or wire.receive()
            if reply:
                break
    assert reply.startswith(b"HTTP/1.1 408 ")


SLOW = {
    "a head": (b"POST /predict HTTP/1.1\r\nHost:", "head"),
    "a body": (HEAD, "body"),
    "the rest of a body": (HEAD + BODY[:5], "body"),
}


@pytest.mark.parametrize(("part", "name"), SLOW.values(), ids=list(SLOW))
def test_what_does_not_come_in_time_is_408(slow: dict[bytes, Wire], part: bytes, name: str) -> None:
    error = last_reply(slow[part])
    assert code(error) == (408, "too_slow")
    assert error.json()["error"]["message"] == f"{name}: expected all of it within 1 seconds, got less"


def test_the_open_inference_protocol_is_refused_in_its_own_shape(slow: dict[bytes, Wire]) -> None:
    assert last_reply(slow[INFER]).json() == {"error": "body: expected all of it within 1 seconds, got less"}


def test_the_body_of_a_request_without_one_is_not_waited_for(slow: dict[bytes, Wire]) -> None:
    wire = slow[UNASKED]
    assert wire.reply().status == 200
    assert wire.rest() == b""


def test_an_idle_connection_is_closed_without_a_word(slow: dict[bytes, Wire]) -> None:
    wire = slow[HEAD + BODY]
    assert wire.reply().status == 200
    assert wire.rest() == b""


def test_a_chunked_body_past_the_limit_is_413_and_the_connection_closed(wire: Wire) -> None:
    wire.send(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(b"%x\r\n%s\r\n" % (70_000, b" " * 70_000))  # and no last chunk
    assert code(last_reply(wire)) == (413, "too_large")


def test_answers_owed_come_before_the_refusal_of_what_follows(wire: Wire) -> None:
    wire.send((HEAD + BODY) * 3 + b"nonsense\r\n\r\n")
    assert [wire.reply().status for _ in range(3)] == [200, 200, 200]
    assert code(last_reply(wire)) == (400, "invalid_input")


def test_a_client_that_closes_its_side_gets_its_responses(wire: Wire) -> None:
    wire.send((HEAD + BODY) * 2 + HEAD)
    wire.say_no_more()
    assert [wire.reply().status for _ in range(2)] == [200, 200]
    assert wire.rest() == b""


def test_a_new_connection_takes_the_place_of_one_that_waits(service: Server) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(service.connect()) for _ in range(30)]
        assert service.predict([1, 2, 3]).status == 200
        assert service.metrics()["http_connections"] <= 20
        assert idle[0].rest() == b""


def test_a_connection_in_the_middle_of_a_request_gets_503_when_its_place_is_needed(service: Server) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(service.connect())]
        for _ in range(30):
            slow[-1].send(PROBE + HEAD)
            assert slow[-1].reply().status == 200  # so that the head behind it has been read
            slow.append(stack.enter_context(service.connect()))
        assert last_reply(slow[0]).status == 503


def test_refusals_are_counted(service: Server) -> None:
    with service.connect() as wire:
        before = service.metrics()
        wire.send(b"nonsense\r\n\r\n")
        assert last_reply(wire).status == 400
    name = 'http_requests_total{route="other",status="400"}'
    assert service.metrics()[name] == before.get(name, 0) + 1


def test_refusals_are_logged(hurried: Server, slow: dict[bytes, Wire]) -> None:
    assert last_reply(slow[NAMED]).headers["x-request-id"] == "slow-1"
    entry = hurried.log.entry(lambda entry: entry.get("requestId") == "slow-1")
    assert (entry["severity"], entry["httpRequest"]["status"]) == ("WARNING", 408)


def test_the_process_may_open_as_many_files_as_connections_need(service: Server) -> None:
    limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if "open files" in line).split()[3:5]
    assert soft == hard
