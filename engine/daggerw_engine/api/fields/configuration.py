"""Fields of Dagger's Container type that set or return the configuration of its commands."""

from __future__ import annotations

from dataclasses import replace

from daggerw_engine.api.fields.platforms import PLATFORM
from daggerw_engine.errors import EngineError
from daggerw_engine.files.paths import absolute
from daggerw_engine.store.packing import labels
from daggerw_engine.values.config import Config, Port, with_pair
from daggerw_engine.values.container import AnyService, ContainerState
from daggerw_engine.values.secret import Secret

State = ContainerState


def at(state: State, path: str, expand: bool = False) -> str:
    """Return a path argument as an absolute path in the container."""
    return absolute(state.config.workdir or "/", expand_unless_secret(state, path, expand))


def expand_unless_secret(state: State, text: str, expand: bool) -> str:
    """Return `text`, with $VAR and ${VAR} replaced if `expand`; EngineError when one is a secret."""
    for name, _ in state.secret_env if expand else ():
        if f"${name}" in text or f"${{{name}}}" in text:
            raise EngineError(f'expand cannot be used with secret env variable "{name}"')
    return state.expand(text, expand)


def merge_configs(own: Config, image: Config) -> Config:
    """Return an image's configuration plus the variables, labels and ports that the container had before."""
    ports = {port.text: port for port in (*own.ports, *image.ports)}
    return replace(
        image,
        env=tuple({**dict(own.env), **dict(image.env)}.items()),
        labels=tuple({**dict(own.labels), **dict(image.labels)}.items()),
        ports=tuple(ports.values()),
    )


class ConfigurationFields:
    """Fields of a container's configuration: each method takes the evaluated container and the arguments."""

    async def with_env_variable(self, state: State, name: str, value: str, expand: bool) -> State:
        return state.with_config(
            env=with_pair(state.config.env, name, expand_unless_secret(state, value, expand))
        )

    async def without_env_variable(self, state: State, name: str) -> State:
        return state.with_config(env=with_pair(state.config.env, name, None))

    async def env_variable(self, state: State, name: str) -> str | None:
        return state.env.get(name)

    async def env_variables(self, state: State) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in state.config.env]

    async def with_secret_variable(self, state: State, name: str, secret: Secret) -> State:
        found = {**dict(state.secret_env), name: secret}
        return replace(state, secret_env=tuple(found.items()))

    async def without_secret_variable(self, state: State, name: str) -> State:
        return replace(state, secret_env=tuple(pair for pair in state.secret_env if pair[0] != name))

    async def with_label(self, state: State, name: str, value: str) -> State:
        return state.with_config(labels=with_pair(state.config.labels, name, value))

    async def without_label(self, state: State, name: str) -> State:
        return state.with_config(labels=with_pair(state.config.labels, name, None))

    async def label(self, state: State, name: str) -> str | None:
        return dict(labels(state)).get(name)

    async def labels(self, state: State) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in labels(state)]

    async def with_workdir(self, state: State, path: str, expand: bool) -> State:
        return state.with_config(workdir=at(state, path, expand))

    async def without_workdir(self, state: State) -> State:
        return state.with_config(workdir="")

    async def workdir(self, state: State) -> str:
        return state.config.workdir

    async def with_user(self, state: State, name: str) -> State:
        return state.with_config(user=name)

    async def without_user(self, state: State) -> State:
        return state.with_config(user="")

    async def user(self, state: State) -> str:
        return state.config.user

    async def with_entrypoint(self, state: State, args: list[str], keep_default_args: bool) -> State:
        kept = state.config.args if keep_default_args else ()
        return state.with_config(entrypoint=tuple(args), args=kept)

    async def without_entrypoint(self, state: State, keep_default_args: bool) -> State:
        return await self.with_entrypoint(state, [], keep_default_args)

    async def entrypoint(self, state: State) -> tuple[str, ...]:
        return state.config.entrypoint

    async def with_default_args(self, state: State, args: list[str]) -> State:
        return replace(state.with_config(args=tuple(args)), own_args=True)

    async def without_default_args(self, state: State) -> State:
        return replace(state.with_config(args=()), own_args=False)

    async def default_args(self, state: State) -> tuple[str, ...]:
        return state.config.args

    async def with_exposed_port(
        self,
        state: State,
        port: int,
        protocol: str,
        experimental_skip_healthcheck: bool,
        description: str | None = None,
    ) -> State:
        bare = await self.without_exposed_port(state, port, protocol)
        added = Port(port, protocol, description, experimental_skip_healthcheck)
        return bare.with_config(ports=(*bare.config.ports, added))

    async def without_exposed_port(self, state: State, port: int, protocol: str) -> State:
        others = (each for each in state.config.ports if (each.port, each.protocol) != (port, protocol))
        return state.with_config(ports=tuple(others))

    async def exposed_ports(self, state: State) -> list[Port]:
        return list(state.config.ports)

    async def with_service_binding(self, state: State, alias: str, service: AnyService) -> State:
        return replace(state, bindings=(*state.bindings, (alias, service)))

    async def platform(self, _: State) -> str:
        return PLATFORM
