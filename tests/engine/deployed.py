"""The revisions that a stand-in for Cloud Run asks for, run on this machine: the project's own service."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

import filesystem
from pull import pull
from registry import connect
from rehearsal import addresses
from tests.engine.engine_process import ROOT

MODEL = "app/model/"
ENVIRONMENTS = "".join(
    f"""[{name}]
target = "cloud-run"
registry = "us-central1-docker.pkg.dev/rehearsal-project/models"
project = "rehearsal-project"
region = "us-central1"
service = "{name}"
step_seconds = 1
lag = 0
"""
    for name in ("staging", "production")
)


@dataclass(frozen=True)
class Starter:
    """Whoever runs what is deployed: a released image's model and version, by the service as it is here."""

    base: str
    key: str
    registry: str
    folder: Path

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start revisions while the block runs."""
        over = threading.Event()
        with ExitStack() as started:
            thread = threading.Thread(target=self._work, args=[over, started])
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()

    def _work(self, over: threading.Event, started: ExitStack) -> None:
        control, headers = f"{self.base}{addresses.CONTROL}", {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as http:
            while not over.is_set():
                asked = http.get(f"{control}/pending", params={"seconds": "0.5"}).raise_for_status()
                if asked.status_code == 200:
                    told = asked.json()
                    instance = self._start(told["image"], told["environment"], started)
                    sent = {"instance": instance}
                    http.post(f"{control}/revisions/{told['revision']}", json=sent).raise_for_status()

    def _start(self, image: str, environment: dict[str, str], started: ExitStack) -> str:
        """Run an image's model and return where it answers."""
        name, _, digest = image.partition("/")[2].partition("@")
        version, model = asyncio.run(self._unpacked(name, digest))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
        own = {"PORT": port, "MODEL_DIR": str(model), "MODEL_VERSION": version, "PATH": os.environ["PATH"]}
        words = [sys.executable, "-m", "app"]
        process = subprocess.Popen(words, cwd=ROOT, env={**environment, **own}, stdout=subprocess.DEVNULL)
        started.callback(process.wait)
        started.callback(process.terminate)
        return f"http://127.0.0.1:{port}"

    async def _unpacked(self, name: str, digest: str) -> tuple[str, Path]:
        """Return an image's version, and a folder with its model."""
        folder = self.folder / digest.removeprefix("sha256:")
        folder.mkdir(exist_ok=True)
        async with connect(self.registry, name) as repository:
            image = await pull(repository, digest, folder / "image.tar")
        with filesystem.opened(image) as tree:
            for path in tree:
                if path.startswith(MODEL) and tree[path].kind == "file":
                    (folder / path.removeprefix(MODEL)).write_bytes(tree[path].content())
        return image.labels["org.opencontainers.image.version"], folder
