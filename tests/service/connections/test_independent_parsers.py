"""The service reads streams of requests as independent implementations of HTTP/1.1 do, or more strictly.

The hot path and FastAPI stand behind the same parser, so that both can agree on a wrong answer. Where h11 and
aiohttp agree on a stream, the service has to agree with them, but for what it refuses on purpose.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from app.connections import request_body
from app.errors import InvalidInput
from tests.service.connections.independent_parsers import (
    Parsed,
    Stream,
    read_with_aiohttp,
    read_with_h11,
    statuses,
)
from tests.service.model import number_reader
from tests.service.mutations import mutate_head
from tests.service.server import Server, run_service

STREAMS = 200  # the independent parsers take most of the time
# Versions and methods that the service doesn't have, a Host that is none, a head or a length beyond the
# limits, a connection that a client wants closed by an old name, and an empty line before a request, which
# RFC 9112 has skipped and both refuse.
ON_PURPOSE = re.compile(
    rb"(?i) HTTP/(?!1\.[01]\r)|(?:^|\n)(?!(?:POST|GET|HEAD) )[A-Z]+ [^\r\n]+ HTTP/|^\r\n"
    rb"|\nhost:[ ]*+[!-~]*+[^!-~\r\n]|\nhost:[^\r\n]*[/?#@<>\"^`{|}\\]"
    rb"|a{10000}|X-99: |9{20}|\nproxy-connection: close"
)


def response_to(server: Server, stream: bytes) -> bytes:
    """Return all that the service says to a stream, without what it says before a body comes."""
    with server.connect() as wire:
        wire.send(stream)
        wire.say_no_more()
        return wire.rest().replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


def expected_status(parsed: Parsed) -> int:
    """Return the status of the answer to POST /predict, from the body that an independent parser read."""
    try:
        request_body.parse(parsed.body, number_reader(), 10)
    except InvalidInput:
        return 400
    return 200


def check_refused(server: Server, stream: bytes, read: Stream) -> None:
    """Hold the service to refuse what both refuse, behind the answers to what came before."""
    answers = re.findall(rb"(?s)HTTP/1\.1 (\d+) .*?(?=HTTP/1\.1 |$)", response_to(server, stream))
    assert len(answers) <= len(read.requests) + 1, stream
    if len(answers) > len(read.requests):
        assert answers[-1] in (b"400", b"408", b"431", b"501"), (stream, answers)


def check_answered(server: Server, stream: bytes, read: Stream) -> None:
    """Hold the service to answer each request that both read."""
    found = statuses(read.requests, response_to(server, stream))
    assert len(found) == len(read.requests), (stream, found)
    for parsed, status in zip(read.requests, found, strict=True):
        if (parsed.method, parsed.target) == (b"POST", b"/predict") and b"Encoding: gzip" not in stream:
            assert status == expected_status(parsed), (stream, found)


@pytest.fixture(scope="module")
def streams() -> list[tuple[bytes, Stream]]:
    """Return streams of requests, and what both parsers read in each."""
    random, found = Random(11), list[tuple[bytes, Stream]]()
    for _ in range(STREAMS):
        stream = b"".join(mutate_head(random))
        read = read_with_h11(stream)
        if read_with_aiohttp(stream) == read and not ON_PURPOSE.search(stream):
            found.append((stream, read))
    return found


def test_the_service_reads_what_independent_parsers_read(
    switch: dict[str, str], streams: list[tuple[bytes, Stream]], number_model: Path
) -> None:
    with run_service(number_model, settings=switch) as server:
        for stream, read in streams:
            (check_refused if read.refused else check_answered)(server, stream, read)
    refused = sum(read.refused for _, read in streams)
    assert len(streams) - refused > STREAMS // 4
    assert refused > STREAMS // 20
