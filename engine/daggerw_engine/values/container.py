"""Evaluated containers: an image, layers and changes on top of it, and the settings of commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from daggerw_engine.files.changes import Remove, Write
from daggerw_engine.keys import key_of
from daggerw_engine.values.config import Config, Port
from daggerw_engine.values.host_service import HostService
from daggerw_engine.values.mounts import Mount, SecretFile
from daggerw_engine.values.secret import Secret


@dataclass(frozen=True)
class Outcome:
    """Result of the last command."""

    exit_code: int
    stdout: str
    stderr: str
    combined: str


@dataclass(frozen=True)
class ContainerState:
    """Evaluated container.

    `content` represents the file system in cache keys: the image's id or the key of the last step. `image` is
    an image's id in Buildah's store, None for an empty file system; `layers` are the keys of the engine's own
    layers on top of it, the lowest first. `own_args` is set when the default arguments aren't the image's: a
    service then runs them without the entrypoint.
    """

    content: str = "scratch"
    image: str | None = None
    image_config: Config = field(default_factory=Config)
    layers: tuple[str, ...] = ()
    changes: tuple[Write | Remove, ...] = ()
    config: Config = field(default_factory=Config)
    own_args: bool = False
    secret_env: tuple[tuple[str, Secret], ...] = ()
    mounts: tuple[Mount, ...] = ()
    bindings: tuple[tuple[str, AnyService], ...] = ()
    outcome: Outcome | None = None
    stand_ins: frozenset[str] = field(default_factory=frozenset)

    @property
    def surroundings(self) -> object:
        """Value that represents in a cache key all inputs of its commands besides the file system."""
        secrets = [(name, secret.key) for name, secret in self.secret_env]
        bound = [(alias, service.key) for alias, service in self.bindings]
        return [self.config.env, secrets, self.config.workdir, self.config.user, list(self.mounts), bound]

    @property
    def secrets(self) -> list[Secret]:
        """Secrets of its commands."""
        files = [mount.source.secret for mount in self.mounts if isinstance(mount.source, SecretFile)]
        return [*files, *(secret for _, secret in self.secret_env)]

    @property
    def rootfs_key(self) -> str:
        """Value that represents the file system with its changes in a cache key."""
        return key_of(self.content, list(self.changes)) if self.changes else self.content

    @property
    def env(self) -> dict[str, str]:
        """Environment variables by name."""
        return dict(self.config.env)

    def mount_at(self, path: str) -> Mount | None:
        """Return the mount that contains `path`; None if the file system contains it."""
        listed = (mount for mount in reversed(self.mounts) if mount.is_listed)
        return next((mount for mount in listed if mount.covers(path)), None)

    def with_config(self, **changes: object) -> ContainerState:
        """Return the container with other fields in its configuration."""
        return replace(self, config=replace(self.config, **changes))  # type: ignore[arg-type]

    def with_changes(self, *changes: Write | Remove) -> ContainerState:
        """Return the container with more changes of its file system."""
        return replace(self, changes=(*self.changes, *changes))

    def with_layer(self, key: str) -> ContainerState:
        """Return the container with its changes moved to the layer `key`."""
        return replace(self, layers=(*self.layers, key), content=key, changes=())

    def expand(self, text: str, expand: bool) -> str:
        """Return `text`, with $VAR and ${VAR} replaced if `expand`; unknown ones become empty."""
        if not expand:
            return text
        return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: self.env.get(m[1] or m[2], ""), text)


@dataclass(frozen=True)
class Service:
    """Container with the command of its service."""

    container: ContainerState
    command: tuple[str, ...]

    @property
    def key(self) -> str:
        """Value that represents the service in a cache key."""
        state = self.container
        return key_of("service", state.rootfs_key, state.config, state.surroundings, list(self.command))

    @property
    def label(self) -> str:
        """Name in the progress display."""
        return " ".join(self.command)

    @property
    def ports(self) -> tuple[Port, ...]:
        """Exposed ports."""
        return self.container.config.ports


AnyService = Service | HostService
