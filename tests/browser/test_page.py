"""The page at `/`, as Chromium shows it."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import Page
from tests.browser.pages import BASE, DIGEST, load
from tests.service.model import write_classes, write_model, write_sum, write_wide
from tests.service.server import Reply, Server, running

FIRST, SLIDER = "#feature-0", "input[type=range]"


def asked(page: Page, service: Server) -> Reply:
    """Return what the service says to what the page's curl command sends."""
    curl, option, body, address = shlex.split(page.text("#curl"))
    assert (curl, option, address) == ("curl", "-d", f"{BASE}:{service.port}/predict")
    return service.ask("POST", urlsplit(address).path, body.encode())


def prediction(page: Page, service: Server) -> float:
    """Return what the service predicts for what the page asks, when the page shows it."""
    value: float = asked(page, service).json()["prediction"]
    page.wait_until(f"Number(document.querySelector('#exact').textContent.split(' ')[1]) === {value!r}")
    return value


def delay(page: Page, milliseconds: int) -> None:
    """Let all that the page loads take longer."""
    unlimited = {"downloadThroughput": -1, "uploadThroughput": -1}
    page.call("Network.emulateNetworkConditions", offline=False, latency=milliseconds, **unlimited)


def test_it_shows_what_is_served(shown: Page) -> None:
    assert shown.run("document.title") == shown.text("h1") == "known"
    assert (shown.text("#version"), shown.text("#digest")) == ("v1.2.3", DIGEST)
    assert shown.text("#purpose") == "Predicts diagnosis from 3 features."
    assert shown.complaints() == []


def test_it_begins_at_the_medians(shown: Page, service: Server) -> None:
    medians = [each["quantiles"]["0.5"] for each in service.ask("GET", "/model").json()["features"]]
    sliders = shown.run(f"[...document.querySelectorAll('{SLIDER}')].map(each => each.valueAsNumber)")
    assert sliders == pytest.approx(medians)
    assert prediction(shown, service) == pytest.approx(
        service.predict(medians).json()["prediction"], abs=0.01
    )


def test_moving_a_slider_asks_again(shown: Page, service: Server) -> None:
    before = prediction(shown, service)
    shown.run(f"document.querySelector('{SLIDER}').focus()")
    shown.press("End")
    shown.wait_until("document.querySelector('#feature-0').value === '28.11'")
    shown.wait_until("document.querySelector('#curl').textContent.includes('[28.11,')")
    after = prediction(shown, service)
    assert after > before
    assert shown.text("#value") == "> 99.9 %"
    assert shown.text("#meaning") == "probability of malignant"
    assert float(shown.run("document.querySelector('#gauge').style.getPropertyValue('--share')")) == after


def test_the_result_is_spoken_when_it_rests(shown: Page, service: Server) -> None:
    shown.run(f"document.querySelector('{SLIDER}').focus()")
    shown.press("Home")
    shown.wait_until("document.querySelector('#curl').textContent.includes('[6.98,')")
    prediction(shown, service)
    spoken = f"{shown.text('#value')} probability of malignant"
    shown.wait_until(f"document.querySelector('#spoken').textContent === '{spoken}'")
    assert shown.run("document.querySelector('#spoken').ariaLive") == "polite"


@pytest.mark.parametrize("text", ["1e300", "-40", ".5", "1_0", "007", " 3 ", "1E+2"])
def test_a_field_takes_what_no_slider_does(shown: Page, service: Server, text: str) -> None:
    shown.type(FIRST, "1")
    shown.wait_until("document.querySelector('#curl').textContent.includes('[1,')")
    shown.type(FIRST, text)
    shown.wait_until("!document.querySelector('#curl').textContent.includes('[1,')")
    reply = asked(shown, service)
    if reply.status == 200:
        prediction(shown, service)
    else:
        assert text == "1_0"


@pytest.mark.parametrize("text", ["abc", "", "1e999", "NaN", "1,5", 'it\'s "quoted" \\ $HOME', "<b>é</b>"])
def test_a_bad_value_is_refused_in_the_service_s_words(shown: Page, service: Server, text: str) -> None:
    shown.type(FIRST, "1")
    shown.wait_until("document.querySelector('#curl').textContent.includes('[1,')")
    prediction(shown, service)
    if text:
        shown.type(FIRST, text)
    else:
        shown.press("Backspace")
    sentence = shown.wait_until("document.querySelector('#problem').textContent")
    error = asked(shown, service).json()["error"]
    assert sentence == error["message"]
    assert error["input"] == "features[0]"
    assert shown.run(f"document.querySelector('{FIRST}').ariaInvalid") == "true"
    assert shown.run("document.querySelector('#feature-1').ariaInvalid") == "false"
    shown.wait_until(f"document.querySelector('#spoken').textContent === {sentence!r}")
    shown.type(FIRST, "13")
    shown.wait_until("!document.querySelector('#problem').textContent")
    assert shown.run(f"document.querySelector('{FIRST}').ariaInvalid") == "false"


def test_the_form_goes_back_to_the_medians(shown: Page, service: Server) -> None:
    before = shown.text("#curl")
    shown.type(FIRST, "abc")
    shown.wait_until("document.querySelector('#problem').textContent")
    shown.run("document.querySelector('button[type=reset]').click()")
    shown.wait_until("!document.querySelector('#problem').textContent")
    assert shown.text("#curl") == before
    prediction(shown, service)


def test_a_request_that_is_outdated_is_cancelled(shown: Page, service: Server) -> None:
    delay(shown, 2000)
    try:
        for value in ("1", "2"):
            shown.type(FIRST, value)
            shown.wait_until(f"document.querySelector('#curl').textContent.includes('[{value},')")
        assert asked(shown, service).status == 200
    finally:
        delay(shown, 0)
    prediction(shown, service)
    assert [each["canceled"] for each in shown.told("Network.loadingFailed")] == [True]


def test_a_service_that_is_gone_is_told(page: Page, tmp_path: Path) -> None:
    with running(write_model(tmp_path)) as server:
        load(page, server)
    page.type(FIRST, "3")
    assert "does not answer" in page.wait_until("document.querySelector('#problem').textContent")


def test_a_model_that_cannot_be_used_is_told(page: Page, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        page.go(f"{BASE}:{server.port}/")
        sentence = page.wait_until("document.querySelector('#trouble').textContent")
        assert sentence == server.ask("GET", "/model").json()["error"]["message"]
        assert page.run("document.querySelector('#main').checkVisibility()") is False


def test_a_class_is_told_by_its_name(page: Page, tmp_path: Path) -> None:
    with running(write_classes(tmp_path)) as server:
        load(page, server)
        assert (page.text("#value"), page.text("#meaning")) == ("setosa", "most likely diagnosis")
        page.type(FIRST, "1")
        page.type("#feature-1", "1")
        page.wait_until("document.querySelector('#value').textContent === 'versicolor'")
        chosen = "[...document.querySelectorAll('#gauge span')].map(each => each.className)"
        assert page.run(chosen) == ["", "chosen", ""]


def test_a_number_is_told_with_the_range_so_far(page: Page, tmp_path: Path) -> None:
    with running(write_sum(tmp_path)) as server:
        load(page, server)
        assert page.text("#value") == "30"
        page.type(FIRST, "1010.5")
        page.wait_until("document.querySelector('#value').textContent === '1,030.5'")
        assert page.text("#ends") == "least so far 30 greatest so far 1,030.5"


def test_many_features_are_folded(page: Page, tmp_path: Path) -> None:
    with running(write_wide(tmp_path, 20)) as server:
        load(page, server)
        visible = f"[...document.querySelectorAll('{SLIDER}')].filter(each => each.checkVisibility()).length"
        assert page.run(visible) == 12
        assert page.text("summary") == "8 more features"
        page.run("document.querySelector('summary').click()")
        assert page.run(visible) == 20


def test_the_card_is_all_there(shown: Page, service: Server) -> None:
    card = service.ask("GET", "/model").json()
    facts = shown.text("#facts")
    hashes = [card[f"{name}_sha256"] for name in ("artifact", "data", "golden")]
    assert all(each in facts for each in (*hashes, card["portable"]["sha256"]))
    assert all(f"{name} {version}" in facts for name, version in card["libraries"].items())
    names = shown.run("[...document.querySelectorAll('#metrics dt')].map(each => each.textContent)")
    values = shown.run("[...document.querySelectorAll('#metrics dd')].map(each => Number(each.textContent))")
    assert {"accuracy", "balanced accuracy", "ROC AUC", "F1"} <= {*names[:-2]}
    assert names[-2:] == ["rows trained on", "rows held out"]
    assert values == pytest.approx([*card["metrics"].values(), *card["rows"].values()], rel=1e-3)


def test_plots_take_the_page_s_colours(shown: Page) -> None:
    shown.wait_until("document.querySelectorAll('figure svg').length === 2")
    titles = shown.run("[...document.querySelectorAll('figure strong')].map(each => each.textContent)")
    assert titles == ["ROC curve", "Calibration"]
    axis = "getComputedStyle(document.querySelector('figure path')).stroke"
    light = shown.run(axis)
    shown.media(prefers_color_scheme="dark")
    assert shown.run(axis) == shown.run("getComputedStyle(document.body).color") != light


def test_plots_that_were_not_made_are_left_out(page: Page, tmp_path: Path) -> None:
    with running(write_model(tmp_path)) as server:
        load(page, server)
        page.wait_until("!document.querySelector('figure')")
        statuses = {
            each["response"]["url"].rpartition("/")[2]: each["response"]["status"]
            for each in page.told("Network.responseReceived")
        }
        assert (statuses["roc.svg"], statuses["calibration.svg"]) == (404, 404)


def test_it_asks_nobody_but_its_service(shown: Page, service: Server) -> None:
    shown.wait_until("document.querySelectorAll('figure svg').length === 2")
    addresses = [each["request"]["url"] for each in shown.told("Network.requestWillBeSent")]
    assert len(addresses) > 8
    assert {address for address in addresses if not address.startswith(f"{BASE}:{service.port}/")} == set()
