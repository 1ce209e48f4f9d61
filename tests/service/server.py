"""`python -m app` as a process, and raw connections to it. Every wait has a bound."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

from tests.conftest import ROOT, without_coverage

TIMEOUT = 60.0  # a busy machine takes its time
LISTENING = re.compile(r"listening on http://(?:\[::\]|0\.0\.0\.0):(\d+), model ")
ANSWER = re.compile(rb"(?s).*?\r\n(?i:content-length): (?P<length>[0-9]+)\r\n(?:[^\r\n]+\r\n)*\r\n")
PROGRAM = ("-m", "app")
# The same, but stopping it may take longer than platforms allow: a busy machine takes its time there, too.
SLOW_TO_STOP = (
    "-c",
    "import sys; from app import server; server.GRACE_SECONDS = 60\n"
    "from app.__main__ import main; sys.exit(main())",
)
BODY = b'{"features":[1,2,3]}'
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
HEAD = POST % len(BODY)
# No request of a test is too slow on a busy machine, and no connection idle for too long.
PATIENT = {"LIMIT_HEAD_SECONDS": "60", "LIMIT_BODY_SECONDS": "60", "LIMIT_IDLE_SECONDS": "100000"}

Entry = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer as it came; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's document."""
        return json.loads(self.body)


class Log:
    """Log entries of a process, read from its standard output as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def entry(self, wanted: Callable[[Entry], bool]) -> Entry:
        """Return the first entry that is wanted, waiting for it."""
        with self._more:
            found: list[Entry] = []

            def look() -> bool:
                found[:] = [entry for entry in map(json.loads, self.lines) if wanted(entry)]
                return bool(found) or self._ended

            assert self._more.wait_for(look, TIMEOUT), f"not logged: {self.lines}"
            assert found, f"ended without logging it: {self.lines}"
            return found[0]

    def entries(self) -> list[Entry]:
        """Return what has been logged until now."""
        with self._more:
            return [json.loads(line) for line in self.lines]

    def all(self) -> list[Entry]:
        """Return all entries of a process that has ended."""
        self._reader.join(TIMEOUT)
        return self.entries()


@dataclass(frozen=True)
class Server:
    """A running service and the port it listens on."""

    process: subprocess.Popen[str]
    log: Log
    port: int

    def connect(self) -> Wire:
        """Open a connection."""
        return connect(self.port)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request on a new connection, as http.client does; underscores in names stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, fields, answer.read())
        finally:
            connection.close()

    def predict(self, features: list[float]) -> Reply:
        """Request a prediction."""
        return self.request("POST", "/predict", json.dumps({"features": features}).encode())

    def metrics(self) -> dict[str, float]:
        """Return the value of each sample, by its name with labels."""
        return samples(self.request("GET", "/metrics").body.decode())

    def maps(self, name: str) -> bool:
        """Return whether the process has mapped a file whose path holds the name."""
        return name in Path(f"/proc/{self.process.pid}/maps").read_text()

    def wait_until_refused(self) -> None:
        """Return when a connection is refused."""
        ends = monotonic() + TIMEOUT
        while monotonic() < ends:
            try:
                self.connect().socket.close()
            except (ConnectionRefusedError, ConnectionResetError):
                return
        raise AssertionError("the port is still listened on")

    def stop(self, number: int = 15) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)


class Wire:
    """A raw connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._came = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; what a server that has hung up doesn't take is lost."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def say_no_more(self) -> None:
        """Close this end's direction."""
        with contextlib.suppress(OSError):  # the other end may have gone
            self.socket.shutdown(socket.SHUT_WR)

    def flood(self, data: bytes) -> int:
        """Send the same again and again, reading nothing, while it is taken; return how many bytes were."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1_000_000_000:
                sent += self.socket.send(data * 100)
        self.socket.settimeout(TIMEOUT)
        return sent

    def rest(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        came, self._came = self._came, b""
        while more := self.receive():
            came += more
        return came

    def reply(self) -> Reply:
        """Return the next answer."""
        head, _, body = self.raw_reply().partition(b"\r\n\r\n")
        assert head, f"the connection was closed behind {self._came!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Reply(int(first.split()[1]), headers, body)

    def raw_reply(self) -> bytes:
        """Return the bytes of the next answer, or nothing at the connection's end."""
        while not (head := ANSWER.match(self._came)) or len(self._came) < head.end() + int(head["length"]):
            more = self.receive()
            if not more:
                return b""
            self._came += more
        end = head.end() + int(head["length"])
        reply, self._came = self._came[:end], self._came[end:]
        return reply

    def receive(self) -> bytes:
        """Return what comes next, or nothing at the connection's end."""
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b""


def samples(text: str) -> dict[str, float]:
    """Return the value of each sample in Prometheus's format, by its name with labels."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def connect(port: int) -> Wire:
    """Open a connection to a port of this machine."""
    wire = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Wire(wire)


@contextlib.contextmanager
def run_service(
    folder: Path,
    *,
    program: tuple[str, ...] = PROGRAM,
    settings: Mapping[str, str] = MappingProxyType({}),
    measured: bool = False,
) -> Iterator[Server]:
    """Run the service with the folder's model on a free port; settings are environment variables.

    Coverage of a process doubles its start: it is measured where that finds lines that nothing else runs.
    """
    chosen = {"PORT": "0", "MODEL_VERSION": "v1.2.3", "MODEL_DIR": str(folder), **PATIENT, **settings}
    process = subprocess.Popen(
        [sys.executable, *program],
        cwd=ROOT,
        env={**(os.environ if measured else without_coverage()), **chosen},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        log = Log(process)
        first = log.entry(lambda entry: LISTENING.match(entry["message"]) is not None)
        listening = LISTENING.match(first["message"])
        assert listening
        yield Server(process, log, int(listening[1]))
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()  # so that a measured process writes down what it has run
    try:
        process.wait(TIMEOUT)
    finally:
        process.kill()
        process.wait(TIMEOUT)
        assert process.stdout
        process.stdout.close()
