"""Prometheus, Alertmanager and a receiver of notifications on loopback. Every wait has a bound."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import pytest

Result = TypeVar("Result")

TIMEOUT = 90.0
PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
READY = "Server is ready to receive web requests"  # so says Prometheus, some time after it listens
LISTENING = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:\d+)')

missing = [name for name in PROGRAMS if shutil.which(name) is None]
needed = pytest.mark.skipif(
    bool(missing),
    reason=f"not installed: {', '.join(missing)}; apt-get install prometheus prometheus-alertmanager",
)


def run(*command: str) -> str:
    """Return what a command prints; raises CalledProcessError when it fails."""
    done = subprocess.run(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
    return done.stdout


def eventually(look: Callable[[], Result | None], what: str) -> Result:
    """Return the first value that is true; polled, as these programs send no event."""
    ends, pause = monotonic() + TIMEOUT, threading.Event()
    while monotonic() < ends:
        if seen := look():
            return seen
        pause.wait(0.1)
    raise AssertionError(f"did not come about: {what}")


@dataclass(frozen=True)
class ReceivedAlert:
    """An alert as a receiver gets it."""

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]


@dataclass
class Receiver:
    """Receiver of notifications: a web server that keeps the alerts."""

    address: str
    alerts: list[ReceivedAlert] = field(default_factory=list)
    more: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, wanted: Callable[[ReceivedAlert], bool]) -> ReceivedAlert:
        """Return the first alert that is wanted, waiting for it."""
        with self.more:
            found: list[ReceivedAlert] = []

            def look() -> bool:
                found[:] = filter(wanted, self.alerts)
                return bool(found)

            assert self.more.wait_for(look, TIMEOUT), f"no such alert was received, only {self.alerts}"
            return found[0]

    def names(self) -> set[str]:
        """Return the names of all alerts received."""
        with self.more:
            return {alert.name for alert in self.alerts}


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen for the notifications of Alertmanager."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            alerts = [
                ReceivedAlert(message["receiver"], each["status"], each["labels"], each["annotations"])
                for each in message["alerts"]
            ]
            with listening.more:
                listening.alerts += alerts
                listening.more.notify_all()
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        listening = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield listening
        finally:
            server.shutdown()
            thread.join(TIMEOUT)


@dataclass(frozen=True)
class Program:
    """A program that listens, and its address."""

    address: str

    def get(self, path: str, **query: str) -> Any:
        """Return the document at a path."""
        url = f"http://{self.address}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return json.load(answer)


class Prometheus(Program):
    """Prometheus."""

    def values(self, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return what an expression says now, by labels without the name."""
        found = self.get("/api/v1/query", query=expression)["data"]["result"]
        return {
            frozenset((name, text) for name, text in each["metric"].items() if name != "__name__"): float(
                each["value"][1]
            )
            for each in found
        }

    def wait_for(self, expression: str) -> None:
        """Return when an expression says anything."""
        eventually(lambda: self.values(expression), expression)

    def active(self) -> set[str]:
        """Return the names of the alerts that fire, or will unless what they are about ends."""
        return {each["labels"]["alertname"] for each in self.get("/api/v1/alerts")["data"]["alerts"]}


@contextlib.contextmanager
def prometheus(config: Path) -> Iterator[Prometheus]:
    """Run Prometheus by a configuration, with its data beside that."""
    data = f"--storage.tsdb.path={config.parent / 'prometheus'}"
    with _run_program(["prometheus", f"--config.file={config}", data], READY) as address:
        yield Prometheus(address)


@contextlib.contextmanager
def alertmanager(config: Path) -> Iterator[Program]:
    """Run Alertmanager by a configuration, alone, with its data beside that."""
    data = f"--storage.path={config.parent / 'alertmanager'}"
    command = ["prometheus-alertmanager", f"--config.file={config}", data, "--cluster.listen-address="]
    with _run_program(command, "Listening on") as address:
        yield Program(address)


@contextlib.contextmanager
def _run_program(command: list[str], ready: str) -> Iterator[str]:
    """Run a program on a port that the kernel chooses; yield its address once its log says `ready`."""
    process = subprocess.Popen(
        [*command, "--web.listen-address=127.0.0.1:0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    log: list[str] = []
    found, said = threading.Event(), process.stderr
    assert said

    def read() -> None:
        for line in said:
            log.append(line)
            if ready in line:
                found.set()
        found.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert found.wait(TIMEOUT), f"does not become ready: {log}"
        listening = LISTENING.search("".join(log))
        assert listening, f"ended: {log}"
        yield listening[1]
    finally:
        process.terminate()
        process.wait(TIMEOUT)
        reader.join(TIMEOUT)
        said.close()
