"""The one folder that the engine keeps everything in, shared by all sessions.

trees/      folders by their content          results/   what steps gave, by their keys
store/      Buildah's images                  volumes/   cache volumes
sessions/   one locked file and one folder    tmp/       Buildah's temporary files and the
            for temporary files a session                cache mounts of Dockerfiles
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StoreError
from engine.results import Results
from engine.store import Store
from engine.trees import Trees


@dataclass(frozen=True)
class Cache:
    """The cache as one session sees it."""

    folder: Path
    scratch: Path
    store: Store
    trees: Trees
    results: Results

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Cache]:
        """Open the cache for a session; what killed sessions left behind is removed."""
        try:
            for name in ("trees", "results", "store", "volumes", "sessions", "tmp"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as refused:
            raise StoreError(f"cache folder {folder}: {refused.strerror}") from refused
        name = f"session-{os.getpid()}-{os.urandom(4).hex()}"
        scratch = folder / "sessions" / name
        lock = scratch.with_suffix(".lock")
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            scratch.mkdir(mode=0o700)
            store = Store.at(folder / "store", folder / "tmp", name)
            opened = cls(
                folder, scratch, store, Trees(folder / "trees", scratch), Results(folder / "results")
            )
            try:
                await opened._sweep()
                yield opened
            finally:
                await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
                lock.unlink()

    async def _sweep(self) -> None:
        for lock in (self.folder / "sessions").glob("*.lock"):
            if lock.stem == self.scratch.name or not _abandoned(lock):
                continue
            for name in await self.store.working_containers():
                if name.startswith(f"{lock.stem}-"):
                    await self.store.remove(name)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)

    def volume(self, key: str) -> Path:
        """Return the folder of the cache volume with this key."""
        folder = self.folder / "volumes" / hashlib.sha256(key.encode()).hexdigest()[:32]
        folder.mkdir(exist_ok=True)
        return folder


def _abandoned(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True
