"""What a container is after evaluation: an image, changes not yet in it, and how commands run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.calls import Call, key_of
from engine.trees import Place

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
    """A change of a file system: a tree's folder or file put at `path`."""

    path: str
    source: Place
    owner: str = ""
    permissions: int | None = None
    replaces: bool = False

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return ["write", self.path, self.source.key, self.owner, self.permissions, self.replaces]


@dataclass(frozen=True)
class Remove:
    """A change of a file system: whatever is at `path` goes."""

    path: str

    @property
    def key(self) -> object:
        """What stands for it in a cache key."""
        return ["remove", self.path]


@dataclass(frozen=True)
class Mount:
    """Something mounted for commands: a tree (its content as the last command left it) or a cache volume."""

    path: str
    source: Place | str
    owner: str = ""
    read_only: bool = False

    @property
    def key(self) -> object:
        """What stands for it in a cache key; a cache volume counts by its name alone."""
        source = self.source if isinstance(self.source, str) else self.source.key
        return [self.path, source, self.owner, self.read_only]


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

    `content` stands for the file system in cache keys: it is the image's digest or the key of the step that
    made it. `image` is the id of that image in Buildah's store; None is the empty file system.
    """

    content: str = "scratch"
    image: str | None = None
    image_config: Config = Config()
    changes: tuple[Write | Remove, ...] = ()
    config: Config = Config()
    mounts: tuple[Mount, ...] = ()
    bindings: tuple[tuple[str, Call], ...] = ()
    outcome: Outcome | None = None
    stand_ins: frozenset[str] = field(default_factory=frozenset)

    @property
    def rootfs_key(self) -> str:
        """What stands for the file system with its changes in a cache key."""
        return key_of(self.content, list(self.changes)) if self.changes else self.content

    @property
    def env(self) -> dict[str, str]:
        """The environment variables by name."""
        return dict(self.config.env)

    def configured(self, **changes: object) -> ContainerState:
        """Return the container with other fields in its configuration."""
        return replace(self, config=replace(self.config, **changes))  # type: ignore[arg-type]

    def changed(self, *changes: Write | Remove) -> ContainerState:
        """Return the container with further changes of its file system."""
        return replace(self, changes=(*self.changes, *changes))

    def committed(self, image: str | None, key: str) -> ContainerState:
        """Return the container whose changes are in `image` now."""
        return replace(self, image=image, content=key, changes=())

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
