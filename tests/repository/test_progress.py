"""Progress of a test run on standard error, as the pipeline starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TESTS = """
import os


def test_passes():
    os.write(2, b"captured")


def test_fails():
    assert not os.getpid()
"""


def run(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run two tests with the plugin that tests/conftest.py loads."""
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_addoption, pytest_configure\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "/dev/null",
        f"--rootdir={tmp_path}",
        *options,
        "test_some.py",
    ]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("processes", [[], ["--numprocesses=2"]], ids=["one process", "several"])
def test_a_run_says_how_many_tests_have_ended_and_failed_and_leaves_its_report_alone(
    tmp_path: Path, processes: list[str]
) -> None:
    done = run(tmp_path, "--progress", *processes)
    assert done.stderr.splitlines()[-1] == "2/2, 1 failed"
    assert "1 failed, 1 passed" in done.stdout
    assert "2/2, " not in done.stdout
    assert run(tmp_path, *processes).stderr == ""
