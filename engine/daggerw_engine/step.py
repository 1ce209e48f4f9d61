"""Step that a person sees: its state, its seconds, and what its command has said so far."""

from __future__ import annotations

import time
from typing import Literal

State = Literal["queued", "running", "done", "cached", "failed", "stopped"]
MOST_KEPT = 200_000  # characters of a running command's output
NAME_WIDTH = 60  # of a step that is shown with a line of its output
STDERR = 2


class Step:
    """A step, with how it went and what its command says."""

    def __init__(self, name: str, state: State = "running") -> None:
        self.name = name
        self.state: State = state
        self._since = time.monotonic()
        self._said = ""
        self._lines: dict[int, str] = {}
        self._parts: dict[int, str] = {}

    def mark_running(self) -> None:
        """Say that it isn't queued any more."""
        self.state, self._since = "running", time.monotonic()

    def mark_cached(self) -> None:
        """Say that nothing had to run."""
        self.state = "cached"

    def mark_failed(self) -> None:
        """Say that it failed, though the block goes on."""
        self.state = "failed"

    def mark_stopped(self) -> None:
        """Say that it was ended before its time."""
        self.state = "stopped"

    def hear(self, stream: int, chunk: bytes) -> None:
        """Take what its command writes to standard output (1) or standard error (2)."""
        text = chunk.decode(errors="replace")
        self._said += text
        if len(self._said) > MOST_KEPT:
            self._said = self._said[-MOST_KEPT:].partition("\n")[2]
        whole, _, self._parts[stream] = (self._parts.get(stream, "") + text).rpartition("\n")
        lines = [line.strip() for line in whole.splitlines() if line.strip()]
        if lines:
            self._lines[stream] = lines[-1]

    @property
    def output(self) -> str:
        """Output of its command so far, the end of it when that is long."""
        return self._said

    @property
    def last_line(self) -> str:
        """The last line said: of standard error, which is written for people, if there is one."""
        return self._lines.get(STDERR) or next(iter(self._lines.values()), "")

    def __str__(self) -> str:
        name = self.name
        if self.state == "running" and self.last_line:
            short = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"
            name = f"{short}: {self.last_line}"
        return f"{self.state:<7} {time.monotonic() - self._since:6.1f}s  {name}"
