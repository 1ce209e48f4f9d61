"""The API's documentation at `/docs`, as Chromium shows it."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Page
from tests.browser.pages import BASE
from tests.service.server import Server


@pytest.fixture
def shown(page: Page, service: Server) -> Page:
    """Return the page when it has drawn the document."""
    page.go(f"{BASE}:{service.port}/docs")
    page.wait_until("document.querySelectorAll('.opblock').length")
    return page


def test_it_shows_every_operation_and_asks_nobody_but_its_service(shown: Page, service: Server) -> None:
    paths = service.ask("GET", "/openapi.json").json()["paths"]
    assert shown.run("document.querySelectorAll('.opblock').length") == sum(map(len, paths.values()))
    addresses = [each["request"]["url"] for each in shown.told("Network.requestWillBeSent")]
    others = [each for each in addresses if not each.startswith((f"{BASE}:{service.port}/", "data:"))]
    assert len(addresses) > 5
    assert others == shown.complaints() == []


def test_it_asks_for_a_prediction(shown: Page) -> None:
    for step in (".opblock-summary-control", ".try-out__btn", ".execute"):
        shown.wait_until(f"!!document.querySelector('#operations-default-predict_predict_post {step}')")
        shown.run(f"document.querySelector('#operations-default-predict_predict_post {step}').click()")
    status = "document.querySelector('.live-responses-table tbody .response-col_status')?.textContent"
    assert "200" in shown.wait_until(status)
    assert '"prediction"' in shown.text(".live-responses-table tbody .response-col_description")


def test_it_is_light_or_dark(shown: Page) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = shown.run(ground)
    shown.media(prefers_color_scheme="dark")
    assert shown.wait_until("document.documentElement.classList.contains('dark-mode')")
    assert shown.run(ground) != light
