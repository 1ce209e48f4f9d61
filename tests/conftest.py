"""Fixtures that several rooms share.

They import what they need when they are used: the engine's tests run without the service's libraries.
"""

from __future__ import annotations

from pathlib import Path

import pytest


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
def anyio_backend() -> str:
    """Run `@pytest.mark.anyio` tests on asyncio, as everything here does."""
    return "asyncio"
