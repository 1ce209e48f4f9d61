"""Several workers serve as one: begun, counted and ended together, and replaced."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cpu_quota import usable_processors
from app.errors import WorkerError
from app.metrics import Metrics, Route, RowCounts, Snapshot, together
from app.modelling.artifact import load_card
from app.workers import supervisor
from app.workers.channel import Channel
from app.workers.supervisor import Supervisor
from tests.conftest import ROOT
from tests.service.server import BODY, HEAD, SLOW_TO_STOP, TIMEOUT, Server, Wire, run_service

WORKERS = {"WORKERS": "2", "ACCESS_LOG": "0"}
PREDICTED = 'http_requests_total{route="/predict",status="200"}'
FAILING = (
    "import os, sys; from app.api import asgi_app\n"
    "async def warm_up(self):\n"
    "    raise RuntimeError('no scratch space')\n"
    "asgi_app.AsgiApp.warm_up = warm_up\n"
    "from app.__main__ import main; sys.exit(main())"
)


@pytest.fixture(scope="module")
def server(number_model: Path) -> Iterator[Server]:
    with run_service(number_model, settings=WORKERS, measured=True) as server:
        yield server


def workers(server: Server) -> list[int]:
    """Return the processes that serve."""
    process = server.process.pid
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@contextlib.contextmanager
def one_wire_each(server: Server) -> Iterator[list[Wire]]:
    """Open connections until each worker has one, and yield one of each: ids of one worker begin alike."""
    found: dict[str, Wire] = {}
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            wire = stack.enter_context(server.connect())
            wire.send(HEAD + BODY)
            found.setdefault(wire.reply().headers["x-request-id"][:16], wire)
            if len(found) == 2:
                break
        assert len(found) == 2
        yield [*found.values()]


def test_all_workers_answer_and_are_counted_together(server: Server) -> None:
    assert server.request("GET", "/readyz").status == 200
    assert len(workers(server)) == 2
    before = server.metrics().get(PREDICTED, 0), server.metrics()["predictions_total"]
    with one_wire_each(server) as wires:
        for wire in wires * 5:
            wire.send(HEAD + BODY)
            assert wire.reply().status == 200
        for _ in range(10):
            after = server.metrics()
            predicted = after[PREDICTED] - before[0]
            assert predicted == after["predictions_total"] - before[1] >= 12
            assert after["http_connections"] >= 3
            assert after["model_ready"] == 1


def test_a_worker_that_ends_is_replaced_and_its_totals_are_kept(number_model: Path) -> None:
    with run_service(number_model, settings=WORKERS, measured=True) as server:
        with one_wire_each(server):
            before = server.metrics()
        first = workers(server)
        for process in first:
            os.kill(process, signal.SIGKILL)
            server.log.entry(lambda entry, process=process: f"worker {process} ended" in entry["message"])  # type: ignore[misc]
        assert server.request("GET", "/readyz").status == 200
        assert not set(first) & set(workers(server))
        after = server.metrics()
        assert after[PREDICTED] == before[PREDICTED]
        assert after["predictions_total"] == before["predictions_total"]
        assert after["process_start_time_seconds"] > before["process_start_time_seconds"]
        assert server.stop() == 0
        errors = [entry for entry in server.log.all() if entry["severity"] == "ERROR"]
        assert [entry["message"].partition(" ended")[2] for entry in errors] == [
            " with status -9, another takes its place"
        ] * 2


def test_sigterm_answers_what_is_in_flight_in_all_workers(number_model: Path) -> None:
    warm = WORKERS | {"HOT_PATH": "0"}  # FastAPI is imported before the signal comes
    with (
        run_service(number_model, program=SLOW_TO_STOP, settings=warm, measured=True) as server,
        one_wire_each(server) as wires,
    ):
        for wire in wires:
            wire.send(HEAD)
            wire.send(BODY[:3])
        for _ in range(2):
            assert server.metrics()  # of all workers, so that they have read the heads
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_refused()
        for wire in wires:
            wire.send(BODY[3:])
            reply = wire.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert server.process.wait(TIMEOUT) == 0


def test_ctrl_c_ends_all(number_model: Path) -> None:
    with run_service(number_model, settings=WORKERS, measured=True) as server:
        assert server.request("GET", "/readyz").status == 200
        children = workers(server)
        assert server.stop(signal.SIGINT) == 130
        assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_workers_without_their_supervisor_end(number_model: Path) -> None:
    with run_service(number_model, settings=WORKERS, measured=True) as server:
        assert server.request("GET", "/readyz").status == 200
        server.process.kill()
        server.process.wait(TIMEOUT)
        server.wait_until_refused()


def test_a_worker_without_its_supervisor_closes_its_channel_without_an_error() -> None:
    async def lose_supervisor() -> None:
        ours, theirs = socket.socketpair()
        channel, is_told_to_end = Channel(Snapshot), asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_told_to_end.set)
        await channel.open(theirs)
        ours.close()
        await asyncio.wait_for(is_told_to_end.wait(), TIMEOUT)
        await channel.close()

    asyncio.run(lose_supervisor())


@pytest.mark.parametrize("began", [False, True], ids=["at the start", "later"])
def test_a_worker_that_cannot_be_forked_fails_the_start_and_is_tried_again_later(
    began: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, tries = Supervisor(socket.socket(), 2, 1.0), []

    def fork() -> int:
        tries.append(1)
        service.stopping = signal.SIGTERM if len(tries) == 2 else None
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(supervisor, "PAUSE_SECONDS", 0.0)
    service.began = began
    reason = "cannot start a worker: Resource temporarily unavailable"
    with service.listener, contextlib.nullcontext() if began else pytest.raises(WorkerError, match=reason):
        service.run()
    assert len(tries) == 1 + began


def test_a_start_that_fails_ends_all_with_the_reason(number_model: Path) -> None:
    environment = os.environ | WORKERS | {"PORT": "0", "MODEL_DIR": str(number_model)}
    ended = subprocess.run(
        [sys.executable, "-c", FAILING],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert ended.returncode == 1
    assert "RuntimeError: no scratch space" in ended.stderr
    assert "server: a worker ended with status 1 before it was ready; its error is above" in ended.stderr


def test_snapshots_pass_as_json_and_add_up(number_model: Path) -> None:
    features = load_card(number_model).features
    snapshots = []
    for rows in (1, 2):
        metrics, counts = Metrics(load_card(number_model)), RowCounts(features)
        counts.count([[1.0, 9.0, 100.0]] * rows)
        metrics.count_predictions(counts)
        metrics.routes["/predict"].count_response(200, 0.002)
        metrics.routes["/predict"].count_response(400, 20.0)
        metrics.in_flight = rows
        snapshots.append(Snapshot.of_document(metrics.snapshot(connections=3).as_document()))
    total = together([*snapshots, Snapshot(), snapshots[0].totals()])
    assert (total.predictions, total.in_flight, total.connections) == (4, 3, 6)
    assert [counts[0] for counts in total.bins] == [4, 0, 0]
    assert total.routes["/predict"].statuses == {200: 3, 400: 3}
    assert sum(total.routes["/predict"].buckets) == 6
    assert total.started == max(each.started for each in snapshots)
    assert total.routes["/predict"].seconds == pytest.approx(60.006)
    assert together([Snapshot()]).bins == []
    assert isinstance(total.routes, defaultdict)


def test_seconds_add_up_alike_in_any_order() -> None:
    snapshots = []
    for seconds in (0.1, 0.2, 0.3, 1e6):
        route = Route()
        route.count_response(200, seconds)
        snapshots.append(Snapshot(routes={"/predict": route}, cpu_seconds=seconds))
    ended = together(snapshots[:2])
    totals = [together(order) for order in (snapshots, snapshots[::-1], [*snapshots[2:], ended])]
    assert len({total.cpu_seconds for total in totals}) == 1
    assert len({total.routes["/predict"].seconds for total in totals}) == 1


QUOTA, PERIOD = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"
CGROUPS = {
    "no quota": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    "a quota": ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
    "a part": ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
    "more than there are": ("0::/\n", {"cpu.max": "6400000 100000\n"}, None),
    "of a parent": ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
    "version 1": ("3:cpu,cpuacct:/\n", {QUOTA: "100000\n", PERIOD: "100000\n"}, 1),
    "version 1 without": ("3:cpu:/\n", {QUOTA: "-1\n", PERIOD: "100000\n"}, None),
    "another controller": ("5:memory:/\n", {}, None),
    "nothing": ("", {}, None),
}


@pytest.mark.parametrize(("own", "files", "expected"), CGROUPS.values(), ids=list(CGROUPS))
def test_the_cgroup_s_quota_bounds_the_processors(
    own: str, files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / "self").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = usable_processors(tmp_path / "cgroup", tmp_path / "self")
    assert found == (expected or len(os.sched_getaffinity(0)))
