"""Folders kept by their content: the engine's Directory and File values on disk.

A tree is a read-only folder under `trees/`, named by the SHA-256 over its sorted entries (kind, mode, owner,
path, content). Equal content is one tree, so a tree's name is all that a cache key needs. Times don't count.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.errors import PathError
from engine.paths import existing, resolve_in
from engine.patterns import Filter

EVERYTHING = Filter()
CHUNK = 1 << 20


@dataclass(frozen=True)
class Place:
    """A folder or file inside a tree: what a Directory or File has become once it was evaluated."""

    digest: str
    root: Path
    path: str = "/"

    @property
    def on_disk(self) -> Path:
        """The folder or file itself."""
        return existing(self.root, self.path)

    @property
    def key(self) -> str:
        """What stands for the content in a cache key: the same wherever equal content comes from."""
        return self.digest if self.path == "/" else _key_below(self.root, self.path)

    def below(self, path: str) -> Place:
        """Return a place further down; PathError when nothing is there."""
        found = existing(self.root, f"{self.path}/{path}")
        return Place(self.digest, self.root, f"/{found.relative_to(self.root)}")


@lru_cache(maxsize=4096)
def _key_below(root: Path, path: str) -> str:
    found = existing(root, path)
    if found.is_dir():
        return digest_of(found)
    info = found.stat()
    return f"file {stat.S_IMODE(info.st_mode):o} {info.st_uid}:{info.st_gid} {file_digest(found)}"


def entries(folder: Path, kept: Filter = EVERYTHING) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the kept entries below `folder` with relative paths, sorted, folders before their content."""
    yield from _entries(str(folder), "", kept)


def _entries(folder: str, prefix: str, kept: Filter) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as found:
        ordered = sorted(found, key=lambda entry: entry.name)
    for entry in ordered:
        path = prefix + entry.name
        keeps = kept.keeps(path)
        if entry.is_dir(follow_symlinks=False):
            below = list(_entries(entry.path, f"{path}/", kept)) if kept.descends(path) else []
            if keeps or below:
                yield path, entry
            yield from below
        elif keeps and (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
            yield path, entry


def digest_of(folder: Path, kept: Filter = EVERYTHING) -> str:
    """Return the SHA-256, in hex, over what is kept of `folder`."""
    total = hashlib.sha256()
    for path, entry in entries(folder, kept):
        info = entry.stat(follow_symlinks=False)
        mode, content = stat.S_IMODE(info.st_mode), ""
        if entry.is_symlink():
            kind, mode, content = "l", 0, os.readlink(entry.path)
        elif entry.is_dir():
            kind = "d"
        else:
            kind, content = "f", file_digest(Path(entry.path))
        total.update(
            f"{kind} {mode:o} {info.st_uid}:{info.st_gid} {path}\0{content}\n".encode(
                errors="surrogateescape"
            )
        )
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_into(
    source: Path,
    target: Path,
    *,
    kept: Filter = EVERYTHING,
    root: Path | None = None,
    owner: tuple[int, int] | None = None,
) -> None:
    """Merge what is kept of the folder `source` into `target`, with modes, owners (or `owner`), times, links.

    `root` is the file system that `target` lies in: links inside it are followed without leaving it.
    """
    root = root or target
    target.mkdir(parents=True, exist_ok=True)
    base = target.relative_to(root)
    for path, entry in entries(source, kept):
        folder = resolve_in(root, str((base / path).parent))
        into = folder / entry.name
        if entry.is_dir(follow_symlinks=False) and into.is_symlink():
            into = resolve_in(root, str(into.relative_to(root)))
        copy_entry(Path(entry.path), into, owner)


def copy_entry(source: Path, target: Path, owner: tuple[int, int] | None = None) -> None:
    """Copy one file, link or (empty) folder over `target`, with mode, owner (or the given one) and times."""
    target.parent.mkdir(parents=True, exist_ok=True)
    info = source.lstat()
    uid, gid = owner or (info.st_uid, info.st_gid)
    if source.is_symlink():
        _clear(target)
        os.symlink(os.readlink(source), target)
        os.lchown(target, uid, gid)
        return
    if source.is_dir():
        if target.is_symlink() or not target.is_dir():
            _clear(target)
            target.mkdir()
    else:
        _clear(target)
        shutil.copyfile(source, target)
    os.chown(target, uid, gid)
    shutil.copystat(source, target)


def _clear(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


class Trees:
    """The trees of one cache folder."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._folder, self._scratch = folder, scratch

    def get(self, digest: str) -> Place | None:
        """Return the tree with this digest when it is kept."""
        root = self._folder / digest
        return Place(digest, root) if root.is_dir() else None

    def new_folder(self) -> Path:
        """Return a fresh folder to fill and to give to `adopt`; on the trees' own file system."""
        return Path(tempfile.mkdtemp(dir=self._scratch))

    def adopt(self, folder: Path) -> Place:
        """Keep a filled folder of `new_folder` as a tree; the folder is gone afterwards."""
        folder.chmod(0o755)
        digest = digest_of(folder)
        kept = self._folder / digest
        if kept.is_dir():
            shutil.rmtree(folder)
        else:
            try:
                folder.rename(kept)
            except OSError:  # another session was first
                if not kept.is_dir():
                    raise
                shutil.rmtree(folder)
        os.utime(kept)
        return Place(digest, kept)

    def ingest(self, source: Path, kept: Filter = EVERYTHING, *, owned: bool = False) -> Place:
        """Keep a copy of the folder `source`; owners become root's unless `owned`.

        Raises PathError when `source` is no folder.
        """
        if not source.is_dir():
            raise PathError(
                f"{source}: {'not a directory' if source.exists() else 'no such file or directory'}"
            )
        folder = self.new_folder()
        copy_into(source, folder, kept=kept, owner=None if owned else (0, 0))
        return self.adopt(folder)

    def ingest_file(self, source: Path, name: str | None = None) -> Place:
        """Keep a copy of the file `source`, under `name` when given; PathError when it is no file."""
        if not source.is_file():
            raise PathError(f"{source}: {'not a file' if source.exists() else 'no such file or directory'}")
        folder = self.new_folder()
        name = name or source.name
        shutil.copyfile(source, folder / name)
        shutil.copystat(source, folder / name)
        return self.adopt(folder).below(name)

    def write_file(self, name: str, contents: str, permissions: int) -> Place:
        """Keep a new file."""
        folder = self.new_folder()
        (folder / name).write_text(contents)
        (folder / name).chmod(permissions)
        return self.adopt(folder).below(name)
