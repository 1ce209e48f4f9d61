"""The API's documentation at `/docs`, as Chromium shows it."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Page
from tests.browser.pages import BASE
from tests.service.server import Server


@pytest.fixture
def ready(page: Page, service: Server) -> Page:
    """Return the page when it has drawn the document."""
    page.go(f"{BASE}:{service.port}/docs")
    page.wait_until("document.querySelectorAll('.opblock').length")
    return page


def test_it_shows_every_operation_and_sends_requests_only_to_its_service(
    ready: Page, service: Server
) -> None:
    paths = service.request("GET", "/openapi.json").json()["paths"]
    assert ready.run("document.querySelectorAll('.opblock').length") == sum(map(len, paths.values()))
    addresses = [each["request"]["url"] for each in ready.events_of("Network.requestWillBeSent")]
    others = [each for each in addresses if not each.startswith((f"{BASE}:{service.port}/", "data:"))]
    assert len(addresses) > 5
    assert others == ready.complaints() == []


def test_it_requests_a_prediction(ready: Page) -> None:
    for step in (".opblock-summary-control", ".try-out__btn", ".execute"):
        ready.wait_until(f"!!document.querySelector('#operations-default-predict_predict_post {step}')")
        ready.run(f"document.querySelector('#operations-default-predict_predict_post {step}').click()")
    status = "document.querySelector('.live-responses-table tbody .response-col_status')?.textContent"
    assert "200" in ready.wait_until(status)
    assert '"prediction"' in ready.text(".live-responses-table tbody .response-col_description")


def test_it_is_light_or_dark(ready: Page) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = ready.run(ground)
    ready.media(prefers_color_scheme="dark")
    assert ready.wait_until("document.documentElement.classList.contains('dark-mode')")
    assert ready.run(ground) != light
