"""Progress on stderr: one line a step, live on a terminal, plain in a pipe, without secrets."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

from daggerw_engine.scrub import Scrubber
from daggerw_engine.step import State, Step

Mode = Literal["auto", "plain", "quiet", "silent"]
# ECMA-48, "select graphic rendition"
COLOURS = {"done": 32, "cached": 36, "failed": 31, "stopped": 31, "running": 33, "queued": 90}
MOST_RUNNING = 8
TICK_SECONDS = 0.2
REPORT_SECONDS = 4.0  # between lines about running steps, without a terminal
WIDTH = 160  # without a terminal


class Progress:
    """Display of each step when it ends, and of running steps.

    On a terminal the running steps are redrawn; elsewhere a step whose command prints something new has a
    line every REPORT_SECONDS.
    """

    def __init__(self, stream: TextIO = sys.stderr, mode: Mode = "auto") -> None:
        self.scrub = Scrubber()
        self._stream, self._mode = stream, mode
        self._live = mode in {"auto", "quiet"} and stream.isatty()
        self._running: list[Step] = []
        self._told: dict[Step, str] = {}
        self._drawn = 0
        self._lock, self._busy = threading.Lock(), threading.Event()
        self._ticker: threading.Thread | None = None

    @contextmanager
    def step(self, name: str, state: State = "running") -> Iterator[Step]:
        """Show a step named `name` while the block runs; afterwards its state and seconds.

        The output of a stopped step's command follows.
        """
        step = Step(" ".join(name.split()), state)
        self._begin(step)
        try:
            yield step
        except (asyncio.CancelledError, KeyboardInterrupt):
            step.mark_stopped()
            raise
        except BaseException:
            step.mark_failed()
            raise
        finally:
            self._end(step)

    def note(self, text: str) -> None:
        """Print one line that is not a step."""
        if self._mode != "silent":
            self.show(self._line(text) + "\n")

    def show(self, text: str) -> None:
        """Print another program's complete lines, without secrets."""
        with self._lock:
            self._clear()
            self._stream.write(self.scrub(text))
            self._draw()

    def _begin(self, step: Step) -> None:
        self._running.append(step)
        if self._mode in {"auto", "plain"} or self._live:
            self._busy.set()
            if not self._ticker:
                self._ticker = threading.Thread(target=self._tick, daemon=True)
                self._ticker.start()

    def _end(self, step: Step) -> None:
        if step.state in {"queued", "running"}:
            step.state = "done"
        self._running.remove(step)
        self._told.pop(step, None)
        if not self._running:
            self._busy.clear()
        self.show(f"{self._line(str(step))}\n" if self._mode in {"auto", "plain"} else "")
        if step.state == "stopped" and step.output and self._mode != "silent":
            self.show(f"{step.output.rstrip()}\n")

    def _tick(self) -> None:
        while self._busy.wait():
            time.sleep(TICK_SECONDS if self._live else REPORT_SECONDS)
            self.show("" if self._live else "".join(map(self._news_line, self._running[:])))

    def _news_line(self, step: Step) -> str:
        """Return a line about a running step, if its command has new output."""
        if step.last_line == self._told.get(step, ""):
            return ""
        self._told[step] = step.last_line
        return f"{self._line(str(step))}\n"

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
        """Return the text without secrets, cut to the terminal's width, with a coloured state."""
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
