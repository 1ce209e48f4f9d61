"""Interface of a place to deploy to, for the benchmark of deployments."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from deploying.rollout.target import Address, Target
from net.retry_policy import Retrying
from oci.reference import Release

ROOT = Path(__file__).resolve().parents[2]


class Place(Protocol):
    """A place to deploy to, with a trained model."""

    model: Path

    def open_target(self) -> AbstractAsyncContextManager[tuple[Target, Retrying]]:
        """Open the target and its HTTP client."""

    def publish(self, tag: str) -> Awaitable[Release]:
        """Publish a version of the service."""

    def users_address(self, target: Target) -> Awaitable[Address]:
        """Return the address for users."""


def train_model(folder: Path) -> Path:
    """Train the model and return its folder."""
    model = folder / "model"
    training = [sys.executable, "train_model.py", "--output", str(model)]
    subprocess.run(training, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return model


@contextmanager
def run_program(
    *words: str, environment: Mapping[str, str], stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of this project while the block runs."""
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environment, stdout=stdout, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
