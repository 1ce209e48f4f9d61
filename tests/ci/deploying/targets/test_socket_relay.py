"""The way to a Unix socket, for who has the key: the program as it runs in a container."""

from __future__ import annotations

import http.server
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import httpx
import pytest

from deploying.targets import socket_relay

KEY = "the-key"
PATIENCE = 30.0


@dataclass
class Way:
    """The relay's address, and what came to the socket behind it."""

    port: int = 0
    requests: list[str] = field(default_factory=list)

    def client(self, authorization: str | None = f"Bearer {KEY}") -> httpx.Client:
        """Return a client that shows something."""
        headers = {"Authorization": authorization} if authorization else {}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers)

    def connection(self) -> socket.socket:
        """Return a connection to the relay."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """Yield the way to a daemon that says again what it is sent."""
    folder, way = tmp_path_factory.mktemp("relay"), Way()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            way.requests.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *message: object) -> None:
            """Say nothing."""

    (folder / "key").write_text(f"{KEY}\n")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        way.port = bound.getsockname()[1]
    words = [
        sys.executable,
        socket_relay.__file__,
        str(folder / "socket"),
        str(way.port),
        str(folder / "key"),
    ]
    with socketserver.ThreadingUnixStreamServer(str(folder / "socket"), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        with subprocess.Popen(words) as process:
            try:
                wait_for_port(way.port)
                yield way
            finally:
                process.terminate()
                server.shutdown()


def wait_for_port(port: int) -> None:
    """Return when the port is open."""
    until = time.monotonic() + PATIENCE
    while True:
        with closing(socket.socket()) as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def way(relay: Way) -> Way:
    """Return the way, on which nothing has come yet."""
    relay.requests.clear()
    return relay


def test_who_has_the_key_talks_to_the_socket(way: Way) -> None:
    body = b"x" * 300_000
    with way.client() as client:
        assert client.post("/services/create", content=body).content == body
        assert client.get("/tasks").status_code == 200
    assert way.requests == ["POST /services/create", "GET /tasks"]


@pytest.mark.parametrize("given", [None, "Bearer another", KEY, f"Basic {KEY}"])
def test_a_client_without_the_key_is_refused(way: Way, given: str | None) -> None:
    with way.client(given) as client:
        assert client.get("/info").status_code == 401
    assert way.requests == []


def test_a_key_that_is_said_twice_is_none() -> None:
    one = f"Authorization: Bearer {KEY}\r\n"
    assert socket_relay.shows(f"GET / HTTP/1.1\r\n{one}\r\n".encode(), KEY)
    assert not socket_relay.shows(f"GET / HTTP/1.1\r\n{one}{one}\r\n".encode(), KEY)


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\n", b"x" * 200_000], ids=["nothing", "half", "much"]
)
def test_who_says_nothing_or_too_much_is_hung_up_on(way: Way, said: bytes) -> None:
    with way.connection() as connection:
        try:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            rest = connection.recv(1000)
        except OSError:
            rest = b""
    assert rest == b""
    assert way.requests == []
