"""Buildah's images and working containers, in one folder of the engine.

A working container has a name with that of its session, so that a later session can find and remove those of
a killed one.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from daggerw_engine.errors import StoreError
from daggerw_engine.files.copying import clear
from daggerw_engine.process import Completed, Hear, run, run_contained, tied_prefix

FULL = (
    "no space left on device",
    "disk quota exceeded",
    "to file: io: read/write on closed pipe",  # a commit that can't write its temporary file
)
LOGGED = re.compile(r'time="[^"]*" level=\w+ msg="(?:[^"\\]|\\.)*"\s*')
# Buildah starts commands from a sealed copy of itself in memory, which a busy kernel may refuse to seal.
BUSY = "sealing memfd copy: Device or resource busy"
TRIES = 5
TEMPORARY = ("buildah-cache", "buildah-cache-lockfiles")  # in TMPDIR, but permanent


@dataclass(frozen=True)
class Store:
    """Buildah's store below `folder`; this session's working containers are named `prefix`-N."""

    folder: Path
    scratch: Path
    prefix: str
    _numbers: count[int]

    @classmethod
    def at(cls, folder: Path, scratch: Path, prefix: str) -> Store:
        """Return the store below `folder`, created by Buildah at first use; `scratch` has temporary files."""
        return cls(folder, scratch, prefix, count(1))

    def keep_cache_mounts(self, folder: Path) -> None:
        """Keep Dockerfiles' cache mounts, which are among Buildah's temporary files, after the session."""
        for name in TEMPORARY:
            (folder / name).mkdir(exist_ok=True)
            (self.scratch / name).symlink_to(folder / name)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the argument list of a Buildah command on this store."""
        roots = ("--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"))
        return ("buildah", *roots, "--storage-driver", "overlay", *arguments)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of Buildah, with temporary files and cache mounts in the engine's folder."""
        return {**os.environ, "TMPDIR": str(self.scratch), "BUILDAH_ISOLATION": "chroot", "STORAGE_OPTS": ""}

    async def run(self, *arguments: str, stdin: str = "") -> str:
        """Run a Buildah command; return its output without the last newline. StoreError when it fails."""
        done = await run((*tied_prefix(), *self.command(*arguments)), env=self.environment, stdin=stdin)
        if done.status:
            raise store_error(arguments[0], done)
        return done.stdout.rstrip("\n")

    def has(self, image: str) -> bool:
        """Return whether the image with this id is in the store."""
        return (self.folder / "root/overlay-images" / image).is_dir()

    def lower(self, image: str) -> list[str]:
        """Return the folders of an image's layers, relative to the cache folder, the top one first."""
        return _lower(self.folder, image)

    @asynccontextmanager
    async def new_container(self, image: str | None, *options: str) -> AsyncIterator[Working]:
        """Create a working container from `image` (None: an empty one), removed at the end."""
        name = f"{self.prefix}-{next(self._numbers)}"
        try:
            await self.run("from", "--pull-never", "--name", name, *options, image or "scratch")
            yield Working(self, name)
        finally:
            await asyncio.shield(self.remove(name))

    async def remove(self, name: str) -> None:
        """Remove a working container if it exists."""
        done = await run((*tied_prefix(), *self.command("rm", name)), env=self.environment)
        if done.status and "not known" not in done.stderr and "no such" not in done.stderr.lower():
            raise store_error("rm", done)

    async def configuration(self, image: str) -> dict[str, object]:
        """Return an image's OCI configuration (`config` of the image's JSON)."""
        image_json = json.loads(await self.run("inspect", "--type", "image", image))
        config: dict[str, object] = image_json["OCIv1"].get("config", {})
        return config

    def working_containers(self) -> dict[str, str]:
        """Return the ids of all working containers in the store, of any session, by their names.

        Buildah's own list would fail while another session removes one.
        """
        return {name: each["id"] for each in self._containers() for name in each.get("names") or [each["id"]]}

    def changes_folder(self, name: str) -> Path:
        """Return the folder of an unmounted working container's changes."""
        layer: str = next(each["layer"] for each in self._containers() if name in each.get("names", ()))
        return self.folder / "root/overlay" / layer / "diff"

    def _containers(self) -> list[dict[str, Any]]:
        """Return the records of containers-storage, Buildah's library, about working containers."""
        listed = self.folder / "root/overlay-containers/containers.json"
        containers: list[dict[str, Any]] = json.loads(listed.read_text()) if listed.exists() else []
        return containers

    async def remove_abandoned(self, name: str, id_: str) -> None:
        """Remove a working container of an ended session.

        A killed `buildah from` may have left one without the state that `buildah rm` needs. Its changes are
        removed first: they may fill the disk, and `buildah rm` needs some space.
        """
        for path in self.changes_folder(name).glob("*"):
            clear(path)
        state = self.folder / "root/overlay-containers" / id_ / "userdata/buildah.json"
        if not state.exists():
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text(json.dumps({"type": "buildah 0.0.1", "container-id": id_}))
        await self.remove(name)


@dataclass(frozen=True)
class Working:
    """Working container: a file system for changes, commands and a commit."""

    store: Store
    name: str

    async def configure(self, options: Sequence[str]) -> None:
        """Set the image configuration with `buildah config`'s options."""
        if options:
            await self.store.run("config", *options, self.name)

    async def commit(self) -> str:
        """Store the file system as an image; return its id."""
        return await self.store.run("commit", "--quiet", self.name)

    async def pack(self, archive: Path, *, compress: bool) -> None:
        """Write the file system as an image's OCI layout into a tar archive."""
        how = ("--format", "oci", f"--disable-compression={'false' if compress else 'true'}")
        await self.store.run("commit", "--quiet", *how, self.name, f"oci-archive:{archive}")


@lru_cache(maxsize=256)
def _lower(folder: Path, image: str) -> list[str]:
    # Records of containers-storage, Buildah's library.
    root = folder / "root"
    images = json.loads((root / "overlay-images/images.json").read_text())
    layers = json.loads((root / "overlay-layers/layers.json").read_text())
    below = {layer["id"]: layer.get("parent") for layer in layers}
    layer, found = next(each.get("layer") for each in images if each["id"] == image), []
    while layer:
        link = (root / "overlay" / layer / "link").read_text()
        found.append(f"{folder.name}/root/overlay/l/{link}")
        layer = below.get(layer)
    return found


async def run_inside(
    command: Sequence[str],
    env: Mapping[str, str],
    stdin: str = "",
    hear: Hear = lambda stream, chunk: None,
) -> Completed:
    """Run a Buildah command that starts others; retry it when a busy kernel prevented their start."""
    for _ in range(TRIES):
        done = await run_contained(command, env=env, stdin=stdin, hear=hear)
        if BUSY not in done.stderr:
            break
    return done


def store_error(action: str, done: Completed) -> StoreError:
    """Return the error of a Buildah command, with a remedy if one is known."""
    text = " ".join(done.stderr.split()) or f"exit status {done.status}"
    if is_disk_full(text):
        return StoreError.full(action)
    message = LOGGED.sub("", text) or text
    return StoreError(f"buildah {action} failed: {message.removeprefix('Error: ')[-600:]}")


def is_disk_full(text: str) -> bool:
    """Return whether a program's output reports a full disk."""
    return any(sign in text.lower() for sign in FULL)


def option_list(name: str, values: Mapping[str, str]) -> list[str]:
    """Return `name KEY=VALUE` for each pair."""
    return [item for key, value in values.items() for item in (name, f"{key}={value}")]
