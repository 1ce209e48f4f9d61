"""Changes of a container's file system, made on its mounted root."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from engine.errors import PathError
from engine.paths import resolve_in
from engine.state import Remove, Write
from engine.trees import Place, copy_entry, copy_into


def apply(changes: Iterable[Write | Remove], root: Path) -> None:
    """Make the changes, in order, below `root`; PathError when an owner isn't known there."""
    for change in changes:
        if isinstance(change, Remove):
            _remove(root, change.path)
        else:
            _write(root, change)


def _remove(root: Path, path: str) -> None:
    parent, _, name = path.rstrip("/").rpartition("/")
    target = resolve_in(root, parent) / name
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _write(root: Path, change: Write) -> None:
    owner = owner_ids(root, change.owner) if change.owner else None
    source, target = change.source.on_disk, resolve_in(root, change.path)
    if source.is_dir():
        copy_into(source, target, root=root, owner=owner)
        return
    copy_entry(source, target, owner)
    if change.permissions is not None:
        target.chmod(change.permissions)


def copy_owned(source: Place, folder: Path, owner: str) -> Path:
    """Copy a place into the empty `folder`, for a mount; returns what to mount."""
    ids = owner_ids(folder, owner) if owner else None
    on_disk = source.on_disk
    if on_disk.is_dir():
        copy_into(on_disk, folder, owner=ids)
        return folder
    copy_entry(on_disk, folder / on_disk.name, ids)
    return folder / on_disk.name


def owner_ids(root: Path, owner: str) -> tuple[int, int]:
    """Return the user and group number of USER[:GROUP], with names looked up below `root`."""
    user, _, group = owner.partition(":")
    uid, own_gid = _look_up(root / "etc/passwd", user, "user")
    gid = _look_up(root / "etc/group", group, "group")[0] if group else own_gid
    return uid, gid


def _look_up(table: Path, name: str, kind: str) -> tuple[int, int]:
    if name.isdecimal():
        return int(name), int(name)
    for line in table.read_text().splitlines() if table.is_file() else ():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]), int(fields[3]) if kind == "user" else int(fields[2])
    raise PathError(f"unknown {kind} {name!r} in the container")
