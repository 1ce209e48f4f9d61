"""The team's own model, and the service with it as a process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT

VERSION = "v1.2.3"
LISTENING = re.compile(r"listening on http://\S+:(\d+),")


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the model that pyproject.toml and train_model.py make."""
    given: Path | None = request.config.getoption("--model")
    if given:
        return given.resolve()
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run([sys.executable, "train_model.py", "--output", str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="session")
def card(model: Path) -> dict[str, Any]:
    """Return the model's card as it was written."""
    document: dict[str, Any] = json.loads((model / "card.json").read_text())
    return document


@pytest.fixture(scope="session")
def golden(model: Path) -> list[dict[str, Any]]:
    """Return the golden rows: features with what the service has to predict for them."""
    rows: list[dict[str, Any]] = json.loads((model / "golden.json").read_text())["rows"]
    return rows


@pytest.fixture(scope="session")
def service(model: Path) -> Iterator[httpx.Client]:
    """Yield a client of the service, which runs with the model as it does in the image."""
    with run_service(model) as client:
        yield client


@contextmanager
def run_service(folder: Path) -> Iterator[httpx.Client]:
    """Run the service with the model in a folder on a free port, and yield a client of it."""
    settings = {"PORT": "0", "MODEL_DIR": str(folder), "MODEL_VERSION": VERSION}
    with subprocess.Popen(
        [sys.executable, "-m", "app"], cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True
    ) as process:
        log = process.stdout
        assert log
        reader = threading.Thread(target=log.read)
        try:
            listening = next(filter(None, map(LISTENING.search, log)), None)
            assert listening, "the service ended before it listened"
            reader.start()  # so that its log never fills the pipe
            with httpx.Client(
                base_url=f"http://127.0.0.1:{listening[1]}", timeout=60, trust_env=False
            ) as client:
                yield client
        finally:
            process.terminate()
            if reader.ident:
                reader.join()
