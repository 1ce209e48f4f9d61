"""In-memory files for data that must not reach a disk: secrets, and specifications with secrets.

They are in a file system in memory that exists only in the engine's mount namespace.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from daggerw_engine.errors import StoreError
from daggerw_engine.process import run


class Memory:
    """Folders in memory, below a file system that is mounted at first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounting = asyncio.Lock()
        self._mounted = False

    @asynccontextmanager
    async def new_folder(self) -> AsyncIterator[Path]:
        """Yield a new folder, removed at the end."""
        async with self._mounting:
            if not self._mounted:
                await self._mount()
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    async def _mount(self) -> None:
        self._folder.mkdir(exist_ok=True)
        words = ("mount", "-t", "tmpfs", "-o", "mode=700,nosuid,nodev,noexec", "tmpfs", str(self._folder))
        done = await run(words)
        if done.status:
            raise StoreError(f"no file system in memory could be mounted: {' '.join(done.stderr.split())}")
        self._mounted = True

    async def close(self) -> None:
        """Remove all folders."""
        if self._mounted:
            await run(("umount", "--lazy", str(self._folder)))
            self._mounted = False
