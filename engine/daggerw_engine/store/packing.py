"""Packing of containers as images: layers, a configuration, and an archive of both."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterable

from daggerw_engine.files.changes import copy_layer
from daggerw_engine.files.trees import Place
from daggerw_engine.keys import key_of
from daggerw_engine.progress import Progress
from daggerw_engine.store.buildah import option_list
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.commits import Committer
from daggerw_engine.values.config import STAND_IN_LABEL
from daggerw_engine.values.container import ContainerState


class Packer:
    """Packer of containers as images, each once."""

    def __init__(self, cache: Cache, committer: Committer, progress: Progress) -> None:
        self._cache, self._committer, self._progress = cache, committer, progress

    async def pack(self, state: ContainerState, *, compress: bool) -> Place:
        """Return the image as an OCI layout in a tar archive, `image.tar`."""
        named = labels(state)
        key = key_of("archive", state.rootfs_key, state.config, named, compress)
        async with self._cache.results.alone(key):
            if (kept := self._cache.results.get(key)) and (tree := self._cache.trees.get(str(kept["tree"]))):
                return tree.below("image.tar")
            with self._progress.step("pack image"):
                tree = await self._write(await self._committer.commit(state), named, compress)
            self._cache.results.put(key, {"tree": tree.digest})
        return tree.below("image.tar")

    async def _write(self, state: ContainerState, named: Iterable[tuple[str, str]], compress: bool) -> Place:
        folder = self._cache.trees.new_folder()
        async with self._cache.store.new_container(await self._image_of(state)) as working:
            await working.configure(_options(state, named))
            await working.pack(folder / "image.tar", compress=compress)
        return self._cache.trees.adopt(folder)

    async def _image_of(self, state: ContainerState) -> str | None:
        """Return the image in Buildah's store with the container's file system, built layer by layer."""
        image, store = state.image, self._cache.store
        for layer in state.layers:
            key = key_of("image of layer", image, layer)
            kept = self._cache.results.get(key)
            if not kept or not store.has(str(kept["image"])):
                async with store.new_container(image) as working:
                    await asyncio.to_thread(
                        copy_layer, self._cache.layers.path(layer), store.changes_folder(working.name)
                    )
                    kept = {"image": await working.commit()}
                self._cache.results.put(key, kept)
            image = str(kept["image"])
        return image


def labels(state: ContainerState) -> tuple[tuple[str, str], ...]:
    """Return the container's labels, plus the one that names its stand-in images."""
    marks = ((STAND_IN_LABEL, " ".join(sorted(state.stand_ins))),) if state.stand_ins else ()
    return (*state.config.labels, *marks)


def _options(state: ContainerState, labels: Iterable[tuple[str, str]]) -> list[str]:
    before, now = state.image_config, state.config
    gone = [f"{name}-" for name in dict(before.env) if name not in state.env]
    options = option_list("--env", state.env) + [item for name in gone for item in ("--env", name)]
    options += [
        item
        for name in dict(before.labels)
        if name not in dict(now.labels)
        for item in ("--label", f"{name}-")
    ]
    options += option_list("--label", dict(labels))
    ports = {port.text for port in now.ports}
    options += [item for p in before.ports if p.text not in ports for item in ("--port", f"{p.text}-")]
    options += [item for text in sorted(ports) for item in ("--port", text)]
    options += ["--user", now.user, "--workingdir", now.workdir or "/"]
    entrypoint = json.dumps(list(now.entrypoint)) if now.entrypoint else ""
    return [*options, "--entrypoint", entrypoint, "--cmd", shlex.join(now.args)]
