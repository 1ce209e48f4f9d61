"""Commit of containers' changes as stored layers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from daggerw_engine.files.changes import apply, copy_layer
from daggerw_engine.keys import key_of
from daggerw_engine.results import Results
from daggerw_engine.store.layers import MOST_LAYERS, Layers, Upper
from daggerw_engine.values.config import Config
from daggerw_engine.values.container import ContainerState


class Committer:
    """Committer of containers' changes as layers, each once."""

    def __init__(self, layers: Layers, results: Results) -> None:
        self._layers, self._results = layers, results

    async def commit(self, state: ContainerState) -> ContainerState:
        """Return the container with its changes in a layer, within overlayfs's limit of layers."""
        if not state.changes:
            return await self._flatten(state)
        key, layers = state.rootfs_key, self._layers

        async def change(upper: Upper) -> None:
            async with layers.mount_layers(layers.lower(state), upper) as root:
                await asyncio.to_thread(apply, state.changes, root)

        await self._make(key, {"layers": [*state.layers, key], "image": state.image}, change)
        return await self._flatten(state.with_layer(key))

    async def _flatten(self, state: ContainerState) -> ContainerState:
        """Return a container with too many layers merged into one."""
        if len(state.layers) < MOST_LAYERS:
            return state
        key, layers = key_of("flat", state.content), self._layers

        async def copy(upper: Upper) -> None:
            async with layers.mount_layers(layers.lower(state)) as root:
                await asyncio.to_thread(copy_layer, root, upper.changed)

        await self._make(key, {"layers": [key]}, copy)
        return replace(state, image=None, image_config=Config(), layers=(key,))

    async def _make(
        self, key: str, result: dict[str, object], fill: Callable[[Upper], Awaitable[None]]
    ) -> None:
        """Fill the layer `key` by `fill`, unless it is stored with its result."""
        async with self._results.alone(key):
            if self._results.get(key) is None or not self._layers.has(key):
                async with self._layers.new_upper() as upper:
                    await fill(upper)
                    self._layers.keep(key, upper)
                self._results.put(key, result)
