"""Fixtures of the service's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import compile_scorer
from tests.service.model import write_model, write_sum


@pytest.fixture(scope="session")
def native_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the native scorer, compiled for the tests."""
    library = tmp_path_factory.mktemp("native") / "libscorer.so"
    compile_scorer.compile_scorer(library)
    return library


@pytest.fixture(scope="session")
def number_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a classifier of two classes, not to be changed."""
    return write_model(tmp_path_factory.mktemp("numbers"))


@pytest.fixture(scope="session")
def sum_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a regression that adds its features, not to be changed."""
    return write_sum(tmp_path_factory.mktemp("sum"))


@pytest.fixture(scope="module", params=["1", "0"], ids=["hot path", "FastAPI"])
def switch(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the setting with which the hot path answers, or FastAPI alone."""
    return {"HOT_PATH": request.param}
