"""What a command meets in its container: file system, mounts, names, network, environment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from daggerw_engine.run.addresses import Addresses
from daggerw_engine.run.mounts import Mounts
from daggerw_engine.run.network import NAME_SERVER
from daggerw_engine.run.trust import Trust
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.commits import Committer
from daggerw_engine.store.layers import Upper
from daggerw_engine.values.container import ContainerState


class Preparer:
    """Prepares containers for commands, in a session's network unless another namespace is named."""

    def __init__(
        self, cache: Cache, committer: Committer, trust: Trust, addresses: Addresses, namespace: str
    ) -> None:
        self._cache, self._committer, self._trust = cache, committer, trust
        self._addresses, self._namespace = addresses, namespace

    @asynccontextmanager
    async def prepare(
        self, state: ContainerState, namespace: str | None = None
    ) -> AsyncIterator[tuple[Upper, Mounts, dict[str, Any]]]:
        """Yield where a command's changes go, its mounts, and what the runner is told."""
        state, layers = await self._committer.commit(state), self._cache.layers
        async with layers.fresh() as upper, Mounts.of(state, self._cache, upper) as mounts:
            for name in ("root", "memory"):
                (upper.folder / name).mkdir()
            spec = {
                "network": namespace or self._namespace,
                "cache": str(layers.cache),
                "root": str(upper.folder / "root"),
                "memory": str(upper.folder / "memory"),
                "overlay": layers.options(layers.lower(state), upper),
                "mounts": [*self._names(state), *mounts.specification],
                "trust": self._trust.specification,
                "workdir": state.config.workdir or "/",
                "user": state.config.user,
                "env": {
                    **self._proxies(state),
                    **state.env,
                    **{name: secret.text for name, secret in state.secret_env},
                },
            }
            yield upper, mounts, spec

    def _proxies(self, state: ContainerState) -> dict[str, str]:
        """Return the host's proxies; no key and no image holds them."""
        return self._trust.proxies(os.environ, (alias for alias, _ in state.bindings))

    def _names(self, state: ContainerState) -> list[dict[str, object]]:
        """Return the files from which a container's commands resolve names."""
        hosts = ["127.0.0.1 localhost"]
        for alias, service in state.bindings:
            hosts.append(f"{self._addresses.of(service)} {alias}")
        texts = {"/etc/hosts": "\n".join([*hosts, ""]), "/etc/resolv.conf": f"nameserver {NAME_SERVER}\n"}
        return [{"target": path, "text": text, "mode": 0o644} for path, text in texts.items()]
