"""README's first steps in an empty folder, with the current packages of an index.

Takes half a minute, as it installs the packages.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from engine_fixtures import DISTRIBUTION, PYTHON

BEGINNING = (DISTRIBUTION / "README.md").read_text().split("\n## ")[1]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")


def files() -> dict[str, str]:
    """Return the files in README, by the names before them."""
    return dict(re.findall(r"`([\w.]+)`[^`]*:\n\n```\w+\n(.*?)```", BEGINNING, re.DOTALL))


def commands() -> list[tuple[str, str]]:
    """Return the commands in README, each with its output."""
    shown = "".join(re.findall(r"```console\n(.*?)```", BEGINNING, re.DOTALL))
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)


def test_a_module_in_an_empty_folder_runs_as_the_readme_says(tmp_path: Path, engine_home: Path) -> None:
    assert PYTHON in files()["hello.py"]
    for name, text in files().items():
        (tmp_path / name).write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**kept, "XDG_CACHE_HOME": str(engine_home)}
    for command, output in commands():
        words = command.replace("path/to/engine", str(DISTRIBUTION))
        done = subprocess.run(
            words, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, output), done.stderr
    assert len(commands()) == 5
