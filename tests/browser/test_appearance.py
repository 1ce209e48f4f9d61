"""Appearance of the page at `/`, and its use without a mouse, a large screen or eyes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.chromium import Page
from tests.browser.pages import load
from tests.service.model import write_classes, write_model, write_sum
from tests.service.server import run_service

NARROW = 320  # pixels: of the smallest phone that WCAG 2.2 (1.4.10) wants pages to fit


def test_everything_that_can_be_used_has_a_name(ready: Page) -> None:
    controls = [each for each in ready.controls() if each[0] != "RootWebArea"]
    assert all(name for _, name in controls), controls
    features = ["mean radius", "mean texture", "radius error"]
    assert [name for role, name in controls if role == "slider"] == features
    assert [name for role, name in controls if role == "textbox"] == features
    assert ready.run("[...document.querySelectorAll('h1, h2')].map(each => each.tagName)")[:2] == [
        "H1",
        "H2",
    ]
    assert ready.run("document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(ready: Page, scheme: str) -> None:
    ready.media(prefers_color_scheme=scheme)
    reached = []
    outline = (
        "(s => `${s.outlineStyle} ${parseFloat(s.outlineWidth)}`)(getComputedStyle(document.activeElement))"
    )
    for _ in range(12):
        ready.press("Tab")
        reached.append(ready.run("document.activeElement.tagName + document.activeElement.id"))
        if reached[-1].startswith("BODY"):
            break
        assert ready.run(outline) == "solid 3", reached
    assert reached[:4] == ["A", "A", "INPUTfeature-0", "INPUT"]
    assert {"BUTTONcopy", "BUTTON", "PRE"} <= set(reached)


def test_users_who_want_less_motion_get_none(ready: Page) -> None:
    moving = "getComputedStyle(document.querySelector('#gauge'), '::before').transitionDuration"
    assert ready.run(moving) != "0s"
    ready.media(prefers_reduced_motion="reduce")
    assert ready.run(moving) == "0s"


@pytest.mark.parametrize("write", [write_model, write_classes, write_sum])
def test_it_fits_a_phone(page: Page, tmp_path: Path, write: Callable[[Path], Path]) -> None:
    page.size(NARROW, 640)
    with run_service(write(tmp_path)) as server:
        load(page, server)
        assert page.run("document.documentElement.scrollWidth") == NARROW
        page.run("document.querySelector('#feature-2').scrollIntoView()")
        top, bottom = page.run(
            "(r => [r.top, r.bottom])(document.querySelector('#answer').getBoundingClientRect())"
        )
        assert (
            0 <= top < bottom < page.run("document.querySelector('#feature-2').getBoundingClientRect().top")
        )


def test_it_is_light_or_dark(ready: Page, tmp_path: Path) -> None:
    ready.wait_until("document.querySelectorAll('figure svg').length === 2")
    shots = []
    for scheme in ("light", "dark"):
        ready.media(prefers_color_scheme=scheme)
        shots.append(ready.screenshot())
        (tmp_path / f"page-{scheme}.png").write_bytes(shots[-1])
        red = int(ready.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
        assert (red > 200) == (scheme == "light")
    assert shots[0] != shots[1]
    assert all(shot.startswith(b"\x89PNG") and len(shot) > 30_000 for shot in shots)
