"""`python -m app` as a process: signals, ports, settings, and bytes on a real connection."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.app import create_app
from app.body import MAX_BODY
from app.listener import listen
from app.settings import Settings

ROOT = Path(__file__).parent.parent
BODY = b'{"features":[1,2,3]}'
TIMEOUT = 20.0


@dataclass(frozen=True)
class Server:
    """A running `python -m app` and the port it listens on."""

    process: subprocess.Popen[str]
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def wait_until_nobody_listens(self) -> None:
        while True:
            try:
                self.connect().close()
            except (ConnectionRefusedError, ConnectionResetError):
                return


def command(*, environment: Mapping[str, str] = os.environ, **settings: str) -> subprocess.Popen[str]:
    """Start `python -m app` in the project's folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=ROOT,
        env={**environment, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def up(process: subprocess.Popen[str]) -> Server:
    """Return a starting server as soon as it listens."""
    assert process.stderr is not None
    first = process.stderr.readline()
    listening = re.search(r"listening on http://0\.0\.0\.0:(\d+), model v1\.2\.3", first)
    assert listening, first + process.stderr.read()
    return Server(process, int(listening[1]))


@dataclass(frozen=True)
class Starting:
    """Servers that were started at the same time, as each takes a second or two; one for each purpose."""

    shared: subprocess.Popen[str]
    terminated: subprocess.Popen[str]
    without_model: subprocess.Popen[str]


@pytest.fixture(scope="module", autouse=True)
def starting(
    model_dir: Path, unmeasured: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Starting]:
    """Start the servers, so that they come up while the first tests run; end those that a test has not."""

    def start(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        return command(environment=environment, PORT="0", MODEL_VERSION="v1.2.3", MODEL_DIR=str(folder))

    with (
        start(model_dir, unmeasured) as shared,
        start(model_dir, unmeasured) as terminated,
        start(tmp_path_factory.mktemp("empty"), os.environ) as without_model,
    ):
        try:
            yield Starting(shared, terminated, without_model)
        finally:
            for process in (shared, terminated, without_model):
                process.kill()


@pytest.fixture(scope="module")
def server(starting: Starting) -> Server:
    return up(starting.shared)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return a process's exit status and what it wrote to stderr."""
    _, errors = process.communicate(timeout=TIMEOUT)
    return process.returncode, errors


def test_sigterm_before_the_service_is_up_exits_0(tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    os.mkfifo(card)  # the service waits here for its card
    process = command(PORT="0", MODEL_DIR=str(tmp_path))
    with card.open("w"):
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (0, "")


def test_a_wrong_port_is_one_message_and_status_2() -> None:
    message = "settings: PORT is 'http'; set it to a number from 0 to 65535\n"
    assert ended(command(PORT="http")) == (2, message)


def test_listen_takes_a_free_port_for_0() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[1] > 0


def test_creating_the_application_needs_no_model(tmp_path: Path) -> None:
    assert create_app(Settings(model_dir=tmp_path)).version == "v0.0.0-dev"


def test_predict_over_http_without_a_content_type(server: Server) -> None:
    status, answer = server.request("POST", "/predict", BODY)
    assert (status, answer["model_version"]) == (200, "v1.2.3")


def test_a_chunked_body_past_the_limit_is_refused_and_the_connection_closed(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"%x\r\n%s\r\n" % (MAX_BODY + 1, b" " * (MAX_BODY + 1)))  # and no last chunk
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer


def test_a_client_that_leaves_in_the_middle_of_a_body_does_no_harm(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{")
    assert server.request("GET", "/livez") == (200, {"status": "alive"})


def test_sigterm_answers_what_is_in_flight_takes_nothing_new_and_exits_0(starting: Starting) -> None:
    server = up(starting.terminated)
    with server.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n")
        connection.sendall(b"Content-Length: %d\r\n\r\n" % len(BODY))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # the application waits for the body
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_nobody_listens()
        connection.sendall(BODY)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
        status, errors = ended(server.process)
    assert status == 0, errors
    assert "Traceback" not in errors


def test_a_port_in_use_is_one_message_and_status_1(server: Server) -> None:
    message = f"server: cannot listen on port {server.port}: Address already in use; set PORT to another\n"
    assert ended(command(PORT=str(server.port))) == (1, message)


def test_without_a_model_the_process_stays_up_and_says_why_until_ctrl_c(starting: Starting) -> None:
    server = up(starting.without_model)
    for method, path, status in (
        ("GET", "/readyz", 503),
        ("POST", "/predict", 500),
        ("GET", "/livez", 200),
    ):
        assert server.request(method, path)[0] == status
    server.process.send_signal(signal.SIGINT)
    status, errors = ended(server.process)
    assert status == 130
    assert "Traceback" not in errors
