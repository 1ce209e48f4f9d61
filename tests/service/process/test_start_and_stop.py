"""`python -m app` as a process: signals, ports, settings, and what a start costs."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import server
from app.api import page
from app.api.routes import plain_routes
from app.settings import Limits, Settings
from tests.conftest import ROOT
from tests.service.server import BODY, HEAD, PROGRAM, SLOW_TO_STOP, TIMEOUT, Server, run_service


@pytest.fixture(scope="module")
def service(number_model: Path) -> Iterator[Server]:
    with run_service(number_model, measured=True) as service:
        yield service


def run_to_end(**settings: str) -> tuple[int, str, str]:
    """Run the service until it ends; return its exit status and what it wrote to stdout and stderr."""
    command, environment = [sys.executable, *PROGRAM], os.environ | settings
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    return done.returncode, done.stdout, done.stderr


def test_sigterm_before_the_service_is_up_exits_0(tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    os.mkfifo(card)  # to open it below waits until the service reads its card
    command = [sys.executable, *PROGRAM]
    settings = {"PORT": "0", "MODEL_DIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stderr=subprocess.PIPE)
    with process, card.open("w"):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, errors) == (0, b"")


def test_a_wrong_port_is_one_message_and_status_2() -> None:
    message = "settings: PORT is 'http'; set it to a number from 0 to 65535\n"
    assert run_to_end(PORT="http") == (2, "", message)


def test_a_port_in_use_is_one_message_and_status_1(service: Server) -> None:
    message = f"server: cannot listen on port {service.port}: Address already in use; set PORT to another\n"
    assert run_to_end(PORT=str(service.port)) == (1, "", message)


def test_a_stopping_server_waits_longer_than_for_a_body() -> None:
    assert Limits().body_seconds < server.GRACE_SECONDS


LEAVING = {
    "in the middle of its body": HEAD + b"{",
    "before its answer": HEAD + BODY,
    "before many answers": b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
}


@pytest.mark.parametrize("sent", LEAVING.values(), ids=list(LEAVING))
def test_a_client_that_leaves_does_no_harm(service: Server, sent: bytes) -> None:
    with service.connect() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.send(sent)
    assert service.request("GET", "/livez").json() == {"status": "alive"}
    assert not any(entry["severity"] == "ERROR" for entry in service.log.entries())


def test_sigterm_answers_what_is_in_flight_takes_nothing_new_and_exits_0(
    number_model: Path, switch: dict[str, str]
) -> None:
    with (
        run_service(number_model, program=SLOW_TO_STOP, settings=switch, measured=True) as service,
        service.connect() as wire,
    ):
        wire.send(HEAD)
        assert service.request("GET", "/livez").status == 200  # so the head has been read
        service.process.send_signal(signal.SIGTERM)
        service.wait_until_refused()
        wire.send(BODY)
        reply = wire.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert service.process.wait(TIMEOUT) == 0
        assert {entry["severity"] for entry in service.log.all()} == {"INFO"}


def test_without_a_model_the_process_stays_up_and_says_why_until_ctrl_c(tmp_path: Path) -> None:
    with run_service(tmp_path) as service:
        for method, path, status in (
            ("GET", "/", 200),
            ("GET", "/readyz", 503),
            ("GET", "/v2/health/ready", 503),
            ("POST", "/predict", 500),
            ("GET", "/model", 500),
            ("GET", "/livez", 200),
        ):
            assert service.request(method, path).status == status
        assert service.metrics()["model_ready"] == 0
        assert service.stop(signal.SIGINT) == 130


def test_well_formed_questions_are_answered_before_fastapi_is_imported(number_model: Path) -> None:
    with run_service(number_model) as service:
        for path in (*plain_routes(Settings()), *page.PAGES, "/static/page.css"):
            assert service.request("GET", path).status == 200
        assert json.loads(service.predict([1, 2, 3]).body)["model_version"] == "v1.2.3"
        assert not service.maps("pydantic_core")
        assert service.request("POST", "/predict", b"{}").status == 400
        assert service.maps("pydantic_core")
