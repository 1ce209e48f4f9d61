"""Mounts of a container's commands."""

from __future__ import annotations

from dataclasses import dataclass

from daggerw_engine.errors import EngineError
from daggerw_engine.files.trees import Place
from daggerw_engine.values.secret import Secret


@dataclass(frozen=True)
class Volume:
    """A cache volume; it counts by its name alone."""

    name: str
    sharing: str = "SHARED"

    @property
    def key(self) -> object:
        """Value that stands for it in a cache key."""
        return ["volume", self.name]


@dataclass(frozen=True)
class SecretFile:
    """A secret's plaintext as a file, in memory only."""

    secret: Secret
    mode: int = 0o400

    @property
    def key(self) -> object:
        """Value that stands for it in a cache key."""
        return ["secret", self.secret.key, self.mode]


@dataclass(frozen=True)
class Temporary:
    """An empty folder in memory, of at most `size` bytes; 0 is as many as there are."""

    size: int = 0

    @property
    def key(self) -> object:
        """Value that stands for it in a cache key."""
        return ["temporary", self.size]


@dataclass(frozen=True)
class Socket:
    """A Unix socket of the host; it counts by its path."""

    path: str

    @property
    def key(self) -> object:
        """Value that stands for it in a cache key."""
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
        """Value that stands for it in a cache key."""
        return [self.path, self.source.key, self.owner, self.read_only]

    @property
    def place(self) -> Place:
        """Folder or file that is mounted; EngineError when nothing can be taken out of another mount."""
        if isinstance(self.source, Place):
            return self.source
        kind = "cache" if isinstance(self.source, Volume) else "tmpfs"
        raise EngineError(f"{self.path}: cannot retrieve path from {kind}")

    def covers(self, path: str) -> bool:
        """Return whether `path` is the mount's own or lies below it."""
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")

    @property
    def is_listed(self) -> bool:
        """Return whether the API lists it; secrets and sockets lie on top of all others."""
        return not isinstance(self.source, SecretFile | Socket)

    @property
    def is_kept(self) -> bool:
        """Return whether a command's changes to it are seen by the next one."""
        return isinstance(self.source, Place) and not self.read_only
