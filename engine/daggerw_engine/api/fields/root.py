"""Fields of Query, Host and CurrentModule, where chains begin."""

from __future__ import annotations

import asyncio
from pathlib import Path

from daggerw_engine.api.clients.client import ModuleSource
from daggerw_engine.api.clients.secret_providers import Plaintext, Secrets
from daggerw_engine.api.fields.platforms import PLATFORM, refuse_other
from daggerw_engine.errors import PathError
from daggerw_engine.files.patterns import Filter
from daggerw_engine.files.trees import Place, Trees
from daggerw_engine.progress import Progress
from daggerw_engine.values.container import ContainerState
from daggerw_engine.values.host_service import HostService
from daggerw_engine.values.mounts import Socket
from daggerw_engine.values.secret import Secret

DAGGER_VERSION = "v0.21.8"


class QueryFields:
    """Fields of the root."""

    def __init__(self, trees: Trees, secrets: Secrets, progress: Progress) -> None:
        self._trees, self._secrets, self._progress = trees, secrets, progress

    async def container(self, _: None, platform: str | None = None) -> ContainerState:
        refuse_other(platform)
        return ContainerState()

    async def directory(self, _: None) -> Place:
        return self._trees.adopt(self._trees.new_folder())

    async def file(self, _: None, name: str, contents: str, permissions: int) -> Place:
        return self._trees.write_file(name, contents, permissions)

    async def host(self, _: None) -> None:
        return None

    async def current_module(self, _: None) -> None:
        return None

    async def cache_volume(self, _: None, key: str) -> str:
        return key

    async def secret(self, _: None, uri: str, cache_key: str | None = None) -> Secret:
        return self._hide(await self._secrets.of(uri, cache_key))

    async def set_secret(self, _: None, name: str, plaintext: Plaintext) -> Secret:
        return self._hide(self._secrets.set(name, plaintext))

    async def default_platform(self, _: None) -> str:
        return PLATFORM

    async def version(self, _: None) -> str:
        return DAGGER_VERSION

    def _hide(self, secret: Secret) -> Secret:
        """Return a secret after registering it for removal from the session's output."""
        self._progress.scrub.hide(secret.text)
        return secret


class HostFields:
    """Fields of the caller's machine; paths are absolute here."""

    def __init__(self, trees: Trees, progress: Progress) -> None:
        self._trees, self._progress = trees, progress

    async def directory(
        self, _: None, path: str, exclude: list[str], include: list[str], no_cache: object, gitignore: bool
    ) -> Place:
        kept = Filter.of(exclude, include, gitignore=gitignore)
        with self._progress.step(f"upload {path}"):
            return await asyncio.to_thread(self._trees.upload, Path(path), kept)

    async def file(self, _: None, path: str, no_cache: object) -> Place:
        return self._trees.upload_file(Path(path))

    async def service(self, _: None, ports: list[dict[str, object]], host: str) -> HostService:
        return HostService.of(host, ports)

    async def unix_socket(self, _: None, path: str) -> Socket:
        if not Path(path).is_socket():
            raise PathError(
                f"{path}: {'not a socket' if Path(path).exists() else 'no such file or directory'}"
            )
        return Socket(path)


class CurrentModuleFields:
    """Fields of the calling module."""

    def __init__(self, trees: Trees, module: ModuleSource, hosts: HostFields) -> None:
        self._trees, self._module, self._hosts = trees, module, hosts

    async def name(self, _: None) -> str:
        return self._module.name

    async def source(self, _: None) -> Place:
        return self._trees.upload(self._module.folder, Filter.of(["**/__pycache__"]))

    async def workdir(
        self, _: None, path: str, exclude: list[str], include: list[str], gitignore: bool
    ) -> Place:
        return await self._hosts.directory(None, path, exclude, include, None, gitignore)
