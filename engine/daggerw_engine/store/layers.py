"""File systems of containers: overlays of an image's layers and of the engine's own layers.

An own layer is one step's changes, in overlayfs format, in `layers/` under the step's key. A rename moves it
there after the step has succeeded: it is complete or missing, and never changes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.errors import StoreError
from daggerw_engine.process import Completed, run
from daggerw_engine.store.buildah import Store, is_disk_full
from daggerw_engine.values.container import ContainerState

# A layer must have the same effect above any other layers.
SELF_CONTAINED = "index=off,metacopy=off,redirect_dir=nofollow"
KEY_LENGTH, MOST_LAYERS = 32, 80  # an option list is at most a page long


@dataclass(frozen=True)
class Upper:
    """Folders for a step's changes; `folder` can also have other files of the step."""

    folder: Path
    changed: Path
    work: Path

    @classmethod
    def below(cls, folder: Path) -> Upper:
        """Create and return the folders below `folder`."""
        upper = cls(folder, folder / "upper", folder / "work")
        for each in (upper.changed, upper.work):
            each.mkdir(parents=True)
        return upper


@dataclass(frozen=True)
class Layers:
    """Layers of one cache folder; `scratch` is the session's folder."""

    cache: Path
    scratch: Path
    store: Store

    def has(self, key: str) -> bool:
        """Return whether the layer of a step is stored."""
        return self.path(key).is_dir()

    def keep(self, key: str, upper: Upper) -> None:
        """Store a step's changes, in place of a killed session's leftover without a result."""
        kept = self.path(key)
        if kept.exists():
            kept.rename(upper.folder / "left")
        upper.changed.rename(kept)

    def path(self, key: str) -> Path:
        """Return the folder of a layer."""
        return self.cache / "layers" / key[:KEY_LENGTH]

    def lower(self, state: ContainerState) -> list[str]:
        """Return the folders of a container's layers, relative to the cache folder, the top one first."""
        ours = [f"layers/{key[:KEY_LENGTH]}" for key in reversed(state.layers)]
        return [*ours, *(self.store.lower(state.image) if state.image else ())] or ["empty"]

    @asynccontextmanager
    async def new_upper(self) -> AsyncIterator[Upper]:
        """Yield folders for a step, removed at the end except for a stored layer."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield Upper.below(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def options(self, lower: Sequence[str], upper: Upper | None) -> str:
        """Return overlayfs's options, with folders relative to the cache folder."""
        words = [f"lowerdir={':'.join(lower)}", SELF_CONTAINED]
        if upper:
            changed, work = (each.relative_to(self.cache) for each in (upper.changed, upper.work))
            words += [f"upperdir={changed},workdir={work}", "volatile"]
        return ",".join([*words, *(("userxattr",) if in_user_namespace() else ())])

    @asynccontextmanager
    async def mount_layers(self, lower: Sequence[str], upper: Upper | None = None) -> AsyncIterator[Path]:
        """Mount an overlay of folders, with changes in `upper`, while the block runs; yields its root."""
        if len(lower) == 1 and not upper:
            yield self.cache / lower[0]
            return
        root = Path(tempfile.mkdtemp(dir=self.scratch))
        words = ("mount", "-t", "overlay", "-o", self.options(lower, upper), "overlay", str(root))
        done = await run(words, cwd=self.cache)
        if done.status:
            raise mount_error(done)
        try:
            yield root
        finally:
            await run(("umount", "--lazy", str(root)))
            root.rmdir()


def mount_error(done: Completed) -> StoreError:
    """Return the error for a failed mount, with its reason and a remedy."""
    if is_disk_full(done.stderr):
        return StoreError.full("mounting")
    return StoreError(
        f"overlay: {' '.join(done.stderr.split())}: the cache folder must lie on a local file system "
        "that overlays can be made of, such as ext4, xfs or btrfs (XDG_CACHE_HOME says where it lies)"
    )


def in_user_namespace() -> bool:
    """Return whether this process's root is an ordinary user of the host."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]
