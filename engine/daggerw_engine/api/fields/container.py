"""Fields of Dagger's Container type for its file system and its commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from daggerw_engine.api.clients.client import Client
from daggerw_engine.api.fields.configuration import (
    ConfigurationFields,
    State,
    at,
    expand_unless_secret,
    merge_configs,
)
from daggerw_engine.api.fields.directory import apply_changes, below_folder, filter_directory
from daggerw_engine.errors import EngineError
from daggerw_engine.files.changes import Remove, Write
from daggerw_engine.files.trees import Place, Trees
from daggerw_engine.run.execution import Executor
from daggerw_engine.run.services import Services
from daggerw_engine.store.commits import Committer
from daggerw_engine.store.images import Image, Images
from daggerw_engine.store.packing import Packer
from daggerw_engine.values.config import Config
from daggerw_engine.values.container import Outcome, Service
from daggerw_engine.values.mounts import Mount, SecretFile, Socket, Temporary, Volume
from daggerw_engine.values.secret import Secret

NO_COMMAND = "no command has been set"


class ContainerFields(ConfigurationFields):
    """Fields of a container: each method takes the evaluated container and the field's arguments."""

    def __init__(
        self,
        executor: Executor,
        committer: Committer,
        packer: Packer,
        images: Images,
        services: Services,
        trees: Trees,
    ) -> None:
        self._executor, self._committer, self._packer = executor, committer, packer
        self._images, self._services, self._trees = images, services, trees

    async def from_(self, state: State, address: str) -> State:
        return _of(state, await self._images.get(address))

    async def import_(self, state: State, source: Place, tag: str) -> State:
        return _of(state, await self._images.load_archive(source, tag))

    # Commands

    async def with_exec(
        self,
        state: State,
        args: list[str],
        use_entrypoint: bool,
        stdin: str,
        redirect_stdin: str,
        redirect_stdout: str,
        redirect_stderr: str,
        expect: str,
        expand: bool,
    ) -> State:
        if stdin and redirect_stdin:
            raise EngineError("cannot set both stdin and redirectStdin")
        if redirect_stdin:
            stdin = (await self.file(state, redirect_stdin, expand)).on_disk.read_text(
                errors="surrogateescape"
            )
        command = command_of(state, args, use_entrypoint=use_entrypoint, expand=expand)
        done = await self._executor.execute(state, command, stdin=stdin, expect=expect)
        outcome = _outcome(done)
        for path, text in ((redirect_stdout, outcome.stdout), (redirect_stderr, outcome.stderr)):
            if path:
                source = self._trees.write_file("output", text, 0o644)
                done = self._change(done, Write(at(done, path, expand), source))
        return done

    async def as_service(self, state: State, args: list[str], use_entrypoint: bool, expand: bool) -> Service:
        if not (args or state.config.args or state.config.entrypoint):
            raise EngineError("no service command has been set")
        use_entrypoint = use_entrypoint or not (args or state.own_args)
        return Service(state, command_of(state, args, use_entrypoint=use_entrypoint, expand=expand))

    async def up(
        self, state: State, ports: list[dict[str, object]], random: bool, args: list[str], **how: bool
    ) -> None:
        service = await self.as_service(state, args, **how)
        await self._services.up(service, ports, random=random)

    async def sync(self, state: State) -> None:
        await self._committer.commit(state)

    async def stdout(self, state: State) -> str:
        return _outcome(state).stdout

    async def stderr(self, state: State) -> str:
        return _outcome(state).stderr

    async def combined_output(self, state: State) -> str:
        return _outcome(state).combined

    async def exit_code(self, state: State) -> int:
        return _outcome(state).exit_code

    # Files and directories, also below what is mounted

    async def with_directory(
        self,
        state: State,
        path: str,
        source: Place,
        exclude: list[str],
        include: list[str],
        gitignore: bool,
        owner: str,
        expand: bool,
    ) -> State:
        place = filter_directory(self._trees, source, exclude, include, gitignore)
        return self._change(state, Write(at(state, path, expand), place, owner))

    async def with_file(
        self, state: State, path: str, source: Place, owner: str, expand: bool, permissions: int | None = None
    ) -> State:
        target = below_folder(path, at(state, path, expand), source)
        return self._change(state, Write(target, source, owner, permissions, into_folders=True))

    async def with_files(self, state: State, path: str, sources: list[Place], **how: object) -> State:
        for source in sources:
            state = await self.with_file(state, f"{path}/", source, **how)  # type: ignore[arg-type]
        return state

    async def with_new_file(
        self, state: State, path: str, contents: str, permissions: int, owner: str, expand: bool
    ) -> State:
        source = self._trees.write_file("file", contents, 0o644)
        return self._change(state, Write(at(state, path, expand), source, owner, permissions))

    async def without_directory(self, state: State, path: str, expand: bool) -> State:
        return await self.without_files(state, [path], expand)

    async def without_file(self, state: State, path: str, expand: bool) -> State:
        return await self.without_files(state, [path], expand)

    async def without_files(self, state: State, paths: list[str], expand: bool) -> State:
        for path in paths:
            state = self._change(state, Remove(at(state, path, expand)))
        return state

    async def with_rootfs(self, state: State, directory: Place) -> State:
        empty = replace(state, content="scratch", image=None, image_config=Config(), layers=(), changes=())
        return empty.with_changes(Write("/", directory))

    async def directory(self, state: State, path: str, expand: bool) -> Place:
        return await self._executor.extract(state, at(state, path, expand), directory=True)

    async def file(self, state: State, path: str, expand: bool) -> Place:
        return await self._executor.extract(state, at(state, path, expand), directory=False)

    async def rootfs(self, state: State) -> Place:
        return await self._executor.extract(replace(state, mounts=()), "/", directory=True)

    async def as_tarball(self, state: State, forced_compression: str | None = None) -> Place:
        return await self._packer.pack(state, compress=forced_compression != "Uncompressed")

    async def export(
        self, state: State, client: Client, path: str, expand: bool, forced_compression: str | None = None
    ) -> str:
        tarball = await self.as_tarball(state, forced_compression)
        return client.write_file(
            tarball.on_disk, expand_unless_secret(state, path, expand), into_folders=False
        )

    # Mounts

    async def with_mounted_directory(
        self, state: State, path: str, source: Place, owner: str, read_only: bool, expand: bool
    ) -> State:
        return _add_mount(state, Mount(at(state, path, expand), source, owner, read_only))

    async def with_mounted_file(
        self, state: State, path: str, source: Place, owner: str, expand: bool
    ) -> State:
        return _add_mount(state, Mount(at(state, path, expand), source, owner))

    async def with_mounted_cache(
        self, state: State, path: str, cache: str, sharing: str, owner: str, expand: bool
    ) -> State:
        volume = Volume(cache, sharing)
        return _add_mount(state, Mount(at(state, path, expand), volume, owner))

    async def with_mounted_temp(
        self, state: State, path: str, expand: bool, size: int | None = None
    ) -> State:
        return _add_mount(state, Mount(at(state, path, expand), Temporary(size or 0)))

    async def with_mounted_secret(
        self, state: State, path: str, source: Secret, owner: str, mode: int, expand: bool
    ) -> State:
        secret = SecretFile(source, mode)
        return _add_mount(state, Mount(at(state, path, expand), secret, owner))

    async def with_unix_socket(
        self, state: State, path: str, source: Socket, owner: str, expand: bool
    ) -> State:
        return _add_mount(state, Mount(at(state, path, expand), source, owner))

    async def without_mount(self, state: State, path: str, expand: bool) -> State:
        return _remove_mount(state, at(state, path, expand))

    async def without_unix_socket(self, state: State, path: str, expand: bool) -> State:
        return _remove_mount(state, at(state, path, expand))

    async def mounts(self, state: State) -> list[str]:
        return [mount.path for mount in state.mounts if mount.is_listed]

    def _change(self, state: State, change: Write | Remove) -> State:
        """Return the container with a change in its file system, or in the directory mounted there."""
        if (mount := state.mount_at(change.path)) is None:
            return state.with_changes(change)
        below, place = change.path[len(mount.path) :], mount.place
        merges = isinstance(change, Write) and change.source.on_disk.is_dir() and place.on_disk.is_dir()
        if not below and not merges:
            return self._change(_remove_mount(state, mount.path), change)
        source = apply_changes(self._trees, place, replace(change, path=below or "/"))
        mounts = (replace(each, source=source) if each is mount else each for each in state.mounts)
        return replace(state, mounts=tuple(mounts))


def command_of(state: State, args: Sequence[str], *, use_entrypoint: bool, expand: bool) -> tuple[str, ...]:
    """Return the whole command: `args` or the default ones, after the entrypoint if `use_entrypoint`."""
    words = tuple(expand_unless_secret(state, word, expand) for word in args) or state.config.args
    command = (*state.config.entrypoint, *words) if use_entrypoint else words
    if not command:
        raise EngineError(NO_COMMAND)
    return command


def _of(state: State, image: Image) -> State:
    return replace(
        state,
        content=image.image,
        image=image.image,
        image_config=image.config,
        layers=(),
        changes=(),
        config=merge_configs(state.config, image.config),
        stand_ins=image.stand_ins,
    )


def _add_mount(state: State, added: Mount) -> State:
    """Return the container with a mount, which replaces those at its path and below."""
    if not added.is_listed:
        return replace(state, mounts=(*_remove_mount(state, added.path).mounts, added))
    on_top = [mount for mount in state.mounts if not mount.is_listed]
    others = [mount for mount in state.mounts if mount.is_listed and not added.covers(mount.path)]
    return replace(state, mounts=(*others, added, *on_top))


def _remove_mount(state: State, path: str) -> State:
    return replace(state, mounts=tuple(mount for mount in state.mounts if mount.path != path))


def _outcome(state: State) -> Outcome:
    if state.outcome is None:
        raise EngineError(NO_COMMAND)
    return state.outcome
