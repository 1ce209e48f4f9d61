"""Errors of the embedded engine.

EngineError
├── ApiError            a query's answer holds errors (the client's side of all below)
├── ExecError           a container's command ended with an unexpected status
├── NotOfferedError     a part of Dagger's API that only the Dagger engine has
├── PathError           a path is missing, of another kind, or leaves its root
├── ImageError          an image can't be had, neither from its registry nor as a stand-in
├── StoreError          Buildah or the disk refused
│   └── CacheInUseError another session uses the cache
├── NetworkError        the session's private network can't be made, or a host port is taken
├── ServiceError        a service ended, or never listened
├── ModuleError         the module isn't there, can't be read, or its process broke
└── UsageError          a command line that can't be meant
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class EngineError(Exception):
    """Base of everything that the engine reports; its text is for the user."""

    @property
    def extensions(self) -> dict[str, object]:
        """Extensions of the GraphQL error, besides its message."""
        return {}


class ApiError(EngineError):
    """An answer with errors: the first message, and the extensions that came with it."""

    def __init__(self, message: str, extensions: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self._extensions = dict(extensions or {})

    @property
    def extensions(self) -> dict[str, object]:
        return self._extensions


@dataclass
class ExecError(EngineError):
    """A command's status wasn't the expected one; both streams are whole."""

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
        """The shape from which Dagger's SDKs make their own ExecError."""
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
    """Buildah, or the disk under it, refused."""

    @classmethod
    def full(cls, what: str) -> StoreError:
        """Say that the disk is full, what met that, and what to do."""
        return cls(
            f"the disk is full ({what}): free some space, or call `daggerw cache clear`, and call again"
        )


class CacheInUseError(StoreError):
    """Something is to be removed from the cache while a session uses it."""


@contextmanager
def disk_errors() -> Iterator[None]:
    """Make what the operating system refuses inside the block a StoreError."""
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
    """A command line that can't be meant; `command` is the one whose --help tells more."""

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command
