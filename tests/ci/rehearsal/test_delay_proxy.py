"""A service that has become slow."""

from __future__ import annotations

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

SECONDS = 0.2


async def respond(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def test_one_request_in_four_is_answered_some_time_later() -> None:
    with serve(Starlette(routes=[Route("/", respond)])) as base:
        words = [
            sys.executable,
            delay_proxy.__file__,
            "127.0.0.1",
            base.rpartition(":")[2],
            str(SECONDS),
            "0",
        ]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                url = f"http://127.0.0.1:{process.stdout.readline().strip()}/"
                for turn in range(8):
                    started = time.monotonic()
                    assert httpx.get(url, timeout=60).text == "ok"
                    assert turn % 4 != 3 or time.monotonic() - started >= SECONDS
            finally:
                process.terminate()
