"""The pages: what they name exists, their commands are run or say why not, and none repeats another."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from itertools import combinations

import pytest

from app.settings import Limits
from bench.service import report
from tests.docs import walk
from tests.docs.commands import ROOT, problems

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "engine/README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
]
PICTURES = ["docs/release.svg", "docs/request.svg"]
CODE = ["app/**/*.py", "ci/*.py", "training/*.py", "tests/service/connections/*.py", "*.py"]
FEW = 8  # words that two sentences may share by chance


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    assert problems((ROOT / page).read_text(), (ROOT / page).parent) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_s_links_lead_to_files(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_names_files_on_the_way(picture: str) -> None:
    text = (ROOT / picture).read_text()
    named = re.findall(r"\b((?:app|ci|deploy|training|\.github)/[\w./-]*\w|[\w-]+\.py)\b", text)
    assert len(named) > FEW
    known = {path.name for pattern in CODE for path in ROOT.glob(pattern)}
    assert [name for name in named if name not in known and not (ROOT / name).exists()] == []


def test_the_service_s_page_lists_every_setting_with_its_default() -> None:
    text = (ROOT / "docs/service.md").read_text()
    for field in fields(Limits):
        row = next(line for line in text.splitlines() if f"`LIMIT_{field.name.upper()}`" in line)
        assert str(field.default) in re.split(", | ", row.split("|")[2])
    names = re.findall(r'(?:given, |given.get\()"([A-Z_]+)"', (ROOT / "app/settings.py").read_text())
    assert names
    assert all(f"`{name}`" in text for name in names)


def test_the_readme_s_figures_are_those_that_the_benchmark_measured() -> None:
    results = json.loads((ROOT / "docs/benchmark/results.json").read_text())
    assert report.table(results) in (ROOT / "README.md").read_text()
    assert results["ratios"] == report.ratios(results["rounds"])


@pytest.mark.parametrize(("one", "other"), list(combinations(PAGES, 2)))
def test_no_page_repeats_another(one: str, other: str) -> None:
    assert sentences(one) & sentences(other) == set()


def sentences(page: str) -> set[str]:
    """Return a page's sentences of more than a few words."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    found = (" ".join(each.split()) for each in re.split(r"(?<=[.:;])\s|\n\n|\n(?=[-|#])", text))
    return {each for each in found if len(each.split()) > FEW}


def test_every_page_of_this_template_that_shows_commands_is_walked() -> None:
    shows = {page for page in PAGES if any(walk.commands((ROOT / page).read_text()))}
    assert shows - {"engine/README.md"} == set(walk.PAGES)  # its own test follows the engine's


def test_every_reason_not_to_run_a_command_is_needed_and_names_a_test() -> None:
    shown = [each for page in walk.PAGES for each in walk.commands((ROOT / page).read_text())]
    for start, why in walk.NOT_RUN.items():
        assert any(each.text.startswith(start) for each in shown), start
        assert all((ROOT / path).exists() for path in re.findall(r"tests/\S+\.py", why))


@pytest.mark.parametrize(
    ("shown", "printed", "errors", "agreed"),
    [
        (["a", "b"], "a\nb\n", "", True),
        (["a"], "a", "", True),
        (["a"], "a\nb\n", "", False),
        (["a", "…"], "a\nb\nc\n", "", True),
        (["… 12 s"], "… 12 s\n", "", True),
        ([f"x@sha256:{'0' * 64}"], f"x@sha256:{'f' * 64}\n", "", True),
        ([f"x@sha256:{'0' * 64}"], f"y@sha256:{'0' * 64}\n", "", False),
        (["  1.0 s  train", "done"], "done\n", "noise\n 12.3 s  train\n", True),
        (["  1.0 s  a", "  2.0 s  b", "c"], "  1.5 s  b\n  9.1 s  a\nc\n", "", True),
        (["  1.0 s  a", "  2.0 s  b", "c"], "  1.5 s  b\nc\n", "", False),
        (["  1.0 s  train", "done"], "done\n", "noise\n 12.3 s  build\n", False),
        (["=== 10 passed in 1.2s ==="], "== 7 passed in 99.1s (0:01:39) ==\n", "", True),
        (["=== 10 passed in 1.2s ==="], "== 1 failed, 7 passed in 99.1s ==\n", "", False),
    ],
)
def test_what_is_printed_is_held_against_what_is_shown(
    shown: list[str], printed: str, errors: str, agreed: bool
) -> None:
    assert walk.matches_page(shown, printed, errors) is agreed
