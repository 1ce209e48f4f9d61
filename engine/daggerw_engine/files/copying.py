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
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from daggerw_engine.errors import PathError
from daggerw_engine.files.listing import EVERYTHING, Entry, Owner, entries
from daggerw_engine.files.paths import resolve_in
from daggerw_engine.files.patterns import Filter

CHUNK = 1 << 20
FEW = 200  # files: fewer don't justify threads
PRIVILEGED = ("security.", "trusted.")  # extended attributes that only root may set
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Attributes:
    """Attributes of copies: `owner` and `mode` instead of the originals', if given.

    Without `privileges`, as in copies for the host, no copy has a setuid bit or a capability.
    """

    owner: Owner | None = None
    mode: int | None = None
    privileges: bool = True

    def apply(self, source: str, target: str, info: os.stat_result) -> None:
        """Give `target` owner, mode, extended attributes and times of `source`, whose status is `info`."""
        os.chown(target, *(self.owner or (info.st_uid, info.st_gid)), follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            mode = stat.S_IMODE(info.st_mode) if self.mode is None else self.mode
            os.chmod(target, mode if self.privileges else mode & ~(stat.S_ISUID | stat.S_ISGID))
            for name in os.listxattr(source):
                if self.privileges or not name.startswith(PRIVILEGED):
                    with suppress(OSError):  # not every file system supports each attribute
                        os.setxattr(target, name, os.getxattr(source, name))
        os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns), follow_symlinks=False)


AS_THEY_ARE = Attributes()


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
    """Merge the kept part of the folder `source` into `target`, with times, links and attributes.

    The `Attributes` apply to all copies, and to `target` when it is new; `root` is the file system of
    `target`: links are followed inside it without leaving it.
    """
    root, attributes = root or target, Attributes(owner, mode, privileges)
    if not target.exists():
        target.mkdir(parents=True)
        attributes.apply(str(source), str(target), source.stat())
    found = entries(source, kept)
    folders = {"": str(resolve_in(root, str(target.relative_to(root))))}
    todo: list[tuple[Entry, str]] = []
    for path, entry in found:
        into = f"{folders[path.rpartition('/')[0]]}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            folders[path] = _folder(into, root)
        else:
            todo.append((entry, into))
    each(lambda one: _copy(one[0].path, one[1], one[0].stat(follow_symlinks=False), attributes), todo)
    for path, entry in reversed(found):
        if path in folders:
            attributes.apply(entry.path, folders[path], entry.stat(follow_symlinks=False))


def copy_entry(
    source: Path,
    target: Path,
    owner: Owner | None = None,
    mode: int | None = None,
    *,
    privileges: bool = True,
) -> None:
    """Copy one file, link or (empty) folder over `target`, with its times and the given `Attributes`."""
    attributes = Attributes(owner, mode, privileges)
    target.parent.mkdir(parents=True, exist_ok=True)
    info = source.lstat()
    if not stat.S_ISDIR(info.st_mode):
        return _copy(str(source), str(target), info, attributes)
    if target.is_symlink() or not target.is_dir():
        clear(target)
        target.mkdir()
    return attributes.apply(str(source), str(target), info)


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


def _copy(source: str, target: str, info: os.stat_result, attributes: Attributes = AS_THEY_ARE) -> None:
    try:
        _copy_new(source, target)
    except FileExistsError:
        clear(target)
        _copy_new(source, target)
    attributes.apply(source, target, info)


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


def take(path: str, entry: Entry, target: str) -> str:
    """Copy a file or link that others may be changing; return the SHA-256 of a file's copy.

    `path` is that of `entry` below an upload's folder. PathError when it leads out of that folder by now, by
    a link that was put in the place of the file or of a folder above it.
    """
    info = entry.stat(follow_symlinks=False)
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
        return ""
    digest = hashlib.sha256()
    with (
        open(entry.path, "rb", buffering=0, opener=_open_no_link) as reading,
        open(target, "xb", buffering=0) as writing,
    ):
        if not os.readlink(f"/proc/self/fd/{reading.fileno()}").startswith(entry.path.removesuffix(path)):
            raise PathError(f"{entry.path} was replaced during its upload and leads elsewhere: call again")
        while chunk := reading.read(CHUNK):
            digest.update(chunk)
            writing.write(chunk)
        os.fchmod(writing.fileno(), stat.S_IMODE(info.st_mode))
        os.utime(writing.fileno(), ns=(info.st_mtime_ns, info.st_mtime_ns))
    return digest.hexdigest()


def _open_no_link(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise PathError(f"{path} was replaced by a link during its upload: call again") from error


def link_all(source: Path, target: Path, found: list[tuple[str, Entry]], owner: Owner | None = None) -> None:
    """Fill `target` with the entries, with files and links as hard links to those in `source`."""
    folders = [(path, entry) for path, entry in found if entry.is_dir(follow_symlinks=False)]
    for path, _ in folders:
        os.makedirs(f"{target}/{path}", exist_ok=True)
    above = {path for path, _ in folders}
    each(lambda path: _link(f"{source}/{path}", f"{target}/{path}"), [p for p, _ in found if p not in above])
    for path, entry in reversed(folders):
        Attributes(owner).apply(entry.path, f"{target}/{path}", entry.stat(follow_symlinks=False))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as refused:
        if refused.errno != errno.EMLINK:  # the number of a file's links is limited
            raise
        _copy(source, target, os.lstat(source))
