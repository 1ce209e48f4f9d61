"""A browser for these tests. It is Debian's chromium, of the host: the pipeline's containers have none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Page, open_browser
from tests.browser.pages import DIGEST, load
from tests.service.server import Server, run_service

PROGRAM = "chromium"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Return the page of a browser that all tests share."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")
    with open_browser(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Page:
    """Return the page, empty and in a window of a common size."""
    browser.media(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    browser.size(1200, 900)
    browser.go("about:blank")
    browser.events.clear()
    return browser


@pytest.fixture(scope="module")
def service(model_dir: Path) -> Iterator[Server]:
    """Return a running service."""
    with run_service(model_dir, settings={"IMAGE_DIGEST": DIGEST}) as server:
        yield server


@pytest.fixture
def ready(page: Page, service: Server) -> Page:
    """Return the page with its first prediction."""
    return load(page, service)
