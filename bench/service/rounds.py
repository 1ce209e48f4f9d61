"""The measurements, in rounds that alternate between the contestants: what changes with time hits all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.service import load
from bench.service.contestants import Contestant
from bench.service.process import Request, Running

CONNECTIONS = (1, 32)
WARM_UP = 1  # seconds
BATCH_ROWS, BATCHES = 1000, 10
INVALID_STATUS = (400, 422)
INVALID = Request("/predict", b'{"features":"none"}')
DOCS = (Request("/docs"), Request("/openapi.json"))  # what a browser loads


@dataclass(frozen=True)
class Plan:
    """What is asked, how often and for how long."""

    features: Sequence[float]
    rounds: int
    seconds: int
    folder: Path

    @property
    def body(self) -> bytes:
        """The body of a request for one prediction."""
        return json.dumps({"features": self.features}, separators=(",", ":")).encode()

    @property
    def request(self) -> Request:
        """A request for one prediction."""
        return Request("/predict", self.body)


def measured(plan: Plan, contestants: Sequence[Contestant]) -> Iterator[dict[str, object]]:
    """Yield every figure with its round and contestant."""
    for number in range(plan.rounds):
        turn = number % len(contestants)
        for contestant in (*contestants[turn:], *contestants[:turn]):
            figures = _figures(plan, contestant)
            yield {"round": number, "contestant": contestant.name, **figures}


def _figures(plan: Plan, contestant: Contestant) -> dict[str, object]:
    with contestant.running(plan.folder, plan.request) as running:
        figures: dict[str, object] = {"cold_start_s": running.cold, "memory_mb": running.memory()}
        for connections in CONNECTIONS:
            _loaded(plan, running, connections, WARM_UP)
            figures[f"wrk_{connections}"] = _loaded(plan, running, connections, plan.seconds)
        url = f"http://127.0.0.1:{running.port}/predict"
        seen = load.httpx(url, plan.body, plan.seconds)
        figures["httpx"] = {**asdict(seen), "rate": seen.rate}
        figures["memory_loaded_mb"] = running.memory()
        if contestant.batch:
            figures |= _after(plan, running, contestant.batch)
        return figures


def _loaded(plan: Plan, running: Running, connections: int, seconds: int) -> dict[str, float]:
    before = running.cpu()
    url = f"http://127.0.0.1:{running.port}/predict"
    seen = load.wrk(url, plan.body, connections, seconds, plan.folder / "wrk.lua")
    return {**asdict(seen), "rate": seen.rate, "cpu_us": 1e6 * (running.cpu() - before) / seen.requests}


def _after(plan: Plan, running: Running, batch: str) -> dict[str, object]:
    """Return the memory after one request that fails and after docs, and then how fast batches are."""
    _seconds(INVALID, running, *INVALID_STATUS)
    figures: dict[str, object] = {"memory_after_invalid_mb": running.memory()}
    for page in DOCS:
        _seconds(page, running, 200)
    figures["memory_after_docs_mb"] = running.memory()
    rows = json.dumps({"instances": [plan.features] * BATCH_ROWS}).encode()
    seconds = min(_seconds(Request(batch, rows), running, 200) for _ in range(BATCHES))
    return {**figures, "batch_rows_per_second": BATCH_ROWS / seconds}


def _seconds(request: Request, running: Running, *expected: int) -> float:
    begun = time.monotonic()
    status, body = request.send(running.port)
    if status not in expected:
        raise SystemExit(f"{request.path} was answered with {status}: {body[:200]!r}")
    return time.monotonic() - begun
