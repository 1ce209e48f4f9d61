"""Sizes in the cache folder, and removal of its least recently used parts.

Cache volumes, with the local registry's images, are removed only on request: they alone can't be rebuilt.
Removal requires that no session uses the folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from daggerw_engine.errors import CacheInUseError
from daggerw_engine.store.buildah import Store
from daggerw_engine.store.layers import KEY_LENGTH

BOUND = 20_000_000_000  # bytes
KINDS = {
    "base images and builds": ("store",),
    "layers": ("layers",),
    "directories and files": ("trees",),
    "cache mounts of Dockerfiles": ("mounts",),
    "cache volumes": ("volumes",),
    "the rest": ("results", "uploads", "sessions", "types", "bytecode", "environments"),
}
BLOCK = 512
LOCK, POLL_SECONDS = "lock", 0.05
CHECKED, CHECK_SECONDS = "checked", 3600


@dataclass(frozen=True, order=True)
class Unit:
    """Removable unit with the time of its last use: a folder, or the image that a folder represents."""

    used: float
    depth: int
    path: Path
    image: bool


def sizes(cache: Path) -> dict[str, int]:
    """Return the disk usage of the folder's parts in bytes, by their names."""
    seen: set[tuple[int, int]] = set()
    return {kind: sum(_size(cache / name, seen) for name in names) for kind, names in KINDS.items()}


def _size(folder: Path, seen: set[tuple[int, int]]) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            info = os.lstat(os.path.join(place, name))
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * BLOCK
    return total


async def prune(cache: Path, store: Store, bound: int) -> int:
    """Remove the least recently used units until at most `bound` bytes are left; return the freed bytes."""
    before, freed = sum(sizes(cache).values()), 0
    for unit in sorted(units(cache)):
        if before - freed <= bound:
            break
        freed += await _remove(unit, cache, store)
    (cache / CHECKED).touch()
    if not freed:  # then the sizes, for which all is looked through, are the same
        return 0
    _forget(cache)
    return before - sum(sizes(cache).values())


def is_due(cache: Path) -> bool:
    """Return whether the last check was more than an hour ago and something was stored since."""
    checked, results = cache / CHECKED, cache / "results"
    if not checked.exists():
        checked.touch()
    last = checked.stat().st_mtime
    return time.time() - last > CHECK_SECONDS and results.stat().st_mtime > last


def clear(cache: Path, *, volumes: bool) -> None:
    """Remove everything that can be rebuilt; with `volumes`, the cache volumes, too."""
    for name in (
        "results",
        "uploads",
        "layers",
        "trees",
        "mounts",
        "store",
        *(["volumes"] if volumes else []),
    ):
        if (cache / name).exists():
            shutil.rmtree(cache / name)


def units(cache: Path) -> list[Unit]:
    """Return all removable units. A base is at least as recent as units on top of it, and comes last."""
    used: dict[str, float] = {}
    depth: dict[str, int] = {}
    for result, last in _results(cache):
        chain = [str(result.get("image") or ""), *result.get("layers", [])]
        for number, name in enumerate(chain):
            used[name] = max(last, used.get(name, 0))
            depth[name] = max(len(chain) - number, depth.get(name, 0))
    by_folder = {key[:KEY_LENGTH]: key for key in used}

    def unit(path: Path, name: str, *, image: bool = False) -> Unit:
        key = name if image else by_folder.get(name, "")
        return Unit(used.get(key, path.stat().st_mtime), depth.get(key, 0), path, image)

    folders = [folder for kind in ("layers", "trees", "mounts") for folder in (cache / kind).glob("*/")]
    images = (cache / "store/root/overlay-images").glob("*/")
    return [unit(each, each.name) for each in folders] + [
        unit(each, each.name, image=True) for each in images
    ]


def _results(cache: Path) -> Iterator[tuple[dict[str, Any], float]]:
    for path in (cache / "results").glob("*.json"):
        with suppress(ValueError):  # an incomplete result is skipped
            yield json.loads(path.read_text()), path.stat().st_mtime


async def _remove(unit: Unit, cache: Path, store: Store) -> int:
    """Remove a unit; return the freed bytes."""
    if unit.image:
        return await _remove_image(unit.path.name, cache, store) if unit.path.exists() else 0
    freed = 0
    for place, _, names in os.walk(unit.path):
        infos = [os.lstat(os.path.join(place, name)) for name in names]
        freed += sum(info.st_blocks * BLOCK for info in infos if info.st_nlink == 1)
    gone = unit.path.with_suffix(".gone")  # after a kill here, no session takes the rest for a complete unit
    unit.path.rename(gone)
    shutil.rmtree(gone)
    return freed


async def _remove_image(image: str, cache: Path, store: Store) -> int:
    """Remove an image; return the freed bytes of its top layer, if no other image has it."""
    layers = [(cache / layer).resolve() for layer in store.lower(image)[:1]]
    held = sum(_size(layer, set()) for layer in layers)
    await store.run("rmi", "--force", image)
    return 0 if any(layer.exists() for layer in layers) else held


def _forget(cache: Path) -> None:
    """Remove the results that are older than all remaining units."""
    oldest = min((unit.used for unit in units(cache)), default=float("inf"))
    for path in (cache / "results").iterdir():
        if path.suffix == ".lock" or path.stat().st_mtime < oldest:
            path.unlink()


@asynccontextmanager
async def in_use(cache: Path) -> AsyncIterator[None]:
    """Share the folder with other sessions while the block runs; waits for a removal to end."""
    with (cache / LOCK).open("w") as file:
        while not try_flock(file, fcntl.LOCK_SH):
            await asyncio.sleep(POLL_SECONDS)
        yield


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Lock the folder exclusively while the block runs; CacheInUseError when a session uses it."""
    with (cache / LOCK).open("w") as file:
        if not try_flock(file):
            raise CacheInUseError("the cache is in use: let the other calls end, and call again")
        yield


def try_flock(file: TextIO, how: int = fcntl.LOCK_EX) -> bool:
    """Try to lock a file, without a wait; return whether that succeeded."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
