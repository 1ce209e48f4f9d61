"""Progress display: on a terminal, in a pipe, quietly, without secrets."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import termios
import threading

import pytest

from daggerw_engine import progress as progress_module
from daggerw_engine import step as step_module
from daggerw_engine.progress import Mode, Progress


class Terminal(io.StringIO):
    """Terminal that records its input and signals each redraw."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.drawn.set()


def screen(written: str) -> list[str]:
    """Return the visible lines of a terminal that supports "up N lines" and "clear to the end"."""
    lines = [""]
    for text, up in re.findall(r"([^\x1b\n]+|\n)|\x1b\[(\d+)F\x1b\[J", re.sub(r"\x1b\[\d+m", "", written)):
        if up:
            lines = [*lines[: -1 - int(up)], ""]
        elif text == "\n":
            lines.append("")
        else:
            lines[-1] += text
    return lines[:-1]


def shown(line: str) -> str:
    return re.sub(r"\d+\.\d", "0.0", line)


def test_through_a_pipe_each_step_is_one_line_when_it_ends() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.step("upload  a\n folder"):
        assert stream.getvalue() == ""
    with progress.step("exec make") as step:
        step.mark_cached()
    assert [shown(line) for line in stream.getvalue().splitlines()] == [
        "done       0.0s  upload a folder",
        "cached     0.0s  exec make",
    ]


def test_a_step_whose_block_raises_has_failed() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="no"), Progress(stream).step("exec make"):
        raise ValueError("no")
    assert stream.getvalue().startswith("failed ")


def test_on_a_terminal_what_runs_is_below_what_is_done_and_goes_away() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    with progress.step("outer"):
        with progress.step("inner"):
            pass
        assert [shown(line) for line in screen(terminal.getvalue())] == [
            "done       0.0s  inner",
            "running    0.0s  outer",
        ]
    assert [shown(line) for line in screen(terminal.getvalue())] == [
        "done       0.0s  inner",
        "done       0.0s  outer",
    ]


def test_on_a_terminal_the_seconds_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "TICK_SECONDS", 0.01)
    terminal = Terminal()
    with Progress(terminal).step("exec sleep"):
        for _ in range(3):
            terminal.drawn.clear()
            assert terminal.drawn.wait(60)
    assert len(screen(terminal.getvalue())) == 1


def test_many_running_steps_are_counted() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    steps = [progress.step(f"exec {number}") for number in range(10)]
    for step in steps:
        step.__enter__()
    progress.note("a note")
    assert screen(terminal.getvalue())[-1] == "… and 2 more"
    for step in steps:
        step.__exit__(None, None, None)
    assert len(screen(terminal.getvalue())) == 11


@pytest.mark.parametrize(("mode", "left"), [("quiet", ["a note"]), ("silent", [])])
def test_fewer_lines_are_left_on_request(mode: Mode, left: list[str]) -> None:
    for stream in (io.StringIO(), Terminal()):
        progress = Progress(stream, mode)
        with progress.step("exec make"):
            progress.note("a note")
        assert screen(stream.getvalue()) == left


def test_what_the_module_prints_is_left_as_it_is_in_every_mode() -> None:
    stream = io.StringIO()
    Progress(stream, "silent").show("printed\n")
    assert stream.getvalue() == "printed\n"


def test_a_long_line_is_cut() -> None:
    stream = io.StringIO()
    Progress(stream).note("x" * 200)
    assert stream.getvalue() == "x" * 159 + "…\n"


def test_a_line_never_wraps_on_a_terminal() -> None:
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 20))
    with os.fdopen(child, "w") as terminal:
        Progress(terminal).note("x" * 200)
    assert os.read(parent, 1000) == f"{'x' * 19}…\r\n".encode()
    os.close(parent)


def test_secrets_are_never_shown() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.scrub.hide("hunter2\n")
    with progress.step("exec login hunter2"):
        progress.note("for hunter2")
        progress.show("printed hunter2\n")
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("***") == 3


def test_a_step_that_waits_for_its_turn_is_queued_and_its_seconds_begin_with_it() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    with progress.step("exec make", "queued") as step:
        progress.note("a note")
        assert screen(terminal.getvalue())[-1].startswith("queued ")
        step.mark_running()
        progress.note("a note")
        assert shown(screen(terminal.getvalue())[-1]) == "running    0.0s  exec make"
    assert shown(screen(terminal.getvalue())[-1]) == "done       0.0s  exec make"


def test_on_a_terminal_a_running_step_shows_the_last_whole_line_of_its_command() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    with progress.step("exec pytest") as step:
        step.hear(1, b"collected\n....")
        progress.note("a note")
        assert shown(screen(terminal.getvalue())[-1]) == "running    0.0s  exec pytest: collected"
        step.hear(2, b"4/9, 0 failed\n")
        step.hear(1, b"... [ 50%]\n")
        progress.note("a note")
        assert shown(screen(terminal.getvalue())[-1]) == "running    0.0s  exec pytest: 4/9, 0 failed"
    assert shown(screen(terminal.getvalue())[-1]) == "done       0.0s  exec pytest"


class Pipe(io.StringIO):
    """Pipe that signals each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if text:
            self.written.set()
        return written


def test_through_a_pipe_a_running_step_has_a_line_whenever_its_command_says_something_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress_module, "REPORT_SECONDS", 0.01)
    pipe = Pipe()
    with Progress(pipe).step("exec pytest") as step:
        for line in ("1/9, 0 failed", "2/9, 1 failed"):
            pipe.written.clear()
            step.hear(2, f"{line}\n".encode())
            assert pipe.written.wait(60)
    assert [shown(line) for line in pipe.getvalue().splitlines()] == [
        "running    0.0s  exec pytest: 1/9, 0 failed",
        "running    0.0s  exec pytest: 2/9, 1 failed",
        "done       0.0s  exec pytest",
    ]


def test_what_a_stopped_command_has_said_so_far_follows_its_step_without_secrets() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.scrub.hide("hunter2")

    def run() -> None:
        with progress.step("exec pytest") as step:
            step.hear(1, b"collected hunter2\n....F")
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run()
    assert [shown(line) for line in stream.getvalue().splitlines()] == [
        "stopped    0.0s  exec pytest",
        "collected ***",
        "....F",
    ]


def test_of_a_long_output_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "MOST_KEPT", 10)
    step = step_module.Step("exec yes")
    for number in range(9):
        step.hear(1, f"line {number}\n".encode())
    assert step.output == "line 8\n"
