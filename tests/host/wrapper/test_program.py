"""A program that uses `dagger.connection()` runs on the wrapper as on Dagger's own command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("example_program.py")


def run(wrapper_environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    command = [sys.executable, str(PROGRAM), str(folder)]
    return subprocess.run(
        command, env=wrapper_environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_program_of_the_users_own_runs_on_the_wrapper(
    wrapper_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("1\n")
    (tmp_path / "two.txt").write_text("1\n2\n")
    (tmp_path / "other").write_text("not counted\n")
    ran = run(wrapper_environment, tmp_path)
    assert ran.stdout.split() == ["1", "one.txt", "2", "two.txt", "3", "total"], ran.stderr
    assert (tmp_path / "lines").read_text() == ran.stdout


def test_a_program_sees_why_a_command_failed(wrapper_environment: dict[str, str], tmp_path: Path) -> None:
    ran = run(wrapper_environment, tmp_path)
    assert ran.returncode == 1
    assert "wc: '*.txt': No such file or directory" in ran.stderr
