"""Mounts of a container's commands."""

from __future__ import annotations

from dataclasses import dataclass

from daggerw_engine.errors import EngineError
from daggerw_engine.files.trees import Place
from daggerw_engine.values.secret import Secret


@dataclass(frozen=True)
class Volume:
    """Cache volume; only its name is part of cache keys."""

    name: str
    sharing: str = "SHARED"

    @property
    def key(self) -> object:
        """Value that represents the mount in a cache key."""
        return ["volume", self.name]


@dataclass(frozen=True)
class SecretFile:
    """File in memory with a secret's plaintext."""

    secret: Secret
    mode: int = 0o400

    @property
    def key(self) -> object:
        """Value that represents the mount in a cache key."""
        return ["secret", self.secret.key, self.mode]


@dataclass(frozen=True)
class Temporary:
    """Empty folder in memory, of at most `size` bytes; 0 means no limit."""

    size: int = 0

    @property
    def key(self) -> object:
        """Value that represents the mount in a cache key."""
        return ["temporary", self.size]


@dataclass(frozen=True)
class Socket:
    """Unix socket of the host; only its path is part of cache keys."""

    path: str

    @property
    def key(self) -> object:
        """Value that represents the mount in a cache key."""
        return ["socket", self.path]


@dataclass(frozen=True)
class Mount:
    """Mount for commands; a folder or file keeps the changes of the last command."""

    path: str
    source: Place | Volume | SecretFile | Temporary | Socket
    owner: str = ""
    read_only: bool = False

    @property
    def key(self) -> object:
        """Value that represents the mount in a cache key."""
        return [self.path, self.source.key, self.owner, self.read_only]

    @property
    def place(self) -> Place:
        """Mounted folder or file; EngineError for other mounts, whose content can't be read."""
        if isinstance(self.source, Place):
            return self.source
        kind = "cache" if isinstance(self.source, Volume) else "tmpfs"
        raise EngineError(f"{self.path}: cannot retrieve path from {kind}")

    def covers(self, path: str) -> bool:
        """Return whether `path` is the mount's path or below it."""
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")

    @property
    def is_listed(self) -> bool:
        """Return whether the API lists the mount; secrets and sockets, unlisted, are mounted last."""
        return not isinstance(self.source, SecretFile | Socket)

    @property
    def is_kept(self) -> bool:
        """Return whether the next command sees a command's changes to the mount."""
        return isinstance(self.source, Place) and not self.read_only
