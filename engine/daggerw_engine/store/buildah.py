"""Images and working containers, kept by Buildah in one folder of ours.

Every working container is named after the session that made it, so that a session can find and remove what an
earlier one left behind when it was killed.
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
TEMPORARY = ("buildah-cache", "buildah-cache-lockfiles")  # in TMPDIR, but meant to stay


@dataclass(frozen=True)
class Store:
    """Buildah's store below `folder`; working containers of this session are called `prefix`-N."""

    folder: Path
    scratch: Path
    prefix: str
    _numbers: count[int]

    @classmethod
    def at(cls, folder: Path, scratch: Path, prefix: str) -> Store:
        """Return the store below `folder`, made by Buildah at first use; `scratch` holds temporary files."""
        return cls(folder, scratch, prefix, count(1))

    def keep_cache_mounts(self, folder: Path) -> None:
        """Let the cache mounts of Dockerfiles, which Buildah keeps among its temporary files, outlive us."""
        for name in TEMPORARY:
            (folder / name).mkdir(exist_ok=True)
            (self.scratch / name).symlink_to(folder / name)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the argument list of a Buildah command on this store."""
        roots = ("--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"))
        return ("buildah", *roots, "--storage-driver", "overlay", *arguments)

    @property
    def environment(self) -> dict[str, str]:
        """Buildah's environment: temporary files and cache mounts stay in our folder."""
        return {**os.environ, "TMPDIR": str(self.scratch), "BUILDAH_ISOLATION": "chroot", "STORAGE_OPTS": ""}

    async def run(self, *arguments: str, stdin: str = "") -> str:
        """Run a Buildah command, return its output without the last newline; StoreError when it fails."""
        done = await run((*tied_prefix(), *self.command(*arguments)), env=self.environment, stdin=stdin)
        if done.status:
            raise store_error(arguments[0], done)
        return done.stdout.rstrip("\n")

    def has(self, image: str) -> bool:
        """Return whether the image with this id is in the store."""
        return (self.folder / "root/overlay-images" / image).is_dir()

    def lower(self, image: str) -> list[str]:
        """Return the folders of an image's layers, seen from the cache folder; the top one first."""
        return _lower(self.folder, image)

    @asynccontextmanager
    async def new_container(self, image: str | None, *options: str) -> AsyncIterator[Working]:
        """A working container from `image` (None: an empty one), removed at the end."""
        name = f"{self.prefix}-{next(self._numbers)}"
        try:
            await self.run("from", "--pull-never", "--name", name, *options, image or "scratch")
            yield Working(self, name)
        finally:
            await asyncio.shield(self.remove(name))

    async def remove(self, name: str) -> None:
        """Remove a working container; nothing happens when there is none."""
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

        Buildah would fail to list them when another session removes one at the same time.
        """
        return {name: each["id"] for each in self._containers() for name in each.get("names") or [each["id"]]}

    def changes_folder(self, name: str) -> Path:
        """Return the folder that holds a working container's own changes, while it isn't mounted."""
        layer: str = next(each["layer"] for each in self._containers() if name in each.get("names", ()))
        return self.folder / "root/overlay" / layer / "diff"

    def _containers(self) -> list[dict[str, Any]]:
        """Return what containers-storage, under Buildah and Podman, keeps of each working container."""
        listed = self.folder / "root/overlay-containers/containers.json"
        containers: list[dict[str, Any]] = json.loads(listed.read_text()) if listed.exists() else []
        return containers

    async def remove_abandoned(self, name: str, id_: str) -> None:
        """Remove a working container that no session owns any more.

        A killed `buildah from` may have left one without the state from which `buildah rm` knows it. Its
        changes go first: they may be what fills the disk, and `buildah rm` needs some room.
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
    """A working container: a file system that can be changed, run in, and committed."""

    store: Store
    name: str

    async def configure(self, options: Sequence[str]) -> None:
        """Set the image configuration with `buildah config`'s options."""
        if options:
            await self.store.run("config", *options, self.name)

    async def commit(self) -> str:
        """Keep the file system as an image; returns its id."""
        return await self.store.run("commit", "--quiet", self.name)

    async def pack(self, archive: Path, *, compress: bool) -> None:
        """Write the file system as an image's OCI layout into a tar archive."""
        how = ("--format", "oci", f"--disable-compression={'false' if compress else 'true'}")
        await self.store.run("commit", "--quiet", *how, self.name, f"oci-archive:{archive}")


@lru_cache(maxsize=256)
def _lower(folder: Path, image: str) -> list[str]:
    # The files in which containers-storage, under Buildah and Podman, keeps what belongs together.
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
    """Run a Buildah command that starts others; again, when Buildah could not start them for being busy."""
    for _ in range(TRIES):
        done = await run_contained(command, env=env, stdin=stdin, hear=hear)
        if BUSY not in done.stderr:
            break
    return done


def store_error(action: str, done: Completed) -> StoreError:
    """Say what Buildah refused, in one sentence that says what to do when we know."""
    text = " ".join(done.stderr.split()) or f"exit status {done.status}"
    if is_disk_full(text):
        return StoreError.full(action)
    message = LOGGED.sub("", text) or text
    return StoreError(f"buildah {action} failed: {message.removeprefix('Error: ')[-600:]}")


def is_disk_full(text: str) -> bool:
    """Return whether what a program wrote says that the disk is full."""
    return any(sign in text.lower() for sign in FULL)


def option_list(name: str, values: Mapping[str, str]) -> list[str]:
    """Return `name KEY=VALUE` for each pair."""
    return [item for key, value in values.items() for item in (name, f"{key}={value}")]
