"""The runbook: an entry for every error and every alert, in its own words, with commands that exist."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import pytest
from ruamel.yaml import YAML

import errors as pipeline_errors
from app import errors as app_errors
from daggerw_engine import errors as engine_errors
from tests.docs.commands import ROOT, problems

RUNBOOK = (ROOT / "docs/runbook.md").read_text()
FIELDS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
ROOMS = {pipeline_errors: "ci", app_errors: "app training", engine_errors: "engine/daggerw_engine"}
# What is no literal of the source in a title: names of variables in capitals, and what stands for anything.
VARIES = re.compile(
    r"…|'…'|\b[A-Z][A-Z0-9_]+\b|\[?\d+\]?|sha256:|`|with findings|: expected |, got |environments.toml: "
)


@dataclass(frozen=True)
class Entry:
    """A third-level heading of the runbook and what stands under it."""

    title: str
    text: str

    @property
    def classes(self) -> list[str]:
        """The errors that it is about."""
        return re.findall(r"\*\*(\w+)\*\*", self.text)


@cache
def entries() -> list[Entry]:
    parts = re.split(r"^### (.*)$", RUNBOOK, flags=re.MULTILINE)[1:]
    return [
        Entry(title, re.split(r"^## ", text, flags=re.MULTILINE)[0])
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def raisable(module: ModuleType) -> list[str]:
    """Return the names of a module's errors."""
    return [each.__name__ for each in _own(module)]


def leaves(module: ModuleType) -> list[str]:
    """Return the names of those that no other is a kind of."""
    return [each.__name__ for each in _own(module) if not each.__subclasses__()]


def _own(module: ModuleType) -> list[type[Exception]]:
    types = (each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Exception))
    return [each for each in types if each.__module__ == module.__name__]


def alerts() -> set[str]:
    files = (ROOT / "deploy/monitoring").glob("*.yml")
    rules = (
        YAML(typ="safe").load(path.read_text())
        for path in files
        if path.name in ("rules.yml", "no-traffic.yml")
    )
    named = {
        rule["alert"]
        for each in rules
        for group in each["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    return named | {"DeploymentFailed"}


def test_every_error_has_exactly_one_entry() -> None:
    told = Counter(name for entry in entries() for name in entry.classes)
    assert Counter(name for module in ROOMS for name in leaves(module)) <= told
    assert told <= Counter(name for module in ROOMS for name in raisable(module))


def test_every_alert_has_an_entry_of_its_name() -> None:
    about_nothing_raised = {entry.title for entry in entries() if not entry.classes}
    everybody = {
        "Tests fail locally but pass in CI",
        "Image build fails",
        "GCP authentication fails",
        "Image doesn't run",
    }
    assert about_nothing_raised == alerts() | everybody


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.title)
def test_every_entry_says_meaning_impact_diagnosis_and_mitigation(entry: Entry) -> None:
    assert re.findall(r"^- (\w+): \S", entry.text, re.MULTILINE) == FIELDS


@pytest.mark.parametrize(
    "entry", [each for each in entries() if each.title.startswith("`")], ids=lambda entry: entry.title
)
def test_a_title_is_in_the_words_of_the_source(entry: Entry) -> None:
    rooms = next(rooms for module, rooms in ROOMS.items() if set(entry.classes) & set(raisable(module)))
    sources = "".join(path.read_text() for room in rooms.split() for path in (ROOT / room).rglob("*.py"))
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)  # sentences that go on in the next line
    fragments = [each.strip(" :;,'") for each in VARIES.split(entry.title)]
    for fragment in filter(None, fragments):
        assert fragment in sources


def test_every_command_exists() -> None:
    assert problems(RUNBOOK) == []


def test_links_of_the_rules_lead_to_an_entry() -> None:
    anchors = {re.sub(r"[^a-z0-9 -]", "", entry.title.lower()).replace(" ", "-") for entry in entries()}
    rules = "".join(path.read_text() for path in (ROOT / "deploy/monitoring").glob("*.yml"))
    linked = set(re.findall(r"docs/runbook\.md#([\w-]+)", rules))
    assert linked
    assert linked <= anchors
