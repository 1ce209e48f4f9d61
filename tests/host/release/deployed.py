"""Revisions of the fake Cloud Run, run on this machine by the project's own service."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine_process import find_free_port
from image import layer_tree
from oci.image_download import pull
from oci.repository import connect
from tests.ci.deploying.targets.labs.revision_starter import start_revisions

ROOT = Path(__file__).resolve().parents[3]
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
    """Starter of deployed revisions: this checkout's service, with a released image's model and version."""

    base: str
    key: str
    registry: str
    folder: Path

    @contextmanager
    def start_revisions(self) -> Iterator[None]:
        """Start revisions while the block runs."""
        with ExitStack() as started, start_revisions(self.base, self.key, partial(self._start, started)):
            yield

    def _start(self, started: ExitStack, revision: dict[str, Any]) -> str:
        """Run an image's model and return the address."""
        name, _, digest = revision["image"].partition("/")[2].partition("@")
        version, model = asyncio.run(self._unpack(name, digest))
        port = str(find_free_port())
        own = {"PORT": port, "MODEL_DIR": str(model), "MODEL_VERSION": version, "PATH": os.environ["PATH"]}
        words, environment = [sys.executable, "-m", "app"], {**revision["environment"], **own}
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        started.callback(process.wait)
        started.callback(process.terminate)
        return f"http://127.0.0.1:{port}"

    async def _unpack(self, name: str, digest: str) -> tuple[str, Path]:
        """Return an image's version, and a folder with its model."""
        folder = self.folder / digest.removeprefix("sha256:")
        folder.mkdir(exist_ok=True)
        async with connect(self.registry, name) as repository:
            image = await pull(repository, digest, folder / "image.tar")
        with layer_tree.open_tree(image) as tree:
            for path in tree:
                if path.startswith(MODEL) and tree[path].kind == "file":
                    (folder / path.removeprefix(MODEL)).write_bytes(tree[path].content())
        return image.labels["org.opencontainers.image.version"], folder
