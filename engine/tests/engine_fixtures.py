"""Fixtures: the example module, its types, and the embedded engine's command line as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daggerw_engine.command.modules import engine_types, module
from daggerw_engine.command.modules.typedefs import Catalogue
from engine_process import find_free_port

TESTS = Path(__file__).resolve().parent
DISTRIBUTION = TESTS.parent
# The base image that tests take; a stand-in for it is made where no registry answers.
PYTHON = (
    "python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91"
)
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Command = Callable[..., tuple[list[str], dict[str, str]]]


@pytest.fixture(scope="session")
def engine_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the substitute for the user's cache folder.

    ENGINE_TEST_CACHE names a permanent one, so that base images aren't rebuilt in every run.
    """
    kept = os.environ.get("ENGINE_TEST_CACHE")
    return Path(kept) if kept else tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the example module outside of any Git checkout."""
    folder = tmp_path_factory.mktemp("example") / "example"
    shutil.copytree(TESTS / "example_module", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def catalogue(example: Path, engine_home: Path) -> Catalogue:
    """Return the types of the example module and of the engine."""
    types = module.types(module.load(example), engine_home / "daggerw", verbose=False)
    return Catalogue(types, lambda: engine_types.types(engine_home / "daggerw"))


@pytest.fixture(scope="session")
def command(engine_home: Path) -> Command:
    """Return a function from words to the arguments and environment of the command line's process."""

    def start(*words: str) -> tuple[list[str], dict[str, str]]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(engine_home),
            "XDG_CACHE_HOME": str(engine_home),
            "PYTHONPATH": str(DISTRIBUTION),
            "PYTHONPYCACHEPREFIX": str(engine_home / "daggerw/bytecode"),
        }
        return [sys.executable, "-P", "-m", "daggerw_engine", *words], environment

    return start


@pytest.fixture(scope="session")
def run(command: Command, example: Path) -> Run:
    """Return a function that runs the command line, in the example module's folder, to its end."""

    def run(*words: str, cwd: Path = example, **environment: str) -> subprocess.CompletedProcess[str]:
        words_to_run, base = command(*words)
        return subprocess.run(
            words_to_run,
            cwd=cwd,
            env={**base, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def free_port() -> int:
    """Return a free port of the host's loopback."""
    return find_free_port()
