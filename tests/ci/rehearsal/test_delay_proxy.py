"""A service that has become slow."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from rehearsal import delay_proxy
from tests.ci.deploying.targets.test_socket_relay import listens

SECONDS = 0.2


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *message: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[int]:
    """Yield the port of a server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        yield server.server_port
        server.shutdown()


def test_one_request_in_four_is_answered_some_time_later(server: int) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    words = [sys.executable, delay_proxy.__file__, "127.0.0.1", str(server), str(SECONDS), str(port)]
    with subprocess.Popen(words) as process:
        try:
            listens(port)
            with httpx.Client() as client:
                for turn in range(8):
                    started = time.monotonic()
                    assert client.get(f"http://127.0.0.1:{port}/").text == "ok"
                    assert turn % 4 != 3 or time.monotonic() - started >= SECONDS
        finally:
            process.terminate()
