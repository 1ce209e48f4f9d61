"""Tree of files, folders and links that an image's layers show when each lies on the one before.

Owners, times, modes (but for being executable) and extended attributes are not kept: a rule of
`canonical.py` sets them. What such a rule could not express, as a device, is refused with InvalidLayout.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, Literal

from errors import InvalidLayout
from image import layer_archive
from image.archive_reader import Blob, Layout
from image.layer_archive import WHITEOUT, Member

MAX_ENTRIES = 200_000  # of all layers, with the folders that they only imply
MAX_NAMES = 32 * 1024**2  # bytes of all their paths and targets
MAX_BYTES = 4 * 1024**3  # of all layers, unpacked
MAX_TEXT = 16 * 1024**2  # of a file that is read whole
_CHUNK = 1024 * 1024
_OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Entry:
    """Entry at one path, such as `venv/bin/python`; a file's content lies in `stored` from `offset` on."""

    path: str
    kind: Literal["folder", "file", "link"]
    executable: bool = False
    target: str = ""
    stored: IO[bytes] | None = None
    offset: int = 0
    size: int = 0

    def reader(self) -> "Reader":
        """Return a file's content, to be read in pieces; several threads may read several at a time."""
        return Reader(self)

    def chunks(self) -> Iterator[bytes]:
        """Yield a file's content in pieces."""
        reader = self.reader()
        while piece := reader.read(_CHUNK):
            yield piece

    def content(self) -> bytes:
        """Return a file's whole content; raises InvalidLayout when it is larger than MAX_TEXT."""
        if self.size > MAX_TEXT:
            raise InvalidLayout(f"image: {self.path} has {self.size} bytes; {MAX_TEXT} are the most")
        return b"".join(self.chunks())

    def sha256(self) -> str:
        """Return the SHA-256 of a file's content in hexadecimal digits."""
        sha256 = hashlib.sha256()
        for piece in self.chunks():
            sha256.update(piece)
        return sha256.hexdigest()


class Reader:
    """File object of an entry, with no more than `tarfile` needs."""

    def __init__(self, entry: Entry) -> None:
        self._entry, self._done = entry, 0

    def read(self, size: int = _CHUNK, /) -> bytes:
        """Return at most as many bytes as that, none at the end."""
        entry = self._entry
        wanted = min(size, entry.size - self._done)
        if not wanted or entry.stored is None:
            return b""
        piece = os.pread(entry.stored.fileno(), wanted, entry.offset + self._done)
        if not piece:
            raise InvalidLayout(f"image: {entry.path} ends after {self._done} of {entry.size} bytes")
        self._done += len(piece)
        return piece


Tree = Mapping[str, Entry]


@contextmanager
def open_tree(image: Layout) -> Iterator[Tree]:
    """Open what an image shows, sorted by path; its files can be read while the block runs.

    Raises InvalidLayout. Compressed layers are unpacked into temporary files.
    """
    tree, left = _Tree(), MAX_BYTES
    with ExitStack() as stack:
        for blob in image.layers:
            try:
                layer, end = stack.enter_context(open_layer(image, blob, left))
                left -= end - layer.tell()
                tree.lay(layer, end)
            except layer_archive.UNREADABLE as error:
                raise InvalidLayout(f"image: layer {blob.digest} cannot be read: {error!r:.300}") from error
        yield tree.flat()


@contextmanager
def open_layer(image: Layout, blob: Blob, limit: int = MAX_BYTES) -> Iterator[tuple[IO[bytes], int]]:
    """Open a layer's tar at its begin and say where it ends; in the archive itself unless compressed."""
    with image.archive.open("rb") as archive:
        if not layer_archive.is_gzip(archive, blob):
            if blob.size > limit:
                raise ValueError(f"all layers have more than {MAX_BYTES} bytes")
            yield archive, blob.offset + blob.size
            return
        with tempfile.TemporaryFile() as plain:
            layer_archive.gunzip(image.chunks(blob), plain, limit)
            end = plain.tell()
            plain.seek(0)
            yield plain, end


@dataclass(slots=True)
class _Node:
    """A folder, or what is at another path; the names below a folder lead to what they have."""

    entry: Entry
    below: dict[str, "_Node"] = field(default_factory=dict)


@dataclass
class _Tree:
    """Folders in folders, so that a whiteout costs what it removes and no search of all paths."""

    root: _Node = field(default_factory=lambda: _Node(Entry("", "folder")))
    entries: int = 0
    names: int = 0

    def lay(self, layer: IO[bytes], end: int) -> None:
        """Lay a layer on the tree. Its whiteouts are about what lies below it, wherever in it they stand."""
        added: dict[str, Entry] = {}
        for member in layer_archive.members(layer, end):
            self._count(member.path, member.target)
            folder, _, name = member.path.rpartition("/")
            if not name:
                continue  # the root itself
            if name == _OPAQUE:
                self._clear(folder)
            elif name.startswith(WHITEOUT):
                self._remove(folder, name.removeprefix(WHITEOUT))
            elif member.kind == "hard link":
                added[member.path] = replace(self._link_target(member, added), path=member.path)
            else:
                added[member.path] = _entry(member, layer)
        for entry in added.values():
            self._put(entry)

    def flat(self) -> Tree:
        """Return all entries by their paths, sorted."""
        found: dict[str, Entry] = {}
        waiting = [self.root]
        while waiting:
            below = waiting.pop().below.values()
            found.update((node.entry.path, node.entry) for node in below)
            waiting.extend(node for node in below if node.below)
        return {path: found[path] for path in sorted(found)}

    def _count(self, *names: str) -> None:
        """Raise ValueError when there is too much of all that the layers name."""
        self.entries += 1
        self.names += sum(map(len, names))
        if self.entries > MAX_ENTRIES:
            raise ValueError(f"more than {MAX_ENTRIES} entries in all layers")
        if self.names > MAX_NAMES:
            raise ValueError(f"the paths of all layers have more than {MAX_NAMES} bytes")

    def _find(self, path: str) -> _Node | None:
        """Return what is at a path, the root at the empty one."""
        node: _Node | None = self.root
        for part in path.split("/") if path else ():
            node = node.below.get(part) if node else None
        return node

    def _link_target(self, member: Member, added: Tree) -> Entry:
        """Return what a hard link is another name of."""
        node = self._find(member.target)
        found = added.get(member.target) or (node.entry if node else None)
        if not found or found.kind == "folder":
            raise ValueError(f"{member.path} is a hard link to {member.target}, where no file is")
        return found

    def _put(self, entry: Entry) -> None:
        """Put an entry at its path, in folders that may be missing."""
        *folders, name = entry.path.split("/")
        node, path = self.root, ""
        for part in folders:
            path = f"{path}/{part}" if path else part
            if part not in node.below:
                self._count(path)
                node.below[part] = _Node(Entry(path, "folder"))
            node = node.below[part]
            if node.entry.kind != "folder":
                raise ValueError(f"{entry.path} lies below {path}, which is no folder")
        present = node.below.get(name)
        if entry.kind == "folder" and present and present.entry.kind == "folder":
            return
        node.below[name] = _Node(entry)

    def _remove(self, folder: str, name: str) -> None:
        if node := self._find(folder):
            node.below.pop(name, None)

    def _clear(self, folder: str) -> None:
        """Remove all that is below a folder."""
        if node := self._find(folder):
            node.below.clear()


def _entry(member: Member, layer: IO[bytes]) -> Entry:
    if member.kind == "folder":
        return Entry(member.path, "folder")
    if member.kind == "link":
        return Entry(member.path, "link", target=member.target)
    header = member.header
    return Entry(member.path, "file", bool(header.mode & 0o100), "", layer, header.offset_data, header.size)
