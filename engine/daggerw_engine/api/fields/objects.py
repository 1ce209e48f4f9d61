"""Fields of Secret, Service and the types that only hold values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daggerw_engine.api.clients.client import Client
from daggerw_engine.errors import NotOfferedError, ServiceError
from daggerw_engine.files.changeset import Changes
from daggerw_engine.files.git import Ref, Repository
from daggerw_engine.files.trees import Place, Trees
from daggerw_engine.run.addresses import Addresses
from daggerw_engine.run.services import Services
from daggerw_engine.store.commits import Committer
from daggerw_engine.values.config import Port
from daggerw_engine.values.container import AnyService, Service
from daggerw_engine.values.secret import Secret


class SecretFields:
    """Fields of a secret."""

    async def name(self, secret: Secret) -> str:
        return secret.name

    async def uri(self, secret: Secret) -> str:
        return secret.uri

    async def plaintext(self, secret: Secret) -> str:
        return secret.text


class ServiceFields:
    """Fields of a service."""

    def __init__(self, services: Services, addresses: Addresses, committer: Committer) -> None:
        self._services, self._addresses, self._committer = services, addresses, committer

    async def hostname(self, service: AnyService) -> str:
        return self._addresses.of(service)

    async def endpoint(self, service: AnyService, scheme: str, port: int | None = None) -> str:
        if port is None and not service.ports:
            raise ServiceError("the service exposes no port: add one with withExposedPort")
        address = f"{self._addresses.of(service)}:{port or service.ports[0].port}"
        return f"{scheme}://{address}" if scheme else address

    async def ports(self, service: AnyService) -> Sequence[Port]:
        return service.ports

    async def start(self, service: AnyService) -> None:
        await self._services.start(service)

    async def stop(self, service: AnyService, kill: bool) -> None:
        await self._services.stop(service, kill=kill)

    async def sync(self, service: AnyService) -> None:
        if isinstance(service, Service):
            await self._committer.commit(service.container)

    async def up(self, service: AnyService, ports: list[dict[str, Any]], random: bool) -> None:
        await self._services.up(service, ports, random=random)


class RepositoryFields:
    """Fields of a Git repository."""

    async def head(self, repository: Repository) -> Ref:
        return await repository.head()

    async def ref(self, repository: Repository, name: str) -> Ref:
        return await repository.ref(name)

    async def commit(self, repository: Repository, id: str) -> Ref:  # as the API has it
        return await repository.commit(id)

    async def uncommitted(self, repository: Repository) -> Repository:
        return repository


class RefFields:
    """Fields of a commit."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    async def ref(self, ref: Ref) -> str:
        return ref.ref

    async def commit(self, ref: Ref) -> str:
        return ref.commit

    async def tree(self, ref: Ref, discard_git_dir: bool) -> Place:
        folder = self._trees.new_folder()
        await ref.tree(folder, with_git=not discard_git_dir)
        return self._trees.adopt(folder)


class ChangesetFields:
    """Fields of the differences between two directories, or between a repository's work tree and HEAD.

    The latter has only `isEmpty`.
    """

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    async def is_empty(self, found: Changes | Repository) -> bool:
        return found.is_empty if isinstance(found, Changes) else await found.is_clean()

    async def added_paths(self, found: Changes | Repository) -> list[str]:
        return _changes(found).added_paths

    async def modified_paths(self, found: Changes | Repository) -> list[str]:
        return _changes(found).modified_paths

    async def removed_paths(self, found: Changes | Repository) -> list[str]:
        return _changes(found).removed_paths

    async def before(self, found: Changes | Repository) -> Place:
        return _changes(found).before

    async def after(self, found: Changes | Repository) -> Place:
        return _changes(found).after

    async def layer(self, found: Changes | Repository) -> Place:
        return _changes(found).layer(self._trees)

    async def as_patch(self, found: Changes | Repository) -> Place:
        return await _changes(found).patch(self._trees)

    async def export(self, found: Changes | Repository, client: Client, path: str) -> str:
        target = client.folder(path)
        _changes(found).apply(target)
        return str(target)

    async def sync(self, found: Changes | Repository) -> None:
        """Return the changeset; evaluation has already done everything."""


def _changes(found: Changes | Repository) -> Changes:
    if isinstance(found, Repository):
        raise NotOfferedError("a field other than isEmpty of a work tree's changes")
    return found
