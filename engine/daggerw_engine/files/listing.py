"""Content of a folder: a walk over it, and the list whose SHA-256 is a tree's name.

A list has two NUL-terminated fields for each entry: `kind mode uid:gid content`, then the path. The kind is
f, d or l, or for example f@0 with a forced time; the content is a file's SHA-256 or a link's target.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path

from daggerw_engine.files.patterns import Filter

EVERYTHING = Filter()

Entry = os.DirEntry[str]
Owner = tuple[int, int]
ROOT = (0, 0)


def entries(folder: Path, kept: Filter = EVERYTHING) -> list[tuple[str, Entry]]:
    """Return the kept entries below `folder` with relative paths, sorted, folders before their content."""
    found: list[tuple[str, Entry]] = []
    _walk(str(folder), "", kept, found)
    return found


def _walk(folder: str, prefix: str, kept: Filter, found: list[tuple[str, Entry]]) -> None:
    kept = kept.inside(folder, prefix)
    with os.scandir(folder) as scanned:
        ordered = sorted(scanned, key=attrgetter("name"))
    for entry in ordered:
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            found.append((path, entry))
            before = len(found)
            if kept.descends(path):
                _walk(entry.path, f"{path}/", kept, found)
            if len(found) == before and not kept.keeps(path, folder=True):
                found.pop()
        elif (entry.is_file(follow_symlinks=False) or entry.is_symlink()) and kept.keeps(path):
            found.append((path, entry))


@dataclass(frozen=True)
class Listing:
    """List of a folder's content; equal folders have equal lists."""

    text: str

    @classmethod
    def of(cls, lines: Iterable[tuple[str, str]]) -> Listing:
        """Return the list of heads with their paths."""
        return cls("".join(f"{head}\0{path}\0" for head, path in lines))

    @property
    def digest(self) -> str:
        """The SHA-256 in hex."""
        return hashlib.sha256(self.file_bytes).hexdigest()

    @property
    def file_bytes(self) -> bytes:
        """Bytes of the list on disk."""
        return self.text.encode(errors="surrogateescape")

    @cached_property
    def heads(self) -> dict[str, str]:
        """Heads by path."""
        fields = self.text.split("\0")
        return dict(zip(fields[1::2], fields[::2], strict=False))

    @property
    def without_times(self) -> Listing:
        """The list without forced times."""
        return self.of((f"{head[0]} {head.partition(' ')[2]}", path) for path, head in self.heads.items())

    def below(self, path: str) -> Listing:
        """Return the list of a folder further down."""
        if not path:
            return self
        heads, prefix = self.heads, f"{path}/"
        return self.of((heads[each], each[len(prefix) :]) for each in heads if each.startswith(prefix))


def head_of(entry: Entry, digest: Callable[[str], str], owner: Owner | None = None) -> str:
    """Return the field before an entry's path; `digest` computes a file's SHA-256."""
    info = entry.stat(follow_symlinks=False)
    uid, gid = owner or (info.st_uid, info.st_gid)
    if entry.is_symlink():
        return f"l 0 {uid}:{gid} {os.readlink(entry.path)}"
    mode = f"{stat.S_IMODE(info.st_mode):o} {uid}:{gid}"
    if entry.is_dir(follow_symlinks=False):
        return f"d {mode} "
    return f"f {mode} {digest(entry.path)}"


def force_time(head: str, seconds: int | str) -> str:
    """Return a head with a forced time."""
    return f"{head[0]}@{seconds}{head[1:]}"


def time_in(head: str) -> str:
    """Return the forced time of a head; an empty text when it has none."""
    return head.partition(" ")[0].partition("@")[2]


def file_digest(path: str | Path) -> str:
    """Return a file's SHA-256 in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
