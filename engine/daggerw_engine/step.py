"""Displayed step: its state, its seconds, and its command's output so far."""

from __future__ import annotations

import time
from typing import Literal

State = Literal["queued", "running", "done", "cached", "failed", "stopped"]
MOST_KEPT = 200_000  # characters of a running command's output
NAME_WIDTH = 60  # of a step that is displayed with a line of its output
STDERR = 2


class Step:
    """Step with its state and its command's output."""

    def __init__(self, name: str, state: State = "running") -> None:
        self.name = name
        self.state: State = state
        self._since = time.monotonic()
        self._said = ""
        self._lines: dict[int, str] = {}
        self._parts: dict[int, str] = {}

    def mark_running(self) -> None:
        """Set the state to running, and restart the clock."""
        self.state, self._since = "running", time.monotonic()

    def mark_cached(self) -> None:
        """Set the state to cached: nothing had to run."""
        self.state = "cached"

    def mark_failed(self) -> None:
        """Set the state to failed, although the block continues."""
        self.state = "failed"

    def mark_stopped(self) -> None:
        """Set the state to stopped: it was cancelled."""
        self.state = "stopped"

    def hear(self, stream: int, chunk: bytes) -> None:
        """Add output of its command, on standard output (1) or standard error (2)."""
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
        """Output of its command so far, or the end of a long output."""
        return self._said

    @property
    def last_line(self) -> str:
        """Last line of standard error, which is meant for users, else of standard output."""
        return self._lines.get(STDERR) or next(iter(self._lines.values()), "")

    def __str__(self) -> str:
        name = self.name
        if self.state == "running" and self.last_line:
            short = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"
            name = f"{short}: {self.last_line}"
        return f"{self.state:<7} {time.monotonic() - self._since:6.1f}s  {name}"
