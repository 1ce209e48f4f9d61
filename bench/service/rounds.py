"""Measurements in rounds that alternate between the contestants, so that slow changes affect all alike."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from app.api.scoring import MOST_TOGETHER
from bench.service import load
from bench.service.contestants import Contestant
from bench.service.process import Request, Running

CONNECTIONS = 32
# scikit-learn scores waiting rows together: a full batch for each of two workers.
CONNECTIONS_FOR_BATCHES = 2 * MOST_TOGETHER
WARM_UP = 1  # seconds
BATCH_ROWS = 1000
FOLLOWING = 20  # predictions that the first one is held against
INVALID_STATUS = (400, 422)
INVALID = Request("/predict", b'{"features":"none"}')
DOCS = (Request("/docs"), Request("/openapi.json"))  # what a browser loads


@dataclass(frozen=True)
class Plan:
    """Requests for one model, to each contestant in turn, on as many connections at once.

    `is_whole` adds what has little to do with the model.
    """

    model: str
    rows: Sequence[Sequence[float]]
    contestants: Sequence[Contestant]
    seconds: int
    folder: Path
    connections: int = CONNECTIONS
    is_whole: bool = False

    @property
    def request(self) -> Request:
        """A request for one prediction."""
        return Request("/predict", _body("features", self.rows[0]))

    @property
    def batch(self) -> bytes:
        """The body of a request for BATCH_ROWS predictions."""
        times = -(-BATCH_ROWS // len(self.rows))
        return _body("instances", [*self.rows, *[*self.rows] * (times - 1)][:BATCH_ROWS])


def measure_rounds(plans: Sequence[Plan], rounds: int) -> Iterator[dict[str, object]]:
    """Yield every figure with its round, model and contestant."""
    for number in range(rounds):
        for plan in plans:
            turn = number % len(plan.contestants)
            for contestant in (*plan.contestants[turn:], *plan.contestants[:turn]):
                named = {"round": number, "model": plan.model, "contestant": contestant.name}
                yield named | _figures(plan, contestant)


def _figures(plan: Plan, contestant: Contestant) -> dict[str, object]:
    figures = _first_prediction(plan, contestant)
    with contestant.start(plan.folder, plan.request) as running:
        figures |= {"cold_start_s": running.cold, "memory_mb": running.memory()}
        figures["wrk_many"] = _measure_load(plan, running, plan.request, plan.connections)
        if plan.is_whole:
            figures["wrk_1"] = _measure_load(plan, running, plan.request, 1)
            figures |= _as_a_program(plan, running)
        if contestant.batch:
            seen = _measure_load(plan, running, Request(contestant.batch, plan.batch), 1)
            figures["batch_cpu_us_per_row"] = seen["cpu_us"] / BATCH_ROWS
            figures["batch_rows_per_second"] = seen["rate"] * BATCH_ROWS
        if plan.is_whole and contestant.has_docs:
            figures |= _memory_after(running)
        return figures


def _first_prediction(plan: Plan, contestant: Contestant) -> dict[str, object]:
    """Return the seconds of the first prediction when the contestant is ready, and of those after it."""
    if not contestant.ready:
        return {}
    with contestant.start(plan.folder, Request(contestant.ready)) as running:
        first, *others = (_seconds(plan.request, running, 200) for _ in range(1 + FOLLOWING))
        return {"first_s": first, "following_s": median(others)}


def _measure_load(plan: Plan, running: Running, request: Request, connections: int) -> dict[str, float]:
    """Return what wrk sees, and the CPU of a request, behind a load to warm up."""
    url = f"http://127.0.0.1:{running.port}{request.path}"
    assert request.body
    script, before = plan.folder / "wrk.lua", 0.0
    for seconds in (WARM_UP, plan.seconds):
        before = running.cpu()
        seen = load.wrk(url, request.body, connections, seconds, script)
    if not seen.requests:
        raise SystemExit(f"{url}: no request was answered in {plan.seconds} s")
    return {**asdict(seen), "rate": seen.rate, "cpu_us": 1e6 * (running.cpu() - before) / seen.requests}


def _as_a_program(plan: Plan, running: Running) -> dict[str, object]:
    assert plan.request.body
    seen = load.httpx(f"http://127.0.0.1:{running.port}/predict", plan.request.body, plan.seconds)
    return {"httpx": {**asdict(seen), "rate": seen.rate}, "memory_loaded_mb": running.memory()}


def _memory_after(running: Running) -> dict[str, object]:
    """Return the memory after one request that fails and after docs."""
    _seconds(INVALID, running, *INVALID_STATUS)
    figures: dict[str, object] = {"memory_after_invalid_mb": running.memory()}
    for page in DOCS:
        _seconds(page, running, 200)
    return figures | {"memory_after_docs_mb": running.memory()}


def _seconds(request: Request, running: Running, *expected: int) -> float:
    begun = time.monotonic()
    status, body = request.send(running.port)
    if status not in expected:
        raise SystemExit(f"{request.path} was answered with {status}: {body[:200]!r}")
    return time.monotonic() - begun


def _body(name: str, value: object) -> bytes:
    return json.dumps({name: value}, separators=(",", ":")).encode()
