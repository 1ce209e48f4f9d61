"""Errors of the embedded engine, as a tree.

EngineError             engine.failed
├── ApiError            engine.api_error
├── ExecError           engine.command_failed
├── NotOfferedError     engine.not_supported
├── PathError           engine.path
├── ImageError          engine.image_unavailable
├── StoreError          engine.store
│   └── CacheInUseError engine.cache_in_use
├── NetworkError        engine.network
├── ServiceError        engine.service_failed
├── ModuleError         engine.module
└── UsageError          engine.usage

A code is stable: docs/runbook.md has an entry for each, and tests match it. Messages may be reworded. The
code of an error goes with a GraphQL response as the extension `code`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class EngineError(Exception):
    """A failure that the engine reports to its user, or to a program that uses its API."""

    code: ClassVar[str] = "engine.failed"

    @property
    def extensions(self) -> dict[str, object]:
        """Extensions of the GraphQL error, besides its message."""
        return {"code": self.code}


class ApiError(EngineError):
    """A GraphQL response with errors: the first message and its extensions."""

    code = "engine.api_error"

    def __init__(self, message: str, extensions: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self._extensions = dict(extensions or {})

    @property
    def extensions(self) -> dict[str, object]:
        return self._extensions


@dataclass
class ExecError(EngineError):
    """A command ended with an unexpected status; both streams are complete."""

    code = "engine.command_failed"

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
            **super().extensions,
            "_type": "EXEC_ERROR",
            "cmd": list(self.command),
            "exitCode": self.exit_code,
            "stdout": self.stdout.strip(),
            "stderr": self.stderr.strip(),
        }


class NotOfferedError(EngineError):
    """A field or argument of Dagger's API that only the Dagger engine supports."""

    code = "engine.not_supported"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} isn't offered by the embedded engine; the Dagger engine has it (DAGGERW_ENGINE=dagger)"
        )


class PathError(EngineError):
    """A path is missing, of another kind, or outside its root."""

    code = "engine.path"


class ImageError(EngineError):
    """An image can't be pulled and has no stand-in."""

    code = "engine.image_unavailable"


class StoreError(EngineError):
    """Buildah or the file system failed."""

    code = "engine.store"

    @classmethod
    def full(cls, what: str) -> StoreError:
        """Return the error of a full disk; `what` is the operation that failed."""
        return cls(
            f"the disk is full ({what}): free some space, or call `daggerw cache clear`, and call again"
        )


class CacheInUseError(StoreError):
    """The cache can't be cleared while another session uses it."""

    code = "engine.cache_in_use"


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn an OSError of the block into a StoreError."""
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
    """The private network can't be created, or a port of the host is taken."""

    code = "engine.network"


class ServiceError(EngineError):
    """A service ended early, never listened, or exposes no port."""

    code = "engine.service_failed"


class ModuleError(EngineError):
    """A module is missing, can't be loaded, or its process ended."""

    code = "engine.module"


class UsageError(EngineError):
    """A command line is invalid; `command` is the one whose --help explains it."""

    code = "engine.usage"

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command
