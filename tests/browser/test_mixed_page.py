"""The page of a model with categories, booleans and missing values."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Page
from tests.browser.pages import load
from tests.service.model import write_many_columns, write_mixed
from tests.service.server import Server, running

NARROW = 320


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(write_mixed(tmp_path_factory.mktemp("mixed"))) as server:
        yield server


@pytest.fixture
def form(page: Page, mixed: Server) -> Page:
    """Return the page of the mixed model with its first prediction."""
    return load(page, mixed)


def asked(page: Page) -> list[Any]:
    """Return the row that the page asks about."""
    row: list[Any] = json.loads(shlex.split(page.text("#curl"))[2])["features"]
    return row


def choose(page: Page, selector: str, script: str) -> None:
    """Change a control as a person does."""
    page.run(
        f"(e => {{ {script}; e.dispatchEvent(new Event('input', {{bubbles: true}})) }})"
        f"(document.querySelector('{selector}'))"
    )


def wait_until_asked(page: Page, row: list[Any]) -> None:
    values = json.dumps(row, separators=(",", ":"))
    page.wait_until(f"document.querySelector('#curl').textContent.includes({json.dumps(values)})")
    assert asked(page) == row


def test_each_kind_has_its_control_and_begins_typical(form: Page) -> None:
    roles = [
        (role, name) for role, name in form.controls() if role in ("combobox", "switch", "slider", "checkbox")
    ]
    assert sorted(roles) == sorted(
        [
            ("combobox", "town"),
            ("checkbox", "no value of town"),
            ("slider", "size in m² (m²)"),
            ("checkbox", "no value of size in m²"),
            ("slider", "rooms"),
            ("switch", "garden"),
            ("combobox", "color"),
        ]
    )
    assert asked(form) == ["north", 10, 10, True, "red"]
    assert form.text("#feature-1-description") == "Of all"
    assert [each for each in form.complaints() if "model/" not in each.get("url", "")] == []  # has no plots


def test_categories_switches_and_left_out_values_are_asked(form: Page) -> None:
    choose(form, "#feature-0", "e.selectedIndex = 2")
    wait_until_asked(form, ['the "east"', 10, 10, True, "red"])
    choose(form, "#feature-0", "e.selectedIndex = 3")
    form.type("input.other", "nowhere")
    wait_until_asked(form, ["nowhere", 10, 10, True, "red"])
    form.run("document.querySelector('#feature-3').click()")
    form.run("document.querySelector('#feature-1-none').click()")
    wait_until_asked(form, ["nowhere", None, 10, False, "red"])
    assert form.run("document.querySelector('#feature-1').disabled")
    form.wait_until("!document.querySelector('#problem').textContent")
    form.run("document.querySelector('button[type=reset]').click()")
    wait_until_asked(form, ["north", 10, 10, True, "red"])
    assert not form.run("document.querySelector('#feature-1').disabled")


def test_the_keyboard_changes_every_control(form: Page) -> None:
    form.run("document.querySelector('#feature-4').focus()")
    form.press("ArrowDown")
    wait_until_asked(form, ["north", 10, 10, True, "blue"])
    form.run("document.querySelector('#feature-3').focus()")
    form.press(" ")
    wait_until_asked(form, ["north", 10, 10, False, "blue"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: Page, mixed: Server, scheme: str, tmp_path: Path) -> None:
    page.size(NARROW, 1400)
    page.media(prefers_color_scheme=scheme)
    load(page, mixed)
    assert page.run("document.documentElement.scrollWidth") == NARROW
    shot = page.screenshot()
    (tmp_path / "phone.png").write_bytes(shot)
    page.size(1200, 900)
    (tmp_path / "desk.png").write_bytes(page.screenshot())
    assert shot.startswith(b"\x89PNG")


@pytest.mark.parametrize("width", [NARROW, 1200])
def test_sixty_columns_are_usable(page: Page, width: int, tmp_path: Path) -> None:
    page.size(width, 900)
    with running(write_many_columns(tmp_path)) as server:
        load(page, server)
        assert page.run("document.documentElement.scrollWidth") <= width  # less a scroll bar
        page.run("document.querySelector('summary').focus()")
        page.press(" ")  # most features are behind it
        names = [name for role, name in page.controls() if role in ("combobox", "switch", "slider")]
        assert len(names) == len(set(names)) == 60
        page.run("document.querySelector('#feature-59').focus()")
        page.press("ArrowDown")  # the last one, a colour
        page.wait_until("document.querySelector('#curl').textContent.includes('\"blue\"]')")
        page.wait_until("!document.querySelector('#problem').textContent")
        bars = page.run("[...document.querySelectorAll('.bars dt')].map(each => each.textContent)")
        assert bars[:2] == ["town 0", "size in m² 0"]
        assert len(bars) == 20
        assert "accuracy is lost" in page.text("#importance figcaption")
        assert "the 20 largest of 60" in page.text("#importance figcaption")
        (tmp_path / "page.png").write_bytes(page.screenshot())
