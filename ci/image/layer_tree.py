"""What an image's layers show when each lies on the one before: one tree of files, folders and links.

Owners, times, modes (but for being executable) and extended attributes are not kept: a rule of
`canonical.py` sets them. What such a rule could not express, as a device, is refused with InvalidLayout.
"""

import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import IO, Literal

from errors import InvalidLayout
from image.archive_reader import Blob, Layout

MAX_ENTRIES, MAX_BYTES = 200_000, 8 * 1024**3
_CHUNK = 1024 * 1024
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_GZIP_FORMAT = 31  # zlib's word for a gzip stream
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_UNREADABLE = (tarfile.TarError, zlib.error, OSError, EOFError, ValueError)


@dataclass(frozen=True)
class Entry:
    """What is at one path, such as `venv/bin/python`; a file's content lies in `stored` from `offset` on."""

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
        """Return a file's whole content."""
        return b"".join(self.chunks())

    def sha256(self) -> str:
        """Return the SHA-256 of a file's content in hexadecimal digits."""
        sha256 = hashlib.sha256()
        for piece in self.chunks():
            sha256.update(piece)
        return sha256.hexdigest()


class Reader:
    """What `Entry.reader` gives: the little of a file object that `tarfile` needs."""

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
def opened(image: Layout) -> Iterator[Tree]:
    """Open what an image shows, sorted by path; its files can be read while the block runs.

    Raises InvalidLayout. Compressed layers are unpacked into temporary files.
    """
    tree: dict[str, Entry] = {}
    with ExitStack() as stack:
        for blob in image.layers:
            try:
                _lay(tree, *stack.enter_context(_unpacked(image, blob)))
            except _UNREADABLE as error:
                raise InvalidLayout(f"image: layer {blob.digest} cannot be read: {error!r}") from error
        yield {path: tree[path] for path in sorted(tree)}


@contextmanager
def _unpacked(image: Layout, blob: Blob) -> Iterator[tuple[IO[bytes], int]]:
    """Open a layer's tar at its begin and say where it ends; in the archive itself unless compressed."""
    with image.archive.open("rb") as archive:
        archive.seek(blob.offset)
        magic = archive.read(len(_ZSTD))
        archive.seek(blob.offset)
        if magic == _ZSTD:
            raise InvalidLayout(f"image: layer {blob.digest} is compressed with zstd; export it uncompressed")
        if not magic.startswith(_GZIP):
            yield archive, blob.offset + blob.size
            return
        with tempfile.TemporaryFile() as unpacked:
            _gunzip(image.chunks(blob), unpacked)
            end = unpacked.tell()
            unpacked.seek(0)
            yield unpacked, end


def _gunzip(chunks: Iterator[bytes], unpacked: IO[bytes]) -> None:
    stream = zlib.decompressobj(wbits=_GZIP_FORMAT)
    for chunk in chunks:
        left = chunk
        while left and not stream.eof:
            unpacked.write(stream.decompress(left, _CHUNK))
            left = stream.unconsumed_tail
            if unpacked.tell() > MAX_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
    if not stream.eof or stream.unused_data:
        raise EOFError("it is not one whole gzip member")


def _lay(tree: dict[str, Entry], layer: IO[bytes], end: int) -> None:
    """Lay a layer on a tree. Its whiteouts are about what lies below it, wherever in it they stand."""
    added: dict[str, Entry] = {}
    for path, member in _members(layer, end):
        folder, _, name = path.rpartition("/")
        if name == _OPAQUE:
            _clear(tree, folder)
        elif name.startswith(_WHITEOUT):
            _remove(tree, f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/"))
        elif member.islnk():
            added[path] = replace(_linked(member, added, tree), path=path)
        else:
            added[path] = _entry(path, member, layer)
    for entry in added.values():
        _put(tree, entry)


def _members(layer: IO[bytes], end: int) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield a layer's entries by their paths. tarfile takes whatever it cannot read for the end."""
    with tarfile.open(fileobj=layer, mode="r:") as tar:
        for count, member in enumerate(tar):
            if count >= MAX_ENTRIES:
                raise ValueError(f"more than {MAX_ENTRIES} entries")
            if path := _path(member.name):
                yield path, member
        layer.seek(tar.offset)
        if tar.offset + tarfile.BLOCKSIZE > end or layer.read(tarfile.BLOCKSIZE).strip(tarfile.NUL):
            raise ValueError(f"no entry and no end is at byte {tar.offset}")


def _path(name: str) -> str:
    """Return a name without slashes and dots around it, empty for the root."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{name!r} leads out of the image")
    return "/".join(parts).encode().decode()  # a ValueError where bytes are no UTF-8


def _entry(path: str, member: tarfile.TarInfo, layer: IO[bytes]) -> Entry:
    if member.isdir():
        return Entry(path, "folder")
    if member.issym():
        return Entry(path, "link", target=member.linkname.encode().decode())
    if member.isreg() and not member.issparse():
        return Entry(path, "file", bool(member.mode & 0o100), "", layer, member.offset_data, member.size)
    raise ValueError(f"{path} is neither a file nor a folder nor a link")


def _linked(member: tarfile.TarInfo, added: Tree, tree: Tree) -> Entry:
    """Return what a hard link is another name of."""
    path = _path(member.linkname)
    if not (found := added.get(path) or tree.get(path)) or found.kind == "folder":
        raise ValueError(f"{member.name} is a hard link to {path}, where no file is")
    return found


def _put(tree: dict[str, Entry], entry: Entry) -> None:
    """Put an entry at its path, in folders that may be missing."""
    folder = ""
    for part in entry.path.split("/")[:-1]:
        folder = f"{folder}/{part}".lstrip("/")
        if tree.setdefault(folder, Entry(folder, "folder")).kind != "folder":
            raise ValueError(f"{entry.path} lies below {folder}, which is no folder")
    if entry.kind != "folder" or (entry.path in tree and tree[entry.path].kind != "folder"):
        _remove(tree, entry.path)
    tree[entry.path] = entry


def _remove(tree: dict[str, Entry], path: str) -> None:
    found = tree.pop(path, None)
    if found and found.kind == "folder":
        _clear(tree, path)


def _clear(tree: dict[str, Entry], folder: str) -> None:
    """Remove all that is below a folder."""
    for path in [path for path in tree if path.startswith(f"{folder}/" if folder else "")]:
        del tree[path]
