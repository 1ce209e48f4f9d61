"""What a container is after evaluation: an image, layers and changes on top of it, and how commands run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from daggerw_engine.api.calls import key_of
from daggerw_engine.api.secret import Secret
from daggerw_engine.errors import EngineError
from daggerw_engine.files.trees import Place

if TYPE_CHECKING:
    from daggerw_engine.run.services import AnyService

STAND_IN_LABEL = "io.dagger.embedded.stand-in"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Port:
    """An exposed port."""

    port: int
    protocol: str = "TCP"
    description: str | None = None
    experimental_skip_healthcheck: bool = False

    @property
    def text(self) -> str:
        """The port as images have it, such as 8080/tcp."""
        return f"{self.port}/{self.protocol.lower()}"


@dataclass(frozen=True)
class Config:
    """An image's configuration."""

    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()

    @classmethod
    def of_image(cls, told: Mapping[str, object]) -> Config:
        """Return the configuration in an OCI image's `config` object."""

        def words(name: str) -> list[str]:
            found = told.get(name) or []
            return [str(item) for item in found] if isinstance(found, list) else []

        def names(name: str) -> dict[str, object]:
            found = told.get(name) or {}
            return dict(found) if isinstance(found, dict) else {}

        pairs = (item.partition("=") for item in words("Env"))
        ports = (port.partition("/") for port in names("ExposedPorts"))
        return cls(
            env=tuple((key, value) for key, _, value in pairs),
            user=str(told.get("User") or ""),
            workdir=str(told.get("WorkingDir") or ""),
            entrypoint=tuple(words("Entrypoint")),
            args=tuple(words("Cmd")),
            labels=tuple((key, str(value)) for key, value in sorted(names("Labels").items())),
            ports=tuple(Port(int(port), protocol.upper() or "TCP") for port, _, protocol in ports),
        )

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return [
            self.env,
            self.user,
            self.workdir,
            self.entrypoint,
            self.args,
            self.labels,
            [p.text for p in self.ports],
        ]


@dataclass(frozen=True)
class Write:
    """A change of a file system: a tree's folder or file put at `path`.

    A folder is merged into the one that is there; a file with `into_folders` goes into it under its own name.
    `permissions` are those of all that is put.
    """

    path: str
    source: Place
    owner: str = ""
    permissions: int | None = None
    into_folders: bool = False

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        name = PurePosixPath(self.source.path).name if self.into_folders else ""
        return ["write", self.path, self.source.key, self.owner, self.permissions, name]


@dataclass(frozen=True)
class Remove:
    """A change of a file system: whatever is at `path` goes; it may have wildcards."""

    path: str

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return ["remove", self.path]


@dataclass(frozen=True)
class Volume:
    """A cache volume; it counts by its name alone."""

    name: str
    sharing: str = "SHARED"

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return ["volume", self.name]


@dataclass(frozen=True)
class SecretFile:
    """A secret's plaintext as a file, in memory only."""

    secret: Secret
    mode: int = 0o400

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return ["secret", self.secret.key, self.mode]


@dataclass(frozen=True)
class Temporary:
    """An empty folder in memory, of at most `size` bytes; 0 is as many as there are."""

    size: int = 0

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return ["temporary", self.size]


@dataclass(frozen=True)
class Socket:
    """A Unix socket of the host; it counts by its path."""

    path: str

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return ["socket", self.path]


@dataclass(frozen=True)
class Mount:
    """Something mounted for commands; a folder or file keeps what the last command left of it."""

    path: str
    source: Place | Volume | SecretFile | Temporary | Socket
    owner: str = ""
    read_only: bool = False

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return [self.path, self.source.key, self.owner, self.read_only]

    @property
    def place(self) -> Place:
        """What is mounted, when it is a folder or file; EngineError when nothing can be taken out of it."""
        if isinstance(self.source, Place):
            return self.source
        kind = "cache" if isinstance(self.source, Volume) else "tmpfs"
        raise EngineError(f"{self.path}: cannot retrieve path from {kind}")

    def covers(self, path: str) -> bool:
        """Whether `path` is the mount's own or lies below it."""
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")

    @property
    def is_listed(self) -> bool:
        """Whether the API lists it; secrets and sockets lie on top of all others."""
        return not isinstance(self.source, SecretFile | Socket)

    @property
    def is_kept(self) -> bool:
        """Whether a command's changes to it are seen by the next one."""
        return isinstance(self.source, Place) and not self.read_only


@dataclass(frozen=True)
class Outcome:
    """How the last command ended."""

    exit_code: int
    stdout: str
    stderr: str
    combined: str


@dataclass(frozen=True)
class ContainerState:
    """A container, evaluated.

    `content` stands for the file system in cache keys: it is the image's id or the key of the step that made
    it. `image` is an image's id in Buildah's store, None the empty file system; `layers` are the keys of the
    engine's own layers on top of it, the lowest first. `own_args` tells that the default arguments aren't the
    image's: a service then runs them without the entrypoint.
    """

    content: str = "scratch"
    image: str | None = None
    image_config: Config = Config()
    layers: tuple[str, ...] = ()
    changes: tuple[Write | Remove, ...] = ()
    config: Config = Config()
    own_args: bool = False
    secret_env: tuple[tuple[str, Secret], ...] = ()
    mounts: tuple[Mount, ...] = ()
    bindings: tuple[tuple[str, AnyService], ...] = ()
    outcome: Outcome | None = None
    stand_ins: frozenset[str] = field(default_factory=frozenset)

    @property
    def surroundings(self) -> object:
        """What stands in a cache key for all that its commands meet besides their file system."""
        secrets = [(name, secret.key) for name, secret in self.secret_env]
        bound = [(alias, service.key) for alias, service in self.bindings]
        return [self.config.env, secrets, self.config.workdir, self.config.user, list(self.mounts), bound]

    @property
    def secrets(self) -> list[Secret]:
        """The secrets that its commands are given."""
        files = [mount.source.secret for mount in self.mounts if isinstance(mount.source, SecretFile)]
        return [*files, *(secret for _, secret in self.secret_env)]

    @property
    def rootfs_key(self) -> str:
        """What stands for the file system with its changes in a cache key."""
        return key_of(self.content, list(self.changes)) if self.changes else self.content

    @property
    def env(self) -> dict[str, str]:
        """The environment variables by name."""
        return dict(self.config.env)

    def mount_at(self, path: str) -> Mount | None:
        """Return the mount that has what is at `path`; None for what the file system has."""
        listed = (mount for mount in reversed(self.mounts) if mount.is_listed)
        return next((mount for mount in listed if mount.covers(path)), None)

    def configured(self, **changes: object) -> ContainerState:
        """Return the container with other fields in its configuration."""
        return replace(self, config=replace(self.config, **changes))  # type: ignore[arg-type]

    def changed(self, *changes: Write | Remove) -> ContainerState:
        """Return the container with further changes of its file system."""
        return replace(self, changes=(*self.changes, *changes))

    def with_layer(self, key: str) -> ContainerState:
        """Return the container whose changes are in the layer `key` now."""
        return replace(self, layers=(*self.layers, key), content=key, changes=())

    def expanded(self, text: str, expand: bool) -> str:
        """Return `text` with $VAR and ${VAR} replaced when asked to; unknown ones become empty."""
        if not expand:
            return text
        return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: self.env.get(m[1] or m[2], ""), text)


def with_pair(
    pairs: tuple[tuple[str, str], ...], name: str, value: str | None
) -> tuple[tuple[str, str], ...]:
    """Return `pairs` with one set in its place, or without it when `value` is None."""
    found = dict(pairs)
    if value is None:
        found.pop(name, None)
    else:
        found[name] = value
    return tuple(found.items())
