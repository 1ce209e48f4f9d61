"""The service's OpenAPI document, and requests by schemathesis, valid and invalid by it.

The service has its hot path, as usual: test_differential.py compares it with the one that hasn't.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from tests.service.client import client_of
from tests.service.server import run_service

EXAMPLES = 2  # for each operation, and again for each way to make them
SECONDS = 600
# A schema can't say that a tensor has as many numbers as its shape: a request that it allows may be refused.
# A batch of too many rows can be too long first.
CONFIGURATION = """
[checks]
negative_data_rejection.expected-statuses = [400, 404, 405, 413, 415]

[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400]
"""
VERTEX = {"AIP_PREDICT_ROUTE": "/v1/models/1:predict", "AIP_HEALTH_ROUTE": "/v1/models/1"}


def test_schemathesis_finds_nothing(number_model: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    with run_service(number_model, settings=VERTEX) as service:
        assert service.request("GET", "/openapi.json").status == 200  # FastAPI is imported by now
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)]
        command += ["run", f"http://127.0.0.1:{service.port}/openapi.json", "--checks", "all"]
        command += ["--max-examples", str(EXAMPLES), "--generation-deterministic", "--no-color"]
        command += ["--request-timeout", "60"]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
        assert found.returncode == 0, found.stdout[-5000:]
        assert "Tested: 17" in found.stdout
        assert not any(entry["severity"] == "ERROR" for entry in service.log.entries())


def test_the_document_is_made_once_for_clients_that_wait_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made, make = client_of(tmp_path), [], FastAPI.openapi

    def openapi(app: FastAPI) -> dict[str, Any]:
        made.append(app)
        return make(app)

    async def read() -> list[httpx.Response]:
        async with client.open() as connection:
            return await asyncio.gather(*(connection.get("/openapi.json") for _ in range(4)))

    monkeypatch.setattr(FastAPI, "openapi", openapi)
    assert len({reply.json()["openapi"] for reply in anyio.run(read)}) == len(made) == 1
