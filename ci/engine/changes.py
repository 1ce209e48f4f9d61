"""Changes of a container's file system, made on its mounted root."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from engine.errors import PathError
from engine.paths import resolve_in
from engine.runner import user_ids
from engine.state import Remove, Write
from engine.trees import copy_entry, copy_into


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


def copy_layer(layer: Path, target: Path) -> None:
    """Copy a layer, in overlayfs's own form, into the empty folder of another one."""
    subprocess.run(["cp", "--archive", "--no-target-directory", layer, target], check=True)


def owner_ids(root: Path, owner: str) -> tuple[int, int]:
    """Return the user and group number of USER[:GROUP], with names looked up below `root`."""
    tables = (resolve_in(root, name) for name in ("/etc/passwd", "/etc/group"))
    try:
        uid, gid, _, _ = user_ids(owner, *(table.read_text() if table.is_file() else "" for table in tables))
    except LookupError as unknown:
        raise PathError(str(unknown.args[0])) from None
    return uid, gid
