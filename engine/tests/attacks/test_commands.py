"""Attacks from a command, and from a Dockerfile's RUN: each fails, as root and rootless."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks.attack import ATTACKS, Attack, script, table
from attacks.conftest import Target
from engine_fixtures import DISTRIBUTION

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
FOLDER = "/attacks"
ALL = f'for one in {FOLDER}/*; do echo "== $one"; perl "$one" 2>&1; done'


def each_attack() -> Iterator[tuple[str, Attack]]:
    return ((f"{number:02}", attack) for number, attack in enumerate(ATTACKS))


@pytest.fixture(scope="module")
def scripts(target: Target) -> Path:
    """Return the file system with a script for each attack."""
    folder = target.root / FOLDER[1:]
    folder.mkdir(exist_ok=True)
    for name, attack in each_attack():
        (folder / name).write_text(script(attack))
    return target.root


def outcomes(text: str) -> dict[str, str]:
    """Return each attack's output."""
    parts = [part.partition("\n") for part in text.split("== ")[1:]]
    return {Path(name).name: outcome.strip() for name, _, outcome in parts}


@pytest.fixture(scope="module")
def of_command(target: Target, scripts: Path) -> dict[str, str]:
    """Return the outcomes of attacks by a command."""
    arguments = json.dumps(["sh", "-c", ALL])
    answer = target.engine.container(scripts, f"withExec(args:{arguments}){{stdout}}")
    assert "errors" not in answer, answer
    return outcomes(answer["data"]["container"]["withDirectory"]["withExec"]["stdout"])


@pytest.fixture(scope="module")
def of_run(target: Target, scripts: Path) -> dict[str, str]:
    """Return the outcomes of attacks by a Dockerfile's RUN."""
    found = target.engine.query(f'{{host{{directory(path:"{scripts}"){{id}}}}}}')
    source = found["data"]["host"]["directory"]["id"]
    text = json.dumps(f"FROM scratch\nCOPY root /\nRUN {json.dumps(['sh', '-c', f'{{ {ALL}; }} >/seen'])}\n")
    files = f'withDirectory(path:"/root",source:"{source}"){{withNewFile(path:"Dockerfile",contents:{text})'
    answer = target.engine.query(
        f'{{directory{{{files}{{dockerBuild{{file(path:"/seen"){{contents}}}}}}}}}}}}'
    )
    assert "errors" not in answer, answer
    built = answer["data"]["directory"]["withDirectory"]["withNewFile"]["dockerBuild"]
    return outcomes(built["file"]["contents"])


def has_failed(attack: Attack, outcome: str) -> bool:
    """Return whether an attack failed for one of its expected reasons."""
    return outcome in attack.fails or outcome in {f"refused: {reason}" for reason in attack.fails}


@pytest.mark.parametrize(("name", "attack"), [pytest.param(*each, id=each[1].name) for each in each_attack()])
def test_an_attack_from_a_command_fails(of_command: dict[str, str], name: str, attack: Attack) -> None:
    assert has_failed(attack, of_command[name]), of_command[name]


@pytest.mark.parametrize(("name", "attack"), [pytest.param(*each, id=each[1].name) for each in each_attack()])
def test_an_attack_from_a_run_step_fails(of_run: dict[str, str], name: str, attack: Attack) -> None:
    assert has_failed(attack, of_run[name]), of_run[name]


def test_the_readme_has_the_table_of_attacks() -> None:
    text = (DISTRIBUTION / "README.md").read_text()
    assert "\n".join(table()) in text
