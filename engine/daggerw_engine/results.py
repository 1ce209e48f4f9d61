"""Results of steps by key, with one lock a key."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

FIRST_POLL, LAST_POLL = 0.002, 0.1  # seconds: most steps are short, and long ones can wait


@dataclass(frozen=True)
class Results:
    """Results below `folder`, a file each; sessions may read and write at the same time.

    `scratch` is the session's folder, on the same file system.
    """

    folder: Path
    scratch: Path

    def get(self, key: str) -> dict[str, object] | None:
        """Return the result of `key`, and mark it as used now; None unless it is complete."""
        path = self.folder / f"{key}.json"
        try:
            found: dict[str, object] = json.loads(path.read_bytes())
            os.utime(path)
        except (FileNotFoundError, ValueError):
            return None
        return found

    def put(self, key: str, result: dict[str, object]) -> None:
        """Store a result under `key`, atomically."""
        with tempfile.NamedTemporaryFile("w", dir=self.scratch, delete=False) as file:
            json.dump(result, file)
        os.replace(file.name, self.folder / f"{key}.json")

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """Lock `key` against other sessions and other steps of this one while the block runs.

        The kernel releases the lock when the process dies. The wait is a poll, as a thread that waits in the
        kernel can't be cancelled with its step.
        """
        poll = FIRST_POLL
        with (self.folder / f"{key}.lock").open("w") as file:
            while not _try_lock(file.fileno()):
                await asyncio.sleep(poll)
                poll = min(2 * poll, LAST_POLL)
            yield


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
