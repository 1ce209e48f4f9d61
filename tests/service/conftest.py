"""Fixtures of the service's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import compile_scorer


@pytest.fixture(scope="session")
def native_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the native scorer, compiled for the tests."""
    library = tmp_path_factory.mktemp("native") / "libscorer.so"
    compile_scorer.compile_scorer(library)
    return library
