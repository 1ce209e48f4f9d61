"""What steps gave, by the key over all that went in; and who may work on a key at a time."""

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

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Results:
    """Results below `folder`, one file each; other sessions may read and write at the same time.

    `scratch` is the session's own folder, on the same file system.
    """

    folder: Path
    scratch: Path

    def get(self, key: str) -> dict[str, object] | None:
        """Return what is kept under `key`; None when nothing is, or it isn't whole."""
        try:
            found: dict[str, object] = json.loads((self.folder / f"{key}.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        os.utime(self.folder / f"{key}.json")
        return found

    def put(self, key: str, result: dict[str, object]) -> None:
        """Keep a result under `key`; it is there whole or not at all."""
        with tempfile.NamedTemporaryFile("w", dir=self.scratch, delete=False) as file:
            json.dump(result, file)
        os.replace(file.name, self.folder / f"{key}.json")

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """Hold `key` against every other session (and other steps of this one) while the block runs."""
        with (self.folder / f"{key}.lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(POLL_SECONDS)
            yield
