"""File system and mounts of a container, for one command, with the command's changes to them.

The engine mounts everything, outside of the container, before the command runs, and unmounts it after its
last process is dead. Only crun, with the container's view, enters
cache volumes, which others may be changing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from daggerw_engine.files.changes import owner_ids
from daggerw_engine.files.copying import copy_entry
from daggerw_engine.files.listing import ROOT, Owner
from daggerw_engine.files.trees import Place
from daggerw_engine.isolation.mount_points import MountPoints
from daggerw_engine.isolation.specification import Mounted
from daggerw_engine.run.forwarding import forward_connections
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.layers import Upper
from daggerw_engine.values.container import ContainerState
from daggerw_engine.values.mounts import Mount, SecretFile, Socket, Temporary, Volume

SYSTEM = ("/dev", "/proc", "/sys")  # mounted by crun, which makes the mount points in them


@dataclass
class Mounts:
    """Mounts of one container; the changes of folders are separate from their trees.

    `upper` is the step's folder, `memory` its folder for data that must not reach a disk.
    """

    _cache: Cache
    upper: Upper
    _memory: Path
    entries: list[Mounted] = field(default_factory=list)
    # Mount points by path, the last on top; None when crun creates those below it.
    _below: list[tuple[str, MountPoints | None]] = field(default_factory=list)
    _kept: list[tuple[Place, Upper | Path]] = field(default_factory=list)

    @asynccontextmanager
    async def mount_all(self, state: ContainerState, texts: Mapping[str, str]) -> AsyncIterator[Path]:
        """Mount everything, and files with these texts, while the block runs; yields the root.

        Created mount points are removed at the end. Cache volumes are locked until then.
        """
        layers = self._cache.layers
        async with AsyncExitStack() as stack:
            root = await stack.enter_async_context(layers.mount_layers(layers.lower(state), self.upper))
            points = MountPoints(root, self.upper.changed)
            for path in SYSTEM:
                points.make(path, folder=True)
            self._below = [("/", points), *((path, None) for path in SYSTEM)]
            for path, text in texts.items():
                self._add_text(path, text, 0o644, ROOT)
            for number, mount in enumerate(state.mounts):
                owner = owner_ids(root, mount.owner) if mount.owner else None
                await self._prepare(mount, owner, self.upper.folder / f"mount{number}", stack)
            yield root
        for _, made in self._below:
            if made:
                made.remove()

    async def _prepare(self, mount: Mount, owner: Owner | None, folder: Path, stack: AsyncExitStack) -> None:
        path, fixed = mount.path, mount.read_only
        match mount.source:
            case SecretFile(secret, mode):
                self._add_text(path, secret.text, mode, owner or ROOT)
            case Temporary(size):
                self.add(Mounted(path, None, fixed, [f"size={size}"] if size else []))
            case Socket(host):
                listening = _listen(self._memory, name := f"file{len(self.entries)}", owner or ROOT)
                connect = partial(asyncio.open_unix_connection, host)
                await stack.enter_async_context(forward_connections(listening, connect))
                self.add(Mounted(path, self._memory / name))
            case Volume() as volume:
                source = await stack.enter_async_context(self._cache.volume(volume))
                if owner:
                    os.chown(source, *owner)  # others may be changing its content
                self.add(Mounted(path, source, fixed))
            case Place() as place if place.on_disk.is_dir():
                upper = Upper.below(folder)
                merged = await stack.enter_async_context(self._merge(place, upper))
                _set_owner(merged, owner)
                if mount.is_kept:
                    self._kept.append((place, upper))
                self.add(Mounted(path, merged, fixed), MountPoints(merged, upper.changed))
            case Place() as place:
                copied = folder / place.on_disk.name
                copy_entry(place.on_disk, copied, owner)
                if mount.is_kept:
                    self._kept.append((place, copied))
                self.add(Mounted(path, copied, fixed))

    @asynccontextmanager
    async def _merge(self, place: Place, upper: Upper) -> AsyncIterator[Path]:
        """Mount a tree's folder, with changes in `upper`, while the block runs."""
        lower = upper.folder / "lower"  # a name without characters that overlayfs interprets
        lower.symlink_to(place.on_disk)
        layers = self._cache.layers
        async with layers.mount_layers([str(lower.relative_to(layers.cache))], upper) as merged:
            yield merged

    def add(self, mount: Mounted, points: MountPoints | None = None) -> None:
        """Mount something in the container, at a path that is created when it is missing."""
        folder = mount.source is None or mount.source.is_dir()
        target = self.make(mount.target, folder=folder)
        self.entries.append(replace(mount, target=target))
        self._below.append((target, points))

    def make(self, path: str, *, folder: bool, keep: bool = False) -> str:
        """Return the location of `path` in the container, created when it is missing; `keep` keeps it."""
        assert self._below[0][1]
        path = self._below[0][1].resolve(path)
        place, points = next(each for each in reversed(self._below) if _covers(each[0], path))
        if points is None:
            return path
        below = points.make(path[len(place) :] or "/", folder=folder, keep=keep)
        return os.path.normpath(f"{place}/{below}").replace("//", "/")

    def _add_text(self, path: str, text: str, mode: int, owner: Owner) -> None:
        file = self._memory / f"file{len(self.entries)}"
        file.write_text(text, errors="surrogateescape")
        os.chown(file, *owner)
        file.chmod(mode)
        self.add(Mounted(path, file, read_only=True))

    async def changed_contents(self) -> list[Place]:
        """Return the changed content of each kept mount, in order; a file as its tree."""
        return [await self._take_changes(place, where) for place, where in self._kept]

    async def _take_changes(self, place: Place, where: Upper | Path) -> Place:
        trees, layers = self._cache.trees, self._cache.layers
        if isinstance(where, Path):
            return replace(trees.ingest_file(where, where.name), path="/")
        if not any(os.scandir(where.changed)):
            return trees.whole(place)
        lower = [str(each.relative_to(layers.cache)) for each in (where.changed, where.folder / "lower")]
        async with layers.mount_layers(lower) as root:
            return await asyncio.to_thread(trees.merge_overlay, place, root, where.changed)


def _listen(folder: Path, name: str, owner: Owner) -> socket.socket:
    """Return a listening socket in a folder: a command that owns it can't change the host's socket."""
    listening = socket.socket(socket.AF_UNIX)
    above = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listening.bind(f"/proc/self/fd/{above}/{name}")  # the folder's own name may be too long
        os.chown(name, *owner, dir_fd=above)
    finally:
        os.close(above)
    return listening


def _covers(above: str, path: str) -> bool:
    return above in ("/", path) or path.startswith(f"{above}/")


def _set_owner(folder: Path, owner: Owner | None) -> None:
    if owner:
        os.chown(folder, *owner)
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(os.path.join(place, name), *owner, follow_symlinks=False)
