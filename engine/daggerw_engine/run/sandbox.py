"""One command in a container: what the runner is told, and what it tells."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daggerw_engine import process
from daggerw_engine.errors import EngineError, ExecError, PathError, StoreError
from daggerw_engine.process import Completed, Hear

NOT_STARTED = 1  # as in Dagger
RUNNER = Path(__file__).with_name("runner.py")


@dataclass(frozen=True)
class Started:
    """A command that the runner was asked to run."""

    command: tuple[str, ...]
    process: asyncio.subprocess.Process
    _told: int

    async def ended(self, stdin: str = "", hear: Hear = lambda stream, chunk: None) -> Completed:
        """Return how the command ended, or why it never began; raises what else `refusal` gives."""
        try:
            done = await process.completed(self.process, stdin, hear)
            match self.refusal():
                case ExecError(exit_code=status, stderr=told):
                    return Completed(status, "", told, told)
                case EngineError() as refused:
                    raise refused
        finally:
            os.close(self._told)
        return done

    async def end(self) -> None:
        """Kill the command, if it still runs, and forget it."""
        await process.kill(self.process)
        os.close(self._told)

    def refusal(self) -> EngineError | None:
        """Return why an ended command was never run; None when it was."""
        told = os.read(self._told, 1 << 16)
        if not told:
            return None
        what, message = json.loads(told)
        match what:
            case "command":
                return ExecError(self.command, NOT_STARTED, "", f"{message}\n")
            case "user":
                return PathError(message)
            case _:
                return StoreError(f"a container can't be made for {' '.join(self.command)!r}: {message}")


async def start(command: Sequence[str], spec: Mapping[str, Any], *, reads: bool = False) -> Started:
    """Start a command as `spec` (see runner.py) says; it ends with us. With `reads`, its stdin is a pipe."""
    reader, writer = os.pipe()
    with open(os.memfd_create("spec"), "w+", errors="surrogateescape") as file:
        json.dump({**spec, "args": list(command), "status": writer}, file)
        file.flush()
        file.seek(0)
        cached = (f"-Xpycache_prefix={sys.pycache_prefix}",) if sys.pycache_prefix else ()
        words = (sys.executable, "-I", "-S", *cached, str(RUNNER), str(file.fileno()), str(os.getpid()))
        try:
            started = await process.start(
                words,
                env={},
                stdin=asyncio.subprocess.PIPE if reads else None,
                pass_fds=(file.fileno(), writer),
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
    return Started(tuple(command), started, reader)
