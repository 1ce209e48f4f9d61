"""A project to train, and trainings of this repository's own model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, known_estimator
from tests.training.project import Project, make

KERNELS = ("Nehalem", "SkylakeX")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with settings and an estimator, but no data yet."""
    make(monkeypatch, known_estimator())
    return Project(tmp_path).settings()


@pytest.fixture(scope="session")
def trainings(
    unmeasured: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, subprocess.Popen[bytes]]]:
    """Start a training process for each of two BLAS kernels; yield them by their output folders."""
    folder = tmp_path_factory.mktemp("trainings")
    trainings = {folder / kernel: _train(kernel, folder / kernel, unmeasured) for kernel in KERNELS}
    yield trainings
    for training in trainings.values():
        if training.poll() is None:
            training.kill()
            training.communicate()


def _train(kernel: str, output: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    chosen = {"OPENBLAS_CORETYPE": kernel, "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "random"}
    command = [sys.executable, "train_model.py", "--output", str(output)]
    return subprocess.Popen(command, cwd=ROOT, env=environment | chosen, stdout=subprocess.PIPE)
