"""How the page at `/` looks, and how it is used without a mouse, a large screen or eyes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.chromium import Page
from tests.browser.pages import load
from tests.service.model import write_classes, write_model, write_sum
from tests.service.server import running

NARROW = 320  # pixels: of the smallest phone that WCAG 2.2 (1.4.10) wants pages to fit


def test_everything_that_can_be_used_has_a_name(shown: Page) -> None:
    controls = [each for each in shown.controls() if each[0] != "RootWebArea"]
    assert all(name for _, name in controls), controls
    features = ["mean radius", "mean texture", "radius error"]
    assert [name for role, name in controls if role == "slider"] == features
    assert [name for role, name in controls if role == "textbox"] == features
    assert shown.run("[...document.querySelectorAll('h1, h2')].map(each => each.tagName)")[:2] == ["H1", "H2"]
    assert shown.run("document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(shown: Page, scheme: str) -> None:
    shown.media(prefers_color_scheme=scheme)
    reached = []
    outline = (
        "(s => `${s.outlineStyle} ${parseFloat(s.outlineWidth)}`)(getComputedStyle(document.activeElement))"
    )
    for _ in range(12):
        shown.press("Tab")
        reached.append(shown.run("document.activeElement.tagName + document.activeElement.id"))
        if reached[-1].startswith("BODY"):
            break
        assert shown.run(outline) == "solid 3", reached
    assert reached[:4] == ["A", "A", "INPUTfeature-0", "INPUT"]
    assert {"BUTTONcopy", "BUTTON", "PRE"} <= set(reached)


def test_who_wants_less_motion_gets_none(shown: Page) -> None:
    moving = "getComputedStyle(document.querySelector('#gauge'), '::before').transitionDuration"
    assert shown.run(moving) != "0s"
    shown.media(prefers_reduced_motion="reduce")
    assert shown.run(moving) == "0s"


@pytest.mark.parametrize("write", [write_model, write_classes, write_sum])
def test_it_fits_a_phone(page: Page, tmp_path: Path, write: Callable[[Path], Path]) -> None:
    page.size(NARROW, 640)
    with running(write(tmp_path)) as server:
        load(page, server)
        assert page.run("document.documentElement.scrollWidth") == NARROW
        page.run("document.querySelector('#feature-2').scrollIntoView()")
        top, bottom = page.run(
            "(r => [r.top, r.bottom])(document.querySelector('#answer').getBoundingClientRect())"
        )
        assert (
            0 <= top < bottom < page.run("document.querySelector('#feature-2').getBoundingClientRect().top")
        )


def test_it_is_light_or_dark(shown: Page, tmp_path: Path) -> None:
    shown.wait_until("document.querySelectorAll('figure svg').length === 2")
    shots = []
    for scheme in ("light", "dark"):
        shown.media(prefers_color_scheme=scheme)
        shots.append(shown.screenshot())
        (tmp_path / f"page-{scheme}.png").write_bytes(shots[-1])
        red = int(shown.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
        assert (red > 200) == (scheme == "light")
    assert shots[0] != shots[1]
    assert all(shot.startswith(b"\x89PNG") and len(shot) > 30_000 for shot in shots)
