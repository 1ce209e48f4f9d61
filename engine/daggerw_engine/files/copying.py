"""Fast copies and hard links of many files."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from daggerw_engine.files.listing import EVERYTHING, Entry, Owner, entries
from daggerw_engine.files.paths import resolve_in
from daggerw_engine.files.patterns import Filter

CHUNK = 1 << 20
FEW = 200  # files: fewer don't justify threads
PRIVILEGED = ("security.", "trusted.")  # extended attributes that only root may set
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Given = TypeVar("Given")
Made = TypeVar("Made")


def each(action: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
    """Return `action`'s result for each item, in parallel, as most of the time is spent in the kernel."""
    if len(given) < FEW:
        return [action(one) for one in given]
    workers = os.cpu_count() or 1
    parts = [given[start::workers] for start in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(lambda part: [action(one) for one in part], parts)
        made: list[Made | None] = [None] * len(given)
        for start, part in enumerate(done):
            made[start::workers] = part
    return made  # type: ignore[return-value]  # each entry is set


def copy_into(
    source: Path,
    target: Path,
    *,
    kept: Filter = EVERYTHING,
    root: Path | None = None,
    owner: Owner | None = None,
    mode: int | None = None,
    privileges: bool = True,
) -> None:
    """Merge the kept part of the folder `source` into `target`, with times, links, modes and owners.

    Without `privileges`, as in copies for the host, no file has a setuid bit or a capability.

    `owner` and `mode` apply to all copies, and to `target` when it is new; `root` is the file system of
    `target`: links are followed inside it without leaving it.
    """
    root = root or target
    if not target.exists():
        target.mkdir(parents=True)
        _copy_attributes(str(source), str(target), source.stat(), owner, mode, privileges)
    found = entries(source, kept)
    folders = {"": str(resolve_in(root, str(target.relative_to(root))))}
    todo: list[tuple[Entry, str]] = []
    for path, entry in found:
        into = f"{folders[path.rpartition('/')[0]]}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            folders[path] = _folder(into, root)
        else:
            todo.append((entry, into))

    def copy(pair: tuple[Entry, str]) -> None:
        _copy(pair[0].path, pair[1], pair[0].stat(follow_symlinks=False), owner, mode, privileges)

    each(copy, todo)
    for path, entry in reversed(found):
        if path in folders:
            _copy_attributes(
                entry.path, folders[path], entry.stat(follow_symlinks=False), owner, mode, privileges
            )


def copy_entry(
    source: Path,
    target: Path,
    owner: Owner | None = None,
    mode: int | None = None,
    *,
    privileges: bool = True,
) -> None:
    """Copy one file, link or (empty) folder over `target`, with its times; `owner`, `mode` override its own.

    Without `privileges`, the copy has no setuid bit and no capability.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    info = source.lstat()
    if not stat.S_ISDIR(info.st_mode):
        return _copy(str(source), str(target), info, owner, mode, privileges)
    if target.is_symlink() or not target.is_dir():
        clear(target)
        target.mkdir()
    return _copy_attributes(str(source), str(target), info, owner, mode, privileges)


def clear(target: Path | str) -> None:
    """Remove the file, link or folder at `target`, without following a link."""
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
    else:
        with suppress(FileNotFoundError):
            os.unlink(target)


def _folder(into: str, root: Path) -> str:
    """Return the folder that `into` leads to inside `root`, created when it is missing."""
    try:
        os.mkdir(into)
        return into
    except FileExistsError:
        if os.path.islink(into):
            into = str(resolve_in(root, os.path.relpath(into, root)))
        if not os.path.isdir(into):
            clear(into)
            os.makedirs(into)
        return into


def _copy(
    source: str,
    target: str,
    info: os.stat_result,
    owner: Owner | None = None,
    mode: int | None = None,
    privileges: bool = True,
) -> None:
    try:
        _copy_new(source, target)
    except FileExistsError:
        clear(target)
        _copy_new(source, target)
    _copy_attributes(source, target, info, owner, mode, privileges)


def _copy_new(source: str, target: str) -> None:
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writing = os.open(target, NEW, 0o600)
        try:
            while os.sendfile(writing, reading, None, CHUNK << 8):
                pass
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_attributes(
    source: str,
    target: str,
    info: os.stat_result,
    owner: Owner | None = None,
    mode: int | None = None,
    privileges: bool = True,
) -> None:
    """Give `target` the extended attributes and times of `source`, and its owner and mode unless given."""
    os.chown(target, *(owner or (info.st_uid, info.st_gid)), follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        mode = stat.S_IMODE(info.st_mode) if mode is None else mode
        os.chmod(target, mode if privileges else mode & ~(stat.S_ISUID | stat.S_ISGID))
        for name in os.listxattr(source):
            if privileges or not name.startswith(PRIVILEGED):
                with suppress(OSError):  # not every file system supports each attribute
                    os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns), follow_symlinks=False)


def take(entry: Entry, target: str) -> str:
    """Copy a file or link that others may be changing; return the SHA-256 of a file's copy."""
    info = entry.stat(follow_symlinks=False)
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
        return ""
    digest = hashlib.sha256()
    with open(entry.path, "rb", buffering=0) as reading, open(target, "xb", buffering=0) as writing:
        while chunk := reading.read(CHUNK):
            digest.update(chunk)
            writing.write(chunk)
        os.fchmod(writing.fileno(), stat.S_IMODE(info.st_mode))
        os.utime(writing.fileno(), ns=(info.st_mtime_ns, info.st_mtime_ns))
    return digest.hexdigest()


def link_all(source: Path, target: Path, found: list[tuple[str, Entry]], owner: Owner | None = None) -> None:
    """Fill `target` with the entries, with files and links as hard links to those in `source`."""
    folders = [(path, entry) for path, entry in found if entry.is_dir(follow_symlinks=False)]
    for path, _ in folders:
        os.makedirs(f"{target}/{path}", exist_ok=True)
    above = {path for path, _ in folders}
    each(lambda path: _link(f"{source}/{path}", f"{target}/{path}"), [p for p, _ in found if p not in above])
    for path, entry in reversed(folders):
        _copy_attributes(entry.path, f"{target}/{path}", entry.stat(follow_symlinks=False), owner)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as refused:
        if refused.errno != errno.EMLINK:  # the number of a file's links is limited
            raise
        _copy(source, target, os.lstat(source))
