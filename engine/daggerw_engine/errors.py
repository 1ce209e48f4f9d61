"""Errors of the embedded engine.

EngineError
├── ApiError            a response holds errors (all errors below, seen by the client)
├── ExecError           a container's command ended with an unexpected status
├── NotOfferedError     a part of Dagger's API that only the Dagger engine has
├── PathError           a path is missing, of another kind, or leaves its root
├── ImageError          an image can't be had, neither from its registry nor as a stand-in
├── StoreError          Buildah or the disk refused
│   └── CacheInUseError another session uses the cache
├── NetworkError        the session's private network can't be made, or a host port is taken
├── ServiceError        a service ended, or never listened
├── ModuleError         the module isn't there, can't be read, or its process broke
└── UsageError          an invalid command line
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class EngineError(Exception):
    """Base of all errors of the engine; its text is for the user."""

    @property
    def extensions(self) -> dict[str, object]:
        """Extensions of the GraphQL error, besides its message."""
        return {}


class ApiError(EngineError):
    """Response with errors: the first message and its extensions."""

    def __init__(self, message: str, extensions: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self._extensions = dict(extensions or {})

    @property
    def extensions(self) -> dict[str, object]:
        return self._extensions


@dataclass
class ExecError(EngineError):
    """Unexpected exit status of a command; both streams are complete."""

    command: tuple[str, ...]
    exit_code: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)

    def __str__(self) -> str:
        return (
            f"process {' '.join(self.command)!r} did not complete successfully: exit code: {self.exit_code}"
        )

    @property
    def extensions(self) -> dict[str, object]:
        """Extensions from which Dagger's SDKs build their own ExecError."""
        return {
            "_type": "EXEC_ERROR",
            "cmd": list(self.command),
            "exitCode": self.exit_code,
            "stdout": self.stdout.strip(),
            "stderr": self.stderr.strip(),
        }


class NotOfferedError(EngineError):
    """A field or argument of Dagger's API that this engine doesn't have."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} isn't offered by the embedded engine; the Dagger engine has it (DAGGERW_ENGINE=dagger)"
        )


class PathError(EngineError):
    """A path that is missing, of another kind, or outside its root."""


class ImageError(EngineError):
    """An image that can't be had."""


class StoreError(EngineError):
    """Buildah or the disk failed."""

    @classmethod
    def full(cls, what: str) -> StoreError:
        """Return the error for a full disk, with the failed action and the remedy."""
        return cls(
            f"the disk is full ({what}): free some space, or call `daggerw cache clear`, and call again"
        )


class CacheInUseError(StoreError):
    """Removal from the cache while a session uses it."""


@contextmanager
def disk_errors() -> Iterator[None]:
    """Convert an OSError inside the block to a StoreError."""
    try:
        yield
    except OSError as refused:
        if refused.errno is None:
            raise
        place = refused.filename2 or refused.filename
        if refused.errno in FULL:
            raise StoreError.full(f"writing {place}" if place else "writing") from refused
        raise StoreError(f"{place}: {refused.strerror}" if place else str(refused)) from refused


class NetworkError(EngineError):
    """The private network can't be made, or a port of the host is taken."""


class ServiceError(EngineError):
    """A service that ended or never listened."""


class ModuleError(EngineError):
    """A module that isn't there, can't be read, or whose process broke."""


class UsageError(EngineError):
    """Invalid command line; `command` is the one whose --help explains it."""

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command
