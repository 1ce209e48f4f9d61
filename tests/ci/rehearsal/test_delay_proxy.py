"""A service that has become slow."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rehearsal import delay_proxy
from tests.ci.connections import serve
from tests.ci.deploying.targets.test_socket_relay import wait_for_port

SECONDS = 0.2


async def respond(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def test_one_request_in_four_is_answered_some_time_later() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    with serve(Starlette(routes=[Route("/", respond)])) as base:
        behind = base.rpartition(":")[2]
        words = [sys.executable, delay_proxy.__file__, "127.0.0.1", behind, str(SECONDS), str(port)]
        with subprocess.Popen(words) as process:
            try:
                wait_for_port(port)
                for turn in range(8):
                    started = time.monotonic()
                    assert httpx.get(f"http://127.0.0.1:{port}/").text == "ok"
                    assert turn % 4 != 3 or time.monotonic() - started >= SECONDS
            finally:
                process.terminate()
