"""Command line as a process: its output and its exit status."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine_fixtures import Command, Run
from engine_process import PATIENCE, children

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")


@pytest.mark.parametrize("words", [["--help"], []])
def test_help_is_the_answer_to_no_command(words: list[str], run: Run) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "USAGE\n  daggerw [options] <command>\n" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["call", "greet", "-h"],
        ["help", "call", "greet"],
    ],
)
def test_help_may_stand_anywhere(words: list[str], run: Run) -> None:
    assert "USAGE\n  daggerw call greet [arguments]\n" in run(*words).stdout


def test_call_without_a_function_shows_what_can_be_called(run: Run) -> None:
    assert "\nFUNCTIONS\n" in run("call").stdout


def test_version_is_that_of_the_api(run: Run) -> None:
    assert run("version").stdout == "daggerw v0.21.8 (embedded engine)\n"


def test_functions_follows_a_chain(run: Run) -> None:
    assert run("functions", "plan").stdout == "Name    Description\nshout   The title, loudly.\ntitle   -\n"


def test_another_folders_module_is_named_with_mod(run: Run, example: Path, tmp_path: Path) -> None:
    assert "greet " in run("functions", "-m", str(example), cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "cal",
            "Error: unknown command 'cal' for 'daggerw'; did you mean call or cache?\n"
            "Run 'daggerw --help' for usage.\n",
        ),
        (
            "call greet --nam x",
            "Error: unknown flag: --nam; did you mean --name?\nRun 'daggerw call greet --help' for usage.\n",
        ),
        (
            "call words --progress dots",
            "Error: --progress: expected auto or plain, not 'dots'\n"
            "Run 'daggerw call words --help' for usage.\n",
        ),
        (
            "call plan -o out",
            "Error: --output: a Step can't be saved\nRun 'daggerw call plan --help' for usage.\n",
        ),
        (
            "query",
            "Error: command 'query' isn't offered by the embedded engine; "
            "the Dagger engine has it (DAGGERW_ENGINE=dagger)\nrunbook: engine.not_supported\n",
        ),
    ],
)
def test_wrong_usage_ends_with_one_and_a_hint(words: str, message: str, run: Run) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("call --greeting hi greet --name you --speed fast --loud", "HI YOU FAST\n"),
        ("call total --numbers 1,2", "3\n"),
        ("call twice words --json", '[\n    "hellohello",\n    "world"\n]\n'),
        ("call plan shout", "BUILD\nPUSH\n"),
        ("call nothing", ""),
        ("call sources entries", "source/\n"),
        ("call sources with-new-file --path new --contents text file --path new contents", "text\n"),
    ],
)
def test_a_result_is_all_that_stands_on_stdout(words: str, printed: str, run: Run) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_a_result_of_the_same_source_and_arguments_is_kept(run: Run) -> None:
    name = uuid.uuid4().hex  # what an earlier run of these tests kept isn't taken
    first, again = (run("call", "greet", "--name", name) for _ in range(2))
    assert "printed by the module\n" in first.stderr
    assert again.stdout == first.stdout
    assert again.stderr.startswith("cached ")
    assert "printed by the module\n" not in again.stderr
    assert "printed by the module\n" in run("call", "greet", "--name", f"another {name}").stderr


def test_an_object_is_printed_as_its_type_and_a_digest(run: Run) -> None:
    kind, _, digest = run("call", "sources").stdout.partition("@sha256:")
    assert (kind, len(digest.strip())) == ("Directory", 64)


def test_a_secret_is_read_from_the_callers_environment(run: Run) -> None:
    assert run("call", "e2e", "--token", "env:TOKEN", TOKEN="hunter2").stdout == "hunter2\n"


def test_output_saves_a_folder(run: Run, example: Path, tmp_path: Path) -> None:
    done = run("call", "-m", str(example), "sources", "-o", "out", cwd=tmp_path)
    assert f'Saved to "{tmp_path}/out".' in done.stderr
    assert (tmp_path / "out/source/example.py").read_bytes() == (example / "source/example.py").read_bytes()


def test_output_saves_a_text(run: Run, example: Path, tmp_path: Path) -> None:
    run("call", "-m", str(example), "words", "-o", "new/words", cwd=tmp_path)
    assert (tmp_path / "new/words").read_text() == "hello\nworld\n"


def test_an_exception_is_one_line_and_its_traceback_only_shows_on_request(run: Run) -> None:
    done = run("call", "explode")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: FunctionError: the tank is empty\n")
    assert "line" in run("call", "explode", "-v").stderr


def test_the_end_of_a_module_is_reported(run: Run) -> None:
    done = run("call", "vanish")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: module: its process ended with status 3 before it answered\nrunbook: engine.module\n"
    )


@contextmanager
def start_waiting_call(command: Command, example: Path) -> Iterator[subprocess.Popen[str]]:
    """Command a call that never ends, and wait until it is inside the module's function."""
    words, environment = command("call", "wait")
    with subprocess.Popen(
        words, cwd=example, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "waiting\n" in iter(process.stderr.readline, "")
        yield process


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [(signal.SIGINT, 130, "Canceled.\n"), (signal.SIGTERM, 143, "Terminated.\n"), (signal.SIGKILL, -9, "")],
)
def test_a_signal_ends_everything_with_one_line(
    sent: signal.Signals, status: int, message: str, command: Command, example: Path
) -> None:
    with start_waiting_call(command, example) as process:
        below = children(process.pid)
        assert below
        ends = [os.pidfd_open(pid) for pid in below]
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (status, message)
    for end in ends:
        assert select.select([end], [], [], PATIENCE)[0], "a process is left"
        os.close(end)


def test_a_reader_that_goes_away_is_no_error(command: Command, example: Path) -> None:
    words, environment = command("call", "words", "--silent")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        words,
        cwd=example,
        env=environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
