"""The page of a service in a browser."""

from __future__ import annotations

from tests.browser.chromium import Page
from tests.service.server import Server

BASE = "http://127.0.0.1"
DIGEST = f"sha256:{'4f2a' * 16}"
SHOWN = "document.querySelector('#value').textContent !== '…'"


def load(page: Page, service: Server) -> Page:
    """Return the page of a service with its first prediction."""
    page.go(f"{BASE}:{service.port}/")
    page.wait_until(SHOWN)
    return page
