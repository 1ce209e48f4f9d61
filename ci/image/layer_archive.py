"""Reader of one layer's tar, with a limit on everything that a hostile one could make large.

`tarfile` reads the headers. Whatever it would read whole into memory is bounded before it does:
headers of extended names, maps of sparse files, and the list of members that it keeps.
"""

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

from errors import InvalidLayout
from image.archive_reader import Blob

MAX_PATH, MAX_DEPTH = 4096, 100  # bytes, folders
MAX_HEADER = 64 * 1024  # bytes of what extends one header
WHITEOUT = ".wh."
UNREADABLE = (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, RecursionError, OverflowError)
_CHUNK = 1024 * 1024
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_GZIP_FORMAT = 31  # zlib's word for a gzip stream
_EXTENDING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of a layer; of a hard link `target` is a path, of a link its text."""

    path: str
    kind: Literal["folder", "file", "link", "hard link"]
    target: str
    header: tarfile.TarInfo


class _Header(tarfile.TarInfo):
    """A header that is refused before anything large is read; `_proc_member` is meant to be overridden."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0:
            raise ValueError(f"{self.name:.80} has a size of {self.size} bytes")
        if self.type in _EXTENDING and self.size > MAX_HEADER:
            raise ValueError(f"a header of {self.size} bytes; {MAX_HEADER} are the most")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._sparse()
        if self.type == tarfile.XGLTYPE:
            raise ValueError("a header that is about all entries after it")
        done: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return done

    def _sparse(self, *given: Any) -> None:
        raise ValueError(f"{self.name:.80} is a sparse file")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _sparse


def is_gzip(archive: IO[bytes], blob: Blob) -> bool:
    """Return whether a layer is compressed, and go to its begin; raises InvalidLayout for zstd."""
    archive.seek(blob.offset)
    magic = archive.read(len(_ZSTD))
    archive.seek(blob.offset)
    if magic == _ZSTD:
        raise InvalidLayout(f"image: layer {blob.digest} is compressed with zstd; export it uncompressed")
    return magic.startswith(_GZIP)


def gunzip(chunks: Iterator[bytes], plain: IO[bytes], limit: int) -> None:
    """Write what one gzip member unpacks to; raises ValueError when that is more than the limit in bytes."""
    stream = zlib.decompressobj(wbits=_GZIP_FORMAT)
    for chunk in chunks:
        left = chunk
        while left and not stream.eof:
            plain.write(stream.decompress(left, _CHUNK))
            left = stream.unconsumed_tail
            if plain.tell() > limit:
                raise ValueError(f"it unpacks to more than {limit} bytes, with the layers before it")
    if not stream.eof or stream.unused_data:
        raise EOFError("it is not one whole gzip member")


def members(layer: IO[bytes], end: int) -> Iterator[Member]:
    """Yield a layer's entries, also the root's. tarfile takes whatever it cannot read for the end."""
    with tarfile.open(fileobj=layer, mode="r:", tarinfo=_Header) as tar:
        while (header := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]
            if tar.offset > end:
                raise ValueError(f"{header.name:.80} ends after the layer does")
            yield _member(header)
        layer.seek(tar.offset)
        if tar.offset + tarfile.BLOCKSIZE > end or layer.read(tarfile.BLOCKSIZE).strip(tarfile.NUL):
            raise ValueError(f"no entry and no end is at byte {tar.offset}")


def _member(header: tarfile.TarInfo) -> Member:
    """Return an entry, whose path is empty for the root's."""
    path = _path(header.name)
    if header.isdir() or not path:
        return Member(path, "folder", "", header)
    if header.issym():
        return Member(path, "link", _text(header.linkname), header)
    if header.islnk():
        return Member(path, "hard link", _path(header.linkname), header)
    if header.isreg() or path.rpartition("/")[2].startswith(WHITEOUT):
        return Member(path, "file", "", header)
    raise ValueError(f"{path} is neither a file nor a folder nor a link")


def _path(name: str) -> str:
    """Return a name without slashes and dots around it, empty for the root."""
    parts = [part for part in _text(name).split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{name!r:.80} leads out of the image")
    if len(parts) > MAX_DEPTH:
        raise ValueError(f"{name!r:.80} is {len(parts)} folders deep; {MAX_DEPTH} are the most")
    return "/".join(parts)


def _text(name: str) -> str:
    """Return a name; raises ValueError where bytes are no UTF-8, or too many."""
    if len(name.encode()) > MAX_PATH:
        raise ValueError(f"{name!r:.80} is longer than {MAX_PATH} bytes")
    return name
