"""Fixtures that several rooms share.

They import what they need when they are used: the engine's tests run without the service's libraries.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import progress

if TYPE_CHECKING:
    from app.modelling.estimator import Estimator

ROOT = Path(__file__).parent.parent
KNOWN_SETTINGS = """
[tool.milestone2]
name = "known"
data = "breast-cancer"
target = "diagnosis"
positive = "malignant"
features = ["mean radius", "mean texture", "radius error"]
minimum_score = 0.9
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that the pipeline's functions and `.ci/run` give."""
    parser.addoption(
        "--model", type=Path, help="the trained model's folder for tests/release; else it is trained"
    )
    parser.addoption("--registry-url", help="a registry to test against; else one is started if installed")
    parser.addoption("--progress", action="store_true", help="say on standard error how far the run is")
    parser.addoption("--none-skipped", action="store_true", help="fail when a test was skipped")


def pytest_configure(config: pytest.Config) -> None:
    """Have libraries compute on one thread, and say how far the run is if that is wanted.

    Threads of one fit wait for each other, and that takes processor time where other tests run beside it.
    """
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    if config.getoption("--progress") and not hasattr(config, "workerinput"):  # of pytest-xdist
        progress.start(config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a test was skipped though none may be."""
    skipped = session.config.pluginmanager.getplugin("terminalreporter").stats.get("skipped")
    if skipped and session.config.getoption("--none-skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model that the tests know, trained once: the team's own may be any."""
    import train_model
    from training import command

    folder = tmp_path_factory.mktemp("model")
    settings = folder / "settings.toml"
    settings.write_text(KNOWN_SETTINGS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train_model, "make_model", known_estimator)
        assert command.main(["--settings", str(settings), "--output", str(folder)]) == 0
    return folder


def known_estimator() -> Estimator:
    """Return the estimator behind `model_dir`: linear, and finite for every finite double."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    limits = FunctionTransformer(np.clip, kw_args={"a_min": -1e100, "a_max": 1e100})
    estimator: Estimator = make_pipeline(StandardScaler(), limits, LogisticRegression())
    return estimator


def without_coverage() -> dict[str, str]:
    """Return the environment for a process that coverage leaves alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run `@pytest.mark.anyio` tests on asyncio, as everything here does."""
    return "asyncio"
