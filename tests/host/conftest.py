"""The wrapper with the packages of the tests, and the engine's own fixtures."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from engine_fixtures import command, engine_home, example, free_port

__all__ = [
    "command",
    "engine_home",
    "example",
    "free_port",
    "wrapper_environment",
]
ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("engine/requirements.txt", "ci/requirements.txt")  # in the wrapper's order


@pytest.fixture(scope="session")
def wrapper_environment(engine_home: Path) -> dict[str, str]:
    """Return an environment in which the wrapper finds its Python packages installed: those of the tests."""
    requirements = b"".join((ROOT / name).read_bytes() for name in REQUIREMENTS)
    key = hashlib.sha256(requirements).hexdigest()[:16]
    python = engine_home / f"daggerw/environments/{key}/bin/python"
    if not python.exists():
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(engine_home),
        "XDG_CACHE_HOME": str(engine_home),
        "DAGGERW_ENGINE": "embedded",
        "_EXPERIMENTAL_DAGGER_CLI_BIN": str(ROOT / "daggerw"),
    }
