"""Preparation of a container for a command: file system, mounts, names, network, environment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.errors import EngineError
from daggerw_engine.files.changes import user_of
from daggerw_engine.files.paths import resolve_in
from daggerw_engine.isolation import cgroups, crun
from daggerw_engine.isolation.crun import Started
from daggerw_engine.isolation.memory import Memory
from daggerw_engine.isolation.specification import Mounted, Process, specification
from daggerw_engine.run.addresses import Addresses
from daggerw_engine.run.mounts import Mounts
from daggerw_engine.run.namespaces import Namespace
from daggerw_engine.run.network import NAME_SERVER
from daggerw_engine.run.trust import BUNDLE, VARIABLES, Trust
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.commits import Committer
from daggerw_engine.values.config import DEFAULT_PATH
from daggerw_engine.values.container import ContainerState


class Preparer:
    """Preparer of containers for commands."""

    def __init__(self, cache: Cache, committer: Committer, trust: Trust, addresses: Addresses) -> None:
        self._cache, self._committer, self._trust, self._addresses = cache, committer, trust, addresses
        self._memory = Memory(cache.scratch / "memory")

    async def close(self) -> None:
        """Remove the files in memory."""
        await self._memory.close()

    @asynccontextmanager
    async def prepare(self, state: ContainerState) -> AsyncIterator[Prepared]:
        """Yield a container that is ready for a command."""
        state = await self._committer.commit(state)
        async with self._cache.layers.new_upper() as upper, self._memory.new_folder() as memory:
            mounts = Mounts(self._cache, upper, memory)
            yield Prepared(state, mounts, memory, self._names(state), self._trust.bundle)

    def _names(self, state: ContainerState) -> dict[str, str]:
        """Return the files for name resolution in a container."""
        hosts = ["127.0.0.1 localhost"]
        for alias, service in state.bindings:
            hosts.append(f"{self._addresses.of(service)} {alias}")
        return {"/etc/hosts": "\n".join([*hosts, ""]), "/etc/resolv.conf": f"nameserver {NAME_SERVER}\n"}


@dataclass(frozen=True)
class Prepared:
    """Container for one command; afterwards `mounts` has its changes."""

    state: ContainerState
    mounts: Mounts
    _memory: Path
    _texts: dict[str, str]
    _trusted: Path | None

    @asynccontextmanager
    async def start(
        self, command: Sequence[str], network: Namespace, *, reads: bool = False
    ) -> AsyncIterator[Started]:
        """Run a command on a network while the block runs; with `reads`, its stdin is a pipe."""
        with cgroups.limit_container() as limits:
            async with self.mounts.mount_all(self.state, self._texts) as root:
                process = self._process(command, root)
                config = specification(process, root, self.mounts.entries, processes=limits.processes)
                async with crun.start(
                    config, self._memory, network.path, limits.groups, reads=reads
                ) as started:
                    yield started

    def _process(self, command: Sequence[str], root: Path) -> Process:
        workdir = self.state.config.workdir or "/"
        self.mounts.make(workdir, folder=True, keep=True)
        user, group, groups, home = user_of(root, self.state.config.user or "0")
        environment = {"PATH": DEFAULT_PATH, "HOME": home, **self._mount_authorities(root)}
        environment |= {**self._proxies(), **self.state.env}
        environment |= {name: text_of_variable(name, secret.text) for name, secret in self.state.secret_env}
        return Process(command, environment, workdir, user, group, groups)

    def _proxies(self) -> dict[str, str]:
        """Return the host's proxies, which are not part of keys and images."""
        return Trust.proxies(os.environ, (alias for alias, _ in self.state.bindings))

    def _mount_authorities(self, root: Path) -> dict[str, str]:
        """Mount the host's CA bundle over the container's, if it has one; return the variables for it."""
        if not self._trusted or not resolve_in(root, BUNDLE).is_file():
            return {}
        self.mounts.add(Mounted(BUNDLE, self._trusted, read_only=True))
        return dict.fromkeys(VARIABLES, BUNDLE)


def text_of_variable(name: str, secret: str) -> str:
    """Return a secret as the value of a variable; EngineError when crun can't pass it."""
    try:
        secret.encode()
    except UnicodeEncodeError:
        raise EngineError(f"the secret in the variable {name} isn't UTF-8: mount it as a file") from None
    return secret
