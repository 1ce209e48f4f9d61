"""Changes as a call's result: shown, confirmed on the terminal, and applied to the current folder."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from engine_fixtures import Command, Run
from engine_process import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
QUESTION = "Apply changes to 1 files? [y/N] "
PATIENCE = 60.0
CHANGED = "source/pyproject.toml"


def answer_prompt(start: Command, example: Path, folder: Path, answer: str) -> tuple[int, str]:
    """Answer the prompt on a terminal that the command controls; return its status and output."""
    command, environment = start("call", "-m", str(example), "change", "--text", "new")
    child, terminal = pty.fork()
    if not child:
        os.chdir(folder)
        os.execvpe(command[0], command, environment)
    shown = b""
    answered = False

    def has_ended() -> bool:
        nonlocal shown, answered
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the terminal's other side is closed
            return True
        if not answered and QUESTION.encode() in shown:
            os.write(terminal, answer.encode())
            answered = True
        return False

    until(has_ended, "the command ends", PATIENCE)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.parametrize(("answer", "applied"), [("y\n", True), ("\n", False)])
def test_changes_are_applied_to_the_current_folder_when_the_user_says_so(
    command: Command, example: Path, tmp_path: Path, answer: str, applied: bool
) -> None:
    status, shown = answer_prompt(command, example, tmp_path, answer)
    assert status == 0, shown
    assert f"~ {CHANGED}" in shown
    assert (tmp_path / CHANGED).exists() == applied


def test_an_interrupted_question_applies_nothing(command: Command, example: Path, tmp_path: Path) -> None:
    status, shown = answer_prompt(command, example, tmp_path, "\x03")
    assert status == 130, shown
    assert not (tmp_path / CHANGED).exists()


def test_changes_are_applied_without_a_prompt_on_request(run: Run, example: Path, tmp_path: Path) -> None:
    done = run("call", "--auto-apply", "-m", str(example), "change", "--text", "new", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / CHANGED).read_text() == "new"


def test_without_a_terminal_nothing_is_applied_and_the_status_says_so(
    command: Command, example: Path, tmp_path: Path
) -> None:
    words, environment = command("call", "-m", str(example), "change", "--text", "new")
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        "Error: the changes are not applied, as there is no terminal for the prompt: add --auto-apply, or "
        "`export --path FOLDER`\nrunbook: engine.failed\n"
    )
    assert not (tmp_path / CHANGED).exists()


def test_there_is_no_prompt_without_changes(run: Run, example: Path, tmp_path: Path) -> None:
    text = (example / CHANGED).read_text()
    done = run("call", "-m", str(example), "change", "--text", text, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("no changes to apply\n")


def test_changes_can_be_read_and_exported_without_a_question(run: Run, example: Path, tmp_path: Path) -> None:
    change = ("call", "-m", str(example), "change", "--text", "new")
    assert run(*change, "modified-paths", cwd=tmp_path).stdout == f"{CHANGED}\n"
    assert run(*change, "export", "--path", "out", cwd=tmp_path).returncode == 0
    assert run(*change, "-o", "saved", cwd=tmp_path).returncode == 0
    assert {folder.name for folder in tmp_path.iterdir()} == {"out", "saved"}
    assert (tmp_path / "saved" / CHANGED).read_text() == (tmp_path / "out" / CHANGED).read_text() == "new"


def test_a_link_in_the_way_of_changes_is_refused(run: Run, example: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/source").symlink_to("../elsewhere")
    done = run("call", "-y", "-m", str(example), "change", "--text", "new", cwd=tmp_path / "in")
    assert done.returncode == 1
    assert "a link stands in its way" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())
