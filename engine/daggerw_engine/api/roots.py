"""The fields of Query, Host and CurrentModule, where chains begin."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from daggerw_engine.api.secret import Plaintext, Secret
from daggerw_engine.api.state import ContainerState, Socket
from daggerw_engine.errors import PathError
from daggerw_engine.files.patterns import Filter
from daggerw_engine.files.trees import Place
from daggerw_engine.run.relay import HostService

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session

DAGGER_VERSION = "v0.21.8"


class Queries:
    """The root's fields."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def container(self, _: None, platform: str | None = None) -> ContainerState:
        self._session.only_platform(platform)
        return ContainerState()

    async def directory(self, _: None) -> Place:
        return self._session.trees.adopt(self._session.trees.new_folder())

    async def file(self, _: None, name: str, contents: str, permissions: int) -> Place:
        return self._session.trees.write_file(name, contents, permissions)

    async def host(self, _: None) -> None:
        return None

    async def current_module(self, _: None) -> None:
        return None

    async def cache_volume(self, _: None, key: str) -> str:
        return key

    async def secret(self, _: None, uri: str, cache_key: str | None = None) -> Secret:
        return self._session.hidden(await self._session.secrets.of(uri, cache_key))

    async def set_secret(self, _: None, name: str, plaintext: Plaintext) -> Secret:
        return self._session.hidden(self._session.secrets.set(name, plaintext))

    async def default_platform(self, _: None) -> str:
        return self._session.platform

    async def version(self, _: None) -> str:
        return DAGGER_VERSION


class Hosts:
    """The caller's machine; paths are absolute here."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def directory(
        self, _: None, path: str, exclude: list[str], include: list[str], no_cache: object, gitignore: bool
    ) -> Place:
        kept = Filter.of(exclude, include, gitignore=gitignore)
        with self._session.progress.step(f"upload {path}"):
            return await asyncio.to_thread(self._session.trees.upload, Path(path), kept)

    async def file(self, _: None, path: str, no_cache: object) -> Place:
        return self._session.trees.upload_file(Path(path))

    async def service(self, _: None, ports: list[dict[str, object]], host: str) -> HostService:
        return HostService.of(host, ports)

    async def unix_socket(self, _: None, path: str) -> Socket:
        if not Path(path).is_socket():
            raise PathError(
                f"{path}: {'not a socket' if Path(path).exists() else 'no such file or directory'}"
            )
        return Socket(path)


class CurrentModules:
    """The module that asks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def name(self, _: None) -> str:
        return self._session.module.name

    async def source(self, _: None) -> Place:
        return self._session.trees.upload(self._session.module.folder, Filter.of(["**/__pycache__"]))

    async def workdir(
        self, _: None, path: str, exclude: list[str], include: list[str], gitignore: bool
    ) -> Place:
        return await Hosts(self._session).directory(None, path, exclude, include, None, gitignore)
