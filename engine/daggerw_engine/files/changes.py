"""Changes of a container's file system, applied to its mounted root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from daggerw_engine.errors import PathError
from daggerw_engine.files.copying import clear, copy_entry, copy_into
from daggerw_engine.files.listing import Owner, entries
from daggerw_engine.files.paths import resolve_in
from daggerw_engine.files.patterns import glob_expression
from daggerw_engine.files.trees import Place
from daggerw_engine.files.user_ids import user_ids


@dataclass(frozen=True)
class Write:
    """Change of a file system: write a tree's folder or file to `path`.

    A folder merges into an existing one; a file with `into_folders` goes into it under its own name.
    `permissions` apply to everything that is written.
    """

    path: str
    source: Place
    owner: str = ""
    permissions: int | None = None
    into_folders: bool = False

    @property
    def key(self) -> object:
        """Value that represents the change in a cache key."""
        name = PurePosixPath(self.source.path).name if self.into_folders else ""
        return ["write", self.path, self.source.key, self.owner, self.permissions, name]


@dataclass(frozen=True)
class Remove:
    """Change of a file system: remove everything at `path`, which may have wildcards."""

    path: str

    @property
    def key(self) -> object:
        """Value that represents the change in a cache key."""
        return ["remove", self.path]


def apply(changes: Iterable[Write | Remove], root: Path) -> None:
    """Apply the changes, in order, below `root`; PathError for an owner unknown there."""
    for change in changes:
        if isinstance(change, Remove):
            _remove(root, change.path)
        else:
            _write(root, change)


def _remove(root: Path, path: str) -> None:
    pattern = glob_expression(path.strip("/"))
    for each in [name for name, _ in entries(root) if pattern.match(name)] if "*" in path else [path]:
        parent, name = os.path.split(os.path.normpath(f"/{each}"))
        for removed in [resolve_in(root, parent) / name] if name else list(root.iterdir()):
            clear(removed)


def _write(root: Path, change: Write) -> None:
    owner = owner_ids(root, change.owner) if change.owner else None
    source, target = change.source.on_disk, resolve_in(root, change.path)
    if not source.is_dir():
        _write_file(source, target, owner, change)
        return
    if not target.is_dir():
        clear(target)
    copy_into(source, target, root=root, owner=owner, mode=change.permissions)
    if target != root:
        copy_entry(source, target, owner, change.permissions)


def _write_file(source: Path, target: Path, owner: Owner | None, change: Write) -> None:
    if change.into_folders and target.is_dir():
        target = target / source.name
    if target.is_dir():
        raise PathError(f"{change.path}: is a directory")
    copy_entry(source, target, owner, change.permissions)


def make_folder(root: Path, path: str, permissions: int) -> None:
    """Create a folder and its missing parents below `root`, with these permissions."""
    made = resolve_in(root, path)
    missing = [folder for folder in (made, *made.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir()
        folder.chmod(permissions)


def copy_layer(layer: Path, target: Path) -> None:
    """Copy a layer, in overlayfs format, into the empty folder of another one."""
    subprocess.run(["cp", "--archive", "--no-target-directory", layer, target], check=True)


def owner_ids(root: Path, owner: str) -> tuple[int, int]:
    """Return the numeric user and group of USER[:GROUP], with names looked up below `root`.

    As in Dagger, the user's number is also the group's when no group is given.
    """
    try:
        uid, gid, _, _ = user_of(root, owner)
    except PathError as unknown:
        raise PathError(f"failed to resolve ownership for {owner}: {unknown}") from None
    return uid, gid if ":" in owner else uid


def user_of(root: Path, named: str) -> tuple[int, int, list[int], str]:
    """Return user id, group id, further groups and home of USER[:GROUP], with names looked up below `root`.

    Raises PathError for a name unknown there.
    """
    tables = (resolve_in(root, name) for name in ("/etc/passwd", "/etc/group"))
    texts = (t.read_text(errors="surrogateescape") if t.is_file() else "" for t in tables)
    try:
        return user_ids(named, *texts)
    except LookupError as unknown:
        raise PathError(unknown.args[0]) from None
