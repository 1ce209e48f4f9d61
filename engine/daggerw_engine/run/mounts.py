"""What is mounted for one command, and what the command leaves of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from daggerw_engine.files.copying import copy_entry
from daggerw_engine.files.trees import Place, Trees
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.layers import Layers, Upper
from daggerw_engine.values.container import ContainerState
from daggerw_engine.values.mounts import Mount, SecretFile, Socket, Temporary, Volume


@dataclass
class Mounts:
    """A container's mounts, ready for one command; folders keep their changes apart from their trees."""

    _layers: Layers
    _trees: Trees
    specification: list[dict[str, object]] = field(default_factory=list)
    _kept: list[tuple[Place, Upper | Path]] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def of(cls, state: ContainerState, cache: Cache, upper: Upper) -> AsyncIterator[Mounts]:
        """Prepare a container's mounts in the step's folder; cache volumes are held while the block runs."""
        mounts = cls(cache.layers, cache.trees)
        async with AsyncExitStack() as stack:
            for number, mount in enumerate(state.mounts):
                if isinstance(mount.source, Volume):
                    source = await stack.enter_async_context(cache.volume(mount.source))
                    how: dict[str, object] = {"source": str(source)}
                else:
                    how = mounts._prepared(mount, upper.folder / f"mount{number}")
                about = {"target": mount.path, "owner": mount.owner, "read_only": mount.read_only}
                mounts.specification.append({**about, **how})
            yield mounts

    def _prepared(self, mount: Mount, folder: Path) -> dict[str, object]:
        """Return what the runner is told of a mount besides its place and owner."""
        match mount.source:
            case SecretFile(secret, mode):
                return {"text": secret.text, "mode": mode}
            case Temporary(size):
                return {"size": size}
            case Socket(path):
                return {"source": path}
            case Place() as place if place.on_disk.is_dir():
                return self._folder(place, mount, folder)
            case Place() as place:
                copied = folder / place.on_disk.name
                copy_entry(place.on_disk, copied)
                if mount.is_kept:
                    self._kept.append((place, copied))
                return {"source": str(copied)}
        raise AssertionError(mount.source)

    def _folder(self, place: Place, mount: Mount, folder: Path) -> dict[str, object]:
        upper = Upper.below(folder)
        lower = folder / "lower"  # a name without the signs that overlayfs takes for its own
        lower.symlink_to(place.on_disk)
        name = str(lower.relative_to(self._layers.cache))
        if mount.is_kept:
            self._kept.append((place, upper))
        return {"overlay": self._layers.options([name], upper)}

    async def left(self) -> list[Place]:
        """Return what the command left of each mount that is kept, in order; a file as its tree."""
        return [await self._left(place, where) for place, where in self._kept]

    async def _left(self, place: Place, where: Upper | Path) -> Place:
        if isinstance(where, Path):
            return replace(self._trees.ingest_file(where, where.name), path="/")
        if not any(os.scandir(where.changed)):
            return self._trees.whole(place)
        layers = [
            str(each.relative_to(self._layers.cache)) for each in (where.changed, where.folder / "lower")
        ]
        async with self._layers.mounted(layers) as root:
            return await asyncio.to_thread(self._trees.merged, place, root, where.changed)
