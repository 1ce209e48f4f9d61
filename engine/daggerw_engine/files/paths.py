"""Paths inside an untrusted root: a container's file system, a tree, a workdir."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from daggerw_engine.errors import PathError

MAX_LINKS = 40  # as Linux has it


def resolve_in(root: Path, path: str) -> Path:
    """Return the location of `path` below `root`, following links as a process chrooted there would.

    `..` and absolute links stop at the root, so the result is never outside of it.
    Raises PathError for a cycle of links.
    """
    todo = list(reversed(PurePosixPath(path).parts))
    current, links = root, 0
    while todo:
        part = todo.pop()
        if part in ("/", "//"):  # POSIX leaves two slashes alone
            current = root
        elif part == "..":
            current = current if current == root else current.parent
        elif (current / part).is_symlink():
            links += 1
            if links > MAX_LINKS:
                raise PathError(f"too many levels of symbolic links in {path!r}")
            todo.extend(reversed(PurePosixPath(os.readlink(current / part)).parts))
        else:
            current = current / part
    return current


def find_existing(root: Path, path: str) -> Path:
    """Return `path` below `root`; PathError with Dagger's message when it does not exist."""
    found = resolve_in(root, path)
    if not os.path.lexists(found):
        raise PathError(f"{path}: no such file or directory")
    return found


def check_kind(found: Path, path: str, *, directory: bool) -> None:
    """Raise PathError, with Dagger's message, when `path` is not of the wanted kind."""
    kinds = ("file", "directory") if directory else ("directory", "file")
    if found.is_dir() != directory:
        raise PathError(f"path {path} is a {kinds[0]}, not a {kinds[1]}")


def absolute(workdir: str, path: str) -> str:
    """Return `path` as an absolute container path, relative to `workdir`, without `.` and `..`."""
    return os.path.normpath(PurePosixPath("/", workdir, path)).replace("//", "/")
