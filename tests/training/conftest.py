"""A project to train, and quick checks of what was trained."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from app.errors import BadData
from tests.conftest import known_estimator
from tests.training.project import Project, make
from training.handover import fresh_process, golden_check
from training.portable_form import parity


@pytest.fixture(scope="session", autouse=True)
def quick_checks() -> Iterator[None]:
    """Check a trained model in this process and on few rows, and list the installed packages once.

    What training does itself takes seconds; the tests that start it as a process have that.
    """
    packages = metadata.packages_distributions()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parity, "RANDOM_ROWS", 500)
        patched.setattr(parity, "MAX_SPLITS", 100)
        patched.setattr(metadata, "packages_distributions", lambda: packages)
        patched.setattr(fresh_process, "predict_golden_rows", predict_golden_rows_here)
        yield


def predict_golden_rows_here(place: Path) -> None:
    """Load the model of a folder and predict its golden rows."""
    if wrong := golden_check.check(place / "model"):
        raise BadData(wrong)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with settings and an estimator, but no data yet."""
    make(monkeypatch, known_estimator())
    return Project(tmp_path).settings()
