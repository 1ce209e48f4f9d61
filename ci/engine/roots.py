"""The fields of Query, Host, Secret, Service, and the other small types."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.calls import Call
from engine.errors import NotOfferedError, ServiceError
from engine.patterns import Filter
from engine.secret import Plaintext, Secret
from engine.services import Service
from engine.state import ContainerState, Port
from engine.trees import Place

if TYPE_CHECKING:
    from engine.session import Session

DAGGER_VERSION = "v0.21.8"
RELATIVE_TO_CALLER = frozenset({("Host", "directory"), ("Host", "file")})


class Queries:
    """The root's fields."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def container(self, _: None, platform: str | None = None) -> ContainerState:
        if platform not in (None, self._session.platform):
            raise NotOfferedError(f"a container for {platform}")
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
        return await self._session.secrets.of(uri, cache_key)

    async def set_secret(self, _: None, name: str, plaintext: Plaintext) -> Secret:
        return self._session.secrets.set(name, plaintext)

    async def default_platform(self, _: None) -> str:
        return self._session.platform

    async def version(self, _: None) -> str:
        return DAGGER_VERSION


class Hosts:
    """The caller's machine; paths are absolute here."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def directory(self, _: None, path: str, exclude: list[str], include: list[str]) -> Place:
        with self._session.progress.step(f"upload {path}"):
            return await asyncio.to_thread(
                self._session.trees.ingest, Path(path), Filter.of(exclude, include)
            )

    async def file(self, _: None, path: str) -> Place:
        return self._session.trees.ingest_file(Path(path))


class CurrentModules:
    """The module that asks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def name(self, _: None) -> str:
        return self._session.module.name

    async def source(self, _: None) -> Place:
        return self._session.trees.ingest(self._session.module.folder, Filter.of(["**/__pycache__"]))


class SecretFields:
    """The fields of a secret."""

    def __init__(self, _: Session) -> None:
        """Secrets need nothing of a session."""

    async def name(self, secret: Secret) -> str:
        return secret.name

    async def uri(self, secret: Secret) -> str:
        return secret.uri

    async def plaintext(self, secret: Secret) -> str:
        return secret.text


class ServiceFields:
    """The fields of a service."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def hostname(self, service: Service) -> str:
        return self._session.services.address(service)

    async def endpoint(self, service: Service, scheme: str, port: int | None = None) -> str:
        if port is None and not service.ports:
            raise ServiceError("the service exposes no port: add one with withExposedPort")
        address = f"{self._session.services.address(service)}:{port or service.ports[0].port}"
        return f"{scheme}://{address}" if scheme else address

    async def ports(self, service: Service) -> Sequence[Port]:
        return service.ports

    async def start(self, service: Service) -> None:
        await self._session.services.start(service)

    async def stop(self, service: Service, kill: bool) -> None:
        await self._session.services.stop(service, kill=kill)

    async def sync(self, service: Service) -> None:
        await self._session.executor.committed(service.container)

    async def up(self, service: Service, ports: list[dict[str, Any]], random: bool) -> None:
        await self._session.services.up(service, ports, random=random)


class Items:
    """A small object of a list, such as a label: its fields are the values themselves."""

    def __init__(self, _: Session) -> None:
        """Items need nothing of a session."""


def item_of(found: Sequence[Any], call: Call) -> Any:
    """Return the element of a list that a call stands for."""
    return found[int(str(call.arguments["index"]))]
