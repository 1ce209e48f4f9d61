"""One line a step, on stderr: live on a terminal, plain when piped; secrets never."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

from daggerw_engine.scrub import Scrubber

Mode = Literal["auto", "plain", "quiet", "silent"]
COLOURS = {"done": 32, "cached": 36, "failed": 31, "running": 33}  # ECMA-48, "select graphic rendition"
MOST_RUNNING = 8
TICK_SECONDS = 0.2
WIDTH = 160  # of what is no terminal


class Step:
    """A step; whoever runs it may say how it went."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = "running"
        self._started = time.monotonic()

    def cached(self) -> None:
        """Say that nothing had to run."""
        self.state = "cached"

    def failed(self) -> None:
        """Say that it failed, though the block goes on."""
        self.state = "failed"

    def __str__(self) -> str:
        return f"{self.state:<7} {time.monotonic() - self._started:6.1f}s  {self.name}"


class Progress:
    """Prints each step when it ends and, on a terminal, what runs: that goes away again."""

    def __init__(self, stream: TextIO = sys.stderr, mode: Mode = "auto") -> None:
        self.scrub = Scrubber()
        self._stream, self._mode = stream, mode
        self._live = mode in {"auto", "quiet"} and stream.isatty()
        self._running: list[Step] = []
        self._drawn = 0
        self._lock, self._busy = threading.Lock(), threading.Event()
        self._ticker: threading.Thread | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show a step named `name` while the block runs; its state and seconds afterwards."""
        step = Step(" ".join(name.split()))
        self._begin(step)
        try:
            yield step
        except BaseException:
            step.failed()
            raise
        finally:
            self._end(step)

    def note(self, text: str) -> None:
        """Print one line that is no step."""
        if self._mode != "silent":
            self.show(self._line(text) + "\n")

    def show(self, text: str) -> None:
        """Print what somebody else wrote, as it is but for secrets; it ends with a line."""
        with self._lock:
            self._clear()
            self._stream.write(self.scrub(text))
            self._draw()

    def _begin(self, step: Step) -> None:
        self._running.append(step)
        if self._live and not self._ticker:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()
        self._busy.set()

    def _end(self, step: Step) -> None:
        if step.state == "running":
            step.state = "done"
        self._running.remove(step)
        if not self._running:
            self._busy.clear()
        self.show(f"{self._line(str(step))}\n" if self._mode in {"auto", "plain"} else "")

    def _tick(self) -> None:
        while self._busy.wait():
            self.show("")
            time.sleep(TICK_SECONDS)

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        steps = self._running[:] if self._live else []
        lines = [self._line(str(step)) for step in steps[:MOST_RUNNING]]
        if len(steps) > MOST_RUNNING:
            lines.append(f"… and {len(steps) - MOST_RUNNING} more")
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)

    def _line(self, text: str) -> str:
        """Return the text without secrets, cut to the terminal's width, its state in colour."""
        width = _width(self._stream)
        text = self.scrub(text)
        text = text if len(text) <= width else text[: width - 1] + "…"
        state, space, rest = text.partition(" ")
        if not self._live or state not in COLOURS:
            return text
        return f"\x1b[{COLOURS[state]}m{state}\x1b[0m{space}{rest}"


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except OSError:
        return WIDTH
