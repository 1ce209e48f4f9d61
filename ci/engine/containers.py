"""The fields of Dagger's Container type."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.calls import Call
from engine.errors import EngineError, PathError
from engine.paths import absolute
from engine.patterns import Filter
from engine.services import Service
from engine.state import Config, ContainerState, Mount, Outcome, Port, Remove, Volume, Write, with_pair
from engine.trees import Place

if TYPE_CHECKING:
    from engine.session import Client, Session

State = ContainerState


def at(state: State, path: str, expand: bool = False) -> str:
    """Return a path argument as an absolute path in the container."""
    return absolute(state.config.workdir or "/", state.expanded(path, expand))


class Containers:
    """Each method is a field: it takes the evaluated container and the field's arguments."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._work = session.executor

    async def from_(self, state: State, address: str) -> State:
        fetched = await self._session.images.get(address)
        return replace(
            state,
            content=fetched.image,
            image=fetched.image,
            layers=(),
            image_config=fetched.config,
            changes=(),
            config=fetched.config,
            stand_ins=fetched.stand_ins,
        )

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
        command = command_of(state, args, use_entrypoint=use_entrypoint, expand=expand)
        done = await self._work.execute(state, command, stdin=stdin, expect=expect)
        redirects = [(redirect_stdout, "stdout"), (redirect_stderr, "stderr")]
        for path, stream in redirects:
            if path and done.outcome:
                source = self._session.text_file("output", getattr(done.outcome, stream))
                done = done.changed(Write(at(done, path, expand), source, replaces=True))
        return done

    # Configuration

    async def with_env_variable(self, state: State, name: str, value: str, expand: bool) -> State:
        return state.configured(env=with_pair(state.config.env, name, state.expanded(value, expand)))

    async def without_env_variable(self, state: State, name: str) -> State:
        return state.configured(env=with_pair(state.config.env, name, None))

    async def with_label(self, state: State, name: str, value: str) -> State:
        return state.configured(labels=with_pair(state.config.labels, name, value))

    async def without_label(self, state: State, name: str) -> State:
        return state.configured(labels=with_pair(state.config.labels, name, None))

    async def with_workdir(self, state: State, path: str, expand: bool) -> State:
        return state.configured(workdir=at(state, path, expand))

    async def without_workdir(self, state: State) -> State:
        return state.configured(workdir="")

    async def with_user(self, state: State, name: str) -> State:
        return state.configured(user=name)

    async def without_user(self, state: State) -> State:
        return state.configured(user="")

    async def with_entrypoint(self, state: State, args: list[str], keep_default_args: bool) -> State:
        kept = state.config.args if keep_default_args else ()
        return state.configured(entrypoint=tuple(args), args=kept)

    async def without_entrypoint(self, state: State, keep_default_args: bool) -> State:
        return await self.with_entrypoint(state, [], keep_default_args)

    async def with_default_args(self, state: State, args: list[str]) -> State:
        return state.configured(args=tuple(args))

    async def without_default_args(self, state: State) -> State:
        return state.configured(args=())

    async def with_exposed_port(
        self,
        state: State,
        port: int,
        protocol: str,
        experimental_skip_healthcheck: bool,
        description: str | None = None,
    ) -> State:
        kept = (p for p in state.config.ports if (p.port, p.protocol) != (port, protocol))
        added = Port(port, protocol, description, experimental_skip_healthcheck)
        return state.configured(ports=(*kept, added))

    async def without_exposed_port(self, state: State, port: int, protocol: str) -> State:
        return state.configured(
            ports=tuple(p for p in state.config.ports if (p.port, p.protocol) != (port, protocol))
        )

    # File system

    async def with_directory(
        self,
        state: State,
        path: str,
        source: Call,
        exclude: list[str],
        include: list[str],
        owner: str,
        expand: bool,
    ) -> State:
        place = await self._session.place(source)
        place = self._session.filtered(place, Filter.of(exclude, include))
        return state.changed(Write(at(state, path, expand), place, owner))

    async def with_file(
        self, state: State, path: str, source: Call, owner: str, expand: bool, permissions: int | None = None
    ) -> State:
        place = await self._session.place(source)
        target = at(state, path, expand) + ("/" + Path(place.path).name if path.endswith("/") else "")
        return state.changed(Write(os.path.normpath(target), place, owner, permissions, replaces=True))

    async def with_new_file(
        self, state: State, path: str, contents: str, permissions: int, owner: str, expand: bool
    ) -> State:
        source = self._session.text_file("file", contents)
        return state.changed(Write(at(state, path, expand), source, owner, permissions, replaces=True))

    async def without_directory(self, state: State, path: str, expand: bool) -> State:
        return state.changed(Remove(at(state, path, expand)))

    async def without_file(self, state: State, path: str, expand: bool) -> State:
        return state.changed(Remove(at(state, path, expand)))

    async def with_rootfs(self, state: State, directory: Call) -> State:
        place = await self._session.place(directory)
        empty = replace(state, content="scratch", image=None, layers=(), image_config=Config(), changes=())
        return empty.changed(Write("/", place))

    # Mounts and services

    async def with_mounted_directory(
        self, state: State, path: str, source: Call, owner: str, read_only: bool, expand: bool
    ) -> State:
        place = await self._session.place(source)
        return _mounted(state, Mount(at(state, path, expand), place, owner, read_only))

    async def with_mounted_file(
        self, state: State, path: str, source: Call, owner: str, expand: bool
    ) -> State:
        place = await self._session.place(source)
        return _mounted(state, Mount(at(state, path, expand), place, owner))

    async def with_mounted_cache(
        self, state: State, path: str, cache: Call, sharing: str, expand: bool
    ) -> State:
        volume: str = await self._session.evaluate(cache)
        return _mounted(state, Mount(at(state, path, expand), Volume(volume, sharing)))

    async def without_mount(self, state: State, path: str, expand: bool) -> State:
        gone = at(state, path, expand)
        return replace(state, mounts=tuple(m for m in state.mounts if m.path != gone))

    async def mounts(self, state: State) -> list[str]:
        return [mount.path for mount in state.mounts]

    async def with_service_binding(self, state: State, alias: str, service: Call) -> State:
        return replace(state, bindings=(*state.bindings, (alias, service)))

    # What comes out

    async def directory(self, state: State, path: str, expand: bool) -> Place:
        return await self._work.extract(state, at(state, path, expand), directory=True)

    async def file(self, state: State, path: str, expand: bool) -> Place:
        return await self._work.extract(state, at(state, path, expand), directory=False)

    async def rootfs(self, state: State) -> Place:
        return await self._work.extract(state, "/", directory=True)

    async def as_tarball(
        self, state: State, media_types: str, forced_compression: str | None = None
    ) -> Place:
        return await self._work.tarball(state, compress=forced_compression != "Uncompressed")

    async def export(self, state: State, client: Client, path: str, expand: bool, **packing: str) -> str:
        tarball = await self.as_tarball(state, packing["media_types"], packing.get("forced_compression"))
        return client.write_file(tarball.on_disk, path, into_folders=False)

    async def as_service(self, state: State, args: list[str], use_entrypoint: bool, expand: bool) -> Service:
        return Service(
            state, command_of(state, args, use_entrypoint=use_entrypoint or not args, expand=expand)
        )

    async def up(
        self,
        state: State,
        ports: list[dict[str, object]],
        random: bool,
        **how: object,
    ) -> None:
        service = await self.as_service(state, **how)  # type: ignore[arg-type]
        await self._session.services.up(service, ports, random=random)

    async def sync(self, state: State) -> None:
        await self._work.committed(state)

    async def stdout(self, state: State) -> str:
        return _outcome(state).stdout

    async def stderr(self, state: State) -> str:
        return _outcome(state).stderr

    async def combined_output(self, state: State) -> str:
        return _outcome(state).combined

    async def exit_code(self, state: State) -> int:
        return _outcome(state).exit_code

    async def workdir(self, state: State) -> str:
        return state.config.workdir or "/"

    async def user(self, state: State) -> str:
        return state.config.user

    async def entrypoint(self, state: State) -> tuple[str, ...]:
        return state.config.entrypoint

    async def default_args(self, state: State) -> tuple[str, ...]:
        return state.config.args

    async def platform(self, state: State) -> str:
        return self._session.platform

    async def env_variable(self, state: State, name: str) -> str | None:
        return state.env.get(name)

    async def env_variables(self, state: State) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in state.config.env]

    async def label(self, state: State, name: str) -> str | None:
        return dict(self._work.labels(state)).get(name)

    async def labels(self, state: State) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in self._work.labels(state)]

    async def exposed_ports(self, state: State) -> list[Port]:
        return list(state.config.ports)


def command_of(state: State, args: Sequence[str], *, use_entrypoint: bool, expand: bool) -> tuple[str, ...]:
    """Return the whole command: `args` or the default ones, behind the entrypoint when asked for."""
    words = tuple(state.expanded(word, expand) for word in args) or state.config.args
    command = (*state.config.entrypoint, *words) if use_entrypoint else words
    if not command:
        raise EngineError(
            "no command: give arguments, or default arguments or an entrypoint in the container"
        )
    return command


def _mounted(state: State, mount: Mount) -> State:
    others = (m for m in state.mounts if m.path != mount.path)
    return replace(state, mounts=(*others, mount))


def _outcome(state: State) -> Outcome:
    if state.outcome is None:
        raise PathError("no command has run in this container: call withExec first")
    return state.outcome
