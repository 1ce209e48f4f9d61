"""Fixtures that several rooms share.

They import what they need when they are used: the engine's tests run without the service's libraries.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KERNELS = ("Nehalem", "SkylakeX")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the address of a registry for tests/ci; the pipeline's `test` gives one."""
    parser.addoption("--registry-url", help="a registry to test against; else one is started if installed")


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the default model, trained once."""
    import train_model

    folder = tmp_path_factory.mktemp("model")
    assert train_model.main(["--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def unmeasured() -> dict[str, str]:
    """Return the environment for a process that coverage leaves alone, as measuring doubles its start."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}


@pytest.fixture(scope="session")
def trainings(
    unmeasured: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, subprocess.Popen[bytes]]]:
    """Start a training process for each of two BLAS kernels; yield them by their output folders."""
    folder = tmp_path_factory.mktemp("trainings")
    trainings = {folder / kernel: _train(kernel, folder / kernel, unmeasured) for kernel in KERNELS}
    yield trainings
    for training in trainings.values():
        training.kill()
        training.communicate()


def _train(kernel: str, output: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    chosen = {"OPENBLAS_CORETYPE": kernel, "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "random"}
    command = [sys.executable, "train_model.py", "--output", str(output)]
    return subprocess.Popen(command, cwd=ROOT, env=environment | chosen, stdout=subprocess.PIPE)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run `@pytest.mark.anyio` tests on asyncio, as everything here does."""
    return "asyncio"
