"""Benchmark of the cost of a request, for models of public tables with categories and missing values.

    python -m bench.public_tables [--requests 20000]

Trains each table of tests/training/tables/test_public_tables.py, starts the service with it, and sends
its golden rows on one connection, with the header fields that Cloud Run adds. Prints the microseconds of
processor time that the service used for a request, its log on, and ends with status 1 when one is above
LIMIT. The native scorer is compiled first. Other programs on the machine add to the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from unittest import mock

import train_model
from bench.service.load import CLOUD_RUN
from bench.service.process import Request, Running, start_contestant
from tests.training.tables.test_public_tables import CASES, SETTINGS, raw_table
from training import command

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 60.0  # microseconds
WARM_UP = 1000  # requests
TOGETHER = 50  # requests on their way at once: the client waits less


def main() -> int:
    """Measure each table and return the exit status."""
    parser = argparse.ArgumentParser(description="Measure requests to models of public tables.")
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    subprocess.run([sys.executable, str(ROOT / "docker/compile_scorer.py")], check=True)
    print(f"load {os.getloadavg()[0]:.1f}, {options.requests} requests each")
    slow = 0
    for name, estimator in CASES:
        with tempfile.TemporaryDirectory() as folder:
            bodies = train(Path(folder), name, estimator)
            with start_service(Path(folder) / "model", bodies[0]) as running:
                cost = measure(running, bodies, options.requests)
        slow += cost > LIMIT
        kind = type(getattr(estimator, "steps", [("", estimator)])[-1][1]).__name__
        print(f"{name:20} {kind:32} {cost:6.1f} µs of processor time a request", flush=True)
    return 1 if slow else 0


def train(folder: Path, name: str, estimator: Any) -> list[bytes]:
    """Train a table's model into `folder/model`, and return the bodies of requests for its golden rows."""
    (folder / name).write_bytes(raw_table(name))
    settings = folder / "pyproject.toml"
    settings.write_text(f"[tool.milestone2]{SETTINGS[name]}\n")
    with mock.patch.object(train_model, "make_model", return_value=estimator):
        assert command.main(["--settings", str(settings), "--output", str(folder / "model")]) == 0
    rows = json.loads((folder / "model/golden.json").read_bytes())["rows"]
    return [json.dumps({"features": row["features"]}).encode() for row in rows]


def start_service(model: Path, body: bytes) -> AbstractContextManager[Running]:
    """Return a context manager that runs the service."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    environment = {**os.environ, "MODEL_DIR": str(model), "PORT": str(port), "PYTHONPATH": str(ROOT)}
    return start_contestant([sys.executable, "-m", "app"], environment, port, Request("/predict", body))


def measure(running: Running, bodies: Sequence[bytes], count: int) -> float:
    """Return the microseconds of processor time that a request takes."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in CLOUD_RUN.items())
    requests = [
        f"POST /predict HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body
        for body in bodies
    ]
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        send_requests(connection, islice(cycle(requests), WARM_UP))
        before = running.cpu()
        send_requests(connection, islice(cycle(requests), count))
        return 1e6 * (running.cpu() - before) / count


def send_requests(connection: socket.socket, requests: Iterator[bytes]) -> None:
    """Send requests some at a time, and read their answers."""
    while chunk := list(islice(requests, TOGETHER)):
        for request in chunk:
            connection.sendall(request)
        came = b""
        while came.count(b"HTTP/1.1 200 OK") < len(chunk) or not came.endswith(b"}"):
            piece = connection.recv(1 << 20)
            assert piece, came
            came += piece


if __name__ == "__main__":
    sys.exit(main())
