"""Soak test of a service at saturation: no error, no wrong response, flat memory.

`python -m tests.service.soak [--seconds 600]` opens 32 connections, each of which sends its next request as
soon as it has a response: mostly single rows, but also batches, the Open Inference Protocol and invalid
input. It prints the results, and ends with status 1 after an unexpected response, or if memory has grown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvloop

from tests.service.model import write_model
from tests.service.server import TIMEOUT, Server, run_service

CONNECTIONS = 29  # and one for each of the others
GROWTH_MB = 2.0
WARM_UP_ANSWERS = 50  # to each connection: FastAPI is imported by then, and its threads have begun
TICKS = os.sysconf("SC_CLK_TCK")


def request(path: str, body: bytes) -> bytes:
    """Return a request as Cloud Run passes it on."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: known.a.run.app\r\ncontent-length: {len(body)}\r\n"
        "content-type: application/json\r\nuser-agent: soak\r\naccept: */*\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        "x-cloud-trace-context: 0af7651916cd43dd8448eb211c80319c/13235353014750950193;o=1\r\n"
        'x-forwarded-for: 203.0.113.77\r\nx-forwarded-proto: https\r\nforwarded: for="203.0.113.77"\r\n\r\n'
    )
    return head.encode() + body


TENSOR = b'{"inputs":[{"name":"features","shape":[1,3],"datatype":"FP64","data":[1,2,3]}]}'
SINGLE = request("/predict", b'{"features":[17.99,10.38,1.095]}')
OTHERS = (
    (request("/predict", b'{"instances":[%s]}' % b",".join([b"[1,2,3]"] * 100)), b"HTTP/1.1 200 "),
    (request("/v2/models/known/infer", TENSOR), b"HTTP/1.1 200 "),
    (request("/predict", b'{"features":[1,2,"3"]}'), b"HTTP/1.1 400 "),
)


@dataclass
class Tally:
    """Results of all connections."""

    answers: int = 0
    wrong: list[bytes] = field(default_factory=list)
    open: int = 0
    cold: int = 0  # connections with fewer than WARM_UP_ANSWERS
    ended: bool = False
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class RequestLoop(asyncio.Protocol):
    """A connection that repeats one request, and expects the same response each time."""

    def __init__(self, tally: Tally, request: bytes, start: bytes) -> None:
        self.tally, self.request, self.start = tally, request, start
        self.length = self.answers = 0  # the length of an answer is known from the first
        self.came = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send the request."""
        self.transport = transport
        self.tally.open += 1
        self.tally.cold += 1
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Send the request again when the response is complete."""
        self.came += data
        if not self.length:
            head = self.came.partition(b"\r\n\r\n")[0]
            self.length = len(head) + 4 + int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(self.came) < self.length:
            return
        if len(self.came) > self.length or not self.came.startswith(self.start):
            self.tally.wrong.append(self.came)
        self.tally.answers += 1
        self.answers += 1
        self.tally.cold -= self.answers == WARM_UP_ANSWERS
        self.came = b""
        if self.tally.ended:
            self.transport.close()
        else:
            self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count an unexpected end as an error."""
        self.tally.open -= 1
        if not self.tally.ended:
            self.tally.wrong.append(b"the connection was closed")
        elif not self.tally.open:
            self.tally.closed.set()


async def send_requests(port: int, seconds: float, memory: list[float], pid: int) -> Tally:
    """Send requests for this time, until all connections are warm; append the memory in MB each second."""
    tally, loop = Tally(), asyncio.get_running_loop()
    for request, start in [(SINGLE, b"HTTP/1.1 200 ")] * CONNECTIONS + [*OTHERS]:
        await loop.create_connection(partial(RequestLoop, tally, request, start), "127.0.0.1", port)
    ends = loop.time() + seconds
    while loop.time() < ends + (TIMEOUT if tally.cold else 0) and not tally.wrong:
        await asyncio.sleep(min(1, seconds / 10) or 0.1)
        memory.append(resident_mb(pid))
    if tally.cold:
        tally.wrong.append(b"too few answers")
    tally.ended = True
    if tally.open:
        await asyncio.wait_for(tally.closed.wait(), TIMEOUT)  # the last answers
    return tally


def resident_mb(pid: int) -> float:
    """Return a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def report(server: Server, tally: Tally, memory: list[float], seconds: float) -> list[str]:
    """Print the results; return the problems among them."""
    first, last = memory[0], memory[-1]
    cpu = cpu_seconds(server.process.pid) / max(1, tally.answers) * 1e6
    print(f"{tally.answers} answers, in the end for {seconds:.0f} s, {cpu:.1f} µs each")
    print(f"{first:.1f} to {last:.1f} MB")
    wrong = [f"unexpected answer: {answer[:300]!r}" for answer in tally.wrong[:3]]
    counted = sum(
        value for name, value in server.metrics().items() if name.startswith("http_requests_total{")
    )
    if counted != tally.answers or not counted:
        wrong.append(f"the service counted {counted:.0f} answers")
    if last - first > GROWTH_MB:
        wrong.append(f"memory has grown by {last - first:.1f} MB")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Run the service, send the requests, and return the exit status."""
    parser = argparse.ArgumentParser(description="Keep the service at saturation.")
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args(arguments).seconds
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder, run_service(write_model(Path(folder))) as server:
        warm = uvloop.run(send_requests(server.port, 0, [], server.process.pid))
        tally = uvloop.run(send_requests(server.port, seconds, memory, server.process.pid))
        tally.answers += warm.answers
        tally.wrong += warm.wrong
        wrong = report(server, tally, memory, seconds)
    print("\n".join(wrong) or "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
