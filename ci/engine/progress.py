"""One line a step, on stderr: live on a terminal, plain when piped."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

from engine.scrub import Scrubber

Mode = Literal["auto", "plain", "silent"]


class Step:
    """A running step; whoever runs it may mark it as found in the cache."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = "done"
        self.started = time.monotonic()

    def cached(self) -> None:
        """Say that nothing had to run."""
        self.state = "cached"

    def failed(self) -> None:
        """Say that it failed, though the block goes on."""
        self.state = "failed"

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started


class Progress:
    """Prints each step when it ends and, on a terminal, which ones are running."""

    def __init__(self, stream: TextIO = sys.stderr, mode: Mode = "auto") -> None:
        self._stream = stream
        self._silent = mode == "silent"
        self._live = mode == "auto" and stream.isatty()
        self._running: list[Step] = []
        self.scrub = Scrubber()

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show a step named `name` while the block runs; its state and seconds afterwards."""
        step = Step(" ".join(name.split()))
        self._running.append(step)
        self._show_running()
        try:
            yield step
        except BaseException:
            step.state = "failed"
            raise
        finally:
            self._running.remove(step)
            self._line(f"{step.state:<7} {step.seconds:6.1f}s  {step.name}")

    def note(self, text: str) -> None:
        """Print one line that is no step."""
        self._line(text)

    def _line(self, text: str) -> None:
        if self._silent:
            return
        width = shutil.get_terminal_size((160, 24)).columns
        text = self.scrub(text)
        clear = "\r\x1b[2K" if self._live else ""
        shown = text if len(text) <= width else text[: width - 1] + "…"
        print(f"{clear}{shown}", file=self._stream, flush=True)
        self._show_running()

    def _show_running(self) -> None:
        if not self._live or self._silent or not self._running:
            return
        names = " | ".join(step.name for step in self._running)
        width = shutil.get_terminal_size((160, 24)).columns
        print(f"\r\x1b[2K… {names}"[: width + 5], end="", file=self._stream, flush=True)
