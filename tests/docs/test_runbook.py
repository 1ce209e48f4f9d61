"""The runbook: an entry for every error code and every alert, with commands and links that exist."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import pytest

from tests.docs.commands import ROOT
from tests.repository.error_codes import GROUPS, own_codes

RUNBOOK = (ROOT / "docs/runbook.md").read_text()
FIELDS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
COMMON = {
    "Tests fail locally but pass in CI",
    "Image build fails",
    "GCP authentication fails",
    "Image doesn't run",
}


@dataclass(frozen=True)
class Entry:
    """A third-level heading of the runbook and what stands under it."""

    title: str
    text: str


@cache
def entries() -> list[Entry]:
    parts = re.split(r"^### (.*)$", RUNBOOK, flags=re.MULTILINE)[1:]
    return [
        Entry(title, re.split(r"^## ", text, flags=re.MULTILINE)[0])
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def error_entries() -> list[Entry]:
    return [each for each in entries() if each.title.startswith("`")]


def alerts() -> set[str]:
    rules = "".join(
        (ROOT / "deploy/monitoring" / name).read_text() for name in ("rules.yml", "no-traffic.yml")
    )
    return {*re.findall(r"^ *- alert: (\w+)$", rules, re.MULTILINE), "DeploymentFailed"}


def test_every_error_code_has_exactly_one_entry() -> None:
    assert sorted(each.title for each in error_entries()) == sorted(
        f"`{code}`" for code in own_codes() if code not in GROUPS
    )


def test_every_alert_has_an_entry_of_its_name() -> None:
    others = {each.title for each in entries()} - {each.title for each in error_entries()}
    assert others == alerts() | COMMON


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.title)
def test_every_entry_says_meaning_impact_diagnosis_and_mitigation(entry: Entry) -> None:
    assert re.findall(r"^- (\w+): \S", entry.text, re.MULTILINE) == FIELDS


@pytest.mark.parametrize("entry", error_entries(), ids=lambda entry: entry.title)
def test_every_error_entry_shows_its_message(entry: Entry) -> None:
    assert re.match(r"\nMessage: \S.*\n- Meaning: ", entry.text)


def test_links_of_the_rules_lead_to_an_entry() -> None:
    anchors = {re.sub(r"[^a-z0-9 -]", "", entry.title.lower()).replace(" ", "-") for entry in entries()}
    rules = "".join(path.read_text() for path in (ROOT / "deploy/monitoring").glob("*.yml"))
    linked = set(re.findall(r"docs/runbook\.md#([\w-]+)", rules))
    assert linked
    assert linked <= anchors
