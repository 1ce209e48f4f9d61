"""Latency of small requests beside the most expensive requests that are allowed.

`python -m tests.service.adversarial [--seconds 10] [--connections 32] [--features 30]` starts a process that
sends one kind of expensive requests after the other, and then all kinds at once. Each connection sends its
next request as soon as it has a response. Meanwhile one client sends small requests and measures. The exit
status is 1 if the 99th percentile beside some kind is above the limit. The machine should be otherwise idle:
the latency of small requests alone is measured first.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from tests.service.model import write_wide
from tests.service.server import Server, connect, run_service

LIMIT_MS = 20.0
LONG = 1_490_000  # bytes of a body
PAUSE_SECONDS = 0.005  # between two small requests
LIMITS = {"ACCESS_LOG": "0"}


def head(line: str, length: int, *fields: str) -> bytes:
    """Return a head."""
    return "\r\n".join([line, "Host: x", f"Content-Length: {length}", *fields, "", ""]).encode()


def post(body: bytes, path: str = "/predict", *fields: str) -> bytes:
    """Return a whole request."""
    return head(f"POST {path} HTTP/1.1", len(body), *fields) + body


def fill(start: bytes, piece: bytes, end: bytes, size: int = LONG) -> bytes:
    """Return as many pieces, with commas between, as a body of a size holds."""
    return start + b",".join([piece] * ((size - len(start + end)) // (len(piece) + 1))) + end


def batch(row: bytes, end: bytes = b"]}") -> bytes:
    """Return a batch of 10,000 rows, or of as many as there is room for."""
    rows = min(10_000, (LONG - 50) // (len(row) + 1))
    return b'{"instances":[' + b",".join([row] * rows) + end


def kinds(features: int) -> dict[str, bytes]:
    """Return the requests, by what is expensive about them."""
    short = b"[" + b",".join([b"1"] * features) + b"]"
    usual = b"[" + b",".join([b"17.990000000000002"] * features) + b"]"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"features":[' + b" " * 50_000) + b"0\r\n\r\n"
    tensor = {"name": "x", "shape": [2000, features], "datatype": "FP64", "data": [[1.5] * features] * 2000}
    return {
        "good rows": post(batch(usual)),
        "good short rows": post(batch(short)),
        "a wrong value at the end": post(batch(usual, b',["1"]]}')),
        "integers' negative zeros": post(batch(b"[-0" + short[2:])),
        "a good tensor": post(json.dumps({"inputs": [tensor]}).encode(), "/v2/models/known/infer"),
        "a long row": post(fill(b'{"instances":[[', b"1", b"]]}")),
        "empty rows": post(fill(b'{"instances":[', b"[]", b"]}")),
        "deep rows": post(b'{"instances":' + b"[" * LONG),
        "keys": post(b'{"instances":0,' + b",".join(b'"%d":1' % n for n in range(140_000)) + b"}"),
        "strings": post(fill(b'{"instances":[', b'""', b"]}")),
        "nulls": post(fill(b'{"instances":[', b"null", b"]}")),
        "blanks": post(b'{"instances":[' + b" " * LONG + b"]}"),
        "empty lists in one prediction": post(fill(b'{"features":[', b"[]", b"]}", 65_000)),
        "keys in one prediction": post(b"{" + b",".join(b'"%d":1' % n for n in range(6000)) + b"}"),
        "gzip": post(gzip.compress(batch(usual)), "/predict", "Content-Encoding: gzip"),
        "a bomb": post(
            gzip.compress(b'{"instances":[' + bytes(50_000_000)), "/predict", "Content-Encoding: gzip"
        ),
        "small chunks": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        "many small batches": post(batch(short)[: 4000 // (len(short) + 1) * (len(short) + 1) + 13] + b"]}"),
        "wrong small requests": post(b'{"features":[1]}'),
        "the documentation": head("GET /openapi.json HTTP/1.1", 0),
    }


def attack(
    port: int, requests: list[bytes], connections: int, results: multiprocessing.Queue[Counter[bytes]]
) -> None:
    """Send requests on many connections until the parent ends this process, and put the statuses so far."""
    statuses = Counter[bytes]()

    def repeat(request: bytes) -> None:
        while True:
            with connect(port) as wire:
                wire.send(request)
                while answer := wire.raw_reply():
                    statuses[answer[9:12]] += 1
                    wire.send(request)

    for number in range(connections):
        Thread(target=repeat, args=(requests[number % len(requests)],), daemon=True).start()
    while True:
        sleep(0.5)
        results.put(statuses.copy())


def measure_waits(server: Server, small: bytes, seconds: float) -> list[float]:
    """Return how many milliseconds small requests took, one after the other on a connection of their own."""
    taken, ends = [], monotonic() + seconds
    with server.connect() as wire:
        while monotonic() < ends:
            began = monotonic()
            wire.send(small)
            assert wire.raw_reply().startswith(b"HTTP/1.1 200 ")
            taken.append((monotonic() - began) * 1000)
            sleep(PAUSE_SECONDS)
    return taken


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of them lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure_beside(
    server: Server, small: bytes, requests: list[bytes], options: argparse.Namespace
) -> tuple[list[float], str]:
    """Return the latencies of small requests beside others, and the others' statuses."""
    if not requests:
        return measure_waits(server, small, options.seconds), "-"
    results: multiprocessing.Queue[Counter[bytes]] = multiprocessing.Queue()
    process = multiprocessing.Process(
        target=attack,
        args=(server.port, requests, max(options.connections, len(requests)), results),
        daemon=True,
    )
    process.start()
    found = results.get(timeout=30)  # so that it has begun
    taken = measure_waits(server, small, options.seconds)
    while not results.empty():
        found = results.get()
    process.terminate()
    process.join()
    return taken, " ".join(f"{status.decode()}:{count}" for status, count in sorted(found.items()))


def main() -> int:
    """Measure, print a table, and return 1 if small requests wait too long."""
    parser = argparse.ArgumentParser(description="Measure small requests beside expensive ones.")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--only", default="", help="a part of the name of what is to be measured")
    options = parser.parse_args()
    chosen = {"nothing": [], **{name: [request] for name, request in kinds(options.features).items()}}
    chosen["all of them"] = [request for requests in chosen.values() for request in requests]
    small = post(json.dumps({"features": [1.5] * options.features}).encode())
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        write_wide(Path(folder), options.features)
        with run_service(Path(folder), settings=LIMITS) as server:
            print(f"load {os.getloadavg()[0]:.1f}, {options.connections} connections; small requests in ms")
            for name, requests in chosen.items():
                if options.only in name:
                    taken, statuses = measure_beside(server, small, requests, options)
                    p99 = percentile(taken, 0.99)
                    missed += p99 > LIMIT_MS
                    middle = statistics.median(taken)
                    print(
                        f"{name:32} p50 {middle:6.2f}  p99 {p99:6.2f}  most {max(taken):7.2f}  {statuses}",
                        flush=True,
                    )
    print(f"{missed} kinds above {LIMIT_MS:.0f} ms")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
