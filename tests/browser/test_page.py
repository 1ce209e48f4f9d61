"""The page at `/`, as Chromium shows it."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import Page
from tests.browser.pages import BASE, DIGEST, load
from tests.service.model import write_classes, write_model, write_sum, write_wide
from tests.service.server import Reply, Server, run_service

FIRST, SLIDER = "#feature-0", "input[type=range]"


def curl_response(page: Page, service: Server) -> Reply:
    """Return the service's response to the page's curl command."""
    curl, option, body, address = shlex.split(page.text("#curl"))
    assert (curl, option, address) == ("curl", "-d", f"{BASE}:{service.port}/predict")
    return service.request("POST", urlsplit(address).path, body.encode())


def prediction(page: Page, service: Server) -> float:
    """Return the service's prediction for the page's request, when the page shows it."""
    value: float = curl_response(page, service).json()["prediction"]
    page.wait_until(f"Number(document.querySelector('#exact').textContent.split(' ')[1]) === {value!r}")
    return value


def test_it_shows_what_is_served(ready: Page) -> None:
    assert ready.run("document.title") == ready.text("h1") == "known"
    assert (ready.text("#version"), ready.text("#digest")) == ("v1.2.3", DIGEST)
    assert ready.text("#purpose") == "Predicts diagnosis from 3 features."
    assert ready.complaints() == []


def test_it_begins_at_the_medians(ready: Page, service: Server) -> None:
    medians = [each["quantiles"]["0.5"] for each in service.request("GET", "/model").json()["features"]]
    sliders = ready.run(f"[...document.querySelectorAll('{SLIDER}')].map(each => each.valueAsNumber)")
    assert sliders == pytest.approx(medians)
    assert prediction(ready, service) == pytest.approx(
        service.predict(medians).json()["prediction"], abs=0.01
    )


def test_moving_a_slider_sends_another_request(ready: Page, service: Server) -> None:
    before = prediction(ready, service)
    ready.run(f"document.querySelector('{SLIDER}').focus()")
    ready.press("End")
    ready.wait_until("document.querySelector('#feature-0').value === '28.11'")
    ready.wait_until("document.querySelector('#curl').textContent.includes('[28.11,')")
    after = prediction(ready, service)
    assert after > before
    assert ready.text("#value") == "> 99.9 %"
    assert ready.text("#meaning") == "probability of malignant"
    assert float(ready.run("document.querySelector('#gauge').style.getPropertyValue('--share')")) == after


def test_the_result_is_spoken_when_it_rests(ready: Page, service: Server) -> None:
    ready.run(f"document.querySelector('{SLIDER}').focus()")
    ready.press("Home")
    ready.wait_until("document.querySelector('#curl').textContent.includes('[6.98,')")
    prediction(ready, service)
    spoken = f"{ready.text('#value')} probability of malignant"
    ready.wait_until(f"document.querySelector('#spoken').textContent === '{spoken}'")
    assert ready.run("document.querySelector('#spoken').ariaLive") == "polite"


@pytest.mark.parametrize("text", ["1e300", "-40", ".5", "1_0", "007", " 3 ", "1E+2"])
def test_a_field_takes_what_no_slider_does(ready: Page, service: Server, text: str) -> None:
    ready.type(FIRST, "1")
    ready.wait_until("document.querySelector('#curl').textContent.includes('[1,')")
    ready.type(FIRST, text)
    ready.wait_until("!document.querySelector('#curl').textContent.includes('[1,')")
    reply = curl_response(ready, service)
    if reply.status == 200:
        prediction(ready, service)
    else:
        assert text == "1_0"


@pytest.mark.parametrize("text", ["abc", "", "1e999", "NaN", "1,5", 'it\'s "quoted" \\ $HOME', "<b>é</b>"])
def test_a_bad_value_is_refused_in_the_service_s_words(ready: Page, service: Server, text: str) -> None:
    ready.type(FIRST, "1")
    ready.wait_until("document.querySelector('#curl').textContent.includes('[1,')")
    prediction(ready, service)
    if text:
        ready.type(FIRST, text)
    else:
        ready.press("Backspace")
    sentence = ready.wait_until("document.querySelector('#problem').textContent")
    error = curl_response(ready, service).json()["error"]
    assert sentence == error["message"]
    assert error["input"] == "features[0]"
    assert ready.run(f"document.querySelector('{FIRST}').ariaInvalid") == "true"
    assert ready.run("document.querySelector('#feature-1').ariaInvalid") == "false"
    ready.wait_until(f"document.querySelector('#spoken').textContent === {sentence!r}")
    ready.type(FIRST, "13")
    ready.wait_until("!document.querySelector('#problem').textContent")
    assert ready.run(f"document.querySelector('{FIRST}').ariaInvalid") == "false"


def test_the_form_goes_back_to_the_medians(ready: Page, service: Server) -> None:
    before = ready.text("#curl")
    ready.type(FIRST, "abc")
    ready.wait_until("document.querySelector('#problem').textContent")
    ready.run("document.querySelector('button[type=reset]').click()")
    ready.wait_until("!document.querySelector('#problem').textContent")
    assert ready.text("#curl") == before
    prediction(ready, service)


def test_a_request_that_is_outdated_is_cancelled(ready: Page, service: Server) -> None:
    ready.call("Fetch.enable", patterns=[{"urlPattern": "*/predict*"}])  # which holds each request up
    try:
        for value in ("1", "2"):
            ready.type(FIRST, value)
            ready.wait_until(f"document.querySelector('#curl').textContent.includes('[{value},')")
        assert curl_response(ready, service).status == 200
    finally:
        ready.call("Fetch.disable")
    prediction(ready, service)
    assert [each["canceled"] for each in ready.events_of("Network.loadingFailed")] == [True]


def test_a_service_that_is_gone_is_reported(page: Page, tmp_path: Path) -> None:
    with run_service(write_model(tmp_path)) as server:
        load(page, server)
    page.type(FIRST, "3")
    assert "does not answer" in page.wait_until("document.querySelector('#problem').textContent")


def test_a_model_that_cannot_be_used_is_reported(page: Page, tmp_path: Path) -> None:
    with run_service(tmp_path) as server:
        page.go(f"{BASE}:{server.port}/")
        sentence = page.wait_until("document.querySelector('#trouble').textContent")
        assert sentence == server.request("GET", "/model").json()["error"]["message"]
        assert page.run("document.querySelector('#main').checkVisibility()") is False


def test_a_class_is_shown_by_its_name(page: Page, tmp_path: Path) -> None:
    with run_service(write_classes(tmp_path)) as server:
        load(page, server)
        assert (page.text("#value"), page.text("#meaning")) == ("setosa", "most likely diagnosis")
        page.type(FIRST, "1")
        page.type("#feature-1", "1")
        page.wait_until("document.querySelector('#value').textContent === 'versicolor'")
        chosen = "[...document.querySelectorAll('#gauge span')].map(each => each.className)"
        assert page.run(chosen) == ["", "chosen", ""]


def test_a_number_is_shown_with_the_range_so_far(page: Page, tmp_path: Path) -> None:
    with run_service(write_sum(tmp_path)) as server:
        load(page, server)
        assert page.text("#value") == "30"
        page.type(FIRST, "1010.5")
        page.wait_until("document.querySelector('#value').textContent === '1,030.5'")
        assert page.text("#ends") == "least so far 30 greatest so far 1,030.5"


def test_many_features_are_folded(page: Page, tmp_path: Path) -> None:
    with run_service(write_wide(tmp_path, 20)) as server:
        load(page, server)
        visible = f"[...document.querySelectorAll('{SLIDER}')].filter(each => each.checkVisibility()).length"
        assert page.run(visible) == 12
        assert page.text("summary") == "8 more features"
        page.run("document.querySelector('summary').click()")
        assert page.run(visible) == 20


def test_the_card_is_all_there(ready: Page, service: Server) -> None:
    card = service.request("GET", "/model").json()
    facts = ready.text("#facts")
    hashes = [card[f"{name}_sha256"] for name in ("artifact", "data", "golden")]
    assert all(each in facts for each in (*hashes, card["portable"]["sha256"]))
    assert all(f"{name} {version}" in facts for name, version in card["libraries"].items())
    names = ready.run("[...document.querySelectorAll('#metrics dt')].map(each => each.textContent)")
    values = ready.run("[...document.querySelectorAll('#metrics dd')].map(each => Number(each.textContent))")
    assert {"accuracy", "balanced accuracy", "ROC AUC", "F1"} <= {*names[:-2]}
    assert names[-2:] == ["rows trained on", "rows held out"]
    assert values == pytest.approx([*card["metrics"].values(), *card["rows"].values()], rel=1e-3)


def test_plots_take_the_page_s_colours(ready: Page) -> None:
    ready.wait_until("document.querySelectorAll('#plots figure svg').length === 2")
    titles = ready.run("[...document.querySelectorAll('#plots figure strong')].map(each => each.textContent)")
    assert titles == ["ROC curve", "Calibration"]
    axis = "getComputedStyle(document.querySelector('#plots figure path')).stroke"
    light = ready.run(axis)
    ready.media(prefers_color_scheme="dark")
    assert ready.run(axis) == ready.run("getComputedStyle(document.body).color") != light


def test_plots_that_were_not_made_are_left_out(page: Page, tmp_path: Path) -> None:
    with run_service(write_model(tmp_path)) as server:
        load(page, server)
        page.wait_until("!document.querySelector('#plots figure')")
        statuses = {
            each["response"]["url"].rpartition("/")[2]: each["response"]["status"]
            for each in page.events_of("Network.responseReceived")
        }
        assert (statuses["roc.svg"], statuses["calibration.svg"]) == (404, 404)


def test_it_sends_requests_only_to_its_service(ready: Page, service: Server) -> None:
    ready.wait_until("document.querySelectorAll('#plots figure svg').length === 2")
    addresses = [each["request"]["url"] for each in ready.events_of("Network.requestWillBeSent")]
    assert len(addresses) > 8
    assert {address for address in addresses if not address.startswith(f"{BASE}:{service.port}/")} == set()
