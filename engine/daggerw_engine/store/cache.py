"""Cache folder of the engine, shared by all sessions.

trees/      folders by their content          results/   results of steps by their keys
store/      Buildah's images                  volumes/   cache volumes
sessions/   one locked file and one folder    mounts/    cache mounts of Dockerfiles
            for temporary files a session     uploads/   last states of the host's folders
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from daggerw_engine.errors import CacheInUseError
from daggerw_engine.files.trees import Trees
from daggerw_engine.isolation import cgroups
from daggerw_engine.results import Results
from daggerw_engine.store import pruning
from daggerw_engine.store.buildah import Store
from daggerw_engine.store.layers import Layers
from daggerw_engine.values.mounts import Volume

SESSION = "session-"


@dataclass(frozen=True)
class Cache:
    """Cache, as used by one session."""

    folder: Path
    scratch: Path
    store: Store
    trees: Trees
    results: Results
    layers: Layers

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, bound: int = pruning.BOUND) -> AsyncIterator[Cache]:
        """Open the cache for a session, and remove leftovers of killed sessions.

        At the end, but at most once an hour, prune it to `bound` bytes, if no other session uses it.
        """
        _make_folders(folder)
        async with pruning.in_use(folder), cls._open(folder) as opened:
            yield opened
        if pruning.is_due(folder):
            with suppress(CacheInUseError):
                await prune(folder, bound)

    @classmethod
    @asynccontextmanager
    async def _open(cls, folder: Path) -> AsyncIterator[Cache]:
        with _new_lock(folder / "sessions") as lock:
            scratch = lock.with_suffix("")
            scratch.mkdir(mode=0o700)
            store = Store.at(folder / "store", scratch, scratch.name)
            store.keep_cache_mounts(folder / "mounts")
            trees, results = Trees(folder / "trees", scratch), Results(folder / "results", scratch)
            try:
                opened = cls(folder, scratch, store, trees, results, Layers(folder, scratch, store))
                await opened._sweep()
                yield opened
            finally:
                await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
                lock.unlink()

    async def _sweep(self) -> None:
        """Remove the containers, folders and locks of ended sessions.

        A Dockerfile's containers don't name their session: they are removed when no other session lives.
        Containers are listed before locks are tried, so that the owner of a listed one already held its lock.
        """
        cgroups.sweep()
        containers = self.store.working_containers()
        with ExitStack() as held:
            locks = [lock for lock in self._others() if not _is_taken(lock, held)]
            dead = {lock.stem for lock in locks}
            alive = {lock.stem for lock in self._others()} - dead
            for name, id_ in containers.items():
                owner = name.rpartition("-")[0]
                if owner not in alive and (not alive or owner.startswith(SESSION)):
                    await self.store.remove_abandoned(name, id_)
            for lock in locks:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink()

    def _others(self) -> list[Path]:
        return [lock for lock in self.scratch.parent.glob("*.lock") if lock.stem != self.scratch.name]

    def _try_hold(self, name: str, held: AsyncExitStack) -> bool:
        """Return whether this copy of a volume is free; if so, acquire it."""
        return pruning.try_flock(held.enter_context((self.folder / "volumes" / f"{name}.lock").open("w")))

    @asynccontextmanager
    async def volume(self, volume: Volume) -> AsyncIterator[Path]:
        """Lock a cache volume while the block runs; yields its folder.

        A LOCKED volume has one user at a time; concurrent users of a PRIVATE one have separate copies.
        """
        name = hashlib.sha256(volume.name.encode()).hexdigest()[:32]
        async with AsyncExitStack() as held:
            if volume.sharing == "PRIVATE":
                name = next(each for each in _copies(name) if self._try_hold(each, held))
            elif volume.sharing == "LOCKED":
                await held.enter_async_context(self.results.alone(f"volume-{name}"))
            folder = self.folder / "volumes" / name
            folder.mkdir(exist_ok=True)
            yield folder


async def prune(folder: Path, bound: int) -> int:
    """Remove the least recently used parts until at most `bound` bytes are left; return the freed bytes.

    Raises CacheInUseError when another session uses the cache, as `clear` does.
    """
    with _alone(folder) as store:
        return await pruning.prune(folder, store, bound)


def clear(folder: Path, *, volumes: bool) -> None:
    """Remove everything that can be rebuilt; with `volumes`, the cache volumes, too."""
    _make_folders(folder)
    with pruning.alone(folder):
        pruning.clear(folder, volumes=volumes)
    _make_folders(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[Store]:
    _make_folders(folder)
    with pruning.alone(folder), tempfile.TemporaryDirectory(dir=folder / "sessions") as scratch:
        yield Store.at(folder / "store", Path(scratch), "pruning")


def _copies(name: str) -> Iterator[str]:
    return (f"{name}-{number}" for number in count())


def _make_folders(folder: Path) -> None:
    for name in ("trees", "results", "store", "layers", "empty", "volumes", "sessions", "mounts", "uploads"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # its content may be secret, and runs as root


@contextmanager
def _new_lock(sessions: Path) -> Iterator[Path]:
    """Hold a new lock file while the block runs."""
    while True:
        path = sessions / f"{SESSION}{os.getpid()}-{os.urandom(4).hex()}.lock"
        with path.open("w") as file:
            # A sweep between these lines takes it for a dead session's.
            if pruning.try_flock(file) and path.exists():
                yield path
                return


def _is_taken(lock: Path, held: ExitStack) -> bool:
    """Return whether a live session holds the lock; if not, acquire it."""
    try:
        return not pruning.try_flock(held.enter_context(lock.open()))
    except FileNotFoundError:  # the session ended and cleaned up
        return True
