"""The fields of Secret, Service and the types that only hold values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from daggerw_engine.api.calls import Call
from daggerw_engine.api.secret import Secret
from daggerw_engine.api.state import Port
from daggerw_engine.errors import NotOfferedError, ServiceError
from daggerw_engine.files.changeset import Changes
from daggerw_engine.files.git import Ref, Repository
from daggerw_engine.files.trees import Place
from daggerw_engine.run.services import AnyService, Service

if TYPE_CHECKING:
    from daggerw_engine.api.session import Client, Session


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

    async def hostname(self, service: AnyService) -> str:
        return self._session.services.address(service)

    async def endpoint(self, service: AnyService, scheme: str, port: int | None = None) -> str:
        if port is None and not service.ports:
            raise ServiceError("the service exposes no port: add one with withExposedPort")
        address = f"{self._session.services.address(service)}:{port or service.ports[0].port}"
        return f"{scheme}://{address}" if scheme else address

    async def ports(self, service: AnyService) -> Sequence[Port]:
        return service.ports

    async def start(self, service: AnyService) -> None:
        await self._session.services.start(service)

    async def stop(self, service: AnyService, kill: bool) -> None:
        await self._session.services.stop(service, kill=kill)

    async def sync(self, service: AnyService) -> None:
        if isinstance(service, Service):
            await self._session.executor.committed(service.container)

    async def up(self, service: AnyService, ports: list[dict[str, Any]], random: bool) -> None:
        await self._session.services.up(service, ports, random=random)


class RepositoryFields:
    """The fields of a Git repository."""

    def __init__(self, _: Session) -> None:
        """Repositories need nothing of a session."""

    async def head(self, repository: Repository) -> Ref:
        return await repository.head()

    async def ref(self, repository: Repository, name: str) -> Ref:
        return await repository.ref(name)

    async def commit(self, repository: Repository, id: str) -> Ref:  # as the API has it
        return await repository.commit(id)

    async def uncommitted(self, repository: Repository) -> Repository:
        return repository


class RefFields:
    """The fields of a commit."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def ref(self, ref: Ref) -> str:
        return ref.ref

    async def commit(self, ref: Ref) -> str:
        return ref.commit

    async def tree(self, ref: Ref, discard_git_dir: bool) -> Place:
        folder = self._session.trees.new_folder()
        await ref.tree(folder, with_git=not discard_git_dir)
        return self._session.trees.adopt(folder)


class ChangesetFields:
    """The fields of what differs between two directories, or between a repository's work tree and HEAD.

    Of the latter only whether it is nothing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def is_empty(self, found: Changes | Repository) -> bool:
        return found.is_empty if isinstance(found, Changes) else await found.is_clean()

    async def added_paths(self, found: Changes | Repository) -> list[str]:
        return _changes(found).added

    async def modified_paths(self, found: Changes | Repository) -> list[str]:
        return _changes(found).modified

    async def removed_paths(self, found: Changes | Repository) -> list[str]:
        return _changes(found).removed

    async def before(self, found: Changes | Repository) -> Place:
        return _changes(found).before

    async def after(self, found: Changes | Repository) -> Place:
        return _changes(found).after

    async def layer(self, found: Changes | Repository) -> Place:
        return _changes(found).layer(self._session.trees)

    async def as_patch(self, found: Changes | Repository) -> Place:
        return await _changes(found).patch(self._session.trees)

    async def export(self, found: Changes | Repository, client: Client, path: str) -> str:
        target = client.folder(path)
        _changes(found).apply(target)
        return str(target)

    async def sync(self, found: Changes | Repository) -> None:
        """Nothing is left to do once both directories have a place."""


def _changes(found: Changes | Repository) -> Changes:
    if isinstance(found, Repository):
        raise NotOfferedError("what a work tree has besides HEAD, but for whether it is nothing")
    return found


class Items:
    """A small object of a list, such as a label: its fields are the values themselves."""

    def __init__(self, _: Session) -> None:
        """Items need nothing of a session."""


def item_of(found: Sequence[Any], call: Call) -> Any:
    """Return the element of a list that a call stands for."""
    return found[int(str(call.arguments["index"]))]
