"""A program that uses `dagger.connection()` runs on the wrapper as on Dagger's own command line."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("example_program.py")


@pytest.fixture
def environment(engine_home: Path) -> dict[str, str]:
    """Return an environment in which the wrapper finds its Python packages installed: those of the tests."""
    requirements = hashlib.sha256((ROOT / "ci/requirements.txt").read_bytes()).hexdigest()
    python = engine_home / f"daggerw/environments/{requirements[:16]}/bin/python"
    if not python.exists():
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(engine_home),
        "XDG_CACHE_HOME": str(engine_home),
        "DAGGERW_ENGINE": "embedded",
        "_EXPERIMENTAL_DAGGER_CLI_BIN": str(ROOT / "daggerw"),
    }


def run(environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    command = [sys.executable, str(PROGRAM), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_program_of_the_users_own_runs_on_the_wrapper(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("1\n")
    (tmp_path / "two.txt").write_text("1\n2\n")
    (tmp_path / "other").write_text("not counted\n")
    ran = run(environment, tmp_path)
    assert ran.stdout.split() == ["1", "one.txt", "2", "two.txt", "3", "total"], ran.stderr
    assert (tmp_path / "lines").read_text() == ran.stdout


def test_a_program_sees_why_a_command_failed(environment: dict[str, str], tmp_path: Path) -> None:
    ran = run(environment, tmp_path)
    assert ran.returncode == 1
    assert "wc: '*.txt': No such file or directory" in ran.stderr
