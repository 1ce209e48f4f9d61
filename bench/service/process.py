"""What the kernel says of a contestant's processes: CPU, memory, and whether it answers yet."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # a second
SERVER_CORE, CLIENT_CORE = "0", "1"
PATIENCE = 60.0  # seconds for a contestant to answer


@dataclass(frozen=True)
class Running:
    """A contestant that answers on a port of the loopback device; `cold` is how long it took, in seconds."""

    process: subprocess.Popen[bytes]
    port: int
    cold: float

    def cpu(self) -> float:
        """Return the seconds of CPU that all its processes have used so far."""
        return sum(_cpu(each) for each in self._processes())

    def memory(self) -> float:
        """Return its proportional set size in MB: shared pages count for each sharer's part."""
        return sum(_pss(each) for each in self._processes())

    def end(self) -> None:
        """End it; what it has started ends with it, or is killed."""
        if self.process.poll() is not None:
            return
        started = self._processes()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            for each in started:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)

    def _processes(self) -> list[int]:
        found = [self.process.pid]
        for parent in found:
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
        return found


def _cpu(process: int) -> float:
    """Return utime and stime, the fields 14 and 15 of proc(5)'s stat, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _pss(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


@contextmanager
def started(
    command: Sequence[str],
    environment: Mapping[str, str],
    port: int,
    request: Request,
    cores: str = SERVER_CORE,
) -> Iterator[Running]:
    """Start a contestant on its cores; yields once a request is answered with 200, and ends it afterwards."""
    begun = time.monotonic()
    pinned = ["taskset", "--cpu-list", cores, *command]
    with subprocess.Popen(pinned, env=dict(environment), stdout=subprocess.DEVNULL) as process:
        running = Running(process, port, 0.0)
        try:
            _wait(process, port, request)
            yield replace(running, cold=time.monotonic() - begun)
        finally:
            running.end()


@dataclass(frozen=True)
class Request:
    """One request; without a body it is a GET."""

    path: str
    body: bytes | None = None

    def send(self, port: int) -> tuple[int, bytes]:
        """Send it on a connection of its own; returns status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST" if self.body else "GET", self.path, self.body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _wait(process: subprocess.Popen[bytes], port: int, request: Request) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode} before it answered")
        try:
            status, body = request.send(port)
        except ConnectionError:
            time.sleep(0.002)
            continue
        if status == 200:
            return
        raise SystemExit(f"{process.args!r} answers {status}: {body[:200]!r}")
    raise SystemExit(f"{process.args!r} gave no answer in {PATIENCE:.0f} s")
