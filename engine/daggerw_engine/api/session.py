"""Session of one user's call, with its network, its services and its evaluated values."""

from __future__ import annotations

import secrets as random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from daggerw_engine.api.clients.client import Client, ModuleClient, ModuleSource
from daggerw_engine.api.clients.secret_providers import Secrets
from daggerw_engine.api.fields.container import ContainerFields
from daggerw_engine.api.fields.directory import DirectoryFields, FileFields
from daggerw_engine.api.fields.objects import (
    ChangesetFields,
    RefFields,
    RepositoryFields,
    SecretFields,
    ServiceFields,
)
from daggerw_engine.api.fields.root import CurrentModuleFields, HostFields, QueryFields
from daggerw_engine.api.queries.evaluation import Evaluation, Items
from daggerw_engine.api.queries.object_ids import ObjectIds
from daggerw_engine.api.queries.resolver import Api, data_of
from daggerw_engine.api.server import serve_api
from daggerw_engine.errors import disk_errors
from daggerw_engine.files.trees import Trees
from daggerw_engine.progress import Progress
from daggerw_engine.run.addresses import Addresses
from daggerw_engine.run.execution import Executor
from daggerw_engine.run.network import NAME_SERVER, Network, listener
from daggerw_engine.run.preparation import Preparer
from daggerw_engine.run.services import Services
from daggerw_engine.run.trust import Trust
from daggerw_engine.store.build import Builder
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.commits import Committer
from daggerw_engine.store.images import Images
from daggerw_engine.store.packing import Packer
from daggerw_engine.store.stand_ins import Table


class Session:
    """Session: evaluates each call once, with the cache that all sessions share."""

    def __init__(
        self, cache: Cache, network: Network, progress: Progress, module: ModuleSource, user: Client
    ) -> None:
        self._network = network
        self._user = user
        self._module = Client(cache.trees.new_folder(), confined=True, name=f"{module.name} {module.folder}")
        trust, addresses, secrets = Trust.of_host(cache.scratch), Addresses(), Secrets(cache.folder)
        committer = Committer(cache.layers, cache.results)
        self._preparer = preparer = Preparer(cache, committer, trust, addresses)
        self._services = Services(preparer, addresses, network, progress)
        images = Images(cache.store, cache.results, progress, Table(module.table))
        builder = Builder(
            cache,
            images,
            progress,
            network=network.command_prefix,
            name_server=NAME_SERVER,
            volumes=trust.build_volumes(),
        )
        containers = ContainerFields(
            Executor(cache, committer, preparer, self._services, network, progress),
            committer,
            Packer(cache, committer, progress),
            images,
            self._services,
            cache.trees,
        )
        self._evaluation = Evaluation(
            {
                **_root_fields(cache.trees, secrets, progress, module),
                **_value_fields(cache.trees),
                "Container": containers,
                "Directory": DirectoryFields(cache.trees, builder),
                "Service": ServiceFields(self._services, addresses, committer),
            }
        )
        self._ids = ObjectIds()
        self._api = Api(self._evaluation, secrets, self._ids, cache.folder / "types")

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        cache: Path,
        bound: int,
        network: Network,
        module: ModuleSource,
        progress: Progress,
        user: Client,
    ) -> AsyncIterator[Session]:
        """Open a user's session on the cache folder; its end stops everything that it started."""
        async with AsyncExitStack() as stack:
            stack.enter_context(disk_errors())
            kept = await stack.enter_async_context(Cache.open(cache, bound))
            session = cls(kept, network, progress, module, user)
            stack.push_async_callback(session._close)
            yield session

    async def _close(self) -> None:
        await self._evaluation.close()
        await self._services.stop_all()
        await self._preparer.close()

    async def query(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the data of the user's own query; ApiError when it fails."""
        return data_of(await self._api.execute(self._user, document, variables))

    @asynccontextmanager
    async def module_client(self) -> AsyncIterator[ModuleClient]:
        """Serve the API to a module's process, in its network namespace, while the block runs."""
        assert self._network.module
        listening = await self._network.module.namespace.listen()
        async with self._serve(self._module, listening) as address:
            yield ModuleClient(address, self._module.workdir)

    def hand_to_module(self, value: object) -> None:
        """Grant the module the objects whose IDs the user passes to it."""
        self._ids.share(value, self._user, self._module)

    def take_from_module(self, value: object) -> None:
        """Grant the user the objects whose IDs the module returns."""
        self._ids.share(value, self._module, self._user)

    @asynccontextmanager
    async def user_client(self) -> AsyncIterator[dict[str, str]]:
        """Serve the API on the host's loopback; yields the environment variables for an SDK."""
        async with self._serve(self._user, listener()) as address:
            yield address

    @asynccontextmanager
    async def _serve(self, client: Client, listening: socket.socket) -> AsyncIterator[dict[str, str]]:
        async def answer(request: Mapping[str, Any]) -> dict[str, Any]:
            return await self._api.execute(
                client, request["query"], request.get("variables"), request.get("operationName")
            )

        token, port = random.token_urlsafe(32), listening.getsockname()[1]
        async with serve_api(answer, listening, token):
            yield {"DAGGER_SESSION_PORT": str(port), "DAGGER_SESSION_TOKEN": token}


def _root_fields(
    trees: Trees, secrets: Secrets, progress: Progress, module: ModuleSource
) -> dict[str, object]:
    hosts = HostFields(trees, progress)
    return {
        "Query": QueryFields(trees, secrets, progress),
        "Host": hosts,
        "CurrentModule": CurrentModuleFields(trees, module, hosts),
    }


def _value_fields(trees: Trees) -> dict[str, object]:
    return {
        "Secret": SecretFields(),
        "File": FileFields(trees),
        "GitRepository": RepositoryFields(),
        "GitRef": RefFields(trees),
        "Changeset": ChangesetFields(trees),
        **dict.fromkeys(("EnvVariable", "Label", "Port"), Items()),
    }
