"""A session: one user's call, with its network, its services and everything it has evaluated."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import graphql

from daggerw_engine.api.calls import ROOT, Call
from daggerw_engine.api.containers import Containers
from daggerw_engine.api.directories import Directories, Files
from daggerw_engine.api.leaves import (
    ChangesetFields,
    Items,
    RefFields,
    RepositoryFields,
    SecretFields,
    ServiceFields,
    item_of,
)
from daggerw_engine.api.queries import Api, data_of, field_method, load_schema, snake
from daggerw_engine.api.roots import CurrentModules, Hosts, Queries
from daggerw_engine.api.scrub import Scrubber
from daggerw_engine.api.secret import Secret, Secrets
from daggerw_engine.api.server import serving
from daggerw_engine.api.state import Volume
from daggerw_engine.command.progress import Progress
from daggerw_engine.errors import EngineError, NotOfferedError, PathError, disk_errors
from daggerw_engine.files.copying import copy_entry, copy_into
from daggerw_engine.files.patterns import Filter
from daggerw_engine.files.trees import Place
from daggerw_engine.run.execution import Executor
from daggerw_engine.run.network import NAME_SERVER, Network, listener
from daggerw_engine.run.process import Completed
from daggerw_engine.run.services import Services
from daggerw_engine.run.trust import Trust
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.images import Images


@dataclass(frozen=True)
class Client:
    """Who asks: where its relative paths begin, and whether it is held inside of that folder."""

    workdir: Path
    confined: bool

    def path(self, path: str) -> Path:
        """Return the place of a path on the client's file system; PathError when it may not go there."""
        found = Path(os.path.normpath(self.workdir / Path(path).expanduser()))
        if self.confined and not found.resolve().is_relative_to(self.workdir.resolve()):
            raise PathError(f"{path!r} lies outside of the module's working directory")
        return found

    def secret(self, uri: str) -> str:
        """Return the address of a secret as this client may read it; EngineError when it may not."""
        scheme, _, rest = uri.partition(":")
        if not self.confined:
            return uri
        if scheme in ("env", "cmd"):
            raise EngineError(f"module code has no {scheme}: secrets of its own: take one as an argument")
        return f"file:{self.path(rest.removeprefix('//'))}" if scheme == "file" else uri

    def write_file(self, source: Path, path: str, *, into_folders: bool) -> str:
        """Write a file for the client; returns its absolute path."""
        target = self.path(path)
        if target.is_dir() and into_folders:
            target = target / source.name
        if target.is_dir():
            raise PathError(f"{path}: is a directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_entry(source, target, (os.getuid(), os.getgid()))
        return str(target)

    def folder(self, path: str) -> Path:
        """Return the place of a folder, made when it is missing; PathError when something else is there."""
        target = self.path(path)
        if target.exists() and not target.is_dir():
            raise PathError(f"{path}: not a directory")
        target.mkdir(parents=True, exist_ok=True)
        return target

    def write_folder(self, source: Path, path: str, *, wipe: bool) -> str:
        """Merge a folder into the client's; returns its absolute path."""
        target = self.folder(path)
        if wipe:
            shutil.rmtree(target)
        copy_into(source, target, owner=(os.getuid(), os.getgid()))
        return str(target)


@dataclass(frozen=True)
class ModuleSource:
    """The module that a session is for: its name, and the folder of its source."""

    name: str
    folder: Path


@dataclass(frozen=True)
class ModuleClient:
    """What a module's process is told: where the engine answers, and where its relative paths begin."""

    env: Mapping[str, str]
    workdir: Path


class Session:
    """Evaluates calls, each once, with the cache that all sessions share."""

    platform = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)

    def __init__(self, cache: Cache, network: Network, progress: Progress, module: ModuleSource) -> None:
        self.schema: graphql.GraphQLSchema = load_schema()
        self.store, self.trees, self.results = cache.store, cache.trees, cache.results
        self.layers = cache.layers
        self.scratch, self.network, self.progress = cache.scratch, network, progress
        self.module, self.secrets = module, Secrets(cache.folder)
        self.trust = Trust.of_host(cache.scratch)
        self.executor, self.images, self.services = Executor(self), Images(self), Services(self)
        self._cache = cache
        self._api = Api(self, self.schema)
        self._user = Client(Path.cwd(), confined=False)
        self._calls: dict[str, Call] = {ROOT.id: ROOT}
        self._values: dict[str, Any] = {ROOT.id: None}
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._fields: dict[str, object] = {
            name: kind(self)
            for name, kind in {
                **{"Query": Queries, "Host": Hosts, "CurrentModule": CurrentModules, "Secret": SecretFields},
                **{
                    "Container": Containers,
                    "Directory": Directories,
                    "File": Files,
                    "Service": ServiceFields,
                },
                **{"EnvVariable": Items, "Label": Items, "Port": Items},
                **{"GitRepository": RepositoryFields, "GitRef": RefFields, "Changeset": ChangesetFields},
            }.items()
        }

    @classmethod
    @asynccontextmanager
    async def open(
        cls, *, cache: Path, bound: int, network: Network, module: ModuleSource, progress: Progress
    ) -> AsyncIterator[Session]:
        """Open a session on the cache folder; at the end nothing of it runs any more."""
        async with AsyncExitStack() as stack:
            stack.enter_context(disk_errors())
            kept = await stack.enter_async_context(Cache.open(cache, bound))
            session = cls(kept, network, progress, module)
            stack.push_async_callback(session._close)
            yield session

    async def _close(self) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.services.stop_all()

    async def query(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Answer a query of the user's own; ApiError when it fails."""
        return data_of(await self._api.execute(self._user, document, variables))

    @asynccontextmanager
    async def module_client(self) -> AsyncIterator[ModuleClient]:
        """Serve the API to a module's process, inside the session's network, while the block runs."""
        workdir = self.trees.new_folder()
        async with self._served(Client(workdir, confined=True), await self.network.listen()) as address:
            yield ModuleClient(address, workdir)

    @asynccontextmanager
    async def user_client(self) -> AsyncIterator[dict[str, str]]:
        """Serve the API on the host's loopback; yields what an SDK's environment needs to find it."""
        async with self._served(self._user, listener()) as address:
            yield address

    @asynccontextmanager
    async def _served(self, client: Client, listening: socket.socket) -> AsyncIterator[dict[str, str]]:
        async def answer(request: Mapping[str, Any]) -> dict[str, Any]:
            return await self._api.execute(
                client, request["query"], request.get("variables"), request.get("operationName")
            )

        token, port = secrets.token_urlsafe(32), listening.getsockname()[1]
        async with serving(answer, listening, token):
            yield {"DAGGER_SESSION_PORT": str(port), "DAGGER_SESSION_TOKEN": token}

    # Calls

    def given(self, call: Call) -> str:
        """Return a call's ID, from which `call` finds it from now on."""
        self._calls[call.id] = call
        return call.id

    def call(self, id_: str) -> Call:
        """Return the call with an ID; EngineError when nobody got it in this session."""
        if id_ not in self._calls:
            raise EngineError(f"no object has the ID {id_!r} in this session")
        return self._calls[id_]

    async def evaluate(self, call: Call) -> Any:
        """Return the value behind a call; whoever asks meanwhile or later gets the same one."""
        if call.id in self._values:
            return self._values[call.id]
        if call.id not in self._running:
            task = asyncio.create_task(self.ask(call))
            self._running[call.id] = task
            task.add_done_callback(lambda done: self._ended(call.id, done))
        return await asyncio.shield(self._running[call.id])

    def _ended(self, id_: str, done: asyncio.Task[Any]) -> None:
        del self._running[id_]
        if not done.cancelled() and not done.exception():
            self._values[id_] = done.result()

    async def ask(self, call: Call, **extra: object) -> Any:
        """Return what a field gives on its evaluated parent, without remembering it."""
        parent = call.parent or ROOT
        value = await self.evaluate(parent)
        if call.field == "item":
            return item_of(value, call)
        fields = self._fields[parent.type]
        if isinstance(fields, Items):
            return value[call.field] if isinstance(value, dict) else getattr(value, snake(call.field))
        arguments = {snake(name): given for name, given in call.arguments.items()}
        with disk_errors():
            return await field_method(fields, call.field)(value, **arguments, **extra)

    async def place(self, call: Call) -> Place:
        """Return the place of a directory or file."""
        found: Place = await self.evaluate(call)
        return found

    # What steps need

    def only_platform(self, platform: str | None) -> None:
        """Refuse any platform but this engine's."""
        if platform not in (None, self.platform):
            raise NotOfferedError(f"the platform {platform}")

    def filtered(self, place: Place, exclude: list[str], include: list[str], gitignore: bool) -> Place:
        """Return what a filter leaves of a directory."""
        kept = Filter.of(exclude, include, gitignore=gitignore)
        return self.trees.adopt(self.trees.copy(place, kept)) if kept != Filter() else place

    def text_file(self, name: str, text: str) -> Place:
        """Keep a text as a file."""
        return self.trees.write_file(name, text, 0o644)

    def volume(self, volume: Volume) -> AbstractAsyncContextManager[Path]:
        """Hold a cache volume as its sharing mode says; yields its folder."""
        return self._cache.volume(volume)

    def scrubbed(self, done: Completed, secrets: Iterable[Secret]) -> Completed:
        """Return how a process ended, without the secrets that it was given."""
        scrub = Scrubber()
        for secret in secrets:
            scrub.hide(secret.text)
        return Completed(done.status, *map(scrub, (done.stdout, done.stderr, done.combined)))

    def hidden(self, secret: Secret) -> Secret:
        """Return a secret that is never shown by what the session says."""
        self.progress.scrub.hide(secret.text)
        return secret

    def resolver(self) -> Path:
        """Return a Buildah configuration with which Dockerfiles resolve the names of the world."""
        text = f'[containers]\ndns_servers = ["{NAME_SERVER}"]\n'
        return self.text_file("containers.conf", text).on_disk
